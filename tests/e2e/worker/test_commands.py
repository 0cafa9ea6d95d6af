"""The commands beside the worker."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from lab_tools import ROOT, descendants, eventually, runs


def test_health_tells_what_has_no_worker(lab: Any) -> None:
    assert lab.driver.command("infinitic_health")["code"] == 0, "an empty database is healthy"
    chain = lab.driver.start("Chain.run", "a", 1)
    waits = lab.driver.start("Single.receive")
    asleep = lab.driver.start("Single.sleep_for", 3600)
    assert lab.driver.command("infinitic_health")["code"] == 0, "it is only just there"
    lab.driver.age(6)
    ill = lab.driver.command("infinitic_health")
    assert ill["code"] == 1
    assert "lab.Chain" in ill["err"]
    assert "lab.Single" in ill["err"]
    worker = lab.worker("--drain")
    assert worker.wait() == 0
    assert lab.driver.result(chain) == 1
    lab.driver.age(6)
    well = lab.driver.command("infinitic_health")
    assert well["code"] == 0, well["err"]
    assert {lab.driver.status(one) for one in (waits, asleep)} == {"ONGOING"}
    lab.driver.send(waits, "hello")
    lab.driver.age(6)
    assert "lab.Single" in lab.driver.command("infinitic_health")["err"]


def test_health_tells_of_tasks_that_nobody_runs(lab: Any) -> None:
    lab.driver.start("Chain.run", "a", 1)
    lab.worker("--roles", "engine")
    eventually(lambda: lab.driver.tasks())
    lab.driver.age(6)
    ill = lab.driver.command("infinitic_health")
    assert ill["code"] == 1
    assert "lab.Steps" in ill["err"]
    assert "lab.Chain" not in ill["err"]


def test_prune(lab: Any) -> None:
    ids = lab.driver.start_many("Chain.run", [[f"k{one}", 1] for one in range(3)])
    running = lab.driver.start("Single.receive")
    assert lab.worker("--drain").wait() == 0
    assert "0 workflows" in lab.driver.command("infinitic_prune", "--older-than", "1d")["out"]
    dry = lab.driver.command("infinitic_prune", "--older-than", "0d", "--dry-run")
    assert "3 workflows would be deleted" in dry["out"]
    assert lab.driver.instance(ids[0])
    assert (
        "3 workflows deleted" in lab.driver.command("infinitic_prune", "--older-than", "0m")["out"]
    )
    assert not any(lab.driver.instance(one) for one in ids)
    assert lab.driver.instance(running)
    wrong = lab.driver.command("infinitic_prune", "--older-than", "3 weeks")
    assert wrong["code"] != 0
    assert "30d" in wrong["err"]


def test_dev_runs_server_and_worker_until_one_interrupt(lab: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**lab.env, "LAB_DEBUG": "1"}
    with (lab.folder / "dev.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), "infinitic_dev", f"127.0.0.1:{port}"],
            env=env,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        id = lab.driver.start("Chain.run", "a", 2)
        assert lab.driver.result(id, 30) == 2
        eventually(lambda: _answers(port), 30)
        below = list(descendants(process.pid))
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert not any(runs(pid) for pid in below)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        print((lab.folder / "dev.log").read_text())


def _answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2)
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def test_dev_is_for_development(lab: Any) -> None:
    done = lab.driver.command("infinitic_dev")
    assert done["code"] != 0
    assert "DEBUG" in done["err"]


def test_changed_code_is_loaded(lab: Any) -> None:
    worker = lab.worker("--reload")
    old = worker.pid("engine")
    assert lab.driver.result(lab.driver.start("Chain.run", "a", 1)) == 1
    file = Path(__file__).parent / "lab" / "services.py"
    written = file.stat()
    try:
        now = time.time()
        os.utime(file, (now, now))
        new = eventually(lambda: [pid for pid in worker.pids("engine") if pid != old])
        assert new
        assert lab.driver.result(lab.driver.start("Chain.run", "b", 1)) == 1
    finally:
        os.utime(file, (written.st_atime, written.st_mtime))
    assert worker.stop() == 0


def test_names_that_nothing_implements_are_refused(lab: Any) -> None:
    done = lab.driver.command("infinitic_worker", "--workflows", "lab.Chian")
    assert done["code"] == 1
    assert "lab.Chian" in done["err"]


def test_another_number_of_parts_is_refused(lab: Any) -> None:
    lab.driver.start("Chain.run", "a", 1)
    assert lab.worker("--drain").wait() == 0
    worker = lab.worker("--drain", LAB_INFINITIC='{"PARTS": 4}')
    assert worker.wait() == 1
    assert "8" in worker.log.read_text()
    assert "4" in worker.log.read_text()
