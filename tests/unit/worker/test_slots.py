"""Slots: which tasks are born claimed."""

from django_infinitic.worker.slots import MOST, Slots

FAST, SLOW, NEW = ("s", "fast"), ("s", "slow"), ("s", "new")


def test_there_are_as_many_places_as_slots_for_what_nobody_knows() -> None:
    slots = Slots(2)
    assert [slots.reserve(NEW) for _ in range(3)] == [True, True, False]
    assert slots.room() == 0
    slots.release(NEW, 1.0)
    assert slots.reserve(NEW)


def test_short_tasks_may_wait_in_the_child() -> None:
    slots = Slots(2)
    slots.add(FAST)
    slots.release(FAST, 0.001)
    # 50 ms for each of two slots is room for a hundred tasks of 1 ms.
    count = 0
    while slots.reserve(FAST):
        count += 1
    assert 95 <= count <= 101


def test_long_tasks_may_not() -> None:
    slots = Slots(2)
    for seconds in (1.0, 1.0):
        slots.add(SLOW)
        slots.release(SLOW, seconds)
    assert [slots.reserve(SLOW) for _ in range(3)] == [True, True, False]


def test_nothing_waits_behind_slots_that_are_stuck() -> None:
    slots = Slots(2)
    slots.add(FAST)
    slots.release(FAST, 0.001)
    slots.add(FAST)
    slots.add(FAST)
    assert slots.reserve(FAST)
    slots.overdue = 2
    assert not slots.reserve(FAST)


def test_something_unknown_beside_makes_short_tasks_wait_in_the_queue() -> None:
    slots = Slots(2)
    slots.add(FAST)
    slots.release(FAST, 0.001)
    slots.add(NEW)
    slots.add(NEW)
    assert not slots.reserve(FAST)


def test_tasks_of_batches_wait_for_each_other_and_for_no_slot() -> None:
    slots = Slots(1)
    assert all(slots.reserve(NEW, free=True) for _ in range(MOST))
    assert not slots.reserve(NEW, free=True)
    assert slots.reserve(NEW)
    slots.release(NEW, free=True)
    assert slots.reserve(NEW, free=True)


def test_room_is_what_may_be_claimed() -> None:
    slots = Slots(4)
    assert slots.room() == 4
    slots.add(NEW)
    assert slots.room() == 3
