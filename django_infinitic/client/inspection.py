"""Looking at instances without running their code: state, properties, explanation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asgiref.sync import sync_to_async

from django_infinitic.authoring.deferred import DeferredStatus
from django_infinitic.authoring.stub import ByTag, running_target_of
from django_infinitic.client.context import surroundings
from django_infinitic.client.posting import address
from django_infinitic.codec import MISSING, Place, codec_for
from django_infinitic.exceptions import (
    InvalidIdTagSelectionError,
    WorkflowUnknownError,
    error_from_json,
)
from django_infinitic.fibres.times import moment
from django_infinitic.machine.load import fold
from django_infinitic.machine.messages import load_meta
from django_infinitic.machine.state import Instance, Method
from django_infinitic.machine.statuses import InstanceStatus
from django_infinitic.machine.waits import leaves_of
from django_infinitic.registry import registry
from django_infinitic.storages.base import StoredInstance

Doc = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why an instance does not move. `kind` is a word, `str()` a sentence; times may be None."""

    kind: str
    sentence: str
    workflow_id: str
    workflow_name: str
    since: datetime | None = None
    until: datetime | None = None
    details: Doc

    def __str__(self) -> str:
        return self.sentence


def loaded(row: StoredInstance) -> Instance:
    """The state of an instance from its row and history."""
    state = Instance(
        id=row.id,
        workflow=row.workflow,
        version=row.version,
        tags=frozenset(row.tags),
        custom_id=row.custom_id,
        meta=row.meta,
        parent=row.parent,
        started_by=row.started_by,
        streams=row.streams,
        closed=row.closed_at is not None,
    )
    return fold(state, row.events)


def _history(instance: str) -> StoredInstance | None:
    return surroundings().store().history(instance)


def properties_of(instance: str) -> dict[str, Any]:
    """Last committed properties, decoded by the class registered here."""
    row = _history(instance)
    if row is None:
        raise WorkflowUnknownError(
            workflow_name="", workflow_id=instance, method_name="", method_id=""
        )
    state = loaded(row)
    spec = registry.workflow_spec(row.workflow, row.version)
    found = {}
    for name, payload in state.properties.items():
        if payload is None:
            continue
        codec = spec.properties[name] if name in spec.properties else codec_for(MISSING)
        found[name] = codec.decode(payload, Place("property", spec.cls.__name__, name))
    return found


def explain(instance: str) -> Explanation:
    """Why an instance does not move."""
    row = _history(instance)
    if row is None:
        raise WorkflowUnknownError(
            workflow_name="", workflow_id=instance, method_name="", method_id=""
        )
    state = loaded(row)
    about = {"workflow_id": row.id, "workflow_name": row.workflow}
    name = f"{row.workflow} ({row.id})"
    if row.closed_at is not None:
        status = InstanceStatus(row.status).name
        return Explanation(
            kind="ended",
            sentence=f"{name} has ended: {status}.",
            since=moment(row.closed_at),
            details={"status": status},
            **about,
        )
    running = [one for one in state.running()]
    if not running:
        return Explanation(
            kind="not started",
            sentence=f"{name} has been started and waits for a worker. Run: manage.py infinitic_worker",
            since=moment(row.created_at),
            details={},
            **about,
        )
    stalled = next((one for one in running if one.stall is not None), None)
    if stalled is not None and stalled.stall is not None:
        error = error_from_json(stalled.stall.error)
        return Explanation(
            kind="stalled",
            sentence=f"{name} is stalled since {moment(stalled.stall.at):%Y-%m-%d %H:%M:%S}: {error}",
            since=moment(stalled.stall.at),
            details={"method": stalled.name, "error": str(error)},
            **about,
        )
    waiting = [one for one in running if one.wait is not None]
    if not waiting:
        return Explanation(kind="running", sentence=f"{name} is running.", details={}, **about)
    method = min(waiting, key=lambda one: one.wait.step if one.wait is not None else 0)
    assert method.wait is not None
    texts = _texts(state, method)
    until = moment(method.wait.until) if method.wait.until is not None else None
    limit = f", until {until:%Y-%m-%d %H:%M:%S}" if until is not None else ""
    prefix = "is being canceled and waits" if state.canceling else "waits"
    since = moment(method.wait.at)
    return Explanation(
        kind="canceling" if state.canceling else "waiting",
        sentence=f"{name} {prefix} for {' and '.join(texts) or 'nothing'} since "
        f"{since:%Y-%m-%d %H:%M:%S}{limit}.",
        since=since,
        until=until,
        details={"method": method.name, "waits": texts},
        **about,
    )


