"""The workloads of the goals: each gives a line of the report."""

from __future__ import annotations

import itertools
import statistics
import time
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from benchmarks import database, processes
from django_infinitic import client
from django_infinitic.client.context import surroundings
from django_infinitic.models import WorkflowInstance


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One figure: `value` in `unit`, its `goal`, and what was counted beside it."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    counts: str = ""


def _workflows() -> Any:
    from benchmarks.app.workflows import Steps

    return Steps


def _ended() -> int:
    return WorkflowInstance.objects.filter(closed_at__isnull=False).count()


def throughput(name: str, method: str, goal: float, *, workflows: int, steps: int) -> Line:
    """Many workflows at a time on one worker: steps per second, start to end."""
    stub = client.new_workflow(_workflows())
    with processes.worker() as worker:
        client.dispatch(getattr(stub, method), 1).result(timeout=30)
        before_ended = _ended()
        pids = processes.tree(worker.pid)
        cpu = {pid: processes.cpu(pid) for pid in pids}
        counters = database.counters()
        started = time.perf_counter()
        client.bulk_dispatch([(getattr(stub, method), (steps,), {})] * workflows)
        processes.until(lambda: _ended() - before_ended >= workflows, 120, name)
        seconds = time.perf_counter() - started
        used = sorted((processes.cpu(pid) - cpu[pid] for pid in pids), reverse=True)
        counters = database.counters().since(counters)
    total = workflows * steps
    micros = " + ".join(f"{one / total * 1e6:.0f}" for one in used[:2])
    counts = f"CPU µs/step {micros}"
    if counters.commits:
        counts += (
            f", commits/step {counters.commits / total:.3f}, WAL B/step {counters.wal / total:.0f}"
        )
    return Line(name=name, value=total / seconds, unit="steps/s", goal=goal, counts=counts)


def alone(name: str, method: str, goal: float, *options: tuple[str, ...], steps: int) -> Line:
    """One workflow alone: the median time from one step to the next."""
    import contextlib

    stub = client.new_workflow(_workflows())
    with contextlib.ExitStack() as stack:
        for one in options or ((),):
            stack.enter_context(processes.worker(*one))
        client.dispatch(getattr(stub, method), 1).result(timeout=30)
        handle = client.dispatch(getattr(stub, method), steps)
        handle.result(timeout=120)
        row = surroundings().store().history(handle.workflow_id)
    assert row is not None
    times = [entry["seg"]["a"] for event in row.events for entry in event.entries if "seg" in entry]
    gaps = [(b - a) / 1000 for a, b in itertools.pairwise(times)]
    return Line(
        name=name,
        value=statistics.median(gaps),
        unit="ms p50",
        goal=goal,
        counts=f"p99 {statistics.quantiles(gaps, n=100)[98]:.2f} ms",
    )


def starts(seconds: float) -> Line:
    """Starts, one per transaction, one client."""
    stub = client.new_workflow(_workflows())
    deadline, count = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        with transaction.atomic():
            client.dispatch(stub.at_once)
        count += 1
    return Line(
        name="starts, one per transaction", value=count / seconds, unit="starts/s", goal=1500
    )


def bulk(count: int) -> Line:
    """Starts in bulk."""
    stub = client.new_workflow(_workflows())
    started = time.perf_counter()
    for _ in range(0, count, 1000):
        client.bulk_dispatch([(stub.at_once, (), {})] * 1000)
    seconds = time.perf_counter() - started
    return Line(name="starts in bulk", value=count / seconds, unit="starts/s", goal=25_000)
