"""Workflows that start workflows, and run methods on others."""

import pytest

from django_infinitic import (
    Workflow,
    client,
    get_workflow_by_custom_id,
    get_workflow_by_id,
    get_workflow_by_tag,
    new_service,
    new_workflow,
    workflow,
)
from django_infinitic.authoring.channel import Channel
from django_infinitic.authoring.deferred import DeferredStatus
from django_infinitic.exceptions import (
    TaskFailedError,
    UsageError,
    WorkflowCanceledError,
    WorkflowCodeError,
    WorkflowFailedError,
    WorkflowTimedOutError,
    WorkflowUnknownError,
)
from django_infinitic.test import WorkflowEnvironment

from .world import NOTES, SWITCHES, Broken, Desk, SoldOut


@workflow(name="children.Leaf", raises=(SoldOut,))
class Leaf(Workflow):
    desk = new_service(Desk)
    gate = Channel(str)

    said: str

    def __init__(self) -> None:
        self.said = "nothing"

    def upper(self, text: str) -> str:
        return self.desk.upper(text)

    def wait(self) -> str:
        return self.gate.receive().result()

    def slow(self, seconds: int) -> str:
        self.sleep(seconds)
        NOTES.append("slept")
        return "slept"

    def fails(self) -> str:
        return self.desk.fail_while_switched("leaf")

    def breaks(self) -> str:
        if SWITCHES.get("bug"):
            raise ValueError("a bug in the leaf")
        return "mended"

    def sold_out(self) -> None:
        raise SoldOut("seat", 12)

    def say(self, text: str) -> str:
        self.said, before = text, self.said
        return before

    def who(self) -> tuple[list[str], dict[str, str]]:
        return sorted(self.context.tags), dict(self.context.meta)

    def tidy(self) -> None:
        try:
            self.sleep(1000)
        finally:
            self.sleep(5)
            NOTES.append("tidied")

    async def later(self, seconds: int) -> str:
        await self.timer(seconds)
        return f"after {seconds}"


@workflow(name="children.Timed", total_timeout=10)
class Timed(Workflow):
    def slow(self, seconds: int) -> int:
        self.sleep(seconds)
        return seconds


@workflow(name="children.Factorial")
class Factorial(Workflow):
    def of(self, n: int) -> int:
        return 1 if n == 0 else n * new_workflow(Factorial).of(n - 1)


