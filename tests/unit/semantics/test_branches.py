"""Several methods of one instance, and the properties they share."""

import pytest

from django_infinitic import Workflow, client, new_service, workflow
from django_infinitic.authoring.channel import Channel
from django_infinitic.authoring.deferred import DeferredStatus
from django_infinitic.exceptions import (
    TaskFailedError,
    UsageError,
    WorkflowCanceledError,
    WorkflowCodeError,
    WorkflowFailedError,
    WorkflowUnknownError,
)
from django_infinitic.test import WorkflowEnvironment

from .world import NOTES, SWITCHES, Desk


@workflow(name="branches.Board")
class Board(Workflow):
    desk = new_service(Desk)
    gate = Channel(str)
    other = Channel(str)
    limit = 3

    text: str
    items: list[str]
    note: str | None

    def __init__(self) -> None:
        self.text = ""
        self.items = []
        self.note = "first"

    def run(self) -> str:
        self.text = "a"
        said = self.gate.receive().result()
        self.text += said
        return self.text

    def add(self, text: str) -> str:
        self.text += text
        return self.text

    def add_later(self, text: str, seconds: int) -> None:
        self.sleep(seconds)
        self.text += text

    def read(self) -> str:
        return self.text

    def calls_itself(self) -> str:
        self.text = "a"
        self.add("b")
        return self.text + "c"

    def dispatches_itself(self) -> str:
        self.text = "a"
        added = self.dispatch(self.add, "b")
        self.text += "c"
        before = self.text
        added.result()
        return f"{before} {self.text}"

    def ends_before_its_branch(self) -> str:
        self.dispatch(self.add_later, "z", 30)
        return "done"

    def two_waits_for_one_task(self) -> list[str]:
        first = self.dispatch(self.relay, "one")
        second = self.dispatch(self.relay, "two")
        self.gate.send("m")
        self.gate.send("n")
        return list((first & second).result())

    def relay(self, name: str) -> str:
        return name + self.gate.receive().result()

    def identity(self) -> tuple[bool, bool, bool]:
        items, text = self.items, self.text
        self.dispatch(self.add, "x").result()
        same = self.items is items
        changed = self.text != text
        self.dispatch(self.append, "y").result()
        return same, changed, self.items is items

    def append(self, text: str) -> None:
        self.items.append(text)

    def grows(self) -> int:
        for number in range(20):
            self.dispatch(self.append, str(number)).result()
            self.items.append("own")
        return len(self.items)

    def forgets(self) -> str:
        self.note = None
        self.sleep(1)
        before = self.note
        del self.text
        self.sleep(1)
        return f"{before} {hasattr(self, 'text')}"

    def fails_on_the_side(self) -> str:
        self.dispatch(self.breaks)
        self.sleep(1)
        return "main went on"

    def breaks(self) -> str:
        if SWITCHES.get("bug"):
            raise ValueError("side")
        return "mended"

    def waits_for_side(self) -> str:
        return self.dispatch(self.breaks).result()

    def changes_then_fails(self) -> str:
        self.text = "kept"
        self.sleep(1)
        self.text = "lost"
        self.desk.note("sent")
        self.dispatch(self.desk.note, "never sent")
        if SWITCHES.get("bug"):
            raise ValueError("after the change")
        return self.text

    def cancels_its_branch(self) -> str:
        branch = self.dispatch(self.add_later, "z", 10)
        self.sleep(1)
        branch.cancel()
        try:
            branch.result()
        except WorkflowCanceledError as error:
            return f"{error.method_name} {error.method_id == branch.id}"
        return "not canceled"

    def cancels_its_branch_at_once(self) -> str:
        branch = self.dispatch(self.add_later, "z", 10)
        branch.cancel()
        before = branch.status
        self.sleep(1)
        return f"{before.name} {branch.status.name}"

    def canceled_waiter(self) -> str:
        branch = self.dispatch(self.relay, "lost")
        self.sleep(1)
        self.gate.send("m")
        branch.cancel()
        self.sleep(1)
        return self.gate.receive().result()

    def crowded(self) -> list[str]:
        first = self.dispatch(self.both, "first")
        self.gate.send("g1")
        self.sleep(1)
        second = self.dispatch(self.relay, "second ")
        self.other.send("o")
        self.gate.send("g2")
        return list((first & second).result())

    def both(self, name: str) -> str:
        one, two = (self.gate.receive() & self.other.receive()).result()
        return f"{name} {one} {two}"

    def hands_over(self) -> str:
        greedy = self.dispatch(self.both, "greedy")
        self.sleep(1)
        self.gate.send("m")
        self.sleep(1)
        waiting = self.dispatch(self.relay, "got ")
        self.sleep(1)
        greedy.cancel()
        return waiting.result(timeout=60)


