"""The client: what views, tasks, commands and tests call. Each function has an `a`-twin."""

from django_infinitic.authoring.stub import (
    get_workflow_by_custom_id,
    get_workflow_by_id,
    get_workflow_by_tag,
    new_service,
    new_workflow,
)
from django_infinitic.client.acts import (
    acancel,
    acomplete_task,
    acomplete_timers,
    afail_task,
    aretry_tasks,
    aretry_workflow,
    cancel,
    complete_task,
    complete_timers,
    fail_task,
    retry_tasks,
    retry_workflow,
)
from django_infinitic.client.explanation import Cause, Explanation, Why
from django_infinitic.client.finding import get_handle
from django_infinitic.client.handle import WorkflowHandle
from django_infinitic.client.starts import (
    abulk_dispatch,
    adispatch,
    astart,
    bulk_dispatch,
    dispatch,
    start,
)
from django_infinitic.client.state import aget_ids, aget_state, get_ids, get_state

__all__ = [
    "Cause",
    "Explanation",
    "Why",
    "WorkflowHandle",
    "abulk_dispatch",
    "acancel",
    "acomplete_task",
    "acomplete_timers",
    "adispatch",
    "afail_task",
    "aget_ids",
    "aget_state",
    "aretry_tasks",
    "aretry_workflow",
    "astart",
    "bulk_dispatch",
    "cancel",
    "complete_task",
    "complete_timers",
    "dispatch",
    "fail_task",
    "get_handle",
    "get_ids",
    "get_state",
    "get_workflow_by_custom_id",
    "get_workflow_by_id",
    "get_workflow_by_tag",
    "new_service",
    "new_workflow",
    "retry_tasks",
    "retry_workflow",
    "start",
]
