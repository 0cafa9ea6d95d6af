"""Loops beside the engine's own: each in a thread, on a connection of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from django.db import Error as DatabaseError

from django_infinitic.storages.base import NotOwner, Storage, StoreError
from django_infinitic.worker.failpoints import failpoint
from django_infinitic.worker.neighbours import has_vanished
from django_infinitic.worker.work import Progress

logger = logging.getLogger("django_infinitic.worker")
AWAY: Final = (DatabaseError, StoreError)
"""What a store raises that may be better the next time."""
LONGEST_PAUSE: Final = 5.0


class Steps(Protocol):
    """What a loop does."""

    def run_once(self) -> Progress:
        """One round; `next_due` is not looked at."""


class Loop:
    """Runs steps in a thread: again at once while they are busy, else after `pause` seconds."""

    def __init__(self, name: str, steps: Steps, pause: float, close: Callable[[], None]) -> None:
        self._steps = steps
        self._pause = pause
        self._close = close
        self._event = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=f"infinitic-{name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """There may be something to do."""
        self._event.set()

    def stop(self, timeout: float = 5.0) -> None:
        """End after the present round."""
        self._stopped = True
        self._event.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        pause = self._pause
        try:
            while not self._stopped:
                try:
                    busy = self._steps.run_once().busy
                    pause = 0.0 if busy else self._pause
                except AWAY as error:
                    logger.debug("%s: %s", self._thread.name, error)
                    self._close()
                    pause = min(LONGEST_PAUSE, max(self._pause, 2 * pause))
                except Exception:
                    logger.exception("%s failed; it goes on.", self._thread.name)
                    pause = LONGEST_PAUSE
                if pause:
                    self._event.wait(pause)
                self._event.clear()
        finally:
            self._close()


class Lane:
    """Starts with a custom id, which may wait for a user's transaction (A5)."""

    def __init__(self, store: Storage) -> None:
        self._store = store
        self.parts: tuple[int, ...] = ()

    def run_once(self) -> Progress:
        """One start."""
        parts = self.parts
        if not parts:
            return Progress(False)
        try:
            return Progress(self._store.start_from_lane(parts))
        except NotOwner:
            self.parts = ()  # the main loop finds out by itself
            return Progress(False)


class Heartbeat:
    """Renews the lease while the main loop moves, and tells the supervisor so (B6).

    `me`: the id of the present life. `moved`: when the main loop last moved; `may_stand`: whether
    it stands still for a good reason. `lost` is called when the life was marked dead.
    """

    def __init__(
        self,
        store: Storage,
        *,
        may_stand: Callable[[], bool],
        lost: Callable[[int], None],
        beat: Callable[[], None],
    ) -> None:
        self.moved = time.monotonic()
        self._store = store
        self._may_stand = may_stand
        self._lost = lost
        self._beat = beat
        self._renewed = 0.0

    PERIOD: Final = 1.0
    RENEW: Final = 5.0
    STILL: Final = 10.0
    """Seconds after which a loop that does not move has no claim to its lease."""

    def run_once(self) -> Progress:
        """Tell that this process is alive; renew the lease every five seconds."""
        now = time.monotonic()
        if now - self.moved > self.STILL and not self._may_stand():
            return Progress(False)
        self._beat()
        me = self._store.me
        if me and now - self._renewed >= self.RENEW:
            failpoint("worker.before_renew")
            if not self._store.renew(me):
                self._lost(me)
            self._renewed = now
        return Progress(False)


class Housekeeping:
    """Marks workers dead whose lease has run out or, on this host, whose process has vanished.

    It also deletes what retention no longer keeps.
    """

    REAP: Final = 2.0
    PRUNE: Final = 60.0
    PAGE: Final = 100

    def __init__(
        self, store: Storage, *, retention: int | None, reaped: Callable[[int], None]
    ) -> None:
        self._store = store
        self._retention = retention
        self._reaped = reaped
        self._prune_at = time.monotonic() + self.PRUNE

    def run_once(self) -> Progress:
        """Reap; now and then, prune a little."""
        dead = self._store.reap()
        for worker in self._store.workers_alive():
            if has_vanished(worker["info"].get("process")):
                dead += self._store.reap(worker["id"])
        if dead:
            logger.warning("Workers that are no more were marked dead: %d.", len(dead))
            self._reaped(len(dead))
        if self._retention is not None and time.monotonic() >= self._prune_at:
            pruned = self._store.prune(self._store.now() - self._retention, self.PAGE)
            if pruned < self.PAGE:
                self._prune_at = time.monotonic() + self.PRUNE
        return Progress(False)
