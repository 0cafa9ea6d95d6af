"""From which transaction on a part must be read again (B2)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

LOOK_BACK: Final = 60.0
"""Seconds. What transactions write that last longer is found by a sweep, each so many seconds."""


class Floors:
    """The floors of own parts.

    A read that was complete returns the oldest transaction that still ran at its beginning:
    whatever was not visible then has that number or a higher one, so the next read begins there. A
    transaction that runs for hours holds that number back, and behind it lie all rows that were
    deleted since: so reads look back 60 s, and a sweep begins at the true floor.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._floors: dict[int, int] = {}
        self._recent: deque[tuple[float, int]] = deque()
        self._guard = 0
        self._swept = clock()
        self._sweeping = False

    def begin(self) -> None:
        """Decide whether the next read is a sweep."""
        self._sweeping = self._clock() - self._swept >= LOOK_BACK

    def of(self, part: int) -> int:
        """From where to read a part; 0 is from the beginning."""
        floor = self._floors.get(part, 0)
        if floor == 0 or self._sweeping:
            return floor
        return max(floor, self._guard)

    def read(self, oldest: int, next_one: int, complete: Iterable[int], all_complete: bool) -> None:
        """Note a read: `oldest` ran then, none from `next_one` on had begun; `complete` are the
        parts of which everything was read."""
        now = self._clock()
        for part in complete:
            self._floors[part] = oldest
        if self._sweeping and all_complete:
            self._swept, self._sweeping = now, False
        if not self._recent or now - self._recent[-1][0] >= 1.0:
            self._recent.append((now, next_one))
        while self._recent and now - self._recent[0][0] >= LOOK_BACK:
            self._guard = self._recent.popleft()[1]

    def forget(self, parts: Iterable[int] | None = None) -> None:
        """These parts (None: all) are read from the beginning again."""
        if parts is None:
            self._floors.clear()
            return
        for part in parts:
            self._floors.pop(part, None)
