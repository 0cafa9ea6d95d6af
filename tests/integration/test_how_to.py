"""What the how-to guides say, tried out."""

from __future__ import annotations

from datetime import timedelta

import pytest

from django_infinitic import (
    Channel,
    DeferredStatus,
    RetryPolicy,
    Workflow,
    WorkflowEnd,
    and_,
    client,
    current_task,
    new_service,
    new_workflow,
    patched,
    service,
    task,
    workflow,
)
from django_infinitic.exceptions import WaitTimedOutError, WorkflowCanceledError
from django_infinitic.models import WorkflowInstance
from django_infinitic.test import WorkflowEnvironment

pytestmark = pytest.mark.django_db


class SoldOut(Exception):
    """Nothing is left."""


ENDS: list[WorkflowEnd] = []


@task(name="howto.record_end")
def record_end(end: WorkflowEnd) -> None:
    ENDS.append(end)


@task(name="howto.remind")
def remind(customer: int) -> None: ...


@service(name="howto.Hotels")
class Hotels:
    full = False
    broken = False

    @task(raises=(SoldOut,))
    def book(self, nights: int) -> str:
        if Hotels.broken:
            raise ConnectionError("no answer")
        if Hotels.full:
            raise SoldOut("Nothing is left.")
        return f"{nights} nights"

    @task(retry=RetryPolicy(max_retries=3))
    def count(self) -> int:
        """Fails until `meta` of the attempts before says that it is the third."""
        context = current_task()
        tries = int(str(context.meta.get("tries", "0"))) + 1
        context.meta["tries"] = str(tries)
        if tries < 3:
            assert (context.last_error is None) == (context.retry_index == 0)
            raise ConnectionError
        return tries


@pytest.fixture(autouse=True)
def _as_at_first() -> None:
    ENDS.clear()
    Hotels.full = Hotels.broken = False


@workflow(name="howto.Booking", raises=(SoldOut,), on_end=record_end, on_stall=record_end)
class Booking(Workflow):
    hotels = new_service(Hotels)
    changed = Channel(str)

    def book(self, nights: int) -> str:
        return self.hotels.book(nights)

    def count(self) -> int:
        return self.hotels.count()

    def wait(self) -> str:
        return self.changed.receive().result()


@workflow(name="howto.Question")
class Question(Workflow):
    answers = Channel(str)

    def ask(self, customer: int) -> str:
        for _ in range(3):
            remind(customer)
            try:
                return self.answers.receive().result(timeout=timedelta(days=1))
            except WaitTimedOutError:
                continue
        return "no answer"

    def first(self) -> str:
        answer = self.answers.receive()
        deadline = self.timer(timedelta(hours=1))
        (answer | deadline).result()
        return "too late" if deadline.is_completed() else "in time"


@workflow(name="howto.Watch")
class Watch(Workflow):
    rounds: int

    def __init__(self) -> None:
        self.rounds = 0

    def watch(self, number: int = 0) -> None:
        for _ in range(3):
            self.sleep(timedelta(minutes=10))
            self.rounds += 1
        if number < 2:
            self.dispatch(self.watch, number + 1)


@workflow(name="howto.Tour")
class Tour(Workflow):
    bookings = new_workflow(Booking)

    def plan(self, tours: list[int]) -> list[str]:
        children = [self.dispatch(self.bookings.book, nights) for nights in tours]
        return list(and_(children).result())


@workflow(name="howto.Old")
class Old(Workflow):
    def run(self) -> str:
        return "old"


@workflow(version=1)
class New(Old):
    def run(self) -> str:
        return "patched" if patched("insurance") else "new"


def test_a_declared_exception_ends_the_workflow_and_the_application_hears_of_it(
    infinitic: WorkflowEnvironment,
) -> None:
    Hotels.full = True
    handle = client.start(Booking.book, 2)
    with pytest.raises(SoldOut, match="Nothing is left"):
        handle.result()
    infinitic.run()
    assert [end.status for end in ENDS] == ["FAILED"]
    assert not handle.is_stalled()


