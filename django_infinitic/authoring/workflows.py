"""Making workflows of decorated classes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final

from django_infinitic.authoring.channel import Channel
from django_infinitic.authoring.members import (
    attributes,
    check_constructor,
    checked_signature,
    class_declarations,
    declarations,
    is_async,
    is_contract,
    lineage,
    public_functions,
)
from django_infinitic.authoring.naming import check_name, default_name
from django_infinitic.authoring.options import (
    CLASS,
    METHOD,
    TASK,
    UNSET,
    ClassOptions,
    MethodOptions,
    given,
    merged,
)
from django_infinitic.authoring.source import place_of_function
from django_infinitic.authoring.transient import Transient
from django_infinitic.authoring.workflow import Workflow
from django_infinitic.codec import ValueCodec, property_codecs
from django_infinitic.exceptions import RegistryError
from django_infinitic.registry import MethodSpec, TaskSpec, WorkflowSpec, registry

MUTABLE: Final = (list, dict, set, bytearray)


def declare_workflow(cls: type, version: int, options: ClassOptions, place: str) -> None:
    """Register a class as a version of a workflow: its public methods can be run."""
    contract = is_contract(cls)
    if not contract and not issubclass(cls, Workflow):
        raise RegistryError(
            f"{place}: {cls.__qualname__} is decorated with @workflow, but derives from no "
            f"Workflow. Write class {cls.__name__}(Workflow):"
        )
    bases = lineage(cls, below=Workflow)
    _check_attributes(cls, bases)
    if not contract:
        check_constructor(cls, place)
    inherited = merged(iter([options, *class_declarations(bases[1:])]), ClassOptions())
    name = inherited.name
    if name is UNSET:
        name = default_name(cls.__module__, cls.__name__, place)
    channels = _channels(cls, bases)
    methods: dict[str, MethodSpec] = {}
    by_attribute: dict[str, MethodSpec] = {}
    for attribute, function in public_functions(cls, bases, mine=METHOD, foreign=TASK):
        chosen = merged(declarations(bases, attribute, METHOD), MethodOptions())
        spec = _method_spec(cls, name, attribute, function, chosen, inherited)
        if spec.name in methods:
            raise RegistryError(
                f"{cls.__qualname__} has two methods named {spec.name!r}: "
                f"{methods[spec.name].attribute} ({methods[spec.name].place}) and {attribute} "
                f'({spec.place}). Give one of them another: @workflow_method(name="...").'
            )
        methods[spec.name] = by_attribute[attribute] = spec
    registry.add_workflow(
        WorkflowSpec(
            name=name,
            version=version,
            cls=cls,
            methods=MappingProxyType(methods),
            by_attribute=MappingProxyType(by_attribute),
            channels=MappingProxyType(channels),
            properties=MappingProxyType(_properties(cls, bases)),
            transients=MappingProxyType(
                {
                    attribute: value.factory
                    for attribute, _, value in attributes(bases)
                    if isinstance(value, Transient)
                }
            ),
            contract=contract,
            raises=given(inherited.raises, ()),
            check_mode=given(inherited.check_mode, "simple"),
            retry=given(inherited.retry, None),
            total_timeout=given(inherited.total_timeout, None),
            on_end=given(inherited.on_end, None),
            on_stall=given(inherited.on_stall, None),
            place=place,
        )
    )
    # Only now: a class that was refused must not give its options to a subclass.
    setattr(
        cls,
        CLASS,
        ClassOptions(
            name=name,
            **{one: getattr(options, one) for one in ClassOptions.__slots__ if one != "name"},
        ),
    )


def listener(value: Any, place: str, what: str) -> TaskSpec | None:
    """`on_end=` and `on_stall=`: a function task or a method of a service that takes one value."""
    if value is None:
        return None
    try:
        spec = registry.task_of(value)
    except RegistryError as error:
        raise RegistryError(
            f"{place}: {what}= takes a function task or a service's method: {error}"
        ) from None
    try:
        inspect.signature(spec.function).bind(*([None] if spec.owner else []), None)
    except TypeError:
        raise RegistryError(
            f"{place}: {what}={spec.service}.{spec.name} must take one argument, a WorkflowEnd."
        ) from None
    return spec


def _properties(cls: type, bases: list[type]) -> dict[str, ValueCodec]:
    """The codecs of what is annotated in class bodies; they are made when first used."""
    written = {name for base in bases for name in inspect.get_annotations(base)}
    other = {name for name, _, value in attributes(bases) if isinstance(value, Channel | Transient)}
    return {
        name: codec
        for name, codec in property_codecs(cls).items()
        if name in written and name not in other
    }


def _check_attributes(cls: type, bases: list[type]) -> None:
    reserved = {
        name for name in vars(Workflow) if not (name.startswith("__") and name.endswith("__"))
    }
    for base in bases:
        for name in [*vars(base), *inspect.get_annotations(base)]:
            if name in reserved and issubclass(cls, Workflow):
                raise RegistryError(
                    f"{base.__qualname__}.{name} hides Workflow.{name}, which workflow code needs. "
                    "Give the attribute another name"
                    + (
                        f'; to keep its stored name: @workflow_method(name="{name}").'
                        if callable(vars(base).get(name))
                        else "."
                    )
                )
    for name, base, value in attributes(bases):
        if isinstance(value, MUTABLE):
            kind = type(value).__name__
            raise RegistryError(
                f"{base.__qualname__}.{name} is a mutable class attribute ({kind}), which all "
                "instances of the worker would share. Annotate it in the class body and set it in "
                f"__init__, so that it is a property: {name}: {kind}; def __init__(self): "
                f"self.{name} = ... If it is not to be saved: {name} = transient(lambda: ...). A "
                "constant is a tuple or a frozenset."
            )


def _channels(cls: type, bases: list[type]) -> dict[str, Channel[Any]]:
    found: dict[str, Channel[Any]] = {}
    names: dict[str, str] = {}
    for attribute, base, value in attributes(bases):
        if not isinstance(value, Channel):
            continue
        here = f"{base.__qualname__}.{attribute}"
        name = check_name(value.name, here, "Channel(name)")
        if name in names:
            raise RegistryError(
                f"{cls.__qualname__} has two channels named {name!r}: {names[name]} and "
                f"{attribute}. Give one of them another: Channel(..., name=...)."
            )
        names[name] = attribute
        found[attribute] = value
    return found


def _method_spec(
    cls: type,
    workflow: str,
    attribute: str,
    function: Callable[..., Any],
    options: MethodOptions,
    inherited: ClassOptions,
) -> MethodSpec:
    name = given(options.name, attribute)
    signature = checked_signature(function, owner=workflow, name=name, bound=True)
    return MethodSpec(
        name=name,
        attribute=attribute,
        function=function,
        signature=signature,
        raises=given(options.raises, given(inherited.raises, ())),
        total_timeout=given(options.total_timeout, given(inherited.total_timeout, None)),
        check_mode=given(options.check_mode, given(inherited.check_mode, "simple")),
        is_async=is_async(function),
        place=place_of_function(function),
    )
