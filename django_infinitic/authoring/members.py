"""Looking into decorated classes: which attributes are public methods, and what is inherited."""

from __future__ import annotations

import abc
import inspect
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any, Generic, Protocol

from asgiref.sync import iscoroutinefunction
from typing_extensions import Protocol as BackportedProtocol

from django_infinitic.authoring.options import CLASS, METHOD, TASK, ClassOptions
from django_infinitic.authoring.source import place_of_function
from django_infinitic.codec import Signature
from django_infinitic.exceptions import RegistryError
from django_infinitic.registry import TaskSpec

_FOUNDATIONS = {object, abc.ABC, Generic, Protocol, BackportedProtocol}


def lineage(cls: type, *, below: type | None = None) -> list[type]:
    """The class and its bases, nearest first, without those of Python (and `below` and above)."""
    above = set(below.__mro__) if below is not None else set()
    return [base for base in cls.__mro__ if base not in _FOUNDATIONS and base not in above]


def is_contract(cls: type) -> bool:
    """Whether a class can only be stubbed: a Protocol, or one with abstract methods."""
    if getattr(cls, "_is_protocol", False) or inspect.isabstract(cls):
        return True
    return any(
        getattr(value, "__isabstractmethod__", False) for _, _, value in attributes(lineage(cls))
    )


def attributes(bases: list[type]) -> Iterator[tuple[str, type, Any]]:
    """Name, defining class and raw value of each attribute, as look-up finds it; no dunders."""
    seen: set[str] = set()
    for base in bases:
        for name, value in vars(base).items():
            if name in seen or (name.startswith("__") and name.endswith("__")):
                continue
            seen.add(name)
            yield name, base, value


def public_functions(
    cls: type, bases: list[type], *, mine: str, foreign: str
) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The public methods of a class in the order of writing, base classes first.

    `mine` is the mark that decorated ones bear, `foreign` the one that is wrong here.
    """
    found: dict[str, Callable[..., Any]] = {}
    for name, base, value in attributes(bases):
        here = f"{base.__qualname__}.{name}"
        if not isinstance(value, FunctionType):
            inside = getattr(value, "__func__", None) or getattr(value, "fget", None)
            if inside is not None and (hasattr(inside, mine) or hasattr(inside, foreign)):
                raise RegistryError(
                    f"{here} ({place_of_function(inside)}) is decorated, but a "
                    f"{type(value).__name__} is no {_noun(mine)}. Make it an ordinary method."
                )
            continue
        if isinstance(getattr(value, "__infinitic__", None), TaskSpec):
            raise RegistryError(
                f"{here} is the function task {value.__name__}, which would be called with self. "
                f"Call {value.__name__}(...) itself, or wrap it: staticmethod({value.__name__})."
            )
        if hasattr(value, foreign):
            raise RegistryError(
                f"{here} ({place_of_function(value)}) is decorated with {_decorator(foreign)}; "
                f"here it is {_decorator(mine)}."
            )
        if name.startswith("_"):
            if hasattr(value, mine):
                raise RegistryError(
                    f"{here} ({place_of_function(value)}) is decorated with {_decorator(mine)}, "
                    f"but a private name is no {_noun(mine)}. Remove the underscore."
                )
            continue
        if inspect.isgeneratorfunction(value) or inspect.isasyncgenfunction(value):
            raise RegistryError(
                f"{here} ({place_of_function(value)}) is a generator; a {_noun(mine)} returns its "
                "result. Return a list, or make its name private."
            )
        found[name] = value
    order = [name for base in reversed(bases) for name in vars(base) if name in found]
    for name in dict.fromkeys(order):
        yield name, found[name]


def declarations(bases: list[type], name: str, mark: str) -> Iterator[Any]:
    """The options left on a method and on those that it overrides, nearest first."""
    for base in bases:
        options = getattr(vars(base).get(name), mark, None)
        if options is not None:
            yield options


def class_declarations(bases: list[type]) -> Iterator[ClassOptions]:
    """The options of a decorated class and of its decorated bases, nearest first."""
    for base in bases:
        options = vars(base).get(CLASS)
        if options is not None:
            yield options


def check_constructor(cls: type, place: str) -> None:
    """Services and workflows are made by the engine, which has no arguments for them."""
    constructor = cls.__init__  # type: ignore[misc]
    if constructor is object.__init__:
        return
    try:
        inspect.signature(constructor).bind(None)
    except TypeError as error:
        raise RegistryError(
            f"{place}: {cls.__qualname__}.__init__ needs arguments ({error}), but the engine makes "
            "instances without any. Give them defaults."
        ) from None
    except ValueError:  # a builtin without a signature
        return


def checked_signature(
    function: Callable[..., Any], *, owner: str, name: str, bound: bool
) -> Signature:
    """How arguments and result are stored; a Django model among them is a `RegistryError`."""
    if bound and not inspect.signature(function).parameters:
        raise RegistryError(
            f"{function.__qualname__} ({place_of_function(function)}) takes no self. Write "
            f"def {function.__name__}(self), or make it a staticmethod."
        )
    signature = Signature(function, owner=owner, name=name, bound=bound)
    try:
        signature.check()
    except RegistryError as error:
        raise RegistryError(f"{place_of_function(function)}: {error}") from None
    return signature


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine."""
    return bool(iscoroutinefunction(function))


def _noun(mark: str) -> str:
    return "task" if mark == TASK else "method"


def _decorator(mark: str) -> str:
    return {TASK: "@task", METHOD: "@workflow_method"}[mark]
