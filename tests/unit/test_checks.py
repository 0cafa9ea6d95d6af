"""System checks."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.checks import CheckMessage
from django.db import connections
from django.test import override_settings

from django_infinitic import checks, sqlite
from django_infinitic.authoring.channel import Channel
from django_infinitic.authoring.decorators import service, task, workflow
from django_infinitic.authoring.transient import transient
from django_infinitic.authoring.workflow import Workflow


def ids(found: list[CheckMessage]) -> list[str]:
    return [str(one.id).removeprefix("infinitic.") for one in found]


class TestProject:
    def test_a_good_project_has_nothing_to_complain_of(self) -> None:
        assert checks.check_settings(None) == []
        assert checks.check_project(None) == []

    def test_e001_and_e002_tell_what_is_wrong_with_the_setting(self) -> None:
        with override_settings(INFINITIC={"RETENTON": 5, "PARTS": 0}):
            found = checks.check_settings(None)
        assert ids(found) == ["E001", "E002"]
        assert found[0].hint == 'Did you mean "RETENTION"?'
        assert "PARTS" in found[1].msg

    def test_e003_tells_that_the_storage_alias_is_missing(self) -> None:
        with override_settings(INFINITIC={"STORAGE": "database://engine"}):
            (found,) = checks.check_project(None)
        assert ids([found]) == ["E003"]
        assert '"engine"' in found.msg
        assert "default" in str(found.hint)

    def test_e004_wants_time_zones(self) -> None:
        with override_settings(USE_TZ=False):
            assert ids(checks.check_project(None)) == ["E004"]

    def test_e005_wants_auth_and_contenttypes(self) -> None:
        with override_settings(INSTALLED_APPS=["django_infinitic"]):
            (found,) = checks.check_project(None)
        assert ids([found]) == ["E005"]
        assert "contenttypes" in found.msg
        assert "auth" in found.msg

    def test_tables_are_looked_for_only_when_databases_are_checked(self) -> None:
        assert checks.check_tables(None) == []
        assert checks.check_tables(None, databases=None) == []


@pytest.mark.sqlite
class TestSqlite:
    @pytest.fixture(autouse=True)
    def _restored(self, monkeypatch: pytest.MonkeyPatch) -> None:
        database = connections.settings["default"]
        for key in ("NAME", "OPTIONS"):
            monkeypatch.setitem(database, key, database[key])
        monkeypatch.setattr(sqlite, "_set", set())

    def check(self, name: str = "/srv/db.sqlite3", **options: str) -> list[CheckMessage]:
        connections.settings["default"].update(NAME=name, OPTIONS=options)
        return checks.check_sqlite(None)

    @pytest.mark.parametrize("name", ["", ":memory:", "file:x?mode=memory&cache=shared"])
    def test_e009_refuses_a_database_in_memory(self, name: str) -> None:
        assert ids(self.check(name)) == ["E009"]

    @pytest.mark.parametrize("name", ["default", "default_1"])
    def test_the_test_database_of_django_is_none_of_its_business(self, name: str) -> None:
        assert self.check(f"file:memorydb_{name}?mode=memory&cache=shared") == []

    def test_w004_tells_of_a_relative_file(self) -> None:
        assert ids(self.check("db.sqlite3", transaction_mode="IMMEDIATE")) == ["W004"]

    def test_w005_tells_of_another_mode(self) -> None:
        assert ids(self.check(transaction_mode="DEFERRED")) == ["W005"]

    def test_the_right_mode_is_fine(self) -> None:
        assert self.check(transaction_mode="IMMEDIATE") == []
        assert self.check(transaction_mode="immediate") == []

    def test_i001_tells_that_it_was_set(self) -> None:
        connections.settings["default"].update(NAME="/srv/db.sqlite3", OPTIONS={"timeout": 5})
        sqlite.prepare()
        assert connections.settings["default"]["OPTIONS"] == {
            "timeout": 5,
            "transaction_mode": "IMMEDIATE",
        }
        assert ids(checks.check_sqlite(None)) == ["I001"]

    def test_what_the_project_chose_stays(self) -> None:
        connections.settings["default"].update(OPTIONS={"transaction_mode": "EXCLUSIVE"})
        sqlite.prepare()
        assert connections.settings["default"]["OPTIONS"] == {"transaction_mode": "EXCLUSIVE"}


@pytest.mark.usefixtures("fresh_registry")
class TestAuthoring:
    def test_w001_lists_tasks_without_annotation(self) -> None:
        @service(name="Cars")
        class Cars:
            def book(self, cart, days: int): ...
            def cancel(self, cart: str) -> None: ...

        (found,) = checks.check_services(None)
        assert ids([found]) == ["W001"]
        assert "book (cart, its result)" in found.msg
        assert "cancel" not in found.msg

    def test_w002_and_w003_look_at_workflows(self) -> None:
        @workflow(name="Booking")
        class Booking(Workflow):
            log: list[str]
            changed = Channel(str)
            helper = transient(object)

            def __init__(self) -> None:
                self.log = []
                self.cart: list[str] = []
                self.a, (self.b, *_) = 1, (2, 3)

            def book(self, cart) -> str:
                self.log += ["x"]
                self.helper = 5
                self.cart = cart
                return self.cart[0]

        first, second = checks.check_workflows(None)
        assert ids([first, second]) == ["W002", "W003"]
        assert "book (cart)" in first.msg
        assert second.msg.endswith(
            "annotation in the class body: cart, a, b. Such values may be plain JSON and a few "
            "exact types only."
        )

    def test_what_is_annotated_is_fine(self) -> None:
        class Base(Workflow):
            price: int

        @workflow(name="Booking")
        class Booking(Base):
            log: list[str]

            def __init__(self) -> None:
                self.log = []
                self.price = 5

            @property
            def total(self) -> int:
                return self.price

            @total.setter
            def total(self, value: int) -> None:
                self.price = value

            def book(self) -> str:
                self.total = 7
                return ""

        assert checks.check_workflows(None) == []

    def test_impossible_timeouts_are_told(self) -> None:
        @service(name="Cars")
        class Cars:
            @task(attempt_timeout=timedelta(hours=2))
            def book(self) -> None: ...
            @task(attempt_timeout=60, total_timeout=30)
            def cancel(self) -> None: ...

        found = checks.check_services(None)
        assert ids(found) == ["E008", "W006"]
        assert "attempt_timeout=7200" in found[0].msg
        assert "3600" in found[0].msg
        with override_settings(INFINITIC={"TASK_MAX_SECONDS": timedelta(hours=3)}):
            assert ids(checks.check_services(None)) == ["W006"]

    def test_e010_tells_that_one_transaction_cannot_hold_two_databases(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Cars:
            @task(atomic=True)
            def book(self) -> None: ...

        Cars.book.__module__ = "django.contrib.auth.services"
        service(name="Cars")(Cars)
        assert checks.check_services(None) == []
        monkeypatch.setattr(checks.router, "db_for_write", lambda model: "other")
        (found,) = checks.check_services(None)
        assert ids([found]) == ["E010"]
        assert '"other"' in found.msg


def test_the_list_in_the_module_names_each_check() -> None:
    used = set(re.findall(r"infinitic\.([EWI]\d+)", Path(checks.__file__).read_text()))
    listed = set(re.findall(r"([EWI]\d{3}) ", checks.__doc__ or ""))
    assert used <= listed
