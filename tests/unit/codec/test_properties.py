"""Properties: the annotations of class bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

import pytest

from django_infinitic.codec import Place, codec_for, property_codecs
from django_infinitic.exceptions import SerializationError

from .things import Meter, Money

if TYPE_CHECKING:
    from somewhere import Elsewhere  # type: ignore[import-not-found]

T = TypeVar("T")


class Base(Generic[T]):
    log: list[str]
    price: Money
    limit: ClassVar[int] = 3


class Booking(Base[int]):
    price: Meter  # type: ignore[assignment]
    booked: list[Money] | None = None
    lost: Elsewhere


def test_base_classes_are_included_and_overridden() -> None:
    found = property_codecs(Booking)
    assert list(found) == ["log", "price", "booked", "lost"]
    assert found["log"] is codec_for(list[str])
    assert found["price"] is codec_for(Meter)
    assert found["booked"].annotation == list[Money] | None


def test_class_variables_are_none() -> None:
    assert "limit" not in property_codecs(Booking)


def test_what_cannot_be_resolved_is_told_at_the_first_use_and_hurts_no_other() -> None:
    found = property_codecs(Booking)
    with pytest.raises(SerializationError) as caught:
        found["lost"].encode(1, Place("property", "Booking", "lost"))
    assert "Elsewhere" in str(caught.value)
    assert "Booking.lost" in str(caught.value)


def test_a_name_that_comes_later_is_found_at_the_first_use() -> None:
    class Late:
        it: ComesLater  # type: ignore[name-defined]  # noqa: F821

    codec = property_codecs(Late)["it"]
    globals()["ComesLater"] = Meter
    try:
        assert codec.encode(Meter(1), Place("property", "Late", "it")) == '{"length":1}'
        assert codec.annotation is Meter
    finally:
        del globals()["ComesLater"]
