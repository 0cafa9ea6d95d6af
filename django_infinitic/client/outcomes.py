"""Outcomes of methods as clients see them: what is final, and how it is opened."""

from __future__ import annotations

from typing import NoReturn

from django_infinitic.authoring.deferred import DeferredStatus
from django_infinitic.client.context import surroundings
from django_infinitic.exceptions import (
    ExceptionInfo,
    Failure,
    RegistryError,
    WorkflowCodeError,
    WorkflowFailedError,
    error_from_json,
)
from django_infinitic.fibres.declared import raised_for
from django_infinitic.machine.messages import Kind
from django_infinitic.machine.statuses import InstanceStatus, OutcomeStatus
from django_infinitic.registry import MethodSpec, registry
from django_infinitic.storages.base import StoredInstance, StoredOutcome


class NoOutcome(Exception):
    """There is no such instance, or it has ended and this method never ran."""


def known_outcome(instance: str, method: str) -> StoredOutcome | None:
    """What a waiter is told now; None while the method runs. Raises `NoOutcome`.

    Of a blocked instance a method that has not ended counts as failed.
    """
    store = surroundings().store()
    found = store.outcome(method)
    if found is not None and not found.retrying and found.status != OutcomeStatus.ONGOING:
        return found
    head = store.head(instance)
    if head is None:
        raise NoOutcome
    if head.closed_at is not None:
        # It may have ended between the two looks.
        found = store.outcome(method)
        if found is None or found.status == OutcomeStatus.ONGOING:
            raise NoOutcome
        return found
    if head.status != InstanceStatus.BLOCKED or _repaired(instance):
        return None
    return _blocked(head, method)


def _repaired(instance: str) -> bool:
    """Whether a retry is committed, from which moment on a new outcome is waited for."""
    pending = surroundings().store().messages_of(instance)
    return any(one.kind in (Kind.RETRY, Kind.RETRY_TASKS) for one in pending)


def _blocked(head: StoredInstance, method: str) -> StoredOutcome:
    info = ExceptionInfo(
        name="django_infinitic.Blocked",
        message=f"the engine could not process the instance: {head.error or 'nothing is recorded'}",
    )
    error = WorkflowFailedError(
        workflow_name=head.workflow,
        workflow_id=head.id,
        method_name=head.method if method == head.id else "",
        method_id=method,
        deferred_error=WorkflowCodeError(
            workflow_name=head.workflow,
            workflow_id=head.id,
            last_failure=Failure(worker_name="engine", exception=info),
        ),
    )
    return StoredOutcome(
        instance=head.id, seq=0, status=OutcomeStatus.STALLED, doc={"e": error.to_json()}
    )


def status_of(found: StoredOutcome | None) -> DeferredStatus:
    """An outcome as the status of a handle."""
    if found is None:
        return DeferredStatus.ONGOING
    if found.status == OutcomeStatus.STALLED:
        return DeferredStatus.FAILED
    return DeferredStatus(found.status)


def stored_method(head: StoredInstance, method_id: str, found: StoredOutcome | None) -> MethodSpec:
    """The method registered here under the stored name and version. Raises `RegistryError`."""
    spec = registry.workflow_spec(head.workflow, head.version)
    name = head.method
    if method_id != head.id:
        name = "" if found is None else str(found.doc.get("m", ""))
    method = spec.methods.get(name)
    if method is None:
        raise RegistryError(
            f"{spec.name} has no method {name!r} here, so the result of {method_id} cannot be "
            f"decoded. Name the method: get_handle({spec.cls.__name__}.method, ...)."
        )
    return method


def raise_failure(found: StoredOutcome, method: MethodSpec | None) -> NoReturn:
    """Raise the error of an outcome, as itself when the method that was named declares it.

    Who has only an id has named no declaring class: `WorkflowFailedError`, with `caused_by`.
    """
    error = error_from_json(found.doc["e"])
    raise raised_for(error, () if method is None else method.raises)
