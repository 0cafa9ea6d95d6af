"""`infinitic_health`: whether what could go on has somebody to run it."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError

from django_infinitic.worker.health import problems
from django_infinitic.worker.start import missing_tables


class Command(BaseCommand):
    """Exit code 1 when a start, message, task or due timer has had no living worker for 5 s."""

    help = (
        "Exits with 1 when a start, a message, a task or a due timer has had no living worker that "
        "serves it for 5 seconds."
    )
    requires_system_checks = []

    def handle(self, **options: Any) -> None:
        """Say what is wrong, or that nothing is."""
        try:
            if missing_tables():
                raise CommandError("The tables of django_infinitic are missing. Run: migrate")
            found = problems()
        except DatabaseError as error:
            raise CommandError(f"The database cannot be used: {error}") from error
        for problem in found:
            self.stderr.write(problem)
        if found:
            sys.exit(1)
        self.stdout.write("Healthy.")
