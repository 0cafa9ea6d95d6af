"""Reading and writing batches: every kind of effect, and what a write refuses."""

from __future__ import annotations

import pytest

from django_infinitic.machine import effects as fx
from django_infinitic.machine.messages import Kind
from django_infinitic.storages.base import NotOwner, RefusedData, WriteSet


def timer(world, id, due, **changes):
    values = {"id": world.id(), "instance": id, "due": due, "doc": {"s": 2, "p": 1}, **changes}
    return fx.NewTimer(**values)


# -- reading


def test_messages_come_in_order(world):
    ids = [world.start().id for _ in range(3)]
    for n in range(20):
        world.send(ids[n % 3], str(n))
    world.own()
    for id in ids:
        values = [one["value"] for one in world.docs(id, Kind.SEND)]
        assert values == [str(n) for n in range(20) if ids[n % 3] == id]
    found = world.messages()
    assert len(found) == 23
    for id in ids:
        mine = [one for one in found if one.instance == id]
        assert next(one.kind for one in mine) == Kind.START
        assert [one.doc["value"] for one in mine[1:]] == [
            str(n) for n in range(20) if ids[n % 3] == id
        ]


def test_a_message_is_given_once(database):
    id = database.start().id
    database.own()
    assert len(database.messages()) == 1
    assert database.messages() == []
    database.send(id)
    (message,) = database.messages()
    assert message.kind == Kind.SEND


def test_what_was_forgotten_is_given_again(database):
    id = database.start().id
    database.own()
    first = database.messages()
    database.store.forget()
    assert database.messages() == first
    database.store.forget(database.parts)
    assert database.messages() == first
    database.write(database.turn(id, consumed=[one.row for one in first]))
    database.store.forget()
    assert database.messages() == []


def test_a_read_is_limited_per_part(database):
    id = database.start().id
    others = [database.start().id for _ in range(30)]
    for n in range(9):
        database.send(id, str(n))
    database.own()
    inputs = database.read(limit=4)
    assert not inputs.complete
    assert {one.instance for one in inputs.messages} > {id}
    values = []
    seen = set()
    for _ in range(30):
        seen |= {one.instance for one in inputs.messages}
        values += [one.doc.get("value") for one in inputs.messages if one.instance == id]
        consumed = [one.row for one in inputs.messages]
        database.write(database.turn(id, consumed=consumed))
        if inputs.complete:
            break
        inputs = database.read(limit=4)
    assert values == [None, *map(str, range(9))]
    assert seen == {id, *others}


def test_only_own_parts_are_read(database):
    database.start()
    database.start(workflow="shop.Other")
    database.own()
    (message,) = database.messages()
    assert message.doc["method"] == "run"
    assert database.store.read([], 50).messages == ()


def test_a_cold_load_has_the_history_of_what_runs(world):
    id = world.running()
    rows = [world.event(id, stream=n, k=n) for n in (0, 1, 3, 4, 2)]
    world.write(world.turn(id, events=rows, head=world.head(id, streams=4, open=(2, 4), version=7)))
    row = world.store.load([id])[id]
    assert [(one.stream, one.seq) for one in row.events] == [
        (0, 0),
        (1, 0),
        (2, 0),
        (2, 1),
        (4, 0),
    ]
    assert row.events[0].entries == [{"k": 0}]
    assert (row.version, row.streams, row.open) == (7, 4, (2, 4))
    assert [one.stream for one in world.store.history(id).events] == [0, 1, 2, 2, 3, 4]
    world.write(world.turn(id, head=world.head(id, streams=4, open=())))
    assert [one.stream for one in world.store.load([id])[id].events] == [0, 1]


def test_heads_say_where_an_instance_stands(world):
    id = world.running()
    world.write(
        world.turn(id, head=world.head(id, status=1, streams=3, open=(2, 3), error="it broke"))
    )
    head = world.store.head(id)
    assert (head.status, head.streams, head.open, head.error) == (1, 3, (2, 3), "it broke")
    at = world.store.now()
    world.close(id, at=at)
    assert (world.store.head(id).status, world.store.head(id).closed_at) == (4, at)
    assert world.store.load([id])[id].closed_at == at


# -- timers


