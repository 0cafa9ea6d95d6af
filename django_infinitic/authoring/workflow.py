"""The base class of workflows: what their methods can use."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from uuid import UUID

from django_infinitic.authoring import runtime
from django_infinitic.authoring.saga import Saga
from django_infinitic.authoring.stub import Own, StubMethod, stub_method_of
from django_infinitic.authoring.transient import Transient
from django_infinitic.exceptions import InvalidStubError, UsageError
from django_infinitic.registry import registry

if TYPE_CHECKING:
    from django_infinitic.authoring.deferred import Deferred

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowContext:
    """Which instance and method the code runs for."""

    workflow_id: str
    workflow_name: str
    version: int
    method_id: str
    method_name: str
    tags: frozenset[str]
    meta: Mapping[str, str | bytes]


class _SilentWhileReplaying(logging.LoggerAdapter[logging.Logger]):
    """Tells each line once: a replay has told it before."""

    def isEnabledFor(self, level: int) -> bool:
        run = runtime.current()
        if run is not None and run.replaying():
            return False
        return super().isEnabledFor(level)


class Workflow:
    """Base of all workflows. Its public names are all that it takes from application attributes."""

    __slots__ = ("__dict__", "__weakref__", "_infinitic_run")
    _infinitic_run: runtime.MethodRun | None

    @property
    def context(self) -> WorkflowContext:
        """Ids, names, tags and meta of the running method."""
        return self._infinitic("context", inline=True).context

    @property
    def random(self) -> Random:
        """A random source of this method run, the same in every replay."""
        return self._infinitic("random").random

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger named `<module>.<Class>`, silent while the method is replayed."""
        name = f"{type(self).__module__}.{type(self).__qualname__}"
        return _SilentWhileReplaying(logging.getLogger(name), {})

    def dispatch(self, method: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Deferred[R]:
        """Ask for a task, a child or a method, and go on at once."""
        run = self._infinitic("dispatch()")
        dispatched: Deferred[R] = run.call(stub_method_of(method), args, kwargs)
        return dispatched

    def timer(self, when: float | timedelta | datetime) -> Deferred[datetime]:
        """A deferred that completes after a duration, or at an aware datetime (F035)."""
        return self._infinitic("timer()").timer(when)

    def sleep(self, when: float | timedelta | datetime) -> None:
        """Wait for a duration, or until an aware datetime."""
        self.timer(when).result()

    def inline(
        self, function: Callable[..., R], /, *args: Any, checkpoint: bool = False, **kwargs: Any
    ) -> R:
        """Run something impure once; its value is recorded and given back in replays (F028).

        With `checkpoint=True` the record is committed before the next line runs. What the function
        raises comes as `InlineFailedError`.
        """
        result: R = self._infinitic("inline()").inline(function, args, kwargs, checkpoint)
        return result

    def now(self) -> datetime:
        """The recorded time of the present step, aware, in UTC."""
        return self._infinitic("now()", inline=True).now()

    def uuid4(self) -> UUID:
        """A random UUID, the same in every replay."""
        return self._infinitic("uuid4()").uuid4()

    def saga(self) -> Saga:
        """A block whose completed deferreds are undone when an exception or a cancel leaves it."""
        return Saga(self._infinitic("saga()"))

    def human_task(self, question: Any) -> Deferred[Any]:
        """Ask people; the deferred completes with their decision."""
        run = self._infinitic("human_task()")
        ask = registry.hooks.require("human_task")
        asked: Deferred[Any] = ask(run, question)
        return asked

    def _infinitic(self, what: str, *, inline: bool = False) -> runtime.MethodRun:
        """The method run of this very object, which must be the one that runs now.

        `inline`: it may be asked inside `inline()` too, as it neither commands nor waits.
        """
        run = runtime.require(f"{type(self).__name__}.{what}", inline=inline)
        mine: object = getattr(self, "_infinitic_run", None)
        if mine is not run:
            raise UsageError(
                f"{type(self).__name__}.{what} was used on another object than the running one."
            )
        return run


def _own_method(owner: object, method: Any) -> StubMethod | None:
    """`self.review` handed to `dispatch`: another method of the same instance."""
    if not isinstance(owner, Workflow) or getattr(owner, "_infinitic_run", None) is None:
        return None
    if owner._infinitic_run is not runtime.current():
        return None
    spec = registry.workflow_of(type(owner))
    found = spec.by_attribute.get(method.__name__)
    if found is None:
        raise InvalidStubError(
            f"dispatch() got self.{method.__name__}, which is no public method of {spec.name}."
        )
    return StubMethod(Own(spec=spec), found)


registry.hooks.own_method = _own_method


def transient_value(workflow: Workflow, found: Transient[Any], name: str) -> Any:
    """The value of a transient attribute, made at its first use in a method run."""
    value = found.factory()
    workflow.__dict__[name] = value
    return value


def is_coroutine(value: object) -> bool:
    """Whether a method gave a coroutine that is still to be driven."""
    return isinstance(value, Coroutine)
