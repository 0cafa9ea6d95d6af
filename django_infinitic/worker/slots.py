"""Slots: how many tasks may be with the executor child at once."""

from __future__ import annotations

from typing import Final

Key = tuple[str, str]
PATIENCE: Final = 0.05
"""Seconds that a task may expect to wait in the child's own queue (engine-notes §3)."""
WEIGHT: Final = 0.1
TINY: Final = 0.0001
MOST: Final = 2_000


class Slots:
    """Counts what is with the child, and guesses how long one task more would wait there.

    A task gets a place when a slot is free, or when what is queued before it will be done within
    `PATIENCE` by the mean times measured so far. Tasks of batches wait for each other, not for a
    slot: they are `free`.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.used = 0
        self.overdue = 0
        """Tasks that have been with the child for longer than `PATIENCE`: their slots are stuck."""
        self._means: dict[Key, float] = {}
        self._counts: dict[Key, int] = {}
        self._free = 0

    def reserve(self, key: Key, *, free: bool = False) -> bool:
        """Take a place."""
        if free:
            if self._free >= MOST:
                return False
        elif self.used >= self.size and not self._soon(key):
            return False
        self.add(key, free=free)
        return True

    def add(self, key: Key, *, free: bool = False) -> None:
        """Take a place, whether there is one or not."""
        if free:
            self._free += 1
            return
        self.used += 1
        self._counts[key] = self._counts.get(key, 0) + 1

    def _soon(self, key: Key) -> bool:
        if self.overdue >= self.size or self.used >= MOST:
            return False
        mean = self._means.get(key)
        return mean is not None and self._backlog() + mean <= PATIENCE * self.size

    def _backlog(self) -> float:
        """Seconds of work with the child; a kind never seen counts as unbearable."""
        means = self._means
        return sum(
            count * means.get(key, PATIENCE * self.size) for key, count in self._counts.items()
        )

    def release(self, key: Key, seconds: float | None = None, *, free: bool = False) -> None:
        """Give a place back; `seconds`: how long the task took, when it ended."""
        if free:
            self._free -= 1
            return
        self.used -= 1
        left = self._counts[key] - 1
        if left:
            self._counts[key] = left
        else:
            del self._counts[key]
        if seconds is not None:
            mean = self._means.get(key)
            if mean is None:
                self._means[key] = seconds
            else:
                # A thread that had to wait for the processor says little about its task; one that
                # is slow again and again raises the mean all the same.
                seconds = min(seconds, 2 * mean + TINY)
                self._means[key] = mean + WEIGHT * (seconds - mean)

    def room(self) -> int:
        """How many tasks of any kind may be claimed now."""
        if self.used < self.size:
            return self.size - self.used + self._spare()
        return self._spare()

    def _spare(self) -> int:
        """Places beyond the slots, if everything with the child is known to be short."""
        if not self._counts or self.overdue:
            return 0
        backlog = self._backlog()
        longest = max(self._means.get(key, PATIENCE * self.size) for key in self._counts)
        if longest <= 0:
            return 0
        return max(0, min(MOST - self.used, int((PATIENCE * self.size - backlog) / longest)))
