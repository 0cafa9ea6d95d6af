"""Refusals: why a value cannot be stored, or what is stored cannot be read, and the texts."""

from __future__ import annotations

import types

from django_infinitic.codec.places import Place
from django_infinitic.codec.words import (
    class_name,
    class_of,
    classes_in,
    is_model,
    is_storable_class,
    render,
    shape,
    type_name,
)

__all__ = ["Misfit", "Refusal", "Unannotated", "refusal_text"]


class Refusal(Exception):
    """Raised inside the codec: this value is not stored. Containers add where they hold it."""

    def __init__(self, value: object, annotation: object, because: str = "") -> None:
        super().__init__()
        self.value = value
        self.annotation = annotation
        self.because = because
        self.path: list[str] = []
        """Steps to the value, innermost first: ".price", "[0]"."""


class Unannotated(Refusal):
    """A value that no annotation describes and that is not plain."""


class Misfit(Exception):
    """Raised inside the codec: what is stored does not fit the annotation."""

    def __init__(self, because: str) -> None:
        super().__init__(because)
        self.because = because
        self.path: list[str] = []

    def __str__(self) -> str:
        where = "".join(reversed(self.path))
        return f"at {where.lstrip('.')}: {self.because}" if where else self.because


def refusal_text(refusal: Refusal, place: Place, whole: object) -> str:
    """The sentence for a refused value; `whole` is what the place holds."""
    value = refusal.value
    special = _special(value, place, whole)
    if special:
        return special
    if isinstance(refusal, Unannotated):
        return _unannotated(refusal, place, whole)
    where = place.at("".join(reversed(refusal.path)))
    if refusal.because:
        return f"{where} {refusal.because}"
    text = f"{where} holds {type_name(value)} where {render(refusal.annotation)} is annotated"
    kind = type(value)
    for expected in classes_in(refusal.annotation):
        if class_name(kind) == class_name(expected):
            if kind is expected:
                continue
            return (
                f"{text}. These are two classes of one name: the module was loaded twice, or the "
                "class was defined anew. Restart the process."
            )
        if issubclass(kind, expected) and expected is not object:
            return (
                f"{text}. An instance of a subclass would come back as {class_name(expected)}: "
                f"declare {class_name(kind)} itself, or a union of the classes, with a "
                "discriminator (a Literal field that differs) if it is not at the top of an "
                "annotation."
            )
    return f"{text}."


def _unannotated(refusal: Refusal, place: Place, whole: object) -> str:
    value = refusal.value
    held = refusal.because or type_name(value)
    text = (
        f"{place} holds {held} and no annotation says how to store it. "
        f"{place.line_for(shape(whole))}"
    )
    kind = type(value)
    if not is_storable_class(kind):
        text += f" {kind.__qualname__} is a plain class: make it a dataclass."
    return text


def _special(value: object, place: Place, whole: object) -> str:
    kind = type(value)
    model = class_of(value)
    if is_model(model):
        return (
            f"{place} holds a {class_name(model)}, a row that may change or go before it is read "
            f"again. Use Ref[{model.__qualname__}], which stores its primary key. "
            f"{place.line_for(shape(whole))}"
        )
    if kind.__module__ == "django.utils.functional" and "Lazy" in kind.__name__:
        return (
            f"{place} holds a {class_name(kind)}, which is loaded when it is used. Hand over what "
            "it stands for, a Ref(...) in place of a row."
        )
    if _is_deferred(kind):
        return (
            f"{place} holds a {class_name(kind)}, which is not a value yet. Wait for it with "
            ".result() or await, and use what it gives."
        )
    if isinstance(value, types.CoroutineType):
        return f"{place} holds a coroutine ({value.__qualname__}). Await it, and use its value."
    if isinstance(value, _CODE):
        return (
            f"{place} holds {type_name(value)} ({class_name(kind)}). Code is never stored: store "
            "a value that says which code to run."
        )
    if isinstance(value, _ONCE):
        return f"{place} holds a {class_name(kind)}, which can be read once. Make it a list."
    if kind.__name__ == "__proxy__" and kind.__module__ == "django.utils.functional":
        return (
            f"{place} holds a lazy text ({class_name(kind)}), which changes with the language. "
            "Call str() on it."
        )
    return ""


_CODE = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.MethodWrapperType,
    types.ModuleType,
)
_ONCE = (types.GeneratorType, types.AsyncGeneratorType, map, filter, zip)


def _is_deferred(kind: type) -> bool:
    # By name: this room lies below the one of the authors' classes.
    return any(
        base.__name__ == "Deferred" and base.__module__.partition(".")[0] == "django_infinitic"
        for base in kind.__mro__
    )