@workflow(name="children.Parent", raises=(SoldOut,))
class Parent(Workflow):
    leaf = new_workflow(Leaf)
    labelled = new_workflow(Leaf, tags={"labelled"}, meta={"k": "v"})
    timed = new_workflow(Timed)
    gate = Channel(str)

    def twice(self, text: str) -> str:
        return self.leaf.upper(text) + self.leaf.upper(text)

    def parallel(self) -> list[str]:
        started = [self.dispatch(self.leaf.upper, one) for one in "ab"]
        return list((started[0] & started[1]).result())

    def ids(self) -> tuple[str, str]:
        child = self.dispatch(self.leaf.wait)
        get_workflow_by_id(Leaf, child.id).gate.send("hello")
        return child.id, child.result()

    def let_through(self) -> str:
        return self.leaf.fails()

    def catches(self) -> str:
        try:
            return self.leaf.fails()
        except WorkflowFailedError as error:
            nested = error.deferred_error
            assert isinstance(nested, TaskFailedError)
            same = error.caused_by(Broken)
            return f"{error.method_name} {nested.task_name} {same}"

    def bug(self) -> str:
        return self.leaf.breaks()

    def declared(self) -> str:
        try:
            self.leaf.sold_out()
        except SoldOut as error:
            return f"{error.args}"
        return "sold"

    def passes_on(self) -> None:
        self.leaf.sold_out()

    def labels(self) -> tuple[list[str], dict[str, str]]:
        return self.labelled.who()

    def cancels(self) -> str:
        child = self.dispatch(self.leaf.tidy)
        self.sleep(1)
        child.cancel()
        try:
            child.result()
        except WorkflowCanceledError as error:
            return f"{error.workflow_name} {error.workflow_id == child.id}"
        return "not canceled"

    def cancels_at_once(self) -> str:
        child = self.dispatch(self.leaf.slow, 5)
        child.cancel()
        early = child.status.name
        self.sleep(10)
        return f"{early} {child.status.name}"

    def cancels_what_has_ended(self) -> str:
        child = self.dispatch(self.leaf.upper, "x")
        child.result()
        child.cancel()
        return child.result()

    def waits(self) -> str:
        return self.leaf.tidy()

    def leaves_behind(self) -> str:
        self.dispatch(self.leaf.slow, 50)
        return "gone"

    def in_time(self) -> str:
        try:
            self.timed.slow(100)
        except WorkflowTimedOutError as error:
            return f"{error.workflow_name} {error.method_name}"
        return "in time"

    def late_child(self) -> int:
        return self.timed.slow(20)

    def unknown(self) -> str:
        try:
            get_workflow_by_id(Leaf, "nobody").upper("x")
        except WorkflowUnknownError as error:
            return f"{error.workflow_name} {error.workflow_id}"
        return "known"

    def unknown_status(self) -> str:
        there = self.dispatch(get_workflow_by_id(Leaf, "nobody").upper, "x")
        before = there.status.name
        self.sleep(1)
        return f"{before} {there.status.name} {there.is_unknown()}"

    def says(self, id: str) -> str:
        other = get_workflow_by_id(Leaf, id)
        return other.say("one") + other.say("two")

    def says_by_custom_id(self) -> str:
        return get_workflow_by_custom_id(Leaf, "x").say("one")

    def says_by_tag(self) -> str:
        said = self.dispatch(get_workflow_by_tag(Leaf, "crowd").say, "to all")
        assert said.is_completed()
        self.sleep(1)
        try:
            said.result()
        except UsageError:
            pass
        else:
            return "waited"
        try:
            return f"{said.id}"
        except UsageError:
            return "no id"

    def sends_by_tag(self) -> None:
        get_workflow_by_tag(Leaf, "crowd").gate.send("go")

    def waits_for_side(self, id: str) -> str:
        return get_workflow_by_id(Leaf, id).tidy()

    def joins(self, custom_id: str) -> str:
        child = self.dispatch(new_workflow(Leaf, custom_id=custom_id).wait)
        return f"joined: {child.result()}"

    def joins_wrongly(self, custom_id: str) -> str:
        try:
            new_workflow(Leaf, custom_id=custom_id).upper("x")
        except UsageError as error:
            return str(error)
        return "started"

    def asynchronous(self) -> str:
        return self.dispatch(self.leaf.later, 3).result()


def started(method: object, *args: object) -> client.WorkflowHandle[object]:
    return client.start(method, *args)  # type: ignore[arg-type]


class TestResults:
    def test_a_child_gives_its_result(self, env: WorkflowEnvironment) -> None:
        assert started(Parent.twice, "ab").result() == "ABAB"

    def test_children_run_in_parallel(self, env: WorkflowEnvironment) -> None:
        assert started(Parent.parallel).result() == ["A", "B"]

    def test_children_of_children(self, env: WorkflowEnvironment) -> None:
        assert started(Factorial.of, 14).result() == 87178291200

    def test_the_id_of_a_child_addresses_it(self, env: WorkflowEnvironment) -> None:
        child, said = started(Parent.ids).result()
        assert said == "hello"
        assert client.get_handle(child).result() == "hello"

    def test_tags_and_meta_are_those_of_the_stub(self, env: WorkflowEnvironment) -> None:
        handle = client.dispatch(client.new_workflow(Parent, tags={"mine"}).labels)
        assert handle.result() == (["labelled"], {"k": "v"})

    def test_an_async_child(self, env: WorkflowEnvironment) -> None:
        handle = started(Parent.asynchronous)
        env.advance(3)
        assert handle.result() == "after 3"

    def test_a_child_that_nobody_awaits_goes_on_alone(self, env: WorkflowEnvironment) -> None:
        assert started(Parent.leaves_behind).result() == "gone"
        env.advance(60)
        assert NOTES == ["slept"]

    def test_started_by_names_the_parent(self, env: WorkflowEnvironment) -> None:
        handle = started(Parent.ids)
        child, _ = handle.result()
        row = env._store.head(child)
        assert row is not None
        assert row.started_by == f"workflow {handle.workflow_id}"


