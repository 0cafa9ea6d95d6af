"""Who owns what, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django_infinitic.machine.ids import STARTER_LANE, part_id
from django_infinitic.storages.base import (
    NotOwner,
)
from django_infinitic.storages.memory.tables import Memory

Doc = dict[str, Any]


class MemoryOwnership(Memory):
    """`WorkerStore`."""

    def register(self, name: str, info: Doc) -> int:
        self._given.clear()
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
