"""All exceptions of django-infinitic, and what is recorded of those of applications.

Waiting raises the family of `DeferredError`, the only one that workflow code should catch. These
are values: they compare by their fields, and `to_json` and `error_from_json` store and read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from .failures import ExceptionInfo, Failure, class_name

__all__ = [
    "Canceled",
    "DatabaseAccessError",
    "DeferredCanceledError",
    "DeferredError",
    "DeferredFailedError",
    "DeferredTimedOutError",
    "DeferredUnknownError",
    "ExceptionInfo",
    "Failure",
    "HumanTaskClosedError",
    "InfiniticError",
    "InlineFailedError",
    "InvalidChannelUsageError",
    "InvalidDurationError",
    "InvalidIdTagSelectionError",
    "InvalidInlineError",
    "InvalidStubError",
    "MultipleCustomIdError",
    "PayloadTooLargeError",
    "RegistryError",
    "SerializationError",
    "StaleHumanTaskError",
    "TaskCanceledError",
    "TaskFailedError",
    "TaskTimedOutError",
    "TaskUnknownError",
    "UnknownChannelError",
    "UnknownMethodError",
    "UnknownServiceError",
    "UnknownTaskError",
    "UnknownWorkflowError",
    "UnknownWorkflowVersionError",
    "UsageError",
    "WaitTimedOutError",
    "WorkflowCanceledError",
    "WorkflowChangedError",
    "WorkflowCodeError",
    "WorkflowFailedError",
    "WorkflowTimedOutError",
    "WorkflowUnknownError",
    "error_from_json",
]

NESTING_LIMIT: Final = 25


class Canceled(BaseException):
    """Raised once, by the wait it stands in, in a workflow method that is being canceled.

    No `Exception`, so that `except Exception` lets it through; `with` and `finally` blocks may
    still call tasks and wait.
    """


class InfiniticError(Exception):
    """Base of all exceptions of this package but `Canceled`."""


# -- what waiting can raise --------------------------------------------------------------------


class DeferredError(InfiniticError):
    """Base of what waiting for a task, a workflow, a message or a time can raise. (F063)"""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, for `error_from_json`."""
        data: dict[str, Any] = {"type": _stored_type(type(self))}
        for name, value in self._values().items():
            if value is not None:
                data[name] = (
                    value.to_json()
                    if isinstance(value, (Failure, DeferredError))
                    else (list(value) if isinstance(value, tuple) else value)
                )
        return data

    def _values(self) -> dict[str, Any]:
        try:
            declared = fields(self)  # type: ignore[arg-type]
        except TypeError:
            return {}
        return {one.name: getattr(self, one.name) for one in declared if one.init}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DeferredError):
            return NotImplemented
        return type(self) is type(other) and self._values() == other._values()

    def __hash__(self) -> int:
        texts = [value for value in self._values().values() if isinstance(value, str)]
        return hash((type(self), *texts))

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={value!r}" for name, value in self._values().items())
        return f"{type(self).__name__}({inside})"

    # Exceptions are copied by `Class(*args)`, which keyword-only constructors do not allow.
    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (type(self), self._values())


def _made(kind: type[DeferredError], values: dict[str, Any]) -> DeferredError:
    return kind(**values)


class DeferredFailedError(DeferredError):
    """Something that was waited for has failed."""


class DeferredTimedOutError(DeferredError):
    """Something that was waited for did not come in time."""


@dataclass(kw_only=True, eq=False, repr=False)
class DeferredCanceledError(DeferredError):
    """Something that was waited for has been canceled: itself raised for timers and receives."""

    message: str = ""

    def __str__(self) -> str:
        return self.message or "what was waited for has been canceled"


class DeferredUnknownError(DeferredError):
    """What was waited for does not exist, or has ended."""


@dataclass(kw_only=True, eq=False, repr=False)
class TaskFailedError(DeferredFailedError):
    """A task failed and its policy allows no further attempt.

    `last_failure` is its last attempt. `declared` holds the stored class name and the encoded
    `args` of an exception that the task declares (`raises=`), for waiters who know the class.
    """

    service_name: str
    task_name: str
    task_id: str
    last_failure: Failure
    declared: tuple[str, str] | None = None

    def caused_by(self, kind: type[BaseException]) -> bool:
        """Whether the task raised this class or a subclass, by recorded names."""
        return self.last_failure.exception.is_a(_checked(kind))

    def __str__(self) -> str:
        attempts = len(self.last_failure.chain())
        after = f" after {attempts} attempts" if attempts > 1 else ""
        return f"{_task(self)} failed{after}: {self.last_failure}"


