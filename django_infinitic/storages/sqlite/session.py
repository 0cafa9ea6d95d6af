"""Connections to SQLite."""

from __future__ import annotations

import sqlite3
from typing import Final

from django.db import Error as DjangoError
from django.db.backends.base.base import BaseDatabaseWrapper

from django_infinitic.storages.base import (
    DefiniteRollback,
    NotOwner,
    RefusedData,
    StoreError,
    UnknownOutcome,
)
from django_infinitic.storages.session import Session, Sql, cause_of

AGAIN: Final = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_INTERRUPT,
}
DATA: Final = {sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH}
KEYS: Final = {sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE}
OWNERS: Final = ("infinitic_event.", "infinitic_task.", "infinitic_timer.")


class SqliteSession(Session):
    """Transactions take the write lock at their beginning, so that none fails half-way (B3)."""

    remote = False
    errors = (DjangoError, sqlite3.Error, OverflowError, UnicodeEncodeError)

    def open(self, connection: BaseDatabaseWrapper) -> None:
        """Connect, with a write-ahead log: readers and the writer do not wait for each other."""
        connection.connect()
        if not connection.is_in_memory_db():  # type: ignore[attr-defined]
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA journal_mode = WAL")

    def begin(self, sql: Sql) -> None:
        """Begin with the write lock."""
        sql.run("BEGIN IMMEDIATE")

    def roll_back(self, connection: BaseDatabaseWrapper) -> None:
        """Roll back; a connection that cannot is closed, which rolls back too."""
        raw = connection.connection
        try:
            if raw is not None and raw.in_transaction:
                raw.rollback()
        except sqlite3.Error:
            self.close()

    def meaning(self, error: Exception, sent: bool) -> StoreError | None:
        """By the code of SQLite."""
        cause = cause_of(error)
        if isinstance(cause, (OverflowError, UnicodeEncodeError)):
            return RefusedData(f"{type(cause).__name__}: {cause}")
        code = getattr(cause, "sqlite_errorcode", None)
        if code is None:
            # Without a code it is the binding of a parameter that failed, or misuse.
            return RefusedData(str(cause)) if isinstance(cause, sqlite3.DataError) else None
        text = f"{getattr(cause, 'sqlite_errorname', code)}: {cause}"
        if code & 0xFF in AGAIN:
            return DefiniteRollback(text)
        if code & 0xFF == sqlite3.SQLITE_IOERR:
            return UnknownOutcome(text)
        if code in KEYS and any(table in str(cause) for table in OWNERS):
            return NotOwner(text)
        return RefusedData(text) if code & 0xFF in DATA else None
