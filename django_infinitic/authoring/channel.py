"""Channels: queues of an instance that other code puts messages in."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from django_infinitic.authoring import runtime
from django_infinitic.codec import MISSING, Place, ValueCodec, codec_for
from django_infinitic.exceptions import InvalidChannelUsageError, UsageError

if TYPE_CHECKING:
    from django_infinitic.authoring.deferred import Deferred

T = TypeVar("T")
S = TypeVar("S")


class Channel(Generic[T]):
    """A queue of messages of one type: `changed = Channel(str)` or `Channel[str | int]()`.

    `name` is its stored name (default: the attribute). With `buffer=False` a message that matches
    no open receive is discarded after each step (F041-F043).
    """

    attribute: str = ""

    def __init__(
        self, type: builtins.type[T] | None = None, *, name: str | None = None, buffer: bool = True
    ) -> None:
        if name is not None and not _is_text(name):
            raise UsageError(f"Channel(name={name!r}): the name must be a text.")
        self._type: Any = MISSING if type is None else type
        self._given_name = name
        self._codec: ValueCodec | None = None
        self.owner = ""
        self.buffer = buffer

    def __set_name__(self, owner: builtins.type, name: str) -> None:
        self.attribute = name
        self.owner = owner.__name__

    @property
    def name(self) -> str:
        """Its stored name."""
        return self._given_name or self.attribute

    @property
    def type(self) -> Any:
        """The annotation of its messages; `MISSING` without one."""
        generic = getattr(self, "__orig_class__", None)
        if self._type is MISSING and generic is not None:
            return generic.__args__[0]
        return self._type

    @property
    def codec(self) -> ValueCodec:
        """How its messages are stored."""
        if self._codec is None:
            self._codec = codec_for(self.type)
        return self._codec

    @property
    def place(self) -> Place:
        """Where a message belongs, for error texts."""
        return Place("message", self.owner, self.attribute)

    def send(self, obj: T, key: str | None = None) -> None:
        """Send a message to this very instance (in workflow code), or through a stub's channel."""
        runtime.require(f"{self.owner}.{self.attribute}.send()").send(self, obj, key)

    async def asend(self, obj: T, key: str | None = None) -> None:
        """`send` for async code."""
        self.send(obj, key)

    def clear(self) -> None:
        """Drop what had arrived when the present step began and nobody has taken."""
        runtime.require(f"{self.owner}.{self.attribute}.clear()").clear(self)

    @overload
    def receive(
        self, limit: int | None = None, *, of: builtins.type[S], jsonpath: str | None = None
    ) -> Deferred[S]: ...
    @overload
    def receive(self, limit: int | None = None, *, jsonpath: str | None = None) -> Deferred[T]: ...
    def receive(
        self,
        limit: int | None = None,
        *,
        of: builtins.type[Any] | None = None,
        jsonpath: str | None = None,
    ) -> Deferred[Any]:
        """A deferred whose waits take messages, the oldest that matches first.

        `limit`: after so many messages each further wait repeats the last (F042). `of`: a class of
        the declared union. `jsonpath`: an RFC 9535 query that must find something.
        """
        what = f"{self.owner}.{self.attribute}.receive()"
        run = runtime.require(what)
        if limit is not None and not _is_count(limit):
            raise InvalidChannelUsageError(f"{what}: limit must be a positive int, not {limit!r}.")
        return run.receive(self, limit, of, jsonpath)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_count(value: object) -> bool:
    return type(value) is int and value > 0
