"""Where the tables are."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import override_settings

from django_infinitic.routers import InfiniticRouter


def model(name: str, app: str = "infinitic") -> Any:
    return SimpleNamespace(_meta=SimpleNamespace(app_label=app, model_name=name))


class UsersElsewhere:
    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "people" if model is User else None


@pytest.fixture
def router():
    with override_settings(
        INFINITIC={"STORAGE": "database://engine"},
        DATABASE_ROUTERS=[InfiniticRouter(), UsersElsewhere()],
    ):
        yield InfiniticRouter()


def test_ours_are_on_the_storage_alias_for_reading_too(router) -> None:
    assert router.db_for_write(model("workflowinstance")) == "engine"
    assert router.db_for_read(model("workflowinstance")) == "engine"


def test_human_tasks_are_with_the_users(router) -> None:
    assert router.db_for_write(model("humantaskinstance")) == "people"
    assert router.db_for_read(model("humantaskevent")) == "people"


def test_they_are_migrated_there_and_nowhere_else(router) -> None:
    assert router.allow_migrate("engine", "infinitic", "workflowinstance") is True
    assert router.allow_migrate("default", "infinitic", "workflowinstance") is False
    assert router.allow_migrate("people", "infinitic", "humantaskinstance") is True
    assert router.allow_migrate("engine", "infinitic", "humantaskinstance") is False
    assert router.allow_migrate("engine", "infinitic") is True
    assert router.allow_migrate("people", "infinitic") is True
    assert router.allow_migrate("default", "infinitic") is False


def test_of_others_it_has_no_opinion(router) -> None:
    assert router.db_for_write(model("user", "auth")) is None
    assert router.allow_migrate("default", "auth", "user") is None
    assert router.allow_relation(model("a"), model("b", "auth")) is None
    assert router.allow_relation(model("a"), model("b")) is True
