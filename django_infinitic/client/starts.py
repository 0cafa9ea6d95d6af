"""Starting instances and running methods on them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

from asgiref.sync import sync_to_async

from django_infinitic.authoring.stub import (
    ById,
    ByTag,
    NewInstance,
    NewTask,
    Own,
    StubMethod,
    stub_method_of,
)
from django_infinitic.authoring.task_context import current_task
from django_infinitic.authoring.workflow import Workflow
from django_infinitic.client.context import refuse_in_workflow, surroundings
from django_infinitic.client.handle import WorkflowHandle
from django_infinitic.client.posting import post
from django_infinitic.exceptions import InvalidStubError, UsageError
from django_infinitic.machine.ids import part_id, part_number, uuid7
from django_infinitic.machine.messages import Kind, store_meta
from django_infinitic.registry import WorkflowSpec, registry

P = ParamSpec("P")
R = TypeVar("R")
W = TypeVar("W", bound=Workflow)
Doc = dict[str, Any]


def start(
    method: Callable[Concatenate[W, P], R], /, *args: P.args, **kwargs: P.kwargs
) -> WorkflowHandle[R]:
    """Start a new instance without options: `client.start(TravelBooking.book, cart)`."""
    refuse_in_workflow("start")
    if isinstance(method, StubMethod):
        raise InvalidStubError(
            f"client.start() takes a method of the class, got {method!r}: use client.dispatch()."
        )
    spec, found = registry.method_of(method)
    return _start(StubMethod(NewInstance(spec=spec), found), args, kwargs)


def dispatch(method: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> WorkflowHandle[R]:
    """Start an instance, or run a method on running ones, and return at once."""
    refuse_in_workflow("dispatch")
    stub = stub_method_of(method, "client.dispatch()")
    target = stub.target
    if isinstance(target, NewTask | Own):
        raise InvalidStubError(
            f"client.dispatch() got the task {stub.target.spec.name}.{stub.spec.name}. Tasks are "
            "run by workflows: call it as a plain function, or write a workflow of one step."
        )
    if isinstance(target, NewInstance):
        return _start(stub, args, kwargs)
    payload = stub.spec.signature.encode_arguments(args, kwargs)
    method_id = _new_id()
    doc = {"id": method_id, "method": stub.spec.name, "args": payload}
    reached = post(target, Kind.METHOD, doc, method_name=stub.spec.name)
    instance = reached[0] if reached and not isinstance(target, ByTag) else ""
    if isinstance(target, ById):
        instance = target.id
    return WorkflowHandle(
        spec=target.spec,
        method=stub.spec,  # type: ignore[arg-type]
        workflow_id=instance,
        method_id=method_id,
        created=False,
        by_tag=isinstance(target, ByTag),
    )


def _arguments(stub: StubMethod, args: Sequence[Any], kwargs: dict[str, Any]) -> Doc:
    target = stub.target
    assert isinstance(target, NewInstance)
    instance = _new_id()
    return {
        "id": instance,
        "workflow": target.spec.name,
        "part": part_id(target.spec.name, part_number(instance, surroundings().parts())),
        "method": stub.spec.name,
        "tags": sorted(target.tags),
        "meta": store_meta(target.meta),
        "custom_id": target.custom_id,
        "once": target.once,
        "started_by": _who(),
        "doc": {
            "method": stub.spec.name,
            "args": stub.spec.signature.encode_arguments(tuple(args), kwargs),
        },
    }


def _new_id() -> str:
    return uuid7(surroundings().now(), secrets.randbits(74))


def _who() -> str:
    try:
        return f"task {current_task().task_id}"
    except UsageError:
        return ""


def _start(stub: StubMethod, args: Sequence[Any], kwargs: dict[str, Any]) -> WorkflowHandle[Any]:
    started = surroundings().store().start(**_arguments(stub, args, kwargs))
    return _handle(stub, started.id, started.created)


def _handle(stub: StubMethod, instance: str, created: bool) -> WorkflowHandle[Any]:
    assert isinstance(stub.target, NewInstance)
    spec: WorkflowSpec = stub.target.spec
    return WorkflowHandle(
        spec=spec,
        method=stub.spec,  # type: ignore[arg-type]
        workflow_id=instance,
        method_id=instance,
        created=created,
    )


def bulk_dispatch(
    calls: Sequence[tuple[Callable[..., Any], Sequence[Any], dict[str, Any]]],
) -> list[WorkflowHandle[Any]]:
    """Many starts in few statements, all or none: `[(stub.method, args, kwargs), ...]`."""
    refuse_in_workflow("bulk_dispatch")
    stubs = []
    for method, _, _ in calls:
        stub = stub_method_of(method, "client.bulk_dispatch()")
        if not isinstance(stub.target, NewInstance):
            raise InvalidStubError(
                f"client.bulk_dispatch() starts new instances only, and got {stub!r}."
            )
        stubs.append(stub)
    starts = [
        _arguments(stub, args, kwargs) for stub, (_, args, kwargs) in zip(stubs, calls, strict=True)
    ]
    started = surroundings().store().start_many(starts)
    return [_handle(stub, one.id, one.created) for stub, one in zip(stubs, started, strict=True)]


def call(stub: StubMethod, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A stub called outside workflow code: start (or run) and wait."""
    if stub.spec.is_async:
        return _acall(stub, args, kwargs)
    from django_infinitic.client.waiting import refuse_wait

    if isinstance(stub.target, ByTag):
        raise UsageError(
            f"{stub.target.spec.name}.{stub.spec.name} was called by tag, and what runs by tag has "
            "no result to wait for. Use client.dispatch(stub.method, ...)."
        )
    refuse_wait(f"{stub.target.spec.name}.{stub.spec.name}()")
    return dispatch(stub, *args, **kwargs).result()


async def _acall(stub: StubMethod, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    handle = await adispatch(stub, *args, **kwargs)
    return await handle.aresult()


registry.hooks.call = call
astart = sync_to_async(start)
adispatch = sync_to_async(dispatch)
abulk_dispatch = sync_to_async(bulk_dispatch)
