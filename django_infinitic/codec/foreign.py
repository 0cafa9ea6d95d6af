"""Foreign types: what pydantic knows how to store, and this package does not.

That is classes with `__get_pydantic_core_schema__`, annotations with pydantic's constraints and
validators, and the rest of the types that pydantic supports. As nobody knows what they do, each
value is read back when it is written.
"""

from __future__ import annotations

import warnings
from typing import Annotated, Any, get_args, get_origin

from pydantic import ConfigDict, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter
from pydantic import ValidationError as PydanticValidationError
from pydantic_core import PydanticSerializationError, to_json

from django_infinitic.codec.node import Node
from django_infinitic.codec.refusals import Misfit
from django_infinitic.codec.sameness import same
from django_infinitic.codec.words import render, type_name

__all__ = ["ForeignNode", "Unsupported"]

_CONFIG = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants")
# Of a class that pydantic does not know metadata may say how it is stored.
_ANNOTATED = ConfigDict(**_CONFIG, arbitrary_types_allowed=True)


class Unsupported(Exception):
    """Raised inside the codec: nothing says how to store values of this annotation."""

    def __init__(self, what: str, why: str = "") -> None:
        super().__init__(what)
        self.why = why


class ForeignNode(Node):
    """An annotation that pydantic stores. `inner`: the same without pydantic's constraints."""

    opaque = True

    def __init__(self, annotation: Any, inner: Node | None = None) -> None:
        self.annotation = annotation
        self.inner = inner
        try:
            self._adapter: TypeAdapter[Any] = _adapter(annotation)
        except (PydanticSchemaGenerationError, PydanticUserError, TypeError) as error:
            raise Unsupported(render(annotation), _why(error)) from error
        bare = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
        origin = get_origin(bare) or bare
        self._class = origin if isinstance(origin, type) else None
        if inner is not None:
            self.classes = inner.classes
            self.kinds = inner.kinds
            self.plain = inner.plain
            self.opaque = inner.opaque
        elif self._class is not None:
            self.classes = frozenset({self._class})

    def fits(self, tree: Any) -> bool:
        return self.inner is None or self.inner.fits(tree)

    def children(self) -> tuple[Node, ...]:
        return () if self.inner is None else (self.inner,)

    def takes(self, value: object) -> bool:
        if self.inner is not None:
            return self.inner.takes(value)
        return self._class is None or issubclass(type(value), self._class)

    def dump(self, value: Any) -> Any:
        if self.inner is not None:
            return self._dump_constrained(value)
        if self._class is not None and not issubclass(type(value), self._class):
            self.refuse(value)
        try:
            tree = self._adapter.dump_python(value, mode="json", warnings="error")
            found = self.load(tree)
        except (PydanticSerializationError, UnicodeError, Misfit) as error:
            self.refuse(value, f"holds {type_name(value)} that does not come back: {error}")
        if type(found) is not type(value):
            self.refuse(value)
        if not self._equal(found, value, tree):
            self.refuse(value, f"holds {type_name(value)} that does not come back equal.")
        return tree

    def _equal(self, found: Any, value: Any, tree: Any) -> bool:
        eq: Any = type(value).__eq__
        if eq is object.__eq__:  # only its JSON can be compared
            again = self._adapter.dump_python(found, mode="json", warnings="error")
            return same(again, tree)
        return same(found, value)

    def _dump_constrained(self, value: Any) -> Any:
        assert self.inner is not None
        tree = self.inner.dump(value)
        try:
            found = self.load(tree)
        except Misfit as misfit:
            self.refuse(value, f"holds a value that its annotation does not allow: {misfit}")
        if not same(found, self.inner.load(tree)):
            self.refuse(value, "holds a value that its annotation would change.")
        return tree

    def load(self, tree: Any) -> Any:
        if self.inner is not None:
            value = self.inner.load(tree)
            try:
                return self._adapter.validate_python(value)
            except PydanticValidationError as error:
                raise Misfit(_what(error)) from None
        try:
            return self._adapter.validate_json(to_json(tree))
        except PydanticValidationError as error:
            raise Misfit(_what(error)) from None

    def view(self, tree: Any) -> Any:
        return tree if self.inner is None else self.inner.view(tree)


def _adapter(annotation: Any) -> TypeAdapter[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of metadata that is not pydantic's
        try:
            config = _ANNOTATED if get_origin(annotation) is Annotated else _CONFIG
            return TypeAdapter(annotation, config=config)
        except PydanticUserError as error:
            if error.code != "type-adapter-config-unused":
                raise
            return TypeAdapter(annotation)


def _why(error: Exception) -> str:
    # Of a class's own schema; pydantic's are about pydantic.
    return (
        "" if isinstance(error, (PydanticSchemaGenerationError, PydanticUserError)) else str(error)
    )


def _what(error: PydanticValidationError) -> str:
    # Without the input: error texts do not contain stored values.
    return "; ".join(
        f"{'.'.join(map(str, one['loc']))}: {one['msg']}" if one["loc"] else one["msg"]
        for one in error.errors(include_url=False, include_input=False, include_context=False)
    )
