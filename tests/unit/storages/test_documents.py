"""How values look in rows."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from django_infinitic.exceptions import SerializationError
from django_infinitic.machine.ids import STARTER_LANE, part_id
from django_infinitic.storages import documents as docs

ID = "0193b1c0-1234-7000-8000-00000000abcd"


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"a": [1, 2.5, None, True, "é✓🙂", '\0\n"\\'], "b": {"c": {}}},
        [],
        ("a", 1),
        {"deep": [[[[{"x": "y" * 5000}]]]]},
    ],
)
def test_a_document_comes_back(value):
    packed = docs.pack(value)
    assert packed[:2] == docs.HEADER
    assert docs.unpack(packed) == docs.unpack(memoryview(packed)) == json.loads(json.dumps(value))
    assert docs.to_json(value) == json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), object(), "\ud800"])
def test_what_json_does_not_know_is_refused_each_time(value):
    for _ in range(2):
        with pytest.raises((TypeError, ValueError)):
            docs.pack({"a": [value]})
    assert docs.pack({"a": [1]})


def test_a_deep_document_comes_back():
    value: object = "NaN, Infinity"
    for _ in range(400):
        value = [value]
    assert docs.unpack(docs.pack(value)) == value


def test_a_circle_ends():
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises((RecursionError, ValueError)):
        docs.pack(circle)


def test_a_newer_format_is_refused():
    with pytest.raises(SerializationError, match=r"format 0201, .* only 0100: a newer release"):
        docs.unpack(b"\x02\x01{}")


def test_ids():
    key = docs.as_key(ID)
    assert key == ID.replace("-", "")
    assert docs.from_key(key) == ID
    assert docs.as_key(ID.upper()) == docs.as_key(key) == key
    assert docs.as_id(ID.upper()) == docs.as_id(key) == docs.as_id(ID) == ID


@pytest.mark.parametrize("value", ["", "abc", "42", "é", "shop.order:42", None, 7, ID + "0"])
def test_what_is_no_id(value):
    assert docs.as_id(value) is None
    assert docs.as_key(str(value)) == ""


@pytest.mark.parametrize("micros", [0, 1, 999_999, 1_795_571_768_287_575, 253_402_300_799_999_999])
def test_times_are_exact(micros):
    moment = docs.to_datetime(micros)
    assert moment.tzinfo is UTC
    assert docs.to_micros(moment) == micros


def test_times_are_utc():
    assert docs.to_datetime(1_000_000) == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize("streams", [(), (2,), (2, 3, 17)])
def test_open_streams(streams):
    assert docs.open_streams(docs.open_text(streams)) == streams


def test_a_custom_id_has_no_row_among_the_tags():
    assert docs.tag_rows(["b", "customId:7", "a", "b"]) == ["b", "a"]


def test_parts_and_lanes():
    part = docs.part_of("shop.Order", ID, 8)
    assert part in {part_id("shop.Order", n) for n in range(8)}
    lane = docs.lane_of("shop.Order")
    assert lane == part_id("shop.Order", STARTER_LANE) == part | 255
    assert docs.is_lane(lane)
    assert not docs.is_lane(part)
