"""The engine's face in PostgreSQL: a batch is one pipeline, its assertions are the server's."""

from __future__ import annotations

import base64
import time as machine_time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connections

from django_infinitic.storages.base import ClaimedTask, Doc, NotOwner, WriteSet
from django_infinitic.storages.batch import Batch
from django_infinitic.storages.clients import NOBODY
from django_infinitic.storages.documents import pack, to_json
from django_infinitic.storages.postgresql import statements
from django_infinitic.storages.postgresql.acts import PostgresqlActs
from django_infinitic.storages.postgresql.session import (
    ids,
    numbers,
    some_ids,
)
from django_infinitic.storages.postgresql.wire import Statement
from django_infinitic.storages.sql import SECOND
from django_infinitic.storages.tasks import report_of

LAG = 10 * SECOND
"""A task is inserted so long after its `ready_at` at most (B2)."""

SWEEP = 60.0
"""Seconds after which a claim looks at all tasks again."""


_TASK_COLUMNS: tuple[tuple[str, Callable[[Any], object]], ...] = (
    ("ids", ids),
    ("instances", ids),
    ("workflows", list),
    ("services", list),
    ("names", list),
    ("streams", numbers),
    ("positions", numbers),
    ("attempts", numbers),
    ("claimed", numbers),
    ("delegated", numbers),
    ("ready", numbers),
    ("bodies", list),
)
"""How each field of a `TaskRecord` becomes a parameter."""


_ANSWERED = {
    "done": (statements.ANSWERED_DONE,),
    "retried": (statements.ANSWERED_RETRIED,),
    "delegated": (statements.DELEGATED, statements.DELEGATED_CANCELED),
}


@dataclass(slots=True)
class Claims:
    """What is known from claims of these services: from where to look, and when all was seen."""

    asked: tuple[str, ...] | None
    since: float
    floor: int = 0
    idle: bool = False


