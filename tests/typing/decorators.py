"""Decorators keep what they decorate; batches fit their task. (T5, T6, T17)"""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import timedelta
from typing import Protocol, assert_type

from django_infinitic import (
    RetryPolicy,
    TaskContext,
    Workflow,
    WorkflowEnd,
    batch,
    current_task,
    service,
    task,
    workflow,
    workflow_method,
)


class SoldOut(Exception): ...


@task
def plain(to: str) -> bool:
    raise NotImplementedError


@task(name="named", raises=(SoldOut,), total_timeout=timedelta(days=1), retry=RetryPolicy())
def named(to: str, *, copies: int = 1) -> bool:
    raise NotImplementedError


@task
async def later(to: str) -> bool:
    raise NotImplementedError


assert_type(plain("a"), bool)
assert_type(named("a", copies=3), bool)
plain(3)  # type: ignore[arg-type]
named("a", 3)  # type: ignore[call-arg]


def tells(end: WorkflowEnd) -> None:
    assert_type(end.workflow_id, str)
    assert_type(end.tags, frozenset[str])


@service
class Mail:
    @task(attempt_timeout=30, timeout_grace=3, atomic=True)
    def send(self, to: str) -> int:
        raise NotImplementedError

    @batch(send, max_size=10, max_seconds=timedelta(seconds=1))
    def send_many(self, tos: dict[str, str]) -> dict[str, int]:
        raise NotImplementedError

    @task(delegated=True)
    def ask(self, to: str) -> bool:
        raise NotImplementedError

    @task(retry=lambda index, error: 3 if index < 5 else None)
    async def send_later(self, to: str) -> int:
        raise NotImplementedError

    @batch(send_later)
    async def send_many_later(self, tos: dict[str, str]) -> dict[str, int]:
        raise NotImplementedError

    def forget(self, to: str) -> None: ...

    @batch(forget)
    def forget_many(self, tos: dict[str, str]) -> None: ...

    @batch(send)  # type: ignore[arg-type]
    def wrong_values(self, tos: dict[str, int]) -> dict[str, int]:
        raise NotImplementedError

    @batch(send)  # type: ignore[arg-type]
    def wrong_results(self, tos: dict[str, str]) -> dict[str, str]:
        raise NotImplementedError


assert_type(Mail().send("a"), int)
assert_type(Mail().send_many({"a": "b"}), dict[str, int])
Mail().send(3)  # type: ignore[arg-type]


@service(name="Contract")
class Contract(ABC):
    @task(raises=(SoldOut,))
    @abstractmethod
    def book(self, to: str) -> int:
        raise NotImplementedError


@service
class Fulfilled(Contract):
    @task(retry=RetryPolicy(max_retries=3))
    def book(self, to: str) -> int:
        raise NotImplementedError


@service
class Shape(Protocol):
    def book(self, to: str) -> int:
        raise NotImplementedError


shaped: Shape = Fulfilled()
Contract()  # type: ignore[abstract]


@workflow(version=2, raises=(SoldOut,), check_mode="strict", on_end=tells, on_stall=tells)
class Trip(Workflow):
    @workflow_method(name="run", total_timeout=3)
    def book(self, to: str) -> int:
        raise NotImplementedError

    @workflow_method
    def ask(self) -> str:
        raise NotImplementedError


assert_type(Trip().book("a"), int)
assert_type(Trip().ask(), str)
Trip().book(3)  # type: ignore[arg-type]

RetryPolicy(min_delay=timedelta(seconds=1), max_delay=60, factor=1.5, non_retryable=(SoldOut,))
RetryPolicy(min_delay="1")  # type: ignore[arg-type]
RetryPolicy(non_retryable=(3,))  # type: ignore[arg-type]
task(retries=3)  # type: ignore[call-overload]
task(raises=("SoldOut",))  # type: ignore[arg-type]
workflow(check_mode="lax")  # type: ignore[call-overload]
service(3)  # type: ignore[call-overload]


def in_a_task() -> None:
    assert_type(current_task(), TaskContext)
    assert_type(current_task().retry_index, int)
    assert_type(current_task("1").meta, dict[str, str | bytes])
