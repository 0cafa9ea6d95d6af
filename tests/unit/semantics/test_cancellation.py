"""Cancellation with cleanup, by force, of stalled methods; sagas; what is told of ends."""

import pytest

from django_infinitic import Workflow, client, new_service, new_workflow, workflow
from django_infinitic.authoring.channel import Channel
from django_infinitic.authoring.deferred import DeferredStatus
from django_infinitic.exceptions import (
    Canceled,
    DeferredCanceledError,
    TaskCanceledError,
    TaskFailedError,
    UsageError,
    WorkflowCanceledError,
    WorkflowFailedError,
    WorkflowUnknownError,
)
from django_infinitic.test import WorkflowEnvironment

from .world import NOTES, SWITCHES, Broken, Desk, SoldOut, tell


@workflow(name="cancel.Inner")
class Inner(Workflow):
    desk = new_service(Desk)

    def idle(self) -> str:
        try:
            self.sleep(1000)
        finally:
            self.desk.note("inner")
        return "slept"


@workflow(name="cancel.Flow", on_end=tell, on_stall=tell, raises=(SoldOut,))
class Flow(Workflow):
    desk = new_service(Desk)
    inner = new_workflow(Inner)
    gate = Channel(str)
    state: str

    def __init__(self) -> None:
        self.state = "new"

    def at_once(self) -> str:
        NOTES.append("ran")
        return "ran"

    def cleans(self) -> str:
        try:
            self.gate.receive().result()
        finally:
            self.state = "cleaning"
            self.desk.note("cleanup")
            self.sleep(5)
            self.state = "clean"
            self.dispatch(self.desk.note, "last")
        return "done"

    def swallows(self) -> str:
        try:
            self.sleep(1000)
        except Canceled:
            self.sleep(5)
            return "whatever"
        return "slept"

    def catches_exceptions_only(self) -> str:
        try:
            self.sleep(1000)
        except Exception:
            return "caught"
        return "slept"

    def once(self) -> list[str]:
        seen = []
        for _ in range(2):
            try:
                self.sleep(10)
            except Canceled:
                seen.append("canceled")
        self.state = ",".join(seen)
        return seen

    def cleanup_fails(self) -> str:
        try:
            self.sleep(1000)
        finally:
            self.desk.fail_while_switched("cleanup")
            self.desk.note("cleaned")
        return "slept"

    def cleanup_by_child_error(self) -> str:
        child = self.dispatch(self.inner.idle)
        try:
            self.sleep(1000)
        finally:
            child.result()
        return "slept"

    def with_children(self) -> str:
        self.dispatch(self.inner.idle)
        self.inner.idle()
        return "slept"

    def starts_child_in_cleanup(self) -> str:
        try:
            self.sleep(1000)
        finally:
            self.inner.idle()
        return "slept"

    def waits_for_task(self) -> str:
        try:
            return self.desk.ask_for_ever("x")  # type: ignore[return-value]
        except Canceled:
            NOTES.append("canceled")
            raise

    def branches(self) -> str:
        self.dispatch(self.branch)
        self.sleep(1000)
        return "slept"

    def branch(self) -> None:
        try:
            self.sleep(1000)
        finally:
            self.desk.note("branch")

    def breaks(self) -> str:
        self.sleep(1)
        if SWITCHES.get("bug"):
            raise ValueError("bug")
        self.sleep(1000)
        return "slept"

    def receives_while_cleaning(self) -> str:
        try:
            self.sleep(1000)
        finally:
            self.state = self.gate.receive().result()
        return "slept"

    def sells(self) -> int:
        self.dispatch(self.desk.note, "parting gift")
        self.state = "sold"
        return self.desk.sell(0)

    def declared_while_canceled(self) -> str:
        try:
            self.sleep(1000)
        except Canceled:
            raise SoldOut("late") from None
        return "slept"


