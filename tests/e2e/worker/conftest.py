"""A laboratory for tests with real workers: databases, workers, a client and a ledger."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(HERE))

from lab_tools import Driver, Lab  # noqa: E402


def _environment() -> dict[str, str]:
    return {
        **{key: value for key, value in os.environ.items() if key != "LAB_DEBUG"},
        "DJANGO_SETTINGS_MODULE": "lab.settings",
        "PYTHONPATH": os.pathsep.join([str(HERE), str(ROOT)]),
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture(scope="session")
def lab_template(databases: Any) -> Iterator[str]:
    name = f"lab_template_{os.getpid()}"
    databases.create(name)
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "migrate", "--verbosity=0"],
        env={**_environment(), "DATABASE_URL": databases.url(name)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    yield name
    databases.drop(name)


_names = iter(range(1_000_000))


@pytest.fixture(scope="session")
def driver(databases: Any, lab_template: str) -> Iterator[Driver]:
    found = Driver({**_environment(), "DATABASE_URL": databases.url(lab_template)})
    yield found
    found.end()


@pytest.fixture
def lab(databases: Any, lab_template: str, driver: Driver, tmp_path: Path) -> Iterator[Lab]:
    name = f"lab_{os.getpid()}_{next(_names)}"
    databases.create(name, lab_template)
    found = Lab(databases.url(name), tmp_path, _environment(), driver)
    yield found
    found.end()
    print(found.logs())
    databases.drop(name)
