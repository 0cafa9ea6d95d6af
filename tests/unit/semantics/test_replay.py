"""Changed code under running instances: what a replay refuses, and what it lets pass."""

import inspect
from collections.abc import Callable

import pytest

from django_infinitic import (
    Workflow,
    client,
    new_service,
    new_workflow,
    patched,
    workflow,
    workflow_method,
)
from django_infinitic.authoring.channel import Channel
from django_infinitic.exceptions import (
    WorkflowChangedError,
    WorkflowCodeError,
    WorkflowFailedError,
)
from django_infinitic.test import WorkflowEnvironment

from .world import NOTES, SWITCHES, Desk


@pytest.fixture(params=["cold", "crash"])
def env(
    request: pytest.FixtureRequest, environments: Callable[..., WorkflowEnvironment]
) -> WorkflowEnvironment:
    return environments(request.param, replay=False)


@workflow(name="replay.Trip")
class Trip(Workflow):
    desk = new_service(Desk)
    gate = Channel(str)
    other = Channel(str)

    log: list[str]
    extra: str = "class"

    def __init__(self) -> None:
        self.log = []
        if SWITCHES.get("attribute"):
            self.added = "new"

    def _first(self) -> None:
        self.desk.upper("first")
        self.gate.receive().result()

    def renamed(self) -> str:
        self.desk.upper("x")
        if SWITCHES.get("new"):
            self.desk.note("y")
        else:
            self.desk.upper("y")
        return self.gate.receive().result()

    def argument(self) -> str:
        self.desk.upper("new" if SWITCHES.get("new") else "old")
        return self.gate.receive().result()

    @workflow_method(check_mode="strict")
    def argument_strictly(self) -> str:
        self.desk.upper("new" if SWITCHES.get("new") else "old")
        return self.gate.receive().result()

    @workflow_method(check_mode="none")
    def renamed_unchecked(self) -> str:
        (self.desk.note if SWITCHES.get("new") else self.desk.upper)("x")
        return self.gate.receive().result()

    @workflow_method(check_mode="none")
    def other_kind_unchecked(self) -> str:
        if SWITCHES.get("new"):
            self.sleep(1)
        else:
            self.desk.upper("x")
        return self.gate.receive().result()

    def sleep_for(self) -> str:
        self.sleep(200 if SWITCHES.get("new") else 100)
        return "slept"

    @workflow_method(check_mode="strict")
    def sleep_strictly(self) -> str:
        self.sleep(200 if SWITCHES.get("new") else 100)
        return "slept"

    def inserted(self) -> str:
        if SWITCHES.get("new"):
            self.dispatch(self.desk.note, "inserted")
        return self.gate.receive().result()

    def removed(self) -> str:
        if not SWITCHES.get("new"):
            self.dispatch(self.desk.note, "removed")
        return self.gate.receive().result()

    def ends_early(self) -> str:
        self.desk.upper("x")
        if SWITCHES.get("new"):
            return "early"
        return self.gate.receive().result()

    def raises_early(self) -> str:
        self.desk.upper("x")
        if SWITCHES.get("new"):
            raise KeyError("early")
        return self.gate.receive().result()

    def other_operand(self) -> str:
        one, two, three = (self.timer(days * 100) for days in (1, 2, 3))
        (one | (three if SWITCHES.get("new") else two)).result()
        return "fired"

    def swapped_operands(self) -> str:
        gate, timer = self.gate.receive(), self.timer(100)
        got = (timer | gate if SWITCHES.get("new") else gate | timer).result()
        return str(got)

    def appended(self) -> str:
        got = self.gate.receive().result()
        if SWITCHES.get("new"):
            self.desk.note("appended")
        return got

    def patches(self) -> str:
        self._first()
        if patched("notes"):
            self.desk.note("patched")
        self.desk.note("old")
        self.gate.receive().result()
        return str(patched("notes"))

    def old_patches(self) -> str:
        if SWITCHES.get("new") and patched("early"):
            self.desk.note("patched")
        self.desk.note("old")
        self.gate.receive().result()
        if SWITCHES.get("new"):
            return str(patched("early"))
        return "never asked"

    def patched_loop(self) -> list[str]:
        said = []
        for _ in range(3):
            self.gate.receive().result()
            if SWITCHES.get("new"):
                said.append(str(patched("loop")))
            else:
                said.append("-")
        return said

    def rogue(self) -> str:
        self.desk.upper("x")
        self.log.append("rogue" if SWITCHES.get("new") else "recorded")
        self.gate.receive().result()
        return self.log[0]

    def rogue_that_sets_more(self) -> str:
        self.desk.upper("x")
        if SWITCHES.get("new"):
            self.log.append("not recorded")
        self.gate.receive().result()
        self.log.append("last")
        return ",".join(self.log)

    def attributes(self) -> str:
        self.gate.receive().result()
        return getattr(self, "added", "missing")

    def other_channel(self) -> str:
        (self.other if SWITCHES.get("new") else self.gate).receive().result()
        return "received"

    def child(self) -> str:
        new_workflow(Trip).upper("x")
        return self.gate.receive().result()

    def upper(self, text: str) -> str:
        return self.desk.upper(text)

    def refused_in_replay(self) -> str:
        self.desk.upper("x")
        if SWITCHES.get("new"):
            self.timer("soon")  # type: ignore[arg-type]
        return self.gate.receive().result()


