"""Deferreds: what a workflow method has asked for and can wait for."""

from __future__ import annotations

import enum
from collections.abc import Coroutine, Generator, Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, TypeVarTuple, overload

from django_infinitic.exceptions import UsageError

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from django_infinitic.authoring.runtime import MethodRun

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")
V = TypeVar("V")
A = TypeVar("A")
B = TypeVar("B")
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")
Ts = TypeVarTuple("Ts")
Node = int | list[Any]


class DeferredStatus(enum.IntEnum):
    """Where a deferred stands (F029)."""

    ONGOING = 0
    COMPLETED = 1
    FAILED = 2
    TIMED_OUT = 3
    CANCELED = 4
    UNKNOWN = 5


class Deferred(Generic[T_co]):
    """A result that may not be there yet; made by `dispatch`, `timer`, `receive` and combinators.

    `node` is its wait tree: a position, or a list of an operator and nodes.
    """

    __slots__ = ("_run", "node")

    def __init__(self, run: MethodRun, node: Node) -> None:
        self._run = run
        self.node = node

    def __repr__(self) -> str:
        return f"<Deferred {self.node}>"

    def __bool__(self) -> bool:
        raise UsageError(
            "A Deferred has no truth value. Ask is_completed(), wait with result(), or combine "
            "deferreds with & and | (not `and` and `or`)."
        )

    @overload
    def result(
        self: Deferred[Coroutine[Any, Any, V]], timeout: float | timedelta | datetime | None = None
    ) -> V: ...
    @overload
    def result(self, timeout: float | timedelta | datetime | None = None) -> T_co: ...
    def result(self, timeout: Any = None) -> Any:
        """Wait for the outcome; its value, or its error raised.

        `timeout`: seconds, a timedelta or an aware datetime; when it passes first,
        `WaitTimedOutError` is raised and the deferred goes on.
        """
        return self._run.wait(self, timeout)

    @overload
    def __await__(self: Deferred[Coroutine[Any, Any, V]]) -> Generator[Any, Any, V]: ...
    @overload
    def __await__(self) -> Generator[Any, Any, T_co]: ...
    def __await__(self) -> Generator[Any, Any, Any]:
        # The fibre suspends below this frame, so nothing is ever yielded to a driver.
        return self._run.wait(self, None)
        yield

    def cancel(self) -> None:
        """Ask for no outcome any more; what has one already is left as it is."""
        self._run.cancel(self)

    @property
    def id(self) -> str | None:
        """Of a task its task id, of a child its workflow id, of a method its id; else None."""
        return self._run.identity(self)

    @property
    def status(self) -> DeferredStatus:
        """Its status now, the same in every replay."""
        return DeferredStatus(self._run.status(self))

    def is_ongoing(self) -> bool:
        """Whether it has no outcome yet."""
        return self.status is DeferredStatus.ONGOING

    def is_completed(self) -> bool:
        """Whether it has a value; of a receive, whether the next wait would not have to wait."""
        return self.status is DeferredStatus.COMPLETED

    def is_failed(self) -> bool:
        """Whether it failed."""
        return self.status is DeferredStatus.FAILED

    def is_timed_out(self) -> bool:
        """Whether its total timeout passed."""
        return self.status is DeferredStatus.TIMED_OUT

    def is_canceled(self) -> bool:
        """Whether it was canceled."""
        return self.status is DeferredStatus.CANCELED

    def is_unknown(self) -> bool:
        """Whether it was sent to an instance that does not run."""
        return self.status is DeferredStatus.UNKNOWN

    def __and__(self, other: Deferred[U]) -> AllOf[T_co, U]:
        return AllOf(self._run, combine("&", [self, other]))

    def __or__(self, other: Deferred[U]) -> Deferred[T_co | U]:
        return Deferred(self._run, combine("|", [self, other]))


class AllOf(Deferred[tuple[*Ts]], Generic[*Ts]):
    """What `&` gives: all values, in written order (a list at run time)."""

    __slots__ = ()

    def __and__(self, other: Deferred[U]) -> AllOf[*Ts, U]:  # type: ignore[override]
        return AllOf(self._run, combine("&", [self, other]))


def combine(operator: str, deferreds: list[Deferred[Any]]) -> list[Any]:
    """The wait tree of an operator; the same operator nested is flat, a deferred counts once."""
    node: list[Any] = [operator]
    seen: set[int] = set()
    run = None
    for one in deferreds:
        if not isinstance(one, Deferred):
            raise UsageError(f"Only deferreds can be combined, not a {type(one).__name__}.")
        if run is not None and one._run is not run:
            raise UsageError("Only deferreds of the same method run can be combined.")
        run = one._run
        same = isinstance(one.node, list) and one.node[0] == operator and operator != "1"
        for part in one.node[1:] if same and isinstance(one.node, list) else [one.node]:
            if isinstance(part, int):
                if part not in seen:
                    seen.add(part)
                    node.append(part)
            elif part not in node:
                node.append(part)
    return node


def _given(deferreds: tuple[Any, ...]) -> list[Deferred[Any]]:
    if len(deferreds) == 1 and not isinstance(deferreds[0], Deferred):
        if not isinstance(deferreds[0], Iterable):
            raise UsageError(
                f"Deferreds were expected, or one iterable of them, not a "
                f"{type(deferreds[0]).__name__}."
            )
        return list(deferreds[0])
    return list(deferreds)


@overload
def and_(a: Deferred[A], b: Deferred[B], /) -> Deferred[tuple[A, B]]: ...
@overload
def and_(a: Deferred[A], b: Deferred[B], d: Deferred[D], /) -> Deferred[tuple[A, B, D]]: ...
@overload
def and_(
    a: Deferred[A], b: Deferred[B], d: Deferred[D], e: Deferred[E], /
) -> Deferred[tuple[A, B, D, E]]: ...
@overload
def and_(
    a: Deferred[A], b: Deferred[B], d: Deferred[D], e: Deferred[E], f: Deferred[F], /
) -> Deferred[tuple[A, B, D, E, F]]: ...
@overload
def and_(deferreds: Iterable[Deferred[T]], /) -> Deferred[list[T]]: ...
@overload
def and_(*deferreds: Deferred[T]) -> Deferred[list[T]]: ...
def and_(*deferreds: Any) -> Any:
    """All values in written order; the first failure raises. Of nothing: complete with `[]`."""
    return _combined("&", deferreds)


@overload
def or_(deferreds: Iterable[Deferred[T]], /) -> Deferred[T]: ...
@overload
def or_(*deferreds: Deferred[T]) -> Deferred[T]: ...
def or_(*deferreds: Any) -> Any:
    """The first outcome, a failure too."""
    return _combined("|", deferreds)


@overload
def first_success(deferreds: Iterable[Deferred[T]], /) -> Deferred[T]: ...
@overload
def first_success(*deferreds: Deferred[T]) -> Deferred[T]: ...
def first_success(*deferreds: Any) -> Any:
    """The first that completes; raises the last failure when all have failed."""
    return _combined("1", deferreds)


def _combined(operator: str, deferreds: tuple[Any, ...]) -> Deferred[Any]:
    from django_infinitic.authoring import runtime

    names = {"&": "and_", "|": "or_", "1": "first_success"}
    parts = _given(deferreds)
    run = runtime.require(f"{names[operator]}()")
    if not parts and operator != "&":
        raise UsageError(f"{names[operator]}() of nothing would never end: give it deferreds.")
    kind = AllOf if operator == "&" else Deferred
    return kind(run, combine(operator, parts))