@workflow(name="cancel.Operands")
class Operands(Workflow):
    desk = new_service(Desk)
    gate = Channel(str)

    def running_attempt_decides(self) -> list[str]:
        good, bad = self.dispatch(self.desk.note, "good"), self.dispatch(self.desk.fail, "bad")
        waiting = self.dispatch(self.desk.patient, "waiting")
        self.sleep(5)
        seen = []
        (good & waiting).cancel()
        bad.cancel()
        self.sleep(1)
        for one in (good, bad, waiting):
            try:
                one.result()
            except (TaskCanceledError, TaskFailedError) as error:
                seen.append(type(error).__name__)
            else:
                seen.append(one.status.name)
        return seen

    def receive_and_timer(self) -> list[str]:
        gate, timer = self.gate.receive(), self.timer(5)
        (gate | timer).cancel()
        seen = [gate.status.name, timer.status.name]
        for one in (gate, timer):
            try:
                one.result()
            except DeferredCanceledError as error:
                seen.append(type(error).__name__)
        return [*seen, self.gate.receive().result()]

    def delegated(self) -> list[str]:
        asked = self.dispatch(self.desk.ask_for_ever, "x")
        self.sleep(1)
        asked.cancel()
        before = asked.status.name
        try:
            asked.result()
        except TaskCanceledError as error:
            return [before, error.task_name, asked.status.name]
        return [before]

    def before_it_begins(self) -> list[str]:
        task = self.dispatch(self.desk.note, "never")
        task.cancel()
        before = task.status.name
        self.sleep(1)
        return [before, task.status.name]


@workflow(name="cancel.Sagas")
class Sagas(Workflow):
    desk = new_service(Desk)
    inner = new_workflow(Inner)
    gate = Channel(str)

    def undoes(self) -> str:
        try:
            with self.saga() as saga:
                for text in "abc":
                    saga.add(self.dispatch(self.desk.note, text), self.desk.forget).result()
                saga.add(self.dispatch(self.desk.patient, "waiting"), self.desk.forget)
                raise ValueError("no")
        except ValueError:
            return "undone"

    def keeps(self) -> str:
        with self.saga() as saga:
            saga.add(self.dispatch(self.desk.note, "a"), self.desk.forget).result()
        return "kept"

    def undo_by_callable(self) -> str:
        with self.saga() as saga:
            saga.add(self.dispatch(self.desk.note, "a"), self._forget).result()
            self.gate.receive().result()
        return "kept"

    def _forget(self, text: str) -> None:
        self.sleep(10)
        self.desk.forget(text)

    def undo_fails(self) -> str:
        with self.saga() as saga:
            saga.add(self.dispatch(self.desk.note, "a"), self.desk.forget).result()
            saga.add(self.dispatch(self.desk.note, "b"), self.desk.fail_while_switched).result()
            try:
                with self.saga() as nested:
                    nested.add(self.dispatch(self.desk.note, "c"), self.desk.forget).result()
                    raise ValueError("inner")
            except ValueError:
                self.desk.note("between")
            raise ValueError("outer")

    def nested_and_canceled(self) -> str:
        try:
            with self.saga() as saga:
                saga.add(self.dispatch(self.desk.note, "a"), self.desk.forget).result()
                try:
                    with self.saga() as nested:
                        nested.add(self.dispatch(self.desk.note, "b"), self._forget).result()
                        raise ValueError("inner")
                except (ValueError, Canceled) as error:
                    NOTES.append(type(error).__name__)
                    raise
        except (ValueError, Canceled) as error:
            NOTES.append(type(error).__name__)
            raise
        return "never"

    def with_a_child(self) -> str:
        with self.saga() as saga:
            saga.add(self.dispatch(self.inner.idle), self.desk.forget)
            saga.add(self.dispatch(self.desk.note, "a"), self.desk.forget).result()
            raise ValueError("no")

    def late_add(self) -> None:
        with self.saga() as saga:
            pass
        saga.add(self.dispatch(self.desk.note, "a"), self.desk.forget)

    async def asynchronous(self) -> str:
        with self.saga() as saga:
            await saga.add(self.dispatch(self.desk.note, "a"), self._aforget)
            await self.gate.receive()
        return "kept"

    async def _aforget(self, text: str) -> None:
        await self.timer(1)
        await self.dispatch(self.desk.forget, text)


def begun(env: WorkflowEnvironment, method: object) -> client.WorkflowHandle[object]:
    handle = client.start(method)  # type: ignore[arg-type]
    env.run()
    return handle


def is_closed(env: WorkflowEnvironment, handle: client.WorkflowHandle[object]) -> bool:
    row = env._store.head(handle.workflow_id)
    assert row is not None
    return row.closed_at is not None


def ends() -> list[str]:
    return [one[0] for one in NOTES if isinstance(one, tuple)]


