"""Declared exceptions: how they are stored, and raised again as themselves."""

from __future__ import annotations

import logging

from django_infinitic.codec import encode_exception_args, rebuild_exception
from django_infinitic.exceptions import DeferredError
from django_infinitic.failures import class_name

logger = logging.getLogger("django_infinitic")


def declared_as(
    error: BaseException, raises: tuple[type[Exception], ...]
) -> tuple[str, str] | None:
    """Stored name and encoded `args` of a declared exception; None for any other.

    Of a subclass the nearest declared base counts. An exception that `Class(*args)` would not make
    again is an ordinary failure.
    """
    declared = nearest(error, raises)
    if declared is None:
        return None
    payload = encode_exception_args(error.args)
    if payload is None or rebuild_exception(declared, payload) is None:
        logger.warning(
            "%s was raised as declared, but %s(*args) does not make it again from plain values, so "
            "it is an ordinary failure. Hand all arguments to super().__init__().",
            class_name(type(error)),
            declared.__name__,
        )
        return None
    return class_name(declared), payload


def nearest(error: BaseException, raises: tuple[type[Exception], ...]) -> type[Exception] | None:
    """The nearest declared class of an exception."""
    for base in type(error).__mro__:
        if base in raises:
            found: type[Exception] = base
            return found
    return None


def raised_for(error: DeferredError, raises: tuple[type[Exception], ...]) -> Exception:
    """What a waiter that knows these classes gets: the declared exception itself, or the error."""
    declared = getattr(error, "declared", None)
    if declared is None:
        return error
    name, payload = declared
    for kind in raises:
        if class_name(kind) == name:
            return rebuild_exception(kind, payload) or error
    return error
