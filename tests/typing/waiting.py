"""Timers, combinations, inline code and properties. (T9, T10, T11, T18)"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import assert_type

from django_infinitic import (
    Deferred,
    DeferredStatus,
    Workflow,
    and_,
    first_success,
    new_service,
    or_,
    transient,
)
from tests.typing.contracts import Cars, Cart, Reservation


class Client:
    def get(self) -> str:
        raise NotImplementedError


class Trip(Workflow):
    cars = new_service(Cars)
    http = transient(Client)

    log: list[str]

    def __init__(self) -> None:
        self.log = []
        self.found = {"a": 1}

    def properties(self) -> None:
        assert_type(self.log, list[str])
        assert_type(self.found, dict[str, int])
        assert_type(self.http, Client)
        self.log = "text"  # type: ignore[assignment]

    def one_of_two(self, cart: Cart) -> None:
        either = self.dispatch(self.cars.book, cart) | self.timer(3)
        assert_type(either, Deferred[Reservation | datetime])
        found = either.result()
        if isinstance(found, datetime):
            assert_type(found, datetime)
        else:
            assert_type(found, Reservation)

    def all_of_several(self, cart: Cart) -> None:
        car = self.dispatch(self.cars.book, cart)
        names = self.dispatch(self.cars.search, cart)
        timer = self.timer(timedelta(days=1))
        assert_type((car & names).result(), tuple[Reservation, list[str]])
        assert_type((car & names & timer).result(), tuple[Reservation, list[str], datetime])
        one, two, three = (car & names & timer).result()
        assert_type(one, Reservation)
        assert_type(two, list[str])
        assert_type(three, datetime)
        assert_type(((car & names) | timer).result(), tuple[Reservation, list[str]] | datetime)

    def by_name(self, cart: Cart) -> None:
        car = self.dispatch(self.cars.book, cart)
        names = self.dispatch(self.cars.search, cart)
        assert_type(and_(car, names).result(), tuple[Reservation, list[str]])
        assert_type(
            and_(car, names, car, names).result(),
            tuple[Reservation, list[str], Reservation, list[str]],
        )
        assert_type(and_([car, car]).result(), list[Reservation])
        assert_type(or_([car, car]).result(), Reservation)
        assert_type(or_(car, car).result(), Reservation)
        assert_type(first_success(car for _ in range(3)).result(), Reservation)
        and_(car, 3)  # type: ignore[call-overload]
        or_(1, 2)  # type: ignore[call-overload]
        car & 3  # type: ignore[operator]
        car | None  # type: ignore[operator]

    async def awaited(self, cart: Cart) -> None:
        car = self.dispatch(self.cars.book, cart)
        names = self.dispatch(self.cars.search, cart)
        assert_type(await (car & names), tuple[Reservation, list[str]])
        assert_type(await (car | names), Reservation | list[str])

    def asked(self, cart: Cart) -> None:
        car = self.dispatch(self.cars.book, cart)
        assert_type(car.id, str | None)
        assert_type(car.status, DeferredStatus)
        assert_type(car.is_completed(), bool)
        wider: Deferred[object] = car  # a deferred of more is one of less
        wider.cancel()
        narrower: Deferred[str] = car  # type: ignore[assignment]

    def recorded(self) -> None:
        assert_type(self.inline(lambda: 3), int)
        assert_type(self.inline(random.randint, 1, 9), int)
        assert_type(self.inline(str.upper, "a", checkpoint=True), str)
        assert_type(self.now(), datetime)
        assert_type(self.random, random.Random)
        self.inline(3)  # type: ignore[arg-type]
        self.timer("soon")  # type: ignore[arg-type]
        self.sleep(None)  # type: ignore[arg-type]

    def undone(self, cart: Cart) -> None:
        with self.saga() as saga:
            car = saga.add(self.dispatch(self.cars.book, cart), self.cars.cancel)
            assert_type(car, Deferred[Reservation])
            saga.add(car, self.cars.search)  # type: ignore[arg-type]
            raise ValueError
