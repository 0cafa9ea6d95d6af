"""`infinitic_worker`: runs workflows and tasks."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import Any

from django.conf import settings as django_settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError
from django.db import connections

from django_infinitic.conf import settings
from django_infinitic.worker.options import ROLES, WorkerOptions, default_name, wrong_names
from django_infinitic.worker.reload import CodeWatch
from django_infinitic.worker.start import missing_tables, run_engine, store
from django_infinitic.worker.supervisor import Supervisor


class Command(BaseCommand):
    """A supervisor and its engine processes, each with an executor child."""

    help = (
        "Runs workflows and tasks. The first SIGTERM or Ctrl-C lets running tasks end, the second "
        "ends everything at once."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """The flags."""
        parser.add_argument(
            "--concurrency",
            type=_number,
            default=8,
            metavar="N",
            help="Tasks at once in each executor process (default: 8).",
        )
        parser.add_argument(
            "--processes", type=_number, default=1, metavar="N", help="Engine processes."
        )
        parser.add_argument(
            "--roles",
            type=_roles,
            default=("engine", "executor"),
            help="engine: steps workflows; executor: runs tasks. Comma-separated; default: both.",
        )
        parser.add_argument(
            "--services", type=_names, metavar="A,B", help="Run only tasks of these services."
        )
        parser.add_argument(
            "--workflows", type=_names, metavar="A,B", help="Step only these workflows."
        )
        parser.add_argument(
            "--all-in-one",
            action="store_true",
            help="One process, with tasks in threads of it: for development.",
        )
        parser.add_argument(
            "--drain",
            action="store_true",
            help="Stop once nothing that this worker serves can be run now.",
        )
        parser.add_argument(
            "--reload",
            action=argparse.BooleanOptionalAction,
            default=None,
            help="Start anew when the code changes (default: when DEBUG is on).",
        )

    def handle(self, **flags: Any) -> None:
        """Run until stopped."""
        options = WorkerOptions(
            concurrency=flags["concurrency"],
            processes=flags["processes"],
            roles=flags["roles"],
            services=flags["services"],
            workflows=flags["workflows"],
            all_in_one=flags["all_in_one"],
            drain=flags["drain"],
            name=default_name(0).rpartition("-")[0],
        )
        self._check(options)
        reload = flags["reload"]
        if reload is None:
            reload = django_settings.DEBUG and not options.drain
        if options.all_in_one:
            code = self._all_in_one(options, reload)
        else:
            code = self._supervise(options, reload)
        if code:
            sys.exit(code)

    def _check(self, options: WorkerOptions) -> None:
        if os.name == "nt" and not options.all_in_one:
            raise CommandError("On Windows only --all-in-one works.")
        if options.all_in_one and options.processes > 1:
            raise CommandError("--all-in-one is one process; --processes does not go with it.")
        for kind, names in wrong_names(options).items():
            if names:
                raise CommandError(
                    f"--{kind}s names {', '.join(names)}, which nothing here implements."
                )
        try:
            missing = missing_tables()
        except DatabaseError as error:
            raise CommandError(f"The database cannot be used: {error}") from error
        finally:
            connections.close_all()
        if missing:
            database = settings.storage.alias
            option = "" if database == "default" else f" --database {database}"
            raise CommandError(
                f'The database "{database}" has no tables of django_infinitic. Run: '
                f"python manage.py migrate{option}"
            )

    def _all_in_one(self, options: WorkerOptions, reload: bool) -> int:
        calls = 0

        def interrupted(process_drain: Any) -> None:
            nonlocal calls
            calls += 1
            if calls > 1:
                os._exit(1)
            process_drain()

        watch = CodeWatch() if reload else None
        changed = run_engine(
            options,
            changed=watch.changed if watch else lambda: None,
            signals=("SIGTERM", "SIGINT"),
            interrupted=interrupted,
        )
        if changed:
            sys.stdout.flush()
            sys.stderr.flush()
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
        return 0

    def _supervise(self, options: WorkerOptions, reload: bool) -> int:
        def reap(worker: int) -> None:
            found = store()
            try:
                found.reap(worker)
            finally:
                found.close()

        watch = CodeWatch() if reload else None
        supervisor = Supervisor(
            options, reap=reap, changed=watch.changed if watch else lambda: None
        )
        self.stdout.write(
            f"Worker {options.name}: {options.processes} process"
            f"{'es' if options.processes > 1 else ''}, {options.concurrency} tasks at once, roles "
            f"{', '.join(options.roles)}. Quit with Ctrl-C."
        )
        self.stdout.flush()
        with supervisor.on_signals(signal.SIGTERM, signal.SIGINT):
            try:
                return supervisor.run()
            finally:
                supervisor.kill()


def _number(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (one.strip() for one in text.split(","))))


def _roles(text: str) -> tuple[str, ...]:
    roles = _names(text)
    wrong = [one for one in roles if one not in ROLES]
    if wrong or not roles:
        raise argparse.ArgumentTypeError(f"choose from {', '.join(ROLES)}")
    return roles
