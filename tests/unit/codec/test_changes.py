"""Changes between deploys: what was stored is read by the annotations of today, or not at all."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from django_infinitic.codec import MISSING, codec_for, same
from django_infinitic.exceptions import SerializationError

from .things import PLACE, Meter, Money, Normalized, Status


@dataclass
class Grown:
    old: int
    new: list[int] = field(default_factory=lambda: [7])
    flag: bool = False


class GrownModel(BaseModel):
    old: int
    new: list[int] = Field(default_factory=lambda: [7])
    flag: bool = False


class GrownTuple(NamedTuple):
    old: int
    new: int = 7


class GrownDict(TypedDict):
    old: int


def read(annotation: object, payload: str) -> Any:
    return codec_for(annotation).decode(payload, PLACE)


@pytest.mark.parametrize("cls", [Grown, GrownModel])
def test_new_fields_get_their_defaults_and_old_ones_are_ignored(cls) -> None:
    found = read(cls, '{"old":1,"gone":2}')
    assert (found.old, found.new, found.flag) == (1, [7], False)
    assert read(cls, '{"old":1}').new is not found.new


def test_named_tuples_grow_at_their_end() -> None:
    assert read(GrownTuple, "[1]") == GrownTuple(1, 7)


def test_keys_that_a_typed_dict_lost_are_ignored() -> None:
    assert read(GrownDict, '{"old":1,"gone":2}') == {"old": 1}


@pytest.mark.parametrize(
    "value",
    [
        datetime(2024, 1, 1),
        date(2024, 1, 1),
        Decimal("1.0"),
        uuid4(),
        b"x",
        {1, 2},
        (1, 2),
        {"a": 1},
        [1],
    ],
    ids=repr,
)
def test_what_was_stored_without_annotation_is_read_by_the_one_that_came(value) -> None:
    payload = codec_for(MISSING).encode(value, PLACE)
    assert same(read(type(value), payload), value)
    assert same(read(type(value) | None, payload), value)
    within = codec_for(MISSING).encode([value], PLACE)
    assert same(read(list[type(value)], within), [value])  # type: ignore[misc]


def test_numbers_may_widen() -> None:
    assert same(read(float, "1"), 1.0)
    assert same(read(Decimal, "1"), Decimal(1))


@pytest.mark.parametrize(
    ("annotation", "payload", "text"),
    [
        (int, '"1"', "found JSON str where int is annotated"),
        (int, "1.0", "float"),
        (int, "true", "bool"),
        (float, "true", "bool"),
        (str, "1", "int"),
        (bool, "1", "int"),
        (None, "1", "int"),
        (date, '"yesterday"', "ISO date"),
        (datetime, '"2024-13-01"', "ISO datetime"),
        (Decimal, '"NaN"', "decimal"),
        (Decimal, "1.5", "float"),
        (UUID, '"x"', "UUID"),
        (bytes, '"%"', "base64"),
        (Status, '"lost"', "no member"),
        (list[int], '[1,"a"]', r"at \[1\]: found JSON str"),
        (list[int], "{}", "dict"),
        (set[int], "1", "int"),
        (set[list[int]], "[[1]]", "cannot be in a set"),
        (tuple[int, int], "[1]", "1 items where 2"),
        (tuple[int, int], "{}", "dict"),
        (tuple[int, int], '[1,"a"]', r"at \[1\]"),
        (dict[str, int], '{"a":"b"}', r"at \['a'\]"),
        (dict[int, int], '{"a":1}', "key that is no number"),
        (dict[tuple[int, int], int], "[1]", "no pairs"),
        (dict[tuple[int, int], int], "1", "int"),
        (Meter, "{}", "no value for the field length"),
        (Meter, "[]", "list"),
        (Money, '{"amount":"x"}', "at amount: found a text that is no decimal number"),
        (Normalized, '{"code":"x","length":"y"}', "at length"),
        (GrownDict, "{}", "no value for the key 'old'"),
        (GrownDict, "[]", "list"),
        (GrownDict, '{"old":"x"}', r"at \['old'\]"),
        (GrownTuple, "[]", "no value for the field old"),
        (GrownTuple, "{}", "dict"),
        (int | None, '"a"', "str"),
        (str, "nonsense", "is no JSON"),
        (float, "NaN", "is no JSON"),
        (float, "1e999", "JSON|float"),
    ],
    ids=repr,
)
def test_what_does_not_fit_is_an_error_with_its_place(annotation, payload, text) -> None:
    with pytest.raises(SerializationError, match=text) as caught:
        read(annotation, payload)
    assert "TravelBooking.booked" in str(caught.value)


def test_stored_values_are_not_shown() -> None:
    for annotation in (int, date, Status, Money, list[Meter | Money]):
        with pytest.raises(SerializationError) as caught:
            read(annotation, json.dumps("hunter2"))
        assert "hunter2" not in str(caught.value)


def test_a_post_init_that_refuses_what_is_stored_is_an_error() -> None:
    @dataclass
    class Strict:
        number: int

        def __post_init__(self) -> None:
            if self.number < 0:
                raise ValueError("negative")

    with pytest.raises(SerializationError, match="__post_init__ raised ValueError"):
        read(Strict, '{"number":-1}')
