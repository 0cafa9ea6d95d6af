"""Delegated tasks, which somebody completes later, and tasks that run in batches."""

from dataclasses import dataclass

import pytest

from django_infinitic import (
    RetryPolicy,
    Workflow,
    and_,
    batch,
    client,
    current_task,
    new_service,
    service,
    task,
    workflow,
)
from django_infinitic.authoring.deferred import DeferredStatus
from django_infinitic.exceptions import (
    SerializationError,
    TaskFailedError,
    UnknownServiceError,
    WorkflowFailedError,
)
from django_infinitic.test import WorkflowEnvironment

from .world import NOTES, SWITCHES, Broken, Desk, SoldOut


@dataclass(frozen=True)
class Mail:
    to: str
    body: str


@service(name="delegated.Post")
class Post:
    def send(self, address: str) -> str:
        raise AssertionError("batches are sent by send_all")

    @batch(send, max_size=4, max_seconds=2)
    def send_all(self, addresses: dict[str, str]) -> dict[str, str]:
        NOTES.append(sorted(addresses.values()))
        if SWITCHES.get("broken"):
            raise Broken("post")
        for task_id in addresses:
            assert current_task(task_id).task_id == task_id
        sent = {
            one: f"sent {address}" for one, address in addresses.items() if address != "forgotten"
        }
        if "strange" in addresses.values():
            sent["nobody's"] = "?"
        return sent

    @task(retry=RetryPolicy(min_delay=5, jitter=0))
    def deliver(self, to: str, body: str) -> None: ...

    @batch(deliver, max_size=2)
    def deliver_all(self, mails: dict[str, Mail]) -> None:
        NOTES.append(sorted(mail.body for mail in mails.values()))
        if SWITCHES.get("broken"):
            raise Broken("post")

    def keyed(self, text: str) -> str: ...

    @batch(keyed, max_size=3)
    async def keyed_all(self, texts: dict[str, str]) -> dict[str, str]:
        keys = {current_task(one).batch_key for one in texts}
        assert len(keys) == 1
        return {one: f"{keys}{text}" for one, text in texts.items()}


@workflow(name="delegated.Flow")
class Flow(Workflow):
    desk = new_service(Desk)
    post = new_service(Post)
    red = new_service(Post, batch_key="red")
    blue = new_service(Post, batch_key="blue")

    def asks(self) -> str:
        return self.desk.ask("well?") + "!"

    def asks_for_number(self) -> int:
        try:
            return self.desk.ask_for_ever("how many?")
        except SoldOut as error:
            return -len(error.args)

    def sends(self, addresses: list[str]) -> list[str]:
        return list(and_(self.dispatch(self.post.send, one) for one in addresses).result())

    def sends_one_by_one(self, addresses: list[str]) -> list[str]:
        started = [self.dispatch(self.post.send, one) for one in addresses]
        said = []
        for one in started:
            try:
                said.append(one.result())
            except TaskFailedError as error:
                said.append(f"{error.task_name} failed")
        return said

    def delivers(self, bodies: list[str]) -> str:
        and_(self.dispatch(self.post.deliver, "you", body=one) for one in bodies).result()
        return "delivered"

    def keyed(self) -> list[str]:
        return list(
            and_(
                self.dispatch(stub.keyed, str(number))
                for number in range(3)
                for stub in (self.red, self.blue)
            ).result()
        )


def asked(env: WorkflowEnvironment, method: object) -> tuple[client.WorkflowHandle[object], str]:
    handle = client.start(method)  # type: ignore[arg-type]
    env.run()
    return handle, NOTES[0]


