"""Total timeouts limit a wait; policies say when what failed is tried again."""

from datetime import timedelta

import pytest

from django_infinitic import (
    RetryPolicy,
    Workflow,
    client,
    current_task,
    new_service,
    new_workflow,
    service,
    task,
    workflow,
    workflow_method,
)
from django_infinitic.authoring.channel import Channel
from django_infinitic.authoring.deferred import DeferredStatus
from django_infinitic.exceptions import (
    TaskFailedError,
    TaskTimedOutError,
    WaitTimedOutError,
    WorkflowCodeError,
    WorkflowFailedError,
    WorkflowTimedOutError,
)
from django_infinitic.test import WorkflowEnvironment

from .world import NOTES, SWITCHES, Broken, Desk

HALVES = RetryPolicy(min_delay=4, jitter=0, factor=1, max_retries=2)


@service(name="timeouts.Slow")
class Slow:
    @task(total_timeout=10)
    def once(self) -> str:
        NOTES.append(f"once {current_task().retry_sequence}")
        if SWITCHES.get("broken"):
            raise Broken("once")
        return "ok"

    @task(total_timeout=10, retry=RetryPolicy(min_delay=4, jitter=0, factor=1, max_retries=50))
    def stubborn(self) -> str:
        here = current_task()
        NOTES.append((here.retry_sequence, here.retry_index))
        if SWITCHES.get("broken"):
            raise Broken("stubborn")
        return "ok"

    @task(retry=HALVES)
    def counted(self) -> int:
        here = current_task()
        tried = int(here.meta.get("tried", "0")) + 1
        here.meta["tried"] = str(tried)
        if here.last_error is not None:
            NOTES.append((here.last_error.retry_index, here.last_error.seconds_before_retry))
        if tried < SWITCHES["needed"]:
            raise Broken(str(tried))
        return tried

    @task(delegated=True, total_timeout=20)
    def call(self) -> str:
        NOTES.append(current_task().task_id)
        return ""


@workflow(name="timeouts.Child", total_timeout=30)
class Child(Workflow):
    gate = Channel(str)

    def wait(self) -> str:
        return self.gate.receive().result()

    @workflow_method(total_timeout=5)
    def quick(self) -> str:
        return self.gate.receive().result()

    def idle(self) -> None:
        self.sleep(1000)


@workflow(name="timeouts.Patient")
class Patient(Workflow):
    slow = new_service(Slow)
    child = new_workflow(Child)

    def once(self) -> str:
        return self.slow.once()

    def stubborn(self) -> str:
        return self.slow.stubborn()

    def caught(self) -> str:
        task = self.dispatch(self.slow.stubborn)
        try:
            return task.result()
        except TaskTimedOutError as error:
            same = error.task_id == task.id
            return f"{error.service_name} {error.task_name} {same} {task.status.name}"

    def counted(self) -> int:
        return self.slow.counted()

    def delegates(self) -> str:
        return self.slow.call()

    def child_times_out(self) -> str:
        child = self.dispatch(self.child.wait)
        try:
            child.result()
        except WorkflowTimedOutError as error:
            return f"{error.workflow_id == child.id} {child.is_timed_out()}"
        return "in time"

    def method_of_other(self, id: str) -> str:
        from django_infinitic import get_workflow_by_id

        try:
            return get_workflow_by_id(Child, id).quick()
        except WorkflowTimedOutError as error:
            return f"{error.method_name} {error.workflow_id == id}"

    def parent(self) -> str:
        return self.child.wait()


@workflow(name="timeouts.Own", retry=RetryPolicy(min_delay=10, jitter=0, factor=2, max_retries=3))
class Own(Workflow):
    desk = new_service(Desk)
    gate = Channel(str)

    def buggy(self) -> str:
        self.desk.note("before")
        if SWITCHES.get("bug"):
            raise ValueError("own code")
        return "fine"

    def main(self) -> str:
        self.dispatch(self.buggy)
        return "main"

    def fails_by_task(self) -> str:
        return self.desk.fail_while_switched("x")

    def takes(self) -> str:
        got = self.gate.receive().result()
        if SWITCHES.get("bug"):
            raise ValueError(got)
        return got


def timers_of(env: WorkflowEnvironment) -> int:
    return len(env._store._t.timers)  # type: ignore[attr-defined]


class TestTotalTimeoutsOfTasks:
    def test_nothing_is_left_of_one_that_was_not_needed(self, env: WorkflowEnvironment) -> None:
        assert client.start(Patient.once).result() == "ok"
        assert timers_of(env) == 0

    def test_no_new_attempt_starts_after_it(self, env: WorkflowEnvironment) -> None:
        SWITCHES["broken"] = True
        handle = client.start(Patient.caught)
        env.advance(100)
        assert handle.result() == "timeouts.Slow stubborn True TIMED_OUT"
        assert NOTES == [(0, 0), (0, 1), (0, 2)]

    def test_after_a_retry_by_hand_it_counts_anew(self, env: WorkflowEnvironment) -> None:
        SWITCHES["broken"] = True
        handle = client.start(Patient.stubborn)
        env.advance(10)
        assert handle.is_stalled()
        handle.retry()
        env.advance(9)
        assert not handle.is_stalled()
        env.advance(1)
        with pytest.raises(WorkflowFailedError) as caught:
            handle.result()
        assert isinstance(caught.value.deferred_error, TaskTimedOutError)
        assert NOTES == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
        SWITCHES["broken"] = False
        handle.retry()
        assert handle.result() == "ok"
        assert timers_of(env) == 0

    def test_a_late_completion_resumes_the_method_that_stalled_on_it(
        self, env: WorkflowEnvironment
    ) -> None:
        handle = client.start(Patient.delegates)
        env.advance(30)
        assert handle.is_stalled()
        (task_id,) = NOTES
        assert client.complete_task(Slow, task_id, "at last")
        env.run()
        assert handle.result() == "at last"

    def test_an_ordinary_failure_is_no_timeout(self, env: WorkflowEnvironment) -> None:
        SWITCHES["broken"] = True
        handle = client.start(Patient.once)
        with pytest.raises(WorkflowFailedError) as caught:
            handle.result()
        assert isinstance(caught.value.deferred_error, TaskFailedError)
        env.advance(100)
        with pytest.raises(WorkflowFailedError) as caught:
            handle.result()
        assert isinstance(caught.value.deferred_error, TaskFailedError)


