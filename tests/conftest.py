"""What all tests share.

**Databases.** A test never chooses one: `DATABASE_URL` does (`scripts/test` runs the tests once on
SQLite and those that touch a database once more on PostgreSQL), so

    pytest                                              everything on SQLite
    scripts/postgresql run pytest tests/integration     the same tests on PostgreSQL

A test that needs one of the two says so by `@pytest.mark.sqlite` or `@pytest.mark.postgresql`.
On the other it is not skipped but not selected, as the other part of the run has it.
"""

import os

import pytest
from django.conf import settings


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ours = settings.DATABASES["default"]["ENGINE"].rpartition(".")[2].removesuffix("3")
    others = {"sqlite", "postgresql"} - {ours}
    elsewhere = [item for item in items if any(map(item.get_closest_marker, others))]
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if item not in elsewhere]


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each run has a database of its own, so that several can run at once.

    On SQLite it is a file: Django's in-memory test database locks by table, never waits for a lock
    and has no WAL, so it would test another database than the one that people use.
    """
    from django.db import connections

    for connection in connections.all():
        test = connection.settings_dict["TEST"]
        if connection.vendor == "sqlite":
            test["NAME"] = str(tmp_path_factory.mktemp("sqlite") / f"{connection.alias}.sqlite3")
        else:
            name = connection.settings_dict["NAME"]
            test["NAME"] = f"test_{name}_{connection.alias}_{os.getpid()}"