def running(env: WorkflowEnvironment, method: object) -> client.WorkflowHandle[str]:
    handle = client.start(method)  # type: ignore[arg-type]
    env.run()
    SWITCHES["new"] = True
    return handle


def complaint(env: WorkflowEnvironment, handle: client.WorkflowHandle[str]) -> str:
    """The text of the `WorkflowChangedError` that the method stalls with."""
    with pytest.raises(WorkflowChangedError) as raised:
        env.replay(handle.workflow_id)
    handle.stub.gate.send("go")
    with pytest.raises(WorkflowFailedError) as caught:
        handle.result()
    nested = caught.value.deferred_error
    assert isinstance(nested, WorkflowCodeError)
    failure = nested.last_failure.exception
    assert failure.is_a(WorkflowChangedError)
    assert failure.message == str(raised.value)
    return failure.message


def line(method: Callable, text: str) -> int:
    source, first = inspect.getsourcelines(method)
    return first + next(number for number, one in enumerate(source) if text in one)


class TestDivergence:
    def test_another_task(self, env: WorkflowEnvironment) -> None:
        handle = running(env, Trip.renamed)
        assert complaint(env, handle) == (
            "Trip.renamed changed under a running instance: command 2 was task "
            '"world.Desk.upper" when it first ran, the code now asks for task '
            f'"world.Desk.note" (semantics/test_replay.py:{line(Trip.renamed, "note")}). '
            "Restore the order, or register this code as version=1."
        )

    def test_the_old_code_goes_on_after_a_retry(self, env: WorkflowEnvironment) -> None:
        handle = running(env, Trip.renamed)
        complaint(env, handle)
        SWITCHES["new"] = False
        handle.retry()
        assert handle.result() == "go"

    def test_an_inserted_command(self, env: WorkflowEnvironment) -> None:
        handle = running(env, Trip.inserted)
        assert (
            'command 1 was receive "gate" when it first ran, the code now asks for task '
            '"world.Desk.note"' in complaint(env, handle)
        )

    def test_a_removed_command(self, env: WorkflowEnvironment) -> None:
        handle = running(env, Trip.removed)
        assert 'command 1 was task "world.Desk.note" when it first ran' in complaint(env, handle)

    @pytest.mark.parametrize("method", [Trip.ends_early, Trip.raises_early])
    def test_an_end_where_it_waited(self, env: WorkflowEnvironment, method: object) -> None:
        handle = running(env, method)
        text = complaint(env, handle)
        assert 'command 2 was receive "gate" when it first ran, the code now ends' in text
        assert NOTES == []

    def test_another_channel(self, env: WorkflowEnvironment) -> None:
        assert 'was receive "gate"' in complaint(env, running(env, Trip.other_channel))

    def test_what_the_replay_refuses_stalls_the_method_only(self, env: WorkflowEnvironment) -> None:
        handle = running(env, Trip.refused_in_replay)
        other = client.start(Trip.upper, "alive")
        handle.stub.gate.send("go")
        assert other.result() == "ALIVE"
        assert handle.is_stalled()

    def test_another_operand_of_a_wait(self, env: WorkflowEnvironment) -> None:
        handle = running(env, Trip.other_operand)
        env.advance(100)
        assert handle.is_stalled()
        with pytest.raises(WorkflowChangedError, match="the wait was for other commands"):
            env.replay(handle.workflow_id)


