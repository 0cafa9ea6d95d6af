"""Databases for real processes.

pytest-django's test database belongs to the process of the tests. Tests with other processes get a
database of their own each: a copy of one that is migrated once.
"""

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]

Manage = Callable[..., subprocess.CompletedProcess[str]]


def manage(database_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `manage.py` as a process on this database and wait for it."""
    done = subprocess.run(
        [sys.executable, ROOT / "manage.py", *arguments],
        env={**os.environ, "DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


class SQLiteDatabases:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def url(self, name: str) -> str:
        return f"sqlite:///{quote(str(self.folder / name))}.sqlite3"

    def create(self, name: str, template: str | None = None) -> None:
        if template:
            for file in self.folder.glob(f"{template}.sqlite3*"):
                shutil.copy(file, self.folder / file.name.replace(template, name, 1))

    def drop(self, name: str) -> None:
        for file in self.folder.glob(f"{name}.sqlite3*"):
            file.unlink()


class PostgreSQLDatabases:
    def __init__(self, url: str) -> None:
        self.server = url

    def url(self, name: str) -> str:
        return urlsplit(self.server)._replace(path=f"/{name}").geturl()

    def execute(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self.server, autocommit=True) as connection:
            connection.execute(statement)

    def create(self, name: str, template: str | None = None) -> None:
        self.drop(name)
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template or "template1"}"')

    def drop(self, name: str) -> None:
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


Databases = SQLiteDatabases | PostgreSQLDatabases


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Databases:
    url = os.environ.get("DATABASE_URL", "")
    if url.startswith("postgres"):
        return PostgreSQLDatabases(url)
    return SQLiteDatabases(tmp_path_factory.mktemp("databases"))


@pytest.fixture(scope="session")
def template_database(databases: Databases) -> Iterator[str]:
    name = f"e2e_template_{os.getpid()}"
    databases.create(name)
    manage(databases.url(name), "migrate", "--verbosity=0")
    yield name
    databases.drop(name)


_numbers = itertools.count(1)


@pytest.fixture
def database_url(databases: Databases, template_database: str) -> Iterator[str]:
    """The `DATABASE_URL` of a migrated database that only this test uses."""
    name = f"e2e_{os.getpid()}_{next(_numbers)}"
    databases.create(name, template_database)
    yield databases.url(name)
    databases.drop(name)


@pytest.fixture
def run_manage(database_url: str) -> Manage:
    """`run_manage("check")` runs `manage.py check` as a process on this test's database."""
    return lambda *arguments: manage(database_url, *arguments)
