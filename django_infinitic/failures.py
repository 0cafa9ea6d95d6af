"""What is remembered of an exception: names, text and plain values, never the object itself.

The names of this module are public in `django_infinitic.exceptions`.
"""

from __future__ import annotations

import math
import re
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

MESSAGE_LIMIT: Final = 10_000
STACK_TRACE_LIMIT: Final = 16_000
OLD_STACK_TRACE_LIMIT: Final = 1_000
PROPERTIES_SIZE: Final = 20_000
PROPERTIES_LIMIT: Final = 100
CAUSES_LIMIT: Final = 20
PREVIOUS_LIMIT: Final = 100
RECENT_FAILURES: Final = 10
DEPTH_LIMIT: Final = 20

# Databases and JSON readers refuse them, and an error that cannot be stored hides the real one.
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExceptionInfo:
    """An exception as it was recorded.

    `name` is `module.Class`, `message` the text of `str(exception)`, `cause` what it was raised
    from, `properties` the public instance attributes as plain JSON (what is not JSON is described
    in words), `bases` the names of the class and of all its bases. (F064)
    """

    name: str
    message: str
    cause: ExceptionInfo | None = None
    properties: dict[str, Any] = field(default_factory=dict, hash=False)
    bases: tuple[str, ...] = ()

    @classmethod
    def of(cls, exception: BaseException) -> ExceptionInfo:
        """Record an exception and what it was raised from. Never raises, never keeps the object."""
        chain: list[BaseException] = []
        seen: set[int] = set()
        current: BaseException | None = exception
        while current is not None and id(current) not in seen and len(chain) < CAUSES_LIMIT:
            seen.add(id(current))
            chain.append(current)
            current = _raised_from(current)
        info: ExceptionInfo | None = None
        for one in reversed(chain):
            info = cls(
                name=class_name(type(one)),
                message=_message_of(one),
                cause=info,
                properties=_properties_of(one),
                bases=tuple(class_name(base) for base in type(one).__mro__ if base is not object),
            )
        assert info is not None
        return info

    def is_a(self, kind: type[BaseException]) -> bool:
        """Whether the exception was of this class or of a subclass, by the recorded names."""
        name = class_name(kind)
        return name == self.name or name in self.bases

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, for `from_json`."""
        data: dict[str, Any] = {"name": self.name, "message": self.message}
        if self.cause is not None:
            data["cause"] = self.cause.to_json()
        if self.properties:
            data["properties"] = self.properties
        if self.bases:
            data["bases"] = list(self.bases)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ExceptionInfo:
        """The inverse of `to_json`; a KeyError, TypeError or ValueError when it is no such data."""
        cause = data.get("cause")
        return cls(
            name=_text(data["name"]),
            message=_text(data["message"]),
            cause=None if cause is None else cls.from_json(cause),
            properties=dict(data.get("properties") or {}),
            bases=tuple(_text(base) for base in data.get("bases") or ()),
        )

    def __str__(self) -> str:
        name = self.name.removeprefix("builtins.")
        return f"{name}: {self.message}" if self.message else name


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failed attempt of a task, of workflow code or of inline code. (F064)

    `retry_sequence` counts retries by hand, `retry_index` automatic ones within it, both from 0;
    `seconds_before_retry` is None when no automatic retry followed; `previous` is the failure of
    the attempt before it.
    """

    worker_name: str
    retry_sequence: int = 0
    retry_index: int = 0
    seconds_before_retry: float | None = None
    stack_trace: str = ""
    exception: ExceptionInfo
    previous: Failure | None = None

    @classmethod
    def of(
        cls,
        exception: BaseException,
        *,
        worker_name: str,
        retry_sequence: int = 0,
        retry_index: int = 0,
        seconds_before_retry: float | None = None,
        previous: Failure | None = None,
    ) -> Failure:
        """Record an exception with its stack trace. Never raises, never keeps the object."""
        return cls(
            worker_name=worker_name,
            retry_sequence=retry_sequence,
            retry_index=retry_index,
            seconds_before_retry=seconds_before_retry,
            stack_trace=_stack_trace_of(exception),
            exception=ExceptionInfo.of(exception),
            previous=previous,
        )

    def chain(self) -> list[Failure]:
        """This failure and the ones before it, newest first."""
        found: list[Failure] = []
        current: Failure | None = self
        while current is not None:
            found.append(current)
            current = current.previous
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, for `from_json`; earlier failures as a flat list, the oldest shortened."""
        newest, *earlier = self.chain()[:PREVIOUS_LIMIT]
        data = newest._own_json(STACK_TRACE_LIMIT)
        if earlier:
            data["previous"] = [
                failure._own_json(
                    STACK_TRACE_LIMIT if place < RECENT_FAILURES else OLD_STACK_TRACE_LIMIT
                )
                for place, failure in enumerate(earlier)
            ]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Failure:
        """The inverse of `to_json`; a KeyError, TypeError or ValueError when it is no such data."""
        failure: Failure | None = None
        for one in reversed([data, *(data.get("previous") or ())]):
            seconds = one.get("seconds_before_retry")
            if seconds is not None and not isinstance(seconds, (int, float)):
                raise TypeError(f"seconds_before_retry is a {type(seconds).__name__}")
            failure = cls(
                worker_name=_text(one["worker_name"]),
                retry_sequence=int(one["retry_sequence"]),
                retry_index=int(one["retry_index"]),
                seconds_before_retry=seconds,
                stack_trace=_text(one["stack_trace"]),
                exception=ExceptionInfo.from_json(one["exception"]),
                previous=failure,
            )
        assert failure is not None
        return failure

    def _own_json(self, stack_trace_limit: int) -> dict[str, Any]:
        return {
            "worker_name": self.worker_name,
            "retry_sequence": self.retry_sequence,
            "retry_index": self.retry_index,
            "seconds_before_retry": self.seconds_before_retry,
            "stack_trace": _end_of(self.stack_trace, stack_trace_limit),
            "exception": self.exception.to_json(),
        }

    def __str__(self) -> str:
        return str(self.exception)


def class_name(kind: type) -> str:
    """`module.Class`, the name under which a class is recorded and compared."""
    return f"{kind.__module__}.{kind.__qualname__}"


def storable(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """The text without what cannot be stored (NUL, lone surrogates), cut to `limit` characters."""
    text = _UNSTORABLE.sub("\ufffd", text)
    if len(text) <= limit:
        return text
    return f"{text[:limit]}… ({len(text) - limit} more characters)"


def _end_of(text: str, limit: int) -> str:
    """The last `limit` characters: the end of a stack trace says where it happened."""
    if len(text) <= limit:
        return text
    return f"({len(text) - limit} characters left out) …{text[-limit:]}"


def _raised_from(exception: BaseException) -> BaseException | None:
    if exception.__cause__ is not None:
        return exception.__cause__
    return None if exception.__suppress_context__ else exception.__context__


def _message_of(exception: BaseException) -> str:
    try:
        return storable(str(exception))
    except Exception as error:
        return f"(its text cannot be shown: str() raised {type(error).__name__})"


def _stack_trace_of(exception: BaseException) -> str:
    try:
        lines = traceback.format_exception(exception)
    except Exception as error:
        return f"(its stack trace cannot be shown: {type(error).__name__})"
    return _end_of(_UNSTORABLE.sub("\ufffd", "".join(lines)), STACK_TRACE_LIMIT)


def _properties_of(exception: BaseException) -> dict[str, Any]:
    attributes = getattr(exception, "__dict__", None) or {}
    public = [name for name in attributes if isinstance(name, str) and not name.startswith("_")]
    budget = [PROPERTIES_SIZE]
    return {
        storable(name, 255): _property(attributes[name], budget)
        for name in public[:PROPERTIES_LIMIT]
    }


def _property(value: object, budget: list[int]) -> Any:
    try:
        return _plain(value, DEPTH_LIMIT, budget)
    except _Unstorable as reason:
        return f"(not recorded: {reason})"
    except Exception as error:  # a hostile __iter__ or the like
        return f"(not recorded: reading it raised {type(error).__name__})"


class _Unstorable(Exception):
    """Why an attribute is no plain JSON."""


def _plain(value: object, depth: int, budget: list[int]) -> Any:
    budget[0] -= 1
    if depth == 0 or budget[0] < 0:
        raise _Unstorable("it is too large or too deep")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        left = max(budget[0], 0)
        budget[0] -= min(len(value), MESSAGE_LIMIT)
        return storable(str.__str__(value), min(left, MESSAGE_LIMIT))
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else repr(float(value))
    if isinstance(value, (Decimal, UUID)):
        return str(value)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth - 1, budget) for item in value]
    if isinstance(value, dict):
        plain: dict[str, Any] = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise _Unstorable(f"a dict with a key of type {class_name(type(key))}")
            plain[storable(str.__str__(key), 255)] = _plain(item, depth - 1, budget)
        return plain
    raise _Unstorable(f"a {class_name(type(value))} is not plain JSON")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, not a {type(value).__name__}")
    return value
