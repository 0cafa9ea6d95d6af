"""The client: its rows, what it refuses, and where workflow code may not reach."""

import asyncio
import inspect

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import SynchronousOnlyOperation
from django.db import transaction

from django_infinitic import Workflow, client, new_service, workflow
from django_infinitic.authoring.channel import Channel
from django_infinitic.authoring.deferred import Deferred, DeferredStatus
from django_infinitic.exceptions import (
    InvalidStubError,
    UsageError,
    WaitTimedOutError,
    WorkflowCodeError,
    WorkflowFailedError,
    WorkflowUnknownError,
)
from django_infinitic.test import WorkflowEnvironment

from .world import NOTES, SWITCHES, Desk

KEPT: list[Deferred] = []


@workflow(name="client.Flow")
class Flow(Workflow):
    desk = new_service(Desk)
    gate = Channel(str)
    text: str

    def __init__(self) -> None:
        self.text = "begun"

    def wait(self) -> str:
        return self.gate.receive().result()

    def upper(self, text: str) -> str:
        return self.desk.upper(text)

    def fails(self) -> str:
        first = self.dispatch(self.desk.fail_while_switched, "one")
        second = self.dispatch(self.desk.fail_while_switched, "two")
        return "".join((first & second).result())

    def caught(self) -> str:
        task = self.dispatch(self.desk.fail_while_switched, "x")
        try:
            task.result()
        except Exception:
            NOTES.append(f"caught {task.id}")
        self.gate.receive().result()
        return task.status.name

    def starts_by_client(self) -> None:
        client.start(Flow.wait)

    def waits_by_client(self) -> None:
        client.get_handle("x").result()

    def real_object(self) -> None:
        self.dispatch(Desk().upper, "x")

    def no_stub(self) -> None:
        self.dispatch(len, "x")  # type: ignore[arg-type]

    def keeps_a_deferred(self) -> None:
        KEPT.append(self.timer(5))
        self.dispatch(self.waits_for_the_kept).result()

    def waits_for_the_kept(self) -> None:
        KEPT[-1].result()

    def truth(self) -> None:
        if self.timer(1) and self.timer(2):
            pass

    def queries(self) -> int:
        return User.objects.count()

    def queries_inline(self) -> int:
        return self.inline(User.objects.count)

    def blocks(self) -> None:
        with transaction.atomic():
            self.sleep(1)


def code_error(handle: client.WorkflowHandle[object]) -> str:
    with pytest.raises(WorkflowFailedError) as caught:
        handle.result()
    nested = caught.value.deferred_error
    assert isinstance(nested, WorkflowCodeError)
    assert nested.last_failure.exception.is_a(UsageError) or "Database" in str(nested)
    return nested.last_failure.exception.message


class TestHandles:
    def test_ids_are_known_at_once(self, env: WorkflowEnvironment) -> None:
        handle = client.dispatch(client.new_workflow(Flow).upper, "a")
        assert handle.created
        assert handle.id == handle.method_id == handle.workflow_id
        assert handle.workflow_name == "client.Flow"
        assert handle.status() is DeferredStatus.ONGOING
        assert [handle.result(), handle.result()] == ["A", "A"]
        assert client.get_handle(handle.workflow_id).result() == "A"
        assert client.get_handle(Flow.upper, workflow_id=handle.workflow_id).result() == "A"

    def test_a_stub_is_called(self, env: WorkflowEnvironment) -> None:
        assert client.new_workflow(Flow).upper("a") == "A"

    def test_many_at_once(self, env: WorkflowEnvironment) -> None:
        stub = client.new_workflow(Flow)
        handles = client.bulk_dispatch([(stub.upper, (one,), {}) for one in "abc"])
        assert [one.result() for one in handles] == ["A", "B", "C"]
        with pytest.raises(Exception, match="text"):
            client.bulk_dispatch([(stub.upper, ("a",), {}), (stub.upper, (5,), {})])

    def test_nobody_is_unknown(self, env: WorkflowEnvironment) -> None:
        handle = client.get_handle("nobody")
        for ask in (handle.result, handle.explain, handle.properties):
            with pytest.raises(WorkflowUnknownError):
                ask()
        for act in (handle.cancel, handle.retry):
            with pytest.raises(WorkflowUnknownError):
                act()
        assert handle.status() is DeferredStatus.UNKNOWN

    def test_a_wait_that_cannot_end_says_why(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Flow.wait)
        with pytest.raises(WaitTimedOutError, match="a message on channel gate"):
            handle.result(timeout=5)
        assert handle.properties() == {"text": "begun"}
        assert handle.status() is DeferredStatus.ONGOING

    def test_the_state_is_ready_for_json(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Flow.wait)
        env.run()
        state = client.get_state(handle.stub)
        assert state["properties"] == {"text": "begun"}
        assert [one["channel"] if "channel" in one else one["ch"] for one in state["receivers"]]
        assert [one["name"] for one in state["methods"]] == ["wait"]


