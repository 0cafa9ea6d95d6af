"""Values come back as the same type and equal, or are refused with a text that helps."""

from __future__ import annotations

import enum
import ipaddress
from collections import OrderedDict, defaultdict, deque
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    Final,
    Generic,
    Literal,
    NewType,
    Optional,
    TypeVar,
)
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from annotated_types import Gt
from django.utils.functional import SimpleLazyObject, lazystr
from pydantic import AfterValidator, BaseModel, Field
from typing_extensions import TypeAliasType, TypedDict

from django_infinitic.codec import Place, codec_for, same
from django_infinitic.exceptions import SerializationError

from . import things
from .things import (
    PLACE,
    Address,
    Box,
    Cart,
    Celsius,
    Codes,
    Corner,
    Doubling,
    Handler,
    Holder,
    Identity,
    LongMeter,
    Loose,
    Meter,
    Money,
    MoneyBox,
    Normalized,
    NoSchema,
    Noted,
    Order,
    Page,
    Pair,
    Plain,
    Point,
    Priority,
    Rights,
    Secretive,
    Slotted,
    Status,
    Text,
    Tree,
    Validated,
    WithInitVar,
)

B = TypeVar("B", bound=Meter)
C = TypeVar("C", int, str)
UserId = NewType("UserId", int)
Json = TypeAliasType("Json", "dict[str, Json] | list[Json] | str | int | float | bool | None")
PLUS2 = timezone(timedelta(hours=2))
LMT = timezone(timedelta(minutes=19, seconds=32))
MIDDAY = datetime(2026, 7, 1, 12, 30, 1, 234567)


def stored(annotation: object, value: object) -> str:
    return codec_for(annotation).encode(value, PLACE)


def back(annotation: object, value: object) -> Any:
    return codec_for(annotation).decode(stored(annotation, value), PLACE)


def refusal(annotation: object, value: object) -> str:
    with pytest.raises(SerializationError) as caught:
        stored(annotation, value)
    return str(caught.value)


