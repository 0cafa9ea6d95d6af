"""Values <-> columns: documents, ids and times as the rows have them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from django_infinitic.exceptions import SerializationError
from django_infinitic.machine.ids import STARTER_LANE, part_id, part_number

HEADER: Final = b"\x01\x00"
"""Format and codec of a body: room for compression and encryption without a migration."""

CUSTOM_ID_TAG: Final = "customId:"
"""A tag that begins so is the custom id itself: it has no row of its own."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_encode: Callable[[Any], str] = _encoder.encode
if getattr(json.encoder, "c_make_encoder", None) is not None:
    # `encode` makes this anew for each document, which costs as much as a small document does.
    # Without a memory of what is being encoded, which an error would leave full.
    _chunks = json.encoder.c_make_encoder(  # type: ignore[attr-defined]
        None,
        _encoder.default,
        json.encoder.c_encode_basestring,  # type: ignore[attr-defined]
        None,
        ":",
        ",",
        False,
        False,
        False,
    )

    def _encode(value: Any) -> str:
        return "".join(_chunks(value, 0))


def to_json(value: Any) -> str:
    """Compact JSON. Raises `TypeError` or `ValueError` for what JSON does not know."""
    return _encode(value)


def pack(value: Any) -> bytes:
    """A document as the bytes of a body."""
    return HEADER + _encode(value).encode()


def unpack(body: bytes | memoryview) -> Any:
    """The document of a body; `SerializationError` when a newer release wrote it."""
    if body[:2] != HEADER:
        raise SerializationError(
            f"A row has format {bytes(body[:2]).hex()}, and this release knows only "
            f"{HEADER.hex()}: a newer release wrote it."
        )
    return json.loads(bytes(body[2:]).decode())


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
