"""Tags, custom ids, meta and the context of methods and tasks."""

import pytest
from django.contrib.auth.models import User

from django_infinitic import (
    Ref,
    Workflow,
    client,
    get_workflow_by_custom_id,
    get_workflow_by_tag,
    new_service,
    new_workflow,
    workflow,
)
from django_infinitic.authoring.channel import Channel
from django_infinitic.exceptions import (
    InvalidIdTagSelectionError,
    MultipleCustomIdError,
    UsageError,
    WorkflowFailedError,
    WorkflowUnknownError,
)
from django_infinitic.test import WorkflowEnvironment

from .world import NOTES, SWITCHES, Desk


@workflow(name="tags.Order")
class Order(Workflow):
    desk = new_service(Desk)
    labelled = new_service(Desk, tags={"red", "blue"}, meta={"k": "v", "b": b"\x00\xff"})
    gate = Channel(str)

    born: str

    def __init__(self) -> None:
        self.born = f"{sorted(self.context.tags)} {dict(self.context.meta)}"

    def wait(self) -> str:
        return self.gate.receive().result()

    def named(self, name: str) -> str:
        return name + self.gate.receive().result()

    def told(self) -> str:
        return self.born

    def identity(self) -> list[str]:
        here = self.context
        return [
            here.workflow_id,
            here.workflow_name,
            str(here.version),
            here.method_id,
            here.method_name,
        ]

    def identity_of_branch(self) -> list[str]:
        return self.dispatch(self.identity).result()

    def task_context(self) -> str:
        return self.labelled.context() + " | " + self.desk.context()

    def copies(self) -> str:
        here = self.context
        return new_service(Desk, tags=here.tags, meta=dict(here.meta)).context()

    def fails(self) -> str:
        if SWITCHES.get("bug"):
            raise ValueError("bug")
        return "mended"

    def greets(self) -> str:
        self.dispatch(get_workflow_by_tag(Order, "crowd").hear, "hi")
        get_workflow_by_tag(Order, "crowd").gate.send("bye")
        return self.gate.receive().result(timeout=5)

    def hear(self, text: str) -> None:
        NOTES.append(text)

    def meets_itself(self) -> str:
        me = get_workflow_by_custom_id(Order, "me")
        me.gate.send("from myself")
        return f"{self.dispatch(me.told).result()} {self.gate.receive().result()}"

    def asks_by_tag(self) -> str:
        return get_workflow_by_tag(Order, "crowd").told()

    def cancels_by_tag(self) -> None:
        self.dispatch(get_workflow_by_tag(Order, "crowd").told).cancel()


@workflow(name="tags.Other")
class Other(Workflow):
    def wait(self) -> None:
        self.sleep(1000)


