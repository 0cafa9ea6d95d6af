"""No database in workflow code: a replay would read other rows (A1)."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import django
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from django_infinitic.authoring import runtime
from django_infinitic.exceptions import DatabaseAccessError, UsageError

_FOREIGN = tuple(
    f"{folder}{os.sep}" for folder in (Path(django.__file__).parent, Path(__file__).parent.parent)
)
_LIBRARY = f"{Path(os.__file__).parent}{os.sep}"
State = list[tuple[BaseDatabaseWrapper, bool, bool, int, bool]]


class _Opened(threading.local):
    """The connections that were opened in this thread."""

    def __init__(self) -> None:
        self.connections: list[weakref.ref[BaseDatabaseWrapper]] = []


_opened = _Opened()


def place_of_user_code() -> str:
    """File and line of the innermost application code, as `bank/workflows.py:31`."""
    found: Any = sys._getframe(1)
    while found is not None and not _of_application(found.f_code.co_filename):
        found = found.f_back
    return "?" if found is None else _place(found.f_code.co_filename, found.f_lineno)


def place_of_await(awaited: Any) -> str:
    """File and line of the innermost application code of a suspended coroutine."""
    place = "?"
    while (frame := getattr(awaited, "cr_frame", None)) is not None:
        if _of_application(frame.f_code.co_filename):
            place = _place(frame.f_code.co_filename, frame.f_lineno)
        awaited = awaited.cr_await
    return place


def place_of_error(error: BaseException) -> str:
    """File and line of the innermost application code that an exception came through."""
    place, trace = "?", error.__traceback__
    while trace is not None:
        if _of_application(trace.tb_frame.f_code.co_filename):
            place = _place(trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        trace = trace.tb_next
    return place


def raised_by(error: BaseException, package: str) -> bool:
    """Whether an exception was raised by the code of a package."""
    name, trace = "", error.__traceback__
    while trace is not None:
        name, trace = str(trace.tb_frame.f_globals.get("__name__")), trace.tb_next
    return name.partition(".")[0] == package


def _of_application(file: str) -> bool:
    if "site-packages" in file or file[:1] == "<":
        return False
    return not file.startswith(_FOREIGN) and not file.startswith(_LIBRARY)


def _place(file: str, line: int) -> str:
    path = Path(file)
    return f"{path.parent.name}/{path.name}:{line}"


def _refused() -> DatabaseAccessError:
    run = runtime.current()
    method = "?" if run is None else f"{run.class_name}.{run.method_attribute}"
    return DatabaseAccessError(
        f"Database access in workflow code ({method}, {place_of_user_code()}). A replay would "
        "read other rows. Move it to a task, or wrap it in self.inline(...)."
    )


def _refuse(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
    """An execute wrapper of every connection; it costs one look at a thread-local."""
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


def guard(connection: BaseDatabaseWrapper) -> None:
    """Guard one connection from now on. First in the list, as others pop theirs from its end."""
    if _refuse not in connection.execute_wrappers:
        connection.execute_wrappers.insert(0, _refuse)
    known = [one for one in (ref() for ref in _opened.connections) if one is not None]
    if all(one is not connection for one in known):
        known.append(connection)
    _opened.connections = [weakref.ref(one) for one in known]


def _connected(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    if runtime.current() is not None:
        connection.close()
        raise _refused()
    guard(connection)


connection_created.connect(_connected, dispatch_uid="django_infinitic.guard")


def before_segment() -> State:
    """The transactions of this thread before workflow code runs; mostly there are none."""
    if not _opened.connections:
        return []
    return [
        (
            one,
            one.in_atomic_block,
            bool(one.autocommit),
            len(one.savepoint_ids),
            one.needs_rollback,
        )
        for one in (ref() for ref in _opened.connections)
        if one is not None
    ]


def after_segment(before: State) -> None:
    """Refuse a transaction that the workflow code has opened or closed and left so."""
    for connection, in_block, autocommit, savepoints, broken in before:
        connection.needs_rollback = broken
        if (connection.in_atomic_block, bool(connection.autocommit)) != (in_block, autocommit) or (
            len(connection.savepoint_ids) != savepoints
        ):
            raise UsageError(
                "A transaction.atomic() block was open when the workflow method suspended. "
                "Workflow code has no transaction: move the block to a task, or wrap it in "
                "self.inline(...)."
            )
