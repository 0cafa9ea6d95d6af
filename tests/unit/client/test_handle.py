"""What a handle tells and does, row by row of the contract."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User

from django_infinitic import DeferredStatus, Ref, client, get_workflow_by_id, new_workflow
from django_infinitic.exceptions import (
    InvalidIdTagSelectionError,
    RegistryError,
    UsageError,
    WaitTimedOutError,
    WorkflowCanceledError,
    WorkflowFailedError,
    WorkflowUnknownError,
)
from django_infinitic.machine.statuses import InstanceStatus
from django_infinitic.test import WorkflowEnvironment
from tests.unit.client.conftest import store
from tests.unit.client.shop import Mail, Order, Parcel, SoldOut

Run = Callable[..., Any]
NOBODY = "01a21078-cccf-759d-86c8-dfeca0687924"


class TestIds:
    def test_of_a_start(self, run: Run) -> None:
        handle = run(Order.message)
        assert handle.id == handle.method_id == handle.workflow_id
        assert handle.workflow_name == "unit.Order"
        assert handle.created is True

    def test_of_a_method_on_a_running_instance(self, run: Run) -> None:
        handle = run(Order.message)
        side = client.dispatch(handle.stub.answer, 4)
        assert side.workflow_id == handle.workflow_id
        assert side.id == side.method_id != handle.id
        assert side.created is False

    def test_the_uuid_of_a_model_key_is_an_id(self, run: Run) -> None:
        handle = run(Order.message)
        key = UUID(handle.workflow_id)
        assert client.get_handle(key).workflow_id == handle.workflow_id
        assert client.get_handle(Order.message, workflow_id=key).id == handle.id
        side = client.dispatch(get_workflow_by_id(Order, key).answer, 4)
        assert side.workflow_id == handle.workflow_id

    def test_a_custom_id_finds_the_running_instance(self, env: WorkflowEnvironment) -> None:
        first = client.dispatch(new_workflow(Order, custom_id="7").message)
        again = client.dispatch(new_workflow(Order, custom_id="7").message)
        assert (first.created, again.created) == (True, False)
        assert again.id == first.id

    def test_what_runs_by_tag_has_neither_id_nor_result(self, env: WorkflowEnvironment) -> None:
        handle = client.dispatch(client.get_workflow_by_tag(Order, "red").answer, 1)
        for ask in (lambda: handle.id, handle.status, handle.result, handle.explain, handle.cancel):
            with pytest.raises(UsageError):
                ask()

    def test_a_row_stands_for_its_tag_and_custom_id(self, env: WorkflowEnvironment) -> None:
        user = User(pk=7)
        user._state.adding = False  # as if it had been read
        started = client.dispatch(new_workflow(Order, custom_id=user, tags=[Ref(user)]).message)
        assert client.get_ids(client.get_workflow_by_tag(Order, "auth.user:7")) == {started.id}
        assert client.get_handle(Order.message, custom_id=user).id == started.id
        client.get_workflow_by_custom_id(Order, Ref(user)).paid.send("all")
        assert started.result() == "all"


class TestGetHandle:
    def test_by_id_alone(self, run: Run) -> None:
        handle = run(Order.done, "me")
        found = client.get_handle(handle.workflow_id)
        assert found.result() == "sent to me"
        assert found.workflow_name == "unit.Order"

    def test_by_id_alone_of_a_method(self, env: WorkflowEnvironment, run: Run) -> None:
        handle = run(Order.message)
        side = client.dispatch(handle.stub.answer, 4)
        env.run()
        assert client.get_handle(handle.workflow_id, side.method_id).result() == 4

    def test_by_method_and_id(self, run: Run) -> None:
        handle = run(Order.refused)
        with pytest.raises(SoldOut, match="no more tea"):
            client.get_handle(Order.refused, workflow_id=handle.workflow_id).result()

    def test_by_custom_id_it_is_the_latest_that_had_it(self, env: WorkflowEnvironment) -> None:
        stub = new_workflow(Order, custom_id="7")
        first = client.dispatch(stub.done, "ann")
        assert first.result() == "sent to ann"
        second = client.dispatch(stub.done, "bob")
        found = client.get_handle(Order.done, custom_id="7")
        assert found.workflow_id == second.workflow_id
        assert found.result() == "sent to bob"
        assert client.get_handle(Order.done, custom_id="7").result() == "sent to bob"

    def test_needs_an_id(self) -> None:
        for wrong in (
            lambda: client.get_handle(),  # type: ignore[call-overload]
            lambda: client.get_handle(Order.done),  # type: ignore[call-overload]
            lambda: client.get_handle(  # type: ignore[call-overload]
                Order.done, workflow_id=NOBODY, custom_id="7"
            ),
        ):
            with pytest.raises(UsageError):
                wrong()

    def test_asks_nothing_until_it_is_used(self, env: WorkflowEnvironment) -> None:
        handle = client.get_handle(Order.done, custom_id="never seen")
        with pytest.raises(WorkflowUnknownError):
            handle.result()

    def test_of_a_class_that_is_not_registered_here(self, run: Run) -> None:
        handle = run(Order.done, "me")
        rows = store()._t.instances
        rows[handle.id] = replace(rows[handle.id], workflow="unit.Gone")
        with pytest.raises(RegistryError, match=r"unit\.Gone"):
            client.get_handle(handle.id).result()


class TestStatus:
    @pytest.mark.parametrize(
        ("method", "status", "stalled"),
        [
            (Order.message, DeferredStatus.ONGOING, False),
            (Order.phoned, DeferredStatus.ONGOING, False),
            (Order.raises, DeferredStatus.FAILED, True),
            (Order.breaks, DeferredStatus.FAILED, True),
            (Order.refused, DeferredStatus.FAILED, False),
            (Order.starts_review, DeferredStatus.ONGOING, False),
        ],
    )
    def test_of_an_instance(
        self, run: Run, method: Any, status: DeferredStatus, stalled: bool
    ) -> None:
        handle = run(method)
        assert handle.status() is status
        assert handle.is_stalled() is stalled

    def test_ongoing_before_a_worker_has_seen_it(self, env: WorkflowEnvironment) -> None:
        assert client.start(Order.message).status() is DeferredStatus.ONGOING

    def test_completed(self, run: Run) -> None:
        assert run(Order.done, "me").status() is DeferredStatus.COMPLETED

    def test_canceled(self, env: WorkflowEnvironment, run: Run) -> None:
        handle = run(Order.cleans_up)
        handle.cancel()
        env.run()
        assert handle.status() is DeferredStatus.CANCELED

    def test_unknown(self, env: WorkflowEnvironment) -> None:
        handle = client.get_handle(NOBODY)
        assert handle.status() is DeferredStatus.UNKNOWN
        assert handle.is_stalled() is False

    def test_blocked_is_failed_and_can_be_mended(self, run: Run) -> None:
        handle = run(Order.message)
        rows = store()._t.instances
        rows[handle.id] = replace(rows[handle.id], status=InstanceStatus.BLOCKED, error="too large")
        assert handle.status() is DeferredStatus.FAILED
        assert handle.is_stalled() is True
        with pytest.raises(WorkflowFailedError, match="could not process the instance: too large"):
            handle.result()
        handle.retry()
        assert handle.status() is DeferredStatus.ONGOING

    def test_ongoing_from_the_moment_a_retry_is_committed(self, run: Run) -> None:
        handle = run(Order.raises)
        handle.retry()
        assert handle.status() is DeferredStatus.ONGOING
        assert handle.is_stalled() is False


class TestResult:
    def test_again_and_again(self, run: Run) -> None:
        handle = run(Order.done, "me")
        assert handle.result() == handle.result() == "sent to me"

    def test_the_failure_as_often_as_it_is_asked(self, run: Run) -> None:
        handle = run(Order.breaks)
        for _ in range(2):
            with pytest.raises(WorkflowFailedError) as caught:
                handle.result()
            assert caught.value.caused_by(ValueError)

    def test_after_a_retry_it_waits_for_the_new_outcome(
        self, env: WorkflowEnvironment, run: Run
    ) -> None:
        class Fixed:
            def broken(self, secret: str) -> str:
                return "mended"

        handle = run(Order.breaks)
        env.replace(Mail, Fixed())
        handle.retry()
        assert handle.result() == "mended"

    def test_after_a_cancellation(self, env: WorkflowEnvironment, run: Run) -> None:
        handle = run(Order.message)
        handle.cancel()
        env.run()
        with pytest.raises(WorkflowCanceledError):
            handle.result()

    @pytest.mark.parametrize("timeout", [1, timedelta(seconds=1), datetime(2200, 1, 1, tzinfo=UTC)])
    def test_a_limit_leaves_the_workflow_running(self, run: Run, timeout: Any) -> None:
        handle = run(Order.message)
        with pytest.raises(WaitTimedOutError):
            handle.result(timeout)
        assert handle.status() is DeferredStatus.ONGOING

    @pytest.mark.parametrize("timeout", ["soon", datetime(2200, 1, 1), float("nan")])
    def test_a_wrong_limit_is_refused(self, run: Run, timeout: Any) -> None:
        with pytest.raises(UsageError):
            run(Order.message).result(timeout)

    def test_of_an_unknown_instance(self, env: WorkflowEnvironment) -> None:
        with pytest.raises(WorkflowUnknownError):
            client.get_handle(NOBODY).result()

    def test_of_a_method_that_never_was(self, run: Run) -> None:
        handle = run(Order.done, "me")
        with pytest.raises(WorkflowUnknownError):
            client.get_handle(handle.id, NOBODY).result()

    def test_for_async_code(self, run: Run) -> None:
        handle = run(Order.done, "me")
        assert asyncio.run(handle.aresult()) == "sent to me"
        assert asyncio.run(handle.astatus()) is DeferredStatus.COMPLETED
        assert asyncio.run(handle.ais_stalled()) is False
        assert asyncio.run(handle.aproperties()) == {"steps": ["mail"], "number": 7}
        assert asyncio.run(handle.aexplain()).status == "COMPLETED"


class TestProperties:
    def test_while_it_waits_and_after_the_end(self, env: WorkflowEnvironment, run: Run) -> None:
        handle = run(Order.done, "me")
        assert handle.properties() == {"steps": ["mail"], "number": 7}
        env.advance(3600)
        assert handle.properties() == {"steps": ["mail"], "number": 7}

    def test_before_the_first_step(self, env: WorkflowEnvironment) -> None:
        assert client.start(Order.message).properties() == {}

    def test_of_an_unknown_instance(self, env: WorkflowEnvironment) -> None:
        with pytest.raises(WorkflowUnknownError):
            client.get_handle(NOBODY).properties()


class TestActs:
    def test_a_message_by_the_stub(self, run: Run) -> None:
        handle = run(Order.message)
        handle.stub.paid.send("all")
        assert handle.result() == "all"

    def test_cancel_of_a_method_leaves_the_instance(
        self, env: WorkflowEnvironment, run: Run
    ) -> None:
        handle = run(Order.message)
        side = client.dispatch(handle.stub.review, 2)
        env.run()
        side.cancel()
        env.run()
        assert side.status() is DeferredStatus.CANCELED
        assert handle.status() is DeferredStatus.ONGOING

    def test_cancel_of_what_has_ended_does_nothing(self, run: Run) -> None:
        handle = run(Order.done, "me")
        handle.cancel()
        assert handle.result() == "sent to me"
        assert store().messages_of(handle.id) == []

    def test_retry_of_what_has_ended_is_refused(self, run: Run) -> None:
        for handle in (run(Order.done, "me"), run(Order.refused)):
            with pytest.raises(UsageError, match="has ended"):
                handle.retry()

    def test_retry_of_one_method(self, env: WorkflowEnvironment, run: Run) -> None:
        handle = run(Order.raises)
        side = client.dispatch(handle.stub.breaks)
        env.run()
        side.retry()
        assert handle.is_stalled() is False  # a retry of the instance is on its way
        env.run()
        assert [one.is_stalled() for one in (handle, side)] == [True, True]

    def test_of_an_unknown_instance(self, env: WorkflowEnvironment) -> None:
        handle = client.get_handle(NOBODY)
        for act in (handle.cancel, handle.retry):
            with pytest.raises(WorkflowUnknownError):
                act()

    def test_a_class_that_is_not_registered_here_can_be_repaired(self, run: Run) -> None:
        handle = run(Order.raises)
        rows = store()._t.instances
        rows[handle.id] = replace(rows[handle.id], workflow="unit.Gone")
        client.get_handle(handle.id).retry()
        assert len(store().messages_of(handle.id)) == 1


class TestState:
    def test_of_a_running_instance(self, env: WorkflowEnvironment, run: Run) -> None:
        handle = run(Order.nested)
        found = client.get_state(handle.stub)
        assert found is not None
        assert json.loads(json.dumps(found)) == found
        assert (found["name"], found["status"]) == ("unit.Order", "RUNNING")
        (method,) = found["methods"]
        assert method["status"] == "RUNNING"
        assert [(one["kind"], one["status"]) for one in method["commands"]] == [
            ("task", "ONGOING"),
            ("receive", "ONGOING"),
            ("timer", "ONGOING"),
        ]
        assert method["wait"]["for"] == ["|", 2, ["&", 1, 3]]
        assert [one["channel"] for one in found["receivers"]] == ["paid"]
        assert [(one["name"], one["state"]) for one in found["tasks"]] == [
            ("by_phone", "DELEGATED")
        ]

    def test_of_messages_that_wait(self, env: WorkflowEnvironment, run: Run) -> None:
        handle = run(Order.sleeps)
        handle.stub.paid.send("handled")
        env.run()
        handle.stub.paid.send("not handled")
        found = client.get_state(handle.stub)
        assert found is not None
        assert [one["value"] for one in found["messages"]] == ["handled", "not handled"]

    def test_of_messages_that_were_discarded(self, env: WorkflowEnvironment, run: Run) -> None:
        handle = run(Order.sleeps)
        handle.stub.live.send("nobody listens")
        env.run()
        found = client.get_state(handle.stub)
        assert found is not None
        assert [(one["value"], one["why"]) for one in found["discarded"]] == [
            ("nobody listens", "unheard")
        ]

    def test_after_the_end(self, run: Run) -> None:
        handle = run(Order.done, "me")
        found = client.get_state(handle.stub)
        assert found is not None
        assert found["properties"] == {"steps": ["mail"], "number": 7}
        assert [one["status"] for one in found["methods"]] == ["COMPLETED"]

    def test_by_custom_id(self, env: WorkflowEnvironment) -> None:
        handle = client.dispatch(new_workflow(Order, custom_id="7").done, "me")
        handle.result()
        found = client.get_state(client.get_workflow_by_custom_id(Order, "7"))
        assert found is not None
        assert found["id"] == handle.id

    def test_unknown(self, run: Run) -> None:
        assert client.get_state(get_workflow_by_id(Order, NOBODY)) is None
        handle = run(Order.done, "me")
        assert client.get_state(get_workflow_by_id(Parcel, handle.id)) is None

    def test_by_tag_is_refused(self, env: WorkflowEnvironment) -> None:
        with pytest.raises(InvalidIdTagSelectionError):
            client.get_state(client.get_workflow_by_tag(Order, "red"))


class TestGetIds:
    def test_of_running_instances(self, env: WorkflowEnvironment) -> None:
        stub = new_workflow(Order, tags={"red"})
        running = {client.dispatch(stub.message).id for _ in range(2)}
        client.dispatch(stub.done, "me").result()
        assert client.get_ids(client.get_workflow_by_tag(Order, "red")) == running

    def test_by_custom_id(self, env: WorkflowEnvironment) -> None:
        handle = client.dispatch(new_workflow(Order, custom_id="7").message)
        assert client.get_ids(client.get_workflow_by_tag(Order, "customId:7")) == {handle.id}

    def test_by_id_is_refused(self, run: Run) -> None:
        with pytest.raises(InvalidIdTagSelectionError):
            client.get_ids(run(Order.message).stub)
