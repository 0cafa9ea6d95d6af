"""What commands become: tasks, timers, children and messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_infinitic.authoring.ends import WorkflowEnd
from django_infinitic.exceptions import (
    TaskCanceledError,
    TaskTimedOutError,
    WorkflowTimedOutError,
    error_from_json,
)
from django_infinitic.machine import effects as fx
from django_infinitic.machine import timers
from django_infinitic.machine.ids import derived_id
from django_infinitic.machine.messages import Kind
from django_infinitic.machine.state import Command, Instance, Method
from django_infinitic.machine.statuses import DeferredStatus, InstanceStatus

if TYPE_CHECKING:
    from django_infinitic.machine.turn import Ran, Turn, Wake
    from django_infinitic.registry import TaskSpec

Doc = dict[str, Any]
SEQUENCE = 1 << 16
"""Attempts of a next sequence (a retry by hand) lie above all of the one before."""


def commands(turn: Turn, method: Method, wake: Wake, ran: Ran) -> None:
    """The effects of the commands of one segment."""
    first = method.positions - len(ran.commands) + 1
    canceled = {
        position for kind, _, data in ran.commands if kind == "cancel" for position in data["of"]
    }
    for position, (kind, _, data) in enumerate(ran.commands, first):
        if kind == "send":
            _send(turn, data)
        elif kind == "cancel":
            for target in data["of"]:
                _cancel(turn, method, target, new=target >= first)
        elif kind == "clear":
            _clear(turn, wake, data)
        elif kind == "timer":
            if position not in canceled:
                turn.effects.timers.append(
                    fx.NewTimer(
                        id=method.commands[position].id,
                        instance=turn.state.id,
                        due=data["due"],
                        doc={"s": method.stream, "p": position},
                    )
                )
        elif kind in ("task", "child", "method"):
            _dispatch(turn, method, position, method.commands[position], position in canceled)


def _dispatch(turn: Turn, method: Method, position: int, command: Command, canceled: bool) -> None:
    if command.kind == "task":
        if canceled:  # it has not begun and never will
            turn.to_self(
                Kind.REPORT,
                {"s": method.stream, "p": position, "status": int(DeferredStatus.CANCELED)},
            )
            return
        task(turn, method, position, command, ready_at=turn.now)
    elif command.kind == "child":
        _child(turn, method, position, command, canceled)
    else:
        _method(turn, method, position, command)
    timers.set_total_timer(turn, method, position)


def task(turn: Turn, method: Method, position: int, command: Command, ready_at: int) -> None:
    """A task to run, at first or again by hand."""
    data = command.data
    doc: Doc = {
        "s": method.stream,
        "p": position,
        "a": data["a"],
        "q": command.sequence,
        "v": turn.state.version,
    }
    for key in ("tg", "mt", "bk", "dl"):
        if data.get(key):
            doc[key] = data[key]
    turn.effects.tasks.append(
        fx.NewTask(
            id=command.id,
            instance=turn.state.id,
            workflow=turn.state.workflow,
            service=data["s"],
            name=data["t"],
            ready_at=ready_at,
            doc=doc,
            attempt=command.sequence * SEQUENCE,
        )
    )


def _requester(turn: Turn, method: Method, position: int) -> Doc:
    return {"i": turn.state.id, "s": method.stream, "p": position}


def _child(turn: Turn, method: Method, position: int, command: Command, canceled: bool) -> None:
    data = command.data
    requester = _requester(turn, method, position)
    start: Doc = {"method": data["m"], "args": data["a"], "from": requester}
    if canceled:  # in the very step that dispatched it: it ends without running
        start["canceled"] = 1
    turn.effects.instances.append(
        fx.NewInstance(
            id=command.id,
            workflow=data["wf"],
            tags=tuple(data.get("tg", ())),
            meta=data.get("mt", {}),
            custom_id=data.get("ci"),
            once=bool(data.get("once")),
            started_by=f"workflow {turn.state.id}",
            requester=requester,
            start=start,
        )
    )


def _method(turn: Turn, method: Method, position: int, command: Command) -> None:
    data = command.data
    requester = _requester(turn, method, position)
    doc = {"id": command.id, "method": data["m"], "args": data["a"], "from": requester}
    if data["to"] == "own":
        turn.to_self(Kind.METHOD, doc)
        return
    unknown = None
    if data["to"] == "tag":
        doc["id"] = command.id
        del doc["from"]
    else:
        unknown = {
            "s": method.stream,
            "p": position,
            "status": int(DeferredStatus.UNKNOWN),
            "value": _unknown_error(command),
        }
    turn.effects.posts.append(
        fx.Post(
            to=data["to"],
            workflow=data["wf"],
            value=data["to_id"],
            kind=Kind.METHOD,
            doc=doc,
            sender=turn.state.id,
            unknown=unknown,
        )
    )


def _unknown_error(command: Command) -> Doc:
    from django_infinitic.exceptions import WorkflowUnknownError

    return WorkflowUnknownError(
        workflow_name=command.data["wf"],
        workflow_id=command.data["to_id"],
        method_name=command.data["m"],
        method_id=command.id,
    ).to_json()


def _send(turn: Turn, data: Doc) -> None:
    doc = {"channel": data["ch"], "value": data["v"]}
    if data.get("key") is not None:
        doc["key"] = data["key"]
    if data["to"] == "own":
        turn.to_self(Kind.SEND, doc)
        return
    lost = None if data["to"] == "tag" else {"lost": [data["wf"], data["to_id"], data["ch"]]}
    turn.effects.posts.append(
        fx.Post(
            to=data["to"],
            workflow=data["wf"],
            value=data["to_id"],
            kind=Kind.SEND,
            doc=doc,
            sender=turn.state.id,
            unknown=lost,
        )
    )


def _cancel(turn: Turn, method: Method, position: int, *, new: bool) -> None:
    command = method.commands[position]
    if command.kind == "timer":
        if not new:
            turn.effects.dropped_timers.append(command.id)
        return
    if not command.cancel or command.last != DeferredStatus.ONGOING:
        return
    if command.kind == "task":
        if not new:
            turn.effects.canceled_tasks.append(command.id)
        return
    if command.kind == "method" and command.data["to"] == "own":
        turn.to_self(Kind.CANCEL, {"method": command.id, "force": False})
        return
    child = command.kind == "child"
    turn.effects.posts.append(
        fx.Post(
            to="id" if child else command.data["to"],
            workflow=command.data["wf"],
            value=command.id if child else command.data["to_id"],
            kind=Kind.CANCEL,
            doc={"force": False, "method": None if child else command.id},
            sender=turn.state.id,
        )
    )


def _clear(turn: Turn, wake: Wake, data: Doc) -> None:
    """What had arrived when the step began and nobody has taken."""
    channel = data["ch"]
    old = [one.order for one in turn.state.channels.get(channel, ()) if one.order <= wake.step]
    if old:
        turn.record(0, gone=[channel, old, "cleared"])


def timed_out(state: Instance, command: Command) -> Doc:
    """The error of a total timeout."""
    data = command.data
    if command.kind == "task":
        return TaskTimedOutError(
            service_name=data["s"], task_name=data["t"], task_id=command.id
        ).to_json()
    return WorkflowTimedOutError(
        workflow_name=data["wf"],
        workflow_id=_target(state, command),
        method_name=data["m"],
        method_id=command.id,
    ).to_json()


def _target(state: Instance, command: Command) -> str:
    if command.kind == "child":
        return command.id
    return state.id if command.data["to"] == "own" else str(command.data["to_id"])


def task_canceled(command: Command) -> Doc:
    """The error of a task that was canceled."""
    return TaskCanceledError(
        service_name=command.data["s"], task_name=command.data["t"], task_id=command.id
    ).to_json()


def stalled(turn: Turn, method: Method, error: Doc) -> None:
    """Tell `on_stall`."""
    spec = turn.state.spec
    if spec is not None and spec.on_stall is not None:
        text = str(error_from_json(error))
        _tell(turn, spec.on_stall, "STALLED", text, f"stall{method.stream}.{turn.state.step}")


def ended(turn: Turn, status: int) -> None:
    """Tell `on_end`, and the Django signals."""
    spec = turn.state.spec
    name = InstanceStatus(status).name
    end = turn.state.main_end or ["failed", None]
    text = str(error_from_json(end[1])) if name == "FAILED" and end[1] else ""
    signal: Doc = {"tags": sorted(turn.state.tags)}
    if name == "FAILED":
        signal["error"] = text
    turn.effects.signals.append((f"workflow_{name.lower()}", signal))
    if spec is not None and spec.on_end is not None:
        _tell(turn, spec.on_end, name, text, "end")


def _tell(turn: Turn, spec: TaskSpec, status: str, error: str, label: str) -> None:
    state = turn.state
    end = WorkflowEnd(
        workflow_id=state.id,
        workflow_name=state.workflow,
        tags=state.tags,
        status=status,  # type: ignore[arg-type]
        error=error,
    )
    turn.effects.tasks.append(
        fx.NewTask(
            id=derived_id(turn.now, state.id, state.id, label),
            instance=state.id,
            workflow=state.workflow,
            service=spec.service,
            name=spec.name,
            ready_at=turn.now,
            doc={
                "s": 0,
                "p": 0,
                "a": spec.signature.encode_arguments((end,), {}),
                "q": 0,
                "v": state.version,
            },
        )
    )


def withdraw(turn: Turn, method: Method) -> None:
    """What a method leaves open for people is withdrawn when it ends."""
