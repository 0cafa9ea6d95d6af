"""Rows and declared exceptions: what else is stored."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from django_infinitic.codec import (
    decode_exception_args,
    encode_exception_args,
    pack,
    rebuild_exception,
    same,
    unpack,
)
from django_infinitic.exceptions import SerializationError

from .things import Meter


class SoldOut(Exception):
    pass


class Shortened(Exception):
    def __init__(self, article: str, left: int) -> None:
        super().__init__(article)
        self.left = left


class TestRows:
    def test_a_document_comes_back(self) -> None:
        document = {"a": [1, 2.5, None, True, "ü"], "b": {"c": 10**30}}
        assert same(unpack(pack(document)), document)

    def test_two_bytes_tell_format_and_codec(self) -> None:
        assert pack({}) == b"\x01\x00{}"

    @pytest.mark.parametrize(
        ("body", "text"),
        [
            (b"", "damaged"),
            (b"\x01", "damaged"),
            (b"\x02\x00{}", "format version 2"),
            (b"\x01\x07{}", "codec 7"),
            (b"\x01\x00{", "damaged"),
            (b"\x01\x00[]", "damaged"),
        ],
    )
    def test_what_this_release_cannot_read_is_an_error(self, body, text) -> None:
        with pytest.raises(SerializationError, match=text):
            unpack(body)

    def test_what_is_no_json_is_an_error(self) -> None:
        for value in (object(), "\ud800"):
            with pytest.raises(SerializationError):
                pack({"a": value})

    def test_a_memoryview_is_read_too(self) -> None:
        assert unpack(memoryview(pack({"a": 1}))) == {"a": 1}  # type: ignore[arg-type]


class TestDeclaredExceptions:
    @pytest.mark.parametrize("args", [(), ("a",), (1, (2,), {"a": date.min}, Decimal(1))])
    def test_plain_arguments_travel(self, args) -> None:
        payload = encode_exception_args(args)
        assert payload is not None
        assert same(decode_exception_args(payload), args)
        error = rebuild_exception(SoldOut, payload)
        assert type(error) is SoldOut
        assert error.args == args

    @pytest.mark.parametrize("args", [(Meter(1),), ("\0",), (float("nan"),), (object(),)])
    def test_others_do_not(self, args) -> None:
        assert encode_exception_args(args) is None

    def test_a_class_that_keeps_other_arguments_cannot_travel(self) -> None:
        for error in (Shortened("a", 1),):
            payload = encode_exception_args(error.args)
            assert payload is not None
            assert rebuild_exception(Shortened, payload) is None

    def test_what_is_no_array_is_an_error(self) -> None:
        with pytest.raises(SerializationError, match="no array"):
            decode_exception_args("1")
