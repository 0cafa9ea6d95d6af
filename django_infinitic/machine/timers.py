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
    from django_infinitic.machine.waits import Wait

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
        command = method.commands.get(doc["p"])
        if command is None or command.last != DeferredStatus.ONGOING:
            return
        if command.kind == "timer":
            arrivals.arrive(turn, method, doc["p"], DeferredStatus.COMPLETED, moment(turn))
        elif command.sequence == doc.get("q", 0):
            total_timeout(turn, method, doc["p"], command)
    elif "w" in doc:
        if (
            method.wait is not None
            and method.wait.number == doc["w"]
            and method.wait.until == doc["u"]
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


def wait_timer(turn: Turn, method: Method, wait: Wait) -> str:
    return derived_id(method.at, turn.state.id, method.id, f"wait{wait.number}.{wait.until}")


def set_wait_timer(turn: Turn, method: Method) -> None:
    """The time limit of the wait that a method stands in, if it has one."""
    wait = method.wait
    if wait is None or wait.until is None:
        return
    turn.effects.timers.append(
        fx.NewTimer(
            id=wait_timer(turn, method, wait),
            instance=turn.state.id,
            due=wait.until,
            doc={"s": method.stream, "w": wait.number, "u": wait.until},
        )
    )


def drop_wait_timer(turn: Turn, method: Method) -> None:
    """The wait is over before its limit."""
    if method.wait is not None and method.wait.until is not None:
        turn.effects.dropped_timers.append(wait_timer(turn, method, method.wait))


def set_total_timer(turn: Turn, method: Method, position: int) -> None:
    """The total timeout of a command; after a retry by hand it counts anew."""
    command = method.commands[position]
    if command.data.get("tt") is None:
        return
    turn.effects.timers.append(
        fx.NewTimer(
            id=total_timer(turn, method, position),
            instance=turn.state.id,
            due=turn.now + int(command.data["tt"] * 1_000_000),
            doc={"s": method.stream, "p": position, "q": command.sequence},
        )
    )


def drop_total_timer(turn: Turn, method: Method, position: int) -> None:
    """The command has come to an outcome."""
    if method.commands[position].data.get("tt") is not None:
        turn.effects.dropped_timers.append(total_timer(turn, method, position))


def total_timer(turn: Turn, method: Method, position: int) -> str:
    label = f"total{position}.{method.commands[position].sequence}"
    return derived_id(method.at, turn.state.id, method.id, label)


def retry_timer(turn: Turn, method: Method, step: int) -> str:
    return derived_id(method.at, turn.state.id, method.id, f"retry{step}")


def drop_retry_timer(turn: Turn, method: Method) -> None:
    """The next attempt of the method's own policy is not waited for any more."""
    if method.stall is not None and method.stall.retries:
        turn.effects.dropped_timers.append(retry_timer(turn, method, method.stall.step))


def drop_timers(turn: Turn, method: Method, wait: Wait | None) -> None:
    """All that is due for a method that has ended; `wait`: the one it stood in."""
    for position, command in method.commands.items():
        if command.last == DeferredStatus.ONGOING:
            if command.kind == "timer":
                turn.effects.dropped_timers.append(command.id)
            drop_total_timer(turn, method, position)
    if wait is not None and wait.until is not None:
        turn.effects.dropped_timers.append(wait_timer(turn, method, wait))
    drop_retry_timer(turn, method)
    unguard_checkpoint(turn, method)


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
