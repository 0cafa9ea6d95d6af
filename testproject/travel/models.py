"""Trips, and the ledger of what was done for them."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.urls import reverse

from django_infinitic.models import WorkflowForeignKey


class Trip(models.Model):
    """A trip that somebody wants to make, and the workflow that takes care of it."""

    class Status(models.TextChoices):
        """Where a trip stands. The workflow's tasks write it."""

        ASKED = "asked", "waits for your approval"
        BOOKING = "booking", "being booked"
        BOOKED = "booked", "booked"
        REJECTED = "rejected", "rejected"
        FAILED = "failed", "not possible"
        STALLED = "stalled", "needs attention"
        CANCELED = "canceled", "canceled"

    destination = models.CharField(max_length=100)
    nights = models.PositiveSmallIntegerField(default=3)
    status = models.CharField(max_length=10, choices=Status, default=Status.BOOKING)
    price = models.DecimalField(max_digits=10, decimal_places=2, null=True, blank=True)
    reason = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    workflow = WorkflowForeignKey(null=True, editable=False, related_name="trips")

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"Trip {self.pk} to {self.destination}"

    def get_absolute_url(self) -> str:
        return reverse("travel:trip", args=[self.pk])

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status not in (Status.ASKED, Status.BOOKING, Status.STALLED)


Status = Trip.Status


class LedgerEntry(models.Model):
    """One attempt of one task: what was really done, and how often.

    A row is written when the attempt begins; an attempt that was cut off has no `ended_at`.
    """

    trip = models.ForeignKey(Trip, on_delete=models.CASCADE, related_name="ledger")
    what = models.CharField(max_length=20)
    act = models.CharField(max_length=20)
    task_id = models.CharField(max_length=36)
    process = models.CharField(max_length=100)
    began_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    note = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        ordering = ["pk"]
        verbose_name_plural = "ledger entries"

    def __str__(self) -> str:
        return f"{self.act} {self.what}"


def moment_of_work(share: float) -> float:
    """How many seconds a task takes: its share of the setting `TRAVEL_SECONDS`."""
    seconds: float = settings.TRAVEL_SECONDS
    return share * seconds
