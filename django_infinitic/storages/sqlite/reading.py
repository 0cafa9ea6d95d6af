"""How values look in SQLite, and what the engine reads there."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.db import connections
from django.utils import timezone

from django_infinitic.machine.effects import EventRow
from django_infinitic.machine.messages import Kind, Message
from django_infinitic.storages.base import Doc, Inputs, StoredInstance
from django_infinitic.storages.documents import (
    as_key,
    from_key,
    is_lane,
    open_streams,
    to_datetime,
    to_micros,
    unpack,
)
from django_infinitic.storages.lane import PAGE, LaneMessage, SqlLane
from django_infinitic.storages.ownership import SqlOwnership
from django_infinitic.storages.session import Sql
from django_infinitic.storages.tasks import SqlTasks
from django_infinitic.storages.upkeep import SqlUpkeep


class SqliteReading(SqlLane, SqlTasks, SqlOwnership, SqlUpkeep):
    """Values as SQLite has them, and what the engine reads."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._read_up_to: dict[int, int] = {}
        self.given_timers: dict[str, int] = {}

    # -- how values look -------------------------------------------------------------------

    def key(self, id: str) -> str:
        """As Django's `UUIDField` has it in SQLite."""
        return as_key(id)

    def id(self, stored: Any) -> str:
        """The reverse of `key`."""
        return from_key(stored)

    def stamp(self, micros: int) -> Any:
        """As Django's `DateTimeField` has it in SQLite."""
        ops = connections[self.alias].ops
        return ops.adapt_datetimefield_value(to_datetime(micros))

    def _micros(self, stored: Any) -> int | None:
        if stored is None:
            return None
        moment = datetime.fromisoformat(stored) if isinstance(stored, str) else stored
        if timezone.is_naive(moment):
            moment = moment.replace(tzinfo=connections[self.alias].timezone or UTC)
        return to_micros(moment)

    def now(self) -> int:
        """The time of the machine: the database is on it."""
        return time.time_ns() // 1000 if self.clock is None else self.clock()

    def time(self, sql: Sql) -> int:
        """The same."""
        return self.now()

    def clock_sql(self) -> str:
        """The same."""
        return str(self.now())

    def client_now(self) -> datetime:
        """The same."""
        return to_datetime(self.now())

    # -- reading ---------------------------------------------------------------------------

    def read(self, parts: Sequence[int], limit: int) -> Inputs:
        """Messages (not parked) and due timers of own parts, in order; at most `limit` per part.

        A message that commits later has a higher id, so each part is read from the last id on.
        """
        own = [part for part in parts if not is_lane(part)]
        now = self.now()
        if not own:
            return Inputs(now=now)
        with self.session.reading() as sql:
            return self._read(sql, own, now, limit)

    def _read(self, sql: Sql, own: Sequence[int], now: int, limit: int) -> Inputs:
        news = sql.rows(
            "SELECT json_extract(p.value, '$[0]') FROM json_each(%s) p WHERE EXISTS ("
            "SELECT 1 FROM infinitic_message m WHERE m.part = json_extract(p.value, '$[0]')"
            " AND NOT m.parked AND m.id > json_extract(p.value, '$[1]'))",
            [json.dumps([[part, self._read_up_to.get(part, 0)] for part in own])],
        )
        messages: list[Message] = []
        complete = True
        for (part,) in news:
            rows = sql.rows(
                "SELECT id, instance, kind, created, body FROM infinitic_message"
                " WHERE part = %s AND NOT parked AND id > %s ORDER BY id LIMIT %s",
                [part, self._read_up_to.get(part, 0), limit],
            )
            complete = complete and len(rows) < limit
            if rows:
                self._read_up_to[part] = rows[-1][0]
            messages += (
                Message(
                    kind=Kind(kind),
                    doc=unpack(body),
                    instance=from_key(instance),
                    at=created,
                    row=id,
                )
                for id, instance, kind, created, body in rows
            )
        timers, next_due = self._due(sql, own, now, limit)
        if len(timers) == limit:
            complete = False
        return Inputs(
            now=now, messages=messages, timers=timers, next_due=next_due, complete=complete
        )

    def _due(
        self, sql: Sql, parts: Sequence[int], now: int, limit: int
    ) -> tuple[list[tuple[str, int, str, Doc]], int | None]:
        own = json.dumps(parts)
        given = json.dumps([as_key(one) for one in self.given_timers])
        rows = sql.rows(
            "SELECT id, due, instance, body, part FROM infinitic_timer"
            " WHERE part IN (SELECT value FROM json_each(%s)) AND due <= %s"
            " AND id NOT IN (SELECT value FROM json_each(%s)) ORDER BY due, id LIMIT %s",
            [own, now, given, limit],
        )
        timers = []
        for id, due, instance, body, part in rows:
            timer = from_key(id)
            self.given_timers[timer] = part
            timers.append((timer, due, from_key(instance), unpack(body)))
        later = sql.row(
            "SELECT min((SELECT min(t.due) FROM infinitic_timer t"
            " WHERE t.part = p.value AND t.due > %s)) FROM json_each(%s) p",
            [now, own],
        )
        return timers, None if later is None else later[0]

    def forget(self, parts: Sequence[int] | None = None) -> None:
        """What was read of these parts (None: all) and not yet consumed is no longer in memory."""
        if parts is None:
            self._read_up_to.clear()
            self.given_timers.clear()
            return
        for part in parts:
            self._read_up_to.pop(part, None)
        gone = set(parts)
        self.given_timers = {
            timer: part for timer, part in self.given_timers.items() if part not in gone
        }

    def lane_messages(self, lanes: Sequence[int]) -> list[LaneMessage]:
        """The first messages of these lanes, in order."""
        with self.session.reading() as sql:
            rows = sql.rows(
                "SELECT id, instance, kind, body FROM infinitic_message"
                " WHERE part IN (SELECT value FROM json_each(%s)) AND NOT parked"
                " ORDER BY id LIMIT %s",
                [json.dumps(lanes), PAGE],
            )
        return [
            LaneMessage(row=id, instance=from_key(instance), kind=kind, doc=unpack(body))
            for id, instance, kind, body in rows
        ]

    def load(self, instances: Sequence[str]) -> dict[str, StoredInstance]:
        """Rows and history of cold instances; unknown ids are missing."""
        with self.session.reading() as sql:
            return self._load(sql, json.dumps([as_key(one) for one in instances]))

    def _load(self, sql: Sql, keys: str) -> dict[str, StoredInstance]:
        events: dict[str, list[EventRow]] = {}
        for key, stream, seq, step, body in sql.rows(
            "SELECT e.instance, e.stream, e.seq, e.step, e.body FROM infinitic_event e"
            " JOIN infinitic_instance i ON i.id = e.instance"
            " WHERE i.id IN (SELECT value FROM json_each(%s)) AND e.stream IN ("
            "SELECT value FROM json_each('[0,1' || CASE i.open WHEN '' THEN '' ELSE ',' END"
            " || i.open || ']')) ORDER BY e.instance, e.stream, e.seq",
            [keys],
        ):
            events.setdefault(key, []).append(
                EventRow(
                    instance=from_key(key), stream=stream, seq=seq, step=step, entries=unpack(body)
                )
            )
        found = {}
        for row in sql.rows(
            "SELECT id, workflow, version, status, tags, custom_id, meta, started_by, requester,"
            " streams, open, created_at, closed_at, method, crashes, error"
            " FROM infinitic_instance WHERE id IN (SELECT value FROM json_each(%s))",
            [keys],
        ):
            stored = self._stored(row, events.get(row[0], []))
            found[stored.id] = stored
        return found

    def _stored(self, row: tuple[Any, ...], events: list[EventRow]) -> StoredInstance:
        return StoredInstance(
            id=from_key(row[0]),
            workflow=row[1],
            version=row[2],
            status=row[3],
            tags=tuple(json.loads(row[4])),
            custom_id=row[5],
            meta=json.loads(row[6]),
            started_by=row[7],
            parent=None if row[8] is None else json.loads(row[8]),
            streams=row[9],
            open=open_streams(row[10]),
            created_at=self._micros(row[11]) or 0,
            closed_at=self._micros(row[12]),
            method=row[13],
            crashes=row[14],
            error=row[15],
            events=events,
        )
