"""`infinitic_dev`: the development server and a worker together."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

GRACE: Final = 5.0
"""Seconds that the other one has to end."""


class Command(BaseCommand):
    """`runserver` and `infinitic_worker`, both reloading, until one Ctrl-C."""

    help = "Runs the development server and a worker together; only when DEBUG is on."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """The address, as of `runserver`."""
        parser.add_argument("addrport", nargs="?", help="Port, or address:port, of the server.")

    def handle(self, **options: Any) -> None:
        """Run both until one ends."""
        if not settings.DEBUG:
            raise CommandError(
                "infinitic_dev is for development: DEBUG is off. Run a web server and "
                "infinitic_worker instead."
            )
        address = [options["addrport"]] if options["addrport"] else []
        stopped = False

        def stop(*_: Any) -> None:
            nonlocal stopped
            stopped = True

        previous = {
            number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)
        }
        both = [self._start("runserver", *address), self._start("infinitic_worker", "--reload")]
        try:
            while not stopped and all(one.poll() is None for one in both):
                # The one place that waits; a signal ends it early.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    both[0].wait(0.2)
        finally:
            self._end(both)
            for number, handler in previous.items():
                signal.signal(number, handler)
        if not stopped:
            codes = [one.returncode for one in both]
            raise CommandError(f"One of the two has ended: exit codes {codes[0]} and {codes[1]}.")

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, *[f"-W{one}" for one in sys.warnoptions], sys.argv[0], *command],
            start_new_session=True,
        )

    def _end(self, both: list[subprocess.Popen[bytes]]) -> None:
        for one in both:
            if one.poll() is None:
                one.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE
        for one in both:
            with contextlib.suppress(subprocess.TimeoutExpired):
                one.wait(max(0.0, deadline - time.monotonic()))
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(one.pid, signal.SIGKILL)
            one.wait()
