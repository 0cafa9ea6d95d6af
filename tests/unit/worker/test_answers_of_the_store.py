"""What an engine does with the answers of its store (A8): a real store that is made to fail."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from django_infinitic import Channel, Workflow, new_service, service, workflow
from django_infinitic.machine.ids import part_id, part_number, uuid7
from django_infinitic.machine.messages import Kind
from django_infinitic.machine.statuses import InstanceStatus, OutcomeStatus
from django_infinitic.registry import registry
from django_infinitic.storages.base import (
    DefiniteRollback,
    NotOwner,
    RefusedData,
    StoredInstance,
    UnknownOutcome,
    WriteSet,
)
from django_infinitic.storages.memory import MemoryStorage
from django_infinitic.worker.engine import Engine
from django_infinitic.worker.local import LocalExecutor

RAN: list[str] = []


@service(name="answers.Tool")
class Tool:
    def note(self, text: str) -> str:
        RAN.append(text)
        return text.upper()


@workflow(name="answers.Flow")
class Flow(Workflow):
    tool = new_service(Tool)
    text = Channel(str)

    def run(self, text: str) -> str:
        first = self.tool.note(text)
        return first + self.tool.note(text + "2")

    def wait(self) -> str:
        return self.text.receive().result()


class Moody(MemoryStorage):
    """A store whose next writes answer as told; `None` lets one through."""

    def __init__(self) -> None:
        self.clock = itertools.count(1_700_000_000_000_000)
        super().__init__(lambda: next(self.clock))
        self.moods: list[Callable[[WriteSet], None] | None] = []
        self.writes: list[WriteSet] = []

    def write(self, batch: WriteSet) -> None:
        self.writes.append(batch)
        mood = self.moods.pop(0) if self.moods else None
        if mood is None:
            super().write(batch)
        else:
            mood(batch)

    def rolls_back(self, batch: WriteSet) -> None:
        raise DefiniteRollback("deadlock")

    def commits_unheard(self, batch: WriteSet) -> None:
        super().write(batch)
        raise UnknownOutcome("connection lost")

    def loses(self, batch: WriteSet) -> None:
        raise UnknownOutcome("connection lost")


class World:
    """An engine and an executor on one store."""

    def __init__(self) -> None:
        self.store = Moody()
        self.live()

    def live(self) -> None:
        self.store.me = self.store.register("worker", {})
        self.engine = Engine(self.store)
        self.engine.parts = self.store.take(self.store.me, {"answers.Flow": 0}, 8)
        self.executor = LocalExecutor(self.store, worker_name="worker")

    def start(self, method: str, *args: object) -> str:
        spec = registry.workflow("answers.Flow").methods[method]
        id = uuid7(next(self.store.clock), next(self.store.clock))
        self.store.start(
            id=id,
            workflow="answers.Flow",
            part=part_id("answers.Flow", part_number(id, 8)),
            method=method,
            tags=[],
            meta={},
            custom_id=None,
            once=False,
            started_by="",
            doc={"method": method, "args": spec.signature.encode_arguments(args, {})},
        )
        return id

    def run(self) -> None:
        while self.engine.run_once().busy or self.executor.run_once():
            pass

    def outcome(self, id: str) -> tuple[int, object]:
        found = self.store.outcome(id)
        assert found is not None
        return found.status, found.doc.get("v")


@pytest.fixture
def world() -> Iterator[World]:
    RAN.clear()
    return World()


DONE = (OutcomeStatus.COMPLETED, '"AA2"')


def test_after_a_definite_rollback_the_same_value_is_sent_again(world: World) -> None:
    id = world.start("run", "a")
    world.store.moods = [world.store.rolls_back, world.store.rolls_back]
    for _ in range(2):
        with pytest.raises(DefiniteRollback):
            world.engine.run_once()
    world.engine.run_once()
    sent = world.store.writes
    assert [turn for batch in sent for turn in batch.turns] == [sent[0].turns[0]] * 3
    world.run()
    assert world.outcome(id) == DONE
    assert RAN == ["a", "a2"]


def test_a_commit_that_nobody_heard_of_is_found_and_not_sent_again(world: World) -> None:
    id = world.start("run", "a")
    life = world.store.me
    world.store.moods = [world.store.commits_unheard]
    world.engine.run_once()
    assert world.store.me != life
    assert len(world.store.writes) == 1
    world.run()
    assert world.outcome(id) == DONE
    assert RAN == ["a", "a2"]


def test_a_lost_batch_is_sent_again_by_a_new_life(world: World) -> None:
    id = world.start("run", "a")
    life = world.store.me
    world.store.moods = [world.store.loses]
    world.engine.run_once()
    assert world.store.me != life
    assert len(world.store.writes) == 2
    world.run()
    assert world.outcome(id) == DONE


def test_who_was_marked_dead_while_it_did_not_know_sends_nothing_more(world: World) -> None:
    id = world.start("run", "a")
    world.engine.run_once()
    world.store.moods = [world.store.loses]
    world.executor.run_once()
    world.store.reap(world.store.me)
    with pytest.raises(NotOwner):
        world.engine.run_once()
    world.live()
    world.run()
    assert world.outcome(id) == DONE


def test_a_fenced_engine_drops_everything_and_its_successor_goes_on(world: World) -> None:
    id = world.start("wait")
    world.run()
    zombie = world.engine
    world.store.reap(world.store.me)
    world.live()
    live = world.store.me
    world.store.post("answers.Flow", "id", id, Kind.SEND, {"channel": "text", "value": '"x"'})
    world.store.me = live - 1
    with pytest.raises(NotOwner):
        zombie.run_once()
    world.store.me = live
    world.run()
    assert world.outcome(id) == (OutcomeStatus.COMPLETED, '"x"')


def test_of_a_batch_refused_for_its_data_only_the_guilty_instance_stops(world: World) -> None:
    good = [world.start("run", text) for text in "ab"]
    bad = world.start("run", "poison")

    def refuses(batch: WriteSet) -> None:
        if any(turn.instance == bad and turn.events for turn in batch.turns):
            raise RefusedData("a value that the database does not take")
        MemoryStorage.write(world.store, batch)

    world.store.moods = [refuses] * 20
    world.run()
    assert [world.outcome(id)[0] for id in good] == [OutcomeStatus.COMPLETED] * 2
    assert world.store.outcome(bad) is None
    assert "poison" not in RAN


def test_an_instance_that_cannot_be_processed_is_blocked_and_the_others_go_on(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = world.start("wait"), world.start("wait")
    world.run()
    for id in (bad, good):
        doc = {"channel": "text", "value": '"x"'} if id == good else {"no": "channel"}
        world.store.post("answers.Flow", "id", id, Kind.SEND, doc)
    world.run()
    assert world.outcome(good) == (OutcomeStatus.COMPLETED, '"x"')
    head = world.store.head(bad)
    assert head is not None
    assert head.status == InstanceStatus.BLOCKED
    assert "KeyError" in head.error
    assert "cannot be processed" in caplog.text


def test_a_history_that_cannot_be_read_blocks_its_instance_only(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = world.start("wait"), world.start("wait")
    world.run()
    world.engine.bury()
    events = world.store._t.events[bad]
    events[0].entries[:] = [{"something": "of another release"}]
    for id in (bad, good):
        doc = {"channel": "text", "value": '"x"'}
        world.store.post("answers.Flow", "id", id, Kind.SEND, doc)
    world.run()
    assert world.outcome(good) == (OutcomeStatus.COMPLETED, '"x"')
    head = world.store.head(bad)
    assert head is not None
    assert head.status == InstanceStatus.BLOCKED
    assert "cannot be read" in head.error


def test_what_was_read_when_the_database_went_away_is_read_again(world: World) -> None:
    id = world.start("wait")
    world.run()
    world.engine.evict_all()
    world.store.post("answers.Flow", "id", id, Kind.SEND, {"channel": "text", "value": '"x"'})
    load, forgotten = world.store.load, []

    def lost(instances: object) -> dict[str, StoredInstance]:
        raise DefiniteRollback("the connection is lost")

    world.store.load = lost  # type: ignore[method-assign]
    world.store.forget = lambda parts=None: forgotten.append(parts)  # type: ignore[method-assign]
    with pytest.raises(DefiniteRollback):
        world.engine.run_once()
    assert forgotten == [None]
    world.store.load = load  # type: ignore[method-assign]
    world.run()
    assert world.outcome(id) == (OutcomeStatus.COMPLETED, '"x"')
