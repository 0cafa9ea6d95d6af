"""The example site: what somebody sees who has just installed it."""

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse

pytestmark = pytest.mark.django_db


def test_the_home_page_answers(client: Client) -> None:
    assert client.get(reverse("home")).status_code == 200


def test_the_admin_answers(admin_client: Client) -> None:
    assert admin_client.get(reverse("admin:index")).status_code == 200


def test_the_system_check_has_nothing_to_say() -> None:
    call_command("check", fail_level="WARNING", databases=["default"])


def test_no_migration_is_missing() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.sqlite
def test_the_test_database_is_a_file() -> None:
    """In memory SQLite locks in another way."""
    assert not connection.is_in_memory_db()
