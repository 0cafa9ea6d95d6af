"""Starting instances: rows, custom ids, and who holds one."""

from __future__ import annotations

import pytest
from django.db import connection, transaction

from django_infinitic.exceptions import UsageError
from django_infinitic.machine.messages import Kind


def test_a_start_makes_an_instance_and_its_message(world):
    started = world.start(
        tags=["vip", "shop.order:42"], meta={"a": "é"}, started_by="admin eve", method="book"
    )
    assert started.created
    assert not started.closed
    head = world.store.head(started.id)
    assert (head.id, head.workflow, head.method) == (started.id, world.workflow, "book")
    assert (head.version, head.status, head.streams, head.open) == (None, 0, 2, (2,))
    assert (set(head.tags), head.meta) == ({"vip", "shop.order:42"}, {"a": "é"})
    assert (head.started_by, head.custom_id, head.parent) == ("admin eve", None, None)
    assert head.closed_at is None
    assert abs(head.created_at - world.store.now()) < 60_000_000
    (message,) = world.store.messages_of(started.id)
    assert (message.kind, message.instance) == (Kind.START, started.id)
    assert message.doc == {"method": "book", "args": "[]"}
    assert message.row is not None
    assert abs(message.at - world.store.now()) < 60_000_000


def test_the_engine_reads_and_loads_what_was_started(world):
    started = world.start(tags=["vip"])
    world.own()
    (message,) = world.messages()
    assert (message.instance, message.kind) == (started.id, Kind.START)
    loaded = world.store.load([started.id, world.id()])
    assert set(loaded) == {started.id}
    assert loaded[started.id].events == []
    assert loaded[started.id].tags == ("vip",)


def test_a_custom_id_finds_the_running_instance(world):
    first = world.start(custom_id="42")
    second = world.start(custom_id="42")
    assert second.id == first.id
    assert not second.created
    assert not second.closed
    assert len(world.store.messages_of(first.id)) == 1
    assert world.store.find(world.workflow, "42") == first.id
    assert world.store.find(world.workflow, "43") is None
    assert world.start(custom_id="42", workflow="shop.Other").created


def test_custom_ids_differ_by_case_and_spaces(database):
    ids = {database.start(custom_id=text).id for text in ("a", "A", "a b", "a  b", "é", "e")}
    assert len(ids) == 6


def test_another_method_than_the_holders_is_refused(world):
    first = world.start(custom_id="42", method="book")
    with pytest.raises(UsageError, match="started by its method book, and now run was asked"):
        world.start(custom_id="42")
    assert world.start(custom_id="42", method="book").id == first.id


def test_a_custom_id_is_free_again_when_its_instance_has_ended(world):
    first = world.running(custom_id="42")
    world.close(first)
    second = world.start(custom_id="42", method="other")
    assert second.created
    assert second.id != first
    assert world.store.find(world.workflow, "42") == second.id


def test_once_finds_the_ended_instance_too(world):
    first = world.running(custom_id="42")
    world.close(first)
    again = world.start(custom_id="42", once=True)
    assert (again.id, again.created, again.closed) == (first, False, True)


def test_many_starts_keep_their_order(world):
    first = world.start(custom_id="7")
    starts = [world.start_arguments(tags=[f"t{n}"]) for n in range(5)]
    starts.insert(2, world.start_arguments(custom_id="7"))
    starts.append(world.start_arguments(custom_id="8"))
    starts.append(world.start_arguments(custom_id="8"))
    made = world.store.start_many(starts)
    assert [one.created for one in made] == [True, True, False, True, True, True, True, False]
    assert made[2].id == first.id
    assert made[7].id == made[6].id
    plain = [n for n in range(6) if n != 2]
    assert [made[n].id for n in plain] == [starts[n]["id"] for n in plain]
    assert world.store.ids_by_tag(world.workflow, "t4") == {made[5].id}
    assert len(world.store.messages_of(made[0].id)) == 1


def test_many_starts_are_all_or_none(world):
    world.start(custom_id="7", method="other")
    starts = [world.start_arguments(), world.start_arguments(custom_id="7")]
    with pytest.raises(UsageError):
        world.store.start_many(starts)
    assert world.store.head(starts[0]["id"]) is None


def test_a_refused_start_leaves_the_callers_transaction_usable(database):
    database.start(custom_id="7", method="other")
    with transaction.atomic():
        started = database.start()
        with pytest.raises(UsageError):
            database.start(custom_id="7")
        with pytest.raises(UsageError):
            database.store.start_many([database.start_arguments(custom_id="7")])
    assert database.store.head(started.id) is not None


def test_a_start_rolls_back_with_the_caller(database):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        started = database.start(custom_id="42", tags=["vip"])
        assert started.created
        assert database.start(custom_id="42").id == started.id
        raise ZeroDivisionError
    assert database.store.head(started.id) is None
    assert database.store.ids_by_tag(database.workflow, "vip") == set()
    assert database.start(custom_id="42").created


def test_a_start_without_a_transaction_is_atomic_by_itself(database):
    """The same tag twice is no reason to fail; the same id is, and leaves nothing."""
    started = database.start(tags=["a", "a"])
    with pytest.raises(Exception, match=r"(?i)unique"):
        database.start(id=started.id, tags=["b"])
    assert not connection.in_atomic_block
    assert database.store.ids_by_tag(database.workflow, "b") == set()
    assert len(database.store.messages_of(started.id)) == 1


@pytest.mark.postgresql
def test_of_two_at_once_the_second_waits_and_finds_the_first(database, in_thread):
    import threading

    claimed, go = threading.Event(), threading.Event()
    results = []

    def first():
        with transaction.atomic():
            results.append(database.start(custom_id="42"))
            claimed.set()
            assert go.wait(10)

    def second():
        assert claimed.wait(10)
        timer = threading.Timer(0.3, go.set)
        timer.start()
        started = database.start(custom_id="42")
        assert go.is_set()
        return started

    other = threading.Thread(target=lambda: in_thread(first))
    other.start()
    found = second()
    other.join(10)
    assert results[0].created
    assert not found.created
    assert found.id == results[0].id


@pytest.mark.postgresql
def test_when_the_first_of_two_rolls_back_the_second_starts(database, in_thread):
    import threading

    claimed = threading.Event()

    def first():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            database.start(custom_id="42")
            claimed.set()
            threading.Event().wait(0.3)
            raise ZeroDivisionError

    other = threading.Thread(target=lambda: in_thread(first))
    other.start()
    assert claimed.wait(10)
    found = database.start(custom_id="42")
    other.join(10)
    assert found.created