@dataclass(kw_only=True, eq=False, repr=False)
class WorkflowFailedError(DeferredFailedError):
    """A method of a workflow failed: it is stalled, or has ended by a declared exception.

    `deferred_error` is why; in it may be further ones, down to the task or code that failed.
    """

    workflow_name: str
    workflow_id: str
    method_name: str
    method_id: str
    deferred_error: DeferredError
    declared: tuple[str, str] | None = None

    def caused_by(self, kind: type[BaseException]) -> bool:
        """Whether the class, or a subclass, is found in any of the nested errors."""
        _checked(kind)
        for nested in self._nested():
            if isinstance(nested, kind):
                return True
            failure = getattr(nested, "last_failure", None)
            if isinstance(failure, Failure) and failure.exception.is_a(kind):
                return True
        return False

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, for `error_from_json`; of a very long chain the middle is left out."""
        nested = self._nested()
        inner: DeferredError = nested[-1]
        for outer in reversed(nested[:-1][: NESTING_LIMIT - 2]):
            assert isinstance(outer, WorkflowFailedError)
            inner = _around(outer, inner)
        return super(WorkflowFailedError, _around(self, inner)).to_json()

    def _nested(self) -> list[DeferredError]:
        found = [self.deferred_error]
        while isinstance(found[-1], WorkflowFailedError):
            found.append(found[-1].deferred_error)
        return found

    def __str__(self) -> str:
        return f"{_method(self)} failed: {self.deferred_error}"


def _around(outer: WorkflowFailedError, inner: DeferredError) -> WorkflowFailedError:
    if inner is outer.deferred_error:
        return outer
    return WorkflowFailedError(
        workflow_name=outer.workflow_name,
        workflow_id=outer.workflow_id,
        method_name=outer.method_name,
        method_id=outer.method_id,
        deferred_error=inner,
        declared=outer.declared,
    )


@dataclass(kw_only=True, eq=False, repr=False)
class WorkflowCodeError(DeferredFailedError):
    """The workflow's own code raised. Mend it, then retry the workflow. (F067)"""

    workflow_name: str
    workflow_id: str
    last_failure: Failure

    def caused_by(self, kind: type[BaseException]) -> bool:
        """Whether the code raised this class or a subclass, by recorded names."""
        return self.last_failure.exception.is_a(_checked(kind))

    def __str__(self) -> str:
        return (
            f"the code of workflow {self.workflow_name} ({self.workflow_id}) raised "
            f"{self.last_failure}"
        )


@dataclass(kw_only=True, eq=False, repr=False)
class InlineFailedError(DeferredFailedError):
    """What was called by `self.inline(...)` raised. (F028)"""

    last_failure: Failure

    def caused_by(self, kind: type[BaseException]) -> bool:
        """Whether the callable raised this class or a subclass, by recorded names."""
        return self.last_failure.exception.is_a(_checked(kind))

    def __str__(self) -> str:
        return f"inline code raised {self.last_failure}"


@dataclass(kw_only=True, eq=False, repr=False)
class TaskTimedOutError(DeferredTimedOutError):
    """The `total_timeout` of a task passed, or a human task expired. (F068)"""

    service_name: str
    task_name: str
    task_id: str

    def __str__(self) -> str:
        return f"{_task(self)} has not ended in time"


@dataclass(kw_only=True, eq=False, repr=False)
class WorkflowTimedOutError(DeferredTimedOutError):
    """The `total_timeout` of a workflow method passed while it was waited for. (F068)"""

    workflow_name: str
    workflow_id: str
    method_name: str
    method_id: str

    def __str__(self) -> str:
        return f"{_method(self)} has not ended in time"


@dataclass(kw_only=True, eq=False, repr=False)
class WaitTimedOutError(DeferredTimedOutError, TimeoutError):
    """The `timeout` of a wait passed; what was waited for goes on."""

    message: str = ""

    def __str__(self) -> str:
        return self.message or "the wait timed out"


@dataclass(kw_only=True, eq=False, repr=False)
class TaskCanceledError(DeferredCanceledError):
    """A task was canceled, or a human task withdrawn, perhaps with a `reason`."""

    message: str = field(default="", init=False)
    service_name: str
    task_name: str
    task_id: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{_task(self)} was canceled" + (f": {self.reason}" if self.reason else "")


@dataclass(kw_only=True, eq=False, repr=False)
class WorkflowCanceledError(DeferredCanceledError):
    """A workflow, or a method of one, was canceled."""

    message: str = field(default="", init=False)
    workflow_name: str
    workflow_id: str
    method_name: str
    method_id: str

    def __str__(self) -> str:
        return f"{_method(self)} was canceled"


@dataclass(kw_only=True, eq=False, repr=False)
class TaskUnknownError(DeferredUnknownError):
    """A task that does not exist, or has ended."""

    service_name: str
    task_name: str
    task_id: str

    def __str__(self) -> str:
        return f"{_task(self)} does not exist or has ended"


