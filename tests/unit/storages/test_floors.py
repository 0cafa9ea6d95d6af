"""From which transaction on parts are read again."""

from __future__ import annotations

import itertools

import pytest

pytestmark = pytest.mark.extra


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def floors(clock):
    from django_infinitic.storages.postgresql.floors import Floors

    return Floors(clock)


def read(floors, oldest, next_one, parts=(1,), *, all_complete=True):
    floors.begin()
    seen = [floors.of(part) for part in parts]
    floors.read(oldest, next_one, parts if all_complete else (), all_complete)
    return seen


def test_the_first_read_is_from_the_beginning(floors):
    assert read(floors, 90, 100) == [0]


def test_the_next_one_begins_with_the_oldest_that_ran(floors):
    read(floors, 90, 100)
    assert read(floors, 95, 110) == [90]
    assert read(floors, 110, 110) == [95]


def test_a_part_that_was_cut_off_stays(floors):
    read(floors, 90, 100)
    assert read(floors, 95, 110, all_complete=False) == [90]
    assert read(floors, 110, 110) == [90]
    assert read(floors, 110, 110) == [110]


def test_parts_are_forgotten(floors):
    read(floors, 90, 100, (1, 2))
    floors.forget([1])
    assert read(floors, 95, 100, (1, 2)) == [0, 90]
    floors.forget()
    assert read(floors, 95, 100, (1, 2)) == [0, 0]


def test_a_transaction_of_hours_is_not_looked_behind_but_once_a_minute(floors, clock):
    begun = 50
    swept = []
    for second in range(400):
        clock.now = float(second)
        (seen,) = read(floors, begun, 100 + second)
        if second > 61 and seen == begun:
            swept.append(second)
        elif second > 61:
            assert 100 + second - 62 <= seen <= 100 + second - 59
    assert swept
    assert all(1 <= later - earlier <= 61 for earlier, later in itertools.pairwise(swept))
    assert 4 <= len(swept) <= 7


def test_a_sweep_that_was_cut_off_is_done_again(floors, clock):
    for second in range(70):
        clock.now = float(second)
        read(floors, 50, 100 + second, all_complete=second != 60)
    clock.now = 121.5
    assert read(floors, 50, 400, all_complete=False) == [50]
    clock.now = 122.0
    assert read(floors, 50, 400) == [50]
    clock.now = 122.5
    assert read(floors, 50, 400) != [50]


def test_a_new_part_is_always_read_from_the_beginning(floors, clock):
    for second in range(100):
        clock.now = float(second)
        read(floors, 50, 100 + second)
    floors.begin()
    assert floors.of(7) == 0
