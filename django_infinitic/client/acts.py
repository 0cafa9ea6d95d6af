"""What operators and other systems do to running instances and their tasks."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async

from django_infinitic.authoring.deferred import DeferredStatus
from django_infinitic.authoring.stub import running_target_of
from django_infinitic.client.context import refuse_in_workflow, surroundings
from django_infinitic.client.posting import post
from django_infinitic.exceptions import TaskFailedError, UsageError
from django_infinitic.failures import ExceptionInfo, Failure
from django_infinitic.fibres.declared import declared_as
from django_infinitic.machine.messages import Kind
from django_infinitic.registry import TaskSpec, registry


def cancel(stub: Any, force: bool = False) -> None:
    """Cancel instances, by id, custom id or tag."""
    refuse_in_workflow("cancel")
    post(running_target_of(stub), Kind.CANCEL, {"force": bool(force), "method": None})


def retry_workflow(stub: Any) -> None:
    """Let every stalled method of the instances go on."""
    refuse_in_workflow("retry_workflow")
    post(running_target_of(stub), Kind.RETRY, {"method": None})


def complete_timers(stub: Any, method_id: str | None = None) -> None:
    """Complete timers and sleeps now, of one method or of all (F124)."""
    refuse_in_workflow("complete_timers")
    post(running_target_of(stub), Kind.TIMERS, {"method": method_id})


def retry_tasks(
    stub: Any,
    *,
    task_id: str | None = None,
    status: DeferredStatus | None = None,
    service: Any = None,
) -> None:
    """Send the failed and timed-out tasks again that stalled methods stand on, or one by id."""
    refuse_in_workflow("retry_tasks")
    doc = {
        "task": task_id,
        "status": None if status is None else int(status),
        "service": None if service is None else service_name(service),
    }
    post(running_target_of(stub), Kind.RETRY_TASKS, doc)


def service_name(service: Any) -> str:
    """The stored name of a service given as class, function task or name."""
    return service if isinstance(service, str) else registry.service_of(service).name


def complete_task(service: Any, task_id: str, result: Any) -> bool:
    """Complete a delegated task; False when no such task is open."""
    refuse_in_workflow("complete_task")
    name = service_name(service)
    spec = _delegated(name, task_id)
    if spec is None:
        return False
    payload = spec.signature.encode_result(result)
    doc = {"status": int(DeferredStatus.COMPLETED), "value": payload}
    return surroundings().store().complete_task(name, task_id, doc)


def fail_task(service: Any, task_id: str, reason: str | BaseException) -> bool:
    """End a delegated task as failed for good; False when no such task is open."""
    refuse_in_workflow("fail_task")
    name = service_name(service)
    spec = _delegated(name, task_id)
    if spec is None:
        return False
    if isinstance(reason, BaseException):
        declared = declared_as(reason, spec.raises)
        info = ExceptionInfo.of(reason)
    elif isinstance(reason, str):
        declared = None
        info = ExceptionInfo(
            name="builtins.Exception", message=reason, bases=("builtins.Exception",)
        )
    else:
        raise UsageError(
            f"fail_task() takes a text or an exception as reason, not {type(reason).__name__}."
        )
    error = TaskFailedError(
        service_name=name,
        task_name=spec.name,
        task_id=task_id,
        last_failure=Failure(
            worker_name="client",
            retry_sequence=0,
            retry_index=0,
            seconds_before_retry=None,
            stack_trace="",
            exception=info,
            previous=None,
        ),
        declared=declared,
    )
    doc = {"status": int(DeferredStatus.FAILED), "value": error.to_json()}
    return surroundings().store().complete_task(name, task_id, doc)


def _delegated(service: str, task_id: str) -> TaskSpec | None:
    """The spec of an open delegated task. Raises `UnknownServiceError`, `UnknownTaskError`."""
    found = registry.service_spec(service)
    name = surroundings().store().delegated_name(service, task_id)
    return None if name is None else found.tasks.get(name)


acancel = sync_to_async(cancel)
aretry_workflow = sync_to_async(retry_workflow)
acomplete_timers = sync_to_async(complete_timers)
aretry_tasks = sync_to_async(retry_tasks)
acomplete_task = sync_to_async(complete_task)
afail_task = sync_to_async(fail_task)
