"""Booking a trip: what an application developer writes to test a workflow.

How-to pages show parts of this file, between the `# docs:` comments.
"""

# ruff: noqa: PT009 - the first tests are written as Django's own documentation does it

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import TestCase, override_settings

from django_infinitic import Ref, client
from django_infinitic.exceptions import WaitTimedOutError, WorkflowFailedError
from django_infinitic.test import WorkflowEnvironment, task_context
from testproject.travel.models import LedgerEntry, Status, Trip
from testproject.travel.services import CarRental, Flights, Hotels, Reservation, SoldOut
from testproject.travel.workflows import TravelBooking


def ledger(trip: Trip) -> list[str]:
    return [str(entry) for entry in trip.ledger.all()]


# docs: begin first
@override_settings(TRAVEL_SECONDS=0)
class BookingTest(TestCase):
    def test_all_three_are_booked(self) -> None:
        trip = Trip.objects.create(destination="Lisbon", nights=3)
        with WorkflowEnvironment():
            handle = client.start(TravelBooking.book, Ref(trip))
            itinerary = handle.result()

        self.assertEqual(itinerary.price, Decimal(630))
        self.assertEqual(len(itinerary.numbers), 3)
        trip.refresh_from_db()
        self.assertEqual(trip.status, Status.BOOKED)
        # docs: end first
        self.assertEqual(sorted(ledger(trip)), ["book car", "book flight", "book hotel"])

    # docs: begin failure
    def test_what_is_booked_is_canceled_when_there_is_no_flight(self) -> None:
        trip = Trip.objects.create(destination="Atlantis")
        with WorkflowEnvironment() as env:
            handle = client.start(TravelBooking.book, Ref(trip))
            Trip.objects.filter(pk=trip.pk).update(workflow=handle.workflow_id)
            with self.assertRaisesMessage(SoldOut, "No flight goes to Atlantis."):
                handle.result()
            env.run()  # `on_end` is still to be told

            # A task that had not begun when the flight failed is not begun any more.
            for service in (CarRental, Hotels):
                self.assertEqual(len(env.calls(service.cancel)), len(env.calls(service.book)))
            self.assertEqual(env.calls(Flights.cancel), [])
        trip.refresh_from_db()
        self.assertEqual(trip.status, Status.FAILED)
        # docs: end failure
        self.assertIn("No flight goes to Atlantis", trip.reason)


# docs: begin fake
class HotelsThatFail:
    """Stands for `Hotels`; its methods have the same names."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    def book(self, trip: Ref[Trip]) -> Reservation:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("no answer")
        return Reservation(trip, "H-1", Decimal(100))

    def cancel(self, reservation: Reservation) -> None: ...


@pytest.mark.django_db
def test_a_provider_that_does_not_answer_is_asked_again(infinitic: WorkflowEnvironment) -> None:
    trip = Trip.objects.create(destination="Lisbon")
    infinitic.replace(Hotels, HotelsThatFail(failures=2))
    handle = client.start(TravelBooking.book, Ref(trip))
    with pytest.raises(WaitTimedOutError):
        handle.result()  # the next attempt is due later, and no time passes by itself
    infinitic.advance(timedelta(minutes=1))
    assert "H-1" in handle.result().numbers
    assert [call.attempt for call in infinitic.calls(Hotels.book)] == [1, 2, 3]
    # docs: end fake


# docs: begin crash
@pytest.mark.django_db
def test_a_crash_in_the_middle_repeats_nothing_that_was_done(
    infinitic: WorkflowEnvironment,
) -> None:
    trip = Trip.objects.create(destination="Lisbon")
    infinitic.replace(Hotels, HotelsThatFail(failures=1))
    handle = client.start(TravelBooking.book, Ref(trip))
    infinitic.run()  # car and flight are booked, the hotel is to be tried again
    infinitic.restart()  # all that was in memory is gone
    infinitic.advance(timedelta(minutes=1))
    assert handle.result().price == Decimal(460)
    assert len(infinitic.calls(CarRental.book)) == 1
    # docs: end crash


# docs: begin stall
@pytest.mark.django_db
def test_when_it_never_answers_everything_is_undone_and_a_person_can_retry(
    infinitic: WorkflowEnvironment,
) -> None:
    trip = Trip.objects.create(destination="Lisbon")
    hotels = HotelsThatFail(failures=6)
    infinitic.replace(Hotels, hotels)
    handle = client.start(TravelBooking.book, Ref(trip))
    Trip.objects.filter(pk=trip.pk).update(workflow=handle.workflow_id)
    infinitic.advance(timedelta(hours=1))

    with pytest.raises(WorkflowFailedError) as failed:
        handle.result()
    assert failed.value.caused_by(ConnectionError)
    assert handle.is_stalled()
    trip.refresh_from_db()
    assert trip.status == Status.STALLED
    # docs: end stall


@pytest.mark.django_db
def test_each_task_may_run_twice_and_gives_the_same_number() -> None:
    trip = Trip.objects.create(destination="Lisbon")
    with WorkflowEnvironment(duplicate_tasks=True) as env:
        itinerary = client.start(TravelBooking.book, Ref(trip)).result()
        env.run()
    assert len(set(itinerary.numbers)) == 3
    assert LedgerEntry.objects.filter(what="hotel", act="book").count() == 2
    hotel = LedgerEntry.objects.filter(what="hotel").values_list("task_id", flat=True)
    assert len(set(hotel)) == 1


# docs: begin replay
@pytest.mark.django_db
def test_the_present_code_replays_what_was_recorded(infinitic: WorkflowEnvironment) -> None:
    trip = Trip.objects.create(destination="Lisbon")
    handle = client.start(TravelBooking.book, Ref(trip))
    handle.result()
    infinitic.replay(handle.workflow_id)  # WorkflowChangedError when the code has changed
    # docs: end replay


# docs: begin task
@pytest.mark.django_db
def test_a_task_is_a_plain_method() -> None:
    trip = Trip.objects.create(destination="Lisbon", nights=2)
    with task_context(task_id="01890000-0000-7000-8000-0000000abcde"):
        reservation = Hotels().book(Ref(trip))
    assert reservation.number == "HOTEL-0ABCDE"
    assert reservation.price == 180
    # docs: end task


@pytest.mark.django_db
def test_the_ledger_tells_of_an_attempt_that_fails() -> None:
    trip = Trip.objects.create(destination="Atlantis")
    with task_context(task_id="t"), pytest.raises(SoldOut):
        Flights().book(Ref(trip))
    (entry,) = trip.ledger.all()
    assert entry.ended_at is not None
    assert entry.note == "SoldOut: No flight goes to Atlantis."
