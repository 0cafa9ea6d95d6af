"""The pages of the travel app, with the workflows behind them."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from django_infinitic import client as infinitic_client
from django_infinitic.test import WorkflowEnvironment
from testproject.travel.models import Status, Trip

pytestmark = pytest.mark.django_db


def ask(client: Client, button: str, destination: str = "Lisbon") -> Trip:
    data = {"destination": destination, "nights": "3", button: ""}
    answer = client.post(reverse("travel:book"), data)
    trip = Trip.objects.latest("pk")
    assert answer.status_code == 302
    assert answer["Location"] == trip.get_absolute_url()
    return trip


def text(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_trip_is_booked_from_the_form(infinitic: WorkflowEnvironment, client: Client) -> None:
    trip = ask(client, "book")
    assert "waits for a worker" in text(client, trip.get_absolute_url()) or trip.workflow_id
    infinitic.run()
    page = text(client, trip.get_absolute_url())
    assert "book hotel" in page
    assert "COMPLETED" in page
    assert "http-equiv" not in page  # it is over, so the page stands still
    assert "booked" in text(client, reverse("home"))


def test_a_trip_that_is_not_possible_says_why(
    infinitic: WorkflowEnvironment, client: Client
) -> None:
    trip = ask(client, "book", destination="Atlantis")
    infinitic.run()
    page = text(client, trip.get_absolute_url())
    assert "not possible" in page
    assert "No flight goes to Atlantis." in page


def test_what_is_wrong_with_the_form_is_shown(client: Client) -> None:
    answer = client.post(reverse("travel:book"), {"destination": "", "nights": "3"})
    assert answer.status_code == 422
    assert "required" in answer.content.decode()
    assert not Trip.objects.exists()


def test_the_visitor_approves(infinitic: WorkflowEnvironment) -> None:
    browser = Client(enforce_csrf_checks=True)
    page = text(browser, reverse("home"))
    assert "csrfmiddlewaretoken" in page
    token = browser.cookies["csrftoken"].value
    data = {"destination": "Madeira", "nights": "7", "ask": "", "csrfmiddlewaretoken": token}
    browser.post(reverse("travel:book"), data)
    trip = Trip.objects.get()
    infinitic.run()

    question = reverse("travel:approval", args=[trip.pk])
    assert "1150.00 €" in text(browser, question)
    assert browser.post(question, {"approve": ""}).status_code == 403  # without the token
    answer = {"approve": "", "csrfmiddlewaretoken": browser.cookies["csrftoken"].value}
    browser.post(question, answer)
    infinitic.run()
    trip.refresh_from_db()
    assert trip.status == Status.BOOKED
    assert "no longer open" in text(browser, question)


def test_the_visitor_says_no(infinitic: WorkflowEnvironment, client: Client) -> None:
    trip = ask(client, "ask")
    infinitic.run()
    client.post(reverse("travel:approval", args=[trip.pk]), {"reject": ""})
    infinitic.run()
    trip.refresh_from_db()
    assert trip.status == Status.REJECTED


def test_an_answer_that_comes_too_late_is_told_so(
    infinitic: WorkflowEnvironment, client: Client
) -> None:
    trip = ask(client, "ask")
    infinitic.run()
    infinitic_client.get_handle(str(trip.workflow_id)).cancel()
    infinitic.run()
    question = reverse("travel:approval", args=[trip.pk])
    answer = client.post(question, {"approve": ""}, follow=True)
    assert "Too late" in answer.content.decode()


def test_looking_changes_nothing(infinitic: WorkflowEnvironment, client: Client) -> None:
    trip = ask(client, "ask")
    infinitic.run()
    for _ in range(2):
        text(client, reverse("travel:approval", args=[trip.pk]))
    infinitic.run()
    trip.refresh_from_db()
    assert trip.status == Status.ASKED


def test_a_workflow_that_retention_has_deleted_does_not_break_the_page(client: Client) -> None:
    trip = Trip.objects.create(destination="Lisbon", status=Status.BOOKED)
    assert "nothing about it any more" in text(client, trip.get_absolute_url())
