"""Starting the parts of a worker in this process."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator

from django.core.exceptions import ImproperlyConfigured
from django.db import connections

import django_infinitic.storages as storages
from django_infinitic.conf import settings
from django_infinitic.fibres.names import set_worker_name
from django_infinitic.signals import worker_started
from django_infinitic.storages.base import Storage
from django_infinitic.worker.control import Control
from django_infinitic.worker.engine_process import EngineProcess, draining_on_signals
from django_infinitic.worker.failpoints import failpoint
from django_infinitic.worker.options import WorkerOptions
from django_infinitic.worker.processes import Child

logger = logging.getLogger("django_infinitic.worker")
REFUSED = 78
"""The exit code of a process that would never run as it is set up."""


def store() -> Storage:
    """The store on connections of its own, with the failpoints of this process."""
    found = storages.storage_for(settings.storage.alias, private=True)
    found.failpoint = failpoint
    return found


def missing_tables() -> list[str]:
    """Tables of ours that the storage alias does not have."""
    from django.apps import apps

    alias = settings.storage.alias
    there = set(connections[alias].introspection.table_names())
    models = apps.get_app_config("infinitic").get_models()
    ours = {model._meta.db_table for model in models if model.__name__ != "HumanTaskInstance"}
    return sorted(ours - there) if not ours & there else []


def run_engine(
    options: WorkerOptions,
    *,
    control: Control | None = None,
    successor: bool = False,
    first_child: Child | None = None,
    changed: Callable[[], str | None] = lambda: None,
    signals: tuple[str, ...] = ("SIGTERM",),
    interrupted: Callable[[Callable[[], None]], None] = lambda drain: drain(),
) -> bool:
    """Run an engine process until it has drained; `interrupted` is called by these signals.

    Whether it has ended because `changed` named a file of the code.
    """
    process = EngineProcess(
        options,
        store(),
        sqlite=connections[settings.storage.alias].vendor == "sqlite",
        control=control,
        successor=successor,
        first_child=first_child,
        changed=changed,
    )
    set_worker_name(options.name)
    with draining_on_signals(lambda: interrupted(process.drain), *signals):
        worker_started.send_robust(sender=EngineProcess, worker=options.name)
        process.run()
    return process.reloading


@contextlib.contextmanager
def refusals(control: Control) -> Iterator[None]:
    """A worker that is set up wrongly says so and is not started again."""
    try:
        yield
    except ImproperlyConfigured as error:
        control.tell(refused=str(error))
        print(error, file=sys.stderr)
        sys.stderr.flush()
        raise SystemExit(REFUSED) from error
