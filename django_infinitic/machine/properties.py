"""Properties as a stream of changes: set, delete, or append when the new value extends the old."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Values = dict[str, str | None]
Changes = dict[str, list[Any]]
SET, DELETE, APPEND = 0, 1, 2
KEPT = 64
"""So many changes are kept before it is looked whether they can be dropped."""


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


@dataclass(slots=True)
class PropertyLog:
    """The changes of an instance, by step, for the replays of its running methods.

    `values`: what they have come to. `base`: what they had come to before the first change that
    is still here, of which `start` have been dropped.
    """

    values: Values = field(default_factory=dict)
    base: Values = field(default_factory=dict)
    changes: list[tuple[int, Changes]] = field(default_factory=list)
    start: int = 0

    def add(self, step: int, changes: Changes) -> None:
        """What one segment has changed."""
        apply(self.values, changes)
        self.changes.append((step, changes))

    def forget(self, before: int) -> None:
        """Drop what all methods that still run knew when they began; now and then, as it costs."""
        if len(self.changes) < KEPT or self.changes[len(self.changes) // 2][0] >= before:
            return
        known = 0
        for step, changes in self.changes:
            if step >= before:
                break
            apply(self.base, changes)
            known += 1
        del self.changes[:known]
        self.start += known


def apply(values: Values, changes: Changes) -> None:
    """Bring values up to date; a deleted one stays as None."""
    for name, change in changes.items():
        values[name] = applied(values.get(name), change)
