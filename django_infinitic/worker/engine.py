"""The engine: one batch after the other, each one read and one transaction.

`run_once` is the whole loop; it never waits. What became of a write decides what happens to the
batch (A8): a definite rollback sends the same value again, the fibres stay.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from django_infinitic.exceptions import UnknownWorkflowError, UnknownWorkflowVersionError
from django_infinitic.fibres import Runs, attach
from django_infinitic.machine.effects import Effects, NewTask, Retried
from django_infinitic.machine.load import fold
from django_infinitic.machine.messages import Kind, Message
from django_infinitic.machine.state import Instance
from django_infinitic.machine.statuses import DeferredStatus
from django_infinitic.machine.turn import Turn
from django_infinitic.registry import registry
from django_infinitic.storages.base import (
    ClaimedTask,
    DefiniteRollback,
    EngineStore,
    Inputs,
    NotOwner,
    RefusedData,
    StoredInstance,
    UnknownOutcome,
    WriteSet,
)
from django_infinitic.worker.execution import Verdict
from django_infinitic.worker.failpoints import failpoint

logger = logging.getLogger("django_infinitic.engine")
Doc = dict[str, Any]
CANCELED = int(DeferredStatus.CANCELED)
Notify = Callable[[str, str, str, Doc], None]
"""Told after a commit: workflow, instance, signal and its fields."""


class Colocated(Protocol):
    """The executor child beside an engine: tasks go to it after the commit, without a queue."""

    def reserve(self, service: str, name: str) -> bool:
        """Take a slot for a task about to be committed; False: none is free, or not served."""

    def send(self, tasks: Sequence[ClaimedTask]) -> None:
        """Run these, whose slots are reserved."""

    def results(self) -> Sequence[tuple[ClaimedTask, Verdict]]:
        """What has ended since the last call."""

    def lost(self) -> None:
        """The engine owns nothing any more: reports go through the store from now on."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a `run_once` came to: whether it did something, and when the next thing is due."""

    busy: bool
    next_due: int | None = None


def state_of(row: StoredInstance) -> Instance:
    """The state of an instance from its row and history; its class is attached if known here."""
    state = Instance(
        id=row.id,
        workflow=row.workflow,
        version=row.version,
        tags=frozenset(row.tags),
        custom_id=row.custom_id,
        meta=row.meta,
        parent=row.parent,
        started_by=row.started_by,
        streams=row.streams,
        closed=row.closed_at is not None,
    )
    return fold(state, row.events)


