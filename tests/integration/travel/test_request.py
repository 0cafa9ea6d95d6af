"""A trip that the visitor is asked about first."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from django_infinitic import Ref, WorkflowHandle, client
from django_infinitic.exceptions import WaitTimedOutError, WorkflowUnknownError
from django_infinitic.test import WorkflowEnvironment
from testproject.travel.models import Status, Trip
from testproject.travel.services import CarRental
from testproject.travel.workflows import Itinerary, TravelRequest

pytestmark = pytest.mark.django_db


@pytest.fixture
def trip() -> Trip:
    return Trip.objects.create(destination="Madeira", nights=7, status=Status.ASKED)


@pytest.fixture
def handle(infinitic: WorkflowEnvironment, trip: Trip) -> WorkflowHandle[Itinerary | None]:
    handle = client.start(TravelRequest.ask, Ref(trip))
    infinitic.run()
    return handle


def status(trip: Trip) -> str:
    trip.refresh_from_db()
    return trip.status


def test_it_tells_the_price_and_waits(trip: Trip, handle: WorkflowHandle[Itinerary | None]) -> None:
    trip.refresh_from_db()
    assert trip.price == Decimal(1150)
    assert handle.properties() == {"price": Decimal(1150)}
    assert "answers" in str(handle.explain())
    with pytest.raises(WaitTimedOutError):
        handle.result()


# docs: begin channel
def test_yes_books_the_trip(trip: Trip, handle: WorkflowHandle[Itinerary | None]) -> None:
    handle.stub.answers.send(True)
    itinerary = handle.result()
    assert itinerary is not None
    assert status(trip) == Status.BOOKED
    # docs: end channel
    assert len(itinerary.numbers) == 3


def test_no_books_nothing(
    infinitic: WorkflowEnvironment, trip: Trip, handle: WorkflowHandle[Itinerary | None]
) -> None:
    handle.stub.answers.send(False)
    assert handle.result() is None
    assert status(trip) == Status.REJECTED
    assert infinitic.calls(CarRental.book) == []


# docs: begin timer
def test_no_answer_within_two_days_is_a_no(
    infinitic: WorkflowEnvironment, trip: Trip, handle: WorkflowHandle[Itinerary | None]
) -> None:
    infinitic.advance(timedelta(days=2) - timedelta(seconds=1))
    assert status(trip) == Status.ASKED
    infinitic.advance(timedelta(seconds=1))
    assert handle.result() is None
    assert status(trip) == Status.REJECTED
    # docs: end timer


def test_a_second_click_changes_nothing(
    trip: Trip, handle: WorkflowHandle[Itinerary | None]
) -> None:
    handle.stub.answers.send(True, key="answer")
    handle.stub.answers.send(False, key="answer")
    handle.result()
    assert status(trip) == Status.BOOKED


def test_an_answer_after_the_end_has_nobody_to_go_to(
    handle: WorkflowHandle[Itinerary | None],
) -> None:
    handle.stub.answers.send(False)
    handle.result()
    with pytest.raises(WorkflowUnknownError):
        handle.stub.answers.send(True)


def test_it_waits_across_a_crash(
    infinitic: WorkflowEnvironment, trip: Trip, handle: WorkflowHandle[Itinerary | None]
) -> None:
    infinitic.restart()
    handle.stub.answers.send(True)
    handle.result()
    assert status(trip) == Status.BOOKED
