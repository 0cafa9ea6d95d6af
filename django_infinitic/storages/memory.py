"""The store in memory: for tests, by the same port."""

from __future__ import annotations

import copy
import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django_infinitic.exceptions import UsageError
from django_infinitic.machine import effects as fx
from django_infinitic.machine.ids import STARTER_LANE, part_id, part_number
from django_infinitic.machine.messages import Kind, Message
from django_infinitic.machine.statuses import DeferredStatus, InstanceStatus, OutcomeStatus
from django_infinitic.storages.base import (
    ClaimedTask,
    Inputs,
    NotOwner,
    Started,
    Storage,
    StoredInstance,
    StoredOutcome,
    WriteSet,
)

Doc = dict[str, Any]
LIMIT = 10_000


@dataclass(slots=True)
class _Task:
    new: fx.NewTask
    attempt: int
    ready_at: int
    doc: Doc
    worker: int | None = None
    state: int = 0
    mode: int = 0


@dataclass(slots=True)
class _Row:
    message: Message
    part: int
    parked: bool = False


@dataclass(slots=True)
class _Tables:
    instances: dict[str, StoredInstance] = field(default_factory=dict)
    events: dict[str, list[fx.EventRow]] = field(default_factory=dict)
    messages: dict[int, _Row] = field(default_factory=dict)
    tasks: dict[str, _Task] = field(default_factory=dict)
    timers: dict[str, fx.NewTimer] = field(default_factory=dict)
    outcomes: dict[str, fx.OutcomeRow] = field(default_factory=dict)
    custom_ids: dict[tuple[str, str], str] = field(default_factory=dict)
    tags: dict[tuple[str, str], dict[str, None]] = field(default_factory=dict)
    queued: dict[str, int] = field(default_factory=dict)
    workers: dict[int, Doc] = field(default_factory=dict)
    parts: dict[int, int | None] = field(default_factory=dict)


