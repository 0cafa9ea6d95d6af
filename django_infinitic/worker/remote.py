"""The queue of tasks: claims for free slots, and reports on what is not the engine's own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from django_infinitic.storages.base import DefiniteRollback, Storage
from django_infinitic.worker import notices
from django_infinitic.worker.colocated import Executors, Report
from django_infinitic.worker.failpoints import failpoint

MICROS: Final = 1_000_000
LOOK: Final = 0.05
"""Seconds between two looks at a queue that gave nothing and of which nothing is heard."""
NEXT_READY: Final = 1.0


class Queue:
    """Claims ready tasks of served services while there is room, and reports results."""

    def __init__(self, store: Storage, executors: Executors, services: Sequence[str]) -> None:
        self.next_due: int | None = None
        """When the next waiting task is ready, if it is soon."""
        self.told_own = False
        """Whether messages were written that the own engine will read."""
        self.told_others = False
        """Whether something was written that other workers may wait for."""
        self._store = store
        self._executors = executors
        self._services = list(services)
        self._look_at = 0.0
        self._ready_at = 0.0

    def hint(self) -> None:
        """There may be tasks to claim."""
        self._look_at = 0.0

    def run_once(self) -> bool:
        """Report what has ended, then claim; whether there was anything."""
        return self._report() | self._claim()

    def _claim(self) -> bool:
        now = time.monotonic()
        due = self.next_due is not None and self.next_due <= time.time_ns() // 1000
        if not self._services or (now < self._look_at and not due):
            return False
        room = self._executors.room()
        if room <= 0:
            return False
        tasks = self._store.claim(self._services, room)
        failpoint("executor.after_claim")
        if tasks:
            self._executors.claimed(tasks)
        if len(tasks) < room:
            self._look_at = now + LOOK
            if due or now >= self._ready_at:
                self._ready_at = now + NEXT_READY
                self.next_due = self._store.next_ready(self._services)
        return bool(tasks)

    def _report(self) -> bool:
        reports = self._executors.reports()
        for number, report in enumerate(reports):
            try:
                self._tell(report)
            except BaseException as error:
                # Nothing was written: again. Of an unknown outcome the second try finds out,
                # as the attempt is checked.
                self._executors.keep(reports[number:])
                if isinstance(error, DefiniteRollback) and number:
                    return True
                raise
        if reports:
            self.hint()
        return bool(reports)

    def _tell(self, report: Report) -> None:
        task, verdict = report
        failpoint("executor.before_report")
        if verdict.kind == "finish":
            told = self._store.finish(task, verdict.doc)
            self.told_own = self.told_own or (told and self._executors.owned(task))
        elif verdict.kind == "delegate":
            told = self._store.delegate(task)
        else:
            ready_at = self._store.now() + round(verdict.delay * MICROS)
            told = self._store.retry(task, ready_at, verdict.doc)
            if told and (self.next_due is None or ready_at < self.next_due):
                self.next_due = ready_at
        failpoint("executor.after_report")
        self.told_others = self.told_others or told
        if told:
            notices.tell_failure(task, verdict)
