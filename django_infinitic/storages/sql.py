"""What the adapters of all databases share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django_infinitic.storages.base import NotOwner, Storage
from django_infinitic.storages.session import Session, Sql

SECOND: Final = 1_000_000
LEASE: Final = 15 * SECOND
"""How long a worker's lease holds when it is not renewed (B6)."""

PATIENCE: Final = 5 * SECOND
"""How long a free part is kept for a worker that asked for it, or that has its version."""


class SqlStorage(Storage):
    """A store in a database: its session, and how values look in it.

    `parts`: into how many parts workflows are divided. `clock`: gives the time instead of the
    database (tests have a virtual one). With `me` 0 nothing is fenced: nobody else is there.
    """

    session: Session
    share_lock: str = ""
    """What makes the read of the fence hold the worker's row until the end."""
    skip_locked: str = ""
    """What makes a select pass rows that others have locked."""

    def __init__(
        self, session: Session, *, parts: int = 8, clock: Callable[[], int] | None = None
    ) -> None:
        self.session = session
        self.alias = session.alias
        self.parts = parts
        self.clock = clock
        self.me = 0
        self.delegated: set[str] = set()
        """Own attempts of tasks that others can answer."""
        self.failpoint: Callable[[str], None] = _nothing
        """Called with `store.before_commit` and `store.after_commit` around each write."""

    def close(self) -> None:
        """Close the private connection of this thread."""
        self.session.close()

    # How values look in columns; SQLite and MySQL differ.

    def key(self, id: str) -> Any:
        """An id as a parameter."""
        raise NotImplementedError

    def id(self, stored: Any) -> str:
        """An id as a row gives it."""
        raise NotImplementedError

    def stamp(self, micros: int) -> Any:
        """A time of people as a parameter."""
        raise NotImplementedError

    def time(self, sql: Sql) -> int:
        """The time, inside a transaction."""
        raise NotImplementedError

    def fence(self, sql: Sql) -> None:
        """Nothing is written by a worker that was marked dead. Raises `NotOwner`."""
        if self.me:
            self._fence(sql, self.me)

    def _fence(self, sql: Sql, me: int) -> None:
        statement = f"SELECT 1 FROM infinitic_worker WHERE id = %s AND NOT dead{self.share_lock}"
        if sql.row(statement, [me]) is None:
            raise NotOwner(f"Worker {me} was marked dead.")

    def be_patient(self, sql: Sql, seconds: float) -> None:
        """Let this transaction wait for locks that long."""

    def take_time(self, sql: Sql, seconds: float) -> None:
        """Let statements of this transaction run that long."""

    def clock_sql(self) -> str:
        """The time as an expression."""
        raise NotImplementedError

    def insert_message(self, sql: Sql, part: int, instance: str, kind: int, body: bytes) -> None:
        """Insert a message."""
        sql.run(
            "INSERT INTO infinitic_message (part, instance, kind, created, body)"
            f" VALUES (%s, %s, %s, {self.clock_sql()}, %s)",
            [part, self.key(instance), int(kind), body],
        )


def marks(values: object) -> str:
    """Placeholders for `IN (...)`."""
    return ", ".join(["%s"] * len(values))  # type: ignore[arg-type]


def _nothing(name: str) -> None:
    """The failpoint of production."""
