"""Hints by NOTIFY: they only shorten waits, polling alone is always enough (C9).

They are sent after the commit, never in the transaction, where they would make commits wait for
each other; and not more often than a reader can use them.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from typing import Any, Final

import psycopg
from django.db import Error as DatabaseError
from django.db import connections, transaction

from django_infinitic.machine.messages import Kind
from django_infinitic.storages.base import Doc, Started
from django_infinitic.storages.postgresql.engine import PostgresqlEngine

CHANNEL: Final = "infinitic"
DEBOUNCE: Final = 0.002
"""Seconds between two hints of a process; what a reader is late for, its next poll finds."""


class Listener:
    """A connection that hears hints."""

    def __init__(self, connection: psycopg.Connection[Any], own: str) -> None:
        self._connection = connection
        self._own = own
        self._fileno = connection.fileno()

    def fileno(self) -> int:
        """For selectors, which ask again when they forget a connection that is lost."""
        return self._fileno

    def received(self) -> bool:
        """Whether other processes have sent hints; raises what psycopg does when it is lost."""
        return any(note.payload != self._own for note in self._connection.notifies(timeout=0))

    def close(self) -> None:
        """Hear no more."""
        with contextlib.suppress(psycopg.Error):
            self._connection.close()


class PostgresqlHints(PostgresqlEngine):
    """What clients and workers write is announced to the workers that listen."""

    _told_at = 0.0

    def listen(self) -> Listener:
        """Hear hints of other processes, on a connection of its own."""
        wrapper = connections.create_connection(self.alias)
        params = wrapper.get_connection_params()
        for name in ("cursor_factory", "context"):
            params.pop(name, None)
        connection = psycopg.connect(**{**params, "autocommit": True})
        connection.execute(f"LISTEN {CHANNEL}")
        return Listener(connection, str(os.getpid()))

    def tell(self) -> None:
        """Announce that something was committed, on the private connection of this thread."""
        if self._due():
            connection = self.session.connection()
            connection.connection.execute(f"NOTIFY {CHANNEL}, '{os.getpid()}'")

    def _due(self) -> bool:
        now = time.monotonic()
        if now - self._told_at < DEBOUNCE:
            return False
        self._told_at = now
        return True

    def _tell_after_commit(self) -> None:
        if self.clock is None:
            transaction.on_commit(self._tell_as_client, using=self.alias, robust=True)

    def _tell_as_client(self) -> None:
        if self._due():
            with contextlib.suppress(DatabaseError), connections[self.alias].cursor() as cursor:
                cursor.execute(f"NOTIFY {CHANNEL}, '{os.getpid()}'")

    # -- acts of clients -------------------------------------------------------------------

    def start(self, **start: Any) -> Started:
        """As the port says."""
        started = super().start(**start)
        self._tell_after_commit()
        return started

    def start_many(self, starts: Sequence[Doc]) -> list[Started]:
        """As the port says."""
        started = super().start_many(starts)
        self._tell_after_commit()
        return started

    def post(self, workflow: str, to: str, value: str, kind: Kind, doc: Doc) -> list[str]:
        """As the port says."""
        reached = super().post(workflow, to, value, kind, doc)
        if reached:
            self._tell_after_commit()
        return reached

    def complete_task(self, service: str, task: str, doc: Doc) -> bool:
        """As the port says."""
        completed = super().complete_task(service, task, doc)
        if completed:
            self._tell_after_commit()
        return completed