@workflow(name="branches.Rounds")
class Rounds(Workflow):
    total: int

    def __init__(self) -> None:
        self.total = 0

    def round(self, left: int) -> int:
        self.total += left
        if left:
            self.dispatch(self.round, left - 1)
        return self.total


class TestMethodsOfARunningInstance:
    def test_a_method_sees_and_changes_the_properties(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Board.run)
        env.run()
        assert handle.stub.add("b") == "ab"
        handle.stub.gate.send("c")
        assert handle.result() == "abc"

    def test_a_hundred_of_them_lose_nothing(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Board.run)
        env.run()
        for _ in range(100):
            client.dispatch(handle.stub.add, "b")
        handle.stub.gate.send("c")
        assert handle.result() == "a" + 100 * "b" + "c"

    def test_a_handle_of_a_method(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Board.run)
        env.run()
        side = client.dispatch(handle.stub.add, "b")
        assert side.workflow_id == handle.workflow_id
        assert side.id == side.method_id != handle.id
        assert not side.created
        assert side.result() == "ab"
        assert client.get_handle(handle.workflow_id, side.id).result() == "ab"

    def test_a_plain_call_is_a_plain_call(self, env: WorkflowEnvironment) -> None:
        assert client.start(Board.calls_itself).result() == "abc"

    def test_a_dispatched_one_runs_beside_and_is_seen_after_the_wait(
        self, env: WorkflowEnvironment
    ) -> None:
        assert client.start(Board.dispatches_itself).result() == "ac acb"

    def test_the_instance_lives_as_long_as_its_branches(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Board.ends_before_its_branch)
        assert handle.result() == "done"
        assert handle.stub.read() == ""
        env.advance(30)
        assert handle.properties()["text"] == "z"
        with pytest.raises(WorkflowUnknownError):
            handle.stub.read()

    def test_messages_go_to_who_waited_first(self, env: WorkflowEnvironment) -> None:
        assert client.start(Board.two_waits_for_one_task).result() == ["onem", "twon"]

    def test_a_method_that_starts_later_does_not_take_what_another_wait_ends_with(
        self, env: WorkflowEnvironment
    ) -> None:
        handle = client.start(Board.crowded)
        env.advance(1)
        assert handle.result() == ["first g1 o", "second g2"]

    def test_a_message_for_a_branch_canceled_at_the_same_time_is_not_lost(
        self, env: WorkflowEnvironment
    ) -> None:
        handle = client.start(Board.canceled_waiter)
        env.advance(5)
        assert handle.result() == "m"

    def test_what_a_canceled_branch_held_goes_to_who_waits(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Board.hands_over)
        env.advance(5)
        assert handle.result() == "got m"

    def test_rounds_that_dispatch_themselves(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Rounds.round, 100)
        env.run()
        assert handle.properties() == {"total": 5050}
        assert handle.status() is DeferredStatus.COMPLETED


