"""The example site as processes of its own."""

from collections.abc import Callable
from subprocess import CompletedProcess

Manage = Callable[..., CompletedProcess[str]]


def test_one_environment_variable_chooses_the_database(
    run_manage: Manage, database_url: str
) -> None:
    code = "from django.db import connection; print(connection.vendor)"
    vendor = run_manage("shell", "--no-imports", "-c", code).stdout.strip()
    assert database_url.startswith({"sqlite": "sqlite", "postgresql": "postgres"}[vendor])


def test_a_migrated_database_needs_no_further_migration(run_manage: Manage) -> None:
    run_manage("migrate", "--check")
    run_manage("check", "--database", "default", "--fail-level", "WARNING")
