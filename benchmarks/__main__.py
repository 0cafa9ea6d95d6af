"""`python -m benchmarks`: a calibration, then the goals, each with its ratio to the calibration.

Uses a database of its own beside that of DATABASE_URL (or a file of its own on SQLite).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
os.environ.setdefault(
    "DATABASE_URL",
    f"sqlite:///{Path(tempfile.mkdtemp(prefix='infinitic-bench-')) / 'bench.sqlite3'}",
)


def main() -> int:
    """Run the benchmarks and print the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    parser.add_argument("-k", default="", help="only workloads whose name contains this")
    options = parser.parse_args()

    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from benchmarks import database, workloads

    call_command("migrate", verbosity=0)
    call_command("flush", interactive=False, verbosity=0)
    scale = 0.1 if options.quick else 1.0
    inserts = database.calibrate(2 if options.quick else 5)
    print(f"{connection.vendor}, {os.cpu_count()} cores, Python {sys.version.split()[0]}")
    print(f"calibration: {inserts:,.0f} durable single-row inserts/s\n")
    print(f"{'workload':44} {'figure':>18} {'goal':>9} {'/calibr.':>9}  counts")

    sqlite = connection.vendor == "sqlite"
    steps = max(10, int(50 * scale))
    work = {
        "tasks by the executor child, 200 at a time": lambda name: workloads.throughput(
            name, "tasks", 15_000 if sqlite else 10_000, workflows=200, steps=steps
        ),
        "inline, each checkpointed, 200 at a time": lambda name: workloads.throughput(
            name, "inline_checkpointed", 25_000, workflows=200, steps=steps
        ),
        "one alone, executor child": lambda name: workloads.alone(
            name, "tasks", 1.2, steps=int(1000 * scale)
        ),
        "one alone, separate executor": lambda name: workloads.alone(
            name,
            "tasks",
            2.5,
            ("--roles", "engine"),
            ("--roles", "executor"),
            steps=int(1000 * scale),
        ),
        "one alone, checkpointed inline": lambda name: workloads.alone(
            name, "inline_checkpointed", 0.5, steps=int(1000 * scale)
        ),
        "starts, one per transaction": lambda name: workloads.starts(max(1, 5 * scale)),
        "starts in bulk": lambda name: workloads.bulk(int(20_000 * scale)),
    }
    missed = 0
    for name, run in work.items():
        if options.k not in name:
            continue
        line = run(name)
        faster_is_more = line.unit.endswith("/s")
        ratio = f"{line.value / inserts:.2f}" if faster_is_more else ""
        good = line.goal is None or (
            line.value >= line.goal if faster_is_more else line.value <= line.goal
        )
        missed += not good
        goal = "" if line.goal is None else f"{line.goal:,g}"
        print(
            f"{name:44} {line.value:>10,.2f} {line.unit:>7} {goal:>9} {ratio:>9}  {line.counts}"
            + ("" if good else "  BELOW THE GOAL"),
            flush=True,
        )
    print(f"\n{missed} below their goal")
    return 0


if __name__ == "__main__":
    sys.exit(main())
