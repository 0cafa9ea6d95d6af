"""Types that pydantic stores: read back when they are written, as nobody knows what they do."""

from __future__ import annotations

import re
from datetime import date
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import pytest
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    PlainValidator,
    SecretStr,
    WithJsonSchema,
)
from pydantic_core import core_schema
from typing_extensions import TypeAliasType

from django_infinitic.codec import codec_for, same
from django_infinitic.exceptions import SerializationError

from .things import PLACE, Celsius, Meter, NoSchema, Plain

T = TypeVar("T")
Pairs = TypeAliasType("Pairs", list[tuple[T, T]], type_params=(T,))


class Opaque:
    """Equal to itself only; stored by its number."""

    def __init__(self, number: int) -> None:
        self.number = number

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return core_schema.no_info_plain_validator_function(
            cls,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda it: it.number),
        )


class Forgetful(Opaque):
    """Comes back as another number."""

    def __init__(self, number: int) -> None:
        super().__init__(number + 1)


class Elsewhere(Celsius):
    """Comes back as its base class."""


class Span:
    def __init__(self, length: int) -> None:
        self.length = length

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Span) and other.length == self.length


Plainly = PlainSerializer(lambda value: value.length)


class Broken:
    """Its serializer fails."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        def fail(value: Any) -> Any:
            raise ValueError("not today")

        return core_schema.no_info_plain_validator_function(
            lambda tree: cls(), serialization=core_schema.plain_serializer_function_ser_schema(fail)
        )


class Known(BaseModel):
    """Its metadata says how to store a class that says nothing itself."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    span: Annotated[
        Span, PlainValidator(lambda it: it if isinstance(it, Span) else Span(it)), Plainly
    ]


class Waits(BaseModel):
    thing: Annotated[
        Plain, BeforeValidator(lambda tree: tree), PlainSerializer(lambda value: "plain")
    ]

    model_config = ConfigDict(arbitrary_types_allowed=True)


def back(annotation: Any, value: Any) -> Any:
    codec = codec_for(annotation)
    return codec.decode(codec.encode(value, PLACE), PLACE)


def refusal(annotation: Any, value: Any) -> str:
    with pytest.raises(SerializationError) as caught:
        codec_for(annotation).encode(value, PLACE)
    return str(caught.value)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Path, Path("a/b")),
        (re.Pattern[str], re.compile("a+")),
        (IPv4Address, IPv4Address("10.0.0.1")),
        (complex, 1 + 2j),
        (dict[Celsius, int], {Celsius(1): 2}),
        (set[Celsius], {Celsius(1), Celsius(2)}),
        (Celsius | Meter, Celsius(1)),
        (Celsius | Meter, Meter(1)),
        (Pairs[int], [(1, 2)]),
        (Annotated[date, AfterValidator(lambda value: value)], date.min),
        (Annotated[list[Celsius], AfterValidator(lambda value: value)], [Celsius(1)]),
        (Known, Known(span=Span(3))),
        (Annotated[int, WithJsonSchema({})], 1),
    ],
    ids=repr,
)
def test_they_come_back(annotation, value) -> None:
    assert same(back(annotation, value), value)


def test_what_has_no_equality_is_compared_by_its_json() -> None:
    assert back(Opaque, Opaque(3)).number == 3


@pytest.mark.parametrize(
    ("annotation", "value", "text"),
    [
        (SecretStr, SecretStr("hunter2"), "does not come back equal"),
        (Forgetful, Forgetful(1), "does not come back equal"),
        (Celsius, Elsewhere(1), "Elsewhere"),
        (Broken, Broken(), "does not come back: "),
        (Celsius, 1, "an int where"),
        (Annotated[str, AfterValidator(str.upper)], "a", "would change"),
        (type[Meter], Meter, "Meter"),
        (NoSchema[int], NoSchema(), "NoSchema needs its model."),
        (Waits, Waits.model_construct(thing=Plain()), "does not come back"),
    ],
    ids=repr,
)
def test_what_does_not_come_back_is_refused(annotation, value, text) -> None:
    found = refusal(annotation, value)
    assert text in found
    assert "hunter2" not in found


def test_what_is_stored_and_not_accepted_is_an_error() -> None:
    with pytest.raises(SerializationError, match="does not fit"):
        codec_for(IPv4Address).decode('"x"', PLACE)
    with pytest.raises(SerializationError, match="does not fit"):
        codec_for(Annotated[int, AfterValidator(_refuse)]).decode("1", PLACE)


def test_a_model_with_names_that_do_not_exist_is_told() -> None:
    class Dangling(BaseModel):
        it: NowhereAtAll  # type: ignore[name-defined]  # noqa: F821

    assert "NowhereAtAll" in refusal(Dangling, Dangling.model_construct(it=1))


def test_an_annotation_that_is_no_type_is_refused() -> None:
    for annotation in (5, ..., Generic):
        assert "nothing says how to store" in refusal(annotation, 1)


def _refuse(value: int) -> int:
    raise ValueError("never")
