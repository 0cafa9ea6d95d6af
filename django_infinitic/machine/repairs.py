"""Repairs: stalled methods go on, failed tasks are sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_infinitic.machine import arrivals, emit, endings, timers
from django_infinitic.machine import effects as fx
from django_infinitic.machine.messages import Kind
from django_infinitic.machine.state import (
    Method,
    leaves_of,
)
from django_infinitic.machine.statuses import DeferredStatus, OutcomeStatus

if TYPE_CHECKING:
    from django_infinitic.machine.turn import Turn

Doc = dict[str, Any]


def retry(turn: Turn, doc: Doc) -> None:
    target = doc.get("method")
    for method in list(turn.state.running()):
        if method.stall is None or (target is not None and method.id != target):
            continue
        retry_method(turn, method)


def retry_method(turn: Turn, method: Method, *, by_hand: bool = True) -> None:
    again = [
        position for position in failed_leaves(turn, method) if send_again(turn, method, position)
    ]
    wake = method.stall.wake if method.stall is not None else "outcome"
    unstall(turn, method, by_hand=by_hand)
    if not again:
        resume_stalled(turn, method, wake)


def failed_leaves(turn: Turn, method: Method) -> list[int]:
    """The commands that the wait failed by; none when it did not fail by one."""
    stall = method.stall
    if method.wait is None or (
        stall is not None
        and (stall.wake != "outcome" or not arrivals.stalled_on(turn, method, stall.step))
    ):
        return []
    return [
        position
        for position in leaves_of(method.wait.node)
        if method.commands[position].last in (DeferredStatus.FAILED, DeferredStatus.TIMED_OUT)
    ]


def send_again(turn: Turn, method: Method, position: int) -> bool:
    """Give a failed task a new sequence, or retry a failed child; whether that was possible."""
    command = method.commands[position]
    _, _, value = command.outcomes[-1]
    if isinstance(value, dict) and (value.get("declared") or "usage" in value):
        return False
    if command.kind == "task":
        turn.record(method.stream, out=[turn.step(), position, DeferredStatus.ONGOING, None])
        emit.task(turn, method, position, command, ready_at=turn.now)
        timers.set_total_timer(turn, method, position)
        return True
    if command.kind in ("child", "method"):
        status = command.last
        turn.record(method.stream, out=[turn.step(), position, DeferredStatus.ONGOING, None])
        timers.set_total_timer(turn, method, position)
        target = None if command.kind == "child" else command.id
        if command.kind == "method" and command.data["to"] == "own":
            turn.to_self(Kind.RETRY, {"method": target})
        else:
            nobody = {"s": method.stream, "p": position, "status": int(status), "value": value}
            turn.effects.posts.append(
                fx.Post(
                    to="id" if command.kind == "child" else command.data["to"],
                    workflow=command.data["wf"],
                    value=command.id if command.kind == "child" else command.data["to_id"],
                    kind=Kind.RETRY,
                    doc={"method": target},
                    sender=turn.state.id,
                    unknown=nobody,  # it has ended meanwhile: it stays as it was
                )
            )
        return True
    return False


def unstall(turn: Turn, method: Method, *, by_hand: bool = True) -> None:
    """A stalled method goes on. A time limit that passed while it was stalled counts anew."""
    timers.drop_retry_timer(turn, method)
    entry = [turn.step(), int(by_hand)]
    wait, wake = method.wait, method.stall.wake if method.stall is not None else ""
    passed = wait is not None and wait.until is not None and wait.until <= turn.now
    if passed and wake == "outcome" and wait is not None and wait.until is not None:
        timers.drop_wait_timer(turn, method)
        entry.append(turn.now + wait.until - wait.at)
    turn.record(method.stream, retry=entry)
    if len(entry) > 2:
        timers.set_wait_timer(turn, method)
    if method.cancel_step is None and by_hand:
        endings.outcome(turn, method.id, OutcomeStatus.ONGOING, {})


def resume_stalled(turn: Turn, method: Method, wake: str) -> None:
    if wake != "outcome" or method.wait is None:
        turn.wake(method, wake)
        return
    arrivals.served(turn, method, arrivals.look(turn, method))


def retry_tasks(turn: Turn, doc: Doc) -> None:
    task_id, status, service = doc.get("task"), doc.get("status"), doc.get("service")
    for method in list(turn.state.running()):
        if task_id is None:
            positions = failed_leaves(turn, method) if method.stall is not None else []
        else:
            positions = [at for at, one in method.commands.items() if one.id == task_id]
        again = False
        for position in dict.fromkeys(positions):
            command = method.commands[position]
            if command.kind != "task" or command.last not in (
                DeferredStatus.FAILED,
                DeferredStatus.TIMED_OUT,
            ):
                continue
            if status is not None and command.last != status:
                continue
            if service is not None and command.data["s"] != service:
                continue
            again = send_again(turn, method, position) or again
        stands = method.wait is not None and any(
            position in leaves_of(method.wait.node) for position in positions
        )
        if again and stands and method.stall is not None:
            unstall(turn, method)
