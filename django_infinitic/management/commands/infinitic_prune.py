"""`infinitic_prune`: retention by hand."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandParser

from django_infinitic.conf import settings
from django_infinitic.models import WorkflowInstance
from django_infinitic.worker.start import store

UNITS: Final = {"d": "days", "h": "hours", "m": "minutes"}
PAGE: Final = 100


class Command(BaseCommand):
    """Deletes instances that ended long ago, with all their rows."""

    help = "Deletes workflows that have ended longer ago than a given time, with their histories."

    def add_arguments(self, parser: CommandParser) -> None:
        """The flags."""
        parser.add_argument(
            "--older-than",
            type=duration,
            required=True,
            metavar="30d",
            help="A number with d, h or m: days, hours or minutes since the end; 0d: all that "
            "have ended.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Only say how many there are.")

    def handle(self, *, older_than: timedelta, dry_run: bool, **options: Any) -> None:
        """Delete in small batches, each a transaction."""
        alias = settings.storage.alias
        found = store()
        try:
            before = found.now() - round(older_than.total_seconds() * 1_000_000)
            if dry_run:
                ended = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=before)
                count = WorkflowInstance.objects.using(alias).filter(closed_at__lt=ended).count()
                self.stdout.write(f"{_workflows(count)} would be deleted.")
                return
            count = 0
            while deleted := found.prune(before, PAGE):
                count += deleted
            self.stdout.write(f"{_workflows(count)} deleted.")
        finally:
            found.close()


def duration(text: str) -> timedelta:
    """A number with d, h or m."""
    match = re.fullmatch(r"(\d+)([dhm])", text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no duration: write a number with d, h or m, such as 30d"
        )
    try:
        return timedelta(**{UNITS[match[2]]: int(match[1])})
    except OverflowError:
        raise argparse.ArgumentTypeError(f"{text} is too long") from None


def _workflows(count: int) -> str:
    return f"{count} workflow{'' if count == 1 else 's'}"
