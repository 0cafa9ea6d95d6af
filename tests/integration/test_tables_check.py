"""The check that our tables are there."""

import pytest
from django.core.management.base import SystemCheckError
from django.core.management.commands.check import Command as CheckCommand
from django.core.management.commands.migrate import Command
from django.db import connection

from django_infinitic.checks import check_tables


@pytest.mark.django_db
def test_after_migrate_nothing_is_missing() -> None:
    assert check_tables(None, databases=["default"]) == []


@pytest.mark.django_db
def test_what_is_missing_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    there = connection.introspection.table_names()
    kept = [name for name in there if name != "infinitic_instance"]
    assert len(kept) < len(there)
    monkeypatch.setattr(connection.introspection, "table_names", lambda: kept)
    (found,) = check_tables(None, databases=["default"])
    assert found.id == "infinitic.E006"
    assert "(infinitic_instance)" in found.msg
    assert "manage.py migrate --database default" in str(found.hint)


@pytest.mark.django_db
def test_only_the_databases_that_are_checked_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection.introspection, "table_names", list)
    assert check_tables(None, databases=["other"]) == []


@pytest.mark.django_db
def test_migrate_itself_is_not_stopped_by_what_it_is_about_to_make(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection.introspection, "table_names", list)
    command = Command()
    command.check(databases=["default"])
    with pytest.raises(SystemCheckError, match="E006"):
        run_checks_of_another_command()


def run_checks_of_another_command() -> None:
    CheckCommand().check(databases=["default"])