def test_what_nobody_expected_stalls_and_goes_on_after_a_retry(
    infinitic: WorkflowEnvironment,
) -> None:
    Hotels.broken = True
    handle = client.start(Booking.book, 2)
    infinitic.run()
    assert handle.is_stalled()
    assert handle.status() == DeferredStatus.FAILED
    assert [end.status for end in ENDS] == ["STALLED"]
    Hotels.broken = False
    handle.retry()
    assert handle.result() == "2 nights"
    infinitic.run()
    assert [end.status for end in ENDS] == ["STALLED", "COMPLETED"]


def test_meta_goes_from_attempt_to_attempt(infinitic: WorkflowEnvironment) -> None:
    handle = client.start(Booking.count)
    infinitic.advance(timedelta(minutes=5))
    assert handle.result() == 3


def test_reminders_until_there_is_an_answer(infinitic: WorkflowEnvironment) -> None:
    handle = client.start(Question.ask, 7)
    infinitic.advance(timedelta(days=1, hours=1))
    handle.stub.answers.send("yes")
    assert handle.result() == "yes"
    assert len(infinitic.calls(remind)) == 2


def test_nobody_answers(infinitic: WorkflowEnvironment) -> None:
    handle = client.start(Question.ask, 7)
    infinitic.advance(timedelta(days=3))
    assert handle.result() == "no answer"
    assert len(infinitic.calls(remind)) == 3


@pytest.mark.parametrize(("send", "outcome"), [(True, "in time"), (False, "too late")])
def test_whichever_comes_first(infinitic: WorkflowEnvironment, send: bool, outcome: str) -> None:
    handle = client.start(Question.first)
    if send:
        handle.stub.answers.send("yes")
    infinitic.advance(timedelta(hours=1))
    assert handle.result() == outcome


def test_a_method_that_runs_itself_again(infinitic: WorkflowEnvironment) -> None:
    handle = client.start(Watch.watch)
    infinitic.advance(timedelta(hours=2))
    assert handle.properties() == {"rounds": 9}
    assert WorkflowInstance.objects.get(pk=handle.workflow_id).closed_at is not None


def test_children(infinitic: WorkflowEnvironment) -> None:
    assert client.start(Tour.plan, [1, 2, 3]).result() == ["1 nights", "2 nights", "3 nights"]


def test_at_most_one_for_a_custom_id(infinitic: WorkflowEnvironment) -> None:
    stub = client.new_workflow(Booking, custom_id="order-42", tags={"customer-7"})
    first = client.dispatch(stub.wait)
    again = client.dispatch(stub.wait)
    assert (first.created, again.created) == (True, False)
    assert again.workflow_id == first.workflow_id
    by_tag = client.get_workflow_by_tag(Booking, "customer-7")
    assert client.get_ids(by_tag) == {first.workflow_id}
    client.get_workflow_by_custom_id(Booking, "order-42").changed.send("no breakfast")
    assert client.get_handle(Booking.wait, custom_id="order-42").result() == "no breakfast"


def test_all_with_a_tag_are_canceled(infinitic: WorkflowEnvironment) -> None:
    stub = client.new_workflow(Booking, tags={"customer-7"})
    handles = [client.dispatch(stub.wait) for _ in range(2)]
    infinitic.run()
    client.cancel(client.get_workflow_by_tag(Booking, "customer-7"))
    for handle in handles:
        with pytest.raises(WorkflowCanceledError):
            handle.result()


def test_a_subclass_with_another_version_is_the_next_version(
    infinitic: WorkflowEnvironment,
) -> None:
    handle = client.dispatch(client.new_workflow(Old).run)
    assert handle.result() == "patched"
    assert WorkflowInstance.objects.get(pk=handle.workflow_id).version == 1


def test_timers_are_completed_by_hand(infinitic: WorkflowEnvironment) -> None:
    handle = client.start(Watch.watch)
    infinitic.run()
    client.complete_timers(handle.stub)
    infinitic.run()
    assert handle.properties() == {"rounds": 1}