SURVIVORS: list[tuple[Any, Any]] = [
    (str, "Grüße, 世界 🚆"),
    (str, ""),
    (int, 0),
    (int, 2**70),
    (int, -(10**4298)),
    (float, 0.1),
    (float, -0.0),
    (float, 5e-324),
    (float, 1.7976931348623157e308),
    (bool, True),
    (None, None),
    (bytes, b"\x00\xff"),
    (UUID, uuid4()),
    (Decimal, Decimal("1.50")),
    (Decimal, Decimal("-0E-20")),
    (datetime, MIDDAY),
    (datetime, MIDDAY.replace(tzinfo=UTC)),
    (datetime, MIDDAY.replace(tzinfo=PLUS2)),
    (datetime, MIDDAY.replace(tzinfo=LMT)),
    (datetime, datetime.min),
    (datetime, datetime.max),
    (date, date(2024, 2, 29)),
    (time, time(23, 59, 59, 999999)),
    (time, time(1, tzinfo=PLUS2)),
    (timedelta, timedelta(days=-1, microseconds=1)),
    (timedelta, timedelta.max),
    (timedelta, timedelta.min),
    (timedelta, timedelta(0)),
    (timedelta, timedelta(hours=25, milliseconds=500)),
    (Optional[int], None),  # noqa: UP045
    (int | None, 3),
    (list[int], [1, 2]),
    (list, [1, "a", None, date(2024, 1, 1)]),
    (list[list[str]], [["a"], []]),
    (Sequence[int], [1]),
    (Mapping[str, int], {"a": 1}),
    (AbstractSet[int], {3, 1}),
    (tuple[int, str], (1, "a")),
    (tuple[int, ...], (1, 2, 3)),
    (tuple[()], ()),
    (tuple, (1, (2, "x"))),
    (set[str], {"b", "a"}),
    (frozenset[int], frozenset({2, 1})),
    (set[tuple[int, date]], {(1, date(2024, 1, 1))}),
    (set, {1, "a"}),
    (dict[str, int], {"b": 1, "a": 2}),
    (dict, {"a": (1,)}),
    (dict[int, str], {1: "x", -2: "y"}),
    (dict[bool, str], {True: "x"}),
    (dict[float, str], {0.5: "x"}),
    (dict[date, int], {date(2024, 1, 1): 1}),
    (dict[UUID, int], {uuid4(): 1}),
    (dict[Status, int], {Status.OPEN: 1}),
    (dict[Priority, int], {Priority.LOW: 1}),
    (dict[tuple[int, int], str], {(1, 2): "x"}),
    (dict[int | str, str], {1: "x", "1": "y"}),
    (dict[str | None, str], {None: "x", "a": "y"}),
    (dict[Meter, int], {Meter(1): 1}),
    (Literal["a", 1, True, None, b"x", Status.OPEN], True),
    (Literal["a", 1, True, None], 1),
    (Literal["a", 1, True, None], None),
    (Literal[Status.OPEN, Status.DONE], Status.DONE),
    (Status, Status.DONE),
    (Priority, Priority.HIGH),
    (Corner, Corner.THERE),
    (Handler, Handler.B),
    (Rights, Rights.READ | Rights.RUN),
    (Rights, Rights(0)),
    (Money, Money(Decimal("1.20"))),
    (Cart, Cart("ann", [Money(Decimal(1))], date(2024, 1, 1), Status.DONE)),
    (Tree, Tree(1, [Tree(2, [Tree(3)]), Tree(4)])),
    (Box[int], Box(1, [2])),
    (Box[Box[str]], Box(Box("a", []), [])),
    (MoneyBox, MoneyBox(Money(Decimal(1)), [], "x")),
    (Slotted, Slotted(1)),
    (Normalized, Normalized("abc")),
    (WithInitVar, WithInitVar(1, 5)),
    (Identity, Identity(1)),
    (Point, Point(1, 2, Status.DONE)),
    (Pair, Pair(1, "b")),
    (Address, {"street": "x", "built": date(1900, 1, 1)}),
    (Address, {"street": "x", "built": date(1900, 1, 1), "number": 5}),
    (Loose, {}),
    (Order, Order(number=1, placed=MIDDAY, data={"a": [1]}, token=b"\xff")),
    (Order, Order(number=1, placed=MIDDAY, items=[Money(Decimal(1))])),
    (Noted, Noted(name="x", more=1, when=date(2024, 1, 1))),
    (Secretive, Secretive(name="x")),
    (Codes, Codes(["a", "b"])),
    (Page[Money], Page[Money](items=[Money(Decimal(1))])),
    (Celsius, Celsius(20)),
    (list[Celsius | None], [Celsius(20), None]),
    (UserId, UserId(5)),
    (Final[int], 5),
    (Annotated[int, "the age"], 5),
    (Annotated[int, Gt(3)], 5),
    (Annotated[Money, Field(description="price")], Money(Decimal(1))),
    (B, Meter(1)),
    (C, "a"),
    (Json, {"a": [1, {"b": [None, 0.5, True, "x"]}]}),
    (ipaddress.IPv4Address, ipaddress.IPv4Address("10.0.0.1")),
    (deque[int], deque([1, 2])),
    (OrderedDict[str, int], OrderedDict(a=1)),
    (defaultdict[str, list[int]], defaultdict(list, {"a": [1]})),
]


