"""Limits of what may be stored: size and depth of one payload.

They are module state, not arguments, because every encoder asks them; `set_limits` is called
once, from the project's settings. Nothing here knows Django.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import from_json

from django_infinitic.exceptions import PayloadTooLargeError, SerializationError

__all__ = ["Limits", "check_payload", "limits", "set_limits"]

# What `int()` and the JSON parser accept.
MAX_DIGITS: Final = 4300

logger = logging.getLogger("django_infinitic.codec")


@dataclass(slots=True, kw_only=True)
class Limits:
    """What a payload may be. Sizes are bytes of UTF-8, depth counts nested arrays and objects."""

    payload: int = 2_000_000
    """Larger payloads are refused (`INFINITIC["PAYLOAD_LIMIT"]`)."""
    warn: int = 256_000
    """Larger payloads are logged as a warning, without their content."""
    depth: int = 64
    """Deeper payloads are refused."""


limits = Limits()


def set_limits(
    *, payload: int | None = None, warn: int | None = None, depth: int | None = None
) -> None:
    """Change the limits of this process; what is None stays as it is."""
    if payload is not None:
        limits.payload = payload
    if warn is not None:
        limits.warn = warn
    if depth is not None:
        limits.depth = depth


def check_payload(raw: bytes, place: object, *, deep: bool) -> None:
    """Refuse a payload that is too large or too deep, or holds what a database refuses.

    `deep`: whether its annotation allows arbitrary depth; otherwise that is not looked at.
    Raises `PayloadTooLargeError` or `SerializationError`.
    """
    size = len(raw)
    if size > limits.payload:
        raise PayloadTooLargeError(
            f"{place} is {size:,} bytes as JSON, the limit is {limits.payload:,} bytes "
            '(INFINITIC["PAYLOAD_LIMIT"]). Store it in a row or a file, and pass its key or a Ref.'
        )
    if size > limits.warn:
        logger.warning("%s is %s bytes as JSON; %s are refused.", place, size, limits.payload)
    if b"\\u0000" in raw and _holds_nul(from_json(raw)):
        raise SerializationError(
            f"{place} holds a text with a NUL character (\\x00), which databases do not store. "
            "Remove it, or use bytes."
        )
    if size > MAX_DIGITS and any(len(part) > MAX_DIGITS for part in raw.split(b",")):
        _refuse_endless_numbers(raw, place)
    # Brackets in texts are counted too: few of them prove that it is flat, many prove nothing.
    if deep and raw.count(b"[") + raw.count(b"{") > limits.depth:
        try:
            found = _depth(from_json(raw))
        except ValueError:  # the parser has a limit of its own, about 200
            found = limits.depth + 1
        if found > limits.depth:
            raise SerializationError(too_deep(place))


def _refuse_endless_numbers(raw: bytes, place: object) -> None:
    try:
        from_json(raw)
    except ValueError as error:
        if "number out of range" in str(error):
            raise SerializationError(
                f"{place} holds an int of more than {MAX_DIGITS} digits, which JSON readers refuse."
            ) from None


def too_deep(place: object) -> str:
    """The text for what is nested too deeply, or within itself."""
    return (
        f"{place} is nested more than {limits.depth} levels deep, or holds itself; "
        f"the limit is {limits.depth} levels."
    )


def _holds_nul(tree: Any) -> bool:
    rest = [tree]
    while rest:
        one = rest.pop()
        if isinstance(one, str):
            if "\0" in one:
                return True
        elif isinstance(one, dict):
            rest.extend(one)
            rest.extend(one.values())
        elif isinstance(one, list):
            rest.extend(one)
    return False


def _depth(tree: Any) -> int:
    depth = 0
    level = [tree]
    while level:
        inside: list[Any] = []
        some = False
        for one in level:
            if isinstance(one, dict):
                some = True
                inside.extend(one.values())
            elif isinstance(one, list):
                some = True
                inside.extend(one)
        depth += some
        level = inside
    return depth
