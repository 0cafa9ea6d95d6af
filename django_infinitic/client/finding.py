"""Handles of instances that were started earlier, or elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, overload
from uuid import UUID

from django_infinitic.authoring.stub import check_id, check_tag
from django_infinitic.client.handle import WorkflowHandle
from django_infinitic.exceptions import UsageError
from django_infinitic.registry import registry

if TYPE_CHECKING:
    from django_infinitic.authoring.stub import Tag

P = ParamSpec("P")
R = TypeVar("R")


@overload
def get_handle(workflow_id: str, /, method_id: str | None = None) -> WorkflowHandle[Any]: ...
@overload
def get_handle(*, workflow_id: str, method_id: str | None = None) -> WorkflowHandle[Any]: ...
@overload
def get_handle(
    method: Callable[Concatenate[Any, P], R],
    method_id: str | None = None,
    *,
    workflow_id: str,
) -> WorkflowHandle[R]: ...
@overload
def get_handle(
    method: Callable[Concatenate[Any, P], R], *, custom_id: Tag
) -> WorkflowHandle[R]: ...
def get_handle(
    method: Any = None,
    method_id: str | None = None,
    *,
    workflow_id: str | None = None,
    custom_id: Any = None,
) -> WorkflowHandle[Any]:
    """A handle of an instance started earlier or elsewhere; no I/O until it is used.

    `get_handle(workflow_id, method_id=None)` decodes results by the class registered here under
    the stored name; `get_handle(TravelBooking.book, workflow_id=...)` (or `custom_id=`: the latest
    that had it, running or ended) by that method.
    """
    if method is None or isinstance(method, str | UUID):
        if (method is None) == (workflow_id is None) or custom_id is not None:
            raise UsageError(
                "get_handle() needs a workflow id, or a method and one of workflow_id= and "
                "custom_id=: get_handle(TravelBooking.book, custom_id=...)."
            )
        found_id = check_id(method or workflow_id)
        return WorkflowHandle(workflow_id=found_id, method_id=method_id)
    spec, found = registry.method_of(method)
    if (workflow_id is None) == (custom_id is None):
        raise UsageError("get_handle(method) needs one of workflow_id= and custom_id=.")
    return WorkflowHandle(
        spec=spec,
        method=found,
        workflow_id="" if workflow_id is None else check_id(workflow_id),
        method_id=method_id,
        custom_id=None if custom_id is None else check_tag(custom_id, "custom_id="),
    )
