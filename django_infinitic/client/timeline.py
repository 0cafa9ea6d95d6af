"""The timeline of an instance for people: what happened, when, how long and how often.

Payloads are left out unless they are asked for; what a value is (a text, a list of 3) is shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from django_infinitic.authoring.deferred import DeferredStatus
from django_infinitic.client.context import surroundings
from django_infinitic.client.entries import NO_PAYLOAD, Entry, Times
from django_infinitic.client.wording import error_of, kind_of, time_text
from django_infinitic.exceptions import (
    DeferredError,
    WorkflowFailedError,
    WorkflowUnknownError,
)
from django_infinitic.failures import Failure
from django_infinitic.fibres.times import moment
from django_infinitic.machine.messages import Kind
from django_infinitic.machine.state import INSTANCE, PROPERTIES, Command, Instance, Method
from django_infinitic.machine.statuses import InstanceStatus
from django_infinitic.storages.base import StoredInstance
from django_infinitic.storages.loading import state_of

Doc = dict[str, Any]
WAITED: Final = ("task", "child", "method", "timer")
_LOST: Final = {
    "limit": "too many waited",
    "unheard": "no receive was open for it",
    "cleared": "cleared by the workflow",
}


def timeline(instance: str, *, payloads: bool = False) -> list[Entry]:
    """The entries of an instance, in order. Raises `WorkflowUnknownError`."""
    row = surroundings().store().history(instance)
    if row is None:
        raise WorkflowUnknownError(
            workflow_name="", workflow_id=instance, method_name="", method_id=""
        )
    return Timeline(row, payloads=payloads).entries()


class Timeline:
    """The entries of one instance, made of its history and of what is open now."""

    def __init__(self, row: StoredInstance, *, payloads: bool = False) -> None:
        self._row = row
        self._payloads = payloads
        self._state: Instance = state_of(row)
        self._times = Times(row)
        self._tasks = {one["id"]: one for one in surroundings().store().tasks_of(row.id)}

    def entries(self) -> list[Entry]:
        """All of them, in the order in which they began."""
        found: list[Entry] = []
        for event in self._row.events:
            for entry in event.entries:
                ((what, body),) = entry.items()
                if event.stream == INSTANCE:
                    found += self._of_instance(what, body)
                elif event.stream != PROPERTIES:
                    found += self._of_method(event.stream, what, body)
        found.sort(key=lambda one: one.step)
        return [*found, *self._left()]

    def _payload(self, payload: str | None) -> Any:
        if self._payloads:
            return None if payload is None else json.loads(payload)
        return kind_of(payload)

    def _arguments(self, payload: str) -> Any:
        return json.loads(payload) if self._payloads else NO_PAYLOAD

    # -- the instance ----------------------------------------------------------------------

    def _of_instance(self, what: str, body: Any) -> Iterator[Entry]:
        if what == "msg":
            order, channel, payload, _ = body
            yield self._message("message", order, channel, payload, "arrived")
        elif what == "note" and "discarded" in body:
            order, channel, payload, why = body["discarded"]
            lost = f"was discarded: {_LOST.get(why, why)}"
            entry = self._message("discarded", order, channel, payload, lost)
            yield replace(entry, at=_moment(body.get("a")))
        elif what == "gone" and len(body) > 2 and body[2] == "cleared":
            channel, orders, _ = body
            step = max(orders)
            text = f"{len(orders)} messages on channel {channel} were {_LOST['cleared']}"
            yield Entry(kind="discarded", text=text, at=self._times.at(step), step=step)
        elif what == "stop":
            step, forced = body
            text = "was to be canceled" + (" by force" if forced else "")
            yield Entry(kind="cancel", text=text, at=self._times.at(step), step=step)
        elif what == "closed":
            step, status, at = body
            name = InstanceStatus(status).name
            seconds = (at - self._row.created_at) / 1_000_000
            yield Entry(
                kind="end",
                text=f"ended: {name}",
                at=moment(at),
                step=step,
                status=name,
                seconds=seconds,
            )

    def _message(self, kind: str, step: int, channel: str, payload: str, what: str) -> Entry:
        return Entry(
            kind=kind,
            text=f"a message on channel {channel} {what}",
            at=self._times.at(step),
            step=step,
            value=self._payload(payload),
        )

    def _left(self) -> Iterator[Entry]:
        """Messages that nobody has taken, of a running instance and of an ended one."""
        what = "waits" if self._row.closed_at is None else "was left when it ended"
        for channel, queue in self._state.channels.items():
            for one in queue:
                yield self._message("left", one.order, channel, one.payload, what)
        for message in surroundings().store().messages_of(self._row.id):
            if message.kind == Kind.SEND:
                entry = self._message(
                    "left", self._state.step, message.doc["channel"], message.doc["value"], what
                )
                yield replace(entry, at=moment(message.at))

    # -- methods ---------------------------------------------------------------------------

    def _of_method(self, stream: int, what: str, body: Any) -> Iterator[Entry]:
        method = self._state.methods.get(stream)
        if method is None:
            return
        if what == "open":
            yield self._opened(method)
        elif what == "seg":
            yield from self._segment(method, body)
        elif what == "took":
            step, position, _, payload = body
            yield self._taken(method, step, position, payload)
        elif what == "stall":
            yield self._stalled(method, body)
        elif what == "retry":
            step, by_hand = body
            how = "by hand" if by_hand else "by its policy"
            yield self._plain(method, "retry", f"method {method.name} was retried {how}", step)
        elif what == "cancel":
            yield self._plain(method, "cancel", f"method {method.name} was to be canceled", body)
        elif what == "out" and body[2] == DeferredStatus.ONGOING:
            command = method.commands[body[1]]
            text = f"{command.kind} {command.name} was sent again"
            yield self._plain(method, "retry", text, body[0], id=command.id)

    def _plain(
        self, method: Method, kind: str, text: str, step: int, id: str | None = None
    ) -> Entry:
        at = self._times.at(step)
        return Entry(kind=kind, text=text, at=at, step=step, method=method.name, id=id)

    def _opened(self, method: Method) -> Entry:
        entry = Entry(
            kind="method",
            text=f"method {method.name}",
            at=moment(method.at),
            step=method.step,
            method=method.name,
            id=method.id,
            status=DeferredStatus.ONGOING.name,
            arguments=self._arguments(method.args),
        )
        if method.end is None:
            return entry
        how, value = method.end[0], method.end[1] if len(method.end) > 1 else None
        ended = self._times.end_of(method)
        entry = replace(entry, seconds=_seconds(moment(method.at), ended))
        if how == "return":
            return replace(entry, status="COMPLETED", value=self._payload(value))
        if how == "canceled":
            return replace(entry, status="CANCELED")
        return replace(entry, status="FAILED", **_told(error_of(value)))

    def _segment(self, method: Method, body: Doc) -> Iterator[Entry]:
        step, at = body["n"], moment(body["a"])
        for _, position, _, payload in body.get("t", ()):
            yield self._taken(method, step, position, payload)
        commands = body.get("c", ())
        first = self._times.first_position(method, step)
        for position, (kind, _, data) in enumerate(commands, first):
            if kind in WAITED:
                yield self._command(method, method.commands[position], step, at)
            elif kind == "inline":
                error = Failure.from_json(data["e"]) if "e" in data else None
                yield Entry(
                    kind="inline",
                    text="inline code ran",
                    at=at,
                    step=step,
                    method=method.name,
                    status="COMPLETED" if error is None else "FAILED",
                    error="" if error is None else str(error),
                    failures=() if error is None else (error,),
                    value=self._payload(data["v"]) if "v" in data else NO_PAYLOAD,
                )
            elif kind == "send":
                to = "itself" if data["to"] == "own" else data["to_id"]
                text = f"sent a message to channel {data['ch']} of {to}"
                entry = self._plain(method, "send", text, step)
                yield replace(entry, value=self._payload(data["v"]))

    def _taken(self, method: Method, step: int, position: int, payload: str) -> Entry:
        channel = method.receives[position].data["ch"]
        entry = self._message("message", step, channel, payload, f"was taken by {method.name}")
        return replace(entry, method=method.name)

    def _stalled(self, method: Method, body: Doc) -> Entry:
        again = ", to be tried again" if body.get("r") else ""
        return Entry(
            kind="stall",
            text=f"method {method.name} failed{again}"
            if again
            else f"method {method.name} stalled",
            at=moment(body["a"]),
            step=body["n"],
            method=method.name,
            id=method.id,
            **_told(error_of(body["e"])),
        )

    # -- commands --------------------------------------------------------------------------

    def _command(self, method: Method, command: Command, step: int, at: datetime) -> Entry:
        text = f"{command.kind} {command.name}"
        if command.kind == "timer":
            text = f"timer due {time_text(moment(command.data['due']))}"
        entry = Entry(
            kind=command.kind,
            text=text,
            at=at,
            step=step,
            method=method.name,
            id=None if command.kind == "timer" else command.id,
            status=DeferredStatus(command.last).name,
        )
        if "a" in command.data:
            entry = replace(entry, arguments=self._arguments(command.data["a"]))
        if command.last == DeferredStatus.ONGOING:
            return self._open_task(entry, self._tasks.get(command.id))
        ended, status, value = command.outcomes[-1]
        when = self._times.at(ended)
        if command.kind == "timer" and status == DeferredStatus.COMPLETED:
            return replace(entry, seconds=_seconds(at, moment(int(value))))
        entry = replace(entry, seconds=_seconds(at, when))
        if status == DeferredStatus.COMPLETED:
            return replace(entry, value=self._payload(value))
        return replace(entry, **_told(error_of(value)))

    def _open_task(self, entry: Entry, row: Doc | None) -> Entry:
        """A task that has not ended: what its row tells of the attempts so far."""
        if row is None:
            return entry
        last = row["doc"].get("lf")
        failures = tuple(reversed(Failure.from_json(last).chain())) if last else ()
        running = int(row["state"] != 0)
        return replace(
            entry,
            attempts=row["doc"].get("ri", 0) + running,
            failures=failures,
            error=str(failures[-1]) if failures else "",
        )


def _moment(micros: int | None) -> datetime | None:
    return None if micros is None else moment(micros)


def _seconds(begin: datetime, end: datetime | None) -> float | None:
    return None if end is None else (end - begin).total_seconds()


def _told(error: DeferredError | None) -> Doc:
    """What an error tells: its text, and the failed attempts that are recorded."""
    if error is None:
        return {}
    inner = error.deferred_error if isinstance(error, WorkflowFailedError) else error
    failure = getattr(inner, "last_failure", None)
    failures = tuple(reversed(failure.chain())) if isinstance(failure, Failure) else ()
    return {"error": str(error), "failures": failures, "attempts": len(failures)}
