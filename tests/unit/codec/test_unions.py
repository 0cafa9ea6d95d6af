"""Unions: stored with their arm at the top of an annotation, refused elsewhere when ambiguous."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Optional, Union
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel, Discriminator, Field, Tag
from typing_extensions import TypedDict

from django_infinitic.codec import MISSING, codec_for, same
from django_infinitic.codec.places import Place
from django_infinitic.exceptions import SerializationError

from . import things
from .things import PLACE, Card, Cash, Foot, LongMeter, Meter, Money, Status, Text

MIDDAY = datetime(2026, 7, 1, 12)
HERE = things.__name__


class Low(BaseModel):
    value: int


class High(BaseModel):
    value: int


class Sized(TypedDict):
    size: int


class Named(TypedDict):
    name: str


@dataclass(frozen=True)
class Priced:
    """Reads what `Money` wrote, but would not have written it."""

    amount: Decimal
    note: str = ""


@dataclass(frozen=True)
class Add:
    left: Expression
    right: Expression
    kind: Literal["add"] = "add"


@dataclass(frozen=True)
class Times:
    left: Expression
    right: Expression
    kind: Literal["times"] = "times"


@dataclass(frozen=True)
class Number:
    value: int


Expression = Union[Add, Times, Number]  # noqa: UP007


def back(annotation: object, value: object) -> Any:
    codec = codec_for(annotation)
    return codec.decode(codec.encode(value, PLACE), PLACE)


def refusal(annotation: object, value: object) -> str:
    with pytest.raises(SerializationError) as caught:
        codec_for(annotation).encode(value, PLACE)
    return str(caught.value)


class TestAtTheTop:
    @pytest.mark.parametrize(
        ("annotation", "value"),
        [
            (Meter | Foot, Meter(1)),
            (Meter | Foot, Foot(1)),
            (Meter | LongMeter, Meter(1)),
            (Meter | LongMeter, LongMeter(1)),
            (Meter | Foot | None, None),
            (Meter | Foot | None, Foot(1)),
            (Optional[Union[Meter, Foot]], Foot(1)),  # noqa: UP007, UP045
            (Low | High, High(value=1)),
            (str | datetime, MIDDAY),
            (str | datetime, "2026-07-01T12:00:00"),
            (str | date | datetime, date(2026, 7, 1)),
            (str | bytes, b"abcd"),
            (str | bytes, "YWJj"),
            (str | UUID, uuid4()),
            (str | UUID, str(uuid4())),
            (str | Decimal, Decimal(1)),
            (str | Decimal, "1"),
            (str | Status, Status.OPEN),
            (str | Status, "open"),
            (int | bool, True),
            (int | bool, 1),
            (int | float, 1.0),
            (int | float, 1),
            (list[str] | str, ["a"]),
            (list[str] | str, "a"),
            (list[Meter] | list[Foot], [Foot(1)]),
            (list[int] | list[float], [1]),
            (list[int] | list[float], [1.0]),
            (list[int] | tuple[int, ...] | set[int], (1,)),
            (list[int] | tuple[int, ...] | set[int], {1}),
            (dict[str, int] | Meter, {"length": 1}),
            (dict[str, int] | Meter, Meter(1)),
            (Sized | Named, {"name": "x"}),
            (Literal["a"] | int, "a"),
            (Annotated[Card | Cash, Field(discriminator="kind")], Cash("1")),
            (Annotated[Low, "low"] | Annotated[High, "high"], High(value=1)),
            (Any | Meter, Meter(1)),
            (Any | Meter, {"a": date.min}),
        ],
        ids=repr,
    )
    def test_every_arm_comes_back_as_itself(self, annotation, value) -> None:
        assert same(back(annotation, value), value)

    def test_the_arm_is_stored_by_module_and_name(self) -> None:
        payload = codec_for(Meter | Foot).encode(Foot(1), PLACE)
        assert json.loads(payload) == {"$arm": f"{HERE}.Foot", "$value": {"length": 1}}
        assert codec_for(Meter | Foot).arm(payload) == f"{HERE}.Foot"
        assert codec_for(str | int).arm(codec_for(str | int).encode(1, PLACE)) == "builtins.int"

    def test_none_is_plain_null(self) -> None:
        codec = codec_for(Meter | Foot | None)
        assert codec.encode(None, PLACE) == "null"
        assert codec.arm("null") is None

    def test_one_class_or_none_needs_no_arm(self) -> None:
        assert codec_for(Meter | None).encode(Meter(1), PLACE) == '{"length":1}'

    def test_an_arm_that_is_gone_is_an_error_that_names_both(self) -> None:
        payload = codec_for(Meter | Foot).encode(Foot(1), PLACE)
        for annotation in (Meter | Money, Meter, Meter | None, MISSING, list[Meter]):
            with pytest.raises(SerializationError) as caught:
                codec_for(annotation).decode(payload, PLACE)
            assert f"{HERE}.Foot" in str(caught.value)
            if annotation is not MISSING:
                assert f"{HERE}.Meter" in str(caught.value)

    def test_a_union_that_became_one_class_is_still_read(self) -> None:
        payload = codec_for(Meter | Foot).encode(Foot(1), PLACE)
        assert codec_for(Foot).decode(payload, PLACE) == Foot(1)
        assert codec_for(Foot | None).decode(payload, PLACE) == Foot(1)

    def test_a_class_that_became_a_union_is_still_read(self) -> None:
        payload = codec_for(Meter).encode(Meter(1), PLACE)
        assert codec_for(Meter | Money).decode(payload, PLACE) == Meter(1)
        assert codec_for(Meter | Foot).decode(payload, PLACE) == Meter(1)

    def test_an_arm_is_found_when_another_of_its_class_joins_or_leaves(self) -> None:
        one, two = list[int] | str, list[int] | list[str] | str
        payload = codec_for(one).encode([1], PLACE)
        assert codec_for(two).decode(payload, PLACE) == [1]
        payload = codec_for(two).encode(["a"], PLACE)
        assert codec_for(list[str] | int).decode(payload, PLACE) == ["a"]

    def test_the_stored_name_is_looked_up_in_the_annotation_only(self) -> None:
        payload = '{"$arm":"os.system","$value":"ls"}'
        for annotation in (Meter | Foot, MISSING, str, Any):
            with pytest.raises(SerializationError, match=r"os\.system"):
                codec_for(annotation).decode(payload, PLACE)

    def test_an_int_arrives_as_the_arm_that_stands_first(self) -> None:
        assert type(back(Decimal | float, 1)) is Decimal
        assert type(back(float | Decimal, 1)) is float

    def test_instances_of_subclasses_are_refused_or_plain(self) -> None:
        assert "LongMeter" in refusal(Meter | Foot, LongMeter(1))
        assert same(back(str | int, Text("a")), "a")

    def test_two_arms_of_one_name_are_refused(self) -> None:
        def make() -> Any:
            @dataclass
            class Same:
                x: int

            return Same

        one, other = make(), make()
        assert "two arms of the same name" in refusal(one | other, one(1))

    def test_dicts_that_look_like_an_arm_survive(self) -> None:
        looks = {"$arm": f"{HERE}.Foot", "$value": "x"}
        for annotation in (
            dict[str, str],
            dict,
            MISSING,
            dict[str, str] | None,
            dict[str, str] | int,
        ):
            assert back(annotation, looks) == looks
            assert codec_for(annotation).view(codec_for(annotation).encode(looks, PLACE)) == looks


class TestWithin:
    @pytest.mark.parametrize(
        ("annotation", "value"),
        [
            (list[Meter | Foot], [Foot(1)]),
            (dict[str, Meter | Foot], {"a": Foot(1)}),
            (tuple[Meter | Foot, int], (Foot(1), 1)),
            (list[str | datetime], [MIDDAY]),
            (list[datetime | str], ["2026-07-01T12:00:00"]),
            (list[str | UUID], [uuid4()]),
            (list[str | Status], [Status.OPEN]),
            (list[dict[str, int] | Meter], [Meter(1)]),
            (list[Meter | Foot | None], [Foot(1)]),
            (list[Low | High], [High(value=1)]),
            (list[str | bytes], [b"abc"]),
            (list[list[int] | tuple[int, ...]], [(1,)]),
        ],
        ids=repr,
    )
    def test_what_an_arm_before_its_own_would_read_is_refused_with_the_cure(
        self, annotation, value
    ) -> None:
        text = refusal(annotation, value)
        assert "discriminator" in text
        assert "or the class itself" in text

    @pytest.mark.parametrize(
        ("annotation", "value"),
        [
            (list[Meter | Foot], [Meter(1)]),
            (list[Foot | Meter], [Foot(1)]),
            (list[Low | High], [Low(value=1)]),
            (list[str | datetime], ["2026-07-01T12:00:00"]),
            (list[datetime | str], [MIDDAY, "2026-07-01", "hello"]),
            (list[str | bytes], ["YWJj"]),
            (list[str | Status], ["open"]),
            (list[list[int] | tuple[int, ...]], [[1]]),
        ],
        ids=repr,
    )
    def test_what_stands_first_reads_what_it_wrote(self, annotation, value) -> None:
        assert same(back(annotation, value), value)

    @pytest.mark.parametrize(
        ("annotation", "value"),
        [
            (list[Card | Cash], [Card("1"), Cash("1")]),
            (list[Annotated[Card | Cash, Field(discriminator="kind")]], [Card("1"), Cash("1")]),
            (list[Annotated[Card | Cash, Discriminator("kind")]], [Card("1"), Cash("1")]),
            (
                list[
                    Annotated[
                        Annotated[Card, Tag("card")] | Annotated[Cash, Tag("cash")],
                        Discriminator(lambda value: value["kind"]),
                    ]
                ],
                [Card("1"), Cash("1")],
            ),
            (list[Meter | Foot], [Meter(1)]),
            (list[Foot | Meter], [Foot(1)]),
            (list[str | datetime], ["2026-07-01T12:00:00"]),
            (list[datetime | str], [MIDDAY, "2026-07-01", "hello"]),
            (list[Meter | Money | None], [Meter(1), None, Money(Decimal(1))]),
            (list[str | datetime], ["hello", "2026-07-01 12:00"]),
            (list[str | bytes], ["hello!"]),
            (list[str | Status], ["other"]),
            (list[str | int | float | bool | None], ["a", 1, 1.0, True, None]),
            (list[Literal["auto"] | str], ["auto", "x"]),
            (list[list[int] | list[str]], [[1], ["a"], []]),
            (list[int | list[int | list[int]]], [1, [2, [3]]]),
            (list[Sized | Named], [{"size": 1}, {"name": "x"}]),
            (dict[int | str, int], {1: 1, "1": 2}),
            (list[Expression], [Add(Number(1), Times(Number(2), Number(3)))]),
        ],
        ids=repr,
    )
    def test_what_no_earlier_arm_reads_comes_back(self, annotation, value) -> None:
        assert same(back(annotation, value), value)

    def test_discriminated_arms_are_read_in_linear_time(self) -> None:
        deep: Any = Number(1)
        for _ in range(30):
            deep = Add(deep, Number(2))
        assert back(list[Expression], [deep]) == [deep]

    def test_what_no_arm_reads_is_an_error(self) -> None:
        with pytest.raises(SerializationError, match="does not fit"):
            codec_for(list[Meter | Money]).decode('[{"other":1}]', PLACE)

    def test_a_stored_value_that_a_new_arm_reads_too_stays_with_the_first(self) -> None:
        payload = codec_for(list[Meter]).encode([Meter(1)], PLACE)
        assert codec_for(list[Meter | Foot]).decode(payload, PLACE) == [Meter(1)]

    def test_the_written_order_counts_although_the_unions_are_equal(self) -> None:
        assert list[Meter | Foot] == list[Foot | Meter]
        payload = codec_for(list[Meter | Foot]).encode([Meter(1)], PLACE)
        assert codec_for(list[Foot | Meter]).decode(payload, PLACE) == [Foot(1)]
        assert codec_for(list[Meter | Foot]).decode(payload, PLACE) == [Meter(1)]

    def test_what_only_a_later_arm_would_write_just_so_is_read_by_that(self) -> None:
        payload = codec_for(list[Money]).encode([Money(Decimal(1))], PLACE)
        assert codec_for(list[Priced | Money]).decode(payload, PLACE) == [Money(Decimal(1))]


class TestMatching:
    def test_a_value_matches_the_class_of_its_arm_alone(self) -> None:
        codec = codec_for(Meter | LongMeter | str | list[int] | None)
        payloads = {
            cls: codec.encode(value, PLACE)
            for cls, value in {
                Meter: Meter(1),
                LongMeter: LongMeter(1),
                str: "a",
                list: [1],
                type(None): None,
            }.items()
        }
        for cls, payload in payloads.items():
            assert [other for other in payloads if codec.matches(payload, other)] == [cls]
        assert codec.matches(payloads[list], list[int])
        assert codec.matches(payloads[Meter], f"{HERE}.Meter")
        assert not codec.matches(payloads[Meter], f"{HERE}.LongMeter")

    def test_without_union_the_annotation_or_the_exact_class_counts(self) -> None:
        assert codec_for(Meter).matches('{"length":1}', Meter)
        assert not codec_for(Meter).matches('{"length":1}', Foot)
        assert not codec_for(Meter | None).matches("null", Meter)
        assert codec_for(MISSING).matches('{"$date":"2024-01-01"}', date)
        assert not codec_for(MISSING).matches("true", int)

    def test_a_gone_arm_is_an_error_here_too(self) -> None:
        payload = codec_for(Meter | Foot).encode(Foot(1), PLACE)
        with pytest.raises(SerializationError, match="Foot"):
            codec_for(Meter | Money).arm(payload)


class TestViews:
    @pytest.mark.parametrize(
        ("annotation", "value", "seen"),
        [
            (Meter | Foot, Foot(1), {"length": 1}),
            (Meter | Foot | None, None, None),
            (str | datetime, MIDDAY, "2026-07-01T12:00:00"),
            (MISSING, {"a": (1, {2}, date.min)}, {"a": [1, [2], "0001-01-01"]}),
            (MISSING, {"$date": 1}, {"$date": 1}),
            (list[Any], [Decimal("1.0"), b"x"], ["1.0", "eA=="]),
            (Money, Money(Decimal("1.50")), {"amount": "1.50", "currency": "EUR"}),
            (Money | int, Money(Decimal("1.50")), {"amount": "1.50", "currency": "EUR"}),
            (dict[Status, set[int]], {Status.OPEN: {2, 1}}, {"open": [1, 2]}),
            (things.Point, things.Point(1), [1, 0, "open"]),
            (things.Corner, things.Corner.THERE, [1, 1]),
            (list[things.Corner], [things.Corner.THERE], [[1, 1]]),
            (
                things.Noted,
                things.Noted(name="x", when=date.min),
                {"name": "x", "when": "0001-01-01"},
            ),
            (dict[str, Any], {"a": {1}}, {"a": [1]}),
            (dict[int, Any], {1: {1}}, {"1": [1]}),
            (tuple[int, Any], (1, (2,)), [1, [2]]),
            (things.Box[Any], things.Box((1,), []), {"content": [1], "others": []}),
            (Any | Meter, {1}, [1]),
            (list[Any | None], [{1}, None], [[1], None]),
            (things.Codes, things.Codes(["a"]), ["a"]),
            (things.Celsius, things.Celsius(1), 1),
        ],
        ids=repr,
    )
    def test_a_query_sees_plain_json(self, annotation, value, seen) -> None:
        codec = codec_for(annotation)
        assert same(codec.view(codec.encode(value, PLACE)), seen)

    def test_a_view_is_no_part_of_the_value(self) -> None:
        codec = codec_for(Meter)
        payload = codec.encode(Meter(1), PLACE)
        codec.view(payload)["length"] = 2
        assert codec.decode(payload, Place("message", "A", "b")) == Meter(1)
