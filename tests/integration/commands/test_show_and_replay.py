"""`infinitic_show` and `infinitic_replay` on rows of the test database."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_infinitic import Channel, Workflow, client, new_service, new_workflow, service, workflow
from django_infinitic.registry import registry
from django_infinitic.test import WorkflowEnvironment

pytestmark = pytest.mark.django_db
NOBODY = "01a21078-cccf-759d-86c8-dfeca0687924"


@service(name="show.Mail")
class Mail:
    def send(self, to: str) -> str:
        if to == "nobody":
            raise ValueError("nobody is there")
        return f"sent to {to}"


@workflow(name="show.Order")
class Order(Workflow):
    mail = new_service(Mail)
    paid = Channel(str)

    def run(self, to: str) -> str:
        self.mail.send(to)
        return self.paid.receive().result()

    def review(self) -> str:
        self.sleep(60)
        return "reviewed"


@pytest.fixture
def env() -> Iterator[WorkflowEnvironment]:
    with WorkflowEnvironment(allow_stalled=True) as environment:
        yield environment


def show(*arguments: str) -> str:
    out = io.StringIO()
    call_command("infinitic_show", *arguments, stdout=out)
    return out.getvalue()


def replay(*arguments: str) -> str:
    out = io.StringIO()
    call_command("infinitic_replay", *arguments, stdout=out, stderr=out)
    return out.getvalue()


def refused_replay(*arguments: str) -> str:
    out = io.StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("infinitic_replay", *arguments, stdout=out, stderr=out)
    assert caught.value.returncode == 1
    return f"{out.getvalue()}{caught.value}"


def started(env: WorkflowEnvironment, to: str = "ann", **options: Any) -> Any:
    handle = client.dispatch(new_workflow(Order, **options).run, to)
    env.run()
    return handle


class TestShow:
    def test_explanation_and_timeline(self, env: WorkflowEnvironment) -> None:
        handle = started(env, tags={"red"}, custom_id="order-7")
        told = show(handle.id)
        assert f"show.Order version 0 ({handle.id}) RUNNING" in told
        assert "custom id order-7" in told
        assert "tags red" in told
        assert str(handle.explain()) in told
        assert f"UTC method run ({handle.id}) ONGOING" in told
        assert "task show.Mail.send (" in told

    def test_no_payload_unless_it_is_asked_for(self, env: WorkflowEnvironment) -> None:
        handle = started(env, "a secret")
        assert "secret" not in show(handle.id)
        assert '"sent to a secret"' in show(handle.id, "--payloads")

    def test_a_traceback(self, env: WorkflowEnvironment) -> None:
        told = show(started(env, "nobody").id)
        assert "is stalled since" in told
        assert 'raise ValueError("nobody is there")' in told

    def test_an_ended_workflow(self, env: WorkflowEnvironment) -> None:
        handle = started(env)
        handle.stub.paid.send("all")
        env.run()
        told = show(handle.id)
        assert "COMPLETED" in told.splitlines()[0]
        assert "ended: COMPLETED" in told

    def test_as_json(self, env: WorkflowEnvironment) -> None:
        handle = started(env)
        document = json.loads(show(handle.id, "--json"))
        assert document["state"] == client.get_state(handle.stub)
        assert document["explanation"]["sentence"] == str(handle.explain())

    def test_by_the_beginning_of_its_id(self, env: WorkflowEnvironment) -> None:
        handle = started(env)
        assert handle.id in show(handle.id[:18])

    def test_by_a_beginning_that_several_have(self, env: WorkflowEnvironment) -> None:
        first, _ = started(env), started(env)
        with pytest.raises(CommandError, match="Several workflows"):
            show(first.id[:9])

    def test_by_its_custom_id(self, env: WorkflowEnvironment) -> None:
        handle = started(env, custom_id="order-7")
        assert handle.id in show("order-7")

    @pytest.mark.parametrize("unknown", [NOBODY, "order-7", "", "zzzzzzzz"])
    def test_an_unknown_id(self, env: WorkflowEnvironment, unknown: str) -> None:
        with pytest.raises(CommandError, match="There is no workflow") as caught:
            show(unknown)
        assert caught.value.returncode == 1

    def test_outside_of_a_test_environment(self) -> None:
        handle = client.start(Order.run, "ann")
        told = show(handle.id)
        assert "no worker has taken it yet" in told
        assert "Run: python manage.py infinitic_worker" in told


class TestReplay:
    def test_all_that_run(self, env: WorkflowEnvironment) -> None:
        started(env)
        ended = started(env)
        ended.stub.paid.send("all")
        env.run()
        assert replay() == "1 method of 1 workflow replayed.\n"

    def test_one_that_has_ended(self, env: WorkflowEnvironment) -> None:
        handle = started(env)
        client.dispatch(handle.stub.review)
        env.advance(60)
        assert replay(handle.id) == "2 methods of 1 workflow replayed.\n"

    def test_code_that_has_changed(
        self, env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        handle = started(env)

        def run(self: Order, to: str) -> str:
            return self.paid.receive().result()

        monkeypatch.setattr(Order, "run", run)
        told = refused_replay()
        assert f"show.Order ({handle.id}): Order.run changed under a running instance" in told
        assert told.endswith("1 method would act otherwise")

    def test_a_class_that_is_gone(
        self, env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        handle = started(env)
        versions = {**registry._workflows}
        del versions["show.Order"]
        monkeypatch.setattr(registry, "_workflows", versions)
        assert 'No workflow "show.Order" is registered here' in refused_replay(handle.id)

    def test_an_unknown_id(self, env: WorkflowEnvironment) -> None:
        told = refused_replay(started(env).id, NOBODY)
        assert f"There is no workflow {NOBODY}." in told
        assert told.endswith("1 workflow unknown")

    def test_nothing_is_written(self, env: WorkflowEnvironment) -> None:
        handle = started(env)
        before = env.history(handle.id)
        replay()
        assert env.history(handle.id) == before
        assert len(env.calls(Mail.send)) == 1

    def test_nothing_runs(self, env: WorkflowEnvironment) -> None:
        assert replay() == "0 methods of 0 workflows replayed.\n"
