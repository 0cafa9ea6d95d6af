"""How values look in PostgreSQL, and what the engine reads there."""

from __future__ import annotations

import json
import time as machine_time
from collections.abc import Sequence
from functools import cache
from typing import Any

from django.db.models import QuerySet
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now

from django_infinitic.machine.effects import EventRow
from django_infinitic.machine.messages import Kind, Message
from django_infinitic.models import Message as MessageRow
from django_infinitic.storages.base import Inputs, StoredInstance
from django_infinitic.storages.documents import (
    as_id,
    is_lane,
    open_streams,
    to_datetime,
    unpack,
)
from django_infinitic.storages.lane import PAGE, LaneMessage, SqlLane
from django_infinitic.storages.ownership import SqlOwnership
from django_infinitic.storages.postgresql import statements
from django_infinitic.storages.postgresql.floors import Floors
from django_infinitic.storages.postgresql.session import (
    PostgresqlSession,
    ids,
    numbers,
)
from django_infinitic.storages.postgresql.wire import Statement
from django_infinitic.storages.session import Sql
from django_infinitic.storages.tasks import SqlTasks
from django_infinitic.storages.upkeep import SqlUpkeep


class PostgresqlReading(SqlLane, SqlTasks, SqlOwnership, SqlUpkeep):
    """Values as PostgreSQL has them, and what the engine reads."""

    session: PostgresqlSession
    share_lock = " FOR SHARE"
    skip_locked = " FOR UPDATE SKIP LOCKED"

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._floors = Floors()
        self._lane_floors = Floors()
        self._given: dict[int, int] = {}
        self.given_timers: dict[str, int] = {}
        given = self.clock is not None
        self.text = cache(lambda text: statements.timed(text, given=given))

    # -- how values look --------------------------------------------------------------------

    def key(self, id: str) -> Any:
        """As it is; what is no id is one that nothing has."""
        return as_id(id) or "00000000-0000-0000-0000-000000000000"

    def id(self, stored: Any) -> str:
        """Django's cursors give `UUID`."""
        return str(stored)

    def stamp(self, micros: int) -> Any:
        """An aware datetime."""
        return to_datetime(micros)

    def params(self, **values: Any) -> dict[str, Any]:
        """Parameters, with the time if it is given."""
        if self.clock is not None:
            values["now"] = self.clock()
        return values

    def statement(self, text: str, **values: Any) -> Statement:
        """A statement of `statements` with its parameters."""
        return self.text(text), self.params(**values)

    def now(self) -> int:
        """The time of the database."""
        if self.clock is not None:
            return self.clock()
        ((row,),) = self.session.read([self.statement("SELECT $NOW")])
        return int(row[0])

    def time(self, sql: Sql) -> int:
        """The time of the database."""
        if self.clock is not None:
            return self.clock()
        found = sql.row(self.text("SELECT $NOW"))
        assert found is not None
        return int(found[0])

    def clock_sql(self) -> str:
        """The time of the database, as an expression."""
        return self.text("$NOW") if self.clock is None else str(self.clock())

    def client_now(self) -> Any:
        """The time of the database, as the ORM compares it."""
        return Now() if self.clock is None else to_datetime(self.clock())

    def be_patient(self, sql: Sql, seconds: float) -> None:
        """Let this transaction wait for locks that long."""
        if self.session.private:
            sql.run(f"SET LOCAL lock_timeout = {int(seconds * 1000)}")

    def take_time(self, sql: Sql, seconds: float) -> None:
        """Let statements of this transaction run that long."""
        if self.session.private:
            sql.run(f"SET LOCAL statement_timeout = {int(seconds * 1000)}")

    # -- reading ----------------------------------------------------------------------------

    def read(self, parts: Sequence[int], limit: int) -> Inputs:
        """Messages (not parked) and due timers of own parts, in order; at most `limit` per part.

        One round trip. What is in memory (`forget`) is left out by the database.
        """
        own = [part for part in parts if not is_lane(part)]
        if not own:
            return Inputs(now=machine_time.time_ns() // 1000 if self.clock is None else self.now())
        self._floors.begin()
        values = self.params(
            parts=numbers(own),
            floors=numbers([self._floors.of(part) for part in own]),
            given=numbers(self._given),
            timers=ids(self.given_timers),
            limit=limit,
        )
        texts = (
            statements.READ_CLOCK,
            statements.READ_MESSAGES,
            statements.READ_TIMERS,
            statements.READ_NEXT_DUE,
        )
        clock, messages, timers, later = self.session.read(
            [(self.text(text), values) for text in texts]
        )
        ((now, oldest, next_one),) = clock
        counts = dict.fromkeys(own, 0)
        for row in messages:
            counts[row[5]] += 1
            self._given[row[0]] = row[5]
        full = [part for part in own if counts[part] < limit]
        self._floors.read(oldest, next_one, full, len(full) == len(own))
        timer_counts: dict[int, int] = {}
        for timer, _, _, _, part in timers:
            self.given_timers[timer] = part
            timer_counts[part] = timer_counts.get(part, 0) + 1
        return Inputs(
            now=now,
            messages=[
                Message(kind=Kind(kind), doc=unpack(body), instance=instance, at=created, row=id)
                for id, instance, kind, created, body, _ in messages
            ],
            timers=[(id, due, instance, unpack(body)) for id, due, instance, body, _ in timers],
            next_due=later[0][0],
            complete=len(full) == len(own) and max(timer_counts.values(), default=0) < limit,
        )

    def consumed(self, rows: Sequence[int], timers: Sequence[str]) -> None:
        """These are no longer in memory, nor to be read again."""
        for row in rows:
            self._given.pop(row, None)
        for timer in timers:
            self.given_timers.pop(timer, None)

    def forget(self, parts: Sequence[int] | None = None) -> None:
        """What was read of these parts (None: all) and not yet consumed is no longer in memory."""
        self._floors.forget(parts)
        self._lane_floors.forget(parts)
        if parts is None:
            self._given.clear()
            self.given_timers.clear()
            return
        gone = set(parts)
        self._given = {row: part for row, part in self._given.items() if part not in gone}
        self.given_timers = {
            timer: part for timer, part in self.given_timers.items() if part not in gone
        }

    def lane_messages(self, lanes: Sequence[int]) -> list[LaneMessage]:
        """The first messages of these lanes, in order."""
        floors = self._lane_floors
        floors.begin()
        clock, rows = self.session.read(
            [
                self.statement(statements.READ_CLOCK),
                self.statement(
                    statements.READ_LANE,
                    parts=numbers(lanes),
                    floors=numbers([floors.of(lane) for lane in lanes]),
                    limit=PAGE,
                ),
            ]
        )
        # What is there may be left for later, so only an empty lane is read from a higher floor.
        floors.read(clock[0][1], clock[0][2], () if rows else lanes, not rows)
        return [
            LaneMessage(row=id, instance=instance, kind=kind, doc=unpack(body))
            for id, instance, kind, body in rows
        ]

    def adopt_messages(self, sql: Sql, parts: Sequence[int]) -> None:
        """Rows of another cluster (dump and restore) have transactions of the future: new messages
        would overtake them. They get the present one; their ids keep their order (B2)."""
        sql.run(
            "UPDATE infinitic_message SET xid = pg_current_xact_id() WHERE part = ANY(%s)"
            " AND NOT parked AND xid >= pg_snapshot_xmax(pg_current_snapshot())",
            [list(parts)],
        )

    def in_order(self, rows: QuerySet[MessageRow]) -> QuerySet[MessageRow]:
        """By transaction, then by id."""
        return rows.order_by(RawSQL("infinitic_message.xid", []), "id")

    def load(self, instances: Sequence[str]) -> dict[str, StoredInstance]:
        """Rows and history of cold instances in one round trip; unknown ids are missing."""
        values = {"ids": ids([self.key(one) for one in instances])}
        rows, events = self.session.read(
            [(statements.LOAD_INSTANCES, values), (statements.LOAD_EVENTS, values)]
        )
        history: dict[str, list[EventRow]] = {}
        for id, stream, seq, step, body in events:
            history.setdefault(id, []).append(
                EventRow(instance=id, stream=stream, seq=seq, step=step, entries=unpack(body))
            )
        return {row[0]: _stored(row, history.get(row[0], [])) for row in rows}


def _stored(row: tuple[Any, ...], events: list[EventRow]) -> StoredInstance:
    return StoredInstance(
        id=row[0],
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
        created_at=row[11],
        closed_at=row[12],
        method=row[13],
        crashes=row[14],
        error=row[15],
        events=events,
    )
