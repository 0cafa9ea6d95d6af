"""Messages: whom they reach, in which order, and what is told when nobody runs."""

from __future__ import annotations

import pytest
from django.db import transaction

from django_infinitic.exceptions import UsageError
from django_infinitic.machine import effects as fx
from django_infinitic.machine.messages import Kind

UNKNOWN = {"s": 2, "p": 9, "status": 5, "value": {"type": "WorkflowUnknownError"}}


def post(world, sender, to, value, *, kind=Kind.SEND, unknown=None, workflow=None, n=0):
    world.write(
        world.turn(
            sender,
            events=[world.event(sender)],
            posts=[
                fx.Post(
                    to=to,
                    workflow=workflow,
                    value=value,
                    kind=kind,
                    doc={"channel": "c", "value": str(n)},
                    sender=sender,
                    unknown=unknown,
                )
            ],
        )
    )


# -- by clients


def test_by_id_custom_id_and_tag(world):
    first = world.start(custom_id="42", tags=["vip"]).id
    second = world.start(tags=["vip"]).id
    assert world.send(first) == [first]
    assert world.send("42", to="custom") == [first]
    assert set(world.send("vip", to="tag")) == {first, second}
    assert len(world.docs(first, Kind.SEND)) == 3
    assert len(world.docs(second, Kind.SEND)) == 1


def test_a_custom_id_given_as_a_tag(database):
    first = database.start(custom_id="42", tags=["customId:42"]).id
    assert database.send("customId:42", to="tag") == [first]
    assert database.store.head(first).tags == ("customId:42",)


@pytest.mark.parametrize("value", ["", "nobody", "0193b1c0-0000-7000-8000-000000000000"])
def test_on_nobody(world, value):
    world.start()
    for to in ("id", "custom", "tag"):
        assert world.send(value, to=to) == []


def test_not_to_an_instance_of_another_workflow(world):
    first = world.start(workflow="shop.Other", custom_id="42", tags=["vip"]).id
    assert world.send(first) == world.send("42", to="custom") == world.send("vip", to="tag") == []


def test_not_to_an_ended_instance(world):
    first = world.running(custom_id="42", tags=["vip"])
    world.close(first, dropped_tags=["vip"])
    assert world.send(first) == world.send("42", to="custom") == world.send("vip", to="tag") == []
    assert world.store.ids_by_tag(world.workflow, "vip") == set()
    assert world.store.ids_by_tag(world.workflow, "customId:42") == set()


def test_ids_by_tag(world):
    first = world.start(custom_id="42", tags=["vip"]).id
    second = world.start(tags=["vip", "new"]).id
    assert world.store.ids_by_tag(world.workflow, "vip") == {first, second}
    assert world.store.ids_by_tag(world.workflow, "customId:42") == {first}
    assert world.store.ids_by_tag("shop.Other", "vip") == set()


def test_an_instance_has_a_limit_of_waiting_messages(database):
    database.store.waiting_limit = 3
    first = database.start(custom_id="42").id
    database.send(first)
    database.send("42", to="custom")
    with transaction.atomic():
        with pytest.raises(UsageError, match="3 messages waiting, which is the limit"):
            database.send(first)
        with pytest.raises(UsageError, match=first):
            database.send("42", to="custom")
        assert database.send(first, kind=Kind.CANCEL) == [first]
    database.own()
    consumed = [one.row for one in database.messages()]
    database.write(database.turn(first, consumed=consumed, head=database.head(first, queued=2)))
    database.send(first)
    with pytest.raises(UsageError):
        database.send(first)


def test_a_message_to_many_is_worked_off_after_the_commit(database):
    database.store.tag_limit = 3
    ids = [database.start(tags=["vip"]).id for _ in range(7)]
    assert len(database.send("vip", to="tag")) == 4
    assert all(database.docs(one, Kind.SEND) == [] for one in ids)
    database.own()
    assert database.work_off_lane() == 3
    assert all(database.docs(one, Kind.SEND) == [{"channel": "c", "value": "1"}] for one in ids)


# -- by workflows


def test_a_post_by_id_reaches_a_running_instance(world):
    sender, target = world.running(), world.start().id
    post(world, sender, "id", target, unknown=UNKNOWN)
    assert len(world.docs(target, Kind.SEND)) == 1
    assert world.docs(sender) == []


