"""Code that runs once and is recorded, and what is the same in every replay."""

import asyncio
import logging
import random
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import pytest

from django_infinitic import Workflow, client, current_task, new_service, transient, workflow
from django_infinitic.exceptions import (
    InlineFailedError,
    InvalidInlineError,
    SerializationError,
    UsageError,
    WorkflowCodeError,
    WorkflowFailedError,
)
from django_infinitic.test import WorkflowEnvironment

from .world import NOTES, SWITCHES, Broken, Desk, tell


@dataclass(frozen=True)
class Draw:
    number: int
    at: datetime


def draw() -> Draw:
    NOTES.append("draw")
    return Draw(random.randint(0, 10**9), datetime(2024, 1, 2))


def raises() -> int:
    NOTES.append("raise")
    if SWITCHES.get("calm"):
        return 5
    raise Broken("inline")


def note(text: str, *, end: str = "") -> str:
    NOTES.append(text + end)
    return text + end


async def asynchronous() -> int:
    return 1


class Connection:
    def __init__(self) -> None:
        NOTES.append("connection")


@workflow(name="inline.Inline")
class Inline(Workflow):
    desk = new_service(Desk)

    def draws(self) -> bool:
        first = self.inline(draw)
        self.sleep(1)
        second = self.inline(draw)
        self.sleep(1)
        return isinstance(first, Draw) and first != second

    def gives(self) -> int:
        got = self.inline(draw)
        self.sleep(1)
        return got.number

    def arguments(self) -> str:
        return self.inline(note, "a", end="b")

    def catches(self) -> str:
        try:
            self.inline(raises)
        except InlineFailedError as error:
            self.sleep(1)
            return f"{error.caused_by(Broken)} {error.last_failure.exception.message}"
        return "fine"

    def uncaught(self) -> int:
        self.sleep(1)
        return self.inline(raises)

    def dispatches_inside(self) -> None:
        self.inline(lambda: self.dispatch(self.desk.note, "x"))

    def calls_inside(self) -> None:
        self.inline(lambda: self.desk.note("x"))

    def waits_inside(self) -> None:
        timer = self.timer(1)
        self.inline(lambda: timer.result())

    def sleeps_inside(self) -> None:
        self.inline(lambda: self.sleep(1))

    def context_inside(self) -> bool:
        now = self.now()
        return self.inline(lambda: (self.context.workflow_id, self.now())) == (
            self.context.workflow_id,
            now,
        )

    def random_inside(self) -> None:
        self.inline(lambda: self.random.random())

    def stub_inside(self) -> None:
        self.inline(self.desk.note, "x")

    def async_inside(self) -> None:
        self.inline(asynchronous)

    def not_callable(self) -> None:
        self.inline(5)  # type: ignore[arg-type]

    def unencodable(self) -> str:
        try:
            self.inline(lambda: object())
        except SerializationError:
            self.sleep(1)
            return "refused"
        return "stored"

    def catches_refusal(self) -> str:
        try:
            self.inline(lambda: self.sleep(1))
        except InvalidInlineError:
            self.sleep(1)
            return "refused"
        return "slept"

    def plain_function(self) -> str:
        self.inline(tell, "plain")
        return "told"

    def checkpoints(self) -> str:
        self.inline(note, "one", checkpoint=True)
        self.inline(note, "two", checkpoint=True)
        if SWITCHES.get("bug"):
            raise ValueError("after two checkpoints")
        return self.inline(note, "three", checkpoint=True)

    def ordinary(self) -> str:
        self.inline(note, "one")
        if SWITCHES.get("bug"):
            raise ValueError("in the same step")
        return "fine"

    def cancels_inside_loop(self) -> int:
        for number in range(3):
            self.inline(note, str(number), checkpoint=True)
        self.sleep(100)
        return 3


@workflow(name="inline.Seeds")
class Seeds(Workflow):
    connection = transient(Connection)
    made: list[str]

    def __init__(self) -> None:
        self.made = []

    def seeds(self) -> list[str]:
        for _ in range(3):
            self.made.append(f"{self.random.random()} {self.uuid4()}")
            self.sleep(1)
        return self.made

    def both(self) -> bool:
        mine = [self.random.random() for _ in range(3)]
        other = self.dispatch(self.one).result()
        return other not in mine

    def one(self) -> float:
        return self.random.random()

    def logs(self) -> str:
        self.logger.warning("first")
        self.sleep(1)
        self.logger.warning("second %s", 2)
        self.sleep(1)
        return self.logger.logger.name

    def keeps(self) -> bool:
        before = self.connection
        self.sleep(1)
        return self.connection is before

    def replaces(self) -> str:
        self.connection = "own"  # type: ignore[assignment]
        self.sleep(1)
        return str(self.connection)

    def outside(self) -> str:
        try:
            current_task()
        except UsageError as error:
            return str(error)
        return "a task"


def stalled_on(handle: client.WorkflowHandle[object]) -> str:
    with pytest.raises(WorkflowFailedError) as caught:
        handle.result()
    nested = caught.value.deferred_error
    assert isinstance(nested, WorkflowCodeError)
    return nested.last_failure.exception.name.rpartition(".")[2]