class PostgresqlEngine(PostgresqlActs):
    """`EngineStore`, `claim` and `finish`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._claims = Claims(asked=None, since=0.0)

    # -- writing ----------------------------------------------------------------------------

    def write(self, batch: WriteSet) -> None:
        """Write a batch in one transaction that starts with the fence, or raise a `StoreError`."""
        rows = Batch.of(batch, self.parts, self.delegated)
        wanted = list(self._statements(rows))
        if not wanted:
            return
        self.failpoint("store.before_commit")
        try:
            self.session.write([*self._fences(), *wanted])
        except NotOwner:
            self.forget()
            raise
        self.consumed(rows.consumed, rows.timers_gone)
        self.consumed(rows.parked, ())
        self.note_delegated(rows)
        self.failpoint("store.after_commit")

    def _fences(self) -> list[Statement]:
        return [(statements.FENCE, {"me": self.me})] if self.me else []

    def _statements(self, rows: Batch) -> Iterator[Statement]:
        """A statement for each set that is not empty, in an order that lets each see what it must:
        what goes before what comes, children before messages to them."""
        if rows.consumed:
            yield statements.CONSUME, {"ids": numbers(rows.consumed), "n": len(rows.consumed)}
        if rows.parked:
            yield statements.PARK, {"ids": numbers(rows.parked)}
        yield from self._own_tasks(rows)
        if rows.timers_gone:
            yield statements.DROP_TIMERS, {"ids": ids(rows.timers_gone)}
        if rows.events:
            instances, streams, seqs, steps, bodies = zip(*rows.events, strict=True)
            yield (
                statements.EVENTS,
                {
                    "instances": ids(instances),
                    "streams": numbers(streams),
                    "seqs": numbers(seqs),
                    "steps": numbers(steps),
                    "bodies": list(bodies),
                },
            )
        yield from self._messages(rows)
        yield from self._new_tasks(rows)
        if rows.timers:
            timers, instances, due, bodies = zip(*rows.timers, strict=True)
            yield self.statement(
                statements.TIMERS,
                ids=ids(timers),
                instances=ids(instances),
                due=numbers(due),
                bodies=list(bodies),
            )
        if rows.outcomes:
            methods, instances, seqs, statuses, bodies = zip(*rows.outcomes, strict=True)
            yield (
                statements.OUTCOMES,
                {
                    "methods": ids(methods),
                    "instances": ids(instances),
                    "seqs": numbers(seqs),
                    "statuses": numbers(statuses),
                    "bodies": list(bodies),
                },
            )
        if rows.tags_ended:
            instances, tags = zip(*rows.tags_ended, strict=True)
            yield statements.END_TAGS, {"instances": ids(instances), "tags": list(tags)}
        if rows.heads:
            yield (
                statements.HEADS,
                {
                    "ids": ids([one.instance for one in rows.heads]),
                    "rows": to_json({one.instance: one[1:] for one in rows.heads}),
                },
            )

    def _own_tasks(self, rows: Batch) -> Iterator[Statement]:
        if rows.done:
            attempts = dict(rows.done)
            yield (
                statements.DONE,
                {"ids": ids(attempts), "attempts": to_json(attempts), "n": len(rows.done)},
            )
        if rows.retried:
            values = {
                id: (attempt, ready_at, base64.b64encode(body).decode())
                for id, attempt, ready_at, body in rows.retried
            }
            yield (
                statements.RETRIED,
                {"ids": ids(values), "rows": to_json(values), "n": len(rows.retried)},
            )
        if rows.answered:
            known = {
                id: (attempt, what, ready_at, body.hex())
                for id, what, attempt, ready_at, body in rows.answered
            }
            answered = self.params(ids=ids(known), rows=to_json(known))
            present = {one.what for one in rows.answered}
            for what, texts in _ANSWERED.items():
                if what in present:
                    for text in texts:
                        yield self.text(text), answered
            yield self.text(statements.ANSWERED_LATE), answered

    def _messages(self, rows: Batch) -> Iterator[Statement]:
        if rows.children:
            yield self.statement(
                statements.CHILDREN,
                ids=ids([one.id for one in rows.children]),
                parts=numbers([one.part for one in rows.children]),
                workflows=[one.workflow for one in rows.children],
                methods=[one.method for one in rows.children],
                parents=some_ids([one.parent for one in rows.children]),
                requesters=[one.requester for one in rows.children],
                tags=[one.tags for one in rows.children],
                metas=[one.meta for one in rows.children],
                started_bys=[one.started_by for one in rows.children],
                bodies=[one.body for one in rows.children],
            )
        if rows.lane:
            parts, instances, bodies = zip(*rows.lane, strict=True)
            yield self.statement(
                statements.LANE_STARTS,
                parts=numbers(parts),
                ids=ids(instances),
                bodies=list(bodies),
            )
        if rows.posts:
            yield self.statement(
                statements.POSTS,
                to=numbers([one.to for one in rows.posts]),
                workflows=[one.workflow or "" for one in rows.posts],
                targets=some_ids([one.target for one in rows.posts]),
                values=[one.value for one in rows.posts],
                lanes=numbers([one.lane for one in rows.posts]),
                kinds=numbers([one.kind for one in rows.posts]),
                bodies=[one.body for one in rows.posts],
                senders=ids([one.sender for one in rows.posts]),
                unknown=[one.unknown or b"" for one in rows.posts],
                tag_limit=self.tag_limit,
                nobody=NOBODY,
            )

    def _new_tasks(self, rows: Batch) -> Iterator[Statement]:
        if rows.tasks:
            columns = zip(*rows.tasks, strict=True)
            values: dict[str, Any] = {
                name: convert(column)
                for (name, convert), column in zip(_TASK_COLUMNS, columns, strict=True)
            }
            yield statements.TASKS, {"me": self.me or None, **values}
        for which, mode, text in (
            (rows.canceled, 1, statements.CANCEL),
            (rows.expired, 2, statements.EXPIRE),
        ):
            if which:
                values = self.params(ids=ids(sorted(which)), mode=mode)
                for each in (text, statements.MARK, statements.LEAVE):
                    yield self.text(each), values

    # -- tasks ------------------------------------------------------------------------------

    def claim(self, services: Sequence[str] | None, limit: int) -> list[ClaimedTask]:
        """Take ready tasks of these services (None: all); attempt rises by one.

        One round trip; after one that found nothing, the next asks first, as a claim is a commit
        even without a row. What was ready long before a claim that found all is not looked at again
        for a minute, as in the index it lies behind the rows of tasks that have ended (B2).
        """
        if limit < 1 or (services is not None and not services):
            return []
        asked = None if services is None else tuple(sorted(services))
        now = machine_time.monotonic()
        if self._claims.asked != asked or now - self._claims.since > SWEEP:
            self._claims = Claims(asked=asked, since=now)
        claims = self._claims
        names = statements.SERVICES if asked is None else "SELECT unnest(%(services)b::text[])"
        values = self.params(
            services=list(asked or ()), floor=claims.floor, limit=limit, me=self.me or None
        )

        def statement(text: str) -> Statement:
            return self.text(text.replace("$SERVICES", names)), values

        if claims.idle and not self.session.read([statement(statements.READY)])[0]:
            return []
        *_, rows, clock = self.session.write(
            [
                *self._fences(),
                statement(statements.CLAIM),
                self.statement("SELECT $STATEMENT"),
            ]
        )
        claims.idle = not rows
        if len(rows) < limit and self.clock is None:
            claims.floor = clock[0][0] - LAG
        return [self.claimed(row) for row in rows]

    def finish(self, task: ClaimedTask, doc: Doc) -> bool:
        """Delete the task and post `doc` (Kind.REPORT); False: not ours any more, dropped.

        Inside the caller's transaction when there is one (`atomic=True` tasks). One statement.
        """
        text, values = self.statement(
            statements.FINISH,
            id=task.id,
            attempt=task.attempt,
            body=pack(report_of(task, doc)),
        )
        if connections[self.alias].in_atomic_block:
            with self.session.act() as sql:
                found = sql.row(text, values)
            return found is not None and found[0] == 1
        ((row,),) = self.session.write([(text, values)])
        return bool(row[0] == 1)
