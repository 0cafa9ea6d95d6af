"""What becomes of tasks that are with a child, without processes."""

import selectors
import socket
from typing import Any

import pytest

from django_infinitic.storages.base import ClaimedTask
from django_infinitic.worker.colocated import Executors
from django_infinitic.worker.execution import Verdict
from django_infinitic.worker.frames import Frames


class FakeChild:
    """The other end of a child's socket is in the hands of the test."""

    def __init__(self, slots: int) -> None:
        ours, theirs = socket.socketpair()
        self.slots = slots
        self.frames, self.end = Frames(ours), Frames(theirs)
        self.killed = False
        self.end.send({"ready": 1})

    def kill(self) -> None:
        self.killed = True

    def close(self) -> None:
        self.frames.close()

    def got(self) -> list[list[Any]]:
        return [row for document in self.end.receive() for row in document.get("t", ())]

    def finish(self, *rows: list[Any]) -> None:
        done = {"status": 1, "value": "1"}
        self.end.send({"r": [[row[0], "finish", done, 0, 0.001] for row in rows]})

    def die(self) -> None:
        self.end.close()


class Bench:
    def __init__(self, slots: int = 2) -> None:
        self.children: list[FakeChild] = []
        self.executors = Executors(
            self.spawn,
            slots=slots,
            services=["s"],
            worker_name="w",
            selector=selectors.DefaultSelector(),
        )
        self.executors.run_once()

    def spawn(self, slots: int) -> FakeChild:
        self.children.append(FakeChild(slots))
        return self.children[-1]

    def run(self) -> None:
        self.executors.run_once()

    def send(self, *names: str) -> None:
        tasks = [task(name) for name in names]
        for one in tasks:
            assert self.executors.reserve(one.service, one.name)
        self.executors.send(tasks)

    def reports(self) -> dict[str, Verdict]:
        return {one.id: verdict for one, verdict in self.executors.reports()}

    def again(self, reports: dict[str, Verdict]) -> None:
        """What the store does with retries: another attempt is claimed."""
        self.executors.claimed([task(name, verdict.doc) for name, verdict in reports.items()])
        self.run()


def task(name: str, doc: dict[str, Any] | None = None) -> ClaimedTask:
    return ClaimedTask(
        id=name,
        instance="i",
        workflow="w",
        service="s",
        name="t",
        attempt=1,
        doc=doc or {"s": 2, "p": 1, "q": 0, "a": "{}"},
    )


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_results_come_back_to_the_engine(bench: Bench) -> None:
    bench.send("a", "b")
    rows = bench.children[0].got()
    assert [row[1] for row in rows] == ["a", "b"]
    assert not bench.executors.reserve("s", "t")
    bench.children[0].finish(rows[1])
    bench.run()
    ((done, verdict),) = bench.executors.results()
    assert (done.id, verdict.kind) == ("b", "finish")
    assert bench.executors.reserve("s", "t")


def test_what_is_not_served_gets_no_slot(bench: Bench) -> None:
    assert not bench.executors.reserve("other", "t")


def test_results_of_a_lost_part_go_through_the_store(bench: Bench) -> None:
    bench.send("a", "b")
    rows = bench.children[0].got()
    bench.children[0].finish(rows[0])
    bench.run()
    bench.executors.lost()
    bench.children[0].finish(rows[1])
    bench.run()
    assert list(bench.executors.results()) == []
    assert set(bench.reports()) == {"a", "b"}
    assert bench.executors.room() >= 2


def test_what_a_dead_child_had_begun_is_run_again_alone(bench: Bench) -> None:
    bench.send("a", "b")
    bench.children[0].got()
    bench.run()
    bench.children[0].die()
    bench.run()
    reports = bench.reports()
    assert {verdict.kind for verdict in reports.values()} == {"retry"}
    bench.again(reports)
    cells = [child for child in bench.children if child.slots == 1]
    assert sorted(row[1] for cell in cells for row in cell.got()) == ["a", "b"]
    assert len(cells) == 2


def test_what_kills_three_children_fails_and_what_ran_beside_it_does_not(bench: Bench) -> None:
    bench.send("killer", "innocent")
    bench.run()
    bench.children[0].got()
    bench.children[0].die()
    bench.run()
    reports = bench.reports()
    deaths = 1
    while reports["killer"].kind == "retry":
        bench.again(reports)
        reports = {}
        for cell in bench.children:
            if cell.slots != 1 or cell.frames.fileno() < 0:
                continue
            for row in cell.got():
                if row[1] == "killer":
                    bench.run()
                    cell.die()
                    deaths += 1
                else:
                    cell.finish(row)
        bench.run()
        reports |= bench.reports()
        assert deaths < 10
    assert deaths == 3
    assert "killed its worker" in str(reports["killer"].doc)
    assert reports.get("innocent", Verdict(kind="finish")).kind == "finish"


def test_a_child_that_dies_before_it_was_ready_blames_nobody(bench: Bench) -> None:
    bench = Bench()
    bench.send("a")
    bench.children[0].end.receive()
    bench.children[0].die()
    # The note that it is ready was never read: the engine hears of both at once.
    bench.executors._lines[0].child.frames.receive()
    bench.run()
    assert bench.reports()["a"].doc.keys() == task("a").doc.keys()


def test_a_child_that_is_replaced_gives_back_what_it_has_not_begun(bench: Bench) -> None:
    bench.send("hangs", "waits")
    old = bench.children[0]
    rows = old.got()
    old.end.send({"retiring": True})
    old.end.send({"r": [[rows[1][0], "returned", None, 0, 0]]})
    bench.run()
    bench.run()
    new = bench.children[1]
    assert [row[1] for row in new.got()] == ["waits"]
    old.finish(rows[0])
    bench.run()
    assert old.killed
    assert not bench.reports()


def test_draining_begins_nothing(bench: Bench) -> None:
    bench.executors.closed = True
    assert not bench.executors.reserve("s", "t")
    assert bench.executors.room() == 0
    assert not bench.executors.busy