class TestWhatMayChange:
    def test_the_order_of_operands(self, env: WorkflowEnvironment) -> None:
        handle = running(env, Trip.swapped_operands)
        handle.stub.gate.send("go")
        assert handle.result() == "go"

    def test_an_argument(self, env: WorkflowEnvironment) -> None:
        handle = running(env, Trip.argument)
        handle.stub.gate.send("go")
        assert handle.result() == "go"

    def test_not_when_checked_strictly(self, env: WorkflowEnvironment) -> None:
        assert '["old"]' in complaint(env, running(env, Trip.argument_strictly))

    def test_a_name_when_unchecked(self, env: WorkflowEnvironment) -> None:
        handle = running(env, Trip.renamed_unchecked)
        handle.stub.gate.send("go")
        assert handle.result() == "go"

    def test_but_not_the_kind(self, env: WorkflowEnvironment) -> None:
        assert "was task" in complaint(env, running(env, Trip.other_kind_unchecked))

    def test_a_duration(self, env: WorkflowEnvironment) -> None:
        handle = running(env, Trip.sleep_for)
        env.advance(100)
        assert handle.result() == "slept"

    def test_not_when_checked_strictly_either(self, env: WorkflowEnvironment) -> None:
        handle = running(env, Trip.sleep_strictly)
        env.advance(100)
        assert handle.is_stalled()

    def test_what_lies_ahead(self, env: WorkflowEnvironment) -> None:
        handle = running(env, Trip.appended)
        handle.stub.gate.send("go")
        assert handle.result() == "go"
        assert NOTES == ["appended"]

    def test_a_new_attribute_takes_what_init_says(self, env: WorkflowEnvironment) -> None:
        handle = running(env, Trip.attributes)
        SWITCHES["attribute"] = True
        handle.stub.gate.send("go")
        assert handle.result() == "new"

    def test_a_removed_attribute_is_kept(self, env: WorkflowEnvironment) -> None:
        SWITCHES["attribute"] = True
        handle = running(env, Trip.attributes)
        SWITCHES["attribute"] = False
        handle.stub.gate.send("go")
        assert handle.result() == "new"

    def test_recorded_properties_win(
        self, env: WorkflowEnvironment, caplog: pytest.LogCaptureFixture
    ) -> None:
        handle = running(env, Trip.rogue)
        handle.stub.gate.send("go")
        assert handle.result() == "recorded"
        assert "a replay computed other values of log" in caplog.text

    def test_over_changes_that_were_never_recorded_too(self, env: WorkflowEnvironment) -> None:
        handle = running(env, Trip.rogue_that_sets_more)
        handle.stub.gate.send("go")
        assert handle.result() == "last"
        assert handle.properties()["log"] == ["last"]


class TestPatches:
    def test_a_run_that_comes_there_first_with_the_new_code(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Trip.patches)
        env.run()
        handle.stub.gate.send("one")
        env.run()
        handle.stub.gate.send("two")
        assert handle.result() == "True"
        assert NOTES == ["patched", "old"]
        env.replay(handle.workflow_id)

    def test_a_run_that_has_passed_it(self, env: WorkflowEnvironment) -> None:
        handle = running(env, Trip.old_patches)
        handle.stub.gate.send("go")
        assert handle.result() == "False"
        assert NOTES == ["old"]
        env.replay(handle.workflow_id)

    def test_in_a_loop_it_stays_as_it_was_first(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Trip.patched_loop)
        env.run()
        handle.stub.gate.send("1")
        env.run()
        SWITCHES["new"] = True
        for number in "23":
            handle.stub.gate.send(number)
            env.run()
        assert handle.result() == ["False", "False", "False"]
        env.replay(handle.workflow_id)

    def test_and_one_that_begins_anew_is_patched(self, env: WorkflowEnvironment) -> None:
        SWITCHES["new"] = True
        handle = client.start(Trip.patched_loop)
        for number in "123":
            env.run()
            handle.stub.gate.send(number)
        assert handle.result() == ["True", "True", "True"]
        SWITCHES["new"] = True
        env.replay(handle.workflow_id)


class TestReplays:
    def test_of_what_has_ended(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Trip.child)
        env.run()
        handle.stub.gate.send("go")
        assert handle.result() == "go"
        env.replay(handle.workflow_id)
        assert NOTES == []

    def test_history_is_there_until_retention_ends(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Trip.child)
        env.run()
        handle.stub.gate.send("go")
        handle.result()
        rows = env.history(handle.workflow_id)
        assert {one["stream"] for one in rows} >= {0, 1, 2}
