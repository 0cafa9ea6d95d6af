"""`infinitic_replay`: stored histories against the present code, e.g. before a deploy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_infinitic.client.context import surroundings
from django_infinitic.client.lookup import Ambiguous, find_instance
from django_infinitic.conf import settings
from django_infinitic.exceptions import RegistryError
from django_infinitic.fibres.replaying import replay_methods
from django_infinitic.models import WorkflowInstance
from django_infinitic.storages.base import StoredInstance
from django_infinitic.storages.loading import folded_to, state_of

PAGE: Final = 100


class Command(BaseCommand):
    """Replays instances; exit code 1 when the present code would do something else."""

    help = (
        "Replays the histories of workflows (all running ones unless ids are given) against the "
        "present code. Nothing is written or run. Exits with 1 when a method would act otherwise."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """The ids."""
        parser.add_argument("ids", metavar="ID", nargs="*", help="Default: all that run.")

    def handle(self, *, ids: list[str], **options: Any) -> None:
        """Replay one after the other; each that differs is printed when it is met."""
        self._instances = self._methods = self._differing = 0
        self._folded: list[str] = []
        unknown = 0
        for text in ids:
            row = self._found(text)
            if row is None:
                unknown += 1
                self.stderr.write(f"There is no workflow {text}.")
            else:
                self._replay(row)
        for row in _running() if not ids else ():
            self._replay(row)
        self._write_sum()
        if self._differing or unknown:
            differing = f"{_count(self._differing, 'method')} would act otherwise"
            missing = f"{_count(unknown, 'workflow')} unknown"
            reasons = [(self._differing, differing), (unknown, missing)]
            raise CommandError("; ".join(text for number, text in reasons if number))

    def _found(self, text: str) -> StoredInstance | None:
        try:
            return find_instance(text)
        except Ambiguous as error:
            raise CommandError(str(error)) from None

    def _replay(self, row: StoredInstance) -> None:
        self._instances += 1
        name = f"{row.workflow} ({row.id})"
        try:
            replays = replay_methods(state_of(row), folded_to=folded_to(row))
        except RegistryError as error:
            self._methods += 1
            self._differing += 1
            self.stdout.write(f"{name}: {error}")
            return
        for one in replays:
            if one.folded:
                self._folded.append(f"{one.method_name} of {name}")
                continue
            self._methods += 1
            if one.error is not None:
                self._differing += 1
                self.stdout.write(f"{name}: {one.error}")

    def _write_sum(self) -> None:
        self.stdout.write(
            f"{_count(self._methods, 'method')} of {_count(self._instances, 'workflow')} replayed."
        )
        if self._folded:
            self.stdout.write(
                f"{_count(len(self._folded), 'method')} not replayed, as the properties that they "
                "began with have been folded:"
            )
            for text in self._folded:
                self.stdout.write(f"  {text}")


def _running() -> Iterator[StoredInstance]:
    """All running instances, oldest first, a page at a time."""
    rows = WorkflowInstance.objects.using(settings.storage.alias).filter(closed_at=None)
    store = surroundings().store()
    last = UUID(int=0)
    while page := list(rows.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:PAGE]):
        for instance in page:
            row = store.history(str(instance))
            if row is not None and row.version is not None:
                yield row
        last = page[-1]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
