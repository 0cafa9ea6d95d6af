"""The pages: what runs, one trip, and the question to the visitor. Nothing needs JavaScript."""

from __future__ import annotations

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from django_infinitic import Ref, WorkflowHandle, client
from django_infinitic.client.timeline import timeline
from django_infinitic.exceptions import WorkflowUnknownError

from .forms import TripForm
from .models import Status, Trip
from .services import SOLD_OUT
from .workflows import TravelBooking, TravelRequest


@never_cache
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """The latest trips, and a form for another one."""
    return _home(request, TripForm(initial={"destination": "Lisbon"}, label_suffix=""))


def _home(request: HttpRequest, form: TripForm, status: int = 200) -> HttpResponse:
    trips = list(Trip.objects.all()[:20])
    context = {"form": form, "trips": trips, "sold_out": SOLD_OUT}
    return render(request, "travel/home.html", context, status=status)


@require_POST
def book(request: HttpRequest) -> HttpResponse:
    """Book a trip at once, or ask first. The trip and its workflow are committed together."""
    form = TripForm(request.POST, label_suffix="")
    if not form.is_valid():
        return _home(request, form, status=422)
    asks = "ask" in request.POST
    with transaction.atomic():
        trip = form.save(commit=False)
        trip.status = Status.ASKED if asks else Status.BOOKING
        trip.save()
        ref = Ref(trip)
        handle: WorkflowHandle[object]
        if asks:
            request_for_it = client.new_workflow(TravelRequest, tags={ref.tag})
            handle = client.dispatch(request_for_it.ask, ref)
        else:
            handle = client.dispatch(client.new_workflow(TravelBooking, tags={ref.tag}).book, ref)
        Trip.objects.filter(pk=trip.pk).update(workflow=handle.workflow_id)
    return redirect(trip)


@never_cache
@require_safe
def trip(request: HttpRequest, pk: int) -> HttpResponse:
    """One trip: where it stands, why, what has happened, and what was done how often."""
    found = get_object_or_404(Trip, pk=pk)
    context = {"trip": found, "ledger": found.ledger.all(), **_workflow(found)}
    context["refresh"] = not found.is_over and found.status != Status.ASKED
    return render(request, "travel/trip.html", context)


def _workflow(trip: Trip) -> dict[str, object]:
    """What the engine knows; nothing any more when retention has deleted it."""
    if trip.workflow_id is None:
        return {}
    try:
        explanation = client.get_handle(str(trip.workflow_id)).explain()
    except WorkflowUnknownError:
        return {}
    return {"explanation": explanation, "timeline": timeline(str(trip.workflow_id))}


@never_cache
def approval(request: HttpRequest, pk: int) -> HttpResponse:
    """The question to the visitor (GET), and his answer (POST) to the waiting workflow."""
    found = get_object_or_404(Trip, pk=pk)
    if request.method != "POST":
        return render(request, "travel/approval.html", {"trip": found})
    stub = client.get_workflow_by_id(TravelRequest, str(found.workflow_id))
    try:
        # With a key a second click counts no more.
        stub.answers.send("approve" in request.POST, key="answer")
    except WorkflowUnknownError:
        messages.warning(request, "Too late: this question is no longer open.")
    else:
        messages.success(request, "Thank you, your answer is on its way.")
    return redirect(found)
