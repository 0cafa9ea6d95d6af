"""Attributes of a workflow that are rebuilt, not saved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from django_infinitic.exceptions import UsageError

T = TypeVar("T")


class Transient(Generic[T]):
    """What `transient()` leaves in a class body; `Workflow` replaces it by what `factory` makes.

    No descriptor: an assignment to the attribute of an instance simply wins.
    """

    __slots__ = ("attribute", "factory", "owner")

    def __init__(self, factory: Callable[[], T]) -> None:
        self.factory = factory
        self.attribute = ""
        self.owner = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.attribute = name
        self.owner = owner.__name__

    def __repr__(self) -> str:
        return f"transient({getattr(self.factory, '__qualname__', self.factory)!s})"


def transient(factory: Callable[[], T]) -> T:
    """A class attribute that is not saved: made by `factory()` for each running method. (F060)

    Typed as what the factory gives: `http = transient(httpx.Client)`.
    """
    if not callable(factory):
        raise UsageError(
            f"transient({factory!r}): give something that makes the value: transient(list), "
            "transient(lambda: Client(timeout=3))."
        )
    made: Any = Transient(factory)
    return cast("T", made)
