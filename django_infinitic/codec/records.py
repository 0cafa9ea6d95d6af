"""Records: values with named fields, that is dataclasses, TypedDicts and NamedTuples.

A record is restored, not constructed anew: its fields get the stored values and neither
`__init__` nor validators run, so that a value comes back as it was. Only `__post_init__` and
`model_post_init`, which may set what is no field, run again; then encoding proves that they
change nothing (`Node.unsure`).

What classes may do between deploys: a new field with a default is filled in, a stored field that
the class no longer has is ignored.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from django_infinitic.codec.choices import LiteralNode
from django_infinitic.codec.node import Node
from django_infinitic.codec.refusals import Misfit, Refusal
from django_infinitic.codec.words import class_name

__all__ = [
    "REQUIRED",
    "DataclassNode",
    "Field",
    "NamedTupleNode",
    "RecordNode",
    "TypedDictNode",
]


class _Required:
    __slots__ = ()


REQUIRED: Final = _Required()
"""Stands for the default of a field without one."""


class Field(NamedTuple):
    """A field of a record. `default` is called when nothing is stored, unless it is `REQUIRED`."""

    name: str
    node: Node
    default: Callable[[], Any] | _Required = REQUIRED


class RecordNode(Node):
    """A class with named fields, stored as an object."""

    kinds = frozenset({"dict"})

    def __init__(self, annotation: object, cls: type) -> None:
        self.annotation = annotation
        self.cls = cls
        self.classes = frozenset({cls})
        self.fields: tuple[Field, ...] = ()

    def complete(self, fields: Sequence[Field]) -> None:
        """Give the fields, once their nodes are there: they may lead back to this one."""
        self.fields = tuple(fields)
        self._parts = [
            (field.name, field.node.through, field.node.dump, field.node.load, field.default)
            for field in self.fields
        ]
        self._needed = frozenset(
            field.name for field in self.fields if isinstance(field.default, _Required)
        )
        # What tells records of a union apart is looked at before anything else is read.
        self._literals = [
            (field.name, field.node) for field in self.fields if isinstance(field.node, LiteralNode)
        ]

    def children(self) -> tuple[Node, ...]:
        return tuple(field.node for field in self.fields)

    def dump(self, value: Any) -> Any:
        if type(value) is not self.cls:
            self.refuse(value)
        tree = {}
        name = ""
        try:
            for name, through, dump, _, _ in self._parts:
                part = getattr(value, name)
                tree[name] = part if type(part) is through else dump(part)
        except Refusal as refusal:
            refusal.path.append(f".{name}")
            raise
        except AttributeError:
            self.refuse(value, f"holds a {class_name(self.cls)} without its field {name}.")
        return tree

    def fits(self, tree: Any) -> bool:
        return (
            type(tree) is dict
            and self._needed <= tree.keys()
            and all(node.fits(tree[name]) for name, node in self._literals if name in tree)
        )

    def load(self, tree: Any) -> Any:
        return self.restore(self.load_fields(tree))

    def load_fields(self, tree: Any) -> dict[str, Any]:
        """The values of the fields."""
        if type(tree) is not dict:
            self.misfit(tree)
        values = {}
        name = ""
        try:
            for name, through, _, load, default in self._parts:
                if name in tree:
                    part = tree[name]
                    values[name] = part if type(part) is through else load(part)
                elif isinstance(default, _Required):
                    raise Misfit(f"found no value for the field {name} of {class_name(self.cls)}")
                else:
                    values[name] = default()
        except Misfit as misfit:
            if name in tree:
                misfit.path.append(f".{name}")
            raise
        return values

    def restore(self, values: dict[str, Any]) -> Any:
        """The value with these fields."""
        raise NotImplementedError

    def view(self, tree: Any) -> Any:
        return {
            field.name: field.node.view(tree[field.name])
            for field in self.fields
            if field.name in tree
        }


class DataclassNode(RecordNode):
    """A dataclass, of the standard library or of pydantic."""

    def __init__(self, annotation: object, cls: type) -> None:
        super().__init__(annotation, cls)
        declared = {field.name for field in dataclasses.fields(cls)}
        # In `__dict__` lie all of them, or some lie in slots or behind properties.
        self._by_dict = bool(cls.__dictoffset__) and not any(
            isinstance(_static(cls, name), (types.MemberDescriptorType, property))
            for name in declared
        )
        init_only = any(
            field._field_type is dataclasses._FIELD_INITVAR  # type: ignore[attr-defined]
            for field in cls.__dataclass_fields__.values()  # type: ignore[attr-defined]
        )
        # What `InitVar`s were is not known any more, so it cannot be called again.
        self.unsure = hasattr(cls, "__post_init__") and not init_only

    def restore(self, values: dict[str, Any]) -> Any:
        cls: Any = self.cls
        instance = cls.__new__(cls)
        if self._by_dict:
            _set(instance, "__dict__", values)
        else:
            for name, value in values.items():
                _set(instance, name, value)
        if self.unsure:
            try:
                instance.__post_init__()
            except Exception as error:
                raise Misfit(
                    f"{class_name(self.cls)}.__post_init__ raised {type(error).__name__}"
                ) from error
        return instance


class TypedDictNode(RecordNode):
    """A TypedDict: a plain dict with exactly the keys that are annotated."""

    opaque = True

    def __init__(self, annotation: object, cls: type) -> None:
        super().__init__(annotation, cls)
        self.classes = frozenset({dict})

    def complete(self, fields: Sequence[Field], optional: frozenset[str] = frozenset()) -> None:
        """As for any record; `optional` are the keys that may be missing."""
        super().complete(fields)
        self._nodes = {field.name: field.node for field in fields}
        self._needed = frozenset(self._nodes) - optional

    def dump(self, value: Any) -> Any:
        if type(value) is not dict:
            self.refuse(value)
        missing = self._needed - value.keys()
        if missing:
            self.refuse(value, f"holds a dict without the key {min(missing)!r}.")
        tree = {}
        name: Any = ""
        try:
            for name, item in value.items():
                node = self._nodes.get(name) if type(name) is str else None
                if node is None:
                    self.refuse(
                        value,
                        f"holds a dict with a key that {class_name(self.cls)} does not have.",
                    )
                tree[name] = item if type(item) is node.through else node.dump(item)
        except Refusal as refusal:
            if refusal.value is not value:
                refusal.path.append(f"[{name!r}]")
            raise
        return tree

    def load_fields(self, tree: Any) -> dict[str, Any]:
        if type(tree) is not dict:
            self.misfit(tree)
        missing = self._needed - tree.keys()
        if missing:
            raise Misfit(f"found no value for the key {min(missing)!r}")
        values = {}
        name = ""
        try:
            for name, item in tree.items():
                node = self._nodes.get(name)
                if node is not None:
                    values[name] = node.load(item)
        except Misfit as misfit:
            misfit.path.append(f"[{name!r}]")
            raise
        return values

    def restore(self, values: dict[str, Any]) -> Any:
        return values


class NamedTupleNode(RecordNode):
    """A NamedTuple, as an array in the order of its fields."""

    kinds = frozenset({"list"})

    def fits(self, tree: Any) -> bool:
        return type(tree) is list and len(self._needed) <= len(tree) <= len(self.fields)

    def dump(self, value: Any) -> Any:
        return list(super().dump(value).values())

    def load_fields(self, tree: Any) -> dict[str, Any]:
        if type(tree) is not list:
            self.misfit(tree)
        names = [field.name for field in self.fields]
        return super().load_fields(dict(zip(names, tree, strict=False)))

    def restore(self, values: dict[str, Any]) -> Any:
        return tuple.__new__(self.cls, values.values())

    def view(self, tree: Any) -> Any:
        return [field.node.view(item) for field, item in zip(self.fields, tree, strict=False)]


_set: Final = object.__setattr__


def _static(cls: type, name: str) -> object:
    for base in cls.__mro__:
        if name in base.__dict__:
            return base.__dict__[name]
    return None
