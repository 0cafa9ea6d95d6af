"""Hints: the annotations of classes and functions, resolved, with type variables filled in."""

from __future__ import annotations

import dataclasses
import inspect
import sys
import types
from collections.abc import Mapping
from typing import Any, ForwardRef, TypeVar, get_args, get_origin, get_type_hints

from django_infinitic.codec.words import is_model

__all__ = [
    "UnresolvedHint",
    "class_hints",
    "function_hints",
    "model_in",
    "own_hints",
    "resolved",
    "with_args",
]


class UnresolvedHint(Exception):
    """An annotation whose names do not exist where it was written."""

    def __init__(self, annotation: str, error: BaseException) -> None:
        super().__init__(f"{annotation!r} cannot be resolved: {error}")
        self.annotation = annotation


def raw_annotations(owner: Any) -> dict[str, Any]:
    """The annotations written in a class body or a signature, perhaps as text."""
    try:
        return dict(inspect.get_annotations(owner))
    except NameError:  # Python 3.14 evaluates them now; a name may not exist yet
        import annotationlib  # type: ignore[import-not-found,unused-ignore]

        found: dict[str, Any] = annotationlib.get_annotations(
            owner, format=annotationlib.Format.FORWARDREF
        )
        return found


def resolved(raw: Any, owner: Any) -> Any:
    """One annotation with its texts evaluated as the class or function `owner` sees them.

    Raises `UnresolvedHint`.
    """
    module = sys.modules.get(getattr(owner, "__module__", ""), None)
    names = dict(vars(module)) if module is not None else {}
    if isinstance(owner, type):
        local: dict[str, Any] = {**vars(owner), owner.__name__: owner}
    else:
        names = getattr(owner, "__globals__", names)
        local = {}
    for parameter in getattr(owner, "__type_params__", ()):
        local[parameter.__name__] = parameter
    holder = types.SimpleNamespace(__annotations__={"it": raw})
    try:
        return get_type_hints(holder, names, local, include_extras=True)["it"]
    except Exception as error:  # what evaluating a text may raise
        text = raw.__forward_arg__ if isinstance(raw, ForwardRef) else raw
        raise UnresolvedHint(text if isinstance(text, str) else str(text), error) from error


def function_hints(function: Any) -> dict[str, Any]:
    """The raw annotations of a function; resolve each with `resolved(raw, function)`."""
    return raw_annotations(inspect.unwrap(function))


def own_hints(cls: type) -> dict[str, tuple[Any, type]]:
    """Name to (raw annotation, class that wrote it), base classes included."""
    found: dict[str, tuple[Any, type]] = {}
    for base in reversed(cls.__mro__):
        if base.__module__ == "builtins":
            continue
        for name, raw in raw_annotations(base).items():
            found[name] = (raw, base)
    return found


def class_hints(cls: type, args: tuple[Any, ...] = ()) -> dict[str, Any]:
    """The resolved annotations of a class and its bases, `args` being those of a generic class.

    Raises `UnresolvedHint`.
    """
    given: dict[type, dict[Any, Any]] = {}
    _collect(cls, args, given)
    return {
        name: with_args(resolved(raw, base), given.get(base, {}))
        for name, (raw, base) in own_hints(cls).items()
    }


def typed_dict_hints(cls: type, args: tuple[Any, ...] = ()) -> dict[str, Any]:
    """As `class_hints`, for a TypedDict, whose bases are not among its bases at run time."""
    given: dict[type, dict[Any, Any]] = {}
    _collect(cls, args, given)
    merged = {key: value for one in given.values() for key, value in one.items()}
    try:
        hints = get_type_hints(cls, include_extras=True)
    except Exception as error:
        raise UnresolvedHint(cls.__qualname__, error) from error
    return {name: with_args(hint, merged) for name, hint in hints.items()}


def _collect(cls: type, args: tuple[Any, ...], given: dict[type, dict[Any, Any]]) -> None:
    """What each generic base of a class got for its type variables."""
    parameters = getattr(cls, "__parameters__", ())
    if args and cls not in given:
        given[cls] = dict(zip(parameters, args, strict=False))
    known = given.get(cls, {})
    for base in getattr(cls, "__orig_bases__", cls.__bases__):
        origin = get_origin(base)
        if origin is None:
            if isinstance(base, type):
                _collect(base, (), given)
        elif isinstance(origin, type):
            _collect(origin, tuple(with_args(arg, known) for arg in get_args(base)), given)


def with_args(annotation: Any, given: Mapping[Any, Any]) -> Any:
    """An annotation with type variables replaced."""
    if not given:
        return annotation
    if isinstance(annotation, TypeVar):
        return given.get(annotation, annotation)
    parameters = getattr(annotation, "__parameters__", ())
    if not parameters or isinstance(annotation, type):
        return annotation
    return annotation[tuple(given.get(one, one) for one in parameters)]


def model_in(annotation: Any, depth: int = 0) -> type | None:
    """The first Django model in an annotation, in the fields of dataclasses too."""
    if is_model(annotation):
        assert isinstance(annotation, type)
        return annotation
    origin = get_origin(annotation)
    if isinstance(origin, type) and hasattr(origin, "__get_pydantic_core_schema__"):
        return None  # Ref[Model]
    for arg in get_args(annotation):
        model = model_in(arg, depth)
        if model is not None:
            return model
    if depth < 5 and isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        for raw, owner in own_hints(annotation).values():
            try:
                model = model_in(resolved(raw, owner), depth + 1)
            except UnresolvedHint:
                continue
            if model is not None:
                return model
    return None