class TestTags:
    def test_they_are_listed_while_the_instance_runs(self, env: WorkflowEnvironment) -> None:
        crowd = client.get_workflow_by_tag(Order, "crowd")
        stub = client.new_workflow(Order, tags={"crowd", "second"})
        handles = [client.dispatch(stub.wait) for _ in range(2)]
        assert client.get_ids(crowd) == {one.workflow_id for one in handles}
        assert client.get_ids(client.get_workflow_by_tag(Other, "crowd")) == set()
        env.run()
        crowd.gate.send("go")
        assert [one.result() for one in handles] == ["go", "go"]
        assert client.get_ids(crowd) == set()

    def test_acts_by_tag(self, env: WorkflowEnvironment) -> None:
        SWITCHES["bug"] = True
        stub = client.new_workflow(Order, tags={"crowd"})
        broken, waiting = client.dispatch(stub.fails), client.dispatch(stub.wait)
        env.run()
        crowd = client.get_workflow_by_tag(Order, "crowd")
        SWITCHES["bug"] = False
        client.retry_workflow(crowd)
        assert broken.result() == "mended"
        client.dispatch(crowd.hear, "all")
        env.run()
        assert NOTES == ["all"]
        client.cancel(crowd)
        env.run()
        assert waiting.status().name == "CANCELED"

    def test_what_is_dispatched_by_tag_has_no_result(self, env: WorkflowEnvironment) -> None:
        crowd = client.get_workflow_by_tag(Order, "crowd")
        handle = client.dispatch(crowd.told)
        for ask in (
            lambda: handle.result(),
            lambda: handle.id,
            lambda: handle.status(),
            lambda: crowd.told(),
        ):
            with pytest.raises(UsageError, match="by tag"):
                ask()

    @pytest.mark.parametrize("method", [Order.asks_by_tag, Order.cancels_by_tag])
    def test_nor_in_workflow_code(self, env: WorkflowEnvironment, method: object) -> None:
        with pytest.raises(WorkflowFailedError, match="by tag"):
            client.start(method).result()  # type: ignore[arg-type]

    def test_all_but_the_sender(self, env: WorkflowEnvironment) -> None:
        stub = client.new_workflow(Order, tags={"crowd"})
        others = [client.dispatch(stub.wait) for _ in range(2)]
        env.run()
        sender = client.dispatch(stub.greets)
        env.run()
        assert NOTES == ["hi", "hi"]
        assert [one.result() for one in others] == ["bye", "bye"]
        env.advance(5)
        assert sender.is_stalled()

    @pytest.mark.parametrize("tag", ["", "x" * 256, " x", "x\x00", 5, None])
    def test_what_is_no_tag(self, live: WorkflowEnvironment, tag: object) -> None:
        with pytest.raises(UsageError):
            new_workflow(Order, tags={tag})  # type: ignore[arg-type]
        with pytest.raises(UsageError):
            get_workflow_by_tag(Order, tag)  # type: ignore[arg-type]

    def test_a_row_stands_for_its_tag(self, live: WorkflowEnvironment) -> None:
        user = User(pk=42)
        user._state.adding = False
        handle = client.dispatch(client.new_workflow(Order, tags={Ref(user), "x"}).wait)
        assert client.get_ids(client.get_workflow_by_tag(Order, "auth.user:42")) == {handle.id}
        assert client.get_ids(client.get_workflow_by_tag(Order, user)) == {handle.id}
        other = client.dispatch(client.new_workflow(Order, custom_id=user).wait)
        found = client.get_handle(Order.wait, custom_id="auth.user:42")
        assert found.workflow_id == other.workflow_id


class TestCustomIds:
    def test_it_is_a_tag(self, env: WorkflowEnvironment) -> None:
        handle = client.dispatch(client.new_workflow(Order, custom_id="x").told)
        assert client.get_ids(client.get_workflow_by_tag(Order, "customId:x")) == {handle.id}
        assert handle.result() == "['customId:x'] {}"

    def test_given_as_a_tag(self, env: WorkflowEnvironment) -> None:
        first = client.dispatch(client.new_workflow(Order, tags={"customId:x"}).wait)
        second = client.dispatch(client.new_workflow(Order, custom_id="x").wait)
        assert (first.created, second.created) == (True, False)
        assert second.workflow_id == first.workflow_id

    def test_two_of_them(self) -> None:
        with pytest.raises(MultipleCustomIdError):
            new_workflow(Order, custom_id="x", tags={"customId:y"})
        with pytest.raises(MultipleCustomIdError):
            new_workflow(Order, tags={"customId:x", "customId:y"})
        new_workflow(Order, custom_id="x", tags={"customId:x"})

    def test_a_second_start_is_ignored_arguments_and_all(self, env: WorkflowEnvironment) -> None:
        stub = client.new_workflow(Order, custom_id="x")
        first, second = client.dispatch(stub.named, "a"), client.dispatch(stub.named, "b")
        env.run()
        first.stub.gate.send("!")
        assert first.result() == second.result() == "a!"

    def test_after_the_end_a_new_one_starts(self, env: WorkflowEnvironment) -> None:
        stub = client.new_workflow(Order, custom_id="x")
        first = client.dispatch(stub.told)
        first.result()
        second = client.dispatch(stub.told)
        assert second.created
        assert second.workflow_id != first.workflow_id
        found = client.get_handle(Order.told, custom_id="x")
        assert found.workflow_id == second.workflow_id

    def test_another_method_is_refused(self, env: WorkflowEnvironment) -> None:
        client.dispatch(client.new_workflow(Order, custom_id="x").wait)
        with pytest.raises(UsageError, match="wait"):
            client.dispatch(client.new_workflow(Order, custom_id="x").told)

    def test_once_is_an_idempotency_key(self, env: WorkflowEnvironment) -> None:
        stub = client.new_workflow(Order, custom_id="x", once=True)
        first = client.dispatch(stub.told)
        first.result()
        second = client.dispatch(stub.told)
        assert not second.created
        assert second.result() == first.result()

    def test_once_needs_a_custom_id(self) -> None:
        with pytest.raises(UsageError):
            new_workflow(Order, once=True)

    def test_once_for_a_child(self, env: WorkflowEnvironment) -> None:
        first = client.start(Parent.once)
        assert first.result() == "['customId:y'] {}"
        assert client.start(Parent.once).result() == "['customId:y'] {}"
        assert (
            sum(
                one.workflow == "tags.Order"
                for one in env._store._t.instances.values()  # type: ignore[attr-defined]
            )
            == 1
        )

    def test_by_its_own_custom_id_it_means_itself(self, env: WorkflowEnvironment) -> None:
        handle = client.dispatch(client.new_workflow(Order, custom_id="me").meets_itself)
        assert handle.result() == "['customId:me'] {} from myself"

    def test_acts_by_custom_id(self, env: WorkflowEnvironment) -> None:
        handle = client.dispatch(client.new_workflow(Order, custom_id="x").wait)
        env.run()
        stub = client.get_workflow_by_custom_id(Order, "x")
        assert stub.told() == "['customId:x'] {}"
        assert client.get_state(stub)["id"] == handle.workflow_id
        client.cancel(stub)
        env.run()
        with pytest.raises(WorkflowUnknownError):
            stub.gate.send("too late")
        with pytest.raises(WorkflowUnknownError):
            client.get_handle(Order.wait, custom_id="nobody").status()


