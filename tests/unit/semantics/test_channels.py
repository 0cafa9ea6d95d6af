"""Channels: queues of an instance, and who takes what."""

import logging

import pytest

from django_infinitic import Workflow, client, new_service, workflow
from django_infinitic.authoring.channel import Channel
from django_infinitic.exceptions import (
    InvalidChannelUsageError,
    UsageError,
    WorkflowFailedError,
    WorkflowUnknownError,
)
from django_infinitic.machine import arrivals
from django_infinitic.test import WorkflowEnvironment

from .world import NOTES, SWITCHES, Desk


@workflow(name="channels.Queue")
class Queue(Workflow):
    desk = new_service(Desk)
    gate = Channel(str)
    other = Channel(str)
    numbers = Channel[int | str]()
    deaf = Channel(str, buffer=False)

    def three(self) -> str:
        return "".join(self.gate.receive().result() for _ in range(3))

    def limited(self) -> str:
        gate = self.gate.receive(2)
        return "".join(gate.result() for _ in range(4))

    def limited_then_races(self) -> str:
        gate = self.gate.receive(2)
        said = [gate.result(), gate.result()]
        self.sleep(1)
        got = (gate & self.timer(5)).result()
        return "".join([*said, got[0]])

    def same_step_twice(self) -> str:
        self.sleep(1)
        gate = self.gate.receive(2)
        said = gate.result() + gate.result()
        got = (gate & self.timer(5)).result()
        return said + got[0]

    def both(self) -> str:
        return "".join((self.gate.receive() & self.gate.receive()).result())

    def in_written_order(self) -> str:
        one, two = self.gate.receive(), self.gate.receive()
        return f"{two.result()} {one.result()}"

    def of(self) -> list[object]:
        text = self.numbers.receive(of=str).result()
        number = self.numbers.receive(of=int).result()
        return [text, number]

    def completed(self) -> list[bool]:
        gate = self.gate.receive()
        seen = [gate.is_completed()]
        self.sleep(1)
        seen.append(gate.is_completed())
        gate.result()
        seen.append(gate.is_completed())
        return seen

    def clears(self) -> str:
        self.sleep(1)
        self.gate.clear()
        return self.gate.receive().result()

    def unheard(self) -> str:
        self.sleep(1)
        try:
            return self.deaf.receive().result(timeout=1)
        except TimeoutError:
            return "nothing"

    def heard(self) -> str:
        deaf = self.deaf.receive()
        self.sleep(1)
        return deaf.result()

    def to_itself(self) -> str:
        self.gate.send("a", key="k")
        self.gate.send("b", key="k")
        self.gate.send("c")
        return self.gate.receive().result() + self.gate.receive().result()

    def unread(self) -> str:
        self.gate.receive()
        self.sleep(1)
        return "read nothing"

    def bug(self) -> str:
        got = self.gate.receive().result()
        if SWITCHES.get("bug"):
            raise ValueError("bug")
        return got

    def deaf_bug(self) -> str:
        got = self.deaf.receive().result()
        if SWITCHES.get("bug"):
            raise ValueError("bug")
        return got

    def wrong_limit(self) -> None:
        self.gate.receive(0)

    def wrong_path(self) -> None:
        self.gate.receive(jsonpath="$[?")

    def through_a_stub(self, id: str) -> None:
        from django_infinitic import get_workflow_by_id

        get_workflow_by_id(Queue, id).gate.receive()

    def sends_to_nobody(self) -> str:
        from django_infinitic import get_workflow_by_id

        get_workflow_by_id(Queue, "nobody").gate.send("x")
        return "sent"

    def fans_in(self) -> str:
        return self.gate.receive().result() + self.other.receive().result()


def sent(env: WorkflowEnvironment, method: object, *messages: str) -> client.WorkflowHandle[object]:
    handle = client.start(method)  # type: ignore[arg-type]
    env.run()
    for message in messages:
        handle.stub.gate.send(message)
    return handle


