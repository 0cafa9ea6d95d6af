"""Timers, time limits and the guards of checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_infinitic.machine import arrivals, emit, repairs
from django_infinitic.machine import effects as fx
from django_infinitic.machine.ids import derived_id
from django_infinitic.machine.state import (
    Command,
    Method,
)
from django_infinitic.machine.statuses import DeferredStatus

if TYPE_CHECKING:
    from django_infinitic.machine.turn import Turn

Doc = dict[str, Any]
CHECKPOINT_GUARD = 1_000_000


def complete_timers(turn: Turn, doc: Doc) -> None:
    target = doc.get("method")
    for method in list(turn.state.running()):
        if target is not None and method.id != target:
            continue
        for position, command in list(method.commands.items()):
            if command.kind == "timer" and command.last == DeferredStatus.ONGOING:
                turn.effects.dropped_timers.append(command.id)
                arrivals.arrive(turn, method, position, DeferredStatus.COMPLETED, moment(turn))


def moment(turn: Turn) -> str:
    """The value of a timer: when it completed, in microseconds."""
    return str(turn.now)


def timer(turn: Turn, doc: Doc) -> None:
    turn.effects.fired.append(doc["timer"])
    method = turn.state.methods.get(doc["s"])
    if method is None or method.end is not None:
        return
    if "guard" in doc:
        guard_due(turn, method)
    elif "p" in doc:
        command = method.commands[doc["p"]]
        if command.kind == "timer":
            if command.last == DeferredStatus.ONGOING:
                arrivals.arrive(turn, method, doc["p"], DeferredStatus.COMPLETED, moment(turn))
        elif command.last == DeferredStatus.ONGOING and command.sequence == 0:
            total_timeout(turn, method, doc["p"], command)
    elif "w" in doc:
        if (
            method.wait is not None
            and method.wait.number == doc["w"]
            and not method.wait_due
            and method.stall is None
        ):
            turn.wake(method, "timeout")
    elif method.stall is not None and method.stall.step == doc["retry"]:
        repairs.retry_method(turn, method, by_hand=False)


def total_timeout(turn: Turn, method: Method, position: int, command: Command) -> None:
    if command.kind == "task":
        turn.effects.expired_tasks.append(command.id)
    arrivals.arrive(
        turn, method, position, DeferredStatus.TIMED_OUT, emit.timed_out(turn.state, command)
    )


def wait_timer(turn: Turn, method: Method, number: int) -> str:
    return derived_id(method.at, turn.state.id, method.id, f"wait{number}")


def guard_checkpoint(turn: Turn, method: Method) -> None:
    """While a method stands at checkpoints one timer row finds it again after a crash."""
    if method.guard is None:
        label = f"checkpoint{turn.state.step}"
        arm_guard(turn, method, derived_id(turn.now, turn.state.id, method.id, label))


def arm_guard(turn: Turn, method: Method, timer: str) -> None:
    turn.record(method.stream, guard=timer)
    turn.effects.timers.append(
        fx.NewTimer(
            id=timer,
            instance=turn.state.id,
            due=turn.now + CHECKPOINT_GUARD,
            doc={"s": method.stream, "guard": 1},
        )
    )


def unguard_checkpoint(turn: Turn, method: Method) -> None:
    if method.guard is not None:
        turn.effects.dropped_timers.append(method.guard)
        turn.record(method.stream, guard=None)


def guard_due(turn: Turn, method: Method) -> None:
    turn.record(method.stream, guard=None)
    if method.wait is None or not method.wait.checkpoint:
        return
    guard_checkpoint(turn, method)
    if not method.wait_due:
        turn.wake(method, "checkpoint")
