"""`make demo`, without a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def show(database_url: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [ROOT / "scripts" / "demo"],
        env={**os.environ, "DATABASE_URL": database_url, "PATH": path, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
    )


def left_over(database_url: str) -> list[str]:
    """The processes that have this test's database in their environment (Linux)."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if f"DATABASE_URL={database_url}\0".encode() in environment:
            found.append(command)
    return found


def test_the_show_goes_through_and_leaves_nothing_behind(database_url: str) -> None:
    done = show(database_url)
    assert done.returncode == 0, done.stdout
    assert "killed with SIGKILL" in done.stdout
    assert "ended: COMPLETED" in done.stdout
    assert "the visitor approves it" in done.stdout
    assert left_over(database_url) == []


def test_what_goes_wrong_is_told_with_the_logs(database_url: str) -> None:
    done = show(database_url, DEBUG="false", ALLOWED_HOSTS="elsewhere.example")
    assert done.returncode == 1
    assert "FAILED: http://127.0.0.1:" in done.stdout
    assert "answers 400 Bad Request" in done.stdout
    assert "site.log, the last lines" in done.stdout
    assert left_over(database_url) == []
