"""The executor children of an engine: what is with them, and what becomes of it when one dies.

A child that dies takes its tasks along. Those that it may have begun are suspects: they are run
again alone, in a cell, a child with one slot. What kills its cell has a death to its name, and
after three it fails; what merely ran beside it does not (API §3).
"""

from __future__ import annotations

import logging
import selectors
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from django_infinitic.storages.base import ClaimedTask
from django_infinitic.worker import execution
from django_infinitic.worker.execution import Verdict, WorkerKilled
from django_infinitic.worker.executor import RETURNED
from django_infinitic.worker.frames import Doc, Gone, task_row
from django_infinitic.worker.processes import Child
from django_infinitic.worker.slots import PATIENCE, Slots
from django_infinitic.worker.units import WRITTEN

logger = logging.getLogger("django_infinitic.worker")
DEATHS: Final = 3
CELLS: Final = 2
LONGEST_PAUSE: Final = 30.0
SUSPECT: Final = "su"
"""In the document of a task: a child died while it, and how many others, may have run. Run it
alone."""
FEW: Final = 4
"""Suspects of a death that count as a small company."""
KILLS: Final = "kd"
"""In the document of a task: how many children died while it ran alone."""
Report = tuple[ClaimedTask, Verdict]
Spawn = Callable[[int], Child]


@dataclass(slots=True, eq=False)
class Flight:
    """A task that is with a child."""

    task: ClaimedTask
    sent_at: float
    own: bool
    """Whether its instance was this engine's when it was sent."""
    free: bool
    sequential: bool
    """Whether children begin tasks of its kind in the order in which they got them."""


@dataclass(slots=True, eq=False)
class Line:
    """A child and what is with it."""

    child: Child
    slots: int
    born: float
    flying: dict[int, Flight] = field(default_factory=dict)
    ready: bool = False
    retiring: bool = False
    cell: bool = False


