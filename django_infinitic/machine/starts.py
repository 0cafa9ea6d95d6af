"""Starts of methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_infinitic.exceptions import WorkflowUnknownError
from django_infinitic.machine import cancels, endings
from django_infinitic.machine.state import (
    MAIN,
)
from django_infinitic.machine.statuses import DeferredStatus, OutcomeStatus

if TYPE_CHECKING:
    from django_infinitic.machine.turn import Turn

Doc = dict[str, Any]


def start(turn: Turn, doc: Doc) -> None:
    if turn.state.methods or turn.state.closed or turn.state.streams > MAIN:
        return
    open_method(turn, MAIN, turn.state.id, doc["method"], doc["args"], doc.get("from"))
    if doc.get("canceled"):
        cancels.cancel(turn, {"force": False})
    turn.effects.signals.append(("workflow_started", {"tags": sorted(turn.state.tags)}))


def run_method(turn: Turn, doc: Doc) -> None:
    state = turn.state
    if doc.get("join"):
        join(turn, doc)
        return
    if state.closed or state.canceling or not (state.methods or state.streams > MAIN):
        unknown_method(turn, doc)
        return
    if state.method_by_id(doc["id"]) is not None:
        return
    open_method(
        turn, max(state.streams, MAIN) + 1, doc["id"], doc["method"], doc["args"], doc.get("from")
    )


def open_method(
    turn: Turn, stream: int, id: str, name: str, args: str, requester: Doc | None
) -> None:
    body = {"id": id, "m": name, "v": args, "n": turn.step(), "a": turn.now}
    if requester:
        body["f"] = requester
    turn.record(stream, open=body)
    turn.wakes.append((stream, "start", ()))


def join(turn: Turn, doc: Doc) -> None:
    """A child start found this instance by its custom id: it waits for the same outcome."""
    main = turn.state.methods.get(MAIN)
    if main is not None and main.end is None:
        turn.record(MAIN, join=doc["from"])
        if main.cancel_step is not None:
            error = cancels.canceled_error(turn, main.id, main.name)
            endings.tell_one(turn, doc["from"], DeferredStatus.CANCELED, error)
        elif main.stall is not None and not main.stall.retries:
            endings.tell_one(turn, doc["from"], DeferredStatus.FAILED, main.stall.error)
    elif turn.state.main_end is not None:
        status, value = endings.told(turn.state.main_end)
        if status == DeferredStatus.CANCELED:
            value = cancels.canceled_error(turn, turn.state.id, doc["method"])
        endings.tell_one(turn, doc["from"], status, value)


def unknown_method(turn: Turn, doc: Doc) -> None:
    error = WorkflowUnknownError(
        workflow_name=turn.state.workflow,
        workflow_id=turn.state.id,
        method_name=doc["method"],
        method_id=doc["id"],
    ).to_json()
    requester = doc.get("from")
    if requester:
        endings.tell_one(turn, requester, DeferredStatus.UNKNOWN, error)
    else:
        endings.outcome(turn, doc["id"], OutcomeStatus.UNKNOWN, {"e": error})
