"""Scalars: single values without parts, from `str` to `UUID`; dates and times are beside them."""

from __future__ import annotations

import binascii
from base64 import b64encode
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any
from uuid import UUID

from django_infinitic.codec.node import Node
from django_infinitic.codec.refusals import Misfit

__all__ = [
    "BoolNode",
    "BytesNode",
    "DecimalNode",
    "FloatNode",
    "IntNode",
    "NoneNode",
    "ScalarNode",
    "StrNode",
    "TextNode",
    "UUIDNode",
]


class ScalarNode(Node):
    """A class whose values have no parts.

    `tag` is the mark under which an untyped value of this class is stored; a value that was
    stored before its annotation was written is read by it too.
    """

    kind: type
    tag: str = ""

    def __init__(self) -> None:
        self.annotation = self.kind
        self.classes = frozenset({self.kind})

    def untag(self, tree: Any) -> Any:
        """Read JSON that is not of the usual kind: tagged, or else a misfit."""
        if self.tag and type(tree) is dict and len(tree) == 1 and self.tag in tree:
            return self.load(tree[self.tag])
        self.misfit(tree)


class NoneNode(ScalarNode):
    kind = type(None)
    kinds = frozenset({"null"})
    through = type(None)

    def dump(self, value: Any) -> Any:
        if value is not None:
            self.refuse(value)

    def load(self, tree: Any) -> Any:
        if tree is not None:
            self.misfit(tree)


class BoolNode(ScalarNode):
    kind = bool
    kinds = frozenset({"bool"})
    through = bool

    def dump(self, value: Any) -> Any:
        if type(value) is not bool:
            self.refuse(value)
        return value

    def load(self, tree: Any) -> Any:
        if type(tree) is not bool:
            self.misfit(tree)
        return tree


class StrNode(ScalarNode):
    """Instances of subclasses (`SafeString`, a member of `TextChoices`) arrive as plain text."""

    kind = str
    kinds = frozenset({"str"})
    through = str

    def takes(self, value: object) -> bool:
        return issubclass(type(value), str)

    def dump(self, value: Any) -> Any:
        if type(value) is str:
            return value
        # isinstance() believes lazy objects what they say of their class.
        if not issubclass(type(value), str):
            self.refuse(value)
        return str.__str__(value)  # str() of a SafeString is a SafeString

    def load(self, tree: Any) -> Any:
        if type(tree) is not str:
            self.misfit(tree)
        return tree


class IntNode(ScalarNode):
    """Instances of subclasses (a member of `IntEnum`, a `bool`) arrive as plain numbers."""

    kind = int
    kinds = frozenset({"int"})
    through = int

    def takes(self, value: object) -> bool:
        return issubclass(type(value), int)

    def dump(self, value: Any) -> Any:
        if type(value) is int:
            return value
        if not issubclass(type(value), int):
            self.refuse(value)
        return int.__int__(value)

    def load(self, tree: Any) -> Any:
        if type(tree) is not int:
            self.misfit(tree)
        return tree


class FloatNode(ScalarNode):
    """Takes an `int` too, as Python does, if the float is equal to it."""

    kind = float
    kinds = frozenset({"float"})

    def takes(self, value: object) -> bool:
        return type(value) is int or issubclass(type(value), float)

    def dump(self, value: Any) -> Any:
        kind = type(value)
        if kind is not float:
            if issubclass(kind, float):
                value = float.__float__(value)
            elif issubclass(kind, int) and kind is not bool:
                value = self._from_int(value)
            else:
                self.refuse(value)
        if not isfinite(value):
            self.refuse(value, f"holds {value!r}, a float that JSON does not have.")
        return value

    def _from_int(self, value: int) -> float:
        try:
            number = float(value)
        except OverflowError:
            number = 0.0
        if number != value:
            self.refuse(value, "holds an int that no float is equal to.")
        return number

    def load(self, tree: Any) -> Any:
        if type(tree) is int:
            tree = float(tree)
        if type(tree) is not float:
            self.misfit(tree)
        if not isfinite(tree):
            raise Misfit("found a number that no float holds")
        return tree


class TextNode(ScalarNode):
    """Values that are stored as a text of their own notation."""

    kinds = frozenset({"str"})
    notation: str

    def write(self, value: Any) -> str:
        raise NotImplementedError

    def read(self, text: str) -> Any:
        raise NotImplementedError

    def dump(self, value: Any) -> Any:
        if type(value) is not self.kind:
            self.refuse(value)
        return self.write(value)

    def load(self, tree: Any) -> Any:
        if type(tree) is not str:
            return self.untag(tree)
        try:
            return self.read(tree)
        except (ValueError, OverflowError, InvalidOperation):
            raise Misfit(f"found a text that is no {self.notation}") from None


class DecimalNode(TextNode):
    """A text, so that all digits are kept. Takes an `int` too, which arrives as a Decimal."""

    kind = Decimal
    tag = "$decimal"
    notation = "decimal number"

    def takes(self, value: object) -> bool:
        return type(value) is int

    def dump(self, value: Any) -> Any:
        kind = type(value)
        if kind is not Decimal:
            if not issubclass(kind, int) or kind is bool:
                self.refuse(value)
            value = Decimal(int.__int__(value))
        if not value.is_finite():
            self.refuse(value, f"holds Decimal({str(value)!r}), which is not a finite number.")
        return str(value)

    def read(self, text: str) -> Any:
        value = Decimal(text)
        if not value.is_finite():
            raise ValueError(text)
        return value

    def untag(self, tree: Any) -> Any:
        # The annotation may have been `int` when it was stored.
        return Decimal(tree) if type(tree) is int else super().untag(tree)


class UUIDNode(TextNode):
    kind = UUID
    tag = "$uuid"
    notation = "UUID"

    def write(self, value: Any) -> str:
        return str(value)

    def read(self, text: str) -> Any:
        return UUID(text)


class BytesNode(TextNode):
    """Base64."""

    kind = bytes
    tag = "$bytes"
    notation = "base64"

    def takes(self, value: object) -> bool:
        return issubclass(type(value), bytes)

    def dump(self, value: Any) -> Any:
        if not issubclass(type(value), bytes):
            self.refuse(value)
        return b64encode(value).decode("ascii")

    def read(self, text: str) -> Any:
        return binascii.a2b_base64(text, strict_mode=True)
