"""The executors' face in memory."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from django_infinitic.machine.statuses import DeferredStatus
from django_infinitic.storages.base import (
    ClaimedTask,
)
from django_infinitic.storages.memory.tables import Memory, TaskRow

Doc = dict[str, Any]


class MemoryTasks(Memory):
    """`TaskStore`."""

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

    def _held(self, task: ClaimedTask) -> TaskRow | None:
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