class TestWhatSurvives:
    @pytest.mark.parametrize(("annotation", "value"), SURVIVORS, ids=repr)
    def test_it_comes_back_as_the_same_type_and_equal(self, annotation, value) -> None:
        if isinstance(value, Identity):
            assert back(annotation, value).number == value.number
        else:
            assert same(back(annotation, value), value)

    @pytest.mark.parametrize(("annotation", "value"), SURVIVORS, ids=repr)
    def test_encoding_it_again_gives_the_same_payload(self, annotation, value) -> None:
        payload = stored(annotation, value)
        assert stored(annotation, codec_for(annotation).decode(payload, PLACE)) == payload

    def test_a_decoded_value_is_a_copy_all_the_way_down(self) -> None:
        cart = Cart("ann", [Money(Decimal(1))])
        copy = back(Cart, cart)
        assert copy is not cart
        assert copy.items is not cart.items
        assert copy.items[0] is not cart.items[0]
        for annotation, value in [(list[int], [1]), (dict[str, int], {"a": 1}), (list, [[1]])]:
            assert back(annotation, value) is not value

    def test_two_decoded_values_share_nothing(self) -> None:
        payload = stored(Cart, Cart("ann"))
        one, other = (codec_for(Cart).decode(payload, PLACE) for _ in range(2))
        one.items.append(1)
        assert other.items == []

    def test_an_aware_datetime_keeps_instant_and_offset_but_not_the_zone(self) -> None:
        berlin = MIDDAY.replace(tzinfo=ZoneInfo("Europe/Berlin"))
        found = back(datetime, berlin)
        assert found == berlin
        assert found.utcoffset() == berlin.utcoffset()
        assert not isinstance(found.tzinfo, ZoneInfo)

    def test_utc_is_the_one_of_the_standard_library(self) -> None:
        assert back(datetime, MIDDAY.replace(tzinfo=UTC)).tzinfo is UTC

    def test_sets_are_stored_in_one_order(self) -> None:
        assert stored(set[str], {"c", "a", "b"}) == '["a","b","c"]'
        assert stored(set[int], {10, 9, -1}) == "[-1,9,10]"
        assert stored(set[Money], {Money(Decimal(2)), Money(Decimal(1))}).index('"1"') < 20

    def test_a_payload_is_compact_json_text(self) -> None:
        assert stored(Money, Money(Decimal("1.50"))) == '{"amount":"1.50","currency":"EUR"}'
        assert stored(str, "ü") == '"ü"'

    def test_recursive_types_are_compiled_once(self) -> None:
        assert codec_for(Tree) is codec_for(Tree)
        assert codec_for(list[Tree]) is codec_for(list[Tree])

    def test_an_annotation_with_unhashable_metadata_is_encoded_too(self) -> None:
        assert back(Annotated[int, {"label": "Fee"}], 3) == 3


