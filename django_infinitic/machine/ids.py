"""Ids: UUIDv7 of the recorded time, derived where a command must keep its id (F004)."""

from __future__ import annotations

import hashlib

_RANDOM_BITS = (1 << 74) - 1
_HASH_BITS = (1 << 62) - 1


def uuid7(micros: int, bits: int) -> str:
    """A UUIDv7 of a time in microseconds since 1970 and 74 bits of anything."""
    bits &= _RANDOM_BITS
    value = ((micros // 1000) & ((1 << 48) - 1)) << 80
    value |= 0x7 << 76 | (bits >> 62) << 64 | 0b10 << 62 | bits & ((1 << 62) - 1)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def derived_id(micros: int, instance: str, method: str, position: object) -> str:
    """The id of a command: the same however often the command is emitted again.

    Of one step the ids rise with the position, so that what was asked for first is done first.
    """
    text = f"{instance}|{method}|{position}".encode()
    bits = int.from_bytes(hashlib.blake2b(text, digest_size=10).digest(), "big")
    if isinstance(position, int):
        bits = bits & _HASH_BITS | (position & 0xFFF) << 62
    return uuid7(micros, bits)


def part_number(instance: str, parts: int) -> int:
    """Which part of its workflow an instance belongs to; a fixed hash, never Python's."""
    digest = hashlib.blake2b(instance.encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") % parts


def part_id(workflow: str, number: int) -> int:
    """The id of a part: 48 bits of the hash of the workflow's name, then 8 bits of its number.

    It fits a signed 64-bit column, and a client can compute it before any worker ran.
    """
    digest = hashlib.blake2b(workflow.encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") << 8 | number


STARTER_LANE = 255
