"""Where instances live: the port and its adapters."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django_infinitic.storages.sql import SqlStorage

__all__ = ["storage_for"]


def storage_for(
    alias: str,
    private: bool,
    *,
    parts: int | None = None,
    clock: Callable[[], int] | None = None,
) -> SqlStorage:
    """The store on a database alias, by its vendor.

    `private`: engine, task and worker calls have connections of their own; without it they are
    savepoints on the caller's, as tests need it. `parts`: the setting unless given. `clock`: gives
    the time instead of the database. Raises `ImproperlyConfigured` for other databases.
    """
    # Models and drivers are imported only now: Django's registry is ready.
    from django.core.exceptions import ImproperlyConfigured
    from django.db import connections

    from django_infinitic.conf import settings

    vendor = connections[alias].vendor
    number = settings.parts if parts is None else parts
    if vendor == "sqlite":
        from django_infinitic.storages.sqlite import SqliteStorage

        return SqliteStorage(alias, private, parts=number, clock=clock)
    if vendor == "postgresql":
        from django_infinitic.storages.postgresql import PostgresqlStorage

        return PostgresqlStorage(alias, private, parts=number, clock=clock)
    raise ImproperlyConfigured(
        f'django_infinitic cannot store workflows in the database "{alias}" ({vendor}) yet: it '
        'knows PostgreSQL and SQLite. Name another alias in INFINITIC["STORAGE"].'
    )
