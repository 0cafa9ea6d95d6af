"""Real workers: what they run, and how they stop."""

import signal
from pathlib import Path
from typing import Any

from lab_tools import eventually, runs


def test_a_workflow_runs_to_its_end_in_a_real_worker(lab: Any) -> None:
    id = lab.driver.start("Chain.run", "a", 5)
    lab.worker()
    assert lab.driver.result(id) == 5
    assert [note[2] for note in lab.notes("plus", "a")] == ["0", "1", "2", "3", "4"]


def test_all_kinds_of_tasks(lab: Any) -> None:
    ids = {
        "flaky": lab.driver.start("Single.flaky", "f"),
        "wait": lab.driver.start("Single.wait", "w", 8, 0.3),
        "mails": lab.driver.start("Single.mails", 4),
        "atomic": lab.driver.start("Chain.atomic", "x", 3),
        "parent": lab.driver.start("Parent.run", "p", 2),
    }
    fails = lab.driver.start("Single.named", "write_and_fail", "never")
    rolled = lab.driver.roll_back("Chain.run", "rolled", 1)
    lab.worker()
    results = {key: lab.driver.result(id) for key, id in ids.items()}
    assert results == {
        "flaky": 2,
        "wait": 8,
        "mails": ["to 0", "to 1", "to 2", "to 3"],
        "atomic": 3,
        "parent": 6,
    }
    assert [note[2] for note in lab.notes("flaky")] == ["0", "1", "2"]
    assert sorted(note[1] for note in lab.notes("batch")) == ["1", "3"]
    assert lab.driver.result(fails) == "builtins.ValueError"
    assert lab.driver.entries() == ["x-0", "x-1", "x-2"], "an atomic task that fails writes nothing"
    assert lab.driver.instance(rolled) == {}
    assert lab.notes("plus", "rolled") == []


def test_attempts_that_take_too_long(lab: Any) -> None:
    names = ("hangs", "obeys", "hangs_async")
    ids = [lab.driver.start("Single.named", name, "k") for name in names]
    worker = lab.worker()
    child = worker.pid("child")
    assert [lab.driver.result(id) for id in ids] == [
        "django_infinitic.worker.execution.AttemptTimedOut"
    ] * 3
    assert lab.notes("told", "k")
    assert lab.notes("canceled", "k")
    eventually(lambda: not runs(child), what="the child with the hanging task is replaced")
    assert lab.driver.result(lab.driver.start("Chain.run", "after", 2)) == 2


def test_a_task_that_kills_its_process_three_times_fails(lab: Any) -> None:
    dies = lab.driver.start("Single.named", "dies", "d")
    beside = lab.driver.start_many("Single.slow", [["s1", 1.0], ["s2", 1.0]])
    lab.worker()
    assert lab.driver.results(beside) == ["s1", "s2"]
    assert lab.driver.result(dies).endswith("WorkerKilled")
    assert len(lab.notes("dies", "d")) == 3


def test_sigterm_lets_running_tasks_end(lab: Any) -> None:
    go = lab.folder / "go"
    id = lab.driver.start("Single.until", "k", str(go))
    worker = lab.worker()
    eventually(lambda: lab.notes("begin", "k"))
    pids = worker.pids("engine") + worker.pids("child")
    worker.signal(signal.SIGTERM)
    go.touch()
    assert worker.wait() == 0
    assert lab.notes("end", "k")
    assert not any(runs(pid) for pid in pids)
    lab.worker("--drain")
    assert lab.driver.result(id) == "k"
    assert len(lab.notes("begin", "k")) == 1


def test_a_second_signal_ends_everything_at_once(lab: Any) -> None:
    lab.driver.start("Single.until", "k", str(lab.folder / "never"))
    worker = lab.worker()
    eventually(lambda: lab.notes("begin", "k"))
    pids = worker.pids("engine") + worker.pids("child")
    worker.signal(signal.SIGINT)
    eventually(lambda: "another signal" in worker.log.read_text())
    worker.signal(signal.SIGINT)
    assert worker.wait() != 0
    assert not any(runs(pid) for pid in pids)


def test_drain_stops_when_nothing_can_be_run(lab: Any) -> None:
    ids = lab.driver.start_many("Chain.run", [[f"k{one}", 3] for one in range(10)])
    asleep = lab.driver.start("Single.sleep_for", 3600)
    waits = lab.driver.start("Single.receive")
    worker = lab.worker("--drain")
    assert worker.wait() == 0
    assert lab.driver.results(ids, 1) == [3] * 10
    assert lab.driver.status(asleep) == lab.driver.status(waits) == "ONGOING"
    assert lab.driver.alive() == []