@dataclass(kw_only=True, eq=False, repr=False)
class WorkflowUnknownError(DeferredUnknownError):
    """A workflow that was never started, or has ended."""

    workflow_name: str
    workflow_id: str
    method_name: str
    method_id: str

    def __str__(self) -> str:
        if not self.method_name:
            return f"workflow {self.workflow_name} ({self.workflow_id}) does not run"
        return f"{_method(self)} cannot be reached: no such workflow runs, or the method is unknown"


_STORED: Final[dict[str, type[DeferredError]]] = {
    kind.__name__: kind
    for kind in (
        DeferredCanceledError,
        InlineFailedError,
        TaskCanceledError,
        TaskFailedError,
        TaskTimedOutError,
        TaskUnknownError,
        WaitTimedOutError,
        WorkflowCanceledError,
        WorkflowCodeError,
        WorkflowFailedError,
        WorkflowTimedOutError,
        WorkflowUnknownError,
    )
}


def error_from_json(data: Mapping[str, Any]) -> DeferredError:
    """The inverse of `DeferredError.to_json`. The type comes from a closed table, never an import.

    Unknown keys are ignored, so that a later release may add some. Raises `SerializationError`.
    """
    try:
        kind = _STORED[data["type"]]
        values: dict[str, Any] = {}
        for one in fields(kind):  # type: ignore[arg-type]
            if one.init and one.name in data:
                values[one.name] = _read(one.name, data[one.name])
        return kind(**values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SerializationError(
            f"This is not a recorded error: {type(error).__name__}: {error}. It was written by a "
            "newer release, or not by this package."
        ) from error


def _read(name: str, value: Any) -> Any:
    if name == "last_failure":
        return Failure.from_json(value)
    if name == "deferred_error":
        return error_from_json(value)
    if name == "declared":
        stored_name, payload = value
        return (str(stored_name), str(payload))
    if not isinstance(value, str):
        raise TypeError(f"{name} is a {type(value).__name__}, not text")
    return value


def _stored_type(kind: type[DeferredError]) -> str:
    for base in kind.__mro__:
        if _STORED.get(base.__name__) is base:
            return base.__name__
    raise SerializationError(f"{class_name(kind)} is a family of errors and cannot be stored.")


def _checked(kind: Any) -> type[BaseException]:
    if not (isinstance(kind, type) and issubclass(kind, BaseException)):
        raise TypeError(f"caused_by() takes an exception class, not {kind!r}")
    return kind


def _task(error: Any) -> str:
    return f"task {error.service_name}.{error.task_name} ({error.task_id})"


def _method(error: Any) -> str:
    return f"method {error.method_name} of workflow {error.workflow_name} ({error.workflow_id})"


# -- wrong calls -------------------------------------------------------------------------------


class UsageError(InfiniticError):
    """A call that cannot be meant. Its text says what to write instead."""


class InvalidStubError(UsageError):
    """Something that is no stub, or no method of one, was given where one is needed."""


class InvalidIdTagSelectionError(UsageError):
    """A stub that addresses one instance was given where one by tag is needed. (F127)"""


class InvalidInlineError(UsageError):
    """A stub, a wait or another command of the workflow was used inside `inline`. (F028)"""


class InvalidChannelUsageError(UsageError):
    """A channel was used where it cannot be: received from a stub, or sent to no instance."""


class InvalidDurationError(UsageError, ValueError):
    """Neither a `timedelta` nor a number of seconds, or one that cannot be meant."""


class MultipleCustomIdError(UsageError):
    """A stub was given two custom ids."""


class DatabaseAccessError(UsageError):
    """The database was used in workflow code, outside `inline`."""


class HumanTaskClosedError(UsageError):
    """A human task that has been closed already; the text says how, by whom and when."""


class StaleHumanTaskError(UsageError):
    """A human task has changed since it was shown."""


class WorkflowChangedError(InfiniticError):
    """A replay met other commands than the recorded ones: the code changed under an instance."""


class SerializationError(InfiniticError):
    """A value that cannot be stored as it is annotated, or that cannot be read any more."""


class PayloadTooLargeError(SerializationError):
    """A value larger than the setting `PAYLOAD_LIMIT`."""


class RegistryError(InfiniticError):
    """A name that is wrong, taken or missing among the registered services and workflows."""


class UnknownServiceError(RegistryError):
    """No service is registered here under this name."""


class UnknownTaskError(RegistryError):
    """The service has no task of this name."""


class UnknownWorkflowError(RegistryError):
    """No workflow is registered here under this name."""


class UnknownWorkflowVersionError(RegistryError):
    """The workflow is registered here, but not in this version."""


class UnknownMethodError(RegistryError):
    """The workflow has no method of this name."""


class UnknownChannelError(RegistryError):
    """The workflow has no channel of this name."""
