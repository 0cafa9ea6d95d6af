"""The attributes of a running workflow object, as properties of its instance (F057, F058)."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django_infinitic.codec import MISSING, Place, ValueCodec, codec_for

if TYPE_CHECKING:
    from django_infinitic.authoring.workflow import Workflow
    from django_infinitic.registry import WorkflowSpec

Log = list[tuple[int, dict[str, str | None]]]
_IMMUTABLE = frozenset(
    {str, int, float, bool, type(None), bytes, Decimal, UUID, date, datetime, time, timedelta}
)


class Properties:
    """Compares the attributes of one method's `self` with the properties of the instance.

    `_known` holds encoded values as of the last look, `_objects` the objects they belong to: the
    same immutable object is not encoded again, and an attribute that nobody else changed stays the
    same object.
    """

    def __init__(self, spec: WorkflowSpec) -> None:
        self._spec = spec
        self._class = spec.cls.__name__
        self._known: dict[str, str | None] = {}
        self._objects: dict[str, Any] = {}
        self._next = 0
        self._step = 0

    def _codec(self, name: str) -> ValueCodec:
        declared = self._spec.properties
        return declared[name] if name in declared else codec_for(MISSING)

    def _place(self, name: str) -> Place:
        return Place("property", self._class, name)

    def refresh(self, workflow: Workflow, log: Log, step: int) -> None:
        """After `__init__`, and before each resumption: what others have changed meanwhile."""
        self._apply(workflow, log, step)
        self._step = step

    def _apply(self, workflow: Workflow, log: Log, step: int) -> None:
        changed: dict[str, str | None] = {}
        while self._next < len(log) and log[self._next][0] < step:
            at, changes = log[self._next]
            self._next += 1
            if at != self._step:  # the own ones are there already
                changed.update(changes)
        for name, payload in changed.items():
            self._set(workflow, name, payload)

    def _set(self, workflow: Workflow, name: str, payload: str | None) -> None:
        self._known[name] = payload
        if payload is None:
            workflow.__dict__.pop(name, None)
            self._objects.pop(name, None)
            return
        value = self._codec(name).decode(payload, self._place(name))
        workflow.__dict__[name] = value
        self._objects[name] = value

    def changes(self, workflow: Workflow) -> dict[str, str | None]:
        """What the segment changed; `_known` moves on. Raises `SerializationError`."""
        found: dict[str, str | None] = {}
        attributes = workflow.__dict__
        for name, value in attributes.items():
            if name in self._spec.transients:
                continue
            if name in self._objects and self._objects[name] is value and type(value) in _IMMUTABLE:
                continue
            payload = self._codec(name).encode(value, self._place(name))
            self._objects[name] = value
            if self._known.get(name) != payload:
                found[name] = payload
        for name, known in self._known.items():
            if known is not None and name not in attributes:
                found[name] = None
                self._objects.pop(name, None)
        self._known.update(found)
        return found

    def recorded_wins(self, workflow: Workflow, log: Log, step: int) -> list[str]:
        """After a replayed segment: set what differs from the record; the names that differed."""
        recorded: dict[str, str | None] = {}
        at = self._next
        while at < len(log) and log[at][0] <= step:
            if log[at][0] == step:
                recorded.update(log[at][1])
            at += 1
        computed = self.changes(workflow)
        differing = [
            name
            for name in dict.fromkeys([*recorded, *computed])
            if name in recorded and self._known.get(name) != recorded[name]
        ]
        for name in differing:
            self._set(workflow, name, recorded[name])
        return differing
