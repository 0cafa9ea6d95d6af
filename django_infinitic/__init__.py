"""Durable workflows for Django: plain Python classes that survive crashes, deploys and months.

Everything that applications write is importable from here; it is loaded when it is first used,
because Django imports this package before its registry is ready.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import client as client
    from .authoring.channel import Channel as Channel
    from .authoring.decorators import batch as batch
    from .authoring.decorators import service as service
    from .authoring.decorators import task as task
    from .authoring.decorators import workflow as workflow
    from .authoring.decorators import workflow_method as workflow_method
    from .authoring.deferred import Deferred as Deferred
    from .authoring.deferred import DeferredStatus as DeferredStatus
    from .authoring.deferred import and_ as and_
    from .authoring.deferred import first_success as first_success
    from .authoring.deferred import or_ as or_
    from .authoring.ends import WorkflowEnd as WorkflowEnd
    from .authoring.patches import patched as patched
    from .authoring.policy import RetryPolicy as RetryPolicy
    from .authoring.ref import Ref as Ref
    from .authoring.stub import get_workflow_by_custom_id as get_workflow_by_custom_id
    from .authoring.stub import get_workflow_by_id as get_workflow_by_id
    from .authoring.stub import get_workflow_by_tag as get_workflow_by_tag
    from .authoring.stub import new_service as new_service
    from .authoring.stub import new_workflow as new_workflow
    from .authoring.task_context import TaskContext as TaskContext
    from .authoring.task_context import current_task as current_task
    from .authoring.transient import transient as transient
    from .authoring.workflow import Workflow as Workflow
    from .authoring.workflow import WorkflowContext as WorkflowContext
    from .client.handle import WorkflowHandle as WorkflowHandle

_WHERE = {
    "Channel": "authoring.channel",
    "Deferred": "authoring.deferred",
    "DeferredStatus": "authoring.deferred",
    "Ref": "authoring.ref",
    "RetryPolicy": "authoring.policy",
    "TaskContext": "authoring.task_context",
    "Workflow": "authoring.workflow",
    "WorkflowContext": "authoring.workflow",
    "WorkflowEnd": "authoring.ends",
    "WorkflowHandle": "client.handle",
    "and_": "authoring.deferred",
    "batch": "authoring.decorators",
    "client": "",
    "current_task": "authoring.task_context",
    "first_success": "authoring.deferred",
    "get_workflow_by_custom_id": "authoring.stub",
    "get_workflow_by_id": "authoring.stub",
    "get_workflow_by_tag": "authoring.stub",
    "new_service": "authoring.stub",
    "new_workflow": "authoring.stub",
    "or_": "authoring.deferred",
    "patched": "authoring.patches",
    "service": "authoring.decorators",
    "task": "authoring.decorators",
    "transient": "authoring.transient",
    "workflow": "authoring.decorators",
    "workflow_method": "authoring.decorators",
}

__all__ = [
    "Channel",
    "Deferred",
    "DeferredStatus",
    "Ref",
    "RetryPolicy",
    "TaskContext",
    "Workflow",
    "WorkflowContext",
    "WorkflowEnd",
    "WorkflowHandle",
    "and_",
    "batch",
    "client",
    "current_task",
    "first_success",
    "get_workflow_by_custom_id",
    "get_workflow_by_id",
    "get_workflow_by_tag",
    "new_service",
    "new_workflow",
    "or_",
    "patched",
    "service",
    "task",
    "transient",
    "workflow",
    "workflow_method",
]


def __getattr__(name: str) -> Any:
    where = _WHERE.get(name)
    if where is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if where:
        value = getattr(import_module(f"{__name__}.{where}"), name)
    else:
        value = import_module(f"{__name__}.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