def test_a_post_to_nobody_tells_the_sender(world):
    sender, other = world.running(), world.start(workflow="shop.Other").id
    post(world, sender, "id", world.id(), unknown=UNKNOWN)
    post(world, sender, "id", "no id at all", unknown=UNKNOWN)
    post(world, sender, "custom", "42", workflow=world.workflow, unknown=UNKNOWN)
    post(world, sender, "id", other, workflow=world.workflow, unknown=UNKNOWN)
    post(world, sender, "id", world.id())
    assert world.docs(sender, Kind.OUTCOME) == [UNKNOWN] * 4
    post(world, sender, "id", other, unknown=UNKNOWN)
    assert len(world.docs(other, Kind.SEND)) == 1


def test_a_post_by_custom_id(world):
    sender = world.running()
    target = world.start(custom_id="42").id
    post(world, sender, "custom", "42", workflow=world.workflow, unknown=UNKNOWN)
    assert len(world.docs(target, Kind.SEND)) == 1
    assert world.docs(sender) == []


def test_a_post_by_tag_reaches_all_but_the_sender(world):
    sender = world.running(tags=["vip"])
    ids = [world.start(tags=["vip"]).id for _ in range(3)]
    world.start(workflow="shop.Other", tags=["vip"])
    post(world, sender, "tag", "vip", workflow=world.workflow, unknown=UNKNOWN)
    assert [len(world.docs(one, Kind.SEND)) for one in ids] == [1, 1, 1]
    assert world.docs(sender) == []


def test_a_post_to_many_is_worked_off_after_the_batch(database):
    database.store.tag_limit = 3
    sender = database.running(tags=["vip"])
    ids = [database.start(tags=["vip"]).id for _ in range(3)]
    post(database, sender, "tag", "vip", workflow=database.workflow, n=1)
    assert [len(database.docs(one, Kind.SEND)) for one in ids] == [1, 1, 1]
    ids += [database.start(tags=["vip"]).id for _ in range(5)]
    post(database, sender, "tag", "vip", workflow=database.workflow, n=2)
    assert len(database.docs(ids[0], Kind.SEND)) == 1
    assert database.work_off_lane() == 3
    assert [one["value"] for one in database.docs(ids[0], Kind.SEND)] == ["1", "2"]
    assert [len(database.docs(one, Kind.SEND)) for one in ids[3:]] == [1] * 5
    assert database.docs(sender) == []


def test_posts_keep_the_order_of_their_turn_however_they_are_addressed(world):
    sender = world.running()
    target = world.start(custom_id="42", tags=["vip"]).id
    posts = [
        fx.Post(
            to=to,
            workflow=world.workflow,
            value=value,
            kind=Kind.SEND,
            doc={"channel": "c", "value": str(n)},
            sender=sender,
        )
        for n, (to, value) in enumerate(
            [("id", target), ("tag", "vip"), ("custom", "42"), ("id", target), ("tag", "vip")]
        )
    ]
    world.write(world.turn(sender, events=[world.event(sender)], posts=posts))
    assert [one["value"] for one in world.docs(target, Kind.SEND)] == ["0", "1", "2", "3", "4"]


def test_a_post_to_a_custom_id_given_as_a_tag(database):
    sender = database.running(custom_id="1")
    target = database.start(custom_id="42").id
    post(database, sender, "tag", "customId:42", workflow=database.workflow)
    post(database, sender, "tag", "customId:1", workflow=database.workflow)
    assert len(database.docs(target, Kind.SEND)) == 1
    assert database.docs(sender) == []


# -- children


def test_a_child_starts_in_the_batch(world):
    parent = world.running()
    child = world.child(parent, tags=("vip",), meta={"a": "b"})
    cancel = fx.Post(
        to="id",
        workflow=world.workflow,
        value=child.id,
        kind=Kind.CANCEL,
        doc={"force": False, "method": None},
        sender=parent,
        unknown=UNKNOWN,
    )
    world.write(world.turn(parent, events=[world.event(parent)], instances=[child], posts=[cancel]))
    head = world.store.head(child.id)
    assert (head.workflow, head.method, head.parent) == (world.workflow, "run", child.requester)
    assert (head.tags, head.meta, head.started_by) == (("vip",), {"a": "b"}, f"workflow {parent}")
    assert world.store.ids_by_tag(world.workflow, "vip") == {child.id}
    assert [one.kind for one in world.store.messages_of(child.id)] == [Kind.START, Kind.CANCEL]
    assert world.docs(child.id, Kind.START) == [child.start]
    found = world.messages()
    assert [one.kind for one in found if one.instance == child.id] == [Kind.START, Kind.CANCEL]


