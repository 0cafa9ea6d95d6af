"""The clients' face in memory."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django_infinitic.exceptions import UsageError
from django_infinitic.machine.messages import Kind, Message
from django_infinitic.storages.base import (
    Started,
    StoredInstance,
    StoredOutcome,
)
from django_infinitic.storages.memory.tables import Memory

Doc = dict[str, Any]
LIMIT = 10_000


class MemoryClients(Memory):
    """`ClientStore`."""

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
