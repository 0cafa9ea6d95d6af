"""What waits in the database and could be run now: for `--drain` and `infinitic_health`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django_infinitic.conf import settings
from django_infinitic.machine.ids import STARTER_LANE, part_id
from django_infinitic.models import Message, Task, Timer


def parts_of(workflows: Iterable[str]) -> list[int]:
    """The parts of these workflows, starter lanes included."""
    numbers = (*range(settings.parts), STARTER_LANE)
    return [part_id(name, number) for name in workflows for number in numbers]


def runnable(now: int, workflows: Iterable[str], services: Sequence[str]) -> bool:
    """Whether a worker of these workflows and services had anything to do at this time."""
    alias = settings.storage.alias
    if services and (
        Task.objects.using(alias)
        .filter(state=Task.State.QUEUED, ready_at__lte=now, service__in=list(services))
        .exists()
    ):
        return True
    parts = parts_of(workflows)
    if not parts:
        return False
    return (
        Message.objects.using(alias).filter(part__in=parts, parked=False).exists()
        or Timer.objects.using(alias).filter(part__in=parts, due__lte=now).exists()
    )
