"""Choices: values of a closed set, that is enums and literals."""

from __future__ import annotations

import enum
from typing import Any

from pydantic_core import to_json

from django_infinitic.codec.node import Node, json_kind
from django_infinitic.codec.plain import SCALARS
from django_infinitic.codec.refusals import Misfit, Refusal
from django_infinitic.codec.untyped import UNTYPED
from django_infinitic.codec.words import class_name, type_name

__all__ = ["EnumNode", "LiteralNode"]


def _key(tree: Any) -> Any:
    """A dictionary key for JSON, in which `1`, `1.0` and `True` differ."""
    return (type(tree), tree) if type(tree) not in (list, dict) else to_json(tree)


class EnumNode(Node):
    """Members are stored as their values, or as their names when a value is not plain."""

    def __init__(self, cls: type[enum.Enum]) -> None:
        self.annotation = self.cls = cls
        self.classes = frozenset({cls})
        self._by_name = False
        try:
            trees = {name: UNTYPED.dump(member.value) for name, member in self._members()}
        except Refusal:
            self._by_name = True
            trees = {name: name for name, _ in self._members()}
        self._trees = trees
        self._values = {_key(trees[name]): member for name, member in self._members()}
        self._flags = issubclass(cls, enum.Flag)
        kinds = {json_kind(tree) for tree in trees.values()}
        self.kinds = frozenset(kinds | ({"int"} if self._flags else set()))
        self.plain = not kinds & {"list", "dict"}

    def _members(self) -> list[tuple[str, enum.Enum]]:
        return [(member.name, member) for member in self.cls]

    def dump(self, value: Any) -> Any:
        if type(value) is not self.cls:
            self.refuse(value)
        tree = self._trees.get(value._name_, self)
        if tree is self:
            return int(value.value)  # flags: a combination has no name of its own
        return tree

    def load(self, tree: Any) -> Any:
        member = self._values.get(_key(tree))
        if member is not None:
            return member
        if self._by_name:
            raise Misfit(f"found a name that no member of {class_name(self.cls)} has")
        try:
            return self.cls(UNTYPED.load(tree))  # `_missing_` may know it
        except (ValueError, TypeError):
            raise Misfit(f"found a value that no member of {class_name(self.cls)} has") from None

    def view(self, tree: Any) -> Any:
        return UNTYPED.view(tree)


class LiteralNode(Node):
    """`Literal[...]`: exactly these values, `1` and `True` being different ones."""

    def __init__(self, annotation: object, values: tuple[Any, ...]) -> None:
        self.annotation = annotation
        self.values = values
        self._classes = frozenset(type(value) for value in values)
        self.classes = self._classes
        self._trees: dict[Any, Any] = {}
        self._values: dict[Any, Any] = {}
        for value in values:
            tree = self._node(value).dump(value)
            if _key(tree) in self._values:
                raise Refusal(value, annotation, "has two literals that are stored alike.")
            self._trees[(type(value), value)] = tree
            self._values[_key(tree)] = value
        self.kinds = frozenset(json_kind(tree) for tree in self._trees.values())

    @staticmethod
    def _node(value: Any) -> Node:
        return EnumNode(type(value)) if isinstance(value, enum.Enum) else SCALARS[type(value)]

    def fits(self, tree: Any) -> bool:
        return _key(tree) in self._values

    def dump(self, value: Any) -> Any:
        try:
            return self._trees[(type(value), value)]
        except (KeyError, TypeError):
            pass
        if type(value) in self._classes:
            self.refuse(value, f"holds {type_name(value)} that is none of the annotated literals.")
        self.refuse(value)

    def load(self, tree: Any) -> Any:
        try:
            return self._values[_key(tree)]
        except KeyError:
            raise Misfit("found a value that is none of the annotated literals") from None

    def view(self, tree: Any) -> Any:
        return UNTYPED.view(tree)