class TestWhatArrivesAsThePlainValue:
    @pytest.mark.parametrize(
        ("annotation", "value", "plain"),
        [
            (float, 1, 1.0),
            (Decimal, 3, Decimal(3)),
            (Decimal, 2**70, Decimal(2**70)),
            (list[float], [1, 0.5], [1.0, 0.5]),
            (float | None, 1, 1.0),
            (float | Decimal, 1, 1.0),
            (Decimal | float, 1, Decimal(1)),
            (int | float, 1, 1),
            (str, Text("a"), "a"),
            (str, Status.OPEN, "open"),
            (str | None, Status.OPEN, "open"),
            (int, Priority.HIGH, 2),
            (float, Priority.HIGH, 2.0),
            (int, True, 1),
            (float, type("F", (float,), {})(0.5), 0.5),
            (bytes, type("B", (bytes,), {})(b"x"), b"x"),
            (datetime, type("D", (datetime,), {})(2024, 1, 1), datetime(2024, 1, 1)),
            (list[str], [Text("a"), Status.OPEN], ["a", "open"]),
            (dict[str, int], {Text("a"): Priority.LOW}, {"a": 1}),
            (set[str], {Text("a")}, {"a"}),
            (str | int, Text("a"), "a"),
            (list[str | int], [Text("a"), Priority.LOW], ["a", 1]),
            (Cart, Cart(Text("ann"), []), Cart("ann", [])),
        ],
        ids=repr,
    )
    def test_an_int_for_a_float_and_instances_of_subclasses_of_scalars(
        self, annotation, value, plain
    ) -> None:
        assert same(back(annotation, value), plain)

    def test_an_int_that_no_float_is_equal_to_is_refused(self) -> None:
        assert "no float is equal to" in refusal(float, 2**53 + 1)
        assert "no float is equal to" in refusal(float, 10**400)

    def test_a_datetime_that_knows_more_than_a_datetime_is_refused(self) -> None:
        class Nanos(datetime):
            def __eq__(self, other: object) -> bool:
                return isinstance(other, Nanos)

            __hash__ = datetime.__hash__

        assert "no datetime is equal to" in refusal(datetime, Nanos(2024, 1, 1))


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("annotation", "value", "named"),
        [
            (str, 5, "int"),
            (str, b"x", "bytes"),
            (int, "5", "str"),
            (int, 1.0, "float"),
            (bool, 1, "int"),
            (float, True, "bool"),
            (float, "1", "str"),
            (float, Decimal(1), "decimal.Decimal"),
            (Decimal, 1.5, "float"),
            (Decimal, True, "bool"),
            (Decimal, "1", "str"),
            (Decimal, type("Cents", (Decimal,), {})(1), "Cents"),
            (bytes, bytearray(b"x"), "bytearray"),
            (date, MIDDAY, "datetime.datetime"),
            (datetime, date(2024, 1, 1), "datetime.date"),
            (UUID, str(uuid4()), "str"),
            (timedelta, 5, "int"),
            (None, 1, "int"),
            (Status, "open", "str"),
            (Priority, 1, "int"),
            (Literal["a"], "b", "str"),
            (Literal[1], True, "bool"),
            (Literal["open"], Status.OPEN, "Status"),
            (list[int], (1,), "tuple"),
            (list[int], {1}, "set"),
            (Sequence[int], (1,), "tuple"),
            (list[int], type("L", (list,), {})(), "L"),
            (set[list[int]], [[1]], "list"),
            (set[int], frozenset({1}), "frozenset"),
            (tuple[int, str], (1,), "tuple"),
            (tuple[int, ...], [1], "list"),
            (tuple[int, int], Point(1, 2), "Point"),
            (dict[str, int], OrderedDict(a=1), "collections.OrderedDict"),
            (dict[str, int], {1: 1}, "int"),
            (dict[int, int], {True: 1}, None),
            (Meter, LongMeter(1), "things.LongMeter"),
            (Meter, {"length": 1}, "dict"),
            (Meter, Meter("x"), "str"),  # type: ignore[arg-type]
            (Address, {"street": "x"}, "dict"),
            (Address, {"street": "x", "built": date.min, "more": 1}, "dict"),
            (Point, (1, 2), "tuple"),
            (Order, Noted(name="x"), "things.Noted"),
            (Celsius, 5, "int"),
            (time, time(1, tzinfo=ZoneInfo("Europe/Berlin")), "time"),
            (int | None, "x", "str"),
            (int | str, 1.5, "float"),
            (B, LongMeter(1), "things.LongMeter"),
        ],
        ids=repr,
    )
    def test_what_would_come_back_as_something_else(self, annotation, value, named) -> None:
        if named is None:
            assert same(back(annotation, value), {1: 1})
            return
        text = refusal(annotation, value)
        assert named in text
        assert text.startswith("TravelBooking.booked")

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_numbers_that_json_does_not_have(self, value) -> None:
        assert repr(value) in refusal(float, value)
        assert repr(value) in refusal(list[float], [value])
        assert str(value).lstrip("-")[:3].lower() in refusal(Decimal, Decimal(value)).lower()

    def test_an_int_that_json_readers_refuse(self) -> None:
        assert "4300 digits" in refusal(int, 10**4300)
        assert "4300 digits" in refusal(list[int], [1, 10**5000])
        assert back(str, "1" * 5000) == "1" * 5000

    def test_the_path_to_the_refused_part_is_told(self) -> None:
        cart = Cart("ann", [Money(Decimal(1)), Money(Decimal(1), 5)])  # type: ignore[arg-type]
        assert refusal(Cart, cart).startswith("TravelBooking.booked.items[1].currency holds an int")
        assert "booked['a'][0] holds" in refusal(dict[str, list[int]], {"a": ["x"]})
        parameter = Place("parameter", "travel.Cars.book", "cart")
        assert "(at items[1].currency)" in _refusal_at(parameter, cart)

    def test_keys_that_may_be_personal_are_not_shown(self) -> None:
        assert "ann@" not in refusal(dict[str, int], {"ann@example.org": "x"})

    @pytest.mark.parametrize(
        ("annotation", "value"),
        [
            (Meter, LongMeter(1)),
            (Meter | None, LongMeter(1)),
            (Meter | Money, LongMeter(1)),
            (list[Meter | Money | None], [LongMeter(1)]),
            (Annotated[Meter, "documented"], LongMeter(1)),
            (Annotated[Meter | None, AfterValidator(lambda value: value)], LongMeter(1)),
            (dict[str, int], OrderedDict(a=1)),
            (tuple[int, ...], Point(1)),
            (Decimal, type("Cents", (Decimal,), {})(1)),
        ],
        ids=repr,
    )
    def test_an_instance_of_a_subclass_is_told_as_such(self, annotation, value) -> None:
        text = refusal(annotation, value)
        assert "An instance of a subclass would come back as" in text
        assert "discriminator" in text

    def test_values_are_not_shown(self) -> None:
        for annotation, value in [(int, "hunter2"), (Literal["a"], "hunter2"), (Status, "hunter2")]:
            assert "hunter2" not in refusal(annotation, value)

    def test_constraints_of_pydantic_are_kept(self) -> None:
        assert "greater than 3" in refusal(Annotated[int, Gt(3)], 2)
        assert "at most 3" in refusal(list[Annotated[str, Field(max_length=3)]], ["abcd"])

    def test_a_plain_class_in_an_annotation_says_how_to_mend_it(self) -> None:
        text = refusal(Plain, Plain())
        assert "things.Plain" in text
        assert "dataclass" in text
        assert "list[" in refusal(list[Plain], [])

    def test_a_class_whose_schema_refuses_says_why(self) -> None:
        assert "NoSchema needs its model." in refusal(NoSchema, NoSchema())

    def test_a_model_class_in_an_annotation_says_ref(self) -> None:
        model = things.model_class()
        text = refusal(model, model())
        assert "Ref[Invoice]" in text
        assert "shop.models.Invoice" in text
        assert "Ref[Invoice]" in refusal(list[model], [])  # type: ignore[valid-type]

    def test_a_model_instance_says_ref_whatever_the_annotation(self) -> None:
        row = things.model_class()()
        assert "Ref[Invoice]" in refusal(str, row)
        assert "Ref[Invoice]" in refusal(Cart, Cart("ann", [row]))

    def test_code_and_what_is_read_once_is_refused_by_name(self) -> None:
        assert "lambda" in refusal(str, lambda: 1)
        assert "coroutine" in _closed(_coroutine())
        assert "generator" in refusal(list[int], (n for n in [1]))

    def test_a_class_that_changes_its_instances_when_made_is_refused(self) -> None:
        text = refusal(Doubling, Doubling(1))
        assert "__post_init__" in text
        assert "things.Doubling" in text
        assert "inside.number" in refusal(Holder, Holder(Doubling(1)))

    def test_a_post_init_that_refuses_is_told_when_it_is_encoded(self) -> None:
        cart = Normalized("x")
        cart.code = 5  # type: ignore[assignment]
        assert "code holds an int" in refusal(Normalized, cart)

    def test_nested_classes_with_post_init_cost_no_more_than_their_size(self) -> None:
        calls = 0

        def counted(self: Holder) -> None:
            nonlocal calls
            calls += 1

        Holder.__post_init__ = counted  # type: ignore[attr-defined]
        try:
            chain = None
            for _ in range(20):
                chain = Holder(None, chain)
            calls = 0
            from django_infinitic.codec.values import ValueCodec

            ValueCodec(Holder).encode(chain, PLACE)
            assert calls == 20
        finally:
            del Holder.__post_init__  # type: ignore[attr-defined]

    def test_private_attributes_of_a_model_are_not_lost_silently(self) -> None:
        secretive = Secretive(name="x")
        secretive._cache = "full"
        assert "private attributes" in refusal(Secretive, secretive)

    def test_a_field_that_was_deleted_is_named(self) -> None:
        cart = Cart("ann")
        del cart.owner
        assert "without its field owner" in refusal(Cart, cart)

    def test_a_dataclass_that_is_an_exception_is_refused(self) -> None:
        assert "nothing says how to store" in refusal(things_error(), things_error()(1))

    def test_a_name_that_does_not_exist_is_told(self) -> None:
        text = refusal(list["Nowhere"], [])  # type: ignore[name-defined]  # noqa: F821
        assert "Nowhere" in text

    def test_two_literals_that_are_stored_alike_are_refused(self) -> None:
        assert "stored alike" in refusal(Literal["eA==", b"x"], b"x")


