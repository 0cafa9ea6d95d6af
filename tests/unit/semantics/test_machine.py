"""The machine against what it must survive: doubles, strangers, long lives."""

import sys
from collections.abc import Callable

import pytest

from django_infinitic import Workflow, client, new_service, workflow
from django_infinitic.authoring.channel import Channel
from django_infinitic.authoring.deferred import DeferredStatus
from django_infinitic.machine.messages import Kind
from django_infinitic.test import WorkflowEnvironment

from .world import NOTES, Desk


@workflow(name="machine.Long")
class Long(Workflow):
    desk = new_service(Desk)
    gate = Channel(str)
    log: list[str]

    def __init__(self) -> None:
        self.log = []

    def waits(self) -> str:
        first = self.desk.note("x")
        return first + self.gate.receive().result()

    def counts(self, rounds: int) -> int:
        for _ in range(rounds):
            self.gate.receive().result()
        return rounds

    def write(self, text: str) -> None:
        self.log = [*self.log[-5:], text]

    def forever(self) -> None:
        self.gate.receive().result()

    def idle(self) -> None:
        try:
            self.sleep(1000)
        finally:
            NOTES.append("unwound")


DOUBLES = [
    (Kind.REPORT, {"s": 2, "p": 1, "status": 1, "value": '"again"', "sequence": 0}),
    (Kind.REPORT, {"s": 2, "p": 1, "status": 2, "value": None, "sequence": 0}),
    (Kind.REPORT, {"s": 2, "p": 77, "status": 1, "value": '"x"', "sequence": 0}),
    (Kind.REPORT, {"s": 9, "p": 1, "status": 1, "value": '"x"', "sequence": 0}),
    (Kind.OUTCOME, {"s": 2, "p": 77, "status": 1, "value": '"x"'}),
    (Kind.CANCEL, {"method": "nobody", "force": True}),
    (Kind.RETRY, {"method": "nobody"}),
    (Kind.RETRY, {"method": None}),
    (Kind.RETRY_TASKS, {"task": "nobody", "status": None, "service": None}),
    (Kind.TIMERS, {"method": None}),
    (Kind.START, {"method": "waits", "args": "[]"}),
]


@pytest.mark.parametrize(("kind", "doc"), DOUBLES)
def test_doubles_and_strangers_change_nothing(
    env: WorkflowEnvironment, kind: Kind, doc: dict
) -> None:
    handle = client.start(Long.waits)
    env.run()
    env._store.post("machine.Long", "id", handle.workflow_id, kind, doc)
    env.run()
    assert handle.status() is DeferredStatus.ONGOING
    handle.stub.gate.send("y")
    assert handle.result() == "xy"
    assert NOTES == ["x"]


@pytest.mark.parametrize(("kind", "doc"), DOUBLES)
def test_nor_when_it_has_ended(env: WorkflowEnvironment, kind: Kind, doc: dict) -> None:
    handle = client.start(Long.waits)
    handle.stub.gate.send("y")
    env.run()
    env._store._insert(  # type: ignore[attr-defined]
        env._store._part(handle.workflow_id), handle.workflow_id, kind, doc
    )
    env.run()
    assert handle.result() == "xy"
    assert not env._store._t.messages  # type: ignore[attr-defined]


def calls_of(function: Callable[[], object]) -> int:
    """How many Python functions run: a measure of work that does not depend on the machine."""
    count = 0

    def tell(frame: object, event: str, arg: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(tell)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def test_a_step_of_a_long_life_costs_what_one_of_a_short_one_does(
    live: WorkflowEnvironment,
) -> None:
    handle = client.start(Long.counts, 700)
    live.run()

    def step() -> None:
        handle.stub.gate.send("m")
        live.run()

    step()
    early = calls_of(step)
    for _ in range(600):
        step()
    late = calls_of(step)
    assert late <= early * 1.2


def test_a_long_life_of_short_methods_keeps_nothing(live: WorkflowEnvironment) -> None:
    handle = client.start(Long.forever)
    live.run()

    def step() -> None:
        client.dispatch(handle.stub.write, "m")
        live.run()

    for _ in range(80):
        step()
    early = calls_of(step)
    for _ in range(300):
        step()
    assert calls_of(step) <= early * 1.2
    (state,) = live._engine._cache.values()
    assert len(state.methods) == 1
    assert len(state.next_seq) <= 3
    # The method that runs began before all of it, so its replay needs the changes; no others.
    assert len(state.property_log.changes) <= 381


def test_changes_that_no_replay_needs_are_forgotten(live: WorkflowEnvironment) -> None:
    handle = client.start(Long.forever)
    live.run()
    for number in range(300):
        client.dispatch(handle.stub.write, str(number))
        live.run()
    again = client.dispatch(handle.stub.forever)
    live.run()
    handle.stub.gate.send("the first ends")
    live.run()
    (state,) = live._engine._cache.values()
    assert handle.status() is DeferredStatus.COMPLETED
    assert len(state.property_log.changes) < 100
    live._engine.evict_all()
    assert client.dispatch(handle.stub.counts, 0).result() == 0
    assert handle.properties()["log"][-1] == "299"
    again.stub.gate.send("the second")
    live.run()
    assert again.status() is DeferredStatus.COMPLETED


def test_fibres_of_methods_dropped_by_force_are_unwound(live: WorkflowEnvironment) -> None:
    handle = client.start(Long.forever)
    live.run()
    side = client.dispatch(handle.stub.idle)
    live.run()
    side.cancel(force=True)
    live.run()
    client.dispatch(handle.stub.write, "x")
    live.run()
    assert NOTES == ["unwound"]  # plain Python of a `finally` runs, no command of it does
    assert len(live._engine._runs._runs[handle.workflow_id]) == 1


def test_a_thousand_operands_are_combined_in_no_time(live: WorkflowEnvironment) -> None:
    handle = client.start(Wide.all, 2000)
    assert calls_of(lambda: handle.result()) < 3_000_000
    assert handle.result() == 2000


@workflow(name="machine.Wide")
class Wide(Workflow):
    gate = Channel(str)

    def all(self, number: int) -> int:
        from django_infinitic import and_

        return len(and_(self.timer(0) for _ in range(number)).result())