class TestProperties:
    def test_what_others_changed_is_a_new_object_the_rest_stays(
        self, env: WorkflowEnvironment
    ) -> None:
        assert client.start(Board.identity).result() == (True, True, False)

    def test_a_growing_list(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Board.grows)
        assert handle.result() == 40
        assert handle.properties()["items"][-2:] == ["19", "own"]

    def test_none_and_deletion_persist(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Board.forgets)
        env.advance(2)
        assert handle.result() == "None False"
        assert handle.properties()["note"] is None
        assert "text" not in handle.properties()

    def test_a_segment_that_fails_leaves_no_trace(self, env: WorkflowEnvironment) -> None:
        SWITCHES["bug"] = True
        handle = client.start(Board.changes_then_fails)
        env.advance(1)
        assert handle.is_stalled()
        assert NOTES == ["sent"]
        assert handle.properties()["text"] == "lost"  # set before the wait that ended well
        SWITCHES["bug"] = False
        handle.retry()
        assert handle.result() == "lost"
        env.run()
        assert NOTES == ["sent", "never sent"]


class TestFailuresOfBranches:
    def test_a_branch_that_fails_does_not_fail_the_others(self, env: WorkflowEnvironment) -> None:
        SWITCHES["bug"] = True
        handle = client.start(Board.fails_on_the_side)
        env.advance(1)
        assert handle.result() == "main went on"
        row = env._store.head(handle.workflow_id)
        assert row is not None
        assert row.closed_at is not None

    def test_a_branch_is_waited_for_again_after_its_retry(self, env: WorkflowEnvironment) -> None:
        SWITCHES["bug"] = True
        handle = client.start(Board.waits_for_side)
        with pytest.raises(WorkflowFailedError) as caught:
            handle.result()
        nested = caught.value.deferred_error
        assert isinstance(nested, WorkflowFailedError)
        assert nested.method_name == "breaks"
        assert isinstance(nested.deferred_error, WorkflowCodeError)
        SWITCHES["bug"] = False
        handle.retry()
        assert handle.result() == "mended"

    def test_one_method_can_be_retried_alone(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Board.run)
        env.run()
        SWITCHES["bug"] = True
        one, two = (client.dispatch(handle.stub.breaks) for _ in range(2))
        env.run()
        assert one.is_stalled()
        assert two.is_stalled()
        assert not handle.is_stalled()
        assert handle.status() is DeferredStatus.ONGOING
        SWITCHES["bug"] = False
        one.retry()
        assert one.result() == "mended"
        assert two.is_stalled()

    def test_of_what_has_ended_nothing_can_be_retried(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Board.run)
        env.run()
        side = client.dispatch(handle.stub.add, "b")
        side.result()
        with pytest.raises(UsageError, match="ended"):
            side.retry()

    def test_the_errors_have_no_task(self, env: WorkflowEnvironment) -> None:
        SWITCHES["bug"] = True
        handle = client.start(Board.breaks)
        with pytest.raises(WorkflowFailedError) as caught:
            handle.result()
        assert not isinstance(caught.value.deferred_error, TaskFailedError)
        failure = caught.value.deferred_error.last_failure
        assert failure.exception.name == "builtins.ValueError"
        assert failure.exception.message == "side"
        assert "breaks" in failure.stack_trace


class TestCancelsOfBranches:
    def test_a_branch_can_be_canceled(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Board.cancels_its_branch)
        env.advance(1)
        assert handle.result() == "add_later True"
        env.advance(20)
        assert handle.properties()["text"] == ""

    def test_in_the_step_that_dispatched_it(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Board.cancels_its_branch_at_once)
        env.advance(20)
        assert handle.result() == "ONGOING CANCELED"

    def test_a_handle_of_a_method_cancels_that_method(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Board.run)
        env.run()
        side = client.dispatch(handle.stub.add_later, "b", 10)
        env.run()
        side.cancel()
        with pytest.raises(WorkflowCanceledError):
            side.result()
        handle.stub.gate.send("c")
        assert handle.result() == "ac"
