"""Retention: what has ended goes with all its rows, what runs stays."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured

from django_infinitic import models
from django_infinitic.machine import effects as fx
from django_infinitic.machine.messages import Kind
from django_infinitic.storages import storage_for
from django_infinitic.storages.base import NotedWait

HOUR = 3_600_000_000


def counts():
    return {
        model.__name__: model.objects.count()
        for model in apps.get_app_config("infinitic").get_models()
        if model.__name__ not in ("Worker", "Part")
    }


def full(database, **options):
    """An instance with a row in each table."""
    id = database.running(**options)
    timer = fx.NewTimer(id=database.id(), instance=id, due=5, doc={"s": 2, "p": 1})
    outcome = fx.OutcomeRow(method=id, instance=id, seq=1, status=1, doc={"v": "1"})
    database.write(
        database.turn(
            id,
            events=[database.event(id)],
            timers=[timer],
            outcomes=[outcome],
            tasks=[database.task(id)],
        )
    )
    database.send(id)
    return id


def test_an_instance_goes_with_all_its_rows(database):
    now = database.store.now()
    kept = full(database, custom_id="1", tags=["vip"])
    before = counts()
    gone = full(database, custom_id="2", tags=["vip", "customId:2"])
    database.close(gone, at=now - HOUR, dropped_tags=["vip", "customId:2"])
    assert database.store.prune(now - 2 * HOUR) == 0
    assert database.store.head(gone) is not None
    assert database.store.prune(now) == 1
    assert counts() == before
    assert database.store.head(gone) is None
    assert database.store.find(database.workflow, "2") is None
    assert database.store.head(kept) is not None
    assert database.start(custom_id="2").created


def test_a_custom_id_that_another_holds_now_stays(database):
    now = database.store.now()
    first = database.running(custom_id="1")
    database.close(first, at=now - HOUR)
    second = database.start(custom_id="1").id
    assert database.store.prune(now) == 1
    assert database.store.find(database.workflow, "1") == second
    assert not database.start(custom_id="1").created


def test_retention_goes_in_small_batches_oldest_first(database):
    now = database.store.now()
    ids = [database.running() for _ in range(5)]
    for n, id in enumerate(ids):
        database.close(id, at=now - (n + 1) * HOUR)
    assert database.store.prune(now, limit=2) == 2
    assert [database.store.head(id) is None for id in ids] == [False, False, False, True, True]
    assert database.store.prune(now, limit=10) == 3
    assert database.store.prune(now) == 0


def test_workers_long_dead_go_too(database):
    from django.utils import timezone

    database.own()
    old = database.store.register("old", {})
    database.store.reap(old)
    database.store.prune(0)
    assert models.Worker.objects.count() == 2
    models.Worker.objects.filter(pk=old).update(
        expires_at=timezone.now() - timezone.timedelta(days=2)
    )
    database.store.prune(0)
    assert [one.pk for one in models.Worker.objects.all()] == [database.store.me]


def test_waits_are_noted_for_people(database):
    id = database.running()
    since = database.store.now()
    database.store.note_waits([NotedWait(instance=id, kind=3, text="a message", since=since)])
    row = models.WorkflowInstance.objects.get(pk=id)
    assert (row.waiting_for, row.waiting_kind) == ("a message", 3)
    assert abs(row.waiting_since.timestamp() - since / 1e6) < 0.001
    database.store.note_waits([NotedWait(instance=id, kind=None)])
    row.refresh_from_db()
    assert (row.waiting_for, row.waiting_since, row.waiting_kind) == (None, None, None)


# -- what people see


def test_instances_are_found_by_the_object_they_are_about(database):
    user = get_user_model()(pk=42, username="eve")
    label = f"auth.user:{user.pk}"
    running = database.running(tags=[label])
    ended = database.running(tags=[label])
    named = database.running(custom_id=label)
    database.running(tags=[f"{label}0"])
    database.close(ended, dropped_tags=[label])
    found = models.WorkflowInstance.objects.for_object(user)
    assert {str(one.pk) for one in found} == {running, ended, named}
    assert {one.name for one in found} == {database.workflow}
    assert found.get(pk=ended).status == models.WorkflowInstance.Status.COMPLETED


def test_rows_read_as_people_write_them(database):
    id = database.running(tags=["vip"], started_by="admin eve")
    row = models.WorkflowInstance.objects.get(pk=id)
    assert str(row) == f"{database.workflow} {id}"
    assert (row.tags, row.started_by, row.closed) == (["vip"], "admin eve", False)
    assert row.status == models.WorkflowInstance.Status.RUNNING
    assert abs(row.created_at.timestamp() - database.store.now() / 1e6) < 60
    assert [str(one) for one in models.Worker.objects.all()] == ["worker"]
    database.send(id, kind=Kind.SEND)
    for model in apps.get_app_config("infinitic").get_models():
        for one in model.objects.all():
            assert str(one)


def test_another_database_is_refused_with_a_clear_text(settings, monkeypatch):
    from django.db import connections

    monkeypatch.setattr(type(connections["default"]), "vendor", "oracle")
    with pytest.raises(ImproperlyConfigured, match=r"\(oracle\) yet: it knows PostgreSQL"):
        storage_for("default", private=False)


def test_the_permissions_are_those_of_the_pages(db):
    from django.contrib.auth.models import Permission

    ours = Permission.objects.filter(content_type__app_label="infinitic")
    names = set(ours.values_list("codename", flat=True))
    assert names >= {
        "view_workflowinstance",
        "view_worker",
        "operate_workflow",
        "start_workflow",
        "view_payload",
    }
    assert not any(name.startswith(("add_", "change_", "delete_")) for name in names)


def test_a_field_points_to_a_workflow_without_a_constraint():
    from django.db import models as django_models

    field = models.WorkflowForeignKey(null=True, related_name="+")
    name, path, args, options = field.deconstruct()
    assert (name, path, args) == (None, "django_infinitic.models.WorkflowForeignKey", [])
    assert options["to"] == "infinitic.workflowinstance"
    assert options["db_constraint"] is False
    assert options["on_delete"] is django_models.DO_NOTHING
    copied = models.WorkflowForeignKey(**options)
    assert copied.deconstruct()[1:] == field.deconstruct()[1:]
    strict = models.WorkflowForeignKey(on_delete=django_models.PROTECT, db_constraint=True)
    assert strict.remote_field.on_delete is django_models.PROTECT


@pytest.mark.django_db(transaction=True)
def test_the_tables_can_be_unmade_and_made_again():
    from django.core.management import call_command

    call_command("migrate", "infinitic", "zero", verbosity=0)
    call_command("migrate", verbosity=0)
    assert models.WorkflowInstance.objects.count() == 0
