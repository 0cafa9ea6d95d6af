"""Messages of clients to running instances."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async

from django_infinitic.authoring.stub import ByCustomId, ById, ByTag, Own, Running, StubChannel
from django_infinitic.client.context import surroundings
from django_infinitic.exceptions import UsageError, WorkflowUnknownError
from django_infinitic.fibres.commands import check_key
from django_infinitic.machine.messages import Kind
from django_infinitic.registry import registry

Doc = dict[str, Any]


def address(target: Running) -> tuple[str, str]:
    """How the store finds the instances of a target."""
    if isinstance(target, ById):
        return "id", target.id
    if isinstance(target, ByCustomId):
        return "custom", target.custom_id
    if isinstance(target, ByTag):
        return "tag", target.tag
    assert isinstance(target, Own)
    raise UsageError("A stub of the running instance can be used in its own workflow code only.")


def post(target: Running, kind: Kind, doc: Doc, method_name: str = "") -> list[str]:
    """Post to running instances; by id or custom id, nobody there is a `WorkflowUnknownError`."""
    to, value = address(target)
    reached = surroundings().store().post(target.spec.name, to, value, kind, doc)
    if not reached and to != "tag":
        raise WorkflowUnknownError(
            workflow_name=target.spec.name,
            workflow_id=value,
            method_name=method_name,
            method_id=str(doc.get("id") or ""),
        )
    return reached


def send(channel: StubChannel, obj: Any, key: str | None) -> None:
    """Send a message through a stub."""
    target = channel.target
    assert isinstance(target, ById | ByCustomId | ByTag)
    found = channel.channel
    doc = {"channel": found.name, "value": found.codec.encode(obj, found.place)}
    if key is not None:
        doc["key"] = check_key(key)
    post(target, Kind.SEND, doc)


registry.hooks.send = send
registry.hooks.asend = sync_to_async(send)