def test_a_timer_outlives_its_worker(lab: Any) -> None:
    id = lab.driver.start("Single.sleep_for", 1.5)
    first = lab.worker("--drain")
    assert first.wait() == 0
    assert lab.driver.status(id) == "ONGOING"
    lab.worker()
    assert lab.driver.result(id) == "awake"


def test_lists_tell_what_an_instance_has_waited_for(lab: Any) -> None:
    id = lab.driver.start("Single.receive")
    lab.worker()
    text = eventually(lambda: lab.driver.instance(id)["waiting"])
    assert text == "a message on channel go"
    lab.driver.send(id, "hello")
    assert lab.driver.result(id) == "hello"
    eventually(lambda: lab.driver.instance(id)["waiting"] is None)


def test_all_in_one(lab: Any) -> None:
    id = lab.driver.start("Chain.run", "a", 3)
    atomic = lab.driver.start("Chain.atomic", "x", 2)
    worker = lab.worker("--all-in-one")
    assert lab.driver.results([id, atomic]) == [3, 2]
    assert worker.pids("child") == []
    assert worker.stop() == 0


def test_separate_engines_and_executors(lab: Any) -> None:
    ids = lab.driver.start_many("Chain.run", [[f"k{one}", 4] for one in range(5)])
    where = lab.driver.start("Single.where")
    lab.worker("--roles", "engine")
    executor = lab.worker("--roles", "executor", "--services", "lab.Steps")
    other = lab.worker("--roles", "executor", "--services", "lab.Other")
    assert lab.driver.results(ids) == [4] * 5
    assert lab.driver.result(where) in other.pids("child")
    assert executor.pids("child")


def test_a_worker_leaves_what_it_does_not_serve(lab: Any) -> None:
    chain = lab.driver.start("Chain.run", "k", 2)
    single = lab.driver.start("Single.flaky", "f")
    first = lab.worker("--workflows", "lab.Chain", "--drain")
    assert first.wait() == 0
    assert lab.driver.result(chain) == 2
    assert lab.driver.status(single) == "ONGOING"
    lab.worker("--workflows", "lab.Single")
    assert lab.driver.result(single) == 2


def test_a_worker_leaves_versions_that_it_lacks(lab: Any) -> None:
    new = lab.driver.start("Versioned.run", "new")
    second = lab.worker("--workflows", "lab.Versioned", LAB_VERSION="2")
    eventually(lambda: lab.driver.instance(new)["waiting"])
    assert second.stop() == 0
    lab.driver.send(new, "hello", "Versioned")
    lab.worker("--workflows", "lab.Versioned", LAB_VERSION="1")
    old = lab.driver.start("Versioned.run", "old")
    lab.driver.send(old, "hi", "Versioned")
    assert lab.driver.result(old) == "hi 1 1"
    assert lab.driver.status(new) == "ONGOING"
    assert lab.driver.instance(new)["status"] == "RUNNING", "it is not blocked: it waits"
    lab.worker("--workflows", "lab.Versioned", LAB_VERSION="2")
    eventually(lambda: lab.driver.instance(new)["status"] == "COMPLETED")


def test_two_workers_share_the_work(lab: Any) -> None:
    workers = [lab.worker(), lab.worker("--processes", "2")]
    eventually(lambda: len(lab.driver.alive()) == 3)
    ids = lab.driver.start_many("Chain.run", [[f"k{one}", 20] for one in range(30)])
    assert lab.driver.results(ids) == [20] * 30
    for one in range(30):
        assert len(lab.notes("plus", f"k{one}")) == 20
    assert [worker.stop() for worker in workers] == [0, 0]
    assert lab.driver.alive() == []


def test_code_that_does_not_come_back_stalls_its_method_only(lab: Any) -> None:
    spin = lab.driver.start("Endless.spin")
    lab.worker(LAB_INFINITIC='{"SEGMENT_TIMEOUT": 0.5}')
    ids = lab.driver.start_many("Chain.run", [[f"k{one}", 3] for one in range(5)])
    assert lab.driver.results(ids) == [3] * 5
    text = lab.driver.failure(spin)
    assert "WorkflowCodeError" in text
    assert "SegmentTimeout" in text
    assert lab.driver.instance(spin)["status"] == "STALLED"


def test_without_tables_it_says_what_to_run(lab: Any, tmp_path: Path) -> None:
    done = lab.manage("infinitic_worker", DATABASE_URL=f"sqlite:///{tmp_path}/empty.sqlite3")
    assert done.returncode == 1
    assert "migrate" in done.stderr
