"""What has had no living worker for a while: for `infinitic_health`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, Final

from django.db.models import OuterRef, QuerySet, Subquery

from django_infinitic.conf import settings
from django_infinitic.machine.ids import STARTER_LANE, part_id
from django_infinitic.machine.statuses import InstanceStatus
from django_infinitic.models import Message, Part, Task, Timer, Worker, WorkflowInstance
from django_infinitic.storages.documents import to_datetime
from django_infinitic.worker.start import store

PATIENCE: Final = 5_000_000
LEASE: Final = timedelta(seconds=15)


class Served:
    """What the workers that live, or lived until a moment ago, run."""

    def __init__(self, workers: Iterable[dict[str, Any]]) -> None:
        self.workflows: dict[str, set[int]] = defaultdict(set)
        self.services: set[str] = set()
        for info in workers:
            self.services.update(info.get("services", ()))
            for name, versions in info.get("workflows", {}).items():
                self.workflows[name].update(versions)


def problems() -> list[str]:
    """One sentence for each workflow and service that waits for a worker."""
    found = store()
    try:
        now = found.now()
    finally:
        found.close()
    served = Served(_living(now))
    since = now - PATIENCE
    return [
        *_unserved(_instances(since), served, "workflow"),
        *_lanes(since, served),
        *_versions(since, served),
        *_tasks(since, served),
    ]


def _living(now: int) -> list[dict[str, Any]]:
    """A worker that died within the last five seconds may still be replaced."""
    moment = to_datetime(now)
    rows = Worker.objects.using(settings.storage.alias).filter(
        expires_at__gt=moment - timedelta(microseconds=PATIENCE)
    )
    recent = moment + LEASE - timedelta(microseconds=PATIENCE)
    return [row.info for row in rows if not row.dead or row.expires_at > recent]


def _instances(since: int) -> dict[str, int]:
    """How many messages and due timers wait, by workflow."""
    counts: dict[str, int] = defaultdict(int)
    alias = settings.storage.alias
    name = Subquery(
        WorkflowInstance.objects.using(alias).filter(pk=OuterRef("instance")).values("name")[:1]
    )
    waiting: tuple[QuerySet[Any], ...] = (
        Message.objects.using(alias).filter(created__lt=since, parked=False),
        Timer.objects.using(alias).filter(due__lt=since),
    )
    for rows in waiting:
        for workflow in rows.annotate(workflow=name).values_list("workflow", flat=True)[:10_000]:
            if workflow is not None:
                counts[workflow] += 1
    return counts


def _unserved(counts: dict[str, int], served: Served, kind: str) -> Iterator[str]:
    for name, count in sorted(counts.items()):
        if name not in served.workflows:
            yield (
                f"No living worker serves the {kind} {name}: {count} messages or timers wait for "
                "more than 5 s."
            )


def _lanes(since: int, served: Served) -> Iterator[str]:
    """Starts with a custom id by workflows: their instances are not there yet."""
    alias = settings.storage.alias
    parts = Part.objects.using(alias).filter(n=STARTER_LANE).values_list("workflow", flat=True)
    for workflow in parts:
        if workflow in served.workflows:
            continue
        lane = part_id(workflow, STARTER_LANE)
        if Message.objects.using(alias).filter(part=lane, created__lt=since).exists():
            yield f"No living worker serves the workflow {workflow}: starts wait for more than 5 s."


def _versions(since: int, served: Served) -> Iterator[str]:
    """Messages that are parked because no worker has the version of their instance."""
    alias = settings.storage.alias
    parked = Message.objects.using(alias).filter(created__lt=since, parked=True)
    rows = (
        WorkflowInstance.objects.using(alias)
        .filter(pk__in=parked.values("instance"))
        .exclude(status=InstanceStatus.BLOCKED)
        .filter(closed_at=None)
        .values_list("name", "version")
        .distinct()
    )
    for name, version in sorted(rows, key=str):
        if version not in served.workflows.get(name, ()):
            yield f"No living worker serves version {version} of the workflow {name}."


def _tasks(since: int, served: Served) -> Iterator[str]:
    alias = settings.storage.alias
    rows = Task.objects.using(alias).filter(state=Task.State.QUEUED, ready_at__lt=since)
    for name in sorted(set(rows.values_list("service", flat=True).distinct())):
        if name not in served.services:
            count = rows.filter(service=name).count()
            yield (
                f"No living worker serves the service {name}: {count} tasks wait for more than 5 s."
            )
