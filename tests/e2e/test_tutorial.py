"""The tutorial does what it says: its blocks are run, one after the other, as a reader would.

- `console`: commands; lines below one are its output. Installing is left out, a worker goes on in
  the background, and what kills workers kills this test's own.
- `python` with a caption: the file to write (`..., at the end`: what to append to it).
- `pycon`: the open `manage.py shell`, as a doctest.
- `text` with the caption "The worker's terminal": lines that appear there, sooner or later.
"""

from __future__ import annotations

import contextlib
import doctest
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.sqlite]  # its project has a database of its own

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ROOT / "docs" / "tutorial" / "index.md"
LEFT_OUT = ("python -m venv", ". venv/", "pip install")
PATIENCE = 60

FENCE = re.compile(
    r"^```(?:\{code-block\} )?(?P<kind>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
OPTION = re.compile(r"^:(\w+): *(.*)\n", re.MULTILINE)

# Runs blocks of examples in one namespace, as a shell would; one JSON text per line in and out.
SHELL = """
import doctest, json, sys
import django
django.setup()
names = {}
runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
for line in sys.stdin:
    test = doctest.DocTestParser().get_doctest(json.loads(line), names, "tutorial", None, 0)
    said = []
    failed = runner.run(test, out=said.append, clear_globs=False).failed
    names = test.globs
    print(json.dumps([failed, "".join(said)]), flush=True)
"""


@dataclass(frozen=True)
class Block:
    kind: str
    caption: str
    body: str
    line: int


def blocks(page: str) -> Iterator[Block]:
    for fence in FENCE.finditer(page):
        body = fence["body"]
        options = dict(OPTION.findall(body))
        body = OPTION.sub("", body).lstrip("\n")
        line = page[: fence.start()].count("\n") + 1
        yield Block(fence["kind"], options.get("caption", ""), body, line)


class Reader:
    """Somebody who follows the tutorial in an empty folder, with two terminals."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "worker.log"
        self.seen = 0
        self.workers: list[subprocess.Popen[bytes]] = []
        self.shell: subprocess.Popen[str] | None = None
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("DJANGO_", "DATABASE_"))}
        self.environment = {
            **kept,
            "PATH": path,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }

    def follow(self, block: Block) -> None:
        if block.kind == "console":
            for command, output in commands(block.body):
                self.type(command, output)
        elif block.kind == "python":
            self.write(block)
        elif block.kind == "pycon":
            self.ask(block.body)
        else:
            assert block.caption == "The worker's terminal"
            self.read_worker(block.body.splitlines())

    def write(self, block: Block) -> None:
        name, _, where = block.caption.partition(", ")
        file = self.folder / name
        if where:
            assert where == "at the end"
            file.write_text(file.read_text() + "\n" + block.body)
        else:
            file.write_text(block.body)

    def type(self, command: str, output: str) -> None:
        if command.startswith(LEFT_OUT):
            return
        if command.endswith("infinitic_worker") and command.startswith("python"):
            self.start_worker(command)
        elif command.endswith("infinitic_worker"):
            assert command == "pkill -9 -f infinitic_worker"
            self.kill_workers()
        elif command.endswith(" shell"):
            self.open_shell()
        else:
            self.run(command, output)

    def run(self, command: str, output: str) -> None:
        done = subprocess.run(
            command.split(),
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}"
        for line in output.splitlines():
            assert line in done.stdout.splitlines(), f"$ {command}\n{done.stdout}"

    def start_worker(self, command: str) -> None:
        with self.log.open("a") as log:
            self.workers.append(
                subprocess.Popen(
                    command.split(),
                    cwd=self.folder,
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def kill_workers(self) -> None:
        for worker in self.workers:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
        self.workers.clear()

    def read_worker(self, lines: list[str]) -> None:
        """These lines come, in this order, after those that have been read."""
        deadline = time.monotonic() + PATIENCE
        for line in lines:
            while True:
                new = self.log.read_text().splitlines()[self.seen :]
                if line in new:
                    self.seen += new.index(line) + 1
                    break
                said = self.log.read_text()
                assert time.monotonic() < deadline, f"{line!r} did not come:\n{said}"
                time.sleep(0.05)

    def open_shell(self) -> None:
        self.close_shell()
        self.shell = subprocess.Popen(
            [sys.executable, "-c", SHELL],
            cwd=self.folder,
            env={**self.environment, "DJANGO_SETTINGS_MODULE": "mysite.settings"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close_shell(self) -> None:
        if self.shell is not None:
            self.shell.communicate(timeout=PATIENCE)
            self.shell = None

    def ask(self, examples: str) -> None:
        assert doctest.DocTestParser().get_examples(examples)
        assert self.shell is not None, "no shell is open"
        assert self.shell.stdin is not None
        assert self.shell.stdout is not None
        self.shell.stdin.write(json.dumps(examples) + "\n")
        self.shell.stdin.flush()
        failed, said = json.loads(self.shell.stdout.readline())
        assert not failed, f"{said}\n{self.log.read_text()}"


def commands(body: str) -> Iterator[tuple[str, str]]:
    """Each command with what it prints."""
    for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    yield reader
    reader.kill_workers()
    reader.close_shell()


def test_the_tutorial_does_what_it_says(reader: Reader) -> None:
    found = list(blocks(TUTORIAL.read_text()))
    assert {block.kind for block in found} == {"console", "python", "pycon", "text"}
    for block in found:
        print(f"-- line {block.line}: {block.kind} {block.caption}")
        reader.follow(block)
    # What the text says of it: the payment that was recorded was not made again.
    log = reader.log.read_text().splitlines()
    assert log.count("order 2: charging the card") == 1
    assert log.count("order 2: packing") == 2
