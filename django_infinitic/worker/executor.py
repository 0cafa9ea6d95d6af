"""The executor: threads and one event loop in which tasks run.

It lives in the child process of an engine, or in a thread beside it (`--all-in-one`). One thread,
the loop of `child.py`, calls all public methods; the others only run units and push results.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.db import close_old_connections

from django_infinitic.registry import TaskSpec
from django_infinitic.storages.base import ClaimedTask, TaskStore
from django_infinitic.worker import execution
from django_infinitic.worker.execution import Verdict
from django_infinitic.worker.failpoints import failpoint
from django_infinitic.worker.units import OVER, RUNNING, WARNED, WRITTEN, Entry, Unit

logger = logging.getLogger("django_infinitic.executor")
Result = tuple[int, Verdict, float]
"""The number of a task, what became of it, and how many seconds it took."""
RETURNED: Final = "returned"
"""The kind of verdict of a task that was never begun: run it elsewhere."""
STUBBORN: Final = 1.0
"""Seconds that a canceled coroutine has to end."""
NEVER: Final = float("inf")
LONGEST: Final = 60.0
"""Seconds after which the loop looks again anyway."""


@dataclass(slots=True)
class _Batch:
    due: float
    spec: TaskSpec
    entries: list[Entry] = field(default_factory=list)


class Executor:
    """Runs tasks in `slots` threads and one event loop; `wake` is called when there are results."""

    def __init__(
        self, store: TaskStore, *, slots: int, worker_name: str, wake: Callable[[], None]
    ) -> None:
        self.retiring = False
        """An attempt did not end in time: nothing new is begun here."""
        self._store = store
        self._slots = slots
        self._worker_name = worker_name
        self._wake = wake
        self._queue: SimpleQueue[Unit | None] = SimpleQueue()
        self._threads = 0
        self._lock = threading.Lock()
        self._outstanding = 0
        self._results: deque[Result] = deque()
        self._batches: dict[tuple[str, str, str | None], _Batch] = {}
        self._running: dict[Unit, None] = {}
        self._next_tick = NEVER
        self._loop: asyncio.AbstractEventLoop | None = None
        self._names = itertools.count(1)
        self._over = 0

    # -- taking ------------------------------------------------------------------------------

    def take(self, entries: Iterable[Entry]) -> None:
        """Run these. A retiring executor gives them back."""
        for entry in entries:
            if self.retiring:
                self._give_back([entry])
                continue
            spec = execution.spec_of(entry[1])
            if spec is not None and spec.batch is not None:
                self._collect(entry, spec)
            else:
                self._begin(Unit([entry], spec, self._worker_name))

    def _collect(self, entry: Entry, spec: TaskSpec) -> None:
        assert spec.batch is not None
        task = entry[1]
        key = (task.service, task.name, task.doc.get("bk"))
        batch = self._batches.get(key)
        if batch is None:
            batch = _Batch(time.monotonic() + spec.batch.max_seconds, spec)
            self._batches[key] = batch
        batch.entries.append(entry)
        if len(batch.entries) >= spec.batch.max_size:
            del self._batches[key]
            self._begin(Unit(batch.entries, spec, self._worker_name))

    def _begin(self, unit: Unit) -> None:
        if unit.is_async:
            loop = self._event_loop()
            loop.call_soon_threadsafe(self._start_async, loop, unit)
            return
        with self._lock:
            self._outstanding += 1
            more = self._outstanding > self._threads and self._threads < self._slots
        self._queue.put(unit)
        if more:
            self._threads += 1
            name = f"infinitic-task-{next(self._names)}"
            threading.Thread(target=self._work, name=name, daemon=True).start()

    # -- threads -----------------------------------------------------------------------------

    def _work(self) -> None:
        queue = self._queue
        while True:
            unit = queue.get()
            if unit is None:
                return
            close_old_connections()
            self._clock(unit)
            try:
                verdicts = unit.run(self._store, self._worker_name)
            except BaseException as error:
                verdicts = self._broken(unit, error)
            failpoint("executor.after_task")
            close_old_connections()
            with self._lock:
                self._outstanding -= 1
            self._end(unit, verdicts)

    def _broken(self, unit: Unit, error: BaseException) -> list[Verdict]:
        return [
            execution.failed(task, unit.spec, unit.contexts[task.id], error)
            for _, task in unit.entries
        ]

    def _clock(self, unit: Unit) -> None:
        unit.began = time.monotonic()
        unit.due = unit.began + unit.limit
        self._running[unit] = None
        if unit.due < self._next_tick:
            self._wake()

    def _end(self, unit: Unit, verdicts: list[Verdict]) -> None:
        with self._lock:
            self._running.pop(unit, None)
            if unit.stage == OVER:
                self._over -= 1
        if unit.writes or unit.settle():
            if unit.stage != RUNNING and not unit.writes:
                verdicts = unit.time_outs()
            self._push(unit, verdicts)

    def _push(self, unit: Unit, verdicts: list[Verdict]) -> None:
        seconds = (time.monotonic() - unit.began) / len(unit.entries)
        for (number, _), verdict in zip(unit.entries, verdicts, strict=True):
            self._results.append((number, verdict, seconds))
        self._wake()

    # -- the event loop ----------------------------------------------------------------------

    def _event_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(
                target=self._loop.run_forever, name="infinitic-async-tasks", daemon=True
            ).start()
        return self._loop

    def _start_async(self, loop: asyncio.AbstractEventLoop, unit: Unit) -> None:
        running = loop.create_task(self._work_async(unit))
        unit.cancel = lambda: loop.call_soon_threadsafe(running.cancel)

    async def _work_async(self, unit: Unit) -> None:
        # Django's connections of async code belong to the thread of `sync_to_async`.
        await sync_to_async(close_old_connections)()
        self._clock(unit)
        try:
            verdicts = await unit.run_async()
        except BaseException as error:
            verdicts = self._broken(unit, error)
        failpoint("executor.after_task")
        self._end(unit, verdicts)
        await sync_to_async(close_old_connections)()

    # -- time --------------------------------------------------------------------------------

    def tick(self) -> float:
        """Send batches that are due, end attempts that took too long; when to come again."""
        now = time.monotonic()
        # Whoever begins meanwhile and must end before this wakes the loop.
        self._next_tick = next_tick = now + LONGEST
        for key, batch in list(self._batches.items()):
            if batch.due <= now:
                del self._batches[key]
                self._begin(Unit(batch.entries, batch.spec, self._worker_name))
            else:
                next_tick = min(next_tick, batch.due)
        for unit in list(self._running):
            if unit.due <= now:
                self._expire(unit, now)
            next_tick = min(next_tick, unit.due)
        self._next_tick = next_tick
        return next_tick

    def _expire(self, unit: Unit, now: float) -> None:
        if unit.stage == RUNNING:
            unit.stage = WARNED
            unit.due = now + unit.grace
            threading.Thread(target=unit.warn, name="infinitic-timeout", daemon=True).start()
            if unit.grace:
                return
        if unit.stage == WARNED:
            if unit.settle():
                with self._lock:
                    unit.stage = OVER
                    self._over += unit in self._running
                self._push(unit, unit.time_outs())
            unit.due = NEVER
            if unit.cancel is not None:
                unit.cancel()
                unit.due = now + STUBBORN
            elif unit.stage == OVER:
                self._retire(unit)
            return
        unit.due = NEVER
        if unit in self._running:
            self._retire(unit)

    def _retire(self, unit: Unit) -> None:
        if not self.retiring:
            self.retiring = True
            logger.warning(
                "An attempt of %s did not end in time; its process takes no new task and is "
                "replaced.",
                ", ".join(f"{task.service}.{task.name} ({task.id})" for _, task in unit.entries),
            )
        while True:
            try:
                waiting = self._queue.get_nowait()
            except Empty:
                break
            if waiting is not None:
                self._give_back(waiting.entries)
        for batch in self._batches.values():
            self._give_back(batch.entries)
        self._batches = {}

    def _give_back(self, entries: Iterable[Entry]) -> None:
        for number, _ in entries:
            self._results.append((number, Verdict(kind=RETURNED), 0.0))

    # -- results -----------------------------------------------------------------------------

    def results(self) -> list[Result]:
        """What has ended since the last call."""
        found: list[Result] = []
        results = self._results
        while results:
            found.append(results.popleft())
        return found

    @property
    def done(self) -> bool:
        """Whether it is retiring and only attempts that count as over are left."""
        return self.retiring and len(self._running) <= self._over and not self._results

    def busy_atomic(self) -> bool:
        """Whether an atomic task runs, whose transaction is worth waiting for."""
        return any(execution.is_atomic(unit.spec) for unit in list(self._running))

    def stop(self) -> None:
        """Let the threads that are idle end."""
        for _ in range(self._threads):
            self._queue.put(None)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)


def entry_of(row: list[Any]) -> Entry:
    """A row of a frame as a numbered task."""
    number, id, instance, workflow, service, name, attempt, doc = row
    task = ClaimedTask(
        id=id,
        instance=instance,
        workflow=workflow,
        service=service,
        name=name,
        attempt=attempt,
        doc=doc,
    )
    return number, task


def result_row(result: Result) -> list[Any]:
    """A result as the engine gets it."""
    number, verdict, seconds = result
    if verdict.kind in (RETURNED, WRITTEN):
        return [number, verdict.kind, None, 0, seconds]
    return [number, verdict.kind, verdict.doc, verdict.delay, seconds]
