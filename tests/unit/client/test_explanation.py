"""Why an instance does not move, for every reason there is."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from django_infinitic import client
from django_infinitic.client import Why
from django_infinitic.exceptions import WaitTimedOutError, WorkflowUnknownError
from django_infinitic.machine.statuses import InstanceStatus
from django_infinitic.test import WorkflowEnvironment
from tests.unit.client.conftest import at, said, store, without_workers
from tests.unit.client.shop import Order, Parcel, Stubborn

Run = Callable[..., Any]


class TestAnInstanceThatWaits:
    def test_for_a_message(self, env: WorkflowEnvironment, run: Run) -> None:
        found = run(Order.message).explain()
        assert found.kind is Why.MESSAGE
        assert said(found) == f"unit.Order waits for a message on channel paid since {at(env)}."
        assert found.since == env.now()
        assert found.until is None
        assert [one.name for one in found.waits] == ["paid"]

    def test_for_a_message_until_a_limit(self, env: WorkflowEnvironment, run: Run) -> None:
        found = run(Order.message_in_time).explain()
        limit = at(env, days=2)
        assert said(found) == (
            f"unit.Order waits for a message on channel paid since {at(env)}, at most until "
            f"{limit}."
        )
        assert found.until == env.now() + timedelta(days=2)

    def test_for_a_message_that_matches(self, run: Run) -> None:
        found = run(Order.picky).explain()
        assert "a message on channel paid that matches $[?@ == 'all']" in str(found)

    def test_for_a_time(self, env: WorkflowEnvironment, run: Run) -> None:
        found = run(Order.sleeps).explain()
        assert found.kind is Why.TIMER
        assert said(found) == f"unit.Order sleeps until {at(env, minutes=10)} since {at(env)}."
        assert found.until == env.now() + timedelta(minutes=10)

    def test_for_a_task_that_is_tried_again(self, env: WorkflowEnvironment, run: Run) -> None:
        found = run(Order.retried).explain()
        assert found.kind is Why.RETRY
        assert said(found) == (
            f"unit.Order waits for task unit.Mail.flaky (retry 1 of 3, next {at(env, minutes=1)}, "
            f"last error ValueError: the line is busy) since {at(env)}."
        )
        (cause,) = found.waits
        assert (cause.retry_index, cause.max_retries) == (1, 3)
        assert cause.until == env.now() + timedelta(minutes=1)
        assert cause.error == "ValueError: the line is busy"

    def test_for_somebody_to_complete_a_task(self, env: WorkflowEnvironment, run: Run) -> None:
        found = run(Order.phoned).explain()
        assert found.kind is Why.DELEGATED
        assert said(found) == (
            "unit.Order waits for task unit.Mail.by_phone (somebody has to complete it; its id is "
            f"ID) since {at(env)}."
        )
        (cause,) = found.waits
        assert cause.name == "unit.Mail.by_phone"
        assert cause.id == store().tasks_of(found.workflow_id)[0]["id"]

    def test_for_a_task_that_runs(self, env: WorkflowEnvironment, run: Run) -> None:
        handle = run(Order.retried)
        env.advance(30)
        env._micros += 30_000_000
        store().claim(None, 1)
        env._micros += 12_000_000
        found = handle.explain()
        assert found.kind is Why.TASK
        assert (
            "waits for task unit.Mail.flaky (runs on worker test-environment for 12 s, retry 1 of 3"
            " after ValueError: the line is busy)"
        ) in str(found)
        assert found.waits[0].worker == "test-environment"

    def test_for_a_free_worker(self, env: WorkflowEnvironment, run: Run) -> None:
        handle = run(Order.retried)
        env._micros += 65_000_000
        found = handle.explain()
        assert found.kind is Why.TASK
        assert "unit.Mail.flaky (waits for a free worker for 5 s, retry 1 of 3" in str(found)

    def test_for_a_service_that_no_worker_serves(self, env: WorkflowEnvironment, run: Run) -> None:
        found = run(Order.books_elsewhere).explain()
        assert found.kind is Why.NO_WORKER
        assert said(found) == (
            "unit.Order waits for task unit.Elsewhere.book (no worker serves it) since "
            f"{at(env)}. No living worker serves service unit.Elsewhere (none is on record). Run: "
            "python manage.py infinitic_worker."
        )
        assert found.command == "python manage.py infinitic_worker"

    def test_what_was_last_seen_of_a_worker_is_said(
        self, env: WorkflowEnvironment, run: Run
    ) -> None:
        store().register("old-worker", {"roles": ["executor"], "services": ["unit.Elsewhere"]})
        handle = run(Order.books_elsewhere)
        without_workers()
        assert f"(last seen: worker old-worker at {at(env)})" in str(handle.explain())

    def test_for_a_child_with_the_sentence_of_the_child(
        self, env: WorkflowEnvironment, run: Run
    ) -> None:
        found = run(Order.ships).explain()
        assert found.kind is Why.CHILD
        assert said(found) == (
            f"unit.Order waits for child unit.Parcel.ship since {at(env)}. "
            f"unit.Parcel sleeps until {at(env, hours=3)} since {at(env)}."
        )
        (cause,) = found.waits
        assert cause.child is not None
        assert cause.child.kind is Why.TIMER

    def test_for_the_first_of_two(self, env: WorkflowEnvironment, run: Run) -> None:
        found = run(Order.either).explain()
        assert f"waits for a message on channel paid or a timer due {at(env, minutes=1)} " in str(
            found
        )
        assert [one.kind for one in found.waits] == [Why.MESSAGE, Why.TIMER]

    def test_for_one_or_two_others(self, env: WorkflowEnvironment, run: Run) -> None:
        found = run(Order.nested).explain()
        assert "a message on channel paid or (task unit.Mail.by_phone" in str(found)
        assert f" and a timer due {at(env, minutes=1)})" in str(found)

    def test_for_what_is_left_of_many(self, run: Run) -> None:
        found = run(Order.fan_out).explain()
        assert [one.name for one in found.waits] == ["unit.Mail.by_phone"]
        assert "unit.Mail.send" not in str(found)


class TestAnInstanceThatDoesNotRun:
    def test_not_started(self, env: WorkflowEnvironment) -> None:
        found = client.start(Order.message).explain()
        assert found.kind is Why.NOT_STARTED
        assert said(found) == f"unit.Order was started at {at(env)} and no worker has taken it yet."

    def test_not_started_and_nobody_is_there(self, env: WorkflowEnvironment) -> None:
        without_workers()
        found = client.start(Order.message).explain()
        assert found.kind is Why.NO_WORKER
        assert "No living worker serves workflow unit.Order (last seen: worker test-env" in str(
            found
        )
        assert str(found).endswith("Run: python manage.py infinitic_worker.")

    def test_a_message_came_and_nobody_is_there(self, run: Run) -> None:
        handle = run(Order.message)
        without_workers()
        assert handle.explain().kind is Why.MESSAGE
        handle.stub.paid.send("x")
        assert handle.explain().kind is Why.NO_WORKER

    def test_a_timer_is_long_due_and_nobody_is_there(
        self, env: WorkflowEnvironment, run: Run
    ) -> None:
        handle = run(Order.sleeps)
        without_workers()
        env._micros += 700_000_000
        assert handle.explain().kind is Why.NO_WORKER

    def test_stalled_on_a_task(self, env: WorkflowEnvironment, run: Run) -> None:
        found = run(Order.breaks).explain()
        assert found.kind is Why.STALLED_TASK
        assert said(found).startswith(f"unit.Order is stalled since {at(env)}: task unit.Mail.br")
        assert "ValueError: no line at all. Mend the cause, then retry it" in str(found)
        assert found.status == "STALLED"

    def test_stalled_on_own_code(self, run: Run) -> None:
        found = run(Order.raises).explain()
        assert found.kind is Why.STALLED_CODE
        assert "raised TypeError: a bug" in found.error

    def test_stalled_and_retried(self, env: WorkflowEnvironment, run: Run) -> None:
        handle = run(Order.raises)
        handle.retry()
        assert handle.explain().kind is Why.MOVING
        assert "was retried and is about to go on" in str(handle.explain())
        env.run()
        assert handle.explain().kind is Why.STALLED_CODE

    def test_stalled_on_a_child(self, env: WorkflowEnvironment, run: Run) -> None:
        found = run(Order.loses).explain()
        assert found.kind is Why.STALLED_CHILD
        assert said(found).startswith(
            f"unit.Order is stalled since {at(env)}: child unit.Parcel.lose failed. unit.Parcel is "
            f"stalled since {at(env)}: the code of workflow unit.Parcel raised KeyError: 'lost'"
        )

    def test_stalled_while_a_saga_was_undone(self, env: WorkflowEnvironment, run: Run) -> None:
        handle = run(Order.undoes)
        env.advance(1)
        found = handle.explain()
        assert "undoes what its saga did and waits for task unit.Mail.by_phone" in str(found)
        client.fail_task("unit.Mail", found.waits[0].id or "", "nobody answers")
        env.run()
        assert "while it undid a saga" in str(handle.explain())

    def test_its_own_policy_runs_it_again(self, env: WorkflowEnvironment, run: Run) -> None:
        found = run(Stubborn.run).explain()
        assert found.kind is Why.RETRY
        assert f"runs its code again (retry 1, next {at(env, seconds=30)})" in str(found)
        assert found.until == env.now() + timedelta(seconds=30)

    def test_blocked(self, run: Run) -> None:
        handle = run(Order.message)
        _block(handle.workflow_id, "a row is too large")
        found = handle.explain()
        assert found.kind is Why.BLOCKED
        assert said(found) == (
            "unit.Order is blocked, as the engine could not process it: a row is too large. "
            "Mend the cause, then retry it: handle.retry(), or in the admin."
        )

    def test_is_being_canceled(self, env: WorkflowEnvironment, run: Run) -> None:
        handle = run(Order.cleans_up)
        handle.cancel()
        env.run()
        found = handle.explain()
        assert found.kind is Why.CANCELING
        assert "is being canceled and waits for task unit.Mail.by_phone" in str(found)

    def test_ended(self, env: WorkflowEnvironment, run: Run) -> None:
        found = run(Order.done, "me").explain()
        assert found.kind is Why.ENDED
        assert said(found) == f"unit.Order ended at {at(env)}: COMPLETED."
        assert found.status == "COMPLETED"

    def test_ended_by_a_declared_exception(self, run: Run) -> None:
        found = run(Order.refused).explain()
        assert found.status == "FAILED"
        assert "SoldOut: no more tea" in str(found)

    def test_unknown(self, env: WorkflowEnvironment) -> None:
        with pytest.raises(WorkflowUnknownError):
            client.get_handle("01a21078-cccf-759d-86c8-dfeca0687924").explain()


class TestSeveralMethods:
    def test_the_one_that_has_waited_longest_comes_first(
        self, env: WorkflowEnvironment, run: Run
    ) -> None:
        handle = run(Order.message)
        env.advance(60)
        side = client.dispatch(handle.stub.review, 2)
        env.run()
        found = handle.explain()
        assert said(found) == (
            f"unit.Order, method message, waits for a message on channel paid since "
            f"{at(env, minutes=-1)}. Its method review sleeps until {at(env, hours=2)} since "
            f"{at(env)}."
        )
        assert [one.method_id for one in found.others] == [side.method_id]

    def test_a_stalled_one_comes_before_all(self, env: WorkflowEnvironment, run: Run) -> None:
        handle = run(Order.message)
        client.dispatch(handle.stub.raises)
        env.run()
        found = handle.explain()
        assert found.kind is Why.STALLED_CODE
        assert found.method_name == "raises"

    def test_a_handle_of_a_method_explains_that_method(
        self, env: WorkflowEnvironment, run: Run
    ) -> None:
        handle = run(Order.message)
        side = client.dispatch(handle.stub.review, 2)
        assert side.explain().kind is Why.NOT_STARTED
        env.run()
        assert said(side.explain()) == (
            f"unit.Order, method review, sleeps until {at(env, hours=2)} since {at(env)}."
        )
        env.advance(timedelta(hours=2))
        assert side.explain().kind is Why.ENDED
        assert str(side.explain()).endswith("method review, has ended: COMPLETED.")

    def test_a_method_that_waits_for_another(self, run: Run) -> None:
        found = run(Order.starts_review).explain()
        assert found.kind is Why.METHOD
        assert "method starts_review, waits for its method review since" in str(found)
        assert [one.method_name for one in found.others] == ["review"]


class TestWhatIsSaid:
    def test_no_payload(self, run: Run) -> None:
        texts = [str(run(one).explain()) for one in (Order.retried, Order.breaks)]
        texts.append(str(run(Order.done, "a secret").explain()))
        assert "secret" not in "".join(texts)

    def test_it_is_the_text_of_a_wait_that_timed_out(self, run: Run) -> None:
        handle = run(Parcel.ship)
        with pytest.raises(WaitTimedOutError) as caught:
            handle.result(timeout=1)
        assert str(caught.value) == str(handle.explain())

    def test_it_is_data_too(self, run: Run) -> None:
        found = run(Order.ships).explain()
        document = json.loads(json.dumps(found.to_json()))
        assert document["sentence"] == str(found)
        assert document["kind"] == "child"
        assert document["waits"][0]["child"]["kind"] == "timer"

    def test_nothing_is_changed_by_looking(self, run: Run) -> None:
        handle = run(Order.message)
        before = client.get_state(handle.stub)
        handle.explain()
        assert client.get_state(handle.stub) == before


def _block(instance: str, error: str) -> None:
    from dataclasses import replace

    rows = store()._t.instances
    rows[instance] = replace(rows[instance], status=InstanceStatus.BLOCKED, error=error)
