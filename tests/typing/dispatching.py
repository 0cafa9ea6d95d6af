"""Stubs and `dispatch` in workflow code. (T1, T2, T3, T5, T7, T12)"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import assert_type

from django_infinitic import (
    Deferred,
    Workflow,
    get_workflow_by_custom_id,
    get_workflow_by_id,
    get_workflow_by_tag,
    new_service,
    new_workflow,
)
from tests.typing.contracts import (
    Booking,
    Cars,
    Cart,
    Elsewhere,
    Hotels,
    Mail,
    Repo,
    Reservation,
    send_mail,
    send_mails,
)


class Trip(Workflow):
    cars = new_service(Cars)
    hotels = new_service(Hotels, tags={"hotel"}, meta={"k": "v"})
    mail = new_service(Mail, batch_key="a")
    repo = new_service(Repo[int])
    bookings = new_workflow(Booking, custom_id="7", once=True)
    elsewhere = new_workflow(Elsewhere)

    def stubs_are_typed_as_their_contract(self, cart: Cart) -> None:
        assert_type(self.cars, Cars)
        assert_type(self.hotels, Hotels)
        assert_type(self.mail, Mail)
        assert_type(self.repo, Repo[int])
        assert_type(self.bookings, Booking)
        assert_type(get_workflow_by_id(Booking, "1"), Booking)
        assert_type(get_workflow_by_custom_id(Elsewhere, "1"), Elsewhere)
        assert_type(get_workflow_by_tag(Booking, "1"), Booking)
        assert_type(self.cars.book(cart), Reservation)
        assert_type(self.hotels.book(cart), Reservation)
        assert_type(self.repo.get("a"), int)
        self.cars.book("a cart")  # type: ignore[arg-type]
        self.cars.rent(cart)  # type: ignore[attr-defined]
        new_service("Cars")  # type: ignore[arg-type]
        new_service(Cars, tags=1)  # type: ignore[arg-type]
        new_workflow(Booking, meta={"k": 1})  # type: ignore[dict-item]

    def dispatch_gives_a_deferred_of_the_result(self, cart: Cart) -> None:
        assert_type(self.dispatch(self.cars.book, cart), Deferred[Reservation])
        assert_type(self.dispatch(self.cars.book, cart=cart), Deferred[Reservation])
        assert_type(self.dispatch(self.cars.cancel, Reservation("a")), Deferred[None])
        assert_type(
            self.dispatch(self.cars.search, cart, "Rome", "Oslo", limit=3), Deferred[list[str]]
        )
        assert_type(self.dispatch(self.cars.method, method="a"), Deferred[str])
        assert_type(self.dispatch(self.repo.get, "a"), Deferred[int])
        assert_type(self.dispatch(self.bookings.book, cart, gift=True), Deferred[Reservation])
        assert_type(self.dispatch(self.elsewhere.run, cart), Deferred[str])
        assert_type(self.dispatch(send_mail, "a", "b"), Deferred[bool])
        assert_type(self.dispatch(send_mails, ["a"]), Deferred[int])
        assert_type(self.dispatch(self.review, 3), Deferred[str])

    def arguments_of_dispatch_are_checked(self, cart: Cart) -> None:
        self.dispatch(self.cars.book, "a cart")  # type: ignore[arg-type]
        self.dispatch(self.cars.book)  # type: ignore[call-arg]
        self.dispatch(self.cars.book, cart, cart)  # type: ignore[call-arg]
        self.dispatch(self.cars.book, basket=cart)  # type: ignore[call-arg]
        self.dispatch(self.cars.search, cart, limit="3")  # type: ignore[arg-type]
        self.dispatch(self.bookings.book, cart, True)  # type: ignore[call-arg]
        self.dispatch(send_mail, "a")  # type: ignore[call-arg]
        self.dispatch(self.review, "3")  # type: ignore[arg-type]
        self.dispatch("book", cart)  # type: ignore[arg-type]

    def results(self, cart: Cart, when: datetime) -> None:
        car = self.dispatch(self.cars.book, cart)
        assert_type(car.result(), Reservation)
        assert_type(car.result(timeout=3), Reservation)
        assert_type(car.result(timedelta(days=2)), Reservation)
        assert_type(car.result(when), Reservation)
        car.result("soon")  # type: ignore[arg-type]

    def results_of_async_methods(self, cart: Cart) -> None:
        quote = self.dispatch(self.cars.quote, cart)
        assert_type(quote.result(), int)
        assert_type(quote.result(timeout=3), int)
        child = self.dispatch(self.bookings.quote, cart)
        assert_type(child.result(), int)
        self.dispatch(self.cars.quote, "a cart")  # type: ignore[arg-type]

    async def in_async_methods(self, cart: Cart) -> None:
        assert_type(await self.dispatch(self.cars.book, cart), Reservation)
        assert_type(await self.dispatch(self.cars.quote, cart), int)
        assert_type(await self.cars.quote(cart), int)
        assert_type(await self.bookings.quote(cart), int)
        self.cars.quote(cart)  # type: ignore[unused-coroutine]

    def review(self, stars: int) -> str:

        raise NotImplementedError