class TestGenerics:
    def test_type_variables_are_filled_in_through_bases(self) -> None:
        assert "content holds an int" in refusal(MoneyBox, MoneyBox(1, [], "x"))  # type: ignore[arg-type]

    def test_each_argument_has_its_own_fields(self) -> None:
        assert back(Box[int], Box(1, [])) == Box(1, [])
        assert "content holds an int" in refusal(Box[str], Box(1, []))

    def test_generic_typed_dicts(self) -> None:
        V = TypeVar("V")

        class Wrapped(TypedDict, Generic[V]):
            value: V  # type: ignore[valid-type]

        Wrapped.__annotations__["value"] = V
        assert back(Wrapped[date], {"value": date.min}) == {"value": date.min}  # type: ignore[valid-type]

    def test_an_alias_may_contain_itself(self) -> None:
        assert "holds a datetime.date" in refusal(Json, {"a": [date.min]})
        value: Any = []
        value.append(value)
        assert "levels deep" in refusal(Json, value)


class TestEnums:
    def test_they_are_stored_by_value_or_by_name_when_values_are_not_plain(self) -> None:
        assert stored(Status, Status.OPEN) == '"open"'
        assert stored(Handler, Handler.B) == '"B"'

    def test_an_enum_may_know_old_values(self) -> None:
        class Color(enum.Enum):
            RED = "red"

            @classmethod
            def _missing_(cls, value: object) -> Color | None:
                return cls.RED if value == "rouge" else None

        assert codec_for(Color).decode('"rouge"', PLACE) is Color.RED
        with pytest.raises(SerializationError, match="no member of"):
            codec_for(Color).decode('"blue"', PLACE)


