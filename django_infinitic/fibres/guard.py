"""No database in workflow code: a replay would read other rows (A1)."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
from django.db import connections
from django.db.backends.signals import connection_created

from django_infinitic.authoring import runtime
from django_infinitic.exceptions import DatabaseAccessError, UsageError

_FOREIGN = (str(Path(django.__file__).parent), str(Path(__file__).parent.parent))


def place_of_user_code() -> str:
    """File and line of the innermost application code, as `bank/workflows.py:31`."""
    frame = sys._getframe(1)
    found: Any = frame
    while found is not None:
        name = found.f_code.co_filename
        if not name.startswith(_FOREIGN) and "site-packages" not in name and name[:1] != "<":
            break
        found = found.f_back
    if found is None:
        return "?"
    path = Path(found.f_code.co_filename)
    return f"{path.parent.name}/{path.name}:{found.f_lineno}"


def _refused() -> DatabaseAccessError:
    run = runtime.current()
    where = run.context if run is not None else None
    method = f"{where.workflow_name}.{where.method_name}" if where is not None else "?"
    if run is not None:
        method = f"{run.class_name}.{run.method_attribute}"
    return DatabaseAccessError(
        f"Database access in workflow code ({method}, {place_of_user_code()}). A replay would "
        "read other rows. Move it to a task, or wrap it in self.inline(...)."
    )


def _refuse(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
    if runtime.current() is None:
        return execute(sql, params, many, context)
    connection = context["connection"]
    broken = connection.needs_rollback
    try:
        raise _refused()
    finally:
        # Django marks the surrounding block as broken when an error passes through it, although
        # nothing reached the database.
        connection.needs_rollback = broken


def _refuse_connecting(**kwargs: Any) -> None:
    if runtime.current() is not None:
        raise _refused()


connection_created.connect(_refuse_connecting, dispatch_uid="django_infinitic.guard")


def _transactions() -> list[tuple[str, bool, bool, int]]:
    return [
        (
            connection.alias,
            connection.in_atomic_block,
            bool(connection.autocommit),
            len(connection.savepoint_ids),
        )
        for connection in connections.all(initialized_only=True)
    ]


def _restore(flags: dict[str, bool]) -> None:
    for connection in connections.all(initialized_only=True):
        if connection.alias in flags:
            connection.needs_rollback = flags[connection.alias]


@contextlib.contextmanager
def no_database() -> Iterator[None]:
    """While workflow code runs every query is refused, and no transaction may stay open."""
    opened = connections.all(initialized_only=True)
    before = _transactions()
    flags = {connection.alias: connection.needs_rollback for connection in opened}
    for connection in opened:
        connection.execute_wrappers.append(_refuse)
    try:
        yield
    finally:
        for connection in opened:
            with contextlib.suppress(ValueError):
                connection.execute_wrappers.remove(_refuse)
        _restore(flags)
    if _transactions() != before:
        raise UsageError(
            "A transaction.atomic() block was open when the workflow method suspended. Workflow "
            "code has no transaction: move the block to a task, or wrap it in self.inline(...)."
        )
