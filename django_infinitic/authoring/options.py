"""What decorators leave on functions, until the decorated class is registered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Final, TypeVar

from django_infinitic.authoring.policy import check_retry, duration_seconds
from django_infinitic.exceptions import DeferredError, InvalidDurationError, RegistryError

TASK: Final = "__infinitic_task__"
METHOD: Final = "__infinitic_method__"
BATCH: Final = "__infinitic_batch__"
CLASS: Final = "__infinitic_class__"

CHECK_MODES: Final = ("none", "simple", "strict")


class _Unset:
    """Stands for an option that was not given, where None means something."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final[Any] = _Unset()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """The options of `@task`, checked; UNSET where they are inherited."""

    name: Any = UNSET
    raises: Any = UNSET
    attempt_timeout: Any = UNSET
    timeout_grace: Any = UNSET
    total_timeout: Any = UNSET
    retry: Any = UNSET
    atomic: Any = UNSET
    delegated: Any = UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodOptions:
    """The options of `@workflow_method`, checked; UNSET where they are inherited."""

    name: Any = UNSET
    raises: Any = UNSET
    total_timeout: Any = UNSET
    check_mode: Any = UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassOptions:
    """The options of `@service` and `@workflow`, checked; UNSET where they are inherited."""

    name: Any = UNSET
    raises: Any = UNSET
    check_mode: Any = UNSET
    retry: Any = UNSET
    total_timeout: Any = UNSET
    on_end: Any = UNSET
    on_stall: Any = UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """The options of `@batch`, checked."""

    single: Callable[..., Any]
    max_size: int
    max_seconds: float


O = TypeVar("O", TaskOptions, MethodOptions, ClassOptions)  # noqa: E741


def merged(nearest_first: Iterator[O], nothing: O) -> O:
    """Each option from the nearest declaration that gives it."""
    values = {one.name: UNSET for one in fields(nothing)}
    for options in nearest_first:
        for name, value in values.items():
            if value is UNSET:
                values[name] = getattr(options, name)
    return type(nothing)(**values)


def given(value: Any, default: Any) -> Any:
    """The option, or its default when no declaration gives it."""
    return default if value is UNSET else value


def check_raises(value: Any, place: str) -> tuple[type[Exception], ...]:
    """`raises=`: exception classes of the application."""
    if isinstance(value, type):
        raise RegistryError(
            f"{place}: raises={value.__name__} is one class; write raises=({value.__name__},)."
        )
    try:
        kinds = tuple(value)
    except TypeError:
        raise RegistryError(
            f"{place}: raises={value!r} must be a tuple of exception classes."
        ) from None
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise RegistryError(f"{place}: raises= names {kind!r}, which is no Exception class.")
        if issubclass(kind, DeferredError):
            raise RegistryError(
                f"{place}: raises= names {kind.__name__}, which only the engine raises. Declare an "
                "exception of your own, and raise that from it."
            )
    return tuple(dict.fromkeys(kinds))


def check_duration(value: Any, place: str, what: str) -> float:
    """A duration of more than 0, in seconds."""
    try:
        return duration_seconds(value, what, positive=True)
    except InvalidDurationError as error:
        raise RegistryError(f"{place}: {error}") from None


def check_optional_duration(value: Any, place: str, what: str) -> float | None:
    """A duration of more than 0, in seconds, or None."""
    return None if value is None else check_duration(value, place, what)


def check_grace(value: Any, place: str) -> float:
    """`timeout_grace=`: a duration of 0 or more, in seconds."""
    try:
        seconds = duration_seconds(value, "timeout_grace")
    except InvalidDurationError as error:
        raise RegistryError(f"{place}: {error}") from None
    if seconds < 0:
        raise RegistryError(f"{place}: timeout_grace must be 0 or more, not {value!r}.")
    return seconds


def check_policy(value: Any, place: str) -> Any:
    """`retry=`: a policy, a callable or None."""
    problem = check_retry(value)
    if problem:
        raise RegistryError(f"{place}: {problem}")
    return value


def check_check_mode(value: Any, place: str) -> Any:
    """`check_mode=`: one of the three."""
    if value not in CHECK_MODES:
        raise RegistryError(
            f"{place}: check_mode={value!r}; it is one of {', '.join(map(repr, CHECK_MODES))}."
        )
    return value


def check_flag(value: Any, place: str, what: str, *, optional: bool = False) -> Any:
    """A bool, or None where that is one of the choices."""
    if isinstance(value, bool) or (optional and value is None):
        return value
    choices = "True, False or None" if optional else "True or False"
    raise RegistryError(f"{place}: {what}={value!r}; it is {choices}.")


def check_number(value: Any, place: str, what: str, *, least: int) -> int:
    """An int from `least` up."""
    if type(value) is not int or value < least:
        raise RegistryError(f"{place}: {what}={value!r}; it is an int from {least} up.")
    return value
