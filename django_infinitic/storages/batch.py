"""A `WriteSet` sorted into sets of rows, which the adapters turn into statements (B7)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Final, NamedTuple

from django_infinitic.machine.effects import Effects, Head, NewInstance, Post
from django_infinitic.machine.statuses import DeferredStatus
from django_infinitic.storages.base import RefusedData, WriteSet
from django_infinitic.storages.documents import (
    as_id,
    lane_of,
    open_text,
    pack,
    part_of,
    to_json,
)

BY_ID, BY_CUSTOM_ID, BY_TAG = 0, 1, 2
_TO: Final = {"id": BY_ID, "custom": BY_CUSTOM_ID, "tag": BY_TAG}


class EventRecord(NamedTuple):
    """A row of `event`."""

    instance: str
    stream: int
    seq: int
    step: int
    body: bytes


class InstanceRecord(NamedTuple):
    """A row of `instance`, and the body of its START message."""

    id: str
    part: int
    workflow: str
    method: str
    custom_id: str | None
    parent: str | None
    requester: str | None
    tags: str
    meta: str
    started_by: str
    body: bytes
    tag_list: tuple[str, ...]


class LaneRecord(NamedTuple):
    """A start with a custom id: a message in the starter lane."""

    part: int
    instance: str
    body: bytes


class PostRecord(NamedTuple):
    """A message to others; `target` is set by id, `value` otherwise."""

    to: int
    workflow: str | None
    target: str | None
    value: str
    lane: int
    kind: int
    body: bytes
    sender: str
    unknown: bytes | None


class TaskRecord(NamedTuple):
    """A row of `task`; `claimed`: born claimed by this worker."""

    id: str
    instance: str
    workflow: str
    service: str
    name: str
    stream: int
    position: int
    attempt: int
    claimed: bool
    delegated: bool
    ready_at: int
    body: bytes


class RetriedRecord(NamedTuple):
    """An own attempt that failed and is tried again: its row is freed, with a new document."""

    id: str
    attempt: int
    ready_at: int
    body: bytes


class AnsweredRecord(NamedTuple):
    """An own attempt of a delegated task. Somebody may have answered it, or be about to, in a
    transaction that takes long: so its row may be gone or locked, and is not waited for (A5).

    `what`: done, retried or delegated.
    """

    id: str
    what: str
    attempt: int
    ready_at: int = 0
    body: bytes = b""


class TimerRecord(NamedTuple):
    """A row of `timer`; its part is its instance's."""

    id: str
    instance: str
    due: int
    body: bytes


class OutcomeRecord(NamedTuple):
    """A row of `outcome`."""

    method: str
    instance: str
    seq: int
    status: int
    body: bytes


class HeadRecord(NamedTuple):
    """What changes in a row of `instance`."""

    instance: str
    version: int | None
    status: int
    streams: int
    open: str
    closed_at: int | None
    error: str
    queued: int


