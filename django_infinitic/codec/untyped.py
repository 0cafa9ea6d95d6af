"""Untyped values: what is stored by its exact type, because no annotation describes it.

Plain JSON stands for itself. What JSON does not have becomes an object with one key: its tag,
which begins with "$"; a dict of the application that has such a key is stored under "$dict".
"""

from __future__ import annotations

from math import isfinite
from typing import Any, Final

from django_infinitic.codec.containers import in_order
from django_infinitic.codec.limits import limits
from django_infinitic.codec.node import Node
from django_infinitic.codec.places import MISSING
from django_infinitic.codec.plain import SCALARS, TAGS
from django_infinitic.codec.refusals import Misfit, Unannotated
from django_infinitic.codec.words import class_name

__all__ = ["UNTYPED", "UntypedNode"]

_AS_IT_IS: Final = frozenset({str, int, bool, type(None)})


class TooDeep(Exception):
    """Raised inside the codec: nested too deeply, or within itself."""


class UntypedNode(Node):
    """Any plain value, by `type()` and not by `isinstance()`."""

    annotation = MISSING
    opaque = True
    plain = False

    def dump(self, value: Any) -> Any:
        if type(value) in _AS_IT_IS:
            return value
        return self._dump(value, limits.depth)

    def _dump(self, value: Any, room: int) -> Any:
        kind = type(value)
        if kind in _AS_IT_IS:
            return value
        if kind is float:
            if not isfinite(value):
                self.refuse(value, f"holds {value!r}, a float that JSON does not have.")
            return value
        if room <= 0:
            raise TooDeep
        room -= 1
        if kind is list:
            return [self._dump(item, room) for item in value]
        if kind is dict:
            return self._dump_dict(value, room)
        if kind is tuple:
            return {"$tuple": [self._dump(item, room) for item in value]}
        if kind is set:
            return {"$set": in_order([self._dump(item, room) for item in value])}
        scalar = SCALARS.get(kind)
        if scalar is None:
            raise Unannotated(value, MISSING)
        return {scalar.tag: scalar.dump(value)}

    def _dump_dict(self, value: dict[Any, Any], room: int) -> Any:
        found = {}
        marked = False
        for key, item in value.items():
            if type(key) is not str:
                raise Unannotated(
                    value, MISSING, f"a dict with a key of type {class_name(type(key))}"
                )
            marked = marked or key[:1] == "$"
            found[key] = item if type(item) in _AS_IT_IS else self._dump(item, room)
        return {"$dict": found} if marked else found

    def load(self, tree: Any) -> Any:
        kind = type(tree)
        if kind is list:
            return [self.load(item) for item in tree]
        if kind is dict:
            if len(tree) == 1:
                ((key, inside),) = tree.items()
                if key[:1] == "$":
                    return self._load_tagged(key, inside)
            return {key: self.load(item) for key, item in tree.items()}
        if kind is float and not isfinite(tree):
            raise Misfit("found a number that no float holds")
        return tree

    def _load_tagged(self, tag: str, inside: Any) -> Any:
        scalar = TAGS.get(tag)
        if scalar is not None:
            return scalar.load(inside)
        if tag == "$dict" and type(inside) is dict:
            return {key: self.load(item) for key, item in inside.items()}
        if tag in ("$tuple", "$set") and type(inside) is list:
            items = [self.load(item) for item in inside]
            try:
                return tuple(items) if tag == "$tuple" else set(items)
            except TypeError as error:
                raise Misfit(f"its items cannot be in a set: {error}") from None
        raise Misfit(f"found an unknown tag {tag[:40]!r}")

    def view(self, tree: Any) -> Any:
        kind = type(tree)
        if kind is list:
            return [self.view(item) for item in tree]
        if kind is dict:
            if len(tree) == 1:
                ((key, inside),) = tree.items()
                if key in TAGS:
                    return inside
                if key in ("$tuple", "$set"):
                    return self.view(inside)
                if key == "$dict":
                    tree = inside
            return {key: self.view(item) for key, item in tree.items()}
        return tree


UNTYPED: Final = UntypedNode()
