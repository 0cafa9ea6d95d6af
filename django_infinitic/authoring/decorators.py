"""The decorators that declare services, tasks and workflows. They register what they decorate."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar, overload

from django_infinitic.authoring.naming import check_name
from django_infinitic.authoring.options import (
    BATCH,
    METHOD,
    TASK,
    UNSET,
    BatchOptions,
    ClassOptions,
    MethodOptions,
    TaskOptions,
    check_check_mode,
    check_duration,
    check_flag,
    check_grace,
    check_number,
    check_optional_duration,
    check_policy,
    check_raises,
)
from django_infinitic.authoring.policy import Duration, Retry
from django_infinitic.authoring.services import declare_function_task, declare_service
from django_infinitic.authoring.source import place_of_caller, place_of_function
from django_infinitic.authoring.workflows import declare_workflow, listener
from django_infinitic.exceptions import RegistryError
from django_infinitic.registry import CheckMode

C = TypeVar("C", bound=type)
F = TypeVar("F", bound=Callable[..., Any])
S = TypeVar("S")
A = TypeVar("A")
R = TypeVar("R")
B = TypeVar("B", bound=Callable[..., Any])

Raises = Iterable[type[Exception]]


@overload
def service(cls: C, /) -> C: ...
@overload
def service(name: str | None = None) -> Callable[[C], C]: ...
def service(name: Any = None) -> Any:
    """Declare a service: each public method of the class is a task.

    `name` is stored and must stay the same; by default that of the nearest decorated base class,
    else `<app label>.<Class>`. A Protocol, or a class with abstract methods, is a contract: it can
    be stubbed, not run. Mistakes are a `RegistryError` at import.
    """
    if isinstance(name, type):
        return _declared_service(name, None)
    if name is not None and not isinstance(name, str) and callable(name):
        raise RegistryError(f"{_called(name)} is decorated with @service; a function is a @task.")

    def decorate(cls: C) -> C:
        return _declared_service(cls, name)

    return decorate


@overload
def task(function: F, /) -> F: ...
@overload
def task(
    name: str | None = None,
    *,
    raises: Raises = (),
    attempt_timeout: Duration | None = None,
    timeout_grace: Duration = 0,
    total_timeout: Duration | None = None,
    retry: Retry = None,
    atomic: bool | None = None,
    delegated: bool = False,
) -> Callable[[F], F]: ...
def task(
    name: Any = None,
    *,
    raises: Any = UNSET,
    attempt_timeout: Any = UNSET,
    timeout_grace: Any = UNSET,
    total_timeout: Any = UNSET,
    retry: Any = UNSET,
    atomic: Any = UNSET,
    delegated: Any = UNSET,
) -> Any:
    """Give options to a task of a service, or make a function a service of one task.

    Durations are a `timedelta` or seconds. An option that is not given is that of the overridden
    method, else its default.

    - `name`: what is stored; of a function the name of the service.
    - `raises`: exceptions that end the task as failed for good and arrive as themselves.
    - `attempt_timeout`, `timeout_grace`: limit of one attempt, and what it may take beyond it to
      end by itself (F092, F093).
    - `total_timeout`: limit of a wait for the task, all attempts included (F068).
    - `retry`: a `RetryPolicy`, or a callable `(retry_index, exception) -> duration | None`.
    - `atomic`: ORM writes and result commit together; None: as the setting `ATOMIC_TASKS` says.
    - `delegated`: the return value is ignored, somebody completes the task later (F108).
    """
    if name is not None and not isinstance(name, str):
        if isinstance(name, type):
            raise RegistryError(f"{_called(name)} is decorated with @task; a class is a @service.")
        return _declared_task(name, TaskOptions())

    def decorate(function: F) -> F:
        place = _place(function, "@task")
        options = TaskOptions(
            name=UNSET if name is None else check_name(name, place),
            raises=UNSET if raises is UNSET else check_raises(raises, place),
            attempt_timeout=_seconds(attempt_timeout, place, "attempt_timeout"),
            timeout_grace=(UNSET if timeout_grace is UNSET else check_grace(timeout_grace, place)),
            total_timeout=_seconds(total_timeout, place, "total_timeout"),
            retry=UNSET if retry is UNSET else check_policy(retry, place),
            atomic=(
                UNSET if atomic is UNSET else check_flag(atomic, place, "atomic", optional=True)
            ),
            delegated=UNSET if delegated is UNSET else check_flag(delegated, place, "delegated"),
        )
        return _declared_task(function, options)

    return decorate


@overload
def workflow(cls: C, /) -> C: ...
@overload
def workflow(
    name: str | None = None,
    *,
    version: int = 0,
    raises: Raises = (),
    check_mode: CheckMode = "simple",
    retry: Retry = None,
    total_timeout: Duration | None = None,
    on_end: Callable[..., Any] | None = None,
    on_stall: Callable[..., Any] | None = None,
) -> Callable[[C], C]: ...
def workflow(
    name: Any = None,
    *,
    version: Any = 0,
    raises: Any = UNSET,
    check_mode: Any = UNSET,
    retry: Any = UNSET,
    total_timeout: Any = UNSET,
    on_end: Any = UNSET,
    on_stall: Any = UNSET,
) -> Any:
    """Declare a workflow: each public method of the class can be started, or run on an instance.

    `name` is stored and must stay the same; by default that of the nearest decorated base class,
    else `<app label>.<Class>`. A start takes the highest `version` that the worker has (F072). An
    option that is not given is that of the nearest decorated base class, else its default.

    - `raises`: exceptions that end a method as failed for good and arrive as themselves.
    - `check_mode`: how closely a replay compares commands with the recorded ones (F071).
    - `retry`: a policy for exceptions of the workflow's own code.
    - `total_timeout`: limit of a wait for a method, a `timedelta` or seconds (F068).
    - `on_end`, `on_stall`: a function task or a service's method; it is run with a `WorkflowEnd`.
    """
    if name is not None and not isinstance(name, str):
        if not isinstance(name, type):
            raise RegistryError(
                f"{_called(name)} is decorated with @workflow; that is for classes."
            )
        place = place_of_caller()
        declare_workflow(name, 0, ClassOptions(), place)
        return name
    place = place_of_caller()
    options = ClassOptions(
        name=UNSET if name is None else check_name(name, place),
        raises=UNSET if raises is UNSET else check_raises(raises, place),
        check_mode=UNSET if check_mode is UNSET else check_check_mode(check_mode, place),
        retry=UNSET if retry is UNSET else check_policy(retry, place),
        total_timeout=_seconds(total_timeout, place, "total_timeout"),
        on_end=UNSET if on_end is UNSET else listener(on_end, place, "on_end"),
        on_stall=UNSET if on_stall is UNSET else listener(on_stall, place, "on_stall"),
    )
    number = check_number(version, place, "version", least=0)

    def decorate(cls: C) -> C:
        if not isinstance(cls, type):
            raise RegistryError(f"{place}: @workflow decorates a class, not {cls!r}.")
        declare_workflow(cls, number, options, place)
        return cls

    return decorate


@overload
def workflow_method(function: F, /) -> F: ...
@overload
def workflow_method(
    name: str | None = None,
    *,
    raises: Raises | None = None,
    total_timeout: Duration | None = None,
    check_mode: CheckMode | None = None,
) -> Callable[[F], F]: ...
def workflow_method(
    name: Any = None,
    *,
    raises: Any = None,
    total_timeout: Any = None,
    check_mode: Any = None,
) -> Any:
    """Give options to a method of a workflow; None is as the overridden method or the class says.

    `name` is stored; `raises=()` declares nothing, whatever the class declares.
    """
    if name is not None and not isinstance(name, str):
        return _marked(name, METHOD, MethodOptions(), "@workflow_method")

    def decorate(function: F) -> F:
        place = _place(function, "@workflow_method")
        options = MethodOptions(
            name=UNSET if name is None else check_name(name, place),
            raises=UNSET if raises is None else check_raises(raises, place),
            total_timeout=(
                UNSET
                if total_timeout is None
                else check_duration(total_timeout, place, "total_timeout")
            ),
            check_mode=UNSET if check_mode is None else check_check_mode(check_mode, place),
        )
        return _marked(function, METHOD, options, "@workflow_method")

    return decorate


@overload
def batch(  # type: ignore[overload-overlap]
    single: Callable[[S, A], Coroutine[Any, Any, R]],
    /,
    max_size: int = 1000,
    max_seconds: Duration = 1,
) -> Callable[
    [Callable[[S, dict[str, A]], Coroutine[Any, Any, dict[str, R]]]],
    Callable[[S, dict[str, A]], Coroutine[Any, Any, dict[str, R]]],
]: ...
@overload
def batch(  # type: ignore[overload-overlap]
    single: Callable[[S, A], None], /, max_size: int = 1000, max_seconds: Duration = 1
) -> Callable[
    [Callable[[S, dict[str, A]], dict[str, None] | None]],
    Callable[[S, dict[str, A]], dict[str, None] | None],
]: ...
@overload
def batch(
    single: Callable[[S, A], R], /, max_size: int = 1000, max_seconds: Duration = 1
) -> Callable[
    [Callable[[S, dict[str, A]], dict[str, R]]], Callable[[S, dict[str, A]], dict[str, R]]
]: ...
@overload
def batch(
    single: Callable[..., Any], /, max_size: int = 1000, max_seconds: Duration = 1
) -> Callable[[B], B]: ...
def batch(single: Any, /, max_size: Any = 1000, max_seconds: Any = 1) -> Any:
    """Declare the method that runs many of the task `single` at once. (F104-F107)

    It takes and returns a dict keyed by task id, and is called when `max_size` tasks are there or
    `max_seconds` after the first of them. `current_task(task_id)` gives the context of each.
    """

    def decorate(function: B) -> B:
        place = _place(function, "@batch")
        if not callable(single) or isinstance(single, type):
            raise RegistryError(
                f"{place}: @batch({single!r}) takes the task of which it runs many: @batch(send)."
            )
        options = BatchOptions(
            single=single,
            max_size=check_number(max_size, place, "max_size", least=1),
            max_seconds=check_duration(max_seconds, place, "max_seconds"),
        )
        return _marked(function, BATCH, options, "@batch")

    return decorate


def _declared_service(cls: C, name: str | None) -> C:
    place = place_of_caller()
    if not isinstance(cls, type):
        raise RegistryError(f"{place}: @service decorates a class, not {cls!r}.")
    options = ClassOptions(name=UNSET if name is None else check_name(name, place))
    declare_service(cls, options, place)
    return cls


def _declared_task(function: F, options: TaskOptions) -> F:
    _place(function, "@task")
    if _is_method(function):
        return _marked(function, TASK, options, "@task")
    return declare_function_task(function, options)


def _marked(function: F, mark: str, options: Any, decorator: str) -> F:
    place = _place(function, decorator)
    if not _is_method(function):
        raise RegistryError(f"{place}: {decorator} is for methods of a class.")
    setattr(function, mark, options)
    return function


def _is_method(function: Callable[..., Any]) -> bool:
    """Whether a function is being defined in a class body, as its qualified name tells."""
    outside, _, _ = function.__qualname__.rpartition(".")
    return bool(outside) and not outside.endswith("<locals>")


def _place(function: Any, decorator: str) -> str:
    """Names a function in errors; refuses what is none."""
    if isinstance(function, staticmethod | classmethod | property):
        inside = getattr(function, "__func__", None) or getattr(function, "fget", None)
        raise RegistryError(
            f"{_called(inside)} is decorated with {decorator}, but a {type(function).__name__} is "
            "no task and no method of a workflow. Make it an ordinary method."
        )
    if not callable(function) or not hasattr(function, "__qualname__"):
        raise RegistryError(
            f"{place_of_caller()}: {decorator} decorates a function, not {function!r}."
        )
    return _called(function)


def _called(thing: Any) -> str:
    if isinstance(thing, type):
        return f"{place_of_caller()}: {thing.__qualname__}"
    return f"{thing.__qualname__} ({place_of_function(thing)})"


def _seconds(value: Any, place: str, what: str) -> Any:
    return UNSET if value is UNSET else check_optional_duration(value, place, what)