class Engine:
    """Steps the instances of own parts."""

    def __init__(
        self,
        store: EngineStore,
        *,
        cache_size: int = 10_000,
        limit: int = 50,
        notify: Notify | None = None,
        observe: Callable[[Effects], None] | None = None,
        keep_live: bool = True,
        colocated: Colocated | None = None,
    ) -> None:
        self.store = store
        self.parts: Sequence[int] = ()
        self._cache: OrderedDict[str, Instance] = OrderedDict()
        self._cache_size = cache_size
        self._limit = limit
        self._runs = Runs(keep=keep_live)
        self._keep_live = keep_live
        self._colocated = colocated
        self._notify = notify
        self._observe = observe
        self._checkpoints: dict[str, list[int]] = {}
        self._unsent: list[tuple[Effects, Turn | None]] = []

    # -- one batch --------------------------------------------------------------------------

    def run_once(self) -> Progress:
        """Read, step and write one batch."""
        if self._unsent:
            self._commit(self._unsent)
            return Progress(True)
        inputs = self.store.read(self.parts, self._limit)
        failpoint("engine.after_read")
        work = _by_instance(inputs)
        results: dict[str, list[tuple[ClaimedTask, Verdict]]] = {}
        if self._colocated is not None:
            for task, verdict in self._colocated.results():
                work.setdefault(task.instance, [])
                results.setdefault(task.instance, []).append((task, verdict))
        for instance in self._checkpoints:
            work.setdefault(instance, [])
        if not work:
            return Progress(False, inputs.next_due)
        self._load([one for one in work if one not in self._cache])
        failpoint("engine.after_load")
        turns: list[tuple[Effects, Turn | None]] = []
        for instance, messages in work.items():
            own = results.get(instance, ())
            turns.append(self._step(instance, messages, own, inputs.now))
        failpoint("engine.after_step")
        self._commit(turns)
        return Progress(True, inputs.next_due)

    def _load(self, instances: list[str]) -> None:
        if not instances:
            return
        for instance, row in self.store.load(instances).items():
            state = state_of(row)
            self._attach(state)
            self._cache[instance] = state

    def _attach(self, state: Instance) -> None:
        try:
            attach(state, registry.workflow(state.workflow, state.version))
        except (UnknownWorkflowError, UnknownWorkflowVersionError):
            state.spec = None

    def _step(
        self,
        instance: str,
        messages: list[Message],
        results: Sequence[tuple[ClaimedTask, Verdict]],
        now: int,
    ) -> tuple[Effects, Turn | None]:
        state = self._cache.get(instance)
        if state is None:
            return self._orphans(instance, messages, results), None
        self._cache.move_to_end(instance)
        if state.spec is None:
            effects = Effects(instance)
            effects.parked = [one.row for one in messages if one.row is not None]
            for task, verdict in results:
                self._report_of(effects, state, task, verdict, now)
            return effects, None
        if state.version is None:
            state.version = state.spec.version
        turn = Turn(state, now)
        turn.resume_checkpoints(self._checkpoints.pop(instance, []))
        self._run(turn, state, canceled_soon=False)
        for number, message in enumerate(messages, 1):
            turn.take(message)
            self._run(turn, state, canceled_soon=_cancels(state, messages[number:]))
        for task, verdict in results:
            report = self._report_of(turn.effects, state, task, verdict, now)
            if report is not None:
                turn.take(report)
                self._run(turn, state, canceled_soon=False)
        effects = turn.close_up()
        if self._colocated is not None and effects.tasks:
            effects.tasks = [self._born(task, now) for task in effects.tasks]
        return effects, turn

    def _born(self, task: NewTask, now: int) -> NewTask:
        """A task is born claimed when the child beside has a free slot for it."""
        assert self._colocated is not None
        if task.ready_at > now or not self._colocated.reserve(task.service, task.name):
            return task
        return replace(task, claimed=True)

    def _report_of(
        self, effects: Effects, state: Instance, task: ClaimedTask, verdict: Verdict, now: int
    ) -> Message | None:
        """What an attempt of the child means for its row, and the report if it has ended."""
        doc = dict(verdict.doc)
        if verdict.kind == "delegate":
            effects.delegated_tasks.append((task.id, task.attempt))
            return None
        if verdict.kind == "retry":
            ended = self._ended_meanwhile(state, task)
            if ended is None:
                ready_at = now + round(verdict.delay * 1_000_000)
                effects.retried_tasks.append(
                    Retried(id=task.id, attempt=task.attempt, ready_at=ready_at, doc=doc)
                )
                return None
            doc = {"status": ended, "value": doc.get("failure") if ended != CANCELED else None}
        effects.done_tasks.append((task.id, task.attempt))
        known = {"s": task.doc["s"], "p": task.doc["p"], "task": task.id, "sequence": task.doc["q"]}
        return Message(kind=Kind.REPORT, doc={**known, **doc}, instance=task.instance, at=now)

    def _ended_meanwhile(self, state: Instance, task: ClaimedTask) -> int | None:
        """Whether a failed attempt is the last: its command was canceled or has timed out."""
        method = state.methods.get(task.doc["s"])
        if task.doc["s"] == 0:
            return None
        command = None if method is None else method.commands.get(task.doc["p"])
        if command is None:  # nobody waits any more, and un-awaited tasks go on
            return None
        if command.cancel:
            return CANCELED
        timed_out = command.last == DeferredStatus.TIMED_OUT
        return int(DeferredStatus.FAILED) if timed_out else None

    def _run(self, turn: Turn, state: Instance, *, canceled_soon: bool) -> None:
        while (wake := turn.next(canceled_soon)) is not None:
            turn.finish(wake, self._runs.run(state, wake))

    def _orphans(
        self,
        instance: str,
        messages: list[Message],
        results: Sequence[tuple[ClaimedTask, Verdict]],
    ) -> Effects:
        """Messages of an instance that is not there any more: retention took it."""
        effects = Effects(instance)
        effects.done_tasks = [(task.id, task.attempt) for task, _ in results]
        effects.consumed = [one.row for one in messages if one.row is not None]
        effects.fired = [one.doc["timer"] for one in messages if one.kind == Kind.TIMER]
        return effects

    # -- the commit -----------------------------------------------------------------------------

    def _commit(self, turns: list[tuple[Effects, Turn | None]]) -> None:
        batch = WriteSet([effects for effects, _ in turns])
        self._unsent = turns
        try:
            failpoint("engine.before_write")
            self.store.write(batch)
        except DefiniteRollback as error:
            logger.warning("A batch was rolled back and is sent again: %s", error)
            raise
        except UnknownOutcome:
            if not self._settle(batch):
                raise
        except RefusedData as error:
            self._bisect(turns, error)
            return
        except NotOwner:
            self.forget()
            raise
        self._unsent = []
        failpoint("engine.after_write")
        born: list[ClaimedTask] = []
        for effects, turn in turns:
            born.extend(_claimed(task) for task in effects.tasks if task.claimed)
            self._committed(effects, turn)
        if born and self._colocated is not None:
            self._colocated.send(born)
        self._evict()

    def _settle(self, batch: WriteSet) -> bool:
        """After an unknown outcome: retire this life, then look; that answer is final."""
        retire = getattr(self.store, "retire", None)
        if retire is None:
            return False
        try:
            self.store.me = retire(self.store.me)  # type: ignore[attr-defined]
        except NotOwner:
            self.forget()
            raise
        if not self.store.written(batch):
            self.store.write(batch)
        return True

    def _bisect(self, turns: list[tuple[Effects, Turn | None]], error: RefusedData) -> None:
        """The guilty instance alone is BLOCKED, the rest commits (A2.5)."""
        if len(turns) > 1:
            middle = len(turns) // 2
            self._commit(turns[:middle])
            self._commit(turns[middle:])
            return
        ((effects, turn),) = turns
        logger.error(
            "Instance %s is blocked: the database refuses its rows: %s", effects.instance, error
        )
        self._unsent = []
        state = self._cache.pop(effects.instance, None)
        self._runs.drop(effects.instance)
        blocked = Effects(effects.instance)
        blocked.parked = effects.consumed
        block = getattr(self.store, "block", None)
        if block is not None and state is not None:
            block(effects.instance, str(error)[:1000])
        self.store.write(WriteSet([blocked]))

    def _committed(self, effects: Effects, turn: Turn | None) -> None:
        if turn is None:
            return
        if turn.checkpoints:
            self._checkpoints[effects.instance] = turn.checkpoints
        state = turn.state
        if self._observe is not None:
            self._observe(effects)
        if self._notify is not None:
            for name, fields in effects.signals:
                self._notify(state.workflow, state.id, name, fields)
        if state.closed:
            self.drop(state.id)

    # -- the cache --------------------------------------------------------------------------------

    def _evict(self) -> None:
        if not self._keep_live:
            self.evict_all()
        while len(self._cache) > self._cache_size:
            instance = next(iter(self._cache))
            self.drop(instance)

    def drop(self, instance: str) -> None:
        """Evict one instance; its next message replays it cold."""
        self._cache.pop(instance, None)
        self._runs.drop(instance)

    def evict_all(self) -> None:
        """Evict everything, in order."""
        for instance in list(self._cache):
            self.drop(instance)

    def forget(self) -> None:
        """Lose all that is in memory: a new life begins."""
        self._unsent = []
        self._checkpoints = {}
        self.evict_all()
        if self._colocated is not None:
            self._colocated.lost()

    def bury(self) -> None:
        """What a crash leaves: nothing in memory, and no `finally` ran."""
        self._unsent = []
        self._checkpoints = {}
        self._cache.clear()
        self._runs.bury()


def _claimed(task: NewTask) -> ClaimedTask:
    return ClaimedTask(
        id=task.id,
        instance=task.instance,
        workflow=task.workflow,
        service=task.service,
        name=task.name,
        attempt=task.attempt + 1,
        doc=task.doc,
    )


def _by_instance(inputs: Inputs) -> dict[str, list[Message]]:
    """Messages and due timers by instance; a timer counts from its due time."""
    work: dict[str, list[Message]] = {}
    for message in inputs.messages:
        work.setdefault(message.instance, []).append(message)
    for timer, due, instance, doc in inputs.timers:
        fired = Message(kind=Kind.TIMER, doc={**doc, "timer": timer}, instance=instance, at=due)
        messages = work.setdefault(instance, [])
        place = next((at for at, one in enumerate(messages) if one.at > due), len(messages))
        messages.insert(place, fired)
    return work


def _cancels(state: Instance, messages: list[Message]) -> bool:
    return any(
        one.kind == Kind.CANCEL and one.doc.get("method") in (None, state.id) for one in messages
    )
