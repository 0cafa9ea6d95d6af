"""What tests of real workers are made of."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.ledger import notes

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]


def eventually(condition: Callable[[], Any], timeout: float = 20, what: str = "") -> Any:
    """What the condition gives once it is true."""
    deadline = time.monotonic() + timeout
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what or condition}"
        time.sleep(0.02)


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def descendants(pid: int) -> dict[int, str]:
    """The living processes below this one, each with its role."""
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        role = (
            words[words.index(b"django_infinitic.worker") + 1]
            if (b"django_infinitic.worker" in words)
            else b""
        )
        found[int(entry.name)] = f"{parent} {role.decode()}"
    tree: dict[int, str] = {}
    parents = {pid}
    while parents:
        level = {
            one: text.split(" ")[1]
            for one, text in found.items()
            if int(text.split(" ")[0]) in parents and runs(one)
        }
        tree.update(level)
        parents = set(level)
    return tree


class Worker:
    """A worker: its supervisor process and what is below it."""

    def __init__(self, command: list[str], env: dict[str, str], log: Path) -> None:
        self.log = log
        self._seen: set[int] = set()
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "manage.py"), *command],
                env=env,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def pids(self, role: str) -> list[int]:
        found = descendants(self.process.pid)
        self._seen.update(found)
        return [pid for pid, one in found.items() if one == role]

    def pid(self, role: str) -> int:
        return eventually(lambda: self.pids(role), what=f"a process {role}")[0]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float = 20) -> int:
        return self.process.wait(timeout)

    def stop(self, timeout: float = 20) -> int:
        self.pids("")
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def leftovers(self) -> list[int]:
        return [pid for pid in self._seen if runs(pid)]

    def end(self) -> None:
        self.pids("")
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in self.leftovers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class Driver:
    """A client process: `driver.start(...)` calls the function of `lab.driver` of this name."""

    def __init__(self, env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lab.driver"],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps([name, args]) + "\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline())
            assert "error" not in answer, answer["error"]
            return answer["value"]

        return call

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


class Lab:
    """One test's database, ledger and processes."""

    def __init__(self, url: str, folder: Path, env: dict[str, str], driver: Driver) -> None:
        self.driver = driver
        self.folder = folder
        self.ledger = folder / "ledger"
        self.env = {**env, "DATABASE_URL": url, "LAB_LEDGER": str(self.ledger)}
        self.workers: list[Worker] = []
        driver.use(url)

    def worker(self, *flags: str, **env: str) -> Worker:
        log = self.folder / f"worker{len(self.workers)}.log"
        worker = Worker(["infinitic_worker", *flags], {**self.env, **env}, log)
        self.workers.append(worker)
        return worker

    def manage(self, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *command],
            env={**self.env, **env},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def notes(self, *words: str) -> list[list[str]]:
        found = notes(self.ledger)
        return [note for note in found if note[: len(words)] == list(words)]

    def logs(self) -> str:
        return "\n".join(
            f"--- {worker.log.name}\n{worker.log.read_text()[-6000:]}" for worker in self.workers
        )

    def end(self) -> None:
        for worker in self.workers:
            worker.end()
