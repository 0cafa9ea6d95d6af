"""The engine's face in memory."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django_infinitic.exceptions import UsageError
from django_infinitic.machine import effects as fx
from django_infinitic.machine.ids import STARTER_LANE, part_id, part_number
from django_infinitic.machine.messages import Kind
from django_infinitic.machine.statuses import InstanceStatus, OutcomeStatus
from django_infinitic.storages.base import (
    Inputs,
    NotOwner,
    StoredInstance,
    WriteSet,
)
from django_infinitic.storages.memory.clients import MemoryClients
from django_infinitic.storages.memory.tables import TaskRow

Doc = dict[str, Any]


class MemoryEngine(MemoryClients):
    """`EngineStore`."""

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
        ready = (one for one in mine if one.due <= now and one.id not in self._given)
        due = sorted(ready, key=lambda one: one.due)
        self._given.update(one.id for one in due)
        later = [one.due for one in mine if one.due > now]
        return Inputs(
            now=now,
            messages=found,
            timers=[(one.id, one.due, one.instance, one.doc) for one in due],
            next_due=min(later, default=None),
        )

    def block(self, instance: str, error: str) -> None:
        row = self._t.instances[instance]
        self._t.instances[instance] = replace(row, status=InstanceStatus.BLOCKED, error=error)

    def unblock(self, instance: str) -> None:
        row = self._t.instances[instance]
        self._t.instances[instance] = replace(row, status=InstanceStatus.RUNNING, error="")
        for one in self._t.messages.values():
            if one.message.instance == instance:
                one.parked = False
        self._given.difference_update(
            timer.id for timer in self._t.timers.values() if timer.instance == instance
        )

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
            new = TaskRow(task, task.attempt, task.ready_at, copy.deepcopy(task.doc))
            if task.claimed:
                new.state, new.worker, new.attempt = 1, self.me, task.attempt + 1
            t.tasks[task.id] = new
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

    def _post(self, post: fx.Post) -> None:
        reached = self._targets(post.workflow, post.to, post.value)
        for instance in reached:
            if post.to == "tag" and instance == post.sender:
                continue
            self._insert(self._part(instance), instance, post.kind, post.doc)
        if not reached and post.unknown is not None:
            self._insert(self._part(post.sender), post.sender, Kind.OUTCOME, post.unknown)
