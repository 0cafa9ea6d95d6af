"""Connections and transactions of a store, and what their errors mean (A8)."""

from __future__ import annotations

import collections
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import Error as DjangoError
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_infinitic.storages.base import StoreError

Params = Sequence[Any] | Mapping[str, Any]


class Sql:
    """Statements on a cursor of Django's; placeholders are `%s`."""

    def __init__(self, session: Session, connection: BaseDatabaseWrapper) -> None:
        self.session = session
        self.cursor = connection.cursor()

    def run(self, statement: str, params: Params = ()) -> int:
        """Run a statement; the number of rows that it changed."""
        self.session.count()
        self.cursor.execute(statement, params)
        return int(self.cursor.rowcount)

    def many(self, statement: str, rows: Sequence[Sequence[Any]]) -> int:
        """Run a statement for each row; the number of rows that they changed."""
        self.session.count()
        self.cursor.executemany(statement, rows)
        return int(self.cursor.rowcount)

    def rows(self, statement: str, params: Params = ()) -> list[tuple[Any, ...]]:
        """The rows of a query, or of a statement with RETURNING."""
        self.session.count()
        self.cursor.execute(statement, params)
        return list(self.cursor.fetchall())

    def row(self, statement: str, params: Params = ()) -> tuple[Any, ...] | None:
        """The first row, if any."""
        found = self.rows(statement, params)
        return found[0] if found else None

    def exists(self, which: str, params: Sequence[Any]) -> bool:
        """Whether there is such a row: `which` follows FROM."""
        return self.row(f"SELECT 1 FROM {which}", params) is not None


class Session(ABC):
    """The connections of one store.

    `private`: engine, task and worker calls have a connection of their own in each thread that
    makes some, because what Django's connection of the thread does is user code's affair (A1).
    Otherwise they are savepoints on that connection, as a `TestCase` needs it. `statements` and
    `trips` count statements, and waits for the server, since the start.
    """

    errors: tuple[type[Exception], ...] = (DjangoError,)
    """What the driver raises, wrapped by Django or not."""
    remote = True
    """Whether each statement by itself is a wait for a server."""

    def __init__(self, alias: str, private: bool) -> None:
        self.alias = alias
        self.private = private
        self.statements = 0
        self.trips = 0
        self._local = threading.local()

    def connection(self) -> BaseDatabaseWrapper:
        """The connection for engine, task and worker calls, open."""
        if not self.private:
            shared = connections[self.alias]
            if shared.connection is None:
                shared.ensure_connection()
            return shared
        own: BaseDatabaseWrapper | None = getattr(self._local, "connection", None)
        if own is None:
            own = connections.create_connection(self.alias)
            own.queries_log = collections.deque(maxlen=0)  # with DEBUG it would keep bodies
            self._local.connection = own
        if own.connection is None:
            self.open(own)
        return own

    @abstractmethod
    def open(self, connection: BaseDatabaseWrapper) -> None:
        """Connect a private connection and set it up."""

    def close(self) -> None:
        """Close the private connection of this thread."""
        own: BaseDatabaseWrapper | None = getattr(self._local, "connection", None)
        self._local.connection = None
        if own is not None:
            own.close()

    @contextmanager
    def transaction(self) -> Iterator[Sql]:
        """One short transaction, or a savepoint of the caller's. Raises `StoreError`."""
        sent = False
        try:
            connection = self.connection()
            if not self.private:
                with transaction.atomic(using=self.alias):
                    yield Sql(self, connection)
                return
            sql = Sql(self, connection)
            sent = True
            self.begin(sql)
            try:
                yield sql
                sql.run("COMMIT")
            except BaseException:
                self.roll_back(connection)
                raise
        except self.errors as error:
            meaning = self.meaning(error, sent)
            if meaning is None:
                raise
            raise meaning from error

    @contextmanager
    def reading(self) -> Iterator[Sql]:
        """Single queries, without a transaction. Raises `StoreError`."""
        try:
            yield Sql(self, self.connection())
        except self.errors as error:
            meaning = self.meaning(error, False)
            if meaning is None:
                raise
            raise meaning from error

    def count(self) -> None:
        """Count a statement that is sent by itself."""
        self.statements += 1
        self.trips += self.remote

    @contextmanager
    def act(self) -> Iterator[Sql]:
        """Like `caller`, for acts that a vendor may do in one statement."""
        with self.caller() as sql:
            yield sql

    @contextmanager
    def caller(self) -> Iterator[Sql]:
        """Statements in the caller's transaction; atomic by themselves when there is none.

        An exception of the database leaves the caller's block broken, as any failed query does.
        """
        connection = connections[self.alias]
        if connection.in_atomic_block:
            yield Sql(self, connection)
            return
        with transaction.atomic(using=self.alias):
            yield Sql(self, connection)

    def begin(self, sql: Sql) -> None:
        """Begin a transaction on a private connection."""
        sql.run("BEGIN")

    @abstractmethod
    def roll_back(self, connection: BaseDatabaseWrapper) -> None:
        """Roll back on a private connection; one that is lost is closed. Never raises."""

    @abstractmethod
    def meaning(self, error: Exception, sent: bool) -> StoreError | None:
        """What an error means, or None for one that is a fault of the program."""


def cause_of(error: BaseException) -> BaseException:
    """The driver's error: Django wraps it."""
    if isinstance(error, DjangoError) and error.__cause__ is not None:
        return error.__cause__
    return error
