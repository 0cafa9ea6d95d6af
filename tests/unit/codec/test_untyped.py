"""Without annotation: exact types only, and errors that show the line to write."""

from __future__ import annotations

from collections import Counter, OrderedDict
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from django_infinitic.codec import MISSING, Place, codec_for, same, shape
from django_infinitic.exceptions import SerializationError

from . import things
from .things import PLACE, Cart, Foot, Meter, Money, Plain, Point, Status, Text

CODEC = codec_for(MISSING)
HERE = things.__name__


def back(value: object) -> Any:
    return CODEC.decode(CODEC.encode(value, PLACE), PLACE)


def refusal(value: object, place: Place = PLACE) -> str:
    with pytest.raises(SerializationError) as caught:
        CODEC.encode(value, place)
    return str(caught.value)


class TestWhatSurvives:
    @pytest.mark.parametrize(
        "value",
        [
            None,
            True,
            1,
            10**300,
            1.0,
            -0.0,
            "text",
            [1, [2, [3]]],
            {"a": {"b": None}},
            (),
            (1, (2,)),
            {1, "a", (1, 2)},
            set(),
            b"\x00",
            Decimal("1.50"),
            uuid4(),
            date.min,
            datetime.max,
            datetime.now(UTC),
            time(1),
            timedelta(days=-3, microseconds=5),
            {"a": [{"b": (date.min, {Decimal(1)})}]},
        ],
        ids=repr,
    )
    def test_plain_and_tagged_values_come_back_alike(self, value) -> None:
        assert same(back(value), value)

    @pytest.mark.parametrize(
        "value",
        [
            {"$date": "2024-01-01"},
            {"$date": 1},
            {"$dict": {"$dict": {}}},
            {"$tuple": [1], "b": 2},
            {"$": 1},
            {"$arm": "a", "$value": 1},
            {"a": {"$set": [{"$uuid": date.min}]}},
            {"$unknown": 1},
        ],
        ids=repr,
    )
    def test_dicts_that_look_like_tags_survive(self, value) -> None:
        assert same(back(value), value)

    def test_it_is_a_copy(self) -> None:
        value = {"a": [1]}
        found = back(value)
        assert found is not value
        assert found["a"] is not value["a"]

    @pytest.mark.parametrize(
        "payload", ['{"$nope":1}', '{"$date":1}', '{"$date":"x"}', '{"$set":{}}', "1e999"]
    )
    def test_an_unknown_or_broken_tag_is_an_error(self, payload) -> None:
        with pytest.raises(SerializationError, match=r"TravelBooking\.booked"):
            CODEC.decode(payload, PLACE)


