"""What has happened in a workflow, in lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django_infinitic import client
from django_infinitic.registry import registry


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that has happened."""

    at: datetime
    text: str


def timeline(workflow_id: str) -> list[Line]:
    """What has happened, oldest first; empty when nothing is known."""
    return list(_lines(workflow_id))


def _lines(workflow_id: str) -> Iterator[Line]:
    name = client.get_handle(workflow_id).workflow_name
    stub = client.get_workflow_by_id(registry.workflow(name).cls, workflow_id)
    state = client.get_state(stub)
    if state is None:
        return
    yield Line(datetime.fromisoformat(state["created_at"]), f"{name} was started")
    for method in state["methods"]:
        for step in method["steps"]:
            yield Line(datetime.fromisoformat(step["at"]), f"{method['name']}: {step['wake']}")
    if state["closed_at"]:
        yield Line(datetime.fromisoformat(state["closed_at"]), f"{name} ended: {state['status']}")
