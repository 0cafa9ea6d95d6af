"""Properties as a stream of changes: set, delete, or append when the new value extends the old."""

from __future__ import annotations

from typing import Any

SET, DELETE, APPEND = 0, 1, 2


def difference(old: str | None, new: str | None) -> list[Any]:
    """How to store a change, given both encoded values (None: no such attribute)."""
    if new is None:
        return [DELETE]
    if old is not None and len(old) > 16 and old[0] in '["' and len(new) > len(old):
        stem = old[:-1]
        if new.startswith(stem):
            return [APPEND, new[len(stem) :]]
    return [SET, new]


def applied(old: str | None, change: list[Any]) -> str | None:
    """The encoded value after a stored change."""
    if change[0] == DELETE:
        return None
    if change[0] == APPEND:
        return (old or '""')[:-1] + str(change[1])
    return str(change[1])