@dataclass(slots=True)
class Batch:
    """The rows of a batch, by kind.

    Later turns win over earlier ones, and what a later turn takes back is not written at all.
    Sets that lock rows are in the order of their keys (I17); posts keep the order of the turns.
    """

    consumed: list[int] = field(default_factory=list)
    parked: list[int] = field(default_factory=list)
    done: list[tuple[str, int]] = field(default_factory=list)
    retried: list[RetriedRecord] = field(default_factory=list)
    answered: list[AnsweredRecord] = field(default_factory=list)
    timers_gone: list[str] = field(default_factory=list)
    events: list[EventRecord] = field(default_factory=list)
    children: list[InstanceRecord] = field(default_factory=list)
    lane: list[LaneRecord] = field(default_factory=list)
    posts: list[PostRecord] = field(default_factory=list)
    tasks: list[TaskRecord] = field(default_factory=list)
    timers: list[TimerRecord] = field(default_factory=list)
    canceled: list[str] = field(default_factory=list)
    expired: list[str] = field(default_factory=list)
    outcomes: list[OutcomeRecord] = field(default_factory=list)
    heads: list[HeadRecord] = field(default_factory=list)
    tags_ended: list[tuple[str, str]] = field(default_factory=list)
    """(instance, tag)"""

    @classmethod
    def of(cls, batch: WriteSet, parts: int, delegated: Collection[str] = ()) -> Batch:
        """Sort a batch; `delegated` are ids of own tasks that others can answer.

        Raises `RefusedData` for what cannot be stored.
        """
        try:
            return cls()._filled(batch, parts, delegated)
        except (TypeError, ValueError, KeyError, RecursionError) as error:
            raise RefusedData(f"{type(error).__name__}: {error}") from error

    def _filled(self, batch: WriteSet, parts: int, delegated: Collection[str]) -> Batch:
        timers: dict[str, TimerRecord] = {}
        outcomes: dict[str, OutcomeRecord] = {}
        heads: dict[str, HeadRecord] = {}
        for turn in batch.turns:
            self.consumed += turn.consumed
            self.parked += turn.parked
            self._own_results(turn, delegated)
            self.canceled += turn.canceled_tasks
            self.expired += turn.expired_tasks
            self.tags_ended += ((turn.instance, tag) for tag in turn.dropped_tags)
            for gone in (*turn.fired, *turn.dropped_timers):
                timers.pop(gone, None)
                self.timers_gone.append(gone)
            self._add(turn, batch.claimed, parts)
            for timer in turn.timers:
                timers[timer.id] = TimerRecord(timer.id, timer.instance, timer.due, pack(timer.doc))
            for one in turn.outcomes:
                outcomes[one.method] = OutcomeRecord(
                    one.method, one.instance, one.seq, one.status, pack(one.doc)
                )
            if turn.head is not None:
                heads[turn.head.instance] = _head(turn.head)
        self.consumed.sort()
        self.parked.sort()
        self.done.sort()
        self.retried.sort()
        self.answered.sort()
        self.timers_gone.sort()
        self.events.sort(key=itemgetter(0, 1, 2))
        self.timers = sorted(timers.values())
        self.outcomes = sorted(outcomes.values())
        self.heads = [heads[key] for key in sorted(heads)]
        self.tasks.sort(key=itemgetter(0))
        self.tags_ended.sort()
        return self

    def _own_results(self, turn: Effects, delegated: Collection[str]) -> None:
        for id, attempt in turn.done_tasks:
            if id in delegated:
                self.answered.append(AnsweredRecord(id, "done", attempt))
            else:
                self.done.append((id, attempt))
        for one in turn.retried_tasks:
            body = pack(one.doc)
            if one.id in delegated:
                self.answered.append(
                    AnsweredRecord(one.id, "retried", one.attempt, one.ready_at, body)
                )
            else:
                self.retried.append(RetriedRecord(one.id, one.attempt, one.ready_at, body))
        for id, attempt in turn.delegated_tasks:
            self.answered.append(AnsweredRecord(id, "delegated", attempt))

    def _add(self, turn: Effects, claimed: frozenset[str] | set[str], parts: int) -> None:
        for row in turn.events:
            self.events.append(
                EventRecord(row.instance, row.stream, row.seq, row.step, pack(row.entries))
            )
        for task in turn.tasks:
            doc = task.doc
            born = task.id in claimed
            self.tasks.append(
                TaskRecord(
                    task.id,
                    task.instance,
                    task.workflow,
                    task.service,
                    task.name,
                    int(doc["s"]),
                    int(doc["p"]),
                    task.attempt + born,
                    born,
                    bool(doc.get("dl")),
                    task.ready_at,
                    pack(doc),
                )
            )
        for child in turn.instances:
            if child.custom_id is None:
                self.children.append(_child(child, parts))
            else:
                self.lane.append(
                    LaneRecord(lane_of(child.workflow), child.id, pack(_lane_doc(child)))
                )
        self.posts += map(_post, turn.posts)


def _head(head: Head) -> HeadRecord:
    return HeadRecord(
        instance=head.instance,
        version=head.version,
        status=head.status,
        streams=head.streams,
        open=open_text(head.open),
        closed_at=head.closed_at,
        error=head.error,
        queued=head.queued,
    )


def _child(child: NewInstance, parts: int) -> InstanceRecord:
    return InstanceRecord(
        id=child.id,
        part=part_of(child.workflow, child.id, parts),
        workflow=child.workflow,
        method=child.start["method"],
        custom_id=None,
        parent=as_id(child.requester.get("i")),
        requester=to_json(child.requester),
        tags=to_json(child.tags),
        meta=to_json(child.meta),
        started_by=child.started_by,
        body=pack(child.start),
        tag_list=child.tags,
    )


def _lane_doc(child: NewInstance) -> dict[str, object]:
    return {
        "id": child.id,
        "workflow": child.workflow,
        "method": child.start["method"],
        "tags": list(child.tags),
        "meta": child.meta,
        "custom_id": child.custom_id,
        "once": child.once,
        "started_by": child.started_by,
        "requester": child.requester,
        "start": child.start,
    }


def _post(post: Post) -> PostRecord:
    to = _TO[post.to]
    return PostRecord(
        to=to,
        workflow=post.workflow,
        target=as_id(post.value) if to == BY_ID else None,
        value="" if to == BY_ID else post.value,
        lane=0 if post.workflow is None else lane_of(post.workflow),
        kind=int(post.kind),
        body=pack(post.doc),
        sender=post.sender,
        unknown=None if post.unknown is None else pack(post.unknown),
    )


def canceled_report(task: str, stream: int, position: int) -> bytes:
    """The REPORT of a task that was canceled before anybody ran it to its end."""
    return pack(
        {
            "s": stream,
            "p": position,
            "task": task,
            "status": int(DeferredStatus.CANCELED),
            "value": None,
        }
    )


def late_doc(record: AnsweredRecord) -> dict[str, object]:
    """The document of a message in the lane that does it when the row is free again."""
    return {
        "late": record.what,
        "task": record.id,
        "attempt": record.attempt,
        "ready_at": record.ready_at,
        "body": record.body.hex(),
    }
