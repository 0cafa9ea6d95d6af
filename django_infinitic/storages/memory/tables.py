"""Tables in memory, and what all faces of the store share."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django_infinitic.machine import effects as fx
from django_infinitic.machine.ids import part_id, part_number
from django_infinitic.machine.messages import Kind, Message
from django_infinitic.machine.statuses import DeferredStatus, InstanceStatus
from django_infinitic.storages.base import (
    NotOwner,
    StoredInstance,
)

Doc = dict[str, Any]


@dataclass(slots=True)
class TaskRow:
    new: fx.NewTask
    attempt: int
    ready_at: int
    doc: Doc
    worker: int | None = None
    state: int = 0
    mode: int = 0


@dataclass(slots=True)
class MessageRow:
    message: Message
    part: int
    parked: bool = False


@dataclass(slots=True)
class Tables:
    instances: dict[str, StoredInstance] = field(default_factory=dict)
    events: dict[str, list[fx.EventRow]] = field(default_factory=dict)
    messages: dict[int, MessageRow] = field(default_factory=dict)
    tasks: dict[str, TaskRow] = field(default_factory=dict)
    timers: dict[str, fx.NewTimer] = field(default_factory=dict)
    outcomes: dict[str, fx.OutcomeRow] = field(default_factory=dict)
    custom_ids: dict[tuple[str, str], str] = field(default_factory=dict)
    tags: dict[tuple[str, str], dict[str, None]] = field(default_factory=dict)
    queued: dict[str, int] = field(default_factory=dict)
    workers: dict[int, Doc] = field(default_factory=dict)
    parts: dict[int, int | None] = field(default_factory=dict)


class Memory:
    """The tables with the clock, and the moves that several faces make."""

    me: int = 0

    def __init__(self, clock: Callable[[], int], parts: int = 8) -> None:
        self._clock = clock
        self._parts = parts
        self._t = Tables()
        self._ids = itertools.count(1)
        self._given: set[str] = set()  # due timers that the present life was given
        self.me = 0

    def now(self) -> int:
        return self._clock()

    def _part(self, instance: str) -> int:
        row = self._t.instances[instance]
        return part_id(row.workflow, part_number(instance, self._parts))

    def _fence(self) -> None:
        worker = self._t.workers.get(self.me)
        if self.me and (worker is None or worker["dead"]):
            raise NotOwner("the worker was marked dead")

    def _cancel_task(self, task_id: str) -> None:
        found = self._t.tasks.get(task_id)
        if found is None:
            return
        if found.state == 1:
            found.mode = 1
            return
        del self._t.tasks[task_id]
        self._report(found, {"status": int(DeferredStatus.CANCELED), "value": None})

    def _report(self, task: TaskRow, doc: Doc) -> None:
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

    def _insert(self, part: int, instance: str, kind: Kind, doc: Doc) -> None:
        row = next(self._ids)
        message = Message(
            kind=kind, doc=copy.deepcopy(doc), instance=instance, at=self._clock(), row=row
        )
        self._t.messages[row] = MessageRow(message, part)

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
