"""What the other files use: services, workflows and a contract of each form. (T5, T17)"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from django_infinitic import Channel, Workflow, service, task, workflow


@dataclass(frozen=True)
class Cart:
    items: int


@dataclass(frozen=True)
class Reservation:
    code: str


@service
class Cars:
    def book(self, cart: Cart) -> Reservation:
        raise NotImplementedError

    def cancel(self, reservation: Reservation) -> None: ...

    async def quote(self, cart: Cart) -> int:

        raise NotImplementedError

    def search(self, cart: Cart, *cities: str, limit: int = 10) -> list[str]:

        raise NotImplementedError

    def method(self, method: str) -> str:  # a parameter of dispatch() has this name

        raise NotImplementedError


@service(name="Hotels")
class Hotels(ABC):
    @abstractmethod
    def book(self, cart: Cart) -> Reservation:
        raise NotImplementedError


@service
class Mail(Protocol):
    def send(self, to: str, body: str) -> None: ...


T = TypeVar("T")


class Repo(Generic[T]):
    def get(self, key: str) -> T:
        raise NotImplementedError


@task
def send_mail(to: str, body: str) -> bool:
    raise NotImplementedError


@task(name="mails", retry=None)
def send_mails(to: list[str]) -> int:
    raise NotImplementedError


@workflow(version=1)
class Booking(Workflow):
    changed = Channel(str)
    moved = Channel[datetime | None]()

    def book(self, cart: Cart, *, gift: bool = False) -> Reservation:

        raise NotImplementedError

    async def quote(self, cart: Cart) -> int:

        raise NotImplementedError

    def progress(self) -> list[str]:

        raise NotImplementedError


@workflow(name="Elsewhere")
class Elsewhere(ABC):
    @abstractmethod
    def run(self, cart: Cart) -> str:
        raise NotImplementedError


def anything() -> Awaitable[int]:

    raise NotImplementedError
