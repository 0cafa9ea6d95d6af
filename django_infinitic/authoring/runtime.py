"""Which method run, if any, the present code belongs to.

The fibres set it while workflow code runs; every authoring primitive, the client and the database
guard ask here, so that the answer is the same everywhere.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from django_infinitic.exceptions import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from random import Random
    from uuid import UUID

    from django_infinitic.authoring.channel import Channel
    from django_infinitic.authoring.deferred import Deferred
    from django_infinitic.authoring.stub import StubChannel, StubMethod
    from django_infinitic.authoring.workflow import WorkflowContext


class MethodRun(Protocol):
    """What authoring primitives ask of the method run they are used in; the fibres implement it."""

    context: WorkflowContext
    random: Random
    class_name: str
    method_attribute: str
    open_sagas: int

    def call(self, method: StubMethod, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any: ...
    def timer(self, when: Any) -> Deferred[datetime]: ...
    def receive(
        self, channel: Channel[Any], limit: int | None, of: type | None, jsonpath: str | None
    ) -> Deferred[Any]: ...
    def send(self, to: Channel[Any] | StubChannel, obj: Any, key: str | None) -> None: ...
    def clear(self, channel: Channel[Any]) -> None: ...
    def wait(self, deferred: Deferred[Any], timeout: Any = None) -> Any: ...
    def settle(self, deferreds: list[Deferred[Any]]) -> None: ...
    def status(self, deferred: Deferred[Any]) -> int: ...
    def identity(self, deferred: Deferred[Any]) -> str | None: ...
    def cancel(self, deferred: Deferred[Any]) -> None: ...
    def inline(
        self, function: Callable[..., Any], args: Any, kwargs: Any, checkpoint: bool
    ) -> Any: ...
    def patched(self, name: str) -> bool: ...
    def now(self) -> datetime: ...
    def uuid4(self) -> UUID: ...
    def replaying(self) -> bool: ...
    def counts_as_leaving(self, error: BaseException) -> bool: ...
    def canceled_meanwhile(self) -> bool: ...
    def shield(self) -> contextlib.AbstractContextManager[None]: ...
    def stall(self, error: BaseException) -> NoReturn: ...


class _Local(threading.local):
    run: MethodRun | None = None
    inline: bool = False


_local = _Local()


def current() -> MethodRun | None:
    """The method run whose code runs now; None outside workflow code and inside `inline`."""
    return None if _local.inline else _local.run


def present() -> MethodRun | None:
    """The method run whose code runs now, inside `inline` too."""
    return _local.run


def require(what: str, *, inline: bool = False) -> MethodRun:
    """The present method run, or a `UsageError` that says where `what` may be used."""
    if _local.run is not None and _local.inline:
        if inline:
            return _local.run
        from django_infinitic.exceptions import InvalidInlineError

        raise InvalidInlineError(
            f"{what} was used inside inline(). The code in inline() runs once and may neither "
            "command nor wait: move it out of inline()."
        )
    run = current()
    if run is None:
        raise UsageError(f"{what} can be used only while a workflow method runs.")
    return run


def refuse_in_inline(what: str) -> None:
    """Raise `InvalidInlineError` when called inside `inline()`."""
    if _local.run is not None and _local.inline:
        require(what)


def in_inline() -> bool:
    """Whether the present code runs inside `inline()`."""
    return _local.run is not None and _local.inline


def enter(run: MethodRun) -> tuple[MethodRun | None, bool]:
    """Mark the present thread as running workflow code of `run`; `leave` takes what this gives."""
    before = _local.run, _local.inline
    _local.run, _local.inline = run, False
    return before


def leave(before: tuple[MethodRun | None, bool]) -> None:
    """The reverse of `enter`."""
    _local.run, _local.inline = before


@contextlib.contextmanager
def running(run: MethodRun | None) -> Iterator[None]:
    """Mark the present thread as running workflow code of `run` (None: ordinary code)."""
    before = _local.run, _local.inline
    _local.run, _local.inline = run, False
    try:
        yield
    finally:
        _local.run, _local.inline = before


@contextlib.contextmanager
def inlining() -> Iterator[None]:
    """Mark what runs as the body of `inline()`."""
    before = _local.inline
    _local.inline = True
    try:
        yield
    finally:
        _local.inline = before
