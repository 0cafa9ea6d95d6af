"""Durations and retry policies. F085-F089."""

import logging
import math
from datetime import timedelta
from random import Random

import pytest

from django_infinitic.authoring.policy import RetryPolicy, duration_seconds, next_delay
from django_infinitic.exceptions import (
    InfiniticError,
    InlineFailedError,
    TaskTimedOutError,
    UsageError,
    WaitTimedOutError,
)

from ..test_exceptions import failure

DICE = Random(1)


class TestDurations:
    @pytest.mark.parametrize(
        ("value", "seconds"),
        [(5, 5.0), (0.25, 0.25), (timedelta(minutes=1), 60.0), (0, 0.0), (-3, -3.0)],
    )
    def test_seconds_and_timedeltas_are_durations(self, value, seconds) -> None:
        found = duration_seconds(value, "the delay")
        assert type(found) is float
        assert found == seconds

    @pytest.mark.parametrize(
        "value",
        ["5", None, True, math.nan, math.inf, -math.inf, 10**400, 1e300, timedelta.max, object()],
    )
    def test_anything_else_is_refused_and_named(self, value) -> None:
        with pytest.raises(ValueError, match="the delay"):
            duration_seconds(value, "the delay")
        with pytest.raises(UsageError):
            duration_seconds(value, "the delay")

    @pytest.mark.parametrize("value", [0, -1, timedelta(0), timedelta(seconds=-1)])
    def test_where_it_must_be_positive_nothing_less_is_accepted(self, value) -> None:
        with pytest.raises(ValueError, match="more than 0"):
            duration_seconds(value, "the delay", positive=True)


class TestPolicy:
    def delays(self, policy: RetryPolicy, count: int) -> list[float | None]:
        return [policy.delay(index, ValueError(), Random(index)) for index in range(count)]

    def test_without_jitter_delays_double_up_to_a_thousand_times_the_first(self) -> None:
        delays = self.delays(RetryPolicy(jitter=0), 12)
        assert delays == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, None]

    def test_they_stop_at_the_maximum(self) -> None:
        policy = RetryPolicy(min_delay=2, max_delay=9, jitter=0, max_retries=5)
        assert self.delays(policy, 6) == [2, 4, 8, 9, 9, None]

    def test_jitter_spreads_them_but_never_beyond_the_maximum(self) -> None:
        policy = RetryPolicy(min_delay=8, max_delay=10, jitter=0.5, max_retries=100)
        delays = [policy.delay(index, ValueError(), DICE) for index in range(100)]
        assert len(set(delays)) > 10
        assert min(d for d in delays if d is not None) >= 4
        assert max(d for d in delays if d is not None) <= 10

    def test_a_huge_index_is_no_overflow(self) -> None:
        policy = RetryPolicy(jitter=0, max_retries=1_000_000)
        assert policy.delay(999_999, ValueError(), DICE) == 1000

    def test_what_is_not_retryable_ends_at_once_with_its_subclasses(self) -> None:
        policy = RetryPolicy(non_retryable=(LookupError,))
        assert policy.delay(0, KeyError("x"), DICE) is None
        assert policy.delay(0, ValueError("x"), DICE) is not None

    def test_durations_may_be_timedeltas_and_are_seconds_as_attributes(self) -> None:
        policy = RetryPolicy(min_delay=timedelta(minutes=1), max_delay=timedelta(hours=1))
        assert (policy.min_delay, policy.max_delay) == (60, 3600)

    def test_the_defaults(self) -> None:
        policy = RetryPolicy()
        assert (policy.min_delay, policy.max_delay, policy.factor) == (1, 1000, 2)
        assert (policy.jitter, policy.max_retries, policy.non_retryable) == (0.5, 11, ())

    def test_it_is_a_value(self) -> None:
        assert RetryPolicy(min_delay=60) == RetryPolicy(min_delay=timedelta(minutes=1))
        assert hash(RetryPolicy()) == hash(RetryPolicy())
        with pytest.raises(AttributeError):
            RetryPolicy().factor = 3  # type: ignore[misc]

    @pytest.mark.parametrize(
        "options",
        [
            {"min_delay": 0},
            {"min_delay": "1"},
            {"min_delay": math.nan},
            {"min_delay": timedelta(seconds=-1)},
            {"min_delay": 5, "max_delay": 4},
            {"factor": 0.5},
            {"factor": math.inf},
            {"factor": math.nan},
            {"factor": "2"},
            {"jitter": -0.1},
            {"jitter": 1.5},
            {"jitter": math.nan},
            {"jitter": True},
            {"max_retries": -1},
            {"max_retries": 1.0},
            {"max_retries": None},
            {"non_retryable": (5,)},
            {"non_retryable": ValueError},
            {"non_retryable": (object,)},
            {"non_retryable": "ValueError"},
        ],
    )
    def test_a_wrong_one_is_refused_when_it_is_made(self, options) -> None:
        with pytest.raises(ValueError, match="RetryPolicy"):
            RetryPolicy(**options)


class TestNextDelay:
    def test_no_policy_is_no_retry(self) -> None:
        assert next_delay(None, 0, ValueError(), DICE) is None

    def test_a_policy_is_asked(self) -> None:
        assert next_delay(RetryPolicy(jitter=0), 3, ValueError(), DICE) == 8

    @pytest.mark.parametrize(
        ("answer", "delay"),
        [(5, 5), (0, 0), (-1, 0), (None, None), (timedelta(minutes=1), 60), (7.5, 7.5)],
    )
    def test_a_function_gives_a_duration_or_none(self, answer, delay) -> None:
        assert next_delay(lambda index, error: answer, 0, ValueError(), DICE) == delay

    def test_a_function_gets_index_and_exception(self) -> None:
        seen = []
        error = ValueError("x")
        next_delay(lambda *given: seen.append(given), 4, error, DICE)
        assert seen == [(4, error)]

    @pytest.mark.parametrize("answer", ["soon", math.nan, object()])
    def test_nonsense_from_a_function_makes_the_failure_final(self, answer, caplog) -> None:
        with caplog.at_level(logging.ERROR, "django_infinitic"):
            assert next_delay(lambda index, error: answer, 0, ValueError(), DICE) is None
        assert "no further attempt" in caplog.text

    def test_a_function_that_raises_makes_the_failure_final_and_is_logged(self, caplog) -> None:
        def broken(index: int, error: Exception) -> float:
            raise KeyError("the policy itself")

        with caplog.at_level(logging.ERROR, "django_infinitic"):
            assert next_delay(broken, 0, ValueError(), DICE) is None
        assert "the policy itself" in caplog.text

    def test_what_waiting_raised_is_not_retried(self) -> None:
        for error in (
            TaskTimedOutError(service_name="s", task_name="t", task_id="i"),
            WaitTimedOutError(),
        ):
            assert isinstance(error, InfiniticError)
            assert next_delay(RetryPolicy(), 0, error, DICE) is None

    def test_what_failed_inline_is_retried(self) -> None:
        error = InlineFailedError(last_failure=failure(OSError("disk")))
        assert next_delay(RetryPolicy(jitter=0), 0, error, DICE) == 1
