"""Statements sent together on one connection, by libpq as psycopg gives it.

psycopg's own pipeline flushes and looks for answers after each statement, and asks for the type of
each value: of a batch of six statements that was more than half of the time. Here all are sent in
one go, values have the few forms that `statements` uses, and the server takes their types from the
casts.
"""

from __future__ import annotations

import re
import select
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import psycopg
from psycopg import pq
from psycopg.errors import error_from_result

Statement = tuple[str, Mapping[str, Any]]
Row = tuple[Any, ...]

TEXT, BYTEA = 25, 17
_PLACEHOLDER: Final = re.compile(r"%(?:%|\((\w+)\)[sb])")
_INT4: Final = struct.Struct("!i").pack
_HEADER: Final = struct.Struct("!iiIii").pack
_FINE: Final = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)


def _integer(form: str) -> Callable[[bytes], int]:
    unpack = struct.Struct(form).unpack
    return lambda value: int(unpack(value)[0])


def _text(value: bytes) -> str:
    return str(value, "utf-8")


_READERS: Final[dict[int, Callable[[bytes], Any]]] = {
    16: lambda value: value == b"\x01",
    BYTEA: bytes,
    20: _integer("!q"),
    21: _integer("!h"),
    23: _integer("!i"),
    TEXT: _text,
    1043: _text,
}
"""By the type of a column: those that the statements give."""


class Wire:
    """A connection, and the statements that it has prepared."""

    def __init__(self, connection: psycopg.Connection[Any], *, prepare: bool) -> None:
        self.connection = connection
        self._prepare = prepare
        self._names: dict[str, bytes] = {}
        self._numbers = 0

    def run(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Send all, then wait for all; the rows of each. Raises the first error, psycopg's.

        After it those that follow have not been run; a transaction may be open, and failed.
        """
        packed = [(text, *_packed(text, values)) for text, values in statements]
        connection = self.connection.pgconn
        try:
            connection.enter_pipeline_mode()
            prepares = [self._send(connection, *one) for one in packed]
            connection.pipeline_sync()
            results = self._receive(connection)
            connection.exit_pipeline_mode()
        except BaseException:
            self.connection.close()  # nobody knows what would come next on it
            raise
        return self._rows(prepares, results)

    def _send(
        self,
        connection: pq.abc.PGconn,
        text: str,
        command: bytes,
        values: Sequence[bytes | None],
        formats: Sequence[int],
    ) -> tuple[str, bytes] | None:
        """Send one; text and name of the statement if it is prepared by the way."""
        if not self._prepare:
            connection.send_query_params(command, values, None, formats, pq.Format.BINARY)
            return None
        name = self._names.get(text)
        if name is not None:
            connection.send_query_prepared(name, values, formats, pq.Format.BINARY)
            return None
        self._numbers += 1
        name = b"infinitic_%d" % self._numbers
        connection.send_prepare(name, command)
        connection.send_query_prepared(name, values, formats, pq.Format.BINARY)
        return text, name

    def _receive(self, connection: pq.abc.PGconn) -> list[pq.abc.PGresult]:
        """All results up to the end of the pipeline."""
        results: list[pq.abc.PGresult] = []
        unsent = connection.flush()
        while True:
            while not connection.is_busy():
                result = connection.get_result()
                if result is None:
                    continue
                if result.status == pq.ExecStatus.PIPELINE_SYNC:
                    return results
                results.append(result)
            _wait(connection.socket, bool(unsent))
            connection.consume_input()
            if unsent:
                unsent = connection.flush()

    def _rows(
        self,
        prepares: Sequence[tuple[str, bytes] | None],
        results: Sequence[pq.abc.PGresult],
    ) -> list[list[Row]]:
        found: list[list[Row]] = []
        failed: pq.abc.PGresult | None = None
        answers = iter(results)
        for prepare in prepares:
            if prepare is not None:
                prepared = next(answers)
                if prepared.status == pq.ExecStatus.COMMAND_OK:
                    self._names[prepare[0]] = prepare[1]
                elif failed is None:
                    failed = prepared
            result = next(answers)
            if result.status in _FINE:
                found.append(_read(result))
            elif failed is None:
                failed = result
        if failed is not None:
            raise error_from_result(failed)
        return found


def _wait(socket: int, for_room: bool) -> None:
    """Wait until the server has said something, or there is room to send the rest."""
    if hasattr(select, "poll"):  # `select` cannot with numbers above 1,023
        poll = select.poll()
        poll.register(socket, select.POLLIN | (select.POLLOUT if for_room else 0))
        poll.poll()
    else:
        select.select([socket], [socket] if for_room else [], [])


@lru_cache(maxsize=200)
def _numbered(text: str) -> tuple[bytes, tuple[str, ...]]:
    """A statement with `$1` for its first name, and its names."""
    names: dict[str, int] = {}

    def number(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return "%"
        return f"${names.setdefault(name, len(names) + 1)}"

    return _PLACEHOLDER.sub(number, text).encode(), tuple(names)


def _packed(
    text: str, given: Mapping[str, Any]
) -> tuple[bytes, Sequence[bytes | None], Sequence[int]]:
    """The command, and its values with their formats."""
    command, names = _numbered(text)
    values: list[bytes | None] = []
    formats: list[int] = []
    packed: bytes | None
    for name in names:
        value = given[name]
        if isinstance(value, str):
            if "\0" in value:  # libpq would cut the text off there
                raise psycopg.DataError("A text for PostgreSQL cannot contain NUL.")
            packed, format = value.encode(), 0
        elif value is None:
            packed, format = None, 0
        elif isinstance(value, int):
            packed, format = b"%d" % value, 0
        elif isinstance(value, bytes):
            packed, format = value, 1
        else:
            packed, format = _array(value), 1
        values.append(packed)
        formats.append(format)
    return command, values, formats


def _array(values: Sequence[str] | Sequence[bytes]) -> bytes:
    """Texts, or bodies, as a binary array."""
    if not values:
        return _HEADER(0, 0, TEXT, 0, 0)[:12]
    texts = isinstance(values[0], str)
    parts = [_HEADER(1, 0, TEXT if texts else BYTEA, len(values), 1)]
    for value in values:
        item = value.encode() if isinstance(value, str) else value
        parts.append(_INT4(len(item)))
        parts.append(item)
    return b"".join(parts)


def _read(result: pq.abc.PGresult) -> list[Row]:
    """The rows of a result."""
    columns = [(at, _READERS[result.ftype(at)]) for at in range(result.nfields)]
    get = result.get_value
    rows: list[Row] = []
    for number in range(result.ntuples):
        row = []
        for at, reader in columns:
            value = get(number, at)
            row.append(None if value is None else reader(value))
        rows.append(tuple(row))
    return rows
