"""Handles: what a start gives, and what finds an instance again later."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar, overload

from asgiref.sync import sync_to_async

from django_infinitic.authoring.deferred import DeferredStatus
from django_infinitic.authoring.policy import duration_seconds
from django_infinitic.authoring.stub import ById, Stub
from django_infinitic.client.context import refuse_in_workflow, surroundings
from django_infinitic.client.explaining import explain
from django_infinitic.client.explanation import Explanation
from django_infinitic.client.outcomes import (
    NoOutcome,
    known_outcome,
    raise_failure,
    status_of,
    stored_method,
)
from django_infinitic.client.state import properties_of
from django_infinitic.client.waiting import refuse_in_transaction, refuse_wait
from django_infinitic.exceptions import (
    RegistryError,
    UsageError,
    WaitTimedOutError,
    WorkflowUnknownError,
)
from django_infinitic.fibres.times import micros_of
from django_infinitic.machine.messages import Kind
from django_infinitic.machine.statuses import InstanceStatus, OutcomeStatus
from django_infinitic.registry import MethodSpec, WorkflowSpec, registry
from django_infinitic.storages.base import StoredInstance, StoredOutcome

V = TypeVar("V")
R_co = TypeVar("R_co", covariant=True)
Timeout = float | timedelta | datetime | None


class WorkflowHandle(Generic[R_co]):
    """One method of an instance, seen from outside. No I/O until it is asked something.

    `method_id` equals `workflow_id` for the method that started the instance. `created` is False
    when a custom id found an instance that was there.
    """

    def __init__(
        self,
        *,
        workflow_id: str,
        method_id: str | None = None,
        spec: WorkflowSpec | None = None,
        method: MethodSpec | None = None,
        created: bool = False,
        by_tag: bool = False,
        custom_id: str | None = None,
    ) -> None:
        self._workflow_id = workflow_id
        self._method_id = method_id
        self._spec = spec
        self._method = method
        self._by_tag = by_tag
        self._custom_id = custom_id
        self.created = created

    def __repr__(self) -> str:
        name = self._spec.name if self._spec is not None else "workflow"
        return f"<WorkflowHandle {name} {self._workflow_id or self._custom_id}>"

    # -- what it is about ------------------------------------------------------------------

    @property
    def workflow_id(self) -> str:
        """The id of the instance."""
        self._refuse_tag("an id")
        if not self._workflow_id:
            assert self._custom_id is not None
            name = self._spec.name if self._spec is not None else None
            found = surroundings().store().find(name, self._custom_id)
            if found is None:
                raise WorkflowUnknownError(
                    workflow_name=name or "",
                    workflow_id=self._custom_id,
                    method_name="",
                    method_id="",
                )
            self._workflow_id = found
        return self._workflow_id

    @property
    def method_id(self) -> str:
        """The id of the method."""
        self._refuse_tag("an id")
        return self._method_id or self.workflow_id

    @property
    def id(self) -> str:
        """The same as `method_id`."""
        return self.method_id

    @property
    def workflow_name(self) -> str:
        """The stored name of the workflow."""
        return self._spec.name if self._spec is not None else self._head().workflow

    @property
    def stub(self) -> Any:
        """A stub of this instance."""
        return Stub(ById(spec=self._known_spec(), id=self.workflow_id))

    def _refuse_tag(self, what: str) -> None:
        if self._by_tag:
            raise UsageError(
                f"What was dispatched by tag has no {what.removeprefix('an ')} and no result: it "
                "may run on many instances. client.get_ids(stub) tells which."
            )

    def _head(self) -> StoredInstance:
        row = surroundings().store().head(self.workflow_id)
        if row is None:
            raise self._unknown()
        return row

    def _unknown(self) -> WorkflowUnknownError:
        return WorkflowUnknownError(
            workflow_name=self._spec.name if self._spec is not None else "",
            workflow_id=self.workflow_id,
            method_name=self._method.name if self._method is not None else "",
            method_id=self.method_id,
        )

    def _known_spec(self) -> WorkflowSpec:
        if self._spec is None:
            head = self._head()
            self._spec = registry.workflow_spec(head.workflow, head.version)
        return self._spec

    # -- outcomes --------------------------------------------------------------------------

    def _known(self) -> StoredOutcome | None:
        """What a waiter is told now; None while the method runs."""
        try:
            return known_outcome(self.workflow_id, self.method_id)
        except NoOutcome:
            raise self._unknown() from None

    def status(self) -> DeferredStatus:
        """Where the method stands; ONGOING for a start that no worker has seen yet.

        FAILED while it is stalled or blocked (see `is_stalled`), UNKNOWN when there is no such
        method, or retention has taken it.
        """
        self._refuse_tag("a status")
        refuse_in_workflow("status")
        surroundings().saw_failure(self.workflow_id)
        try:
            return status_of(self._known())
        except WorkflowUnknownError:
            return DeferredStatus.UNKNOWN

    def is_stalled(self) -> bool:
        """Whether it failed, or is blocked, and somebody can still mend it."""
        self._refuse_tag("a status")
        refuse_in_workflow("is_stalled")
        surroundings().saw_failure(self.workflow_id)
        try:
            found = self._known()
        except WorkflowUnknownError:
            return False
        return found is not None and found.status == OutcomeStatus.STALLED

    @overload
    def result(self: WorkflowHandle[Coroutine[Any, Any, V]], timeout: Timeout = None) -> V: ...
    @overload
    def result(self, timeout: Timeout = None) -> R_co: ...
    def result(self, timeout: Timeout = None) -> Any:
        """Wait for the outcome: the value, or its error raised, again and again.

        `timeout`: seconds, a timedelta or an aware datetime; then `WaitTimedOutError`, whose text
        is `explain()`, and the workflow goes on. Without one the `total_timeout` of the method
        counts, else the setting `RESULT_TIMEOUT`.
        """
        self._refuse_tag("a result")
        refuse_in_workflow("result")
        seconds = None if timeout is None else _seconds_until(timeout)
        found = self._known()
        around = surroundings()
        if found is None:
            refuse_wait("handle.result()")
            if timeout is None:
                seconds = self._default_limit()
            if not around.wait(lambda: self._known() is not None, seconds):
                raise WaitTimedOutError(message=str(self.explain()))
            found = self._known()
            assert found is not None
        around.saw_failure(self.workflow_id)
        if found.status != OutcomeStatus.COMPLETED:
            raise_failure(found, self._method)
        method = self._method or stored_method(self._head(), self.method_id, found)
        return method.signature.decode_result(found.doc["v"])

    def _default_limit(self) -> float | None:
        """The total timeout of the method, as far as it is known here, else the setting."""
        try:
            method = self._method or stored_method(self._head(), self.method_id, None)
        except RegistryError:
            return surroundings().result_timeout()
        if method.total_timeout is not None:
            return method.total_timeout
        return surroundings().result_timeout()

    # -- looking ---------------------------------------------------------------------------

    def explain(self) -> Explanation:
        """What the method waits for, since when, until when: `str()` is a sentence.

        Of the method that started the instance, it is about the instance: of several running
        methods the one that has waited longest comes first.
        """
        self._refuse_tag("an explanation")
        refuse_in_workflow("explain")
        surroundings().saw_failure(self.workflow_id)
        return explain(self.workflow_id, self.method_id)

    def properties(self) -> dict[str, Any]:
        """The last committed properties, decoded by their annotations; also after the end."""
        self._refuse_tag("properties")
        refuse_in_workflow("properties")
        return properties_of(self.workflow_id)

    # -- acts ------------------------------------------------------------------------------

    def cancel(self, force: bool = False) -> None:
        """Cancel the instance; of another method's handle that method. Of what has ended: nothing.

        Raises `WorkflowUnknownError` when there is no such instance.
        """
        self._refuse_tag("an instance")
        refuse_in_workflow("cancel")
        self._tell(self._head(), Kind.CANCEL, {"force": bool(force)})

    def retry(self) -> None:
        """Let stalled methods of the instance go on; of another method's handle that method.

        Tasks that the last wait stands on and that failed get a new sequence, a failed child is
        retried in the same way, anything else runs the step again. `UsageError` when it has ended.
        """
        self._refuse_tag("an instance")
        refuse_in_workflow("retry")
        head = self._head()
        if (
            head.closed_at is not None
            or self._has_ended(head)
            or not self._tell(head, Kind.RETRY, {})
        ):
            raise UsageError(
                f"{head.workflow} ({self.method_id}) has ended: there is nothing to retry. Start "
                "a new instance."
            )

    def _has_ended(self, head: StoredInstance) -> bool:
        """Whether a side method has ended, or the main one has failed and no other is stalled."""
        found = surroundings().store().outcome(self.method_id)
        if found is None:
            return False
        if self.method_id == self.workflow_id:
            return found.status == OutcomeStatus.FAILED and head.status != InstanceStatus.STALLED
        return found.status in (
            OutcomeStatus.COMPLETED,
            OutcomeStatus.FAILED,
            OutcomeStatus.UNKNOWN,
        )

    def _tell(self, head: StoredInstance, kind: Kind, doc: dict[str, Any]) -> bool:
        """Post to the instance, by its stored name; False when it does not run any more."""
        method = None if self.method_id == self.workflow_id else self.method_id
        reached = (
            surroundings()
            .store()
            .post(head.workflow, "id", self.workflow_id, kind, {**doc, "method": method})
        )
        return bool(reached)

    # -- async twins -----------------------------------------------------------------------

    async def astatus(self) -> DeferredStatus:
        """`status` for async code."""
        return await sync_to_async(self.status)()

    async def ais_stalled(self) -> bool:
        """`is_stalled` for async code."""
        return await sync_to_async(self.is_stalled)()

    @overload
    async def aresult(
        self: WorkflowHandle[Coroutine[Any, Any, V]], timeout: Timeout = None
    ) -> V: ...
    @overload
    async def aresult(self, timeout: Timeout = None) -> R_co: ...
    async def aresult(self, timeout: Timeout = None) -> Any:
        """`result` for async code."""
        refuse_in_transaction("handle.aresult()")
        wait: Callable[[Timeout], Any] = self.result
        return await sync_to_async(wait)(timeout)

    async def aexplain(self) -> Explanation:
        """`explain` for async code."""
        return await sync_to_async(self.explain)()

    async def aproperties(self) -> dict[str, Any]:
        """`properties` for async code."""
        return await sync_to_async(self.properties)()

    async def acancel(self, force: bool = False) -> None:
        """`cancel` for async code."""
        await sync_to_async(self.cancel)(force)

    async def aretry(self) -> None:
        """`retry` for async code."""
        await sync_to_async(self.retry)()


def _seconds_until(timeout: float | timedelta | datetime) -> float:
    if not isinstance(timeout, datetime):
        return duration_seconds(timeout, "result(timeout)")
    if timeout.tzinfo is None:
        raise UsageError("result(timeout) got a naive datetime. Give an aware one.")
    return max(0.0, (micros_of(timeout) - surroundings().now()) / 1_000_000)