def _texts(state: Instance, method: Method) -> list[str]:
    assert method.wait is not None
    tasks = {one["id"]: one for one in surroundings().store().tasks_of(state.id)}
    texts = []
    for position in dict.fromkeys(leaves_of(method.wait.node)):
        command = method.commands[position]
        if command.last != DeferredStatus.ONGOING and command.kind != "receive":
            continue
        data = command.data
        if command.kind == "task":
            texts.append(_task_text(command.name, command.id, tasks.get(command.id)))
        elif command.kind == "timer":
            texts.append(f"a timer that is due {moment(data['due']):%Y-%m-%d %H:%M:%S}")
        elif command.kind == "receive":
            texts.append(f"a message on channel {data['ch']}")
        elif command.kind == "child":
            texts.append(f"the child {data['wf']} ({command.id})")
        else:
            texts.append(f"method {data['m']} of {data['wf']}")
    return texts


def _task_text(name: str, id: str, row: Doc | None) -> str:
    text = f"task {name} ({id})"
    if row is None:
        return text
    doc = row["doc"]
    if doc.get("ri"):
        last = doc.get("lf", {}).get("exception", {})
        text += f", retried {doc['ri']} times"
        if row["state"] == 0:
            text += f", next attempt {moment(row['ready_at']):%Y-%m-%d %H:%M:%S}"
        if last:
            text += f", last error {last.get('name')}: {last.get('message')}"
    if row["state"] == 1 and row.get("worker"):
        text += f", which runs on worker {row['worker']}"
    return text


def get_ids(stub: Any) -> set[str]:
    """Ids of the running instances with a tag."""
    target = running_target_of(stub)
    if isinstance(target, ByTag):
        return surroundings().store().ids_by_tag(target.spec.name, target.tag)
    to, value = address(target)
    if to == "custom":
        return surroundings().store().ids_by_tag(target.spec.name, f"customId:{value}")
    raise InvalidIdTagSelectionError(
        "client.get_ids() takes a stub by tag: get_workflow_by_tag(Workflow, tag)."
    )


def get_state(stub: Any) -> Doc | None:
    """The state of an instance as JSON-ready data, until retention ends; None: unknown."""
    target = running_target_of(stub)
    to, value = address(target)
    if to == "tag":
        raise InvalidIdTagSelectionError(
            "client.get_state() takes a stub by id: get_workflow_by_id(Workflow, id)."
        )
    store = surroundings().store()
    instance = store.find(target.spec.name, value) if to == "custom" else value
    row = None if instance is None else store.history(instance)
    return None if row is None else state_document(row)


def state_document(row: StoredInstance) -> Doc:
    """All that is known of an instance, as JSON-ready data."""
    state = loaded(row)
    store = surroundings().store()
    waiting = [
        {"channel": name, "step": one.order, "value": _json(one.payload)}
        for name, queue in state.channels.items()
        for one in queue
    ]
    unread = [
        {"channel": one.doc["channel"], "step": None, "value": _json(one.doc["value"])}
        for one in store.messages_of(row.id)
        if "channel" in one.doc
    ]
    return {
        "id": row.id,
        "name": row.workflow,
        "version": row.version,
        "status": InstanceStatus(row.status).name,
        "tags": sorted(row.tags),
        "custom_id": row.custom_id,
        "meta": {
            key: value if isinstance(value, str) else value.hex()
            for key, value in load_meta(row.meta).items()
        },
        "created_at": moment(row.created_at).isoformat(),
        "closed_at": moment(row.closed_at).isoformat() if row.closed_at is not None else None,
        "step": state.step,
        "methods": [_method_document(one) for one in state.methods.values()],
        "properties": {
            name: _json(payload)
            for name, payload in state.properties.items()
            if payload is not None
        },
        "receivers": [
            {"method": one.name, **receive.data, "taken": receive.count}
            for one in state.running()
            for receive in one.receives.values()
            if not receive.closed and not receive.exhausted
        ],
        "messages": waiting + unread,
        "tasks": [
            {key: task[key] for key in ("id", "service", "name", "attempt", "state")}
            for task in store.tasks_of(row.id)
        ],
    }


def _json(payload: str) -> Any:
    return json.loads(payload)


def _method_document(method: Method) -> Doc:
    return {
        "id": method.id,
        "name": method.name,
        "arguments": _json(method.args),
        "ended": method.end is not None,
        "stalled": method.stall is not None,
        "commands": [
            {
                "position": position,
                "kind": one.kind,
                "name": one.name,
                "id": one.id,
                "status": DeferredStatus(one.last).name,
            }
            for position, one in method.commands.items()
        ],
        "steps": [
            {"step": one.step, "at": moment(one.at).isoformat(), "wake": one.wake, "wait": one.wait}
            for one in method.segments or ()
        ],
        "wait": method.wait.to_json() if method.wait is not None else None,
    }


aget_ids = sync_to_async(get_ids)
aget_state = sync_to_async(get_state)
