"""Where the client stands: its store, who waits for it, and where it may not be used."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from django_infinitic.authoring import runtime
from django_infinitic.exceptions import UsageError
from django_infinitic.storages.base import ClientStore


class Surroundings(Protocol):
    """What the client acts on: the project's store, or a test environment."""

    def store(self) -> ClientStore: ...
    def now(self) -> int: ...
    def wait(self, done: Callable[[], bool], timeout: float | None) -> bool: ...
    def parts(self) -> int: ...
    def result_timeout(self) -> float | None: ...
    def saw_failure(self, instance: str) -> None: ...


_stack: list[Surroundings] = []


def enter(surroundings: Surroundings) -> None:
    """A test environment opens: the client acts in it until `leave`."""
    _stack.append(surroundings)


def leave(surroundings: Surroundings) -> None:
    """The reverse of `enter`."""
    _stack.remove(surroundings)


def surroundings() -> Surroundings:
    """The innermost test environment, or the project's own store."""
    if _stack:
        return _stack[-1]
    return _project()


def _project() -> Surroundings:
    from django_infinitic.client.project import project

    return project


def refuse_in_workflow(what: str) -> None:
    """Acting through the client in workflow code would not be recorded."""
    if runtime.current() is not None:
        raise UsageError(
            f"client.{what}() was used in workflow code, where it would not be recorded. Use a "
            "stub (new_workflow(), get_workflow_by_id()), self.dispatch(), or do it in a task."
        )


def micros() -> int:
    """The time of the surroundings, in microseconds since 1970."""
    return surroundings().now()


def wall() -> int:
    """The time of this machine, in microseconds since 1970."""
    return time.time_ns() // 1000