class TestDelegated:
    def test_the_method_waits_for_somebody(self, env: WorkflowEnvironment) -> None:
        handle, task_id = asked(env, Flow.asks)
        assert handle.status() is DeferredStatus.ONGOING
        assert client.complete_task(Desk, task_id, "success")
        assert handle.result() == "success!"

    def test_by_stored_name_and_once(self, env: WorkflowEnvironment) -> None:
        handle, task_id = asked(env, Flow.asks)
        assert client.complete_task("world.Desk", task_id, "first") is True
        assert client.complete_task("world.Desk", task_id, "second") is False
        assert client.fail_task("world.Desk", task_id, "third") is False
        assert handle.result() == "first!"

    def test_an_early_completion_is_kept(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Flow.asks)
        env._engine.run_once()
        (row,) = env._store.tasks_of(handle.workflow_id)
        assert client.complete_task(Desk, row["id"], "early")
        assert handle.result() == "early!"
        assert NOTES == []

    def test_a_wrong_type_is_refused_at_the_call(self, env: WorkflowEnvironment) -> None:
        handle, task_id = asked(env, Flow.asks_for_number)
        with pytest.raises(SerializationError):
            client.complete_task(Desk, task_id, "many")
        assert client.complete_task(Desk, task_id, 3)
        assert handle.result() == 3

    def test_it_can_fail_for_good(self, env: WorkflowEnvironment) -> None:
        handle, task_id = asked(env, Flow.asks)
        assert client.fail_task(Desk, task_id, "nobody knows")
        with pytest.raises(WorkflowFailedError) as caught:
            handle.result()
        error = caught.value.deferred_error
        assert isinstance(error, TaskFailedError)
        assert error.last_failure.exception.message == "nobody knows"

    def test_by_an_exception(self, env: WorkflowEnvironment) -> None:
        handle, task_id = asked(env, Flow.asks)
        assert client.fail_task(Desk, task_id, Broken("for good"))
        with pytest.raises(WorkflowFailedError) as caught:
            handle.result()
        assert caught.value.caused_by(Broken)

    def test_by_a_declared_one(self, env: WorkflowEnvironment) -> None:
        handle, task_id = asked(env, Flow.asks_for_number)
        assert client.fail_task(Desk, task_id, SoldOut("a", "b"))
        assert handle.result() == -2

    def test_of_a_service_that_is_not_known(self, env: WorkflowEnvironment) -> None:
        with pytest.raises(UnknownServiceError):
            client.complete_task("nowhere.Service", "x", "y")
        assert client.complete_task(Desk, "nobody", "y") is False

    def test_after_a_retry_by_hand_it_is_asked_again(self, env: WorkflowEnvironment) -> None:
        handle, task_id = asked(env, Flow.asks)
        client.fail_task(Desk, task_id, "nobody knows")
        env.run()
        handle.retry()
        env.run()
        assert NOTES.count(task_id) == 2
        assert client.complete_task(Desk, task_id, "at last")
        assert handle.result() == "at last!"


class TestBatches:
    def test_a_full_one_is_sent_at_once(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Flow.sends, ["a", "b", "c", "d"])
        env.run()
        assert handle.result() == ["sent a", "sent b", "sent c", "sent d"]
        assert NOTES == [["a", "b", "c", "d"]]

    def test_others_after_their_time(self, live: WorkflowEnvironment) -> None:
        handle = client.start(Flow.sends, ["a", "b", "c", "d", "e"])
        live.advance(1)
        assert NOTES == [["a", "b", "c", "d"]]
        live.advance(1)
        assert handle.result()[-1] == "sent e"
        assert NOTES == [["a", "b", "c", "d"], ["e"]]

    def test_a_missing_key_fails_only_its_task(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Flow.sends_one_by_one, ["a", "forgotten", "b", "c"])
        assert handle.result() == ["sent a", "send failed", "sent b", "sent c"]

    def test_an_unknown_key_is_dropped(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Flow.sends_one_by_one, ["a", "strange", "b", "c"])
        assert handle.result() == ["sent a", "sent strange", "sent b", "sent c"]

    def test_several_arguments_are_one_object(self, env: WorkflowEnvironment) -> None:
        assert client.start(Flow.delivers, ["x", "y"]).result() == "delivered"
        assert NOTES == [["x", "y"]]

    def test_what_it_raises_concerns_each(self, env: WorkflowEnvironment) -> None:
        SWITCHES["broken"] = True
        handle = client.start(Flow.delivers, ["x", "y"])
        env.run()
        SWITCHES["broken"] = False
        env.advance(5)
        assert handle.result() == "delivered"
        assert NOTES == [["x", "y"], ["x", "y"]]

    def test_only_equal_keys_share_one(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Flow.keyed)
        assert handle.result() == [
            f"{{'{key}'}}{number}" for number in range(3) for key in ("red", "blue")
        ]