class Executors:
    """Implements `Colocated` for the engine, and takes what was claimed from the queue."""

    def __init__(
        self,
        spawn: Spawn,
        *,
        slots: int,
        services: Iterable[str],
        worker_name: str,
        selector: selectors.BaseSelector,
    ) -> None:
        self.slots = Slots(slots)
        self.owned: Callable[[ClaimedTask], bool] = lambda task: False
        """Whether the instance of a task is this engine's."""
        self.closed = False
        """Nothing new is begun: the worker is draining."""
        self._spawn = spawn
        self._services = frozenset(services)
        self._worker_name = worker_name
        self._selector = selector
        self._lines: list[Line] = []
        self._current: Line | None = None
        self._number = 0
        self._done: list[Report] = []
        self._foreign: list[Report] = []
        self._suspects: deque[Flight] = deque()
        self._reserved: dict[tuple[str, str, bool], int] = {}
        self._moved = 0
        self._pause = 0.0
        self._not_before = 0.0

    # -- Colocated ---------------------------------------------------------------------------

    def reserve(self, service: str, name: str) -> bool:
        """Take a slot for a task about to be committed; False: none is free, or not served."""
        if self.closed or service not in self._services or self._current is None:
            return False
        free = _is_batch(service, name)
        if not self.slots.reserve((service, name), free=free):
            return False
        key = (service, name, free)
        self._reserved[key] = self._reserved.get(key, 0) + 1
        return True

    def unreserve(self, service: str, name: str) -> None:
        """The task was not committed after all."""
        free = _is_batch(service, name)
        self._reserved[service, name, free] -= 1
        self.slots.release((service, name), free=free)

    def send(self, tasks: Sequence[ClaimedTask]) -> None:
        """Run these, whose slots are reserved."""
        for task in tasks:
            self._reserved[task.service, task.name, _is_batch(task.service, task.name)] -= 1
        self._fly(tasks, own=True)

    def results(self) -> Sequence[Report]:
        """What has ended since the last call, of instances that are still the engine's."""
        found, self._done = self._done, []
        return found

    def give_back(self, results: Iterable[Report]) -> None:
        """The engine could not use these after all: they come again."""
        self._done[:0] = results

    def spill(self, results: Iterable[Report]) -> None:
        """Report these through the store."""
        self._foreign += results

    def lost(self) -> None:
        """The engine owns nothing any more: reports go through the store from now on."""
        for (service, name, free), count in self._reserved.items():
            for _ in range(count):
                self.slots.release((service, name), free=free)
        self._reserved = {}
        self.moved()
        self._foreign += self._done
        self._done = []

    # -- for the worker ----------------------------------------------------------------------

    def claimed(self, tasks: Sequence[ClaimedTask]) -> None:
        """Run these, which were claimed from the queue."""
        for task in tasks:
            self.slots.add((task.service, task.name), free=_is_batch(task.service, task.name))
        self._fly(tasks, own=False)

    def moved(self) -> None:
        """Parts have come or gone: who owns an instance is to be asked again."""
        for line in self._lines:
            for flight in line.flying.values():
                flight.own = False
        still: list[Report] = []
        for report in self._done:
            (still if self.owned(report[0]) else self._foreign).append(report)
        self._done = still

    def reports(self) -> list[Report]:
        """What has ended of instances of others: to be told to the store."""
        found, self._foreign = self._foreign, []
        return found

    def keep(self, reports: Iterable[Report]) -> None:
        """These could not be told to the store yet."""
        self._foreign[:0] = reports

    @property
    def busy(self) -> bool:
        """Whether tasks are with children, or results wait to be written."""
        return bool(
            self._suspects
            or self._done
            or self._foreign
            or any(line.flying for line in self._lines)
        )

    @property
    def in_flight(self) -> int:
        """How many tasks are with children."""
        return sum(len(line.flying) for line in self._lines) + len(self._suspects)

    def room(self) -> int:
        """How many tasks may be claimed from the queue now."""
        if self.closed or self._current is None or len(self._suspects) >= self.slots.size:
            return 0
        return self.slots.room()

    def run_once(self) -> bool:
        """Read what the children say, and see to them; whether anything ended."""
        for line in list(self._lines):
            self._hear(line)
        if self._current is None and not self.closed and time.monotonic() >= self._not_before:
            self._current = self._new_line(self.slots.size)
        self._fill_cells()
        self._count_overdue()
        return bool(self._done or self._foreign)

    def wants_write(self) -> None:
        """Tell the selector which sockets are full."""
        for line in self._lines:
            events = selectors.EVENT_READ
            if line.child.frames.unsent:
                events |= selectors.EVENT_WRITE
            if self._selector.get_key(line.child.frames).events != events:
                self._selector.modify(line.child.frames, events, "child")

    def close(self) -> None:
        """End all children at once."""
        for line in self._lines:
            self._selector.unregister(line.child.frames)
            line.child.kill()
        self._lines = []
        self._current = None

    # -- sending -----------------------------------------------------------------------------

    def _fly(self, tasks: Iterable[ClaimedTask], *, own: bool) -> None:
        now = time.monotonic()
        flights = []
        for task in tasks:
            spec = execution.spec_of(task)
            batch = spec is not None and spec.batch is not None
            sequential = spec is None or not (batch or spec.is_async)
            flight = Flight(task, now, own, batch, sequential)
            if SUSPECT in task.doc:
                self._suspects.append(flight)
            else:
                flights.append(flight)
        if flights:
            self._send(flights)
        self._fill_cells()

    def _send(self, flights: Sequence[Flight], line: Line | None = None) -> None:
        line = line or self._current
        if line is None:
            line = self._current = self._new_line(self.slots.size)
        rows = []
        for flight in flights:
            self._number += 1
            line.flying[self._number] = flight
            rows.append(task_row(self._number, flight.task))
        try:
            line.child.frames.send({"t": rows})
        except Gone:
            self._died(line)

    def _new_line(self, slots: int, *, cell: bool = False) -> Line:
        line = Line(self._spawn(slots), slots, time.monotonic(), cell=cell)
        self._lines.append(line)
        self._selector.register(line.child.frames, selectors.EVENT_READ, "child")
        return line

    def _fill_cells(self) -> None:
        if not self._suspects:
            for line in [one for one in self._lines if one.cell and not one.flying]:
                self._drop(line)
            return
        cells = [line for line in self._lines if line.cell and not line.retiring]
        for line in cells:
            if self._suspects and not line.flying:
                self._send([self._suspects.popleft()], line)
        while self._suspects and len(cells) < CELLS:
            line = self._new_line(1, cell=True)
            cells.append(line)
            self._send([self._suspects.popleft()], line)

    # -- hearing -----------------------------------------------------------------------------

    def _hear(self, line: Line) -> None:
        frames = line.child.frames
        try:
            if frames.unsent:
                frames.flush()
            documents = frames.receive()
        except Gone:
            self._died(line)
            return
        for document in documents:
            self._handle(line, document)
        if line.retiring and not line.flying:
            self._drop(line, kill=True)

    def _handle(self, line: Line, document: Doc) -> None:
        if "ready" in document:
            line.ready = True
            self._pause = 0.0
        elif "retiring" in document:
            line.retiring = True
            if line is self._current:
                self._current = None
                self._not_before = 0.0
        again: list[Flight] = []
        for number, kind, doc, delay, seconds in document.get("r", ()):
            flight = line.flying.pop(number)
            if kind == RETURNED:
                again.append(flight)
                continue
            task = flight.task
            self.slots.release((task.service, task.name), seconds, free=flight.free)
            if kind != WRITTEN:
                self._report(flight, _verdict(kind, doc, delay))
            else:
                self._moved += 1
        if again:
            cells = [one for one in again if SUSPECT in one.task.doc]
            self._suspects.extend(cells)
            rest = [one for one in again if SUSPECT not in one.task.doc]
            if rest:
                self._send(rest)

    def written(self) -> int:
        """How many atomic tasks have committed their results themselves since the last call."""
        count, self._moved = self._moved, 0
        return count

    def _report(self, flight: Flight, verdict: Verdict) -> None:
        task = flight.task
        # Rows of these may be gone, by a completion from outside or a commit whose answer was
        # lost; a batch that expects them would be refused as a whole.
        shared = bool(task.doc.get("dl")) or execution.is_atomic(execution.spec_of(task))
        if not shared and (flight.own or self.owned(task)):
            self._done.append((task, verdict))
        else:
            self._foreign.append((task, verdict))

    def _count_overdue(self) -> None:
        since = time.monotonic() - PATIENCE
        count = 0
        for line in self._lines:
            for flight in line.flying.values():
                if flight.sent_at > since:
                    break
                count += not flight.free
                if count > self.slots.size:
                    break
        self.slots.overdue = count

    # -- death -------------------------------------------------------------------------------

    def _died(self, line: Line) -> None:
        if line not in self._lines:
            return
        now = time.monotonic()
        self._drop(line)
        flights = list(line.flying.values())
        if not line.retiring or flights:
            logger.error(
                "An executor process has died with %d tasks; they are run again.",
                len(flights),
            )
        if not line.ready and not line.cell:
            self._pause = min(LONGEST_PAUSE, max(0.5, 2 * self._pause))
            self._not_before = now + self._pause
        suspects = _begun(line)
        for flight in flights:
            task = flight.task
            self.slots.release((task.service, task.name), free=flight.free)
            verdict = self._after_death(task, flight in suspects, len(suspects))
            self._foreign.append((task, verdict))

    def _after_death(self, task: ClaimedTask, suspect: bool, company: int) -> Verdict:
        """What becomes of a task that was with a child that died, with so many suspects."""
        doc = dict(task.doc)
        kills = doc.get(KILLS, 0)
        if suspect and company == 1:
            # In a small company it was most likely it, too. In a large one it may have been
            # anything, such as somebody who kills processes.
            kills = doc[KILLS] = kills + 1 + (not kills and doc.get(SUSPECT, FEW + 1) <= FEW)
        if suspect:
            doc[SUSPECT] = company
        if kills < DEATHS:
            return Verdict(kind="retry", doc=doc)
        spec = execution.spec_of(task)
        context = execution.context_of(task, self._worker_name)
        error = WorkerKilled(
            f"The task {task.service}.{task.name} killed its worker {kills} times: the executor "
            "process died each time it ran, though nothing else ran in it."
        )
        return execution.failed(task, spec, context, error, final=True)

    def _drop(self, line: Line, *, kill: bool = False) -> None:
        self._lines.remove(line)
        self._selector.unregister(line.child.frames)
        if line is self._current:
            self._current = None
        if kill:
            line.child.kill()
        else:
            line.child.close()


def _begun(line: Line) -> set[Flight]:
    """What a child may have begun: of what is begun in order, no more than it has slots."""
    if not line.ready:
        return set()
    found = set()
    room = line.slots
    for flight in line.flying.values():
        if not flight.sequential:
            found.add(flight)
        elif room:
            room -= 1
            found.add(flight)
    return found


def _verdict(kind: str, doc: Doc | None, delay: float) -> Verdict:
    return Verdict(kind=kind, doc=doc or {}, delay=delay)


def _is_batch(service: str, name: str) -> bool:
    spec: Any = execution.known(service, name)
    return spec is not None and spec.batch is not None