def test_timers_fire_when_due(world):
    id = world.running()
    now = world.store.now()
    late, soon = timer(world, id, now + 3_600_000_000), timer(world, id, now - 5)
    early = timer(world, id, now - 10, doc={"s": 2, "w": 1})
    world.write(world.turn(id, events=[world.event(id)], timers=[late, soon, early]))
    inputs = world.read()
    assert inputs.timers == [
        (early.id, early.due, id, {"s": 2, "w": 1}),
        (soon.id, soon.due, id, {"s": 2, "p": 1}),
    ]
    assert inputs.next_due == late.due
    assert inputs.now >= now
    world.write(world.turn(id, fired=[early.id, soon.id], dropped_timers=[late.id, world.id()]))
    world.store.forget()
    inputs = world.read()
    assert (list(inputs.timers), inputs.next_due) == ([], None)


def test_a_timer_is_given_once_until_it_is_forgotten(database):
    id = database.running()
    one = timer(database, id, database.store.now() - 5)
    database.write(database.turn(id, timers=[one]))
    assert len(database.read().timers) == 1
    assert list(database.read().timers) == []
    database.store.forget()
    assert len(database.read().timers) == 1


def test_a_timer_that_the_same_batch_drops_never_fires(world):
    id = world.running()
    one, two = (timer(world, id, world.store.now() - 5) for _ in range(2))
    world.write(
        world.turn(id, timers=[one]),
        world.turn(id, dropped_timers=[one.id], timers=[two]),
    )
    assert [found[0] for found in world.read().timers] == [two.id]


# -- outcomes


def test_outcomes_are_replaced(world):
    id = world.running()
    assert world.store.outcome(id) is None
    for seq, status in ((3, 6), (5, 0), (8, 1)):
        row = fx.OutcomeRow(method=id, instance=id, seq=seq, status=status, doc={"v": str(seq)})
        world.write(world.turn(id, outcomes=[row]))
        found = world.store.outcome(id)
        assert (found.instance, found.seq, found.status, found.doc, found.retrying) == (
            id,
            seq,
            status,
            {"v": str(seq)},
            False,
        )


def test_of_two_outcomes_in_one_batch_the_later_counts(world):
    id = world.running()
    rows = [fx.OutcomeRow(method=id, instance=id, seq=seq, status=seq, doc={}) for seq in (1, 2)]
    world.write(*(world.turn(id, outcomes=[row]) for row in rows))
    assert world.store.outcome(id).seq == 2


@pytest.mark.parametrize("kind", [Kind.RETRY, Kind.RETRY_TASKS])
def test_an_outcome_tells_of_a_retry_that_was_posted(world, kind):
    id = world.running()
    row = fx.OutcomeRow(method=id, instance=id, seq=1, status=6, doc={"e": {}})
    world.write(world.turn(id, outcomes=[row]))
    world.send(id, kind=Kind.SEND)
    assert not world.store.outcome(id).retrying
    world.send(id, kind=kind)
    assert world.store.outcome(id).retrying
    world.write(world.turn(id, consumed=[one.row for one in world.messages()]))
    assert not world.store.outcome(id).retrying


# -- parked messages


def test_parked_messages_are_not_read_but_can_be_consumed(world):
    id = world.running()
    world.send(id, "1")
    world.send(id, "2")
    rows = [one.row for one in world.messages()]
    world.write(world.turn(id, parked=rows))
    world.store.forget()
    assert world.messages() == []
    assert [one.doc["value"] for one in world.store.messages_of(id)] == ["1", "2"]
    world.write(world.turn(id, consumed=rows))
    assert world.store.messages_of(id) == []


def test_a_new_owner_gets_what_was_parked_but_of_blocked_instances(database):
    waiting, blocked = database.running(), database.running()
    for id in (waiting, blocked):
        database.send(id)
    database.write(database.turn(waiting, parked=[one.row for one in database.messages()]))
    database.store.block(blocked, "poison")
    assert database.store.head(blocked).status == 2
    assert database.store.head(blocked).error == "poison"
    database.store.release(database.store.me)
    database.store = database.make()
    database.own()
    (message,) = database.messages()
    assert message.instance == waiting


def test_a_repair_lets_parked_messages_be_read_again_in_order(database):
    id = database.running()
    for n in range(3):
        database.send(id, str(n))
    database.write(database.turn(id, parked=[one.row for one in database.messages()]))
    database.store.block(id, "poison")
    database.send(id, "3")
    assert [one.doc["value"] for one in database.messages()] == ["3"]
    database.store.unblock(id)
    assert [one.doc["value"] for one in database.messages()] == ["0", "1", "2", "3"]
    head = database.store.head(id)
    assert (head.status, head.crashes, head.error) == (0, 0, "")


