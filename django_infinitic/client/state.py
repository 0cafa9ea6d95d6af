"""What is known of instances, without running their code: state, properties, ids."""

from __future__ import annotations

import json
from typing import Any

from asgiref.sync import sync_to_async

from django_infinitic.authoring.deferred import DeferredStatus
from django_infinitic.authoring.stub import ByTag, running_target_of
from django_infinitic.client.context import surroundings
from django_infinitic.client.posting import address
from django_infinitic.codec import MISSING, Place, codec_for
from django_infinitic.exceptions import InvalidIdTagSelectionError, WorkflowUnknownError
from django_infinitic.fibres.times import moment
from django_infinitic.machine.messages import Kind
from django_infinitic.machine.state import Instance, Method
from django_infinitic.machine.statuses import InstanceStatus
from django_infinitic.registry import registry
from django_infinitic.storages.base import StoredInstance
from django_infinitic.storages.loading import state_of

Doc = dict[str, Any]


def properties_of(instance: str) -> dict[str, Any]:
    """The last committed properties, decoded by the class registered here; also after the end.

    Raises `WorkflowUnknownError`, and `SerializationError` when an annotation no longer fits.
    """
    row = surroundings().store().history(instance)
    if row is None:
        raise WorkflowUnknownError(
            workflow_name="", workflow_id=instance, method_name="", method_id=""
        )
    spec = registry.workflow_spec(row.workflow, row.version)
    found = {}
    for name, payload in state_of(row).properties.items():
        if payload is None:
            continue
        codec = spec.properties[name] if name in spec.properties else codec_for(MISSING)
        found[name] = codec.decode(payload, Place("property", spec.cls.__name__, name))
    return found


def get_ids(stub: Any) -> set[str]:
    """Ids of the running instances with a tag, or with a custom id (one at most)."""
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
    """The state of an instance as JSON-ready data, until retention ends; None: unknown.

    By custom id it is that of the latest instance that had it, running or ended.
    """
    target = running_target_of(stub)
    to, value = address(target)
    if to == "tag":
        raise InvalidIdTagSelectionError(
            "client.get_state() takes a stub by id: get_workflow_by_id(Workflow, id)."
        )
    store = surroundings().store()
    instance = store.find(target.spec.name, value) if to == "custom" else value
    row = None if instance is None else store.history(instance)
    if row is None or row.workflow != target.spec.name:
        return None
    return state_document(row)


def state_document(row: StoredInstance) -> Doc:
    """All that is known of an instance, as JSON-ready data. Payloads are shown as stored."""
    state = state_of(row)
    store = surroundings().store()
    pending = store.messages_of(row.id)
    return {
        "id": row.id,
        "name": row.workflow,
        "version": row.version,
        "status": InstanceStatus(row.status).name,
        "error": row.error,
        "method": row.method,
        "tags": sorted(row.tags),
        "custom_id": row.custom_id,
        "meta": row.meta,
        "started_by": row.started_by,
        "parent": None if row.parent is None else row.parent.get("i"),
        "created_at": _time(row.created_at),
        "closed_at": _time(row.closed_at),
        "step": state.step,
        "methods": [_method(one) for one in state.methods.values()],
        "properties": {
            name: json.loads(payload)
            for name, payload in state.properties.items()
            if payload is not None
        },
        "receivers": _receivers(state),
        "messages": [
            *(
                {"channel": name, "step": one.order, "value": json.loads(one.payload)}
                for name, queue in state.channels.items()
                for one in queue
            ),
            *(
                {"channel": one.doc["channel"], "step": None, "value": json.loads(one.doc["value"])}
                for one in pending
                if one.kind == Kind.SEND
            ),
        ],
        "discarded": _discarded(row),
        "pending": [Kind(one.kind).name for one in pending if one.kind != Kind.SEND],
        "tasks": [_task(one) for one in store.tasks_of(row.id)],
    }


def _time(micros: int | None) -> str | None:
    return None if micros is None else moment(micros).isoformat()


def _receivers(state: Instance) -> list[Doc]:
    """Open receives: those that can still take a message."""
    return [
        {
            "method": method.name,
            "position": position,
            "channel": receive.data["ch"],
            "limit": receive.data.get("l"),
            "of": receive.data.get("of"),
            "jsonpath": receive.data.get("jp"),
            "taken": receive.count,
        }
        for method in state.running()
        for position, receive in method.receives.items()
        if not receive.closed and not receive.exhausted
    ]


def _discarded(row: StoredInstance) -> list[Doc]:
    """Messages that nobody will take: too many waited, or no receive was open for them."""
    found = []
    for event in row.events:
        for entry in event.entries:
            note = entry.get("note", {})
            if "discarded" in note:
                order, channel, payload, why = note["discarded"]
                found.append(
                    {
                        "channel": channel,
                        "step": order,
                        "value": json.loads(payload),
                        "why": why,
                        "at": _time(note.get("a")),
                    }
                )
    return found


def method_status(method: Method) -> str:
    """RUNNING, STALLED, COMPLETED, FAILED or CANCELED."""
    if method.end is None:
        stalled = method.stall is not None and not method.stall.retries
        return "STALLED" if stalled else "RUNNING"
    return {"return": "COMPLETED", "canceled": "CANCELED"}.get(method.end[0], "FAILED")


def _method(method: Method) -> Doc:
    stall = method.stall
    return {
        "id": method.id,
        "name": method.name,
        "arguments": json.loads(method.args),
        "status": method_status(method),
        "started_at": _time(method.at),
        "error": None if stall is None else stall.error,
        "commands": [
            {
                "position": position,
                "kind": one.kind,
                "name": one.name,
                "id": one.id if one.kind not in ("timer", "receive") else None,
                "status": DeferredStatus(one.last).name,
                "due": _time(one.data["due"]) if one.kind == "timer" else None,
            }
            for position, one in method.commands.items()
        ],
        "steps": [
            {"step": one.step, "at": _time(one.at), "wake": one.wake, "wait": one.wait}
            for one in method.segments or ()
        ],
        "wait": None
        if method.wait is None
        else {
            "for": method.wait.node,
            "since": _time(method.wait.at),
            "until": _time(method.wait.until),
        },
    }


def _task(row: Doc) -> Doc:
    states = ("QUEUED", "CLAIMED", "DELEGATED")
    return {
        "id": row["id"],
        "service": row["service"],
        "name": row["name"],
        "attempt": row["attempt"],
        "retries": row["doc"].get("ri", 0),
        "state": states[row["state"]],
        "ready_at": _time(row["ready_at"]),
        "worker": row.get("worker"),
    }


aget_ids = sync_to_async(get_ids)
aget_state = sync_to_async(get_state)
