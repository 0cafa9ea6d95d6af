"""Rows: documents as bytes in the database.

One byte for the version of the format, one for the codec, then the document; so that compression
or encryption needs no migration.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic_core import PydanticSerializationError, from_json, to_json

from django_infinitic.exceptions import SerializationError

__all__ = ["CODEC", "FORMAT", "pack", "unpack"]

FORMAT: Final = 1
CODEC: Final = 0
"""JSON."""

_HEAD: Final = bytes((FORMAT, CODEC))


def pack(document: dict[str, Any]) -> bytes:
    """A document of plain JSON as bytes. Raises `SerializationError`."""
    try:
        return _HEAD + to_json(document)
    except (PydanticSerializationError, UnicodeError, ValueError) as error:
        raise SerializationError(f"A row cannot be written as JSON: {error}") from error


def unpack(body: bytes | memoryview) -> dict[str, Any]:
    """The document of `pack`. Raises `SerializationError` for what this release cannot read."""
    body = bytes(body)  # some drivers give a view
    if body[:2] != _HEAD:
        raise SerializationError(_unknown(body[:2]))
    try:
        document = from_json(body[2:])
    except ValueError as error:
        raise SerializationError(f"A row is damaged: {error}") from error
    if type(document) is not dict:
        raise SerializationError("A row is damaged: it is no JSON object.")
    return document


def _unknown(head: bytes) -> str:
    if len(head) < 2:
        return f"A row is damaged: it has {len(head)} bytes."
    if head[0] != FORMAT:
        return (
            f"A row has format version {head[0]}, this release reads {FORMAT}. It was written by "
            "a newer release: update this process."
        )
    return f"A row has codec {head[1]}, this release reads {CODEC}."