class TestRetries:
    def test_of_the_tasks_that_a_method_stands_on(self, env: WorkflowEnvironment) -> None:
        SWITCHES["broken"] = True
        handle = client.start(Flow.fails)
        env.run()
        assert handle.is_stalled()
        NOTES.clear()
        SWITCHES["broken"] = False
        stub = client.get_workflow_by_id(Flow, handle.workflow_id)
        client.retry_tasks(stub, service="another.Service")
        client.retry_tasks(stub, status=DeferredStatus.TIMED_OUT)
        env.run()
        assert NOTES == []
        client.retry_tasks(stub, service=Desk, status=DeferredStatus.FAILED)
        assert handle.result() == "onetwo"
        assert sorted(NOTES) == ["try one", "try two"]

    def test_what_was_caught_is_sent_again_by_id_only(self, env: WorkflowEnvironment) -> None:
        SWITCHES["broken"] = True
        handle = client.start(Flow.caught)
        env.run()
        SWITCHES["broken"] = False
        stub = client.get_workflow_by_id(Flow, handle.workflow_id)
        client.retry_tasks(stub)
        env.run()
        assert NOTES.count("try x") == 1
        client.retry_tasks(stub, task_id=NOTES[-1].removeprefix("caught "))
        env.run()
        assert NOTES.count("try x") == 2
        handle.stub.gate.send("go")
        assert handle.result() == "COMPLETED"


class TestRefusals:
    @pytest.mark.parametrize("method", [Flow.starts_by_client, Flow.waits_by_client])
    def test_in_workflow_code(self, env: WorkflowEnvironment, method: object) -> None:
        assert "workflow code" in code_error(client.start(method))  # type: ignore[arg-type]
        assert len(env._store._t.instances) == 1  # type: ignore[attr-defined]

    def test_in_an_event_loop(self, live: WorkflowEnvironment) -> None:
        async def scenario() -> None:
            handle = await client.astart(Flow.wait)
            with pytest.raises(SynchronousOnlyOperation):
                handle.result()
            with pytest.raises(SynchronousOnlyOperation):
                client.new_workflow(Flow).upper("x")

        asyncio.run(scenario())
        assert len(live._store._t.instances) == 1  # type: ignore[attr-defined]

    @pytest.mark.django_db
    def test_in_a_transaction(self, live: WorkflowEnvironment) -> None:
        handle = client.start(Flow.wait)
        with transaction.atomic():
            with pytest.raises(UsageError, match="atomic"):
                handle.result()
            with pytest.raises(UsageError, match="atomic"):
                client.new_workflow(Flow).upper("x")
            with pytest.raises(UsageError, match="atomic"):
                live.run()
        assert len(live._store._t.instances) == 1  # type: ignore[attr-defined]
        handle.stub.gate.send("go")
        handle.result()
        with transaction.atomic():
            assert handle.result() == "go"  # what has ended needs no wait

    def test_of_what_is_no_stub(self, env: WorkflowEnvironment) -> None:
        text = "dispatch() got Desk().upper, a method of a real object. Use a stub: "
        assert code_error(client.start(Flow.real_object)).startswith(text)
        assert "no method of a stub" in code_error(client.start(Flow.no_stub))
        with pytest.raises(InvalidStubError):
            client.dispatch(len, "x")  # type: ignore[arg-type]
        with pytest.raises(InvalidStubError):
            client.dispatch(new_service(Desk).upper, "x")

    def test_of_deferreds_of_others(self, env: WorkflowEnvironment) -> None:
        KEPT.clear()
        with pytest.raises(WorkflowFailedError, match="another method run"):
            client.start(Flow.keeps_a_deferred).result()
        with pytest.raises(UsageError):
            KEPT[-1].result()
        assert "truth value" in code_error(client.start(Flow.truth))


@pytest.mark.django_db
class TestTheDatabase:
    def test_is_out_of_reach_of_workflow_code(self, env: WorkflowEnvironment) -> None:
        first = inspect.getsourcelines(Flow.queries)[1]
        assert code_error(client.start(Flow.queries)) == (
            "Database access in workflow code (Flow.queries, "
            f"semantics/test_client.py:{first + 1})."
            " A replay would read other rows. Move it to a task, or wrap it in self.inline(...)."
        )

    def test_but_not_of_inline(self, env: WorkflowEnvironment) -> None:
        assert client.start(Flow.queries_inline).result() == 0

    def test_no_transaction_stays_open(self, live: WorkflowEnvironment) -> None:
        with pytest.raises(WorkflowFailedError):
            client.start(Flow.blocks).result()
        assert User.objects.count() == 0