def test_a_child_that_was_started_before_is_not_started_again(world):
    parent = world.running()
    child = world.child(parent, tags=("vip",))
    world.write(world.turn(parent, events=[world.event(parent)], instances=[child]))
    world.write(world.turn(parent, events=[world.event(parent)], instances=[child]))
    assert len(world.store.messages_of(child.id)) == 1


# -- children with a custom id: the starter lane


def start_child(world, parent, **options):
    child = world.child(parent, **options)
    world.write(world.turn(parent, events=[world.event(parent)], instances=[child]))
    return child


def test_a_child_with_a_custom_id_starts_through_the_lane(world):
    parent = world.running()
    child = start_child(world, parent, custom_id="42", tags=("vip",))
    assert world.store.head(child.id) is None
    assert world.messages() == []
    assert world.work_off_lane() == 1
    head = world.store.head(child.id)
    assert (head.custom_id, head.parent, head.tags) == ("42", child.requester, ("vip",))
    assert world.store.find(world.workflow, "42") == child.id
    assert [one.doc for one in world.messages(child.id)] == [child.start]
    assert world.docs(parent) == []


def test_a_child_whose_custom_id_is_taken_waits_for_the_holder(world):
    holder = world.start(custom_id="42").id
    parent = world.running()
    child = start_child(world, parent, custom_id="42")
    assert world.work_off_lane() == 1
    assert world.store.head(child.id) is None
    assert world.docs(holder, Kind.METHOD) == [
        {"id": None, "join": True, "from": child.requester, "method": "run"}
    ]
    assert world.docs(parent) == []


def test_a_child_by_another_method_than_the_holders_fails(world):
    world.start(custom_id="42", method="book")
    parent = world.running()
    start_child(world, parent, custom_id="42")
    assert world.work_off_lane() == 1
    (doc,) = world.docs(parent, Kind.OUTCOME)
    assert (doc["s"], doc["p"], doc["status"]) == (2, 5, -1)
    assert "started by its method book" in doc["value"]["usage"]


@pytest.mark.parametrize(
    ("status", "stored", "value"),
    [(1, {"v": '"x"'}, '"x"'), (4, {"e": {"type": "E"}}, {"type": "E"})],
)
def test_a_child_with_once_gets_the_outcome_of_the_ended_holder(world, status, stored, value):
    holder = world.running(custom_id="42")
    outcome = fx.OutcomeRow(method=holder, instance=holder, seq=7, status=status, doc=stored)
    world.close(holder, outcomes=[outcome])
    parent = world.running()
    start_child(world, parent, custom_id="42", once=True)
    assert world.work_off_lane() == 1
    assert world.docs(parent, Kind.OUTCOME) == [{"s": 2, "p": 5, "status": status, "value": value}]
    child = start_child(world, parent, custom_id="42")
    assert world.work_off_lane() == 1
    assert world.store.head(child.id) is not None


def test_messages_do_not_pass_a_start_in_the_lane(database):
    parent = database.running()
    child = start_child(database, parent, custom_id="42")
    post(database, parent, "custom", "42", workflow=database.workflow, unknown=UNKNOWN, n=1)
    post(database, parent, "id", child.id, unknown=UNKNOWN, n=2)
    assert database.work_off_lane() == 3
    found = database.store.messages_of(child.id)
    assert [one.kind for one in found] == [Kind.START, Kind.SEND, Kind.SEND]
    assert [one.doc.get("value") for one in found] == [None, "1", "2"]
    assert database.docs(parent) == []


def test_a_message_in_the_lane_that_finds_nobody_tells_its_sender(database):
    database.start(custom_id="42")
    parent = database.running()
    child = start_child(database, parent, custom_id="42")
    post(database, parent, "id", child.id, unknown=UNKNOWN)
    assert database.work_off_lane() == 2
    assert database.docs(parent, Kind.OUTCOME) == [UNKNOWN]


def test_a_start_that_the_database_refuses_does_not_hold_up_the_lane(database):
    parent = database.running()
    start_child(database, parent, custom_id="42", started_by=None)
    child = start_child(database, parent, custom_id="43")
    assert database.work_off_lane() == 2
    (doc,) = database.docs(parent, Kind.OUTCOME)
    assert doc["status"] == -1
    assert "refuses" in doc["value"]["usage"]
    assert database.store.head(child.id) is not None


def test_an_empty_lane(world):
    world.own()
    assert world.work_off_lane() == 0
    assert not world.store.start_from_lane([])
