"""Connections to PostgreSQL, pipelines on them, and what their errors mean (A8)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from django.db import Error as DjangoError
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.pq import TransactionStatus

from django_infinitic.storages.base import (
    DefiniteRollback,
    NotOwner,
    RefusedData,
    StoreError,
    UnknownOutcome,
)
from django_infinitic.storages.postgresql.wire import Row, Statement, Wire
from django_infinitic.storages.session import Session, Sql, cause_of

# Statements are planned once, when tables may still be small, and must not be slow when they have
# grown. Locks are short, as nothing waits for user code: hitting the limit is a bug (A5).
SETTINGS: Final = (
    "SET lock_timeout = '1s'; SET statement_timeout = '10s'; "
    "SET idle_in_transaction_session_timeout = '10s'; SET enable_seqscan = off; "
    "SET plan_cache_mode = force_generic_plan; SET jit = off; "
    "SET max_parallel_workers_per_gather = 0; "
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED"
)
# A host that vanished must not hold its rows for hours (B6).
KEEPALIVE: Final = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
OWNERS: Final = {"infinitic_event", "infinitic_task", "infinitic_timer"}


class PostgresqlSession(Session):
    """Private connections are psycopg's, made by Django's settings of the alias."""

    errors = (DjangoError, psycopg.Error, UnicodeEncodeError, OverflowError)

    def open(self, connection: BaseDatabaseWrapper) -> None:
        """Connect; not from Django's pool, as the session has settings of its own."""
        given = connection.settings_dict
        options = {**KEEPALIVE, **(given.get("OPTIONS") or {})}
        options.pop("pool", None)
        options.pop("isolation_level", None)
        # Django turns prepared statements off, for poolers; a project may say None itself.
        options.setdefault("prepare_threshold", 0)
        connection.settings_dict = {**given, "OPTIONS": options}
        connection.connect()
        connection.connection.execute(SETTINGS)

    def roll_back(self, connection: BaseDatabaseWrapper) -> None:
        """Roll back; a connection that is lost, or in the middle of something, is closed."""
        raw = connection.connection
        try:
            if raw is None or raw.closed:
                self.close()
            elif raw.pgconn.transaction_status != TransactionStatus.IDLE:
                raw.rollback()
        except psycopg.Error:
            self.close()

    def meaning(self, error: Exception, sent: bool) -> StoreError | None:
        """By SQLSTATE; a connection that was lost after something was sent tells nothing."""
        cause = cause_of(error)
        if isinstance(cause, (UnicodeEncodeError, OverflowError)):
            return RefusedData(f"{type(cause).__name__}: {cause}")
        if not isinstance(cause, psycopg.Error):
            return None
        state = cause.sqlstate or ""
        text = f"{state or type(cause).__name__}: {cause}"
        if isinstance(cause, psycopg.OperationalError) and self._lost():
            self.close()
            return UnknownOutcome(text) if sent else DefiniteRollback(text)
        if state in ("40001", "40P01", "55P03", "57014", "25006") or state[:2] in ("53", "57"):
            return DefiniteRollback(text)
        if state == "22012":
            return NotOwner("The worker was marked dead, or rows were taken by somebody else.")
        if state == "23505" and cause.diag.table_name in OWNERS:
            return NotOwner(text)
        if state[:2] in ("22", "23", "54") or (not state and isinstance(cause, psycopg.DataError)):
            return RefusedData(text)
        return None

    def _lost(self) -> bool:
        connection: BaseDatabaseWrapper | None = (
            getattr(self._local, "connection", None) if self.private else connections[self.alias]
        )
        if connection is None or connection.connection is None:
            return True
        return bool(connection.connection.closed)

    @contextmanager
    def act(self) -> Iterator[Sql]:
        """Acts are single statements here, so they need no transaction to be atomic."""
        connection = connections[self.alias]
        connection.ensure_connection()
        yield Sql(self, connection)

    # -- pipelines --------------------------------------------------------------------------

    def read(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run queries in one round trip; the rows of each. Raises `StoreError`."""
        return self._run(statements, writes=False)

    def write(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run statements as one transaction in one round trip; the rows of each.

        Raises `StoreError`. A statement that fails takes all others with it.
        """
        if self.private:
            return self._run([("BEGIN", {}), *statements, ("COMMIT", {})], writes=True)[1:-1]
        try:
            connection = self.connection()
            with transaction.atomic(using=self.alias):
                return self._pipeline(connection.connection, statements)
        except self.errors as error:
            meaning = self.meaning(error, sent=True)
            if meaning is None:
                raise
            raise meaning from error

    def _run(self, statements: Sequence[Statement], *, writes: bool) -> list[list[Row]]:
        sent = False
        try:
            connection = self.connection()
            sent = writes
            try:
                return self._pipeline(connection.connection, statements)
            except BaseException:
                if self.private:
                    self.roll_back(connection)
                raise
        except self.errors as error:
            meaning = self.meaning(error, sent)
            if meaning is None:
                raise
            raise meaning from error

    def _pipeline(
        self, raw: psycopg.Connection[Any], statements: Sequence[Statement]
    ) -> list[list[Row]]:
        self.statements += len(statements)
        self.trips += 1
        wire: Wire | None = getattr(self._local, "wire", None)
        if wire is None or wire.connection is not raw:
            # A shared connection has its own settings, by which plans for all sizes may be bad.
            prepare = self.private and raw.prepare_threshold is not None
            wire = self._local.wire = Wire(raw, prepare=prepare)
        return wire.run(statements)


def ids(values: Iterable[str]) -> str:
    """Ids as the text of an array, which the statement casts: cheaper than a list of them (B7)."""
    return "{" + ",".join(values) + "}"


def some_ids(values: Iterable[str | None]) -> str:
    """Ids of which some may be missing."""
    return "{" + ",".join([one or "NULL" for one in values]) + "}"


def numbers(values: Iterable[int]) -> str:
    """Whole numbers, or truth values, as the text of an array."""
    return "{" + str(list(values))[1:-1] + "}"
