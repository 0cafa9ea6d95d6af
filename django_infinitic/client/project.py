"""The project's own surroundings: its database, its clock, real waiting."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import django_infinitic.storages as storages
from django_infinitic.conf import settings
from django_infinitic.storages.base import ClientStore

logger = logging.getLogger("django_infinitic.client")
SHORTEST, LONGEST = 0.002, 0.25


class Project:
    """What the client acts on outside tests."""

    def __init__(self) -> None:
        self._stores: dict[str, ClientStore] = {}

    def store(self) -> ClientStore:
        """The store of the alias of `STORAGE`, on the caller's connection."""
        alias = settings.storage.alias
        if alias not in self._stores:
            self._stores[alias] = storages.storage_for(alias, private=False)
        return self._stores[alias]

    def now(self) -> int:
        """The time of this machine; what counts is the database's, later."""
        return time.time_ns() // 1000

    def parts(self) -> int:
        """Parts per workflow."""
        return settings.parts

    def result_timeout(self) -> float | None:
        """The limit of waits that name none, in seconds."""
        limit = settings.result_timeout
        return limit

    def saw_failure(self, instance: str) -> None:
        """Only tests care."""

    def wait(self, done: Callable[[], bool], timeout: float | None) -> bool:
        """Ask again and again, seldom and seldomer; True when it is done."""
        deadline = None if timeout is None else time.monotonic() + timeout
        pause, tell_at = SHORTEST, time.monotonic() + 2
        while not done():
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                return False
            if now > tell_at:
                tell_at = float("inf")
                if not self.store().workers_alive():
                    logger.warning(
                        "Waiting for a workflow, and no worker is alive. Run: "
                        "python manage.py infinitic_worker"
                    )
            time.sleep(pause if deadline is None else min(pause, max(0.0, deadline - now)))
            pause = min(pause * 1.3, LONGEST)
        return True


project = Project()
