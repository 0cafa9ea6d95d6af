"""Sameness: equal values of the same types, all the way down."""

from __future__ import annotations

import dataclasses
import enum
from datetime import datetime, time
from decimal import Decimal
from typing import Any

from pydantic import BaseModel

__all__ = ["difference", "same"]


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal and of the same types in every part.

    Python's `==` is not enough: `True == 1`, `Status.OPEN == "open"`, and classes may define
    equality as they like. Dataclasses and models are compared by their fields.
    """
    kind = type(one)
    if kind is not type(other):
        return False
    if one is other:
        return True
    if issubclass(kind, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if issubclass(kind, dict):
        return (
            len(one) == len(other)
            and all(key in other and same(value, other[key]) for key, value in one.items())
            and _same_sets(set(one), set(other))
        )
    if issubclass(kind, (set, frozenset)):
        return _same_sets(one, other)
    if issubclass(kind, BaseModel):
        return (
            all(same(getattr(one, name), getattr(other, name)) for name in kind.model_fields)
            and same(one.__pydantic_extra__ or {}, other.__pydantic_extra__ or {})
            and bool(one == other)
        )
    if dataclasses.is_dataclass(kind):
        return all(
            same(getattr(one, field.name), getattr(other, field.name))
            for field in dataclasses.fields(kind)
        )
    if issubclass(kind, enum.Enum):
        return bool(one == other)
    if issubclass(kind, (datetime, time)):
        return bool(one == other) and one.utcoffset() == other.utcoffset()
    if issubclass(kind, Decimal):
        return str(one) == str(other)
    return bool(one == other)


def difference(one: Any, other: Any) -> str | None:
    """Where two JSON values differ first, like "price" or "[0].price"; None: nowhere."""
    path = _difference(one, other)
    return None if path is None else path.lstrip(".")


def _difference(one: Any, other: Any) -> str | None:
    if same(one, other):
        return None
    if type(one) is dict and type(other) is dict and one.keys() == other.keys():
        for key, value in one.items():
            path = _difference(value, other[key])
            if path is not None:
                return f".{key}{path}"
    if type(one) is list and type(other) is list and len(one) == len(other):
        for index, value in enumerate(one):
            path = _difference(value, other[index])
            if path is not None:
                return f"[{index}]{path}"
    return ""


def _same_sets(one: Any, other: Any) -> bool:
    if one != other:
        return False
    found = {item: item for item in other}
    return all(same(item, found[item]) for item in one)
