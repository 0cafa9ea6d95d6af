"""Repairs: stalled methods go on, failed tasks are sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_infinitic.machine import effects as fx
from django_infinitic.machine import emit, endings
from django_infinitic.machine.messages import Kind
from django_infinitic.machine.state import (
    Method,
    leaf_of,
    leaves_of,
)
from django_infinitic.machine.statuses import DeferredStatus, OutcomeStatus
from django_infinitic.machine.waits import evaluate

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
    if method.wait is None or (method.stall is not None and method.stall.wake == "cancel"):
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
    if isinstance(value, dict) and value.get("declared"):
        return False
    if command.kind == "task":
        turn.record(method.stream, out=[turn.step(), position, DeferredStatus.ONGOING, None])
        emit.task(turn, method, position, command, ready_at=turn.now)
        return True
    if command.kind in ("child", "method"):
        turn.record(method.stream, out=[turn.step(), position, DeferredStatus.ONGOING, None])
        target = None if command.kind == "child" else command.id
        if command.kind == "method" and command.data["to"] == "own":
            turn.to_self(Kind.RETRY, {"method": target})
        else:
            value = command.id if command.kind == "child" else command.data["to_id"]
            to = "id" if command.kind == "child" else command.data["to"]
            turn.effects.posts.append(
                fx.Post(
                    to=to,
                    workflow=command.data["wf"],
                    value=value,
                    kind=Kind.RETRY,
                    doc={"method": target},
                    sender=turn.state.id,
                )
            )
        return True
    return False


def unstall(turn: Turn, method: Method, *, by_hand: bool = True) -> None:
    turn.record(method.stream, retry=[turn.step(), int(by_hand)])
    if method.cancel_step is None and by_hand:
        endings.outcome(turn, method.id, OutcomeStatus.ONGOING, {})


def resume_stalled(turn: Turn, method: Method, wake: str) -> None:
    if wake != "outcome" or method.wait is None:
        turn.wake(method, wake)
        return
    found = evaluate(method.wait.node, leaf_of(turn.state, method, turn.state.step))
    if found.resolution is not None:
        turn.wake(method, wake, tuple(found.takes))


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
