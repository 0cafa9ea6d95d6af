"""Raised: the arguments of declared exceptions, which travel without annotation."""

from __future__ import annotations

from typing import Any, TypeVar

from django_infinitic.codec.places import MISSING, Place
from django_infinitic.codec.sameness import same
from django_infinitic.codec.values import Payload, codec_for
from django_infinitic.exceptions import SerializationError

__all__ = ["decode_exception_args", "encode_exception_args", "rebuild_exception"]

E = TypeVar("E", bound=BaseException)

_PLACE = Place("the arguments", "a declared exception")


def encode_exception_args(args: tuple[Any, ...]) -> Payload | None:
    """The payload of `exception.args`; None when they are not plain values."""
    try:
        return codec_for(MISSING).encode(list(args), _PLACE)
    except SerializationError:
        return None


def decode_exception_args(payload: Payload) -> tuple[Any, ...]:
    """The `args` of a payload. Raises `SerializationError`."""
    args = codec_for(MISSING).decode(payload, _PLACE)
    if type(args) is not list:
        raise SerializationError("What is stored as arguments of an exception is no array.")
    return tuple(args)


def rebuild_exception(cls: type[E], payload: Payload) -> E | None:
    """`cls(*args)`; None when that fails or has other `args`, so that it cannot travel."""
    args = decode_exception_args(payload)
    try:
        exception = cls(*args)
    except Exception:  # of an application's constructor
        return None
    return exception if same(exception.args, args) else None