class TestMetaAndContext:
    def test_of_a_workflow(self, env: WorkflowEnvironment) -> None:
        meta = {"text": "t", "bytes": b"\x00\xff"}
        handle = client.dispatch(client.new_workflow(Order, tags={"t"}, meta=meta).told)
        assert handle.result() == f"['t'] {meta}"

    def test_of_tasks(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Order.task_context)
        assert handle.result() == (
            "['blue', 'red'] {'k': 'v', 'b': b'\\x00\\xff'} None 0 | [] {} None 0"
        )

    def test_copied_by_hand(self, env: WorkflowEnvironment) -> None:
        handle = client.dispatch(client.new_workflow(Order, tags={"t"}, meta={"k": "w"}).copies)
        assert handle.result() == "['t'] {'k': 'w'} None 0"

    @pytest.mark.parametrize("meta", [{"k": 5}, {5: "v"}, ["k"], "k"])
    def test_what_is_no_meta(self, meta: object) -> None:
        with pytest.raises(UsageError):
            new_workflow(Order, meta=meta)  # type: ignore[arg-type]

    def test_the_context_of_a_method(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Order.identity)
        assert handle.result() == [handle.id, "tags.Order", "0", handle.id, "identity"]

    def test_of_a_branch(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Order.identity_of_branch)
        workflow_id, _, _, method_id, name = handle.result()
        assert workflow_id == handle.workflow_id
        assert method_id != workflow_id
        assert name == "identity"


class TestSelections:
    def test_ids_are_listed_by_tag(self, live: WorkflowEnvironment) -> None:
        with pytest.raises(InvalidIdTagSelectionError):
            client.get_ids(client.get_workflow_by_id(Order, "x"))
        with pytest.raises(InvalidIdTagSelectionError):
            client.get_ids(client.new_workflow(Order))

    def test_states_by_id(self, live: WorkflowEnvironment) -> None:
        assert client.get_state(client.get_workflow_by_id(Order, "nobody")) is None
        with pytest.raises(InvalidIdTagSelectionError):
            client.get_state(client.get_workflow_by_tag(Order, "x"))

    def test_new_instances_are_no_targets(self, live: WorkflowEnvironment) -> None:
        for act in (client.cancel, client.retry_workflow, client.complete_timers):
            with pytest.raises(UsageError):
                act(client.new_workflow(Order))


@workflow(name="tags.Parent")
class Parent(Workflow):
    def once(self) -> str:
        return new_workflow(Order, custom_id="y", once=True).told()