class TestTotalTimeoutsOfWorkflows:
    def test_of_a_child(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Patient.child_times_out)
        env.advance(30)
        assert handle.result() == "True True"

    def test_of_a_method_on_another_instance(self, env: WorkflowEnvironment) -> None:
        other = client.start(Child.idle)
        env.run()
        handle = client.start(Patient.method_of_other, other.workflow_id)
        env.advance(5)
        assert handle.result() == "quick True"

    def test_for_a_client_it_is_the_default_of_result(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Child.wait)
        with pytest.raises(WaitTimedOutError, match="message on channel"):
            handle.result()
        assert handle.status() is DeferredStatus.ONGOING
        handle.stub.gate.send("go")
        assert handle.result() == "go"

    def test_a_child_that_is_late_again_after_a_retry(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Patient.parent)
        env.advance(30)
        assert handle.is_stalled()
        handle.retry()
        env.advance(29)
        assert not handle.is_stalled()
        env.advance(1)
        assert handle.is_stalled()


class TestRetriesOfTasks:
    def test_meta_and_the_last_error_travel_with_the_attempts(
        self, env: WorkflowEnvironment
    ) -> None:
        SWITCHES["needed"] = 3
        handle = client.start(Patient.counted)
        env.advance(8)
        assert handle.result() == 3
        assert NOTES == [(0, 4), (1, 4)]

    def test_the_meta_begins_anew_after_a_retry_by_hand(self, env: WorkflowEnvironment) -> None:
        SWITCHES["needed"] = 9
        handle = client.start(Patient.counted)
        env.advance(100)
        with pytest.raises(WorkflowFailedError) as caught:
            handle.result()
        failure = caught.value.deferred_error.last_failure
        assert (failure.retry_index, failure.seconds_before_retry) == (2, None)
        assert failure.previous.retry_index == 1
        SWITCHES["needed"] = 1
        handle.retry()
        assert handle.result() == 1

    def test_attempts_are_listed(self, env: WorkflowEnvironment) -> None:
        SWITCHES["needed"] = 3
        client.start(Patient.counted)
        env.advance(8)
        assert [one.attempt for one in env.calls(Slow.counted)] == [1, 2, 3]


class TestRetriesOfOwnCode:
    def test_between_attempts_the_method_is_ongoing(self, env: WorkflowEnvironment) -> None:
        SWITCHES["bug"] = True
        handle = client.start(Own.buggy)
        env.advance(10)
        assert handle.status() is DeferredStatus.ONGOING
        assert not handle.is_stalled()
        SWITCHES["bug"] = False
        env.advance(20)
        assert handle.result() == "fine"
        assert NOTES == ["before"]

    def test_at_last_it_stalls(self, env: WorkflowEnvironment) -> None:
        SWITCHES["bug"] = True
        handle = client.start(Own.buggy)
        env.advance(10 + 20 + 40)
        with pytest.raises(WorkflowFailedError) as caught:
            handle.result()
        nested = caught.value.deferred_error
        assert isinstance(nested, WorkflowCodeError)
        assert nested.last_failure.retry_index == 3

    def test_a_side_method_between_attempts_holds_the_instance(
        self, env: WorkflowEnvironment
    ) -> None:
        SWITCHES["bug"] = True
        handle = client.start(Own.main)
        assert handle.result() == "main"
        row = env._store.head(handle.workflow_id)
        assert row is not None
        assert row.closed_at is None
        SWITCHES["bug"] = False
        env.advance(10)
        row = env._store.head(handle.workflow_id)
        assert row is not None
        assert row.closed_at is not None

    def test_a_failed_task_is_not_own_code(self, env: WorkflowEnvironment) -> None:
        SWITCHES["broken"] = True
        handle = client.start(Own.fails_by_task)
        env.run()
        assert handle.is_stalled()
        env.advance(timedelta(hours=1))
        assert NOTES == ["try x"]

    def test_a_message_is_taken_again(self, env: WorkflowEnvironment) -> None:
        SWITCHES["bug"] = True
        handle = client.start(Own.takes)
        env.run()
        handle.stub.gate.send("m")
        env.run()
        assert client.get_state(handle.stub)["messages"] == [
            {"channel": "gate", "step": 3, "value": "m"}
        ]
        SWITCHES["bug"] = False
        env.advance(10)
        assert handle.result() == "m"

    def test_a_cancel_between_attempts(self, env: WorkflowEnvironment) -> None:
        SWITCHES["bug"] = True
        handle = client.start(Own.buggy)
        env.run()
        handle.cancel()
        env.run()
        assert handle.status() is DeferredStatus.CANCELED
        assert timers_of(env) == 0

    def test_a_retry_by_hand_does_not_wait_for_the_next_attempt(
        self, env: WorkflowEnvironment
    ) -> None:
        SWITCHES["bug"] = True
        handle = client.start(Own.buggy)
        env.run()
        SWITCHES["bug"] = False
        handle.retry()
        assert handle.result() == "fine"
        assert timers_of(env) == 0