# -- what a write refuses


def test_a_batch_is_all_or_nothing(world):
    id, other = world.running(), world.running()
    world.send(id)
    (message,) = world.messages()
    with pytest.raises(NotOwner):
        world.write(
            world.turn(id, consumed=[message.row], events=[world.event(id)]),
            world.turn(other, events=[world.event(other, seq=0)]),
        )
    assert world.docs(id, Kind.SEND) != []
    assert len(world.store.history(id).events) == 1


def test_a_message_is_consumed_once(world):
    id = world.running()
    world.send(id)
    (message,) = world.messages()
    world.write(world.turn(id, consumed=[message.row], events=[world.event(id)]))
    with pytest.raises(NotOwner):
        world.write(world.turn(id, consumed=[message.row], events=[world.event(id)]))


def test_an_event_is_written_once(world):
    id = world.running()
    with pytest.raises(NotOwner):
        world.write(world.turn(id, events=[world.event(id, seq=0)]))


def test_a_task_is_written_once(database):
    id = database.running()
    task = database.task(id)
    database.write(database.turn(id, tasks=[task]))
    with pytest.raises(NotOwner):
        database.write(database.turn(id, tasks=[task]))


def test_who_is_dead_writes_nothing(world):
    id = world.running()
    assert world.store.reap(world.store.me) == [world.store.me]
    with pytest.raises(NotOwner):
        world.write(world.turn(id, events=[world.event(id)]))
    assert len(world.store.history(id).events) == 1


@pytest.mark.parametrize(
    "bad",
    [
        {"value": object()},
        {"value": float("nan")},
        {"value": "\ud800"},
    ],
    ids=["no JSON", "NaN", "lone surrogate"],
)
def test_data_that_cannot_be_stored_is_refused(database, bad):
    id = database.running()
    row = fx.OutcomeRow(method=id, instance=id, seq=1, status=1, doc=bad)
    with pytest.raises(RefusedData):
        database.write(database.turn(id, outcomes=[row]))
    database.write(database.turn(id, events=[database.event(id)]))


def test_data_that_the_database_refuses(database):
    id = database.running()
    with pytest.raises(RefusedData):
        database.write(
            database.turn(id, events=[database.event(id)], head=database.head(id, status=None))
        )
    with pytest.raises(RefusedData):
        database.write(database.turn(id, head=database.head(id, streams=1 << 70)))
    with pytest.raises(RefusedData):
        database.write(database.turn(database.id(), timers=[timer(database, database.id(), 5)]))
    database.write(database.turn(id, events=[database.event(id, seq=1)]))


def test_texts_of_all_kinds_are_kept(database):
    id = database.running()
    text = "nul \0, quotes ' \" \\, braces {1,2} %s %, é ✓ 🙂, \r\n"
    database.send(id, text)
    (message,) = database.messages(id)
    assert message.doc["value"] == text
    task = database.task(id, doc={"s": 2, "p": 1, "a": text})
    database.write(
        database.turn(
            id,
            consumed=[message.row],
            events=[database.event(id, k=text)],
            head=database.head(id, status=1, error=text.replace("\0", "")),
            tasks=[task],
        )
    )
    assert database.store.load([id])[id].events[-1].entries == [{"k": text}]
    assert database.store.head(id).error == text.replace("\0", "")
    assert database.tasks(id)[task.id]["doc"]["a"] == text


def test_a_batch_of_nothing(world):
    world.own()
    world.write()
    world.store.write(WriteSet())


def test_a_large_batch(database):
    """More rows than SQLite takes variables, more than one page of everything."""
    database.own()
    starts = [database.start_arguments(tags=["bulk"]) for _ in range(1500)]
    database.store.start_many(starts)
    turns, total = [], 0
    while True:
        inputs = database.read(limit=100)
        for message in inputs.messages:
            total += 1
            turns.append(
                database.turn(
                    message.instance,
                    consumed=[message.row],
                    events=[database.event(message.instance), database.event(message.instance, 0)],
                    tasks=[database.task(message.instance)],
                )
            )
        if inputs.complete:
            break
    assert total == 1500
    database.write(*turns)
    assert len(database.store.load([one["id"] for one in starts])) == 1500
    assert len(database.store.claim([database.service], 2000)) == 1500
    assert database.messages() == []
