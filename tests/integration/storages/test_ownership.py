"""Workers: leases, parts, take-over, and what follows an unknown outcome."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from django_infinitic.machine.messages import Kind
from django_infinitic.models import Part, Worker
from django_infinitic.storages.base import DefiniteRollback, NotOwner, WriteSet
from django_infinitic.storages.sqlite import SqliteStorage


def worker(database, name="worker"):
    store = database.make()
    store.me = store.register(name, {"slots": 8})
    return store


def take(database, store, version=0):
    return store.take(store.me, {database.workflow: version}, 8)


def expire(store):
    Worker.objects.filter(pk=store.me).update(
        expires_at=timezone.now() - timezone.timedelta(seconds=1)
    )


def test_one_worker_takes_all(world):
    world.own()
    assert len(set(world.parts)) == 9
    assert world.store.take(world.store.me, {world.workflow: 0}, 8) == world.parts


def test_a_lease_is_renewed_until_the_worker_is_dead(world):
    world.own()
    assert world.store.renew(world.store.me)
    assert [one["name"] for one in world.store.workers_alive()] == ["worker"]
    assert world.store.reap() == []
    assert world.store.reap(world.store.me) == [world.store.me]
    assert world.store.reap(world.store.me) == []
    assert not world.store.renew(world.store.me)
    assert world.store.workers_alive() == []


def test_a_worker_whose_lease_has_run_out_is_dead(database):
    first, second = worker(database, "first"), worker(database, "second")
    assert len(take(database, first)) == 9
    assert second.reap() == []
    expire(first)
    assert second.reap() == [first.me]
    assert not first.renew(first.me)
    with pytest.raises(NotOwner):
        take(database, first)
    with pytest.raises(NotOwner):
        first.release(first.me)
    assert len(take(database, second)) == 9


def test_a_renewed_lease_holds(database):
    first = worker(database)
    expire(first)
    assert first.renew(first.me)
    assert first.reap() == []


def test_parts_are_shared_by_asking(database):
    first, second = worker(database), worker(database)
    assert len(take(database, first)) == 9
    assert take(database, second) == []
    wanted = first.wanted(first.me)
    assert len(wanted) == 4
    assert take(database, second) == []
    assert len(first.wanted(first.me)) == 4
    first.release(first.me, wanted)
    assert len(take(database, first)) == 5
    assert take(database, second) == sorted(wanted)
    assert first.wanted(first.me) == []
    assert second.wanted(second.me) == []
    third = worker(database)
    assert take(database, third) == []
    for store in (first, second):
        store.release(store.me, store.wanted(store.me))
    counts = [len(take(database, store)) for store in (third, first, second)]
    assert sorted(counts) == [3, 3, 3]


def test_what_a_leaving_worker_had_goes_to_the_others(database):
    first, second = worker(database), worker(database)
    take(database, first)
    take(database, second)
    first.release(first.me)
    assert len(take(database, second)) == 9


def test_a_share_counts_only_who_takes_part(database):
    """An executor has a row too, and never takes anything."""
    worker(database, "executor")
    assert len(take(database, worker(database))) == 9


def test_a_share_is_counted_per_workflow(database):
    both, one = worker(database), worker(database)
    assert len(both.take(both.me, {"shop.A": 0, "shop.B": 0}, 8)) == 18
    assert one.take(one.me, {"shop.A": 0}, 8) == []
    both.release(both.me, both.wanted(both.me))
    assert len(one.take(one.me, {"shop.A": 0}, 8)) == 4
    assert len(both.take(both.me, {"shop.A": 0, "shop.B": 0}, 8)) == 14


def test_the_number_of_parts_is_fixed_at_first_use(database):
    store = worker(database)
    take(database, store)
    with pytest.raises(ImproperlyConfigured, match=r"is 4, and .*shop.Order was divided into 8"):
        store.take(store.me, {database.workflow: 0}, 4)
    assert Part.objects.filter(workflow=database.workflow).count() == 9


def test_a_part_waits_a_while_for_a_worker_with_its_version(database):
    id = database.start().id
    old = worker(database)
    parts = take(database, old, version=1)
    part = old.need_version(old.me, id, 2)
    assert part in parts
    old.release(old.me, [part])
    assert part not in take(database, old, version=1)
    new = worker(database)
    assert part in take(database, new, version=2)
    new.release(new.me)
    Part.objects.filter(pk=part).update(freed_at=new.now() - 6_000_000)
    assert part in take(database, old, version=1)


def test_a_suspect_is_blocked_after_three_dead_workers(database):
    id = database.start().id
    for deaths in range(1, 4):
        store = worker(database)
        store.suspect(store.me, id)
        assert store.reap(store.me) == [store.me]
        head = store.head(id)
        assert (head.crashes, head.status) == (deaths, 2 if deaths == 3 else 0)
    store = worker(database)
    store.suspect(store.me, id)
    store.suspect(store.me, None)
    store.reap(store.me)
    assert store.head(id).crashes == 3


# -- an unknown outcome


def unknown_batch(database):
    """A batch, and what it does."""
    id = database.running()
    database.send(id)
    (message,) = database.messages()
    task = database.task(id)
    batch = WriteSet(
        [database.turn(id, consumed=[message.row], events=[database.event(id)], tasks=[task])],
        {task.id},
    )
    return id, task, batch


@pytest.mark.parametrize("committed", [True, False])
def test_after_an_unknown_outcome_the_first_event_tells(database, committed):
    id, task, batch = unknown_batch(database)
    store = database.store
    old = store.me
    if committed:
        store.write(batch)
    store.me = store.retire(old)
    assert store.me != old
    assert store.written(batch) is committed
    if not committed:
        store.write(batch)
        assert store.written(batch)
    assert store.take(store.me, {database.workflow: 0}, 8) == database.parts
    assert database.tasks(id)[task.id]["worker"] == "worker"
    store.me, new = old, store.me
    with pytest.raises(NotOwner):
        store.write(WriteSet([database.turn(id, events=[database.event(id)])]))
    assert store.reap(new) == [new]
    assert database.tasks(id)[task.id]["state"] == 0


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("what", ["consumed", "done_tasks", "fired"])
def test_without_an_event_what_the_batch_takes_away_tells(database, what, committed):
    from django_infinitic.machine import effects as fx

    id = database.running()
    store = database.store
    if what == "consumed":
        database.send(id)
        value = [one.row for one in database.messages()]
    elif what == "fired":
        timer = fx.NewTimer(id=database.id(), instance=id, due=5, doc={"s": 2, "p": 1})
        database.write(database.turn(id, timers=[timer]))
        value = [timer.id]
    else:
        database.write(database.turn(id, tasks=[database.task(id)]))
        value = [(one.id, one.attempt) for one in store.claim([database.service], 1)]
    batch = WriteSet([database.turn(id, **{what: value})])
    if committed:
        store.write(batch)
    store.me = store.retire(store.me)
    assert store.written(batch) is committed


def test_who_was_marked_dead_first_cannot_retire(database):
    store = worker(database)
    store.reap(store.me)
    with pytest.raises(NotOwner):
        store.retire(store.me)


# -- a definite rollback


@pytest.mark.sqlite
def test_a_busy_database_is_a_definite_rollback(database):
    """The same value can be sent again, and what was read stays in memory."""
    import sqlite3

    id, task, batch = unknown_batch(database)
    store = database.store
    store.session.connection().connection.execute("PRAGMA busy_timeout = 50")
    from django.db import connection

    other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(DefiniteRollback, match="SQLITE_BUSY"):
            store.write(batch)
    finally:
        other.rollback()
        other.close()
    assert database.messages() == []
    store.write(batch)
    assert database.docs(id, Kind.SEND) == []
    assert task.id in database.tasks(id)


@pytest.mark.sqlite
def test_a_private_connection_keeps_a_write_ahead_log(database):
    assert isinstance(database.store, SqliteStorage)
    raw = database.store.session.connection().connection
    assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_failed_write_leaves_the_callers_transaction_usable(db):
    """As in a test case, where the store shares the connection."""
    from django_infinitic.storages import storage_for

    store = storage_for("default", private=False, parts=8)
    store.me = store.register("worker", {})
    assert store.reap(store.me) == [store.me]
    with pytest.raises(NotOwner):
        store.take(store.me, {"shop.Order": 0}, 8)
    assert Worker.objects.count() == 1
