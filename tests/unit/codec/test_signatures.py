"""Signatures: arguments as they were given, results as they are annotated."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from typing_extensions import TypedDict, Unpack

from django_infinitic.codec import MISSING, Place, Signature, codec_for, same
from django_infinitic.exceptions import PayloadTooLargeError, RegistryError, SerializationError

from . import things
from .things import Cart, Foot, Meter, Money

if TYPE_CHECKING:
    from somewhere import Elsewhere  # type: ignore[import-not-found]

HERE = things.__name__
Invoice = things.model_class()


class Options(TypedDict, total=False):
    price: Decimal
    on: date


class Cars:
    def book(self, cart: Cart, days: int = 3) -> Money: ...

    def many(
        self, first: int, /, second: date, *rest: Meter, key: str, **others: float
    ) -> None: ...

    def options(self, **options: Unpack[Options]) -> None: ...

    def bare(self, a, b=None): ...

    def measure(self, length: Meter | Foot) -> Meter | Foot | None: ...

    async def quote(self, cart) -> Money: ...

    def never(self) -> NoReturn: ...

    def anything(self, a: Any, b: object) -> Any: ...

    def later(self, x: Elsewhere) -> Nowhere: ...  # type: ignore[name-defined]  # noqa: F821

    def bill(self, invoices: list[Invoice]) -> None: ...  # type: ignore[valid-type]

    def billed(self) -> Invoice | None: ...  # type: ignore[valid-type]

    def nothing(self): ...


def send_mail(to: str, body: str) -> None: ...


def signature(function: Callable[..., Any]) -> Signature:
    return Signature(function, owner="travel.Cars", name=function.__name__, bound=True)


def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    one = signature(function)
    return one.decode_arguments(one.encode_arguments(args, kwargs))


CART = Cart("ann", [Money(Decimal(1))])


class TestArguments:
    def test_they_arrive_as_they_were_given(self) -> None:
        assert call(Cars.book, CART) == ((CART,), {})
        assert call(Cars.book, CART, 5) == ((CART, 5), {})
        assert call(Cars.book, CART, days=5) == ((CART,), {"days": 5})
        assert call(Cars.book, days=5, cart=CART) == ((), {"days": 5, "cart": CART})
        assert call(Cars.nothing) == ((), {})

    def test_defaults_stay_those_of_the_callee(self) -> None:
        assert signature(Cars.book).encode_arguments((CART,), {}).count("3") == 0

    def test_every_kind_of_parameter_is_encoded_by_its_annotation(self) -> None:
        given = call(Cars.many, 1, date.min, Meter(1), Meter(2), key="k", more=1, first=2)
        assert same(
            given, ((1, date.min, Meter(1), Meter(2)), {"key": "k", "more": 1.0, "first": 2.0})
        )

    def test_keywords_of_a_typed_dict(self) -> None:
        assert call(Cars.options, price=Decimal(1), on=date.min) == (
            (),
            {"price": Decimal(1), "on": date.min},
        )
        with pytest.raises(TypeError, match="unexpected keyword argument 'other'"):
            call(Cars.options, other=1)

    def test_a_union_at_the_top_of_a_parameter_keeps_its_arm(self) -> None:
        assert call(Cars.measure, Foot(1)) == ((Foot(1),), {})
        assert call(Cars.measure, length=Meter(1)) == ((), {"length": Meter(1)})

    def test_without_annotation_exact_types_travel(self) -> None:
        assert same(call(Cars.bare, (1, date.min), b={1}), (((1, date.min),), {"b": {1}}))

    def test_the_payload_of_positional_arguments_is_an_array(self) -> None:
        assert signature(Cars.bare).encode_arguments((1, "a"), {}) == '[1,"a"]'

    @pytest.mark.parametrize(
        ("args", "kwargs", "text"),
        [
            ((), {}, "missing a required argument: 'cart'"),
            ((CART, 1, 2), {}, "too many positional arguments"),
            ((CART,), {"cart": CART}, "multiple values for argument 'cart'"),
            ((CART,), {"other": 1}, "got an unexpected keyword argument 'other'"),
        ],
    )
    def test_wrong_arguments_are_a_type_error_as_in_a_call(self, args, kwargs, text) -> None:
        with pytest.raises(TypeError) as caught:
            signature(Cars.book).encode_arguments(args, kwargs)
        assert str(caught.value) == f"travel.Cars.book() {text}"

    def test_a_missing_keyword_only_argument_is_found(self) -> None:
        with pytest.raises(TypeError, match="'key'"):
            signature(Cars.many).encode_arguments((1, date.min), {})

    def test_a_wrong_value_names_parameter_and_task(self) -> None:
        with pytest.raises(SerializationError, match=r"parameter cart of travel\.Cars\.book"):
            call(Cars.book, 1)
        with pytest.raises(SerializationError, match=r"parameter days of travel\.Cars\.book"):
            call(Cars.book, CART, days="x")
        with pytest.raises(SerializationError, match=r"parameter rest of travel\.Cars\.many"):
            call(Cars.many, 1, date.min, 3, key="k")
        with pytest.raises(SerializationError, match=r"parameter more of travel\.Cars\.many"):
            call(Cars.many, 1, date.min, key="k", more="x")

    def test_an_unannotated_parameter_shows_the_line_to_write(self) -> None:
        for args, line in [
            ((CART,), "Write: def bare(self, a: Cart, ...)"),
            ((1, [CART]), "Write: def bare(self, ..., b: list[Cart])"),
        ]:
            with pytest.raises(SerializationError) as caught:
                signature(Cars.bare).encode_arguments(args, {})
            assert line in str(caught.value)
            assert f"{HERE}.Cart" in str(caught.value)
        with pytest.raises(SerializationError, match=r"async def quote\(self, cart: Cart\)"):
            call(Cars.quote, CART)

    def test_the_size_counts_all_of_them(self) -> None:
        with pytest.raises(PayloadTooLargeError, match=r"the arguments of travel\.Cars\.bare"):
            call(Cars.bare, "x" * 1_100_000, "y" * 1_100_000)

    def test_what_the_signature_no_longer_takes_is_an_error(self) -> None:
        one = signature(Cars.nothing)
        with pytest.raises(SerializationError, match="does not take any more"):
            one.decode_arguments("[1]")
        with pytest.raises(SerializationError, match="an argument cart"):
            one.decode_arguments('{"args":[],"kwargs":{"cart":1}}')
        for payload in ("1", "{}", "x"):
            with pytest.raises(SerializationError, match="is no call"):
                one.decode_arguments(payload)


class TestFunctions:
    def test_a_function_has_no_self(self) -> None:
        one = Signature(send_mail, owner="travel.send_mail", name="send_mail", bound=False)
        assert one.decode_arguments(one.encode_arguments(("a", "b"), {})) == (("a", "b"), {})
        with pytest.raises(TypeError, match=r"^travel\.send_mail\(\) missing"):
            one.encode_arguments((), {})

    def test_a_wrapped_function_is_seen_through(self) -> None:
        @functools.wraps(Cars.book)
        def wrapper(*args: Any, **kwargs: Any) -> Any: ...

        assert call(wrapper, CART, days=1) == ((CART,), {"days": 1})


class TestResults:
    def test_they_are_encoded_by_their_annotation(self) -> None:
        one = signature(Cars.book)
        assert one.decode_result(one.encode_result(Money(Decimal(2)))) == Money(Decimal(2))
        assert one.result is codec_for(Money)
        with pytest.raises(SerializationError, match=r"the result of travel\.Cars\.book holds a"):
            one.encode_result(CART)

    def test_a_union_keeps_its_arm(self) -> None:
        one = signature(Cars.measure)
        assert one.decode_result(one.encode_result(Foot(1))) == Foot(1)
        assert one.decode_result(one.encode_result(None)) is None

    def test_none_drops_what_is_returned(self) -> None:
        for method in (Cars.many, Cars.never):
            one = signature(method)
            assert one.encode_result(object()) == "null"
            assert one.decode_result("null") is None
            assert one.decode_result('"stored before it was None"') is None

    def test_without_annotation_the_text_shows_the_line(self) -> None:
        with pytest.raises(SerializationError, match=r"Write: def bare\(\.\.\.\) -> list\[Cart\]"):
            signature(Cars.bare).encode_result([CART])


class TestChecks:
    def test_what_has_no_annotation_is_listed(self) -> None:
        assert signature(Cars.bare).unannotated() == ["a", "b", "return"]
        assert signature(Cars.anything).unannotated() == ["a", "b", "return"]
        assert signature(Cars.quote).unannotated() == ["cart"]
        assert signature(Cars.book).unannotated() == []

    def test_a_model_in_the_signature_is_an_error_that_says_ref(self) -> None:
        with pytest.raises(RegistryError) as caught:
            signature(Cars.bill).check()
        assert "travel.Cars.bill" in str(caught.value)
        assert "invoices" in str(caught.value)
        assert "Ref[Invoice]" in str(caught.value)
        with pytest.raises(RegistryError, match="its result"):
            signature(Cars.billed).check()
        signature(Cars.book).check()

    def test_a_model_in_a_field_of_a_dataclass_is_one_too(self) -> None:
        @things.dataclass
        class Bill:
            invoice: Any

        Bill.__annotations__["invoice"] = Invoice

        def pay(bill): ...

        pay.__annotations__["bill"] = Bill
        with pytest.raises(RegistryError, match=r"Ref\[Invoice\]"):
            Signature(pay, owner="a.pay", name="pay", bound=False).check()

    def test_what_cannot_be_resolved_is_told_at_the_first_use(self) -> None:
        one = signature(Cars.later)
        one.check()
        assert one.unannotated() == []
        with pytest.raises(SerializationError) as caught:
            one.encode_arguments((1,), {})
        assert "parameter x of travel.Cars.later" in str(caught.value)
        assert "Elsewhere" in str(caught.value)
        assert "TYPE_CHECKING" in str(caught.value)
        with pytest.raises(SerializationError, match="Nowhere"):
            one.encode_result(1)

    def test_names_that_come_later_are_found_at_the_first_use(self) -> None:
        def early(x): ...

        early.__annotations__["x"] = "ComesLater"
        one = Signature(early, owner="a", name="early", bound=False)
        globals()["ComesLater"] = Meter
        try:
            assert one.decode_arguments(one.encode_arguments((Meter(1),), {})) == ((Meter(1),), {})
        finally:
            del globals()["ComesLater"]


class TestPlaces:
    @pytest.mark.parametrize(
        ("place", "text"),
        [
            (Place("property", "TravelBooking", "booked"), "TravelBooking.booked"),
            (Place("parameter", "t.Cars.book", "cart"), "parameter cart of t.Cars.book"),
            (Place("result", "t.Cars.book"), "the result of t.Cars.book"),
            (Place("result", "inline", "randint"), "the result of inline(randint)"),
            (Place("message", "TravelBooking", "changed"), "a message on TravelBooking.changed"),
            (Place("outcome", "Approve", "Release"), "outcome Release of Approve"),
            (Place("the arguments", "t.Cars.book"), "the arguments of t.Cars.book"),
        ],
    )
    def test_a_place_is_words(self, place, text) -> None:
        assert str(place) == text

    def test_missing_is_false_and_has_a_name(self) -> None:
        assert not MISSING
        assert repr(MISSING) == "MISSING"
        assert codec_for(Any) is codec_for(object) is codec_for(MISSING)