class TestCancel:
    def test_before_the_first_step_nothing_runs(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Flow.at_once)
        handle.cancel()
        with pytest.raises(WorkflowCanceledError):
            handle.result()
        env.run()
        assert NOTES == [("CANCELED", "cancel.Flow", [], "")]

    def test_cleanup_may_wait_and_waiters_hear_at_once(self, env: WorkflowEnvironment) -> None:
        handle = begun(env, Flow.cleans)
        handle.cancel()
        with pytest.raises(WorkflowCanceledError) as caught:
            handle.result()
        error = caught.value
        assert (error.workflow_name, error.method_name) == ("cancel.Flow", "cleans")
        assert error.workflow_id == error.method_id == handle.id
        env.run()
        assert not is_closed(env, handle)
        assert handle.properties()["state"] == "cleaning"
        env.advance(5)
        assert is_closed(env, handle)
        assert handle.properties()["state"] == "clean"
        assert sorted(map(str, NOTES))[-2:] == ["cleanup", "last"]
        assert ends() == ["CANCELED"]
        with pytest.raises(WorkflowCanceledError):
            handle.result()

    def test_whatever_it_returns_it_is_canceled(self, env: WorkflowEnvironment) -> None:
        handle = begun(env, Flow.swallows)
        handle.cancel()
        env.advance(5)
        assert handle.status() is DeferredStatus.CANCELED
        assert ends() == ["CANCELED"]

    def test_except_exception_does_not_see_it(self, env: WorkflowEnvironment) -> None:
        handle = begun(env, Flow.catches_exceptions_only)
        handle.cancel()
        env.run()
        assert is_closed(env, handle)
        assert handle.status() is DeferredStatus.CANCELED

    def test_it_is_raised_once(self, env: WorkflowEnvironment) -> None:
        handle = begun(env, Flow.once)
        handle.cancel()
        handle.cancel()
        env.advance(10)
        assert handle.properties()["state"] == "canceled"
        handle.cancel()  # of what has ended it does nothing
        assert ends() == ["CANCELED"]

    def test_a_cleanup_that_fails_stalls_and_can_be_retried(self, env: WorkflowEnvironment) -> None:
        SWITCHES["broken"] = True
        handle = begun(env, Flow.cleanup_fails)
        handle.cancel()
        env.run()
        assert not is_closed(env, handle)
        assert handle.status() is DeferredStatus.CANCELED
        SWITCHES["broken"] = False
        handle.retry()
        env.run()
        assert is_closed(env, handle)
        assert [one for one in NOTES if isinstance(one, str)] == [
            "try cleanup",
            "try cleanup",
            "cleaned",
        ]
        assert ends() == ["STALLED", "CANCELED"]

    def test_a_canceled_child_that_the_cleanup_waits_for_ends_it(
        self, env: WorkflowEnvironment
    ) -> None:
        handle = begun(env, Flow.cleanup_by_child_error)
        handle.cancel()
        env.run()
        assert is_closed(env, handle)
        assert ends() == ["CANCELED"]

    def test_all_running_children_are_canceled(self, env: WorkflowEnvironment) -> None:
        handle = begun(env, Flow.with_children)
        handle.cancel()
        env.run()
        assert NOTES.count("inner") == 2
        assert all(
            one.closed_at is not None
            for one in env._store._t.instances.values()  # type: ignore[attr-defined]
        )

    def test_but_not_those_of_the_cleanup(self, env: WorkflowEnvironment) -> None:
        handle = begun(env, Flow.starts_child_in_cleanup)
        handle.cancel()
        env.run()
        handle.cancel()
        env.advance(1000)
        assert is_closed(env, handle)
        assert NOTES.count("inner") == 1

    def test_tasks_that_the_wait_stood_on_are_canceled(self, env: WorkflowEnvironment) -> None:
        handle = begun(env, Flow.waits_for_task)
        (task_id,) = NOTES
        handle.cancel()
        env.run()
        assert NOTES[1] == "canceled"
        assert client.complete_task(Desk, task_id, 5) is False

    def test_each_running_method_hears_of_it(self, env: WorkflowEnvironment) -> None:
        handle = begun(env, Flow.branches)
        handle.cancel()
        env.run()
        assert is_closed(env, handle)
        assert "branch" in NOTES

    def test_a_stalled_method_too(self, env: WorkflowEnvironment) -> None:
        SWITCHES["bug"] = True
        handle = begun(env, Flow.breaks)
        env.advance(1)
        assert handle.is_stalled()
        handle.cancel()
        env.run()
        assert is_closed(env, handle)
        assert handle.status() is DeferredStatus.CANCELED

    def test_meanwhile_messages_arrive_and_new_methods_are_unknown(
        self, env: WorkflowEnvironment
    ) -> None:
        handle = begun(env, Flow.receives_while_cleaning)
        handle.cancel()
        env.run()
        with pytest.raises(WorkflowUnknownError):
            client.dispatch(handle.stub.at_once).result()
        handle.stub.gate.send("still there")
        env.run()
        assert is_closed(env, handle)
        assert handle.properties()["state"] == "still there"

    def test_tags_go_with_the_last_method(self, env: WorkflowEnvironment) -> None:
        handle = client.dispatch(client.new_workflow(Flow, tags={"t"}).cleans)
        env.run()
        crowd = client.get_workflow_by_tag(Flow, "t")
        client.cancel(crowd)
        env.run()
        assert client.get_ids(crowd) == {handle.workflow_id}
        env.advance(5)
        assert client.get_ids(crowd) == set()

    def test_a_declared_exception_that_leaves_it_ends_it_canceled(
        self, env: WorkflowEnvironment
    ) -> None:
        handle = begun(env, Flow.declared_while_canceled)
        handle.cancel()
        env.run()
        assert is_closed(env, handle)
        assert ends() == ["CANCELED"]

    def test_by_force_it_is_dropped_at_once(self, env: WorkflowEnvironment) -> None:
        handle = begun(env, Flow.cleans)
        handle.cancel(force=True)
        env.run()
        assert is_closed(env, handle)
        assert handle.properties()["state"] == "new"
        assert "cleanup" not in NOTES
        assert ends() == ["CANCELED"]

    def test_by_force_after_a_cancel(self, env: WorkflowEnvironment) -> None:
        handle = begun(env, Flow.cleans)
        handle.cancel()
        env.run()
        handle.cancel(force=True)
        env.advance(10)
        assert is_closed(env, handle)
        assert "last" not in NOTES

    def test_nobody_there_is_unknown(self, env: WorkflowEnvironment) -> None:
        with pytest.raises(WorkflowUnknownError):
            client.cancel(client.get_workflow_by_id(Flow, "nobody"))
        with pytest.raises(WorkflowUnknownError):
            client.get_handle("nobody").cancel()
        client.cancel(client.get_workflow_by_tag(Flow, "nobody"))


