"""Values <-> columns: documents, ids and times as the rows have them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from pydantic_core import to_json as fast_json

from django_infinitic.exceptions import SerializationError
from django_infinitic.machine.ids import STARTER_LANE, part_id, part_number

HEADER: Final = b"\x01\x00"
"""Format and codec of a body: room for compression and encryption without a migration."""

CUSTOM_ID_TAG: Final = "customId:"
"""A tag that begins so is the custom id itself: it has no row of its own."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_strict = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_read = json.JSONDecoder().raw_decode


def to_json(value: Any) -> str:
    """Compact JSON. Raises `TypeError` or `ValueError` for what JSON does not know."""
    return _strict(value)


def pack(value: Any) -> bytes:
    """A document as the bytes of a body: `TypeError` or `ValueError` for what is none.

    Pydantic's encoder takes a third of the time of Python's, goes 255 levels deep, and writes NaN.
    """
    try:
        packed: bytes = fast_json(value)
    except ValueError:
        return HEADER + _strict(value).encode()
    if b"NaN" in packed or b"Infinity" in packed:
        return HEADER + _strict(value).encode()
    return HEADER + packed


def unpack(body: bytes | memoryview) -> Any:
    """The document of a body; `SerializationError` when a newer release wrote it."""
    if body[:2] != HEADER:
        raise SerializationError(
            f"A row has format {bytes(body[:2]).hex()}, and this release knows only "
            f"{HEADER.hex()}: a newer release wrote it."
        )
    return _read(str(body[2:], "utf-8"))[0]


def as_id(value: object) -> str | None:
    """The usual form of an id, or None when it cannot be one of ours."""
    text = str(value)
    if _ID.fullmatch(text):
        return text
    try:
        return str(UUID(text))
    except ValueError:
        return None


def as_key(value: str) -> str:
    """An id as SQLite has it: 32 hexadecimal digits. No real id becomes "", which no row has."""
    if _ID.fullmatch(value):
        return value.replace("-", "")
    found = as_id(value)
    return "" if found is None else found.replace("-", "")


def from_key(key: str) -> str:
    """The reverse of `as_key`."""
    return f"{key[:8]}-{key[8:12]}-{key[12:16]}-{key[16:20]}-{key[20:]}"


def to_datetime(micros: int) -> datetime:
    """Microseconds since 1970 as an aware datetime."""
    return EPOCH + timedelta(microseconds=micros)


def to_micros(moment: datetime) -> int:
    """The reverse of `to_datetime`."""
    return (moment - EPOCH) // MICROSECOND


def open_text(streams: Iterable[int]) -> str:
    """Numbers of streams as their column has them."""
    return ",".join(map(str, streams))


def open_streams(text: str) -> tuple[int, ...]:
    """The reverse of `open_text`."""
    return tuple(int(number) for number in text.split(",") if number)


def tag_rows(tags: Iterable[str]) -> list[str]:
    """Tags that have a row of their own, in order, each once."""
    return [tag for tag in dict.fromkeys(tags) if not tag.startswith(CUSTOM_ID_TAG)]


def part_of(workflow: str, instance: str, parts: int) -> int:
    """The part of a new instance."""
    return part_id(workflow, part_number(instance, parts))


@lru_cache(maxsize=1000)
def lane_of(workflow: str) -> int:
    """The starter lane of a workflow."""
    return part_id(workflow, STARTER_LANE)


def is_lane(part: int) -> bool:
    """Whether a part is a starter lane."""
    return part & 255 == STARTER_LANE
