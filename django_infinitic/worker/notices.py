"""Django signals after a commit: notifications, at most once, never a mechanism to rely on."""

from __future__ import annotations

from typing import Any

from django_infinitic import signals
from django_infinitic.exceptions import RegistryError, error_from_json
from django_infinitic.machine.statuses import DeferredStatus
from django_infinitic.registry import registry
from django_infinitic.storages.base import ClaimedTask
from django_infinitic.worker.execution import Verdict


def tell(workflow: str, instance: str, name: str, fields: dict[str, Any]) -> None:
    """Send the signal of this name; the sender is the registered class."""
    if name == "task_failed":
        tell_failure(fields["task"], fields["verdict"])
        return
    signal = getattr(signals, name, None)
    if signal is None:
        return
    try:
        sender = registry.workflow_spec(workflow).cls
    except RegistryError:
        sender = None
    signal.send_robust(sender=sender, workflow_id=instance, workflow_name=workflow, **fields)


def failure_of(verdict: Verdict) -> tuple[dict[str, Any], bool] | None:
    """The stored failure of an attempt, if it failed, and whether there will be another."""
    if verdict.kind == "retry":
        failure = verdict.doc.get("failure")
        return None if failure is None else (failure, True)
    if verdict.kind == "finish" and verdict.doc.get("status") == DeferredStatus.FAILED:
        return verdict.doc["value"], False
    return None


def tell_failure(task: ClaimedTask, verdict: Verdict) -> None:
    """Send `task_failed` if the attempt failed; the sender is the service's class or function."""
    failure = failure_of(verdict)
    if failure is None or not signals.task_failed.has_listeners():
        return
    try:
        sender = registry.service(task.service).subject
    except RegistryError:
        sender = None
    signals.task_failed.send_robust(
        sender=sender,
        task_id=task.id,
        workflow_id=task.instance,
        error=error_from_json(failure[0]),
        will_retry=failure[1],
    )
