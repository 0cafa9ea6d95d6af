"""The engine: one batch after the other, each one read and one transaction.

`run_once` is the whole loop; it never waits. What became of a write decides what happens to the
batch (A8): a definite rollback sends the same value again, the fibres stay.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from django.db import Error as DatabaseError

from django_infinitic.conf import settings
from django_infinitic.exceptions import UnknownWorkflowError, UnknownWorkflowVersionError
from django_infinitic.fibres import Runs, attach
from django_infinitic.machine.effects import Effects, NewTask, Retried
from django_infinitic.machine.messages import Kind, Message
from django_infinitic.machine.state import Instance
from django_infinitic.machine.statuses import DeferredStatus, InstanceStatus
from django_infinitic.machine.turn import Ran, Turn, Wake
from django_infinitic.registry import registry
from django_infinitic.storages.base import (
    ClaimedTask,
    DefiniteRollback,
    EngineStore,
    Inputs,
    NotOwner,
    RefusedData,
    StoreError,
    UnknownOutcome,
    WriteSet,
)
from django_infinitic.storages.documents import part_of
from django_infinitic.storages.loading import state_of
from django_infinitic.worker import notices
from django_infinitic.worker.execution import Verdict
from django_infinitic.worker.failpoints import failpoint
from django_infinitic.worker.watchdog import SegmentTimeout, Watchdog
from django_infinitic.worker.work import Colocated, Progress, by_instance, cancels, claimed

logger = logging.getLogger("django_infinitic.engine")
Doc = dict[str, Any]
Results = list[tuple[ClaimedTask, Verdict]]
READ_PAUSE = 0.005
"""Seconds without a read after one: results of the child need none (B7)."""
SINGLE_FILE = 20
"""Batches of one instance each that prove the parts of a dead worker (A2)."""
REPAIRS = (Kind.RETRY, Kind.CANCEL)
CANCELED = int(DeferredStatus.CANCELED)
Notify = Callable[[str, str, str, Doc], None]
"""Told after a commit: workflow, instance, signal and its fields."""


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
        watchdog: Watchdog | None = None,
    ) -> None:
        self.store = store
        self.parts: Sequence[int] = ()
        self.single_file = 0
        """Batches that are still of one instance each, noted as suspect before."""
        self.unknown_version: Callable[[str, int], bool] = lambda instance, version: False
        """Told of an instance whose version is not known here; True: its part is given away."""
        self.loaded: Callable[[str], None] = lambda instance: None
        """Told of an instance that was loaded and has a past."""
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
        self._watchdog = watchdog
        self._held: dict[str, list[Message]] = {}
        self._condemned: dict[str, int] = {}
        self._segment_of: tuple[str, int] = ("", 0)
        self._blocked: set[str] = set()
        self._suspected = False
        self._read_at = 0.0
        self._last: Inputs = Inputs(now=0)

    # -- one batch -------------------------------------------------------------------------

    def run_once(self) -> Progress:
        """Read, step and write one batch."""
        if self._unsent:
            self._commit(self._unsent)
            return Progress(True)
        inputs = self._read()
        failpoint("engine.after_read")
        work = self._work(inputs)
        results: dict[str, Results] = {}
        if self._colocated is not None:
            for task, verdict in self._colocated.results():
                work.setdefault(task.instance, [])
                results.setdefault(task.instance, []).append((task, verdict))
        for instance in self._checkpoints:
            work.setdefault(instance, [])
        if not work:
            if self._suspected:
                self._suspect(None)
            return Progress(False, inputs.next_due)
        checkpoints = dict(self._checkpoints)
        turns: list[tuple[Effects, Turn | None]] = []
        try:
            if self.single_file:
                self._single_out(work, results)
            self._load([one for one in work if one not in self._cache])
            failpoint("engine.after_load")
            self._step_all(turns, work, results, inputs.now)
        except (StoreError, DatabaseError):
            self._put_back(turns, work, results, checkpoints)
            raise
        failpoint("engine.after_step")
        if turns:
            self._commit(turns)
        self._end_single_file()
        return Progress(True, inputs.next_due)

    def _step_all(
        self,
        turns: list[tuple[Effects, Turn | None]],
        work: dict[str, list[Message]],
        results: dict[str, Results],
        now: int,
    ) -> None:
        for instance, messages in work.items():
            own = results.get(instance, [])
            try:
                turn = self._step(instance, messages, own, now)
            except SegmentTimeout:
                self._interrupted(instance, messages, own)
                continue
            except (StoreError, DatabaseError):
                raise
            except Exception as error:  # of the machine, or what is stored has another shape
                turn = self._poisoned(instance, messages, own, error), None
            if turn is not None:
                turns.append(turn)

    def _put_back(
        self,
        turns: list[tuple[Effects, Turn | None]],
        work: dict[str, list[Message]],
        results: dict[str, Results],
        checkpoints: dict[str, list[int]],
    ) -> None:
        """The database went away between read and write: all that was read is read again."""
        if self._colocated is not None:
            for effects, _ in turns:
                for task in effects.tasks:
                    if task.claimed:
                        self._colocated.unreserve(task.service, task.name)
            for own in results.values():
                self._colocated.give_back(own)
        for instance in work:  # memory has gone on, the rows have not
            self.drop(instance)
        self._checkpoints = checkpoints
        self._held.clear()
        self.store.forget()

    @property
    def unsent(self) -> bool:
        """Whether a batch was rolled back and is to be sent again."""
        return bool(self._unsent)

    def state(self, instance: str) -> Instance | None:
        """The state of an instance, if it is in memory."""
        return self._cache.get(instance)

    def hint(self) -> None:
        """Something may have arrived: read at the next batch."""
        self._read_at = 0.0

    def _read(self) -> Inputs:
        """One read; none for a moment after the last one, unless there was a hint."""
        if self._colocated is None:
            return self.store.read(self.parts, self._limit)
        now = time.monotonic()
        passed = now - self._read_at
        if passed < READ_PAUSE:
            last = self._last
            present = last.now + round(passed * 1_000_000)
            if last.next_due is None or last.next_due > present:
                return Inputs(now=present, next_due=last.next_due)
        self._last = self.store.read(self.parts, self._limit)
        self._read_at = now if self._last.complete else 0.0
        return self._last

    def _work(self, inputs: Inputs) -> dict[str, list[Message]]:
        """What is to be done by instance: what was held back before, then what was read."""
        work = by_instance(inputs)
        if not self._held:
            return work
        held, self._held = self._held, {}
        for instance, messages in work.items():
            known = {one.row for one in held.get(instance, ()) if one.row is not None}
            fresh = [one for one in messages if one.row is None or one.row not in known]
            held.setdefault(instance, []).extend(fresh)
        return held

    # -- what is dangerous ------------------------------------------------------------------

    def _single_out(self, work: dict[str, list[Message]], results: dict[str, Results]) -> None:
        """Keep one instance of the work, noted as suspect; the rest is held back."""
        first = next(iter(work))
        for instance in list(work):
            if instance != first:
                messages = work.pop(instance)
                if messages:
                    self._held[instance] = messages
                if instance in results and self._colocated is not None:
                    self._colocated.give_back(results.pop(instance))
        self._suspect(first)

    def _end_single_file(self) -> None:
        if self.single_file:
            self.single_file -= 1
            if not self.single_file:
                self._suspect(None)

    def _suspect(self, instance: str | None) -> None:
        self._suspected = instance is not None
        suspect = getattr(self.store, "suspect", None)
        if suspect is not None:
            suspect(self.store.me, instance)  # type: ignore[attr-defined]

    def _interrupted(self, instance: str, messages: list[Message], results: Results) -> None:
        """Workflow code ran for too long: the instance is stepped again, and stalls (A2)."""
        assert self._watchdog is not None
        self._watchdog.leave()
        self._condemned[instance] = self._segment_of[1]
        logger.error(
            "The code of workflow instance %s ran for more than %g s without a wait; its method "
            "stalls.",
            instance,
            self._watchdog.limit,
        )
        self.drop(instance)
        self._held[instance] = messages
        if results and self._colocated is not None:
            self._colocated.give_back(results)

    def _poisoned(
        self, instance: str, messages: list[Message], results: Results, error: Exception
    ) -> Effects:
        """An instance that cannot be processed is blocked, visibly; the others go on (A2)."""
        logger.exception("Workflow instance %s cannot be processed and is blocked.", instance)
        self.drop(instance)
        self._spill(results)
        self.store.block(instance, f"It could not be processed: {type(error).__name__}: {error}")
        effects = Effects(instance)
        effects.parked = [one.row for one in messages if one.row is not None]
        return effects

    def _repair(self, instance: str, messages: list[Message]) -> Effects | None:
        """Messages of a blocked instance are parked; a repair un-parks them (B9)."""
        if any(one.kind in REPAIRS for one in messages):
            self._cache.pop(instance, None)
            self._blocked.discard(instance)
            self.store.unblock(instance)
            return None
        effects = Effects(instance)
        effects.parked = [one.row for one in messages if one.row is not None]
        return effects

    def _load(self, instances: list[str]) -> None:
        if not instances:
            return
        for instance, row in self.store.load(instances).items():
            try:
                state = state_of(row)
            except Exception:
                logger.exception("The history of workflow instance %s cannot be read.", instance)
                self.store.block(instance, "Its history cannot be read: see the worker's log.")
                state = Instance(id=instance, workflow=row.workflow, version=row.version)
                self._blocked.add(instance)
            self._attach(state)
            self._cache[instance] = state
            if row.events:
                self.loaded(instance)
            if row.status == InstanceStatus.BLOCKED:
                self._blocked.add(instance)

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
    ) -> tuple[Effects, Turn | None] | None:
        state = self._cache.get(instance)
        if state is None:
            self._spill(results)
            return self._orphans(instance, messages), None
        self._cache.move_to_end(instance)
        if instance in self._blocked:
            self._spill(results)
            repaired = self._repair(instance, messages)
            return None if repaired is None else (repaired, None)
        if state.spec is None:
            self._spill(results)
            if self.unknown_version(instance, state.version or 0):
                self.drop(instance)
                return None
            effects = Effects(instance)
            effects.parked = [one.row for one in messages if one.row is not None]
            return effects, None
        if state.version is None:
            state.version = state.spec.version
        turn = Turn(state, now)
        turn.resume_checkpoints(self._checkpoints.pop(instance, []))
        self._run(turn, state, canceled_soon=False)
        for number, message in enumerate(messages, 1):
            turn.take(message)
            self._run(turn, state, canceled_soon=cancels(state, messages[number:]))
        for task, verdict in results:
            report = self._report_of(turn.effects, state, task, verdict, now)
            if report is not None:
                turn.take(report)
                self._run(turn, state, canceled_soon=False)
        effects = turn.close_up()
        self._condemned.pop(instance, None)
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
        if notices.failure_of(verdict) is not None:
            effects.signals.append(("task_failed", {"task": task, "verdict": verdict}))
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
            turn.finish(wake, self._segment(state, wake))

    def _segment(self, state: Instance, wake: Wake) -> Ran:
        """Run code of an instance under the eyes of the watchdog."""
        watchdog = self._watchdog
        if watchdog is None:
            return self._runs.run(state, wake)
        if self._condemned.get(state.id) == wake.stream:
            error = SegmentTimeout(
                f"The code ran for more than {watchdog.limit:g} s without a wait "
                "(SEGMENT_TIMEOUT). Move what takes long to a task."
            )
            return self._runs.stalled(state, wake, error)
        self._segment_of = (state.id, wake.stream)
        watchdog.enter(state.id)
        try:
            ran = self._runs.run(state, wake)
        finally:
            late = watchdog.leave()
        if late:
            raise SegmentTimeout
        return ran

    def _spill(self, results: Sequence[tuple[ClaimedTask, Verdict]]) -> None:
        """These cannot be used here and now: they become rows."""
        if results and self._colocated is not None:
            self._colocated.spill(results)

    def _orphans(self, instance: str, messages: list[Message]) -> Effects:
        """Messages of an instance that is not there any more: retention took it."""
        effects = Effects(instance)
        effects.consumed = [one.row for one in messages if one.row is not None]
        effects.fired = [one.doc["timer"] for one in messages if one.kind == Kind.TIMER]
        return effects

    # -- the commit ------------------------------------------------------------------------

    def _commit(self, turns: list[tuple[Effects, Turn | None]]) -> None:
        batch = WriteSet([effects for effects, _ in turns])
        if self._colocated is not None:
            batch.claimed = {
                task.id for effects, _ in turns for task in effects.tasks if task.claimed
            }
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
            born.extend(claimed(task) for task in effects.tasks if task.claimed)
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
        ((effects, _),) = turns
        logger.error(
            "Instance %s is blocked: the database refuses its rows: %s", effects.instance, error
        )
        self._unsent = []
        if self._colocated is not None:
            for task in effects.tasks:
                if task.claimed:
                    self._colocated.unreserve(task.service, task.name)
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

    # -- the cache -------------------------------------------------------------------------

    def _evict(self) -> None:
        if not self._keep_live:
            self.evict_all()
        while len(self._cache) > self._cache_size:
            instance = next(iter(self._cache))
            self.drop(instance)

    def drop(self, instance: str) -> None:
        """Evict one instance; its next message replays it cold."""
        self._cache.pop(instance, None)
        self._blocked.discard(instance)
        if self._watchdog is None:
            self._runs.drop(instance)
            return
        self._watchdog.enter(instance)
        try:
            self._runs.drop(instance)
        except SegmentTimeout:
            logger.error("The code of workflow instance %s did not end when dropped.", instance)
        finally:
            self._watchdog.leave()

    def let_go(self, parts: Iterable[int]) -> None:
        """Forget what belongs to these parts: they are about to be released."""
        gone = set(parts)
        for state in list(self._cache.values()):
            if part_of(state.workflow, state.id, settings.parts) in gone:
                self._checkpoints.pop(state.id, None)
                self._held.pop(state.id, None)
                self.drop(state.id)
        self.parts = [part for part in self.parts if part not in gone]

    def evict_all(self) -> None:
        """Evict everything, in order."""
        for instance in list(self._cache):
            self.drop(instance)

    def forget(self) -> None:
        """Lose all that is in memory: a new life begins."""
        self._unsent = []
        self._checkpoints = {}
        self._held = {}
        self._condemned = {}
        self.hint()
        self.evict_all()
        if self._colocated is not None:
            self._colocated.lost()

    def bury(self) -> None:
        """What a crash leaves: nothing in memory, and no `finally` ran."""
        self._unsent = []
        self._checkpoints = {}
        self._held = {}
        self._blocked = set()
        self._cache.clear()
        self._runs.bury()