class TestTaking:
    def test_a_loop_may_receive_anew(self, env: WorkflowEnvironment) -> None:
        assert sent(env, Queue.three, *"abc").result() == "abc"

    def test_messages_wait_from_the_start_on(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Queue.three)
        for message in "abc":
            handle.stub.gate.send(message)
        assert handle.result() == "abc"

    def test_after_the_limit_the_last_is_repeated(self, env: WorkflowEnvironment) -> None:
        assert sent(env, Queue.limited, *"abc").result() == "abbb"

    @pytest.mark.parametrize("method", [Queue.limited_then_races, Queue.same_step_twice])
    def test_in_a_combination_too(self, env: WorkflowEnvironment, method: object) -> None:
        handle = sent(env, method, *"abc")
        env.advance(10)
        assert handle.result() == "abb"

    def test_several_in_one_wait(self, env: WorkflowEnvironment) -> None:
        assert sent(env, Queue.both, "a", "b").result() == "ab"

    def test_a_receive_that_nobody_waits_for_takes_nothing(self, env: WorkflowEnvironment) -> None:
        assert sent(env, Queue.in_written_order, "a", "b").result() == "a b"

    def test_by_class(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Queue.of)
        handle.stub.numbers.send(5)
        handle.stub.numbers.send("five")
        assert handle.result() == ["five", 5]

    def test_completed_means_the_next_wait_would_not_wait(self, env: WorkflowEnvironment) -> None:
        handle = sent(env, Queue.completed, "a")
        env.advance(1)
        assert handle.result() == [False, True, False]

    def test_clear_drops_what_had_arrived(self, env: WorkflowEnvironment) -> None:
        handle = sent(env, Queue.clears, "old", "older")
        env.advance(1)
        handle.stub.gate.send("new")
        assert handle.result() == "new"

    def test_a_stalled_method_finds_its_message_again(self, env: WorkflowEnvironment) -> None:
        SWITCHES["bug"] = True
        handle = sent(env, Queue.bug, "a", "b")
        env.run()
        assert handle.is_stalled()
        SWITCHES["bug"] = False
        handle.retry()
        assert handle.result() == "a"

    def test_a_key_counts_once(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Queue.three)
        for key, message in [("1", "a"), ("1", "x"), ("2", "b"), ("1", "y"), (None, "c")]:
            handle.stub.gate.send(message, key=key)
            env.run()
        assert handle.result() == "abc"

    def test_of_ones_own(self, env: WorkflowEnvironment) -> None:
        assert client.start(Queue.to_itself).result() == "ac"

    def test_what_is_left_is_shown(self, env: WorkflowEnvironment) -> None:
        handle = sent(env, Queue.unread, "left")
        env.advance(1)
        assert handle.result() == "read nothing"
        state = client.get_state(handle.stub)
        assert [one["value"] for one in state["messages"]] == ["left"]


class TestUnbuffered:
    def test_what_nobody_hears_is_discarded(
        self, env: WorkflowEnvironment, caplog: pytest.LogCaptureFixture
    ) -> None:
        handle = client.start(Queue.unheard)
        env.run()
        handle.stub.deaf.send("hello")
        with caplog.at_level(logging.WARNING):
            env.advance(2)
        assert handle.result() == "nothing"
        assert "discarded" in caplog.text
        assert "hello" in str(env.history(handle.workflow_id))

    def test_an_open_receive_hears_it(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Queue.heard)
        env.run()
        handle.stub.deaf.send("hello")
        env.advance(1)
        assert handle.result() == "hello"

    def test_what_a_stalled_step_took_is_not_lost(self, env: WorkflowEnvironment) -> None:
        SWITCHES["bug"] = True
        handle = client.start(Queue.deaf_bug)
        handle.stub.deaf.send("hello")
        env.run()
        assert handle.is_stalled()
        SWITCHES["bug"] = False
        handle.retry()
        assert handle.result() == "hello"


class TestRefusals:
    def test_to_nobody(self, env: WorkflowEnvironment) -> None:
        with pytest.raises(WorkflowUnknownError):
            client.get_workflow_by_id(Queue, "nobody").gate.send("x")
        handle = client.start(Queue.unread)
        env.advance(1)
        with pytest.raises(WorkflowUnknownError):
            handle.stub.gate.send("x")

    def test_in_workflow_code_it_goes_on_and_is_logged(
        self, env: WorkflowEnvironment, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert client.start(Queue.sends_to_nobody).result() == "sent"
        with caplog.at_level(logging.WARNING):
            env.run()
        assert "no such instance runs" in caplog.text

    def test_of_stubs(self, live: WorkflowEnvironment) -> None:
        with pytest.raises(InvalidChannelUsageError):
            client.new_workflow(Queue).gate.send("x")
        with pytest.raises(InvalidChannelUsageError):
            client.get_workflow_by_id(Queue, "x").gate.receive()

    @pytest.mark.parametrize("method", [Queue.wrong_limit, Queue.wrong_path])
    def test_in_the_workflow(self, env: WorkflowEnvironment, method: object) -> None:
        with pytest.raises(WorkflowFailedError, match="receive"):
            client.start(method).result()  # type: ignore[arg-type]

    @pytest.mark.parametrize("key", ["", "x" * 256, 5])
    def test_of_keys(self, live: WorkflowEnvironment, key: object) -> None:
        handle = client.start(Queue.three)
        with pytest.raises(UsageError, match="key"):
            handle.stub.gate.send("x", key=key)

    def test_the_limit_of_a_queue(
        self, live: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(arrivals, "MAX_WAITING", 3)
        handle = sent(live, Queue.unread, *"abcde")
        live.run()
        state = client.get_state(handle.stub)
        assert [one["value"] for one in state["messages"]] == ["a", "b", "c"]
        assert NOTES == []
