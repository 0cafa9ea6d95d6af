"""Sagas: blocks that undo what was done in them when an exception or a cancel leaves them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from django_infinitic.authoring.deferred import Deferred, DeferredStatus
from django_infinitic.authoring.stub import StubMethod
from django_infinitic.exceptions import Canceled, UsageError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Literal

    from django_infinitic.authoring.runtime import MethodRun

T = TypeVar("T")


class Saga:
    """A context manager; `add` says how to undo what completes.

    When the block is left by an exception or a cancel, waiting attempts of what was added are
    dropped, what runs is waited for, and all that completed is undone, newest first. An undo that
    fails stalls the method where no `except` sees it; a retry goes on from there.
    """

    def __init__(self, run: MethodRun) -> None:
        self._run = run
        self._added: list[tuple[Deferred[Any], Callable[[Any], Any]]] = []
        self._open = False

    def __enter__(self) -> Saga:
        self._open = True
        self._run.open_sagas += 1
        return self

    def add(self, deferred: Deferred[T], undo: Callable[[T], Any]) -> Deferred[T]:
        """Undo with `undo(result)`: a stub method or any callable that takes the result."""
        if not self._open:
            raise UsageError("saga.add() was used outside its block: with self.saga() as saga: ...")
        if not _can_be_added(deferred, undo):
            raise UsageError(
                "saga.add() takes a deferred and a callable that undoes its result, not "
                f"{type(deferred).__name__} and {type(undo).__name__}."
            )
        self._added.append((deferred, undo))
        return deferred

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Literal[False]:
        run = self._run
        self._open = False
        run.open_sagas -= 1
        if error is None or not run.counts_as_leaving(error):
            return False
        with run.shield():
            self._undo()
        # From an inner block the exception goes on; the outermost one gives the held cancel.
        outermost = run.open_sagas == 0 and not isinstance(error, Canceled)
        if outermost and run.canceled_meanwhile():
            raise Canceled from error
        return False

    def _undo(self) -> None:
        run = self._run
        for deferred, _ in self._added:
            run.cancel(deferred)
        run.settle([deferred for deferred, _ in self._added])
        for deferred, undo in reversed(self._added):
            if run.status(deferred) != DeferredStatus.COMPLETED:
                continue
            try:
                value = deferred.result()
                if isinstance(undo, StubMethod):
                    run.call(undo, (value,), {}).result()
                else:
                    undone = undo(value)
                    if hasattr(undone, "__await__"):
                        for _ in undone.__await__():
                            raise UsageError("An undo awaited something else than a deferred.")
            except Exception as failure:
                run.stall(failure)


def _can_be_added(deferred: object, undo: object) -> bool:
    return isinstance(deferred, Deferred) and callable(undo)
