"""What a supervisor decides, without processes."""

import socket
from typing import Any

import pytest

from django_infinitic.worker.frames import Frames
from django_infinitic.worker.options import WorkerOptions
from django_infinitic.worker.start import REFUSED
from django_infinitic.worker.supervisor import LEASE, RELOAD, YOUNG, Supervisor, pause_before


class FakeEngine:
    def __init__(self, options: WorkerOptions, *, successor: bool) -> None:
        ours, theirs = socket.socketpair()
        self.options, self.successor = options, successor
        self.frames, self.engine = Frames(ours), Frames(theirs)
        self.code: int | None = None
        self.killed = False

    def poll(self) -> int | None:
        return self.code

    def kill(self) -> None:
        self.killed = True
        if self.code is None:
            self.code = -9

    def heard(self) -> list[dict[str, Any]]:
        return self.engine.receive()


class World:
    def __init__(self, processes: int = 1) -> None:
        self.now = 1000.0
        self.engines: list[FakeEngine] = []
        self.reaped: list[int] = []
        self.away = False
        self.file: str | None = None
        self.supervisor = Supervisor(
            WorkerOptions(processes=processes, name="w"),
            reap=self.reap,
            start=self.start,
            clock=lambda: self.now,
            changed=self.changed,
        )

    def start(self, options: WorkerOptions, *, successor: bool) -> FakeEngine:
        self.engines.append(FakeEngine(options, successor=successor))
        return self.engines[-1]

    def reap(self, worker: int) -> None:
        if self.away:
            raise OSError("the database is away")
        self.reaped.append(worker)

    def changed(self) -> str | None:
        file, self.file = self.file, None
        return file

    def run(self, seconds: float = 0.0) -> int | None:
        self.now += seconds
        return self.supervisor.run_once()


@pytest.fixture
def world() -> World:
    world = World()
    assert world.run() is None
    return world


def test_each_process_has_an_engine_with_a_name_of_its_own() -> None:
    world = World(3)
    world.run()
    assert [one.options.name for one in world.engines] == ["w-1", "w-2", "w-3"]


def test_a_dead_engine_is_marked_dead_and_replaced_at_once(world: World) -> None:
    world.engines[0].engine.send({"me": 17})
    world.engines[0].code = -11
    world.run()
    world.run()
    assert world.reaped == [17]
    assert [one.successor for one in world.engines] == [False, True]


def test_one_that_dies_again_and_again_is_started_ever_more_seldom(world: World) -> None:
    starts = []
    for _ in range(6):
        world.engines[-1].code = 1
        count, waited = len(world.engines), 0.0
        while len(world.engines) == count:
            world.run(0.25)
            waited += 0.25
        starts.append(waited)
    assert starts == sorted(starts)
    assert starts[0] <= 0.5
    assert starts[-1] >= 8


def test_one_that_has_lived_long_is_replaced_at_once_whatever_was_before(world: World) -> None:
    for _ in range(5):
        world.run(YOUNG + 1)
        world.engines[-1].code = -9
        world.run()
        world.run()
    assert len(world.engines) == 6


def test_pauses_grow_to_a_limit() -> None:
    assert [pause_before(falls) for falls in (1, 2, 3, 4, 50)] == [0, 0.5, 1, 2, 30]


def test_an_engine_without_a_sign_of_life_is_killed(world: World) -> None:
    world.run(100)
    assert not world.engines[0].killed, "it may take long to load the project"
    world.engines[0].engine.send({"me": 5})
    world.run()
    world.run(LEASE - 1)
    assert not world.engines[0].killed
    world.engines[0].engine.send({"beat": 1})
    world.run()
    world.run(LEASE - 1)
    assert not world.engines[0].killed
    world.run(2)
    assert world.engines[0].killed
    assert world.reaped == [5]


def test_the_first_signal_drains(world: World) -> None:
    world.supervisor.stop()
    assert world.run() is None
    assert world.engines[0].heard() == [{"drain": True}]
    assert world.run() is None
    world.engines[0].code = 0
    assert world.run() == 0
    assert len(world.engines) == 1


def test_the_second_signal_ends_all_at_once(world: World) -> None:
    world.supervisor.stop()
    world.run()
    world.supervisor.stop()
    assert world.run() == 1
    assert world.engines[0].killed


def test_an_engine_that_dies_while_it_drains_is_not_replaced(world: World) -> None:
    world.engines[0].engine.send({"me": 3})
    world.run()
    world.supervisor.stop()
    world.run()
    world.engines[0].code = -9
    assert world.run() == 1
    assert world.reaped == [3]
    assert len(world.engines) == 1


def test_an_engine_that_refuses_ends_the_worker() -> None:
    world = World(2)
    world.run()
    world.engines[0].code = REFUSED
    world.run()
    world.run()
    assert world.engines[1].heard() == [{"drain": True}]
    world.engines[1].code = 0
    assert world.run() == 1


def test_while_the_database_is_away_the_dead_are_remembered(world: World) -> None:
    world.engines[0].engine.send({"me": 8})
    world.run()
    world.away = True
    world.engines[0].code = -9
    world.run()
    world.run()
    assert len(world.engines) == 2, "it is replaced all the same"
    world.away = False
    world.run(2)
    assert world.reaped == [8]


def test_changed_code_starts_all_anew(world: World) -> None:
    world.engines[0].engine.send({"me": 8})
    world.run()
    world.file = "workflows.py"
    world.run()
    assert world.engines[0].heard() == [{"drain": True}]
    world.engines[0].code = 0
    world.run()
    world.run()
    assert len(world.engines) == 2
    world.file = "workflows.py"
    world.run()
    world.run(RELOAD + 1)
    assert world.engines[1].killed, "a long task does not hold up a reload"
    world.run()
    world.run()
    assert len(world.engines) == 3