class MemoryStorage(Storage):
    """All in one process; the clock is given, as tests have a virtual one."""

    def __init__(self, clock: Callable[[], int], parts: int = 8) -> None:
        self._clock = clock
        self._parts = parts
        self._t = _Tables()
        self._ids = itertools.count(1)
        self._lock = threading.RLock()
        self.me = 0

    # -- engine ----------------------------------------------------------------------------

    def now(self) -> int:
        return self._clock()

    def read(self, parts: Sequence[int], limit: int) -> Inputs:
        now = self._clock()
        wanted = set(parts)
        counts: dict[int, int] = {}
        found = []
        for row in self._t.messages.values():
            if row.part & 255 == STARTER_LANE:
                continue
            if row.part in wanted and not row.parked and counts.get(row.part, 0) < limit:
                counts[row.part] = counts.get(row.part, 0) + 1
                found.append(row.message)
        mine = [one for one in self._t.timers.values() if self._part(one.instance) in wanted]
        due = sorted((one for one in mine if one.due <= now), key=lambda one: one.due)
        later = [one.due for one in mine if one.due > now]
        return Inputs(
            now=now,
            messages=found,
            timers=[(one.id, one.due, one.instance, one.doc) for one in due],
            next_due=min(later, default=None),
        )

    def _part(self, instance: str) -> int:
        row = self._t.instances[instance]
        return part_id(row.workflow, part_number(instance, self._parts))

    def load(self, instances: Sequence[str]) -> dict[str, StoredInstance]:
        found = {}
        for one in instances:
            row = self._t.instances.get(one)
            if row is not None:
                events = [
                    event
                    for event in self._t.events.get(one, ())
                    if event.stream < 2 or event.stream in row.open
                ]
                events.sort(key=lambda event: (event.stream, event.seq))
                found[one] = replace(row, events=copy.deepcopy(events))
        return found

    def _fence(self) -> None:
        worker = self._t.workers.get(self.me)
        if self.me and (worker is None or worker["dead"]):
            raise NotOwner("the worker was marked dead")

    def write(self, batch: WriteSet) -> None:
        self._fence()
        for turn in batch.turns:
            known = {(e.stream, e.seq) for e in self._t.events.get(turn.instance, ())}
            if any((one.stream, one.seq) in known for one in turn.events):
                raise NotOwner("an event of this key exists")
            if any(one not in self._t.messages for one in turn.consumed):
                raise NotOwner("a message was consumed by somebody else")
            own = [
                *turn.done_tasks,
                *turn.delegated_tasks,
                *((one.id, one.attempt) for one in turn.retried_tasks),
            ]
            for task_id, attempt in own:
                held = self._t.tasks.get(task_id)
                if held is None or held.attempt != attempt:
                    raise NotOwner("an attempt of a task is not the current one")
        for turn in batch.turns:
            self._write_one(turn)

    def _write_one(self, turn: fx.Effects) -> None:
        t = self._t
        for row in turn.consumed:
            del t.messages[row]
        for row in turn.parked:
            t.messages[row].parked = True
        for timer in [*turn.fired, *turn.dropped_timers]:
            t.timers.pop(timer, None)
        t.events.setdefault(turn.instance, []).extend(copy.deepcopy(turn.events))
        for task_id, _ in turn.done_tasks:
            t.tasks.pop(task_id, None)
        for again in turn.retried_tasks:
            freed = t.tasks[again.id]
            freed.state, freed.worker, freed.attempt = 0, None, again.attempt
            freed.ready_at, freed.doc = again.ready_at, copy.deepcopy(again.doc)
        for task_id, _ in turn.delegated_tasks:
            t.tasks[task_id].state, t.tasks[task_id].worker = 2, None
        for task in turn.tasks:
            row = _Task(task, task.attempt, task.ready_at, copy.deepcopy(task.doc))
            if task.claimed:
                row.state, row.worker, row.attempt = 1, self.me, task.attempt + 1
            t.tasks[task.id] = row
        for new_timer in turn.timers:
            if new_timer.id not in turn.dropped_timers:
                t.timers[new_timer.id] = new_timer
        for child in turn.instances:
            if child.custom_id is not None:
                self._insert(
                    part_id(child.workflow, STARTER_LANE), child.id, Kind.START, {"child": child}
                )
            elif child.id not in t.instances:
                self._new_instance(
                    child.id,
                    child.workflow,
                    child.start["method"],
                    child.tags,
                    child.meta,
                    None,
                    child.started_by,
                    child.start,
                )
        for post in turn.posts:
            self._post(post)
        for outcome in turn.outcomes:
            t.outcomes[outcome.method] = copy.deepcopy(outcome)
        if turn.head is not None:
            head = turn.head
            t.instances[head.instance] = replace(
                t.instances[head.instance],
                version=head.version,
                status=head.status,
                streams=head.streams,
                open=head.open,
                closed_at=head.closed_at,
                error=head.error,
            )
            t.queued[head.instance] = head.queued
        for tag in turn.dropped_tags:
            t.tags.get((t.instances[turn.instance].workflow, tag), {}).pop(turn.instance, None)
        for task_id in turn.canceled_tasks:
            self._cancel_task(task_id)
        for task_id in turn.expired_tasks:
            found = t.tasks.get(task_id)
            if found is not None and found.state == 0:
                del t.tasks[task_id]
            elif found is not None and found.state == 1:
                found.mode = 2

    def _cancel_task(self, task_id: str) -> None:
        found = self._t.tasks.get(task_id)
        if found is None:
            return
        if found.state == 1:
            found.mode = 1
            return
        del self._t.tasks[task_id]
        self._report(found, {"status": int(DeferredStatus.CANCELED), "value": None})

    def _report(self, task: _Task, doc: Doc) -> None:
        instance = task.new.instance
        if instance in self._t.instances:
            full = {
                "s": task.doc["s"],
                "p": task.doc["p"],
                "task": task.new.id,
                "sequence": task.doc["q"],
                **doc,
            }
            self._insert(self._part(instance), instance, Kind.REPORT, full)

    def written(self, batch: WriteSet) -> bool:
        for turn in batch.turns:
            for event in turn.events:
                known = self._t.events.get(turn.instance, ())
                return any((e.stream, e.seq) == (event.stream, event.seq) for e in known)
            for row in turn.consumed:
                return row not in self._t.messages
        return True

    def start_from_lane(self, parts: Sequence[int]) -> bool:
        lanes = {part for part in parts if part & 255 == STARTER_LANE}
        for row in list(self._t.messages.values()):
            if row.part in lanes and row.message.row is not None:
                del self._t.messages[row.message.row]
                self._start_child(row.message.doc["child"])
                return True
        return False

    def _start_child(self, child: fx.NewInstance) -> None:
        t = self._t
        requester = child.requester
        assert child.custom_id is not None
        try:
            started = self.start(
                id=child.id,
                workflow=child.workflow,
                part=part_id(child.workflow, part_number(child.id, self._parts)),
                method=child.start["method"],
                tags=child.tags,
                meta=child.meta,
                custom_id=child.custom_id,
                once=child.once,
                started_by=child.started_by,
                doc=child.start,
            )
        except UsageError as error:
            self._answer(requester, -1, {"usage": str(error)})
            return
        if started.created:
            return
        if not started.closed:
            doc = {"id": None, "join": True, "from": requester, "method": child.start["method"]}
            self._insert(self._part(started.id), started.id, Kind.METHOD, doc)
            return
        outcome = t.outcomes.get(started.id)
        if outcome is not None:
            status = outcome.status if outcome.status != OutcomeStatus.STALLED else 2
            self._answer(requester, status, outcome.doc.get("v", outcome.doc.get("e")))

    def _answer(self, requester: Doc, status: int, value: Any) -> None:
        doc = {"s": requester["s"], "p": requester["p"], "status": status, "value": value}
        if requester["i"] in self._t.instances:
            self._insert(self._part(requester["i"]), requester["i"], Kind.OUTCOME, doc)

    def _insert(self, part: int, instance: str, kind: Kind, doc: Doc) -> None:
        row = next(self._ids)
        message = Message(
            kind=kind, doc=copy.deepcopy(doc), instance=instance, at=self._clock(), row=row
        )
        self._t.messages[row] = _Row(message, part)

    def _post(self, post: fx.Post) -> None:
        reached = self._targets(post.workflow, post.to, post.value)
        for instance in reached:
            if post.to == "tag" and instance == post.sender:
                continue
            self._insert(self._part(instance), instance, post.kind, post.doc)
        if not reached and post.unknown is not None:
            self._insert(self._part(post.sender), post.sender, Kind.OUTCOME, post.unknown)

    def _targets(self, workflow: str | None, to: str, value: str) -> list[str]:
        t = self._t
        if to == "tag":
            return [one for one in t.tags.get((workflow or "", value), {}) if self._runs(one)]
        found = t.custom_ids.get((workflow or "", value)) if to == "custom" else value
        row = t.instances.get(found or "")
        if row is None or row.closed_at is not None or workflow not in (None, row.workflow):
            return []
        return [row.id]

    def _runs(self, instance: str) -> bool:
        return self._t.instances[instance].closed_at is None

    # -- tasks -----------------------------------------------------------------------------

    def claim(self, services: Sequence[str] | None, limit: int) -> list[ClaimedTask]:
        self._fence()
        now = self._clock()
        ready = [
            task
            for task in self._t.tasks.values()
            if task.state == 0
            and task.ready_at <= now
            and (services is None or task.new.service in services)
        ]
        ready.sort(key=lambda task: (task.ready_at, task.new.id))
        claimed = []
        for task in ready[:limit]:
            task.state, task.worker = 1, self.me
            task.ready_at = now  # from now on: since when it runs
            task.attempt += 1
            new = task.new
            claimed.append(
                ClaimedTask(
                    id=new.id,
                    instance=new.instance,
                    workflow=new.workflow,
                    service=new.service,
                    name=new.name,
                    attempt=task.attempt,
                    doc=copy.deepcopy(task.doc),
                )
            )
        return claimed

    def _held(self, task: ClaimedTask) -> _Task | None:
        found = self._t.tasks.get(task.id)
        if found is None or found.attempt != task.attempt or found.state != 1:
            return None
        return found

    def finish(self, task: ClaimedTask, doc: Doc) -> bool:
        found = self._held(task)
        if found is None:
            return False
        del self._t.tasks[task.id]
        self._report(found, doc)
        return True

    def retry(self, task: ClaimedTask, ready_at: int, doc: Doc) -> bool:
        found = self._held(task)
        if found is None:
            return False
        if found.mode:
            del self._t.tasks[task.id]
            failed = {"status": int(DeferredStatus.FAILED), "value": doc.get("failure")}
            canceled = {"status": int(DeferredStatus.CANCELED), "value": None}
            self._report(found, canceled if found.mode == 1 else failed)
            return True
        found.state, found.worker = 0, None
        found.ready_at = ready_at
        found.doc = copy.deepcopy(doc)
        return True

    def delegate(self, task: ClaimedTask) -> bool:
        found = self._held(task)
        if found is None:
            return False
        found.state, found.worker = 2, None
        if found.mode == 1:
            found.state = 0
            self._cancel_task(task.id)
        return True

    def next_ready(self, services: Sequence[str] | None) -> int | None:
        return min(
            (
                task.ready_at
                for task in self._t.tasks.values()
                if task.state == 0 and (services is None or task.new.service in services)
            ),
            default=None,
        )

    # -- ownership -------------------------------------------------------------------------

    def register(self, name: str, info: Doc) -> int:
        me = next(self._ids)
        seen = self._clock()
        self._t.workers[me] = {"id": me, "name": name, "info": info, "dead": False, "seen": seen}
        return me

    def renew(self, me: int) -> bool:
        row = self._t.workers[me]
        if not row["dead"]:
            row["seen"] = self._clock()
        return not row["dead"]

    def reap(self, dead: int | None = None) -> list[int]:
        if dead is None or self._t.workers[dead]["dead"]:
            return []
        self._t.workers[dead]["dead"] = True
        for task in self._t.tasks.values():
            if task.worker == dead:
                task.state, task.worker = 0, None
                task.attempt += 1
        for part, owner in self._t.parts.items():
            if owner == dead:
                self._t.parts[part] = None
        return [dead]

    def take(self, me: int, workflows: dict[str, int], parts: int) -> list[int]:
        for workflow in workflows:
            for number in (*range(parts), STARTER_LANE):
                part = part_id(workflow, number)
                if self._t.parts.get(part) is None:
                    self._t.parts[part] = me
        return [part for part, owner in self._t.parts.items() if owner == me]

    def release(self, me: int, parts: Sequence[int] | None = None) -> None:
        for part, owner in self._t.parts.items():
            if owner == me and (parts is None or part in parts):
                self._t.parts[part] = None

    def retire(self, me: int) -> int:
        old = self._t.workers[me]
        if old["dead"]:
            raise NotOwner("marked dead by somebody else")
        old["dead"] = True
        new = self.register(old["name"], old["info"])
        for part, owner in self._t.parts.items():
            if owner == me:
                self._t.parts[part] = new
        for task in self._t.tasks.values():
            if task.worker == me:
                task.worker = new
        self.me = new
        return new

    # -- clients ---------------------------------------------------------------------------

    def _new_instance(
        self,
        id: str,
        workflow: str,
        method: str,
        tags: Sequence[str],
        meta: Doc,
        custom_id: str | None,
        started_by: str,
        doc: Doc,
    ) -> None:
        self._t.instances[id] = StoredInstance(
            id=id,
            workflow=workflow,
            version=None,
            status=InstanceStatus.RUNNING,
            tags=tuple(tags),
            custom_id=custom_id,
            meta=dict(meta),
            started_by=started_by,
            parent=doc.get("from"),
            streams=2,
            open=(2,),
            created_at=self._clock(),
            closed_at=None,
            method=method,
        )
        for tag in tags:
            self._t.tags.setdefault((workflow, tag), {})[id] = None
        self._insert(self._part(id), id, Kind.START, doc)

    def start(
        self,
        *,
        id: str,
        workflow: str,
        part: int,
        method: str,
        tags: Sequence[str],
        meta: Doc,
        custom_id: str | None,
        once: bool,
        started_by: str,
        doc: Doc,
    ) -> Started:
        if custom_id is not None:
            holder = self._t.custom_ids.get((workflow, custom_id))
            row = self._t.instances.get(holder or "")
            if row is not None and (row.closed_at is None or once):
                if row.method != method:
                    raise UsageError(other_method(workflow, custom_id, row.method, method))
                return Started(id=row.id, created=False, closed=row.closed_at is not None)
            self._t.custom_ids[workflow, custom_id] = id
        self._new_instance(id, workflow, method, tags, meta, custom_id, started_by, doc)
        return Started(id=id, created=True)

    def start_many(self, starts: Sequence[Doc]) -> list[Started]:
        before = copy.deepcopy(self._t)
        try:
            return [self.start(**one) for one in starts]
        except Exception:
            self._t = before
            raise

    def post(self, workflow: str, to: str, value: str, kind: Kind, doc: Doc) -> list[str]:
        reached = self._targets(workflow, to, value)
        for instance in reached:
            if kind == Kind.SEND and to != "tag":
                waiting = self._t.queued.get(instance, 0) + sum(
                    row.message.instance == instance for row in self._t.messages.values()
                )
                if waiting >= LIMIT:
                    raise UsageError(too_many(workflow, instance))
            self._insert(self._part(instance), instance, kind, doc)
        return reached

    def find(self, workflow: str | None, custom_id: str) -> str | None:
        return self._t.custom_ids.get((workflow or "", custom_id))

    def outcome(self, method: str) -> StoredOutcome | None:
        row = self._t.outcomes.get(method)
        if row is None:
            return None
        retrying = any(
            one.message.instance == row.instance
            and one.message.kind in (Kind.RETRY, Kind.RETRY_TASKS)
            for one in self._t.messages.values()
        )
        return StoredOutcome(
            instance=row.instance, seq=row.seq, status=row.status, doc=row.doc, retrying=retrying
        )

    def head(self, instance: str) -> StoredInstance | None:
        return self._t.instances.get(instance)

    def history(self, instance: str) -> StoredInstance | None:
        row = self._t.instances.get(instance)
        if row is None:
            return None
        events = sorted(self._t.events.get(instance, ()), key=lambda e: (e.stream, e.seq))
        return replace(row, events=copy.deepcopy(events))

    def ids_by_tag(self, workflow: str, tag: str) -> set[str]:
        if tag.startswith("customId:"):
            found = self._t.custom_ids.get((workflow, tag.removeprefix("customId:")))
            return {found} if found is not None and self._runs(found) else set()
        return {one for one in self._t.tags.get((workflow, tag), {}) if self._runs(one)}

    def tasks_of(self, instance: str) -> list[Doc]:
        return [
            {
                "id": one.new.id,
                "service": one.new.service,
                "name": one.new.name,
                "attempt": one.attempt,
                "ready_at": one.ready_at,
                "state": one.state,
                "worker": self._t.workers.get(one.worker or 0, {}).get("name"),
                "doc": one.doc,
            }
            for one in self._t.tasks.values()
            if one.new.instance == instance
        ]

    def messages_of(self, instance: str) -> list[Message]:
        return [
            row.message for row in self._t.messages.values() if row.message.instance == instance
        ]

    def complete_task(self, service: str, task: str, doc: Doc) -> bool:
        found = self._t.tasks.get(task)
        if found is None or found.new.service != service or not found.doc.get("dl"):
            return False
        del self._t.tasks[task]
        self._report(found, doc)
        return True

    def delegated_name(self, service: str, task: str) -> str | None:
        found = self._t.tasks.get(task)
        if found is None or found.new.service != service or not found.doc.get("dl"):
            return None
        return found.new.name

    def workers_alive(self) -> list[Doc]:
        return [one for one in self._t.workers.values() if not one["dead"]]

    def workers_seen(self) -> list[Doc]:
        return list(self._t.workers.values())


def other_method(workflow: str, custom_id: str, held: str, asked: str) -> str:
    """The text when a custom id is held by an instance that another method started."""
    return (
        f"{workflow} with custom id {custom_id!r} was started by its method {held}, and now "
        f"{asked} was asked for. Start it with the same method, or run {asked} on the instance: "
        "get_workflow_by_custom_id()."
    )


def too_many(workflow: str, instance: str) -> str:
    """The text when too many messages wait for an instance."""
    return (
        f"{workflow} ({instance}) has {LIMIT:,} messages waiting, which is the limit. It does not "
        "take them: look at what it waits for, or cancel it."
    )
