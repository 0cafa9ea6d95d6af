"""Making services of decorated classes and functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from types import MappingProxyType
from typing import Any, TypeVar, get_type_hints

from asgiref.sync import markcoroutinefunction

from django_infinitic.authoring import runtime
from django_infinitic.authoring.members import (
    check_constructor,
    checked_signature,
    class_declarations,
    declarations,
    is_async,
    is_contract,
    lineage,
    public_functions,
)
from django_infinitic.authoring.naming import default_name
from django_infinitic.authoring.options import (
    BATCH,
    CLASS,
    METHOD,
    TASK,
    UNSET,
    BatchOptions,
    ClassOptions,
    TaskOptions,
    given,
    merged,
)
from django_infinitic.authoring.source import place_of_function
from django_infinitic.exceptions import RegistryError
from django_infinitic.registry import BatchSpec, ServiceSpec, TaskSpec, registry

F = TypeVar("F", bound=Callable[..., Any])


def declare_service(cls: type, options: ClassOptions, place: str) -> None:
    """Register a class: its public methods are tasks."""
    bases = lineage(cls)
    name = options.name
    if name is UNSET:
        name = merged(class_declarations(bases[1:]), ClassOptions()).name
    if name is UNSET:
        name = default_name(cls.__module__, cls.__name__, place)
    contract = is_contract(cls)
    if not contract:
        check_constructor(cls, place)
    tasks: dict[str, TaskSpec] = {}
    by_attribute: dict[str, TaskSpec] = {}
    batches: dict[str, tuple[str, Callable[..., Any], BatchOptions]] = {}
    functions = dict(public_functions(cls, bases, mine=TASK, foreign=METHOD))
    for attribute, function in functions.items():
        batch = getattr(function, BATCH, None)
        if batch is not None:
            _put_batch(cls, attribute, function, batch, functions, batches)
    for attribute, function in functions.items():
        if hasattr(function, BATCH):
            continue
        spec = _task_spec(
            service=name,
            attribute=attribute,
            function=function,
            owner=cls,
            options=merged(declarations(bases, attribute, TASK), TaskOptions()),
            batch=batches.get(attribute),
        )
        if spec.name in tasks:
            raise RegistryError(
                f"{cls.__qualname__} has two tasks named {spec.name!r}: "
                f"{tasks[spec.name].attribute} ({tasks[spec.name].place}) and {attribute} "
                f'({spec.place}). Give one of them another: @task(name="...").'
            )
        tasks[spec.name] = by_attribute[attribute] = spec
    registry.add_service(
        ServiceSpec(
            name=name,
            cls=cls,
            tasks=MappingProxyType(tasks),
            by_attribute=MappingProxyType(by_attribute),
            contract=contract,
            place=place,
        )
    )
    # Only now: a class that was refused must not give its name to a subclass.
    setattr(cls, CLASS, ClassOptions(name=name))


def declare_function_task(function: F, options: TaskOptions) -> F:
    """Register a function as a service of one task, and give what stands in its place."""
    place = place_of_function(function)
    attribute = function.__name__
    if attribute == "<lambda>":
        raise RegistryError(f"{place}: a lambda is no task; write a function.")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise RegistryError(
            f"{place}: {attribute} is a generator; a task returns its result. Return a list."
        )
    name = options.name
    if name is UNSET:
        name = default_name(function.__module__, attribute, place)
    spec = _task_spec(
        service=name,
        attribute=attribute,
        function=function,
        owner=None,
        options=TaskOptions(
            **{one: getattr(options, one) for one in TaskOptions.__slots__ if one != "name"}
        ),
        batch=None,
    )
    registry.add_service(
        ServiceSpec(
            name=name,
            cls=None,
            tasks=MappingProxyType({spec.name: spec}),
            by_attribute=MappingProxyType({attribute: spec}),
            contract=False,
            place=place,
        )
    )

    @wraps(function)
    def durable(*args: Any, **kwargs: Any) -> Any:
        if runtime.current() is None:
            return function(*args, **kwargs)
        from django_infinitic.authoring.stub import function_task

        return function_task(spec)(*args, **kwargs)

    if spec.is_async:
        markcoroutinefunction(durable)
    durable.__infinitic__ = spec  # type: ignore[attr-defined]
    return durable  # type: ignore[return-value]


def _task_spec(
    *,
    service: str,
    attribute: str,
    function: Callable[..., Any],
    owner: type | None,
    options: TaskOptions,
    batch: tuple[str, Callable[..., Any], BatchOptions] | None,
) -> TaskSpec:
    place = place_of_function(function)
    called = f"{owner.__qualname__}.{attribute}" if owner else attribute
    name = given(options.name, attribute)
    raises = given(options.raises, ())
    atomic = given(options.atomic, None)
    asynchronous = is_async(function)
    if atomic and asynchronous:
        raise RegistryError(
            f"{called} ({place}) is an async def with atomic=True, but a transaction of the ORM "
            "belongs to one thread. Make it a def, or remove atomic=True."
        )
    signature = checked_signature(function, owner=service, name=name, bound=owner is not None)
    made = None
    if batch is not None:
        made = _batch_spec(called, function, asynchronous, *batch)
    return TaskSpec(
        service=service,
        name=name,
        attribute=attribute,
        function=function,
        owner=owner,
        place=place,
        signature=signature,
        raises=raises,
        attempt_timeout=given(options.attempt_timeout, None),
        timeout_grace=given(options.timeout_grace, 0.0),
        total_timeout=given(options.total_timeout, None),
        retry=given(options.retry, None),
        atomic=atomic,
        delegated=given(options.delegated, False),
        is_async=asynchronous,
        batch=made,
        abstract=getattr(function, "__isabstractmethod__", False)
        or bool(owner is not None and getattr(owner, "_is_protocol", False)),
    )


def _put_batch(
    cls: type,
    attribute: str,
    function: Callable[..., Any],
    options: BatchOptions,
    functions: dict[str, Callable[..., Any]],
    batches: dict[str, tuple[str, Callable[..., Any], BatchOptions]],
) -> None:
    here = f"{cls.__qualname__}.{attribute} ({place_of_function(function)})"
    single = options.single.__name__
    if functions.get(single) is not options.single:
        if single in functions:
            raise RegistryError(
                f"{here} runs batches of a {single} that {cls.__qualname__} overrides. Override "
                f"{attribute} too: @batch({single})."
            )
        raise RegistryError(
            f"{here}: @batch({single}) must name a task of the same class, written above it."
        )
    if hasattr(options.single, BATCH):
        raise RegistryError(f"{here}: @batch({single}) names another batch method.")
    if hasattr(function, TASK):
        raise RegistryError(
            f"{here} is decorated with @task and @batch. Its options are those of {single}: put "
            "@task(...) there."
        )
    if single in batches:
        raise RegistryError(f"{here} and {batches[single][0]} are both batches of {single}.")
    batches[single] = (attribute, function, options)


def _batch_spec(
    called: str,
    single: Callable[..., Any],
    asynchronous: bool,
    attribute: str,
    function: Callable[..., Any],
    options: BatchOptions,
) -> BatchSpec:
    here = f"{called.rpartition('.')[0]}.{attribute} ({place_of_function(function)})"
    try:
        inspect.signature(function).bind(None, {})
    except TypeError:
        raise RegistryError(f"{here}: a batch method takes one dict, keyed by task id.") from None
    return BatchSpec(
        attribute=attribute,
        function=function,
        max_size=options.max_size,
        max_seconds=options.max_seconds,
        is_async=is_async(function),
        item=_item(here, single, function),
    )


def _item(
    here: str, single: Callable[..., Any], function: Callable[..., Any]
) -> Callable[..., Any] | None:
    """What makes one value of the dict from several arguments: the class it is annotated with."""
    parameters = list(inspect.signature(single).parameters.values())[1:]
    if len(parameters) == 1 and parameters[0].kind is not inspect.Parameter.VAR_KEYWORD:
        return None
    try:
        hints = get_type_hints(function)
    except Exception:
        hints = {}
    hints.pop("return", None)
    arguments: Any = getattr(next(iter(hints.values()), None), "__args__", ())
    kind = arguments[1] if len(arguments) == 2 else None
    if isinstance(kind, type):
        try:
            inspect.signature(kind).bind(*(None for _ in parameters))
        except (TypeError, ValueError):
            pass
        else:
            return kind
    raise RegistryError(
        f"{here}: {single.__name__} takes {len(parameters)} arguments, so its batch takes one "
        "object of a class with these fields for each task. Annotate it: dict[str, Item], Item "
        "being a dataclass whose constructor takes the same arguments."
    )
