"""System checks: what needs the whole project to be seen.

What a decorator can see is an exception at import instead.

E001 unknown setting · E002 wrong setting · E003 storage alias missing · E004 `USE_TZ` · E005 apps
missing · E006 tables missing · E007 form of a human task (`human.checks`) · E008 attempt longer
than `TASK_MAX_SECONDS` · E009 SQLite in memory · E010 atomic task on another alias ·
W001 no annotation on a task · W002 no annotation on a method · W003 no annotation on a property ·
W004 relative SQLite file · W005 SQLite mode · W006 total below attempt timeout ·
I001 SQLite mode set
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final, TypeVar

from django.apps import apps
from django.conf import settings as django_settings
from django.core import checks
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured
from django.core.management.commands import migrate
from django.db import connections, router

from . import sqlite
from .conf import NAME, settings
from .registry import ServiceSpec, TaskSpec, WorkflowSpec, registry

LABEL: Final = "infinitic"
T = TypeVar("T")


def register() -> None:
    """Register all checks with Django."""
    for check in (check_settings, check_project, check_sqlite, check_services, check_workflows):
        checks.register(check, LABEL)
    checks.register(check_tables, checks.Tags.database)


def check_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """E001, E002: the setting `INFINITIC`."""
    return [
        checks.Error(
            problem.message,
            hint=problem.hint or None,
            id="infinitic.E001" if problem.unknown else "infinitic.E002",
        )
        for problem in settings.problems()
    ]


def check_project(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """E003, E004, E005: what else the project must have."""
    found: list[CheckMessage] = []
    alias = _alias()
    if alias is not None and alias not in connections.settings:
        known = ", ".join(sorted(connections.settings))
        found.append(
            checks.Error(
                f'{NAME}["STORAGE"] names the database "{alias}", which DATABASES does not have.',
                hint=f"It has: {known}.",
                id="infinitic.E003",
            )
        )
    if not django_settings.USE_TZ:
        found.append(
            checks.Error(
                "USE_TZ is False, but workflows need aware datetimes: a timer may not depend on "
                "the time zone of the machine.",
                hint="Set USE_TZ = True.",
                id="infinitic.E004",
            )
        )
    missing = [
        name
        for name in ("django.contrib.contenttypes", "django.contrib.auth")
        if not apps.is_installed(name)
    ]
    if missing:
        found.append(
            checks.Error(
                f"django_infinitic needs {' and '.join(missing)}.",
                hint="Put it into INSTALLED_APPS.",
                id="infinitic.E005",
            )
        )
    return found


def check_tables(
    app_configs: Any, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """E006: the tables on their aliases; only when databases are checked."""
    from .routers import database_of

    found: list[CheckMessage] = []
    if _alias() is None or not apps.is_installed("django_infinitic") or _is_migrating():
        return found
    wanted: dict[str, set[str]] = {}
    for model in apps.get_app_config(LABEL).get_models():
        if model._meta.managed and not model._meta.proxy:
            alias = database_of(model._meta.model_name or "")
            wanted.setdefault(alias, set()).add(model._meta.db_table)
    for alias, tables in sorted(wanted.items()):
        if alias not in (databases or ()) or alias not in connections.settings:
            continue
        missing = tables - set(connections[alias].introspection.table_names())
        if missing:
            some = ", ".join(sorted(missing)[:3]) + (", …" if len(missing) > 3 else "")
            routed = (
                ""
                if alias == "default"
                else (
                    ' With several databases put "django_infinitic.routers.InfiniticRouter" first '
                    "into DATABASE_ROUTERS."
                )
            )
            found.append(
                checks.Error(
                    f'The database "{alias}" lacks {len(missing)} of {len(tables)} tables of '
                    f"django_infinitic ({some}).",
                    hint=f"Run: manage.py migrate --database {alias}.{routed}",
                    id="infinitic.E006",
                )
            )
    return found


def check_sqlite(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """E009, W004, W005, I001: an SQLite file that web processes and workers share."""
    alias = _alias()
    if alias is None or alias not in connections.settings or not sqlite.is_sqlite(alias):
        return []
    database = connections.settings[alias]
    name = str(database.get("NAME") or "")
    if name.startswith(f"file:memorydb_{alias}"):
        return []  # Django's own test database: no other process is to see it
    if ":memory:" in name or "mode=memory" in name or not name:
        return [
            checks.Error(
                f'The SQLite database "{alias}" is in memory ({name}), so each process has one of '
                "its own: workers would not see what the site writes.",
                hint='Give DATABASES a file: "NAME": BASE_DIR / "db.sqlite3".',
                id="infinitic.E009",
            )
        ]
    found: list[CheckMessage] = []
    if not name.startswith("file:") and not Path(name).is_absolute():
        found.append(
            checks.Warning(
                f'The SQLite database "{alias}" has a relative file ({name}): processes that are '
                "started in other folders open other files.",
                hint='Write "NAME": BASE_DIR / "db.sqlite3".',
                id="infinitic.W004",
            )
        )
    mode = (database.get("OPTIONS") or {}).get(sqlite.MODE)
    if sqlite.was_set(alias):
        found.append(
            checks.Info(
                f'The SQLite database "{alias}" begins transactions with BEGIN IMMEDIATE, as '
                "django_infinitic needs it.",
                hint='Say so yourself: "OPTIONS": {"transaction_mode": "IMMEDIATE"}.',
                id="infinitic.I001",
            )
        )
    elif str(mode).upper() != sqlite.IMMEDIATE:
        found.append(
            checks.Warning(
                f'The SQLite database "{alias}" has transaction_mode {mode!r}: a transaction that '
                "reads and then writes fails when a worker writes meanwhile.",
                hint='Set "OPTIONS": {"transaction_mode": "IMMEDIATE"}.',
                id="infinitic.W005",
            )
        )
    return found


def check_services(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """W001, W006, E008, E010: the registered services."""
    found: list[CheckMessage] = []
    for service in registry.all_services():
        missing = _unannotated(service.by_attribute.values())
        if missing:
            found.append(
                checks.Warning(
                    f'The service "{service.name}" ({service.place}) has tasks without annotation: '
                    f"{missing}. Such values may be plain JSON and a few exact types only.",
                    hint="Annotate all parameters and results.",
                    obj=_shown(service),
                    id="infinitic.W001",
                )
            )
        for task in service.tasks.values():
            found.extend(_check_timeouts(service, task))
            found.extend(_check_atomic(service, task))
    return found


def check_workflows(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """W002, W003: the registered workflows."""
    from .authoring.assignments import unannotated_properties

    found: list[CheckMessage] = []
    for workflow in registry.all_workflows():
        missing = _unannotated(workflow.by_attribute.values())
        if missing:
            found.append(
                checks.Warning(
                    f'The workflow "{workflow.name}" ({workflow.place}) has methods without '
                    f"annotation: {missing}. Such values may be plain JSON and a few exact types "
                    "only.",
                    hint="Annotate all parameters and results.",
                    obj=_shown(workflow),
                    id="infinitic.W002",
                )
            )
        names = unannotated_properties(workflow)
        if names:
            found.append(
                checks.Warning(
                    f'The workflow "{workflow.name}" ({workflow.place}) sets properties without '
                    f"annotation in the class body: {', '.join(names)}. Such values may be plain "
                    "JSON and a few exact types only.",
                    hint=f"Write in the class body, for example: {names[0]}: list[str]. An "
                    "annotation in a method does not exist at run time.",
                    obj=_shown(workflow),
                    id="infinitic.W003",
                )
            )
    return found


def _check_timeouts(service: ServiceSpec, task: TaskSpec) -> Iterator[CheckMessage]:
    limit = _read(lambda: settings.task_max_seconds)
    named = f'The task "{service.name}.{task.name}" ({task.place})'
    if task.attempt_timeout is not None and limit is not None and task.attempt_timeout > limit:
        yield checks.Error(
            f"{named} has attempt_timeout={task.attempt_timeout:g}, but no attempt lasts longer "
            f'than {NAME}["TASK_MAX_SECONDS"], which is {limit:g}.',
            hint="Lower the one or raise the other, or make it delegated=True and complete it "
            "later.",
            obj=_shown(service),
            id="infinitic.E008",
        )
    if (
        task.attempt_timeout is not None
        and task.total_timeout is not None
        and task.total_timeout < task.attempt_timeout
    ):
        yield checks.Warning(
            f"{named} has total_timeout={task.total_timeout:g}, which is less than "
            f"attempt_timeout={task.attempt_timeout:g}: the wait ends before one attempt does.",
            hint="total_timeout covers queueing and all attempts; make it longer.",
            obj=_shown(service),
            id="infinitic.W006",
        )


def _check_atomic(service: ServiceSpec, task: TaskSpec) -> Iterator[CheckMessage]:
    alias = _alias()
    atomic = task.atomic
    if atomic is None and not task.is_async:
        atomic = _read(lambda: settings.atomic_tasks)
    config = apps.get_containing_app_config(task.function.__module__)
    if not atomic or alias is None or config is None:
        return
    used = {router.db_for_write(model) for model in config.get_models() if model._meta.managed}
    if used and alias not in used:
        yield checks.Error(
            f'The task "{service.name}.{task.name}" ({task.place}) is atomic, but the tables of '
            f'"{config.label}" are on {_quoted(used)} and those of django_infinitic on '
            f'"{alias}": one transaction cannot hold both.',
            hint=f'Set {NAME}["STORAGE"] to database://<alias of the application>, or make the '
            "task idempotent and atomic=False.",
            obj=_shown(service),
            id="infinitic.E010",
        )


def _unannotated(specs: Iterable[Any]) -> str:
    parts = []
    for spec in specs:
        names = [
            "its result" if name == "return" else name for name in spec.signature.unannotated()
        ]
        if names:
            parts.append(f"{spec.attribute} ({', '.join(names)})")
    return ", ".join(parts)


def _is_migrating() -> bool:
    """Whether `migrate` asks, which runs the checks of a database first and stops at an error."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if isinstance(frame.f_locals.get("self"), migrate.Command):
            return True
        frame = frame.f_back
    return False


def _alias() -> str | None:
    return _read(lambda: settings.database)


def _read(what: Callable[[], T]) -> T | None:
    """A setting, or None when it is wrong, which another check tells."""
    try:
        return what()
    except ImproperlyConfigured:
        return None


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in sorted(names))


def _shown(spec: ServiceSpec | WorkflowSpec) -> str:
    return f"{spec.subject.__module__}.{spec.subject.__qualname__}"