class TestModels:
    def test_validators_do_not_run_again(self) -> None:
        class Once(BaseModel):
            number: int

            def __init__(self, **values: Any) -> None:
                raise AssertionError

        once = Once.model_construct(number=1)
        assert back(Once, once).number == 1

    def test_a_copy_is_a_model_like_any_other(self) -> None:
        found = back(Order, Order(number=1, placed=MIDDAY, data={}))
        assert found.model_dump() == Order(number=1, placed=MIDDAY, data={}).model_dump()
        assert found.model_copy(update={"number": 2}).number == 2


def things_error() -> Any:
    from dataclasses import dataclass

    @dataclass
    class Lost(Exception):
        code: int

    return Lost


async def _coroutine() -> int:
    return 1


def _closed(coroutine: Any) -> str:
    text = refusal(int, coroutine)
    coroutine.close()
    return text


def _refusal_at(place: Place, value: object) -> str:
    with pytest.raises(SerializationError) as caught:
        codec_for(type(value)).encode(value, place)
    return str(caught.value)


class TestDataclassesOfPydantic:
    def test_their_fields_and_defaults_are_those_of_others(self) -> None:
        found = back(Validated, Validated(1, [Meter(2)]))
        assert type(found) is Validated
        assert found == Validated(1, [Meter(2)])
        assert codec_for(Validated).decode('{"number":1}', PLACE) == Validated(1, [])
        with pytest.raises(SerializationError, match="no value for the field number"):
            codec_for(Validated).decode("{}", PLACE)


class TestLazyObjects:
    def test_one_that_has_loaded_a_row_says_ref(self) -> None:
        row = things.model_class()()
        lazy = SimpleLazyObject(lambda: row)
        assert bool(lazy)
        assert "Ref[Invoice]" in refusal(str, lazy)
        assert "booked: list[Ref[Invoice]]" in refusal(Any, [lazy])

    def test_one_that_has_not_is_not_loaded_for_a_text(self) -> None:
        def load() -> Any:
            raise AssertionError

        lazy = SimpleLazyObject(load)
        for annotation in (Any, str, Meter, Celsius, int | str, list[str]):
            assert "SimpleLazyObject" in refusal(annotation, lazy)

    def test_a_lazy_text_is_told_to_become_one(self) -> None:
        assert "Call str() on it" in refusal(str, lazystr("a"))


def test_a_class_that_was_defined_twice_is_told_as_such() -> None:
    other = type("Meter", (), {"__module__": Meter.__module__})
    assert "two classes of one name" in refusal(Meter, other())
