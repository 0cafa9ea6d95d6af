"""Properties of all values: what is encoded comes back, and what would not is refused."""

from __future__ import annotations

import dataclasses
import itertools
import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal, Optional
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_infinitic.codec import MISSING, codec_for, same
from django_infinitic.exceptions import SerializationError

from .things import PLACE, Card, Cash, Corner, Foot, Meter, Point, Priority, Status

MODERATE = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
floats = st.floats(allow_nan=False, allow_infinity=False)
decimals = st.decimals(allow_nan=False, allow_infinity=False)
offsets = st.timezones() | st.none()
# `fold` is no part of ISO 8601, nor of equality; `repr` in the comparison below shows it.
datetimes = st.datetimes(timezones=offsets, allow_imaginary=False).map(
    lambda moment: moment.replace(fold=0)
)
times = st.times().map(lambda time: time.replace(fold=0))
SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: texts,
    int: st.integers(),
    float: floats,
    bool: st.booleans(),
    type(None): st.none(),
    Decimal: decimals,
    datetime: datetimes,
    date: st.dates(),
    time: times,
    timedelta: st.timedeltas(),
    UUID: st.uuids(),
    bytes: st.binary(max_size=8),
    Status: st.sampled_from(Status),
    Priority: st.sampled_from(Priority),
    Corner: st.sampled_from(Corner),
    Literal["a", 1, True]: st.sampled_from(["a", 1, True]),
    Meter: st.builds(Meter, st.integers()),
    Foot: st.builds(Foot, st.integers()),
    Card: st.builds(Card, texts),
    Cash: st.builds(Cash, texts),
    Point: st.builds(Point, st.integers(), st.integers(), st.sampled_from(Status)),
}
NUMBERS = itertools.count()
Typed = tuple[Any, st.SearchStrategy[Any]]


@st.composite
def types(
    draw: st.DrawFn, depth: int = 2, only_hashable: bool = False, unions: bool = True
) -> Typed:
    """An annotation, and a strategy for its values."""
    kinds = ["scalar"]
    if depth:
        kinds += ["tuple", "tuple...", "optional"]
        if unions:
            kinds.append("union")
        if not only_hashable:
            kinds += ["list", "set", "dict", "record"]
    kind = draw(st.sampled_from(kinds))
    if kind == "scalar":
        return draw(st.sampled_from(list(SCALARS.items())))
    inner = types(depth - 1, only_hashable or kind == "set", unions)
    one, values = draw(inner)
    if kind == "list":
        return list[one], st.lists(values, max_size=3)
    if kind == "set":
        return set[one], st.sets(values, max_size=3)
    if kind == "tuple...":
        return tuple[one, ...], st.lists(values, max_size=3).map(tuple)
    if kind == "optional":
        return Optional[one], st.none() | values  # noqa: UP045
    two, others = draw(inner)
    if kind == "tuple":
        return tuple[one, two], st.tuples(values, others)
    if kind == "union":
        return one | two, values | others
    if kind == "record":
        made = dataclasses.make_dataclass(f"Made{next(NUMBERS)}", [("one", one), ("two", two)])
        return made, st.builds(made, values, others)
    key, keys = draw(types(depth - 1, True, unions))
    return dict[key, one], st.dictionaries(keys, values, max_size=3)


def plainly(value: Any) -> Any:
    """A value in which numbers and subclasses of scalars count as what they arrive as."""
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(plainly, value)]
    if isinstance(value, dict):
        return [(plainly(key), plainly(item)) for key, item in value.items()]
    if isinstance(value, set):
        return sorted(map(repr, map(plainly, value)))
    if dataclasses.is_dataclass(value):
        return [type(value), [plainly(part) for part in vars(value).values()]]
    if isinstance(value, bool | int | Decimal | float):
        return Decimal(value)
    return str.__str__(value) if isinstance(value, str) else value


@MODERATE
@given(st.data())
def test_an_annotated_value_comes_back_or_is_refused_as_ambiguous(data: st.DataObject) -> None:
    annotation, values = data.draw(types())
    value = data.draw(values)
    codec = codec_for(annotation)
    try:
        payload = codec.encode(value, PLACE)
    except SerializationError as refusal:
        # Only what a union within cannot tell apart may be refused here.
        if "discriminator" in str(refusal):
            return
        raise
    found = codec.decode(payload, PLACE)
    assert same(found, value), (annotation, payload)
    assert codec.encode(found, PLACE) == payload
    codec.view(payload)


@MODERATE
@given(st.data())
def test_without_unions_nothing_is_refused(data: st.DataObject) -> None:
    annotation, values = data.draw(types(unions=False))
    value = data.draw(values)
    codec = codec_for(annotation)
    assert same(codec.decode(codec.encode(value, PLACE), PLACE), value)


@MODERATE
@given(st.data())
def test_any_value_for_any_annotation_comes_back_equal_or_is_refused(data: st.DataObject) -> None:
    annotation, _ = data.draw(types())
    _, values = data.draw(types())
    value = data.draw(values)
    codec = codec_for(annotation)
    try:
        payload = codec.encode(value, PLACE)
    except SerializationError:
        return
    found = codec.decode(payload, PLACE)
    assert plainly(found) == plainly(value)
    assert codec.encode(found, PLACE) == payload


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | floats
    | texts
    | decimals
    | datetimes
    | st.dates()
    | st.timedeltas()
    | st.uuids()
    | st.binary(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(
            texts | st.sampled_from(["$date", "$dict", "$tuple", "$arm", "$value"]),
            inner,
            max_size=3,
        )
        | st.sets(st.integers() | texts | st.dates(), max_size=3)
    ),
    max_leaves=8,
)


@MODERATE
@given(plain)
def test_an_untyped_value_comes_back(value: Any) -> None:
    codec = codec_for(MISSING)
    assert same(codec.decode(codec.encode(value, PLACE), PLACE), value)


@MODERATE
@given(floats)
def test_floats_are_exact(value: float) -> None:
    codec = codec_for(float)
    found = codec.decode(codec.encode(value, PLACE), PLACE)
    assert found == value
    assert math.copysign(1, found) == math.copysign(1, value)
