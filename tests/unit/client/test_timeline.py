"""The timeline of an instance, as people read it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from django_infinitic import client
from django_infinitic.client.entries import Entry
from django_infinitic.client.timeline import timeline
from django_infinitic.exceptions import WorkflowUnknownError
from django_infinitic.test import WorkflowEnvironment
from tests.unit.client.conftest import at
from tests.unit.client.shop import Order, Stubborn

Run = Callable[..., Any]


def entries(handle: Any, kind: str, **options: Any) -> list[Entry]:
    return [one for one in timeline(handle.workflow_id, **options) if one.kind == kind]


def test_the_story_of_a_run(run: Run) -> None:
    told = [one.text for one in timeline(run(Order.done, "me").workflow_id)]
    assert told == ["method done", "task unit.Mail.send", "ended: COMPLETED"]


def test_how_long_things_took(env: WorkflowEnvironment, run: Run) -> None:
    handle = run(Order.ships)
    env.advance(timedelta(hours=3))
    (child,), (method,), (end,) = (entries(handle, one) for one in ("child", "method", "end"))
    assert (child.status, child.seconds) == ("COMPLETED", 3 * 3600)
    assert (method.status, method.seconds) == ("COMPLETED", 3 * 3600)
    assert end.seconds == 3 * 3600


def test_a_timer(env: WorkflowEnvironment, run: Run) -> None:
    handle = run(Order.sleeps)
    (timer,) = entries(handle, "timer")
    assert (timer.status, timer.seconds) == ("ONGOING", None)
    env.advance(600)
    (timer,) = entries(handle, "timer")
    assert (timer.status, timer.seconds) == ("COMPLETED", 600)


def test_attempts_of_a_task_that_goes_on(env: WorkflowEnvironment, run: Run) -> None:
    handle = run(Order.retried)
    env.advance(60)
    (task,) = entries(handle, "task")
    assert (task.status, task.attempts) == ("ONGOING", 2)
    assert [str(one) for one in task.failures] == ["ValueError: the line is busy"] * 2
    assert "raise ValueError" in task.traceback


def test_attempts_and_traceback_of_a_task_that_failed(env: WorkflowEnvironment, run: Run) -> None:
    handle = run(Order.retried)
    env.advance(3600)
    (task,) = entries(handle, "task")
    assert (task.status, task.attempts) == ("FAILED", 4)
    assert [one.retry_index for one in task.failures] == [0, 1, 2, 3]
    assert "raise ValueError" in task.traceback


def test_a_stall_and_its_retry(env: WorkflowEnvironment, run: Run) -> None:
    handle = run(Order.raises)
    handle.retry()
    env.run()
    told = [one.text for one in timeline(handle.workflow_id)]
    assert told == [
        "method raises",
        "method raises stalled",
        "method raises was retried by hand",
        "method raises stalled",
    ]
    assert "a bug" in entries(handle, "stall")[0].traceback


def test_a_retry_by_the_policy(env: WorkflowEnvironment, run: Run) -> None:
    handle = run(Stubborn.run)
    env.advance(30)
    told = [one.text for one in timeline(handle.workflow_id)]
    assert told[:3] == [
        "method run",
        "method run failed, to be tried again",
        "method run was retried by its policy",
    ]


def test_a_task_that_is_sent_again(env: WorkflowEnvironment, run: Run) -> None:
    handle = run(Order.breaks)
    handle.retry()
    env.run()
    assert "task unit.Mail.broken was sent again" in [one.text for one in entries(handle, "retry")]


def test_messages(env: WorkflowEnvironment, run: Run) -> None:
    handle = run(Order.sleeps)
    handle.stub.paid.send("early")
    handle.stub.live.send("unheard")
    env.run()
    assert [one.text for one in timeline(handle.workflow_id)][1:] == [
        "timer due " + at(env, minutes=10),
        "a message on channel paid arrived",
        "a message on channel live arrived",
        "a message on channel live was discarded: no receive was open for it",
        "a message on channel paid waits",
    ]
    env.advance(600)
    (left,) = entries(handle, "left")
    assert left.text == "a message on channel paid was left when it ended"


def test_what_a_method_sends_and_takes(run: Run) -> None:
    told = [one.text for one in timeline(run(Order.talks).workflow_id)]
    assert told == [
        "method talks",
        "inline code ran",
        "sent a message to channel paid of itself",
        "a message on channel paid was taken by talks",
        "ended: COMPLETED",
    ]


def test_a_cancellation(env: WorkflowEnvironment, run: Run) -> None:
    handle = run(Order.message)
    handle.cancel()
    env.run()
    told = [one.text for one in timeline(handle.workflow_id)]
    assert told == [
        "method message",
        "was to be canceled",
        "method message was to be canceled",
        "ended: CANCELED",
    ]
    assert entries(handle, "method")[0].status == "CANCELED"


def test_no_payload_unless_it_is_asked_for(run: Run) -> None:
    handle = run(Order.done, "a secret")
    assert "secret" not in json.dumps([one.to_json() for one in timeline(handle.workflow_id)])
    (task,) = entries(handle, "task")
    assert task.value == "a text"
    (task,) = entries(handle, "task", payloads=True)
    assert task.value == "sent to a secret"
    assert "a secret" in json.dumps(task.arguments)


def test_an_unknown_instance(env: WorkflowEnvironment) -> None:
    with pytest.raises(WorkflowUnknownError):
        timeline("01a21078-cccf-759d-86c8-dfeca0687924")


def test_several_methods_are_told_in_order(env: WorkflowEnvironment, run: Run) -> None:
    handle = run(Order.message)
    client.dispatch(handle.stub.review, 1)
    env.advance(timedelta(hours=1))
    told = [(one.method, one.kind) for one in timeline(handle.workflow_id)]
    assert told == [("message", "method"), ("review", "method"), ("review", "timer")]
