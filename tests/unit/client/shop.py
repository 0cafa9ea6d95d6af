"""A small shop: workflows that stand on everything that a workflow can stand on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import timedelta

from django_infinitic import (
    Channel,
    RetryPolicy,
    Workflow,
    new_service,
    new_workflow,
    service,
    task,
    workflow,
    workflow_method,
)
from django_infinitic.exceptions import Canceled


class SoldOut(Exception):
    """Declared by `Order.refused`."""


@service(name="unit.Mail")
class Mail:
    def send(self, to: str) -> str:
        return f"sent to {to}"

    @task(retry=RetryPolicy(min_delay=60, jitter=0, max_retries=3))
    def flaky(self, secret: str) -> str:
        raise ValueError("the line is busy")

    @task(delegated=True)
    def by_phone(self) -> str: ...

    def broken(self, secret: str) -> str:
        raise ValueError("no line at all")


@service(name="unit.Elsewhere")
class Elsewhere(ABC):
    """Only a contract: nobody here implements it."""

    @abstractmethod
    def book(self) -> str: ...


@workflow(name="unit.Parcel")
class Parcel(Workflow):
    def ship(self) -> str:
        self.sleep(timedelta(hours=3))
        return "shipped"

    def lose(self) -> str:
        raise KeyError("lost")


@workflow(name="unit.Order", total_timeout=timedelta(hours=9))
class Order(Workflow):
    mail = new_service(Mail)
    elsewhere = new_service(Elsewhere)
    parcels = new_workflow(Parcel)
    paid = Channel(str)
    live = Channel(str, buffer=False)

    steps: list[str]
    number: int

    def __init__(self) -> None:
        self.steps = []
        self.number = 0

    def done(self, to: str) -> str:
        self.steps.append("mail")
        self.number = 7
        return self.mail.send(to)

    def message(self) -> str:
        return self.paid.receive().result()

    def message_in_time(self) -> str:
        return self.paid.receive().result(timeout=timedelta(days=2))

    def picky(self) -> str:
        return self.paid.receive(jsonpath="$[?@ == 'all']").result()

    def sleeps(self) -> None:
        self.sleep(600)

    def retried(self) -> str:
        return self.mail.flaky("a secret")

    def phoned(self) -> str:
        return self.mail.by_phone()

    def books_elsewhere(self) -> str:
        return self.elsewhere.book()

    def ships(self) -> str:
        return self.parcels.ship()

    def loses(self) -> str:
        return self.parcels.lose()

    def breaks(self) -> str:
        return self.mail.broken("a secret")

    def raises(self) -> None:
        raise TypeError("a bug")

    @workflow_method(raises=(SoldOut,))
    def refused(self) -> None:
        raise SoldOut("no more tea")

    def either(self) -> None:
        (self.paid.receive() | self.timer(60)).result()

    def nested(self) -> None:
        phone = self.dispatch(self.mail.by_phone)
        (self.paid.receive() | (phone & self.timer(60))).result()

    def many(self, number: int) -> None:
        deferreds = [self.dispatch(self.mail.by_phone) for _ in range(number)]
        for one in deferreds:
            one.result()

    def fan_out(self) -> None:
        left = self.dispatch(self.mail.send, "a")
        right = self.dispatch(self.mail.by_phone)
        (left & right).result()

    def cleans_up(self) -> None:
        try:
            self.paid.receive().result()
        except Canceled:
            self.mail.by_phone()
            raise

    def undoes(self) -> None:
        with self.saga() as saga:
            saga.add(self.dispatch(self.mail.send, "a"), self.undo)
            self.sleep(1)
            raise TypeError("now undo")

    def undo(self, text: str) -> None:
        self.mail.by_phone()

    def starts_review(self) -> str:
        return self.dispatch(self.review, 3).result()

    def review(self, hours: int) -> str:
        self.sleep(timedelta(hours=hours))
        return "reviewed"

    def answer(self, number: int) -> int:
        return number

    def progress(self) -> list[str]:
        return self.steps

    def talks(self) -> str:
        self.inline(len, "abc")
        self.paid.send("to myself")
        return self.paid.receive().result()


@workflow(name="unit.Stubborn", retry=RetryPolicy(min_delay=30, jitter=0, max_retries=5))
class Stubborn(Workflow):
    def run(self) -> None:
        raise TypeError("a bug")
