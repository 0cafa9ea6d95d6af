"""What is done for a trip, task by task.

The providers are imagined: a task waits a moment and writes the ledger, where a real one would call
the API of a car rental, a hotel or an airline.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from django.utils import timezone

from django_infinitic import Ref, RetryPolicy, WorkflowEnd, current_task, service, task

from .models import LedgerEntry, Status, Trip, moment_of_work

SOLD_OUT = "Atlantis"
"""The destination that no flight goes to."""

RETRY = RetryPolicy(min_delay=1, max_retries=5)


class SoldOut(Exception):
    """Nothing is left. It is part of the contract: the workflow ends as failed with it."""


@dataclass(frozen=True)
class Reservation:
    """What a provider gave."""

    trip: Ref[Trip]
    number: str
    price: Decimal


@contextmanager
def in_ledger(trip: Ref[Trip], what: str, act: str, share: float) -> Iterator[LedgerEntry]:
    """Write that an attempt begins and how it ended, with the time that the work takes between."""
    entry = LedgerEntry.objects.create(
        trip_id=trip.pk,
        what=what,
        act=act,
        task_id=current_task().task_id,
        process=f"{socket.gethostname()}:{os.getpid()}",
    )
    time.sleep(moment_of_work(share))
    try:
        yield entry
    except Exception as error:
        entry.note = f"{type(error).__name__}: {error}"[:200]
        raise
    finally:
        entry.ended_at = timezone.now()
        entry.save()


def _number(prefix: str) -> str:
    """The same in each attempt of a task, so a provider can tell a repetition from a new order."""
    return f"{prefix}-{current_task().task_id[-6:]}".upper()


@service
class CarRental:
    """Cars."""

    @task(retry=RETRY)
    def book(self, trip: Ref[Trip]) -> Reservation:
        """Book a car."""
        with in_ledger(trip, "car", "book", 0.5):
            return Reservation(trip, _number("car"), 40 * Decimal(trip.get().nights))

    @task(retry=RETRY)
    def cancel(self, reservation: Reservation) -> None:
        """Undo `book`."""
        with in_ledger(reservation.trip, "car", "cancel", 0.2):
            pass


@service
class Hotels:
    """Hotels."""

    @task(retry=RETRY)
    def book(self, trip: Ref[Trip]) -> Reservation:
        """Book a room."""
        with in_ledger(trip, "hotel", "book", 1.5):
            return Reservation(trip, _number("hotel"), 90 * Decimal(trip.get().nights))

    @task(retry=RETRY)
    def cancel(self, reservation: Reservation) -> None:
        """Undo `book`."""
        with in_ledger(reservation.trip, "hotel", "cancel", 0.2):
            pass


@service
class Flights:
    """Flights."""

    @task(raises=(SoldOut,), retry=RETRY)
    def book(self, trip: Ref[Trip]) -> Reservation:
        """Book a flight; `SoldOut` when there is none."""
        with in_ledger(trip, "flight", "book", 2.5):
            destination = trip.get().destination
            if destination == SOLD_OUT:
                raise SoldOut(f"No flight goes to {destination}.")
            return Reservation(trip, _number("flight"), Decimal(240))

    @task(retry=RETRY)
    def cancel(self, reservation: Reservation) -> None:
        """Undo `book`."""
        with in_ledger(reservation.trip, "flight", "cancel", 0.2):
            pass


@task
def quote(trip: Ref[Trip]) -> Decimal:
    """What a trip will cost; shown to the visitor before he approves it."""
    found = trip.get()
    price = 130 * Decimal(found.nights) + 240
    trip.queryset().update(price=price)
    return price


@task
def set_status(trip: Ref[Trip], status: Status) -> None:
    """Let the page show where the trip stands."""
    trip.queryset().update(status=status)


_AT_THE_END = {
    "FAILED": Status.FAILED,
    "CANCELED": Status.CANCELED,
    "STALLED": Status.STALLED,
}


@task
def record_end(end: WorkflowEnd) -> None:
    """Hears of every end of a workflow of this app, and when one stalls."""
    status = _AT_THE_END.get(end.status)
    if status is not None:
        trips = Trip.objects.filter(workflow=UUID(end.workflow_id))
        trips.update(status=status, reason=end.error)
