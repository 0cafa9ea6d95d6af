"""Handles: what a start gives, and what finds an instance again later."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from asgiref.sync import sync_to_async

from django_infinitic.authoring.deferred import DeferredStatus
from django_infinitic.authoring.policy import duration_seconds
from django_infinitic.authoring.stub import ById, Stub, check_text
from django_infinitic.client.context import surroundings
from django_infinitic.client.inspection import Explanation, explain, properties_of
from django_infinitic.client.posting import post
from django_infinitic.client.waiting import refuse_in_transaction, refuse_wait
from django_infinitic.exceptions import (
    RegistryError,
    UsageError,
    WaitTimedOutError,
    WorkflowUnknownError,
    error_from_json,
)
from django_infinitic.fibres.declared import raised_for
from django_infinitic.fibres.times import micros_of
from django_infinitic.machine.messages import Kind
from django_infinitic.machine.statuses import OutcomeStatus
from django_infinitic.registry import MethodSpec, WorkflowSpec, registry
from django_infinitic.storages.base import StoredInstance, StoredOutcome

P = ParamSpec("P")
R = TypeVar("R")
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

    def _outcome(self) -> StoredOutcome | None:
        return surroundings().store().outcome(self.method_id)

    def status(self) -> DeferredStatus:
        """Where the method stands; ONGOING for a start that no worker has seen yet."""
        self._refuse_tag("a status")
        found = self._outcome()
        surroundings().saw_failure(self.workflow_id)
        if found is None or found.retrying:
            head = self._head()
            if found is None and head.closed_at is not None:
                return DeferredStatus.UNKNOWN
            return DeferredStatus.ONGOING
        status = OutcomeStatus(found.status)
        if status == OutcomeStatus.STALLED:
            return DeferredStatus.FAILED
        return DeferredStatus(status)

    def is_stalled(self) -> bool:
        """Whether it failed and somebody can still mend it."""
        self._refuse_tag("a status")
        found = self._outcome()
        surroundings().saw_failure(self.workflow_id)
        return found is not None and found.status == OutcomeStatus.STALLED and not found.retrying

    def result(self, timeout: Timeout = None) -> R_co:
        """Wait for the outcome: the value, or its error raised, again and again.

        `timeout`: seconds, a timedelta or an aware datetime; then `WaitTimedOutError`, whose text is
        `explain()`, and the workflow goes on.
        """
        self._refuse_tag("a result")
        if self._final() is None:
            refuse_wait("handle.result()")
        seconds = self._limit(timeout)
        around = surroundings()
        if not around.wait(lambda: self._final() is not None, seconds):
            around.saw_failure(self.workflow_id)
            raise WaitTimedOutError(message=str(self.explain()))
        found = self._final()
        assert found is not None
        around.saw_failure(self.workflow_id)
        return self._opened(found)

    def _limit(self, timeout: Timeout) -> float | None:
        if isinstance(timeout, datetime):
            if timeout.tzinfo is None:
                raise UsageError("result(timeout) got a naive datetime. Give an aware one.")
            return max(0.0, (micros_of(timeout) - surroundings().now()) / 1_000_000)
        if timeout is not None:
            return duration_seconds(timeout, "result(timeout)")
        if self._method is not None and self._method.total_timeout is not None:
            return self._method.total_timeout
        return surroundings().result_timeout()

    def _final(self) -> StoredOutcome | None:
        found = self._outcome()
        if found is None:
            head = surroundings().store().head(self.workflow_id)
            if head is None:
                raise self._unknown()
            if head.closed_at is not None:
                found = self._outcome()
                if found is None:
                    raise self._unknown()
                return found
            return None
        if found.retrying or found.status == OutcomeStatus.ONGOING:
            return None
        return found

    def _opened(self, found: StoredOutcome) -> Any:
        if found.status == OutcomeStatus.COMPLETED:
            return self._decoder(found).signature.decode_result(found.doc["v"])
        error = error_from_json(found.doc["e"])
        raises = self._method.raises if self._method is not None else ()
        raise raised_for(error, raises)

    def _decoder(self, found: StoredOutcome) -> MethodSpec:
        if self._method is None:
            head = self._head()
            spec = registry.workflow_spec(head.workflow, head.version)
            name = head.method if self.method_id == head.id else str(found.doc.get("m", ""))
            method = spec.methods.get(name)
            if method is None:
                raise RegistryError(
                    f"{spec.name} has no method {name!r} here, so its result cannot be decoded."
                )
            return method
        return self._method

    # -- looking ---------------------------------------------------------------------------

    def explain(self) -> Explanation:
        """What it waits for, since when, until when: `str()` is a sentence."""
        self._refuse_tag("an explanation")
        surroundings().saw_failure(self.workflow_id)
        return explain(self.workflow_id)

    def properties(self) -> dict[str, Any]:
        """The last committed properties, decoded by their annotations; also after the end."""
        self._refuse_tag("properties")
        return properties_of(self.workflow_id)

    # -- acts ------------------------------------------------------------------------------

    def cancel(self, force: bool = False) -> None:
        """Cancel the instance; of another method's handle that method. Of what has ended: nothing."""
        self._refuse_tag("an instance")
        head = self._head()
        if head.closed_at is not None:
            return
        own = self.method_id == self.workflow_id
        target = ById(spec=self._known_spec(), id=self.workflow_id)
        doc = {"force": bool(force), "method": None if own else self.method_id}
        post(target, Kind.CANCEL, doc)

    def retry(self) -> None:
        """Let stalled methods of the instance go on; of another method's handle that method."""
        self._refuse_tag("an instance")
        head = self._head()
        found = self._outcome()
        ended = found is not None and found.status in (
            OutcomeStatus.COMPLETED,
            OutcomeStatus.FAILED,
            OutcomeStatus.UNKNOWN,
        )
        if head.closed_at is not None or (ended and self.method_id != self.workflow_id):
            raise UsageError(
                f"{self.workflow_name} ({self.workflow_id}) has ended: there is nothing to retry. "
                "Start a new instance."
            )
        own = self.method_id == self.workflow_id
        target = ById(spec=self._known_spec(), id=self.workflow_id)
        post(target, Kind.RETRY, {"method": None if own else self.method_id})

    # -- async twins -----------------------------------------------------------------------

    async def astatus(self) -> DeferredStatus:
        """`status` for async code."""
        return await sync_to_async(self.status)()

    async def ais_stalled(self) -> bool:
        """`is_stalled` for async code."""
        return await sync_to_async(self.is_stalled)()

    async def aresult(self, timeout: Timeout = None) -> R_co:
        """`result` for async code."""
        refuse_in_transaction("handle.aresult()")
        return await sync_to_async(self.result)(timeout)

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


def get_handle(
    method: Callable[Concatenate[Any, P], R] | str | None = None,
    method_id: str | None = None,
    *,
    workflow_id: str | None = None,
    custom_id: str | None = None,
) -> WorkflowHandle[R]:
    """A handle of an instance started earlier or elsewhere; no I/O until it is used.

    `get_handle(workflow_id, method_id=None)` decodes results by the class registered here under
    the stored name; `get_handle(TravelBooking.book, workflow_id=...)` (or `custom_id=`: the latest
    that had it) by that method.
    """
    if isinstance(method, str):
        return WorkflowHandle(workflow_id=check_text(method, "A workflow id"), method_id=method_id)
    if method is None:
        if workflow_id is None:
            raise UsageError("get_handle() needs a workflow id, or a method and an id.")
        return WorkflowHandle(workflow_id=workflow_id, method_id=method_id)
    spec, found = registry.method_of(method)
    if (workflow_id is None) == (custom_id is None):
        raise UsageError("get_handle(method) needs one of workflow_id= and custom_id=.")
    return WorkflowHandle(
        spec=spec,
        method=found,
        workflow_id=workflow_id or "",
        method_id=method_id,
        custom_id=custom_id,
    )