class TestOperands:
    def test_what_becomes_of_tasks(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Operands.running_attempt_decides)
        env.advance(40)
        assert handle.result() == ["COMPLETED", "TaskFailedError", "TaskCanceledError"]
        assert NOTES == ["good", "try waiting"]

    def test_receives_and_timers_are_closed(self, env: WorkflowEnvironment) -> None:
        handle = begun(env, Operands.receive_and_timer)
        handle.stub.gate.send("for another")
        assert handle.result() == [
            "CANCELED",
            "CANCELED",
            "DeferredCanceledError",
            "DeferredCanceledError",
            "for another",
        ]

    def test_delegated_tasks(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Operands.delegated)
        env.advance(1)
        assert handle.result() == ["ONGOING", "ask_for_ever", "CANCELED"]

    def test_a_task_that_has_not_begun(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Operands.before_it_begins)
        env.advance(1)
        assert handle.result() == ["ONGOING", "CANCELED"]
        assert NOTES == []


class TestSagas:
    def test_what_completed_is_undone_newest_first(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Sagas.undoes)
        env.advance(100)
        assert handle.result() == "undone"
        assert [one for one in NOTES if one != "try waiting"] == [
            "a",
            "b",
            "c",
            "undo c",
            "undo b",
            "undo a",
        ]

    def test_leaving_normally_undoes_nothing(self, env: WorkflowEnvironment) -> None:
        assert client.start(Sagas.keeps).result() == "kept"
        assert NOTES == ["a"]

    def test_a_cancel_undoes(self, env: WorkflowEnvironment) -> None:
        handle = begun(env, Sagas.undo_by_callable)
        handle.cancel()
        env.advance(10)
        assert NOTES == ["a", "undo a"]
        assert is_closed(env, handle)

    def test_an_async_undo(self, env: WorkflowEnvironment) -> None:
        handle = begun(env, Sagas.asynchronous)
        handle.cancel()
        env.advance(1)
        assert NOTES == ["a", "undo a"]
        assert is_closed(env, handle)

    def test_an_undo_that_fails_is_retried_from_there(self, env: WorkflowEnvironment) -> None:
        SWITCHES["broken"] = True
        handle = begun(env, Sagas.undo_fails)
        assert handle.is_stalled()
        assert NOTES == ["a", "b", "c", "undo c", "between", "try b"]
        SWITCHES["broken"] = False
        handle.retry()
        env.run()
        with pytest.raises(WorkflowFailedError, match="outer"):
            handle.result()
        assert NOTES[5:] == ["try b", "try b", "undo a"]

    def test_a_cancel_does_not_end_it_but_force_does(self, env: WorkflowEnvironment) -> None:
        SWITCHES["broken"] = True
        handle = begun(env, Sagas.undo_fails)
        handle.cancel()
        env.run()
        assert not is_closed(env, handle)
        SWITCHES["broken"] = False
        handle.retry()
        env.run()
        assert NOTES[-1] == "undo a"
        assert is_closed(env, handle)
        assert handle.status() is DeferredStatus.CANCELED

    def test_by_force(self, env: WorkflowEnvironment) -> None:
        SWITCHES["broken"] = True
        handle = begun(env, Sagas.undo_fails)
        handle.cancel(force=True)
        env.run()
        assert is_closed(env, handle)
        assert NOTES[-1] == "try b"

    def test_a_cancel_that_comes_while_it_undoes_is_held(self, env: WorkflowEnvironment) -> None:
        handle = begun(env, Sagas.undo_by_callable)
        handle.cancel()
        env.advance(5)
        handle.cancel()
        env.advance(5)
        assert NOTES == ["a", "undo a"]
        assert is_closed(env, handle)

    def test_a_held_cancel_leaves_the_outermost_block(self, env: WorkflowEnvironment) -> None:
        handle = begun(env, Sagas.nested_and_canceled)
        handle.cancel()
        env.run()
        env.advance(10)
        seen = list(dict.fromkeys(NOTES))  # a cold replay notes again
        assert seen == ["a", "b", "undo b", "ValueError", "undo a", "Canceled"]
        assert is_closed(env, handle)

    def test_a_child_in_it_is_canceled_first(self, env: WorkflowEnvironment) -> None:
        handle = begun(env, Sagas.with_a_child)
        assert handle.is_stalled()
        assert sorted(NOTES) == ["a", "inner", "undo a"]

    def test_nothing_is_added_outside_the_block(self, env: WorkflowEnvironment) -> None:
        with pytest.raises(WorkflowFailedError) as caught:
            client.start(Sagas.late_add).result()
        assert caught.value.deferred_error.last_failure.exception.is_a(UsageError)


