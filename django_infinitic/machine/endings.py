"""Endings of methods and instances, and what others are told of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_infinitic.exceptions import error_from_json
from django_infinitic.machine import arrivals, cancels, emit, timers
from django_infinitic.machine import effects as fx
from django_infinitic.machine.messages import Kind
from django_infinitic.machine.state import (
    INSTANCE,
    MAIN,
    Method,
)
from django_infinitic.machine.statuses import DeferredStatus, InstanceStatus, OutcomeStatus

if TYPE_CHECKING:
    from django_infinitic.machine.state import Instance
    from django_infinitic.machine.turn import Turn

Doc = dict[str, Any]
CROWDED = 1000
"""From so many waiting messages on the row of the instance tells their number."""


def drop_method(turn: Turn, method: Method, end: list[Any]) -> None:
    """End a method that does not run to an end of its own."""
    timers.drop_timers(turn, method, method.wait)
    turn.drop_wakes(method)
    turn.record(method.stream, end=[turn.step(), end])


def method_ended(turn: Turn, method: Method) -> None:
    """What follows from the end of a method."""
    end = method.end or ["canceled", None]
    for receive in method.receives.values():
        if receive.slot is not None and not receive.closed:
            arrivals.give_back(turn, receive.data["ch"], receive.slot)
            receive.slot = None
    timers.drop_timers(turn, method, None)
    if method.cancel_step is not None:
        end = ["canceled", None]
    elif end[0] == "canceled":
        cancels.told_canceled(turn, method)
    else:
        status, value = told(end)
        if status == DeferredStatus.COMPLETED:
            outcome(turn, method.id, OutcomeStatus.COMPLETED, {"v": value})
        else:
            outcome(turn, method.id, OutcomeStatus.FAILED, {"e": value})
        tell(turn, method, status, value)
    if method.stream == MAIN:
        turn.record(INSTANCE, main=[turn.state.step, end])
    emit.withdraw(turn, method)


def tell(turn: Turn, method: Method, status: int, value: Any) -> None:
    for requester in [method.requester, *method.joined]:
        if requester:
            tell_one(turn, requester, status, value)


def tell_one(turn: Turn, requester: Doc, status: int, value: Any) -> None:
    doc = {"s": requester["s"], "p": requester["p"], "status": int(status), "value": value}
    if requester["i"] == turn.state.id:
        turn.to_self(Kind.OUTCOME, doc)
    else:
        turn.effects.posts.append(
            fx.Post(
                to="id",
                workflow=None,
                value=requester["i"],
                kind=Kind.OUTCOME,
                doc=doc,
                sender=turn.state.id,
            )
        )


def outcome(turn: Turn, method_id: str, status: int, doc: Doc) -> None:
    seq = turn.state.step
    method = turn.state.method_by_id(method_id)
    if method is not None and method.stream != MAIN:
        doc = {**doc, "m": method.name}  # whoever has only the id decodes the value by it
    turn.effects.outcomes = [one for one in turn.effects.outcomes if one.method != method_id]
    turn.effects.outcomes.append(
        fx.OutcomeRow(
            method=method_id, instance=turn.state.id, seq=seq, status=int(status), doc=doc
        )
    )


def maybe_close(turn: Turn) -> None:
    """An instance ends when none of its methods runs any more."""
    state = turn.state
    if state.closed or state.main_end is None or turn.own or turn.wakes:
        return
    running = list(state.running())
    if any(
        one.stall is None or one.stall.saga or one.stall.retries or one.cancel_step is not None
        for one in running
    ):
        return
    for method in running:  # they are stalled, and nobody can mend them any more
        if method.stall is None:
            continue
        drop_method(turn, method, ["failed", method.stall.error])
        outcome(turn, method.id, OutcomeStatus.FAILED, {"e": method.stall.error})
    status = closing_status(turn)
    turn.record(INSTANCE, closed=[turn.step(), status, turn.now])
    turn.effects.dropped_tags.extend(sorted(state.tags))
    emit.ended(turn, status)


def closing_status(turn: Turn) -> int:
    """The status of the method that started the instance."""
    kind = (turn.state.main_end or ["failed"])[0]
    known = {"return": InstanceStatus.COMPLETED, "canceled": InstanceStatus.CANCELED}
    return known.get(kind, InstanceStatus.FAILED)


def forget_short_methods(turn: Turn) -> None:
    """A method that only read or set properties leaves its outcome and no history."""
    for stream in sorted(turn.entries, reverse=True):
        entries = turn.entries[stream]
        if stream <= MAIN or len(entries) != 2 or "open" not in entries[0]:
            continue
        body = entries[1].get("seg")
        if body is not None and "e" in body and "c" not in body and "r" not in body:
            del turn.entries[stream]
            if turn.state.streams == stream:
                turn.state.streams -= 1


def may_differ(state: Instance) -> bool:
    """Whether something has happened that can change the row of the instance."""
    changed, state.head_changed = state.head_changed, False
    crowded = any(len(queue) >= CROWDED // 4 for queue in state.channels.values())
    return changed or crowded or (state.shown is not None and state.shown[4] > 0)


def head_key(turn: Turn) -> tuple[int, int | None, tuple[int, ...], str, int, int]:
    state = turn.state
    open_streams = tuple(sorted(one.stream for one in state.running()))
    stalled = next(
        (one for one in state.running() if one.stall is not None and not one.stall.retries),
        None,
    )
    waiting = sum(len(queue) for queue in state.channels.values())
    error = ""
    if state.closed:
        status = closing_status(turn)
    elif state.blocked:
        status = InstanceStatus.BLOCKED
    elif state.canceling:
        status = InstanceStatus.CANCELING
    elif stalled is not None:
        status = InstanceStatus.STALLED
    else:
        status = InstanceStatus.RUNNING
    if status == InstanceStatus.STALLED and stalled is not None and stalled.stall is not None:
        error = str(error_from_json(stalled.stall.error))[:1000]
    return (
        int(status),
        state.version,
        open_streams or (MAIN,),
        error,
        waiting if waiting >= CROWDED else 0,
        state.streams,
    )


def told(end: list[Any]) -> tuple[int, Any]:
    """What a requester is told of an end."""
    kind, value = end
    if kind == "return":
        return DeferredStatus.COMPLETED, value
    return (DeferredStatus.CANCELED if kind == "canceled" else DeferredStatus.FAILED), value
