"""Limits: size, depth and characters of what may be stored."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from django_infinitic.codec import MISSING, codec_for, limits, set_limits
from django_infinitic.exceptions import PayloadTooLargeError, SerializationError

from .things import PLACE, Money, Tree

CODEC = codec_for(MISSING)


@pytest.fixture(autouse=True)
def _limits() -> Iterator[None]:
    before = (limits.payload, limits.warn, limits.depth)
    yield
    set_limits(payload=before[0], warn=before[1], depth=before[2])


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


class TestSize:
    def test_too_large_names_place_size_and_limit(self) -> None:
        with pytest.raises(PayloadTooLargeError) as caught:
            CODEC.encode("x" * 2_000_000, PLACE)
        text = str(caught.value)
        assert text.startswith("TravelBooking.booked is 2,000,002 bytes")
        assert "2,000,000" in text
        assert "PAYLOAD_LIMIT" in text

    def test_size_is_bytes_of_utf_8(self) -> None:
        set_limits(payload=100)
        codec_for(str).encode("x" * 98, PLACE)
        with pytest.raises(PayloadTooLargeError, match="101 bytes"):
            codec_for(str).encode("ü" * 49 + "x", PLACE)

    def test_a_large_payload_is_logged_without_its_content(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING, "django_infinitic.codec"):
            CODEC.encode("secret" * 10, PLACE)
            assert not caplog.records
            CODEC.encode("secret" * 50_000, PLACE)
        assert [record.name for record in caplog.records] == ["django_infinitic.codec"]
        assert "TravelBooking.booked" in caplog.text
        assert "300002" in caplog.text
        assert "secret" not in caplog.text

    def test_what_is_not_named_stays(self) -> None:
        set_limits(payload=10)
        assert limits.payload == 10
        assert limits.depth == 64


class TestDepth:
    def test_64_levels_are_stored(self) -> None:
        assert CODEC.decode(CODEC.encode(nested(64), PLACE), PLACE) == nested(64)

    @pytest.mark.parametrize("depth", [65, 199, 5000])
    def test_more_are_refused_with_place_and_limit(self, depth) -> None:
        with pytest.raises(SerializationError, match=r"TravelBooking\.booked .* 64 levels"):
            CODEC.encode(nested(depth), PLACE)

    def test_annotated_values_have_the_same_limit(self) -> None:
        tree = Tree(1)
        for _ in range(100):
            tree = Tree(1, [tree])
        for annotation, value in [(Tree, tree), (list[Any], nested(65)), (list, nested(65))]:
            with pytest.raises(SerializationError, match="64 levels"):
                codec_for(annotation).encode(value, PLACE)

    @pytest.mark.parametrize("annotation", [MISSING, list, list[Any]])
    def test_a_value_within_itself_is_refused(self, annotation) -> None:
        value: list[Any] = []
        value.append(value)
        with pytest.raises(SerializationError, match="holds itself"):
            codec_for(annotation).encode(value, PLACE)

    def test_an_annotated_value_within_itself_is_refused(self) -> None:
        tree = Tree(1)
        tree.children.append(tree)
        with pytest.raises(SerializationError, match="holds itself"):
            codec_for(Tree).encode(tree, PLACE)

    def test_many_brackets_are_not_depth(self) -> None:
        value = ["[" * 100, [[1]] * 100]
        assert CODEC.decode(CODEC.encode(value, PLACE), PLACE) == value


class TestCharacters:
    @pytest.mark.parametrize("annotation", [MISSING, str, list[str], dict[str, str]])
    def test_nul_is_refused(self, annotation) -> None:
        for text in ("\0", "a\0b"):
            value = {str: text, list[str]: [text], dict[str, str]: {"a": text}}.get(
                annotation, text
            )
            with pytest.raises(SerializationError, match=r"TravelBooking\.booked .*NUL"):
                codec_for(annotation).encode(value, PLACE)

    def test_nul_in_keys_and_fields_is_refused(self) -> None:
        with pytest.raises(SerializationError, match="NUL"):
            CODEC.encode({"a\0": 1}, PLACE)
        with pytest.raises(SerializationError, match="NUL"):
            codec_for(Money).encode(
                Money(amount=__import__("decimal").Decimal(1), currency="\0"), PLACE
            )

    @pytest.mark.parametrize("text", ["\\u0000", "\\\\u0000", r"\0", "u0000"])
    def test_a_text_about_nul_is_stored(self, text) -> None:
        for annotation in (MISSING, str):
            codec = codec_for(annotation)
            assert codec.decode(codec.encode(text, PLACE), PLACE) == text

    @pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
    def test_lone_surrogates_are_refused(self, text) -> None:
        for annotation, value in [(MISSING, text), (str, text), (MISSING, {text: 1})]:
            with pytest.raises(SerializationError, match=r"TravelBooking\.booked .*surrogate"):
                codec_for(annotation).encode(value, PLACE)

    def test_all_other_characters_are_stored(self) -> None:
        text = "".join(map(chr, [*range(1, 0xD800), *range(0xE000, 0x11000), 0x1F686, 0x10FFFF]))
        codec = codec_for(str)
        assert codec.decode(codec.encode(text, PLACE), PLACE) == text