class TestWhatIsTold:
    def test_of_a_good_end(self, env: WorkflowEnvironment) -> None:
        client.dispatch(client.new_workflow(Flow, tags={"b", "a"}).at_once)
        env.run()
        assert NOTES[-1] == ("COMPLETED", "cancel.Flow", ["a", "b"], "")

    def test_of_a_declared_end_whose_last_step_counts(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Flow.sells)
        with pytest.raises(SoldOut):
            handle.result()
        env.run()
        (end,) = [one for one in NOTES if isinstance(one, tuple)]
        assert end[0] == "FAILED"
        assert "SoldOut" in end[3]
        assert "parting gift" in NOTES
        assert handle.properties()["state"] == "sold"
        with pytest.raises(UsageError):
            handle.retry()
        handle.cancel()

    def test_of_a_stall_and_the_end_after_it(self, env: WorkflowEnvironment) -> None:
        SWITCHES["bug"] = True
        handle = begun(env, Flow.breaks)
        env.advance(1)
        (end,) = NOTES
        assert end[0] == "STALLED"
        assert "bug" in end[3]
        with pytest.raises(WorkflowFailedError) as caught:
            handle.result()
        assert caught.value.caused_by(ValueError)
        assert not caught.value.caused_by(Broken)
        SWITCHES["bug"] = False
        handle.retry()
        env.advance(1000)
        assert handle.result() == "slept"
        assert ends() == ["STALLED", "COMPLETED"]
