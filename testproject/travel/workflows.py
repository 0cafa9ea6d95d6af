"""How a trip is booked: the order of the tasks, and what happens when one of them fails."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from django_infinitic import Channel, Ref, Workflow, new_service, new_workflow, workflow
from django_infinitic.exceptions import WaitTimedOutError

from .models import Status, Trip
from .services import (
    CarRental,
    Flights,
    Hotels,
    SoldOut,
    quote,
    record_end,
    set_status,
)


@dataclass(frozen=True)
class Itinerary:
    """A booked trip."""

    numbers: list[str]
    price: Decimal


@workflow(raises=(SoldOut,), on_end=record_end, on_stall=record_end)
class TravelBooking(Workflow):
    """Books car, hotel and flight: all of them, or none."""

    cars = new_service(CarRental)
    hotels = new_service(Hotels)
    flights = new_service(Flights)

    def book(self, trip: Ref[Trip]) -> Itinerary:
        """Book all three at the same time. What is booked is canceled when one is sold out."""
        with self.saga() as saga:
            car = saga.add(self.dispatch(self.cars.book, trip), self.cars.cancel)
            hotel = saga.add(self.dispatch(self.hotels.book, trip), self.hotels.cancel)
            flight = saga.add(self.dispatch(self.flights.book, trip), self.flights.cancel)
            reservations = (car & hotel & flight).result()
        set_status(trip, Status.BOOKED)
        return Itinerary(
            numbers=[one.number for one in reservations],
            price=sum((one.price for one in reservations), Decimal(0)),
        )


@workflow(raises=(SoldOut,), on_end=record_end, on_stall=record_end)
class TravelRequest(Workflow):
    """Asks the visitor first: tells the price, waits for his answer, then books."""

    bookings = new_workflow(TravelBooking)
    answers = Channel(bool)

    price: Decimal

    def ask(self, trip: Ref[Trip]) -> Itinerary | None:
        """The itinerary, or None when the visitor says no, or nothing for two days."""
        self.price = quote(trip)
        try:
            approved = self.answers.receive().result(timeout=timedelta(days=2))
        except WaitTimedOutError:
            approved = False
        if not approved:
            set_status(trip, Status.REJECTED)
            return None
        set_status(trip, Status.BOOKING)
        return self.bookings.book(trip)
