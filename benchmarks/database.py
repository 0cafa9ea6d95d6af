"""What the database says of itself: commits, WAL, and how fast it takes single rows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from django.db import connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Totals of the server; zero where the vendor tells none."""

    commits: int = 0
    wal: int = 0

    def since(self, before: Counters) -> Counters:
        """The difference."""
        return Counters(commits=self.commits - before.commits, wal=self.wal - before.wal)


def counters() -> Counters:
    """The totals now."""
    if connection.vendor != "postgresql":
        return Counters()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT xact_commit, pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint "
            "FROM pg_stat_database WHERE datname = current_database()"
        )
        commits, wal = cursor.fetchone()
    return Counters(commits=commits, wal=wal)


def calibrate(seconds: int) -> float:
    """Durable single-row inserts per second, one client: the unit of all ratios."""
    return _pgbench(seconds) if connection.vendor == "postgresql" else _inserts(seconds)


def _pgbench(seconds: int) -> float:
    program = shutil.which("pgbench") or _newest("/usr/lib/postgresql/*/bin/pgbench")
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS bench_row (id bigserial PRIMARY KEY, body text)")
    with tempfile.NamedTemporaryFile("w", suffix=".sql", delete=False) as script:
        script.write(f"INSERT INTO bench_row (body) VALUES ('{'x' * 300}');\n")
    try:
        done = subprocess.run(
            [
                program,
                "-n",
                "-M",
                "prepared",
                "-c",
                "1",
                "-T",
                str(seconds),
                "-f",
                script.name,
                os.environ["DATABASE_URL"],
            ],
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        Path(script.name).unlink()
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    assert found is not None, done.stdout
    return float(found[1])


def _newest(pattern: str) -> str:
    found = sorted(Path("/").glob(pattern.lstrip("/")))
    if not found:
        raise SystemExit("pgbench is missing: it comes with the PostgreSQL server package.")
    return str(found[-1])


def _inserts(seconds: int) -> float:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS bench_row (id integer PRIMARY KEY, body text)")
        deadline, count = time.monotonic() + seconds, 0
        while time.monotonic() < deadline:
            cursor.execute("INSERT INTO bench_row (body) VALUES (%s)", ["x" * 300])
            count += 1
    return count / seconds
