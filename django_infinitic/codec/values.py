"""Values: the codec of one annotation, between values and payloads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from pydantic_core import PydanticSerializationError, from_json, to_json

from django_infinitic.codec.annotations import ModelAnnotation, compile_annotation
from django_infinitic.codec.foreign import Unsupported
from django_infinitic.codec.hints import UnresolvedHint
from django_infinitic.codec.limits import check_payload, limits, too_deep
from django_infinitic.codec.node import Never, Node, all_below, depth_of
from django_infinitic.codec.places import MISSING, Place
from django_infinitic.codec.refusals import Misfit, Refusal, refusal_text
from django_infinitic.codec.sameness import difference
from django_infinitic.codec.unions import ARM, VALUE, ArmsNode, OptionalNode, is_envelope
from django_infinitic.codec.untyped import TooDeep
from django_infinitic.codec.words import arm_name, class_name, render, type_name
from django_infinitic.exceptions import SerializationError

__all__ = ["Payload", "ValueCodec", "codec_for", "write"]

Payload = str
"""Compact JSON text."""

# Compiling runs code of applications (metadata, default factories), which may ask for a codec.
_lock: Final = threading.RLock()


class ValueCodec:
    """Encodes the values of one annotation; compiled at its first use. Get one by `codec_for`.

    Encoding is at the same time the copy: `decode(encode(x))` has the same type and is equal to
    `x`, else `encode` refuses.
    """

    __slots__ = (
        "_annotation",
        "_node",
        "_plain",
        "_resolve",
        "_through",
        "_unsure",
        "_wraps",
        "deep",
    )

    def __init__(self, annotation: object, resolve: Callable[[], object] | None = None) -> None:
        self._annotation = annotation
        self._resolve = resolve
        self._node: Node | None = None
        self._through: type = Never
        self._plain = False
        self._unsure = False
        self._wraps = False
        self.deep = True
        """Whether values may be nested deeper than the limit."""

    def __repr__(self) -> str:
        return f"ValueCodec({render(self._annotation)})"

    @property
    def annotation(self) -> object:
        """The annotation; `MISSING` when there is none. Raises `SerializationError` when its
        names do not exist."""
        try:
            return self._resolved()
        except UnresolvedHint as error:
            raise SerializationError(f"An annotation: {_unresolved(error)}") from error

    def _resolved(self) -> object:
        if self._resolve is not None:
            self._annotation = self._resolve()
            self._resolve = None
        return self._annotation

    def encode(self, value: object, place: Place) -> Payload:
        """The payload of a value; `place` says in an error where the value is.

        Raises `SerializationError` when it would not come back as the same type and an equal
        value, `PayloadTooLargeError` when it is larger than the limit.
        """
        tree = value if type(value) is self._through else self.dump(value, place)
        return write(tree, place, deep=self.deep)

    def decode(self, payload: Payload, place: Place) -> Any:
        """The value of a payload, always a fresh one. Raises `SerializationError`."""
        try:
            tree = from_json(payload, allow_inf_nan=False)
        except ValueError as error:
            raise SerializationError(f"What is stored for {place} is no JSON: {error}") from None
        return self.load(tree, place)

    def dump(self, value: object, place: Place) -> Any:
        """As `encode`, but JSON as Python objects, whose size has not been checked."""
        node = self._node or self._compile(place)
        try:
            tree = node.dump(value)
            if self._unsure:
                prove(node, value, tree)
        except Refusal as refusal:
            raise SerializationError(refusal_text(refusal, place, value)) from None
        except (TooDeep, RecursionError):
            raise SerializationError(too_deep(place)) from None
        if self._wraps and is_envelope(tree):
            return {ARM: render(self._annotation), VALUE: tree}
        return tree

    def load(self, tree: Any, place: Place) -> Any:
        """As `decode`, from JSON as Python objects, parts of which may become the value."""
        node = self._node or self._compile(place)
        try:
            if type(tree) is dict and not isinstance(node, ArmsNode) and is_envelope(tree):
                tree = self._unwrap(tree)
            return node.load(tree)
        except Misfit as misfit:
            raise SerializationError(
                f"What is stored for {place} does not fit {render(self._annotation)}: {misfit}. "
                "Did its annotation change after it was stored?"
            ) from None
        except RecursionError:
            raise SerializationError(too_deep(place)) from None

    def view(self, payload: Payload) -> Any:
        """The value as plain JSON, as a jsonpath query sees it.

        Dataclasses and models are objects, dates, Decimal and UUID texts, enums their values,
        sets and tuples arrays, bytes base64; no arm names, no tags. Raises `SerializationError`.
        """
        place = Place("value", "a query")
        node = self._node or self._compile(place)
        tree = from_json(payload, allow_inf_nan=False)
        try:
            if type(tree) is dict and not isinstance(node, ArmsNode) and is_envelope(tree):
                tree = self._unwrap(tree)
            return tree if self._plain else node.view(tree)
        except Misfit as misfit:
            raise SerializationError(
                f"What is stored does not fit {render(self._annotation)}: {misfit}."
            ) from None

    def arm(self, payload: Payload) -> str | None:
        """The name of the stored arm's class in a union, "shop.models.Meter" or "builtins.str".

        None for an annotation that is no union, and for a stored `None`.

        Raises `SerializationError` when the annotation has no such arm any more.
        """
        node = self._node or self._compile(Place("value", "a query"))
        if not isinstance(node, ArmsNode):
            return None
        arm = self._arm(payload)
        return None if arm is None else arm_name(arm.annotation)

    def matches(self, payload: Payload, cls: Any) -> bool:
        """Whether the stored value is of this class, of the arms of the declared union.

        `cls` may also be the name of a class, "shop.models.Meter".
        """
        node = self._node or self._compile(Place("value", "a query"))
        if payload == "null" and cls in (None, type(None)):
            return True
        if isinstance(node, ArmsNode):
            arm = self._arm(payload)
            return arm is not None and _is_arm(arm, cls)
        if self._annotation is MISSING:
            return type(self.decode(payload, Place("value", "a query"))) is cls
        if isinstance(node, OptionalNode):
            return payload != "null" and _is_arm(node.inner, cls)
        return _is_arm(node, cls)

    def _arm(self, payload: Payload) -> Node | None:
        assert isinstance(self._node, ArmsNode)
        try:
            return self._node.arm_of(from_json(payload, allow_inf_nan=False))
        except Misfit as misfit:
            raise SerializationError(f"What is stored does not fit: {misfit}.") from None

    def _unwrap(self, tree: dict[str, Any]) -> Any:
        name = tree[ARM]
        node = self._node
        inner = node.inner if isinstance(node, OptionalNode) else node
        assert inner is not None
        if name not in (
            render(self._annotation),
            render(inner.annotation),
            arm_name(inner.annotation),
        ):
            raise Misfit(f"it was stored as {name}, which the annotation does not have")
        return tree[VALUE]

    def _compile(self, place: Place) -> Node:
        with _lock:
            if self._node is not None:
                return self._node
            annotation = self._annotation
            try:
                annotation = self._resolved()
                node = compile_annotation(annotation)
            except UnresolvedHint as error:
                raise SerializationError(f"{place}: {_unresolved(error)}") from error
            except ModelAnnotation as error:
                raise SerializationError(f"{place}: {model_text(error.model)}") from error
            except Unsupported as error:
                raise SerializationError(unsupported_text(place, annotation, error)) from error
            except Refusal as refusal:
                raise SerializationError(f"The annotation of {place} {refusal.because}") from None
            below = all_below(node)
            self.deep = depth_of(node) > limits.depth
            self._plain = all(one.plain for one in below)
            self._unsure = any(one.unsure for one in below)
            self._wraps = node.opaque and not isinstance(node, ArmsNode)
            self._through = node.through
            self._node = node
            return node


def prove(node: Node, value: object, tree: Any) -> None:
    """Load what was dumped, and see that it would be dumped alike. Raises `Refusal`."""
    try:
        again = node.dump(node.load(tree))
    except Misfit as misfit:
        raise Refusal(
            value, node.annotation, f"holds {type_name(value)} that does not come back: {misfit}."
        ) from None
    path = difference(tree, again)
    if path is not None:
        raise Refusal(
            value,
            node.annotation,
            f"holds {type_name(value)} that does not come back as it is{path and ', at ' + path}: "
            "a __post_init__ or model_post_init changes it once more.",
        )


def write(tree: Any, place: object, *, deep: bool) -> Payload:
    """JSON as a payload. Raises `SerializationError` and `PayloadTooLargeError`."""
    try:
        raw = to_json(tree)
    except (PydanticSerializationError, UnicodeError, ValueError, RecursionError) as error:
        if "surrogates" in str(error) or "UnicodeEncodeError" in str(error):
            raise SerializationError(
                f"{place} holds a text with a lone surrogate (half a character), which cannot be "
                "stored. Decode bytes with errors='replace', or use bytes."
            ) from None
        raise SerializationError(f"{place} cannot be written as JSON: {error}") from error
    check_payload(raw, place, deep=deep)
    return raw.decode()


def model_text(model: type) -> str:
    """The sentence for an annotation that names a Django model."""
    return (
        f"{class_name(model)} is a model, whose rows may change or go before they are read again. "
        f"Annotate Ref[{model.__qualname__}], pass Ref(...), and load the row with .get()."
    )


def unsupported_text(place: Place, annotation: object, error: Unsupported) -> str:
    """The sentence for an annotation that says nothing about storing."""
    what = str(error)
    where = "" if what == render(annotation) else f" (in {render(annotation)})"
    if error.why:
        return f"{place} is annotated with {what}{where}: {error.why}"
    return (
        f"{place} is annotated with {what}{where}, and nothing says how to store that. Make it "
        "a dataclass or a pydantic model, or give it __get_pydantic_core_schema__."
    )


def _unresolved(error: UnresolvedHint) -> str:
    return (
        f"its annotation {error}. The names in an annotation must exist in its module at run time "
        "(not only under TYPE_CHECKING or inside a function)."
    )


def _is_arm(node: Node, cls: Any) -> bool:
    if isinstance(cls, str):
        return cls == arm_name(node.annotation)
    if node.annotation == cls:
        return True
    return isinstance(cls, type) and node.classes is not None and node.classes == {cls}


_codecs: dict[Any, ValueCodec] = {}
_UNTYPED = ValueCodec(MISSING)


def codec_for(annotation: object) -> ValueCodec:
    """The codec of an annotation; `MISSING`, `Any` and `object` have that of untyped values."""
    if annotation is MISSING or annotation is Any or annotation is object:
        return _UNTYPED
    # `A | B` equals `B | A`, but of two arms that write the same the first one reads it.
    key = annotation if isinstance(annotation, type) else (annotation, render(annotation))
    try:
        codec = _codecs.get(key)
        if codec is None:
            codec = _codecs.setdefault(key, ValueCodec(annotation))
    except TypeError:  # metadata that has no hash
        return ValueCodec(annotation)
    return codec
