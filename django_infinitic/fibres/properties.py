"""The attributes of a running workflow object, as properties of its instance (F057, F058)."""

from __future__ import annotations

import logging
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django_infinitic.codec import MISSING, Place, ValueCodec, codec_for
from django_infinitic.exceptions import SerializationError
from django_infinitic.machine.properties import PropertyLog, Values, applied, apply

if TYPE_CHECKING:
    from django_infinitic.authoring.workflow import Workflow
    from django_infinitic.registry import WorkflowSpec

logger = logging.getLogger("django_infinitic.engine")
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
        self._known: Values = {}
        self._objects: dict[str, Any] = {}
        self._unreadable: set[str] = set()
        self._recorded: Values = {}
        self._next = -1
        self._step = 0

    def _codec(self, name: str) -> ValueCodec:
        declared = self._spec.properties
        return declared[name] if name in declared else codec_for(MISSING)

    def _place(self, name: str) -> Place:
        return Place("property", self._class, name)

    def refresh(self, workflow: Workflow, log: PropertyLog, step: int) -> None:
        """After `__init__`, and before each resumption: what others have changed meanwhile."""
        changed = self._begun(log, step) if self._next < 0 else {}
        at = self._next - log.start
        while at < len(log.changes) and log.changes[at][0] < step:
            own, changes = log.changes[at][0] == self._step, log.changes[at][1]
            at += 1
            apply(self._recorded, changes)
            if not own:  # the own ones are there already
                changed.update(dict.fromkeys(changes))
        self._next = at + log.start
        for name in changed:
            self._set(workflow, name, self._recorded[name])
        self._step = step

    def _begun(self, log: PropertyLog, step: int) -> Values:
        """The values that a method begins with; a live one begins with those of now."""
        live = bool(log.changes) and log.changes[-1][0] < step
        self._recorded = dict(log.values if live else log.base)
        self._next = log.start + (len(log.changes) if live else 0)
        return dict(self._recorded)

    def _set(self, workflow: Workflow, name: str, payload: str | None) -> None:
        self._known[name] = payload
        self._objects.pop(name, None)
        if payload is None:
            workflow.__dict__.pop(name, None)
            return
        try:
            value = self._codec(name).decode(payload, self._place(name))
        except SerializationError:
            if name in self._spec.properties:
                raise
            self._unreadable.add(name)
            logger.warning(
                "%s.%s was stored and is not annotated any more: it is left out.", self._class, name
            )
            return
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
            if known is not None and name not in attributes and name not in self._unreadable:
                found[name] = None
                self._objects.pop(name, None)
        self._known.update(found)
        return found

    def recorded_wins(self, workflow: Workflow, log: PropertyLog, step: int) -> list[str]:
        """After a replayed segment: set what differs from the record; the names that differed."""
        at = self._next - log.start
        changes = log.changes[at][1] if at < len(log.changes) and log.changes[at][0] == step else {}
        before = dict(self._known)
        computed = self.changes(workflow)
        differing = []
        for name in dict.fromkeys([*changes, *computed]):
            if name in changes:
                recorded = applied(self._recorded.get(name), changes[name])
            elif name in before:  # the record says that it did not change
                recorded = before[name]
            else:  # the code that was recorded did not know it: told with the next live segment
                del self._known[name]
                del self._objects[name]
                continue
            if self._known.get(name) != recorded:
                differing.append(name)
                self._set(workflow, name, recorded)
        return differing