class TestInline:
    def test_it_runs_once(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Inline.draws)
        env.advance(2)
        assert handle.result()
        assert NOTES == ["draw", "draw"]

    def test_its_value_is_the_recorded_one(self, env: WorkflowEnvironment) -> None:
        random.seed(7)
        expected = random.randint(0, 10**9)
        random.seed(7)
        handle = client.start(Inline.gives)
        env.advance(1)
        assert handle.result() == expected

    def test_arguments(self, env: WorkflowEnvironment) -> None:
        assert client.start(Inline.arguments).result() == "ab"

    def test_what_it_raises_is_recorded(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Inline.catches)
        env.run()
        SWITCHES["calm"] = True
        env.advance(1)
        assert handle.result() == "True inline"
        assert NOTES == ["raise"]

    def test_uncaught_a_retry_tries_it_again(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Inline.uncaught)
        env.advance(1)
        with pytest.raises(WorkflowFailedError) as caught:
            handle.result()
        assert isinstance(caught.value.deferred_error, InlineFailedError)
        assert caught.value.caused_by(Broken)
        SWITCHES["calm"] = True
        handle.retry()
        assert handle.result() == 5
        assert NOTES == ["raise", "raise"]

    @pytest.mark.parametrize(
        "method",
        [
            Inline.dispatches_inside,
            Inline.calls_inside,
            Inline.waits_inside,
            Inline.sleeps_inside,
            Inline.random_inside,
            Inline.stub_inside,
            Inline.async_inside,
            Inline.not_callable,
        ],
    )
    def test_commands_and_waits_in_it_are_refused(
        self, env: WorkflowEnvironment, method: object
    ) -> None:
        handle = client.start(method)  # type: ignore[arg-type]
        assert stalled_on(handle) == "InvalidInlineError"
        assert NOTES == []

    def test_what_neither_commands_nor_waits_may_be_asked_in_it(
        self, env: WorkflowEnvironment
    ) -> None:
        assert client.start(Inline.context_inside).result()

    def test_a_refusal_is_the_same_in_a_replay(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Inline.catches_refusal)
        env.advance(1)
        assert handle.result() == "refused"

    def test_a_value_that_cannot_be_stored(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Inline.unencodable)
        env.advance(1)
        assert handle.result() == "refused"

    def test_a_function_task_in_it_is_the_plain_function(self, live: WorkflowEnvironment) -> None:
        handle = client.start(Inline.plain_function)
        with pytest.raises(WorkflowFailedError) as caught:
            handle.result()  # called as it is, with a text where it wants a WorkflowEnd
        assert isinstance(caught.value.deferred_error, InlineFailedError)
        assert live.calls(tell) == []

    def test_with_checkpoints_each_is_committed_before_the_next_line(
        self, env: WorkflowEnvironment
    ) -> None:
        SWITCHES["bug"] = True
        handle = client.start(Inline.checkpoints)
        env.advance(5)
        assert handle.is_stalled()
        assert NOTES == ["one", "two"]
        SWITCHES["bug"] = False
        handle.retry()
        env.advance(5)
        assert handle.result() == "three"
        assert NOTES == ["one", "two", "three"]

    def test_without_it_is_recorded_with_its_step(self, env: WorkflowEnvironment) -> None:
        SWITCHES["bug"] = True
        handle = client.start(Inline.ordinary)
        env.run()
        SWITCHES["bug"] = False
        handle.retry()
        assert handle.result() == "fine"
        assert NOTES == ["one", "one"]

    def test_a_cancel_reaches_a_method_between_checkpoints(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Inline.cancels_inside_loop)
        while not NOTES:
            env._engine.run_once()
        handle.cancel()
        env.advance(5)
        assert NOTES[-1] != "2"
        assert not env._store._t.timers  # type: ignore[attr-defined]


class TestTheSameInEveryReplay:
    def test_random_and_uuids(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Seeds.seeds)
        env.advance(3)
        made = handle.result()
        assert len(set(made)) == 3
        assert UUID(made[0].split()[1]).version == 4

    def test_each_method_run_has_its_own(self, env: WorkflowEnvironment) -> None:
        assert client.start(Seeds.both).result()

    def test_two_instances_have_different_ones(self, env: WorkflowEnvironment) -> None:
        assert client.start(Seeds.one).result() != client.start(Seeds.one).result()

    def test_the_logger_tells_each_line_once(
        self, env: WorkflowEnvironment, caplog: pytest.LogCaptureFixture
    ) -> None:
        handle = client.start(Seeds.logs)
        with caplog.at_level(logging.WARNING):
            env.advance(2)
        name = handle.result()
        assert name.endswith("test_inline.Seeds")
        assert [one.getMessage() for one in caplog.records if one.name == name] == [
            "first",
            "second 2",
        ]


class TestTransients:
    def test_it_is_rebuilt_for_each_running_method_and_not_saved(
        self, env: WorkflowEnvironment
    ) -> None:
        handle = client.start(Seeds.keeps)
        env.advance(1)
        assert handle.result()
        assert handle.properties() == {"made": []}

    def test_an_assignment_wins_and_is_not_saved(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Seeds.replaces)
        env.advance(1)
        assert handle.result() == "own"
        assert "connection" not in handle.properties()

    def test_workflow_code_is_no_task(self, env: WorkflowEnvironment) -> None:
        assert "outside a task" in client.start(Seeds.outside).result()


def test_asyncio_is_not_needed() -> None:
    assert asyncio.run(asynchronous()) == 1
