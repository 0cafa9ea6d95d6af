"""The entries of a timeline, and when the steps of an instance were."""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django_infinitic.failures import Failure
from django_infinitic.fibres.times import moment
from django_infinitic.machine.state import Method
from django_infinitic.storages.base import StoredInstance

Doc = dict[str, Any]
NO_PAYLOAD: Final = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that happened, or goes on.

    `kind`: method, task, child, timer, inline, send, message, discarded, left, stall, retry,
    cancel or end. `at` is when it began; of what was recorded without a time, when it was next
    known to have been. `seconds`: how long it took, None while it goes on. `failures`: the failed
    attempts that are recorded, oldest first; `attempts` is their number with the present one, None
    where it is not recorded (of what succeeded). `value` is what came of it, by kind only, or as
    JSON when payloads were asked for; `arguments` are shown only then.
    """

    kind: str
    text: str
    at: datetime | None
    step: int
    method: str = ""
    id: str | None = None
    status: str = ""
    seconds: float | None = None
    attempts: int | None = None
    error: str = ""
    failures: tuple[Failure, ...] = ()
    arguments: Any = NO_PAYLOAD
    value: Any = NO_PAYLOAD

    @property
    def traceback(self) -> str:
        """The stack trace of the last failure, if one is recorded."""
        return self.failures[-1].stack_trace if self.failures else ""

    def to_json(self) -> Doc:
        """Plain JSON."""
        found = {name: getattr(self, name) for name in self.__slots__}
        found["at"] = None if self.at is None else self.at.isoformat()
        found["failures"] = [one.to_json() for one in self.failures]
        return found


class Times:
    """When a step was: exact where its entry has a time, else that of the next that has one."""

    def __init__(self, row: StoredInstance) -> None:
        known: dict[int, int] = {}
        self._first: dict[tuple[int, int], int] = {}
        self._ends: dict[int, int] = {}
        positions: dict[int, int] = {}
        for event in row.events:
            for entry in event.entries:
                ((what, body),) = entry.items()
                if what in ("open", "seg", "stall"):
                    known[body["n"]] = body["a"]
                elif what == "closed":
                    known[body[0]] = body[2]
                elif what == "out" and len(body) > 4:
                    known.setdefault(body[0], body[4])
                if what == "end" or (what == "seg" and "e" in body):
                    self._ends[event.stream] = body[0] if what == "end" else body["n"]
                if what == "seg":
                    self._first[event.stream, body["n"]] = positions.get(event.stream, 0) + 1
                    before = positions.get(event.stream, 0)
                    positions[event.stream] = before + len(body.get("c", ()))
        self._steps = sorted(known)
        self._known = known

    def at(self, step: int) -> datetime | None:
        """When a step was; None when nothing later has a time."""
        place = bisect.bisect_left(self._steps, step)
        return moment(self._known[self._steps[place]]) if place < len(self._steps) else None

    def end_of(self, method: Method) -> datetime | None:
        """When a method ended."""
        step = self._ends.get(method.stream)
        return None if step is None else self.at(step)

    def first_position(self, method: Method, step: int) -> int:
        """The position of the first command of a step of a method."""
        return self._first[method.stream, step]