class TestWhatIsRefused:
    def test_the_text_of_the_contract(self) -> None:
        @things.dataclass
        class Reservation:
            number: int

        Reservation.__module__ = "travel.services"
        Reservation.__qualname__ = "Reservation"
        assert refusal([Reservation(1)]) == (
            "TravelBooking.booked holds a travel.services.Reservation and no annotation says how "
            "to store it. Write in the class body: booked: list[Reservation]. (The annotation in "
            "__init__ does not exist at run time.)"
        )

    @pytest.mark.parametrize(
        ("value", "name"),
        [
            (Status.OPEN, f"{HERE}.Status"),
            (Money(Decimal(1)), f"{HERE}.Money"),
            (OrderedDict(a=1), "collections.OrderedDict"),
            (Counter("a"), "collections.Counter"),
            (Point(1), f"{HERE}.Point"),
            (Text("a"), f"{HERE}.Text"),
            (frozenset({1}), "frozenset"),
            (bytearray(b"x"), "bytearray"),
            (Plain(), f"{HERE}.Plain"),
            (object(), "object"),
            (1j, "complex"),
            (range(3), "range"),
            (Meter, f"{HERE}.Meter"),
            ({"a": [{"b": Status.OPEN}]}, f"{HERE}.Status"),
        ],
        ids=repr,
    )
    def test_everything_else_is_refused_by_name(self, value, name) -> None:
        text = refusal(value)
        assert text.startswith("TravelBooking.booked holds")
        assert name in text

    def test_keys_that_are_no_texts_are_refused(self) -> None:
        assert "dict with a key of type int" in refusal({1: "x"})
        assert "booked: dict[int, str]" in refusal({1: "x"})

    def test_a_plain_class_is_told_to_become_a_dataclass(self) -> None:
        assert "Plain is a plain class: make it a dataclass." in refusal(Plain())
        assert "plain class" not in refusal(Money(Decimal(1)))

    def test_a_deferred_is_told_to_be_waited_for(self) -> None:
        deferred = type("Deferred", (), {"__module__": "django_infinitic.authoring.deferred"})
        text = refusal({"a": deferred()})
        assert "Deferred" in text
        assert "result()" in text

    def test_a_model_instance_is_told_to_become_a_ref(self) -> None:
        text = refusal([things.model_class()()])
        assert "shop.models.Invoice" in text
        assert "booked: list[Ref[Invoice]]" in text

    @pytest.mark.parametrize("code", [lambda: 1, print, [].append, things.model_class, pytest])
    def test_code_is_refused_in_words(self, code) -> None:
        assert "Code is never stored" in refusal([code])

    def test_a_lambda_is_called_one(self) -> None:
        assert "a lambda" in refusal(lambda: 1)

    def test_lazy_texts_are_told_to_become_texts(self) -> None:
        from django.utils.functional import lazystr

        assert "Call str() on it" in refusal(lazystr("a"))

    def test_parameters_and_results_show_their_line(self) -> None:
        value = Cart("ann")
        parameter = Place("parameter", "travel.CarRental.book", "cart")
        assert refusal(value, parameter) == (
            f"parameter cart of travel.CarRental.book holds a {HERE}.Cart and no annotation says "
            "how to store it. Write: def book(self, cart: Cart)"
        )
        result = Place("result", "travel.CarRental.book")
        assert refusal([value], result) == (
            f"the result of travel.CarRental.book holds a {HERE}.Cart and no annotation says how "
            "to store it. Write: def book(...) -> list[Cart]"
        )

    def test_messages_show_their_channel(self) -> None:
        place = Place("message", "TravelBooking", "changed")
        assert "changed = Channel(Cart)" in refusal(Cart("ann"), place)
        assert "changed = Channel[int | Cart]()" not in refusal(Cart("ann"), place)


class TestShapes:
    @pytest.mark.parametrize(
        ("value", "written"),
        [
            ([Money(Decimal(1))], "list[Money]"),
            ([Meter(1), Foot(1)], "list[Meter | Foot]"),
            ([None, Meter(1)], "list[Meter | None]"),
            ([], "list[Any]"),
            ([1, "a", 1.0, b""], "list[Any]"),
            ({"a": Money(Decimal(1))}, "dict[str, Money]"),
            ((1, "a"), "tuple[int, str]"),
            ((1, 2, 3, 4, 5), "tuple[int, ...]"),
            ((), "tuple[()]"),
            ({1}, "set[int]"),
            (frozenset({1}), "frozenset[int]"),
            (Status.OPEN, "Status"),
            (Text("a"), "str"),
            (True, "bool"),
            (None, "None"),
            (OrderedDict(a=1), "OrderedDict[str, int]"),
            ([[[Money(Decimal(1))]]], "list[list[list[Money]]]"),
        ],
        ids=repr,
    )
    def test_a_value_suggests_its_annotation(self, value, written) -> None:
        assert shape(value) == written

    def test_a_value_within_itself_has_a_shape_too(self) -> None:
        value: list[Any] = []
        value.append(value)
        assert shape(value).startswith("list[list[")

    def test_a_class_within_a_function_is_written_by_its_own_name(self) -> None:
        class Local:
            pass

        assert shape(Local()) == "Local"
