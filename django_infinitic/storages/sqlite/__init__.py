"""The store in SQLite: one write lock for all, and commit order is id order."""

from __future__ import annotations

from collections.abc import Callable

from django_infinitic.storages.sqlite.engine import SqliteEngine
from django_infinitic.storages.sqlite.session import SqliteSession

__all__ = ["SqliteStorage"]


class SqliteStorage(SqliteEngine):
    """All four faces on a database alias.

    `private`: engine, task and worker calls on connections of their own; without it they are
    savepoints on the caller's (tests). `parts` and `clock` are as in `SqlStorage`.
    """

    def __init__(
        self,
        alias: str = "default",
        private: bool = True,
        *,
        parts: int = 8,
        clock: Callable[[], int] | None = None,
    ) -> None:
        super().__init__(SqliteSession(alias, private), parts=parts, clock=clock)