class TestFailures:
    def test_the_failure_of_a_child_is_nested(self, env: WorkflowEnvironment) -> None:
        SWITCHES["broken"] = True
        handle = started(Parent.let_through)
        with pytest.raises(WorkflowFailedError) as caught:
            handle.result()
        outer = caught.value
        assert (outer.workflow_name, outer.method_name) == ("children.Parent", "let_through")
        inner = outer.deferred_error
        assert isinstance(inner, WorkflowFailedError)
        assert (inner.workflow_name, inner.method_name) == ("children.Leaf", "fails")
        assert isinstance(inner.deferred_error, TaskFailedError)
        assert outer.caused_by(Broken)
        assert not outer.caused_by(KeyError)

    def test_a_retry_of_the_parent_retries_the_child(self, env: WorkflowEnvironment) -> None:
        SWITCHES["broken"] = True
        handle = started(Parent.let_through)
        env.run()
        assert handle.is_stalled()
        SWITCHES["broken"] = False
        handle.retry()
        assert handle.result() == "leaf"
        assert NOTES == ["try leaf", "try leaf"]

    def test_a_retry_of_the_child_resumes_the_parent(self, env: WorkflowEnvironment) -> None:
        SWITCHES["bug"] = True
        handle = started(Parent.bug)
        with pytest.raises(WorkflowFailedError) as caught:
            handle.result()
        nested = caught.value.deferred_error
        assert isinstance(nested, WorkflowFailedError)
        assert isinstance(nested.deferred_error, WorkflowCodeError)
        SWITCHES["bug"] = False
        client.get_handle(nested.workflow_id).retry()
        env.run()
        assert handle.result() == "mended"

    def test_a_failed_child_can_be_caught(self, env: WorkflowEnvironment) -> None:
        SWITCHES["broken"] = True
        assert started(Parent.catches).result() == "fails fail_while_switched True"

    def test_a_declared_exception_arrives_as_itself(self, env: WorkflowEnvironment) -> None:
        assert started(Parent.declared).result() == "('seat', 12)"

    def test_and_passes_through_a_parent_that_declares_it(self, env: WorkflowEnvironment) -> None:
        handle = started(Parent.passes_on)
        for _ in range(2):
            with pytest.raises(SoldOut) as caught:
                handle.result()
            assert caught.value.args == ("seat", 12)
        assert not handle.is_stalled()
        with pytest.raises(UsageError):
            handle.retry()


class TestCancels:
    def test_a_child_can_be_canceled(self, env: WorkflowEnvironment) -> None:
        handle = started(Parent.cancels)
        env.advance(1)
        assert handle.result() == "children.Leaf True"
        env.advance(5)
        assert NOTES == ["tidied"]

    def test_canceled_in_the_step_that_dispatched_it_it_does_not_run(
        self, env: WorkflowEnvironment
    ) -> None:
        handle = started(Parent.cancels_at_once)
        env.advance(20)
        assert handle.result() == "ONGOING CANCELED"
        assert NOTES == []

    def test_what_has_ended_stays_as_it_is(self, env: WorkflowEnvironment) -> None:
        assert started(Parent.cancels_what_has_ended).result() == "X"

    def test_children_are_canceled_with_their_parent(self, env: WorkflowEnvironment) -> None:
        handle = started(Parent.waits)
        env.run()
        handle.cancel()
        with pytest.raises(WorkflowCanceledError):
            handle.result()
        env.advance(10)
        assert NOTES == ["tidied"]

    def test_by_force_too(self, env: WorkflowEnvironment) -> None:
        handle = started(Parent.waits)
        env.run()
        handle.cancel(force=True)
        env.advance(2000)
        assert NOTES == []
        assert not [
            one
            for one in env._store._t.instances.values()  # type: ignore[attr-defined]
            if one.closed_at is None
        ]

    def test_methods_on_others_are_canceled_too_and_the_others_stay(
        self, env: WorkflowEnvironment
    ) -> None:
        other = started(Leaf.wait)
        env.run()
        handle = started(Parent.waits_for_side, other.workflow_id)
        env.run()
        handle.cancel()
        env.advance(10)
        assert NOTES == ["tidied"]
        assert other.status() is DeferredStatus.ONGOING


