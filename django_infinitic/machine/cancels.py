"""Cancellation of an instance, of a method, and of what they have started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_infinitic.exceptions import WorkflowCanceledError
from django_infinitic.machine import effects as fx
from django_infinitic.machine import endings, repairs
from django_infinitic.machine.messages import Kind
from django_infinitic.machine.state import (
    INSTANCE,
    MAIN,
    Command,
    Method,
)
from django_infinitic.machine.statuses import DeferredStatus, OutcomeStatus

if TYPE_CHECKING:
    from django_infinitic.machine.turn import Turn

Doc = dict[str, Any]


def cancel(turn: Turn, doc: Doc) -> None:
    state = turn.state
    target = doc.get("method")
    if state.closed:
        return
    if target is not None and target != state.id:
        method = state.method_by_id(target)
        if method is not None and method.end is None:
            cancel_method(turn, method, bool(doc.get("force")))
        return
    force = bool(doc.get("force"))
    if state.canceling and not force:
        return
    first = not state.canceling
    turn.record(INSTANCE, stop=[turn.step(), int(force)])
    if first and state.main_end is None and MAIN in state.methods:
        endings.outcome(
            turn, state.id, OutcomeStatus.CANCELED, {"e": canceled_error(turn, state.id)}
        )
    for method in list(state.running()):
        cancel_method(turn, method, force)


def cancel_method(turn: Turn, method: Method, force: bool) -> None:
    if force or not method.started:
        if method.cancel_step is None:
            turn.record(method.stream, cancel=turn.step())
            told_canceled(turn, method)
        cancel_children(turn, method, force)
        endings.drop_method(turn, method, ["canceled", None])
        endings.method_ended(turn, method)
        return
    if method.cancel_step is not None:
        return
    turn.record(method.stream, cancel=turn.step())
    told_canceled(turn, method)
    cancel_children(turn, method, force)
    if method.wait is not None and not method.wait.shield:
        turn.drop_wakes(method)
        if method.stall is not None:
            repairs.unstall(turn, method)
        turn.wake(method, "cancel")


def told_canceled(turn: Turn, method: Method) -> None:
    """Waiters get their error at once, whatever the method does from now on."""
    error = canceled_error(turn, method.id, method.name)
    endings.outcome(turn, method.id, OutcomeStatus.CANCELED, {"e": error})
    endings.tell(turn, method, DeferredStatus.CANCELED, error)


def canceled_error(turn: Turn, method_id: str, name: str = "") -> Doc:
    if not name:
        found = turn.state.method_by_id(method_id)
        name = found.name if found is not None else ""
    return WorkflowCanceledError(
        workflow_name=turn.state.workflow,
        workflow_id=turn.state.id,
        method_name=name,
        method_id=method_id,
    ).to_json()


def cancel_children(turn: Turn, method: Method, force: bool) -> None:
    """Running children, and methods that it runs on others by id, are canceled with it."""
    for command in method.commands.values():
        if command.shielded or command.last not in (
            DeferredStatus.ONGOING,
            DeferredStatus.FAILED,
            DeferredStatus.TIMED_OUT,
        ):
            continue
        if command.kind == "child":
            post_cancel(turn, command, None, force)
        elif command.kind == "method" and command.data["to"] in ("id", "custom"):
            post_cancel(turn, command, command.id, force)


def post_cancel(turn: Turn, command: Command, method: str | None, force: bool) -> None:
    data = command.data
    to, value = ("id", command.id) if command.kind == "child" else (data["to"], data["to_id"])
    turn.effects.posts.append(
        fx.Post(
            to=to,
            workflow=data["wf"],
            value=value,
            kind=Kind.CANCEL,
            doc={"force": force, "method": method},
            sender=turn.state.id,
        )
    )
