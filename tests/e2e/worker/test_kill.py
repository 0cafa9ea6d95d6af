"""Kill -9 at random moments under load: nothing is lost, nothing is stuck."""

import contextlib
import os
import random
import signal
import time
from collections import Counter
from typing import Any

import pytest
from lab_tools import Lab, Worker, eventually, runs

pytestmark = pytest.mark.slow

LENGTH = 12
COUNT = 24


def check(lab: Lab, ids: list[str]) -> None:
    """Results are right, each task ran at least once and atomic ones exactly once."""
    assert lab.driver.results(ids) == [LENGTH] * COUNT
    steps = Counter((note[1], int(note[2])) for note in lab.notes("plus"))
    for one in range(COUNT):
        assert {step for key, step in steps if key == f"k{one}"} == set(range(LENGTH))
    wanted = sorted(f"k{one}-{number}" for one in range(COUNT) for number in range(LENGTH))
    assert lab.driver.entries() == wanted


def kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def load(lab: Lab) -> list[str]:
    return lab.driver.start_many("Chain.mixed", [[f"k{one}", LENGTH] for one in range(COUNT)])


def shoot(lab: Lab, worker: Worker, role: str, times: int) -> None:
    chance = random.Random(role)
    for _ in range(times):
        before = len(lab.notes("plus"))
        eventually(lambda: len(lab.notes("plus")) > before + chance.randrange(8), timeout=15)  # noqa: B023
        kill(worker.pids(role))


@pytest.mark.parametrize("role", ["engine", "child"])
def test_kill_of(lab: Any, role: str) -> None:
    worker = lab.worker()
    ids = load(lab)
    shoot(lab, worker, role, 4)
    check(lab, ids)
    assert worker.stop() == 0
    assert worker.leftovers() == []


def test_kill_of_supervisor(lab: Any) -> None:
    ids = load(lab)
    for _ in range(2):
        worker = lab.worker()
        before = len(lab.notes("plus"))
        eventually(lambda: len(lab.notes("plus")) > before + 10)  # noqa: B023
        pids = worker.pids("engine") + worker.pids("child")
        assert len(pids) == 2
        worker.process.kill()
        worker.wait()
        eventually(lambda: not any(runs(pid) for pid in pids), 10, "all end")  # noqa: B023
        # What it owned was given back: nobody waits for a lease.
        assert lab.driver.alive() == []
    lab.worker()
    check(lab, ids)


def test_a_worker_that_stands_still_loses_its_parts(lab: Any) -> None:
    """A process that is stopped and goes on after its lease must not do any harm."""
    worker = lab.worker()
    ids = load(lab)
    eventually(lambda: len(lab.notes("plus")) > 20)
    engine = worker.pid("engine")
    (row,) = lab.driver.alive()
    os.kill(engine, signal.SIGSTOP)
    try:
        lab.driver.reap(row["id"])  # what another worker does when the lease has run out
        other = lab.worker()
        before = len(lab.notes("plus"))
        eventually(lambda: len(lab.notes("plus")) > before + 20)
    finally:
        os.kill(engine, signal.SIGCONT)
    check(lab, ids)
    assert worker.stop() == 0
    assert other.stop() == 0


def test_code_that_kills_its_engine_is_blocked(lab: Any) -> None:
    poison = lab.driver.start("Endless.die")
    lab.worker()
    ids = lab.driver.start_many("Chain.run", [[f"c{one}", 3] for one in range(5)])
    eventually(lambda: lab.driver.instance(poison)["status"] == "BLOCKED", 40)
    assert lab.driver.results(ids) == [3] * 5
    began = time.monotonic()
    lab.driver.cancel(poison)
    eventually(lambda: lab.driver.status(poison) == "CANCELED", 10)
    assert time.monotonic() - began < 10


def test_code_that_swallows_everything_is_blocked(lab: Any) -> None:
    stubborn = lab.driver.start("Endless.stubborn")
    lab.worker(LAB_INFINITIC='{"SEGMENT_TIMEOUT": 0.3}', LAB_PATIENCE="0.5")
    ids = lab.driver.start_many("Chain.run", [[f"c{one}", 3] for one in range(5)])
    eventually(lambda: lab.driver.instance(stubborn)["status"] == "BLOCKED", 40)
    assert lab.driver.results(ids) == [3] * 5


@pytest.mark.postgresql
def test_lost_connections(lab: Any) -> None:
    """Whatever became of the transaction that was under way, nothing is lost or done twice."""
    worker = lab.worker()
    ids = load(lab)
    for _ in range(8):
        before = len(lab.notes("plus"))
        eventually(lambda: len(lab.notes("plus")) > before + 5)  # noqa: B023
        lab.driver.cut()
    check(lab, ids)
    assert "ended with" not in worker.log.read_text()  # no process dies of it
    assert worker.stop() == 0


@pytest.mark.parametrize(
    "place",
    ["engine.after_read", "engine.before_write", "store.before_commit", "store.after_commit"],
)
def test_kill_at_a_failpoint(lab: Any, place: str) -> None:
    """What chance does not hit: each life dies at its fourteenth time at this place."""
    worker = lab.worker(DJANGO_INFINITIC_FAILPOINTS=f"{place}=kill9@14")
    ids = load(lab)
    eventually(lambda: worker.log.read_text().count("SIGKILL") >= 2, timeout=30)
    worker.stop()
    lab.worker()
    check(lab, ids)
