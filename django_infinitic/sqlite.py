"""What SQLite needs when a site and its workers share one file."""

from __future__ import annotations

from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from .conf import settings

MODE: Final = "transaction_mode"
IMMEDIATE: Final = "IMMEDIATE"

_set: set[str] = set()


def prepare() -> None:
    """Begin transactions on the storage alias with the write lock, unless the project chose.

    A deferred transaction that reads first and then writes fails at once, whatever the timeout,
    when another process has written meanwhile.
    """
    try:
        alias = settings.database
        database: dict[str, Any] = connections.settings[alias]
    except (ImproperlyConfigured, KeyError):
        return  # the checks tell
    if not is_sqlite(alias):
        return
    options = database.get("OPTIONS") or {}
    if MODE not in options:
        database["OPTIONS"] = {**options, MODE: IMMEDIATE}
        _set.add(alias)


def is_sqlite(alias: str) -> bool:
    """Whether an alias is an SQLite database."""
    return connections[alias].vendor == "sqlite"


def was_set(alias: str) -> bool:
    """Whether `prepare` has set the mode of this alias."""
    return alias in _set
