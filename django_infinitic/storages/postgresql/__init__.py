"""The store in PostgreSQL: one round trip to write, one to read, whatever the batch (B7)."""

from __future__ import annotations

from collections.abc import Callable

from django_infinitic.storages.postgresql.hints import PostgresqlHints
from django_infinitic.storages.postgresql.session import PostgresqlSession

__all__ = ["PostgresqlStorage"]


class PostgresqlStorage(PostgresqlHints):
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
        super().__init__(PostgresqlSession(alias, private), parts=parts, clock=clock)
