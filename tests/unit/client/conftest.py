"""An environment in memory, and short words for what the tests do in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from django_infinitic import WorkflowHandle, client
from django_infinitic.client import Explanation
from django_infinitic.client.context import surroundings
from django_infinitic.storages.memory import MemoryStorage
from django_infinitic.test import WorkflowEnvironment


@pytest.fixture
def env() -> Iterator[WorkflowEnvironment]:
    with WorkflowEnvironment(storage="memory://", allow_stalled=True) as environment:
        yield environment


@pytest.fixture
def run(env: WorkflowEnvironment) -> Callable[..., WorkflowHandle[Any]]:
    """Start a method and let it run until it waits."""

    def start(method: Any, *args: Any) -> WorkflowHandle[Any]:
        handle: WorkflowHandle[Any] = client.start(method, *args)
        env.run()
        return handle

    return start


def store() -> MemoryStorage:
    """The store of the open environment."""
    found = surroundings().store()
    assert isinstance(found, MemoryStorage)
    return found


def without_workers() -> None:
    """All workers die."""
    for worker in store().workers_alive():
        store().reap(worker["id"])


def at(env: WorkflowEnvironment, **later: float) -> str:
    """A moment as sentences show it."""
    return f"{env.now() + timedelta(**later):%Y-%m-%d %H:%M:%S} UTC"


def said(explanation: Explanation) -> str:
    """The sentence without the ids."""
    text = str(explanation)
    ids = {explanation.workflow_id, explanation.method_id}
    for one in [explanation, *explanation.others]:
        ids.add(one.method_id)
        for cause in one.waits:
            ids |= {cause.id or "", cause.child.workflow_id if cause.child else ""}
    for one in sorted(ids - {""}):
        text = text.replace(f" ({one})", "").replace(one, "ID")
    return text
