"""The example site: what somebody sees who has just installed it."""

import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).resolve().parents[2]


def test_the_home_page_answers(client: Client) -> None:
    assert client.get(reverse("home")).status_code == 200


def test_the_admin_answers(admin_client: Client) -> None:
    assert admin_client.get(reverse("admin:index")).status_code == 200


def test_the_system_check_has_nothing_to_say() -> None:
    # As a process of its own: here the registry has the workflows of other tests too.
    command = [sys.executable, ROOT / "manage.py", "check", "--fail-level", "WARNING"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_migration_is_missing() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.sqlite
def test_the_test_database_is_a_file() -> None:
    """In memory SQLite locks in another way."""
    assert not connection.is_in_memory_db()
