"""How long things may take, and when what failed is tried again."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any, Final

from django_infinitic.exceptions import DeferredError, InlineFailedError, InvalidDurationError

logger = logging.getLogger(__name__)

Duration = timedelta | float
"""A `timedelta` or a number of seconds."""

RetryCallable = Callable[[int, Any], "Duration | None"]
"""`(retry_index, exception) -> duration | None`; None ends the attempts, 0 or less is at once."""

LONGEST: Final = 1000 * 366 * 86_400.0  # beyond it dates overflow somewhere


def duration_seconds(value: object, what: str, *, positive: bool = False) -> float:
    """The seconds of a duration: a `timedelta`, or a number that is seconds already.

    `what` names it in the error. With `positive` it must be above 0. Raises
    `InvalidDurationError`, which is a `UsageError` and a `ValueError`.
    """
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidDurationError(f"{what} is {value}; a duration is finite.")
        seconds = LONGEST * 2 if value > LONGEST else max(float(value), -LONGEST * 2)
    else:
        raise InvalidDurationError(
            f"{what} must be a timedelta or a number of seconds, not {value!r} "
            f"({type(value).__name__})."
        )
    if positive and seconds <= 0:
        raise InvalidDurationError(f"{what} must be more than 0 seconds, not {value!r}.")
    if abs(seconds) > LONGEST:
        raise InvalidDurationError(f"{what} is longer than a thousand years: {value!r}.")
    return seconds


@dataclass(frozen=True, slots=True, init=False)
class RetryPolicy:
    """Retries with delays that grow, up to a number of retries. (F088)

    The delay before retry `i` (from 0) is `min(max_delay, min_delay * factor ** i)`, spread by
    `± jitter` of itself and never above `max_delay`. Delays are durations when given (a
    `timedelta` or seconds), seconds as attributes; `max_delay=None` is a thousand times
    `min_delay`. Exceptions of the classes in `non_retryable`, and of subclasses, are not retried.
    A wrong policy is a `ValueError` when it is made.
    """

    min_delay: float
    max_delay: float
    factor: float
    jitter: float
    max_retries: int
    non_retryable: tuple[type[BaseException], ...]

    def __init__(
        self,
        min_delay: Duration = 1,
        max_delay: Duration | None = None,
        factor: float = 2,
        jitter: float = 0.5,
        max_retries: int = 11,
        non_retryable: Iterable[type[BaseException]] = (),
    ) -> None:
        shortest = duration_seconds(min_delay, "RetryPolicy(min_delay)", positive=True)
        if max_delay is None:
            longest = min(1000 * shortest, LONGEST)
        else:
            longest = duration_seconds(max_delay, "RetryPolicy(max_delay)", positive=True)
        if longest < shortest:
            raise ValueError(
                f"RetryPolicy(min_delay={min_delay!r}, max_delay={max_delay!r}): max_delay must "
                "not be less than min_delay."
            )
        if not _is_number(factor) or not 1 <= factor < math.inf:
            raise ValueError(f"RetryPolicy(factor={factor!r}): factor must be a number from 1 up.")
        if not _is_number(jitter) or not 0 <= jitter <= 1:
            raise ValueError(f"RetryPolicy(jitter={jitter!r}): jitter must be from 0 to 1.")
        if type(max_retries) is not int or max_retries < 0:
            raise ValueError(
                f"RetryPolicy(max_retries={max_retries!r}): max_retries must be an int from 0 up."
            )
        classes = _exception_classes(non_retryable)
        for name, value in (
            ("min_delay", shortest),
            ("max_delay", longest),
            ("factor", factor),
            ("jitter", jitter),
            ("max_retries", max_retries),
            ("non_retryable", classes),
        ):
            object.__setattr__(self, name, value)

    def delay(self, retry_index: int, exception: BaseException, random: Random) -> float | None:
        """Seconds before the next attempt, or None when there is none.

        `retry_index` is that of the attempt that failed, from 0; `random` decides the jitter.
        """
        if retry_index >= self.max_retries or isinstance(exception, self.non_retryable):
            return None
        try:
            seconds = min(self.max_delay, self.min_delay * self.factor**retry_index)
        except OverflowError:
            seconds = self.max_delay
        if self.jitter:
            seconds *= 1 + self.jitter * (2 * random.random() - 1)
        return min(seconds, self.max_delay)


Retry = RetryPolicy | RetryCallable | None


def next_delay(
    retry: Retry, retry_index: int, exception: BaseException, random: Random
) -> float | None:
    """Seconds before the next attempt (0: at once), or None when the failure is final.

    A callable that raises, or gives something else than a duration, makes the failure final and
    is logged (F087). What waiting raised inside a task is never retried (F089).
    """
    if retry is None:
        return None
    # Inline code may well succeed next time; what else was waited for has ended.
    if isinstance(exception, DeferredError) and not isinstance(exception, InlineFailedError):
        return None
    if isinstance(retry, RetryPolicy):
        return retry.delay(retry_index, exception, random)
    try:
        value = retry(retry_index, exception)
        if value is None:
            return None
        return max(0.0, duration_seconds(value, f"What {_name(retry)} returned"))
    except Exception:
        logger.exception(
            "The retry policy %s raised after a failure with %s; there is no further attempt.",
            _name(retry),
            type(exception).__name__,
        )
        return None


def check_retry(retry: object) -> str | None:
    """Why this is no policy, as a sentence; None when it is one."""
    if retry is None or isinstance(retry, RetryPolicy):
        return None
    if isinstance(retry, type):
        return f"retry={retry.__name__} is a class. Write retry={retry.__name__}(...)."
    if not callable(retry):
        return f"retry={retry!r} is neither a RetryPolicy nor a callable nor None."
    if inspect.iscoroutinefunction(retry):
        return f"retry={_name(retry)} is an async def; a policy is an ordinary function."
    try:
        inspect.signature(retry).bind(0, Exception())
    except TypeError:
        return f"retry={_name(retry)} must take (retry_index, exception)."
    except ValueError:  # a builtin without a signature
        return None
    return None


def _exception_classes(value: Any) -> tuple[type[BaseException], ...]:
    try:
        classes = tuple(value)
    except TypeError:
        raise ValueError(
            f"RetryPolicy(non_retryable={value!r}): give a tuple of exception classes."
        ) from None
    for kind in classes:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise ValueError(f"RetryPolicy(non_retryable=...): {kind!r} is no exception class.")
    return classes


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _name(function: object) -> str:
    return str(getattr(function, "__qualname__", None) or repr(function))