class TestTotalTimeouts:
    def test_the_wait_ends_and_the_child_goes_on(self, env: WorkflowEnvironment) -> None:
        handle = started(Parent.in_time)
        env.advance(10)
        assert handle.result() == "children.Timed slow"

    def test_a_late_child_resumes_a_parent_that_stalled(self, env: WorkflowEnvironment) -> None:
        handle = started(Parent.late_child)
        env.advance(10)
        with pytest.raises(WorkflowFailedError) as caught:
            handle.result()
        assert isinstance(caught.value.deferred_error, WorkflowTimedOutError)
        env.advance(10)
        assert handle.result() == 20


class TestOthers:
    def test_nobody_there_is_unknown(self, env: WorkflowEnvironment) -> None:
        assert started(Parent.unknown).result() == "children.Leaf nobody"

    def test_the_status_unknown(self, env: WorkflowEnvironment) -> None:
        handle = started(Parent.unknown_status)
        env.advance(1)
        assert handle.result() == "ONGOING UNKNOWN True"

    def test_methods_of_another_instance(self, env: WorkflowEnvironment) -> None:
        other = started(Leaf.wait)
        env.run()
        assert started(Parent.says, other.workflow_id).result() == "nothingone"

    def test_by_custom_id(self, env: WorkflowEnvironment) -> None:
        client.dispatch(client.new_workflow(Leaf, custom_id="x").wait)
        env.run()
        assert started(Parent.says_by_custom_id).result() == "nothing"

    def test_a_custom_id_shared_by_two_workflows_means_the_one_asked_for(
        self, env: WorkflowEnvironment
    ) -> None:
        client.dispatch(client.new_workflow(Leaf, custom_id="x").wait)
        env.run()
        handle = client.dispatch(client.new_workflow(Parent, custom_id="x").says_by_custom_id)
        assert handle.result() == "nothing"

    def test_by_tag_nothing_can_be_waited_for(self, env: WorkflowEnvironment) -> None:
        crowd = client.new_workflow(Leaf, tags={"crowd"})
        others = [client.dispatch(crowd.wait) for _ in range(3)]
        env.run()
        handle = started(Parent.says_by_tag)
        env.advance(1)
        assert handle.result() == "no id"
        assert [one.properties()["said"] for one in others] == ["to all"] * 3

    def test_messages_by_tag(self, env: WorkflowEnvironment) -> None:
        crowd = client.new_workflow(Leaf, tags={"crowd"})
        others = [client.dispatch(crowd.wait) for _ in range(3)]
        env.run()
        started(Parent.sends_by_tag)
        assert [one.result() for one in others] == ["go"] * 3


class TestCustomIds:
    def test_a_child_joins_the_instance_that_runs(self, env: WorkflowEnvironment) -> None:
        leaf = client.new_workflow(Leaf, custom_id="x")
        first = client.dispatch(leaf.wait)
        env.run()
        handles = [started(Parent.joins, "x"), started(Parent.joins, "x")]
        env.run()
        first.stub.gate.send("open")
        assert [one.result() for one in handles] == ["joined: open"] * 2
        assert first.result() == "open"

    def test_or_starts_it(self, env: WorkflowEnvironment) -> None:
        handle = started(Parent.joins, "y")
        env.run()
        client.get_workflow_by_custom_id(Leaf, "y").gate.send("open")
        assert handle.result() == "joined: open"

    def test_another_method_of_it_is_refused(self, env: WorkflowEnvironment) -> None:
        client.dispatch(client.new_workflow(Leaf, custom_id="x").wait)
        env.run()
        text = started(Parent.joins_wrongly, "x").result()
        assert "was started by its method wait" in str(text)

    def test_a_canceled_join_says_so(self, env: WorkflowEnvironment) -> None:
        first = client.dispatch(client.new_workflow(Leaf, custom_id="x").wait)
        env.run()
        handle = started(Parent.joins, "x")
        env.run()
        first.cancel()
        with pytest.raises(WorkflowFailedError) as caught:
            handle.result()
        assert isinstance(caught.value.deferred_error, WorkflowCanceledError)
