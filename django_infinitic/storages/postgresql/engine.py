"""The engine's face in PostgreSQL: a batch is one pipeline, its assertions are the server's."""

from __future__ import annotations

import base64
import time as machine_time
from collections.abc import Iterator, Sequence

from django.db import connections

from django_infinitic.storages.base import ClaimedTask, Doc, NotOwner, WriteSet
from django_infinitic.storages.batch import Batch
from django_infinitic.storages.documents import pack, to_json
from django_infinitic.storages.postgresql import statements
from django_infinitic.storages.postgresql.acts import PostgresqlActs
from django_infinitic.storages.postgresql.session import Statement, array
from django_infinitic.storages.sql import SECOND
from django_infinitic.storages.tasks import report_of

LAG = 10 * SECOND
"""A task is inserted so long after its `ready_at` at most (B2)."""

SWEEP = 60.0
"""Seconds after which a claim looks at all tasks again."""


class PostgresqlEngine(PostgresqlActs):
    """`EngineStore`, `claim` and `finish`."""

    _claim_floor: tuple[object, int, float] = (None, 0, 0.0)

    # -- writing ----------------------------------------------------------------------------

    def write(self, batch: WriteSet) -> None:
        """Write a batch in one transaction that starts with the fence, or raise a `StoreError`."""
        rows = Batch.of(batch, self.parts)
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
        self.failpoint("store.after_commit")

    def _fences(self) -> list[Statement]:
        return [(statements.FENCE, {"me": self.me})] if self.me else []

    def _statements(self, rows: Batch) -> Iterator[Statement]:
        """A statement for each set that is not empty, in an order that lets each see what it must:
        what goes before what comes, children before messages to them."""
        if rows.consumed:
            yield statements.CONSUME, {"ids": array(rows.consumed), "n": len(rows.consumed)}
        if rows.parked:
            yield statements.PARK, {"ids": array(rows.parked)}
        yield from self._own_tasks(rows)
        if rows.timers_gone:
            yield statements.DROP_TIMERS, {"ids": array(rows.timers_gone)}
        if rows.events:
            instances, streams, seqs, steps, bodies = zip(*rows.events, strict=True)
            yield (
                statements.EVENTS,
                {
                    "instances": array(instances),
                    "streams": array(streams),
                    "seqs": array(seqs),
                    "steps": array(steps),
                    "bodies": list(bodies),
                },
            )
        yield from self._messages(rows)
        yield from self._new_tasks(rows)
        if rows.timers:
            yield self.statement(
                statements.TIMERS,
                ids=array([one.id for one in rows.timers]),
                instances=array([one.instance for one in rows.timers]),
                due=array([one.due for one in rows.timers]),
                bodies=[one.body for one in rows.timers],
            )
        if rows.outcomes:
            yield (
                statements.OUTCOMES,
                {
                    "methods": array([one.method for one in rows.outcomes]),
                    "instances": array([one.instance for one in rows.outcomes]),
                    "seqs": array([one.seq for one in rows.outcomes]),
                    "statuses": array([one.status for one in rows.outcomes]),
                    "bodies": [one.body for one in rows.outcomes],
                },
            )
        if rows.tags_ended:
            yield (
                statements.END_TAGS,
                {
                    "instances": array([one for one, _ in rows.tags_ended]),
                    "tags": [tag for _, tag in rows.tags_ended],
                },
            )
        if rows.heads:
            yield (
                statements.HEADS,
                {
                    "ids": array([one.instance for one in rows.heads]),
                    "rows": to_json({one.instance: one[1:] for one in rows.heads}),
                },
            )

    def _own_tasks(self, rows: Batch) -> Iterator[Statement]:
        for text, which in ((statements.DONE, rows.done), (statements.DELEGATED, rows.delegated)):
            if which:
                yield (
                    text,
                    {
                        "ids": array([id for id, _ in which]),
                        "attempts": to_json(dict(which)),
                        "n": len(which),
                    },
                )
        if rows.delegated:
            yield self.statement(
                statements.DELEGATED_CANCELED, ids=array([id for id, _ in rows.delegated])
            )
        if rows.retried:
            yield (
                statements.RETRIED,
                {
                    "ids": array([one.id for one in rows.retried]),
                    "rows": to_json(
                        {
                            one.id: (
                                one.attempt,
                                one.ready_at,
                                base64.b64encode(one.body).decode(),
                            )
                            for one in rows.retried
                        }
                    ),
                    "n": len(rows.retried),
                },
            )

    def _messages(self, rows: Batch) -> Iterator[Statement]:
        if rows.children:
            yield self.statement(
                statements.CHILDREN,
                ids=array([one.id for one in rows.children]),
                parts=array([one.part for one in rows.children]),
                workflows=[one.workflow for one in rows.children],
                methods=[one.method for one in rows.children],
                parents=array([one.parent for one in rows.children]),
                requesters=[one.requester for one in rows.children],
                tags=[one.tags for one in rows.children],
                metas=[one.meta for one in rows.children],
                started_bys=[one.started_by for one in rows.children],
                bodies=[one.body for one in rows.children],
            )
        if rows.lane:
            yield self.statement(
                statements.LANE_STARTS,
                parts=array([one.part for one in rows.lane]),
                ids=array([one.instance for one in rows.lane]),
                bodies=[one.body for one in rows.lane],
            )
        if rows.posts:
            yield self.statement(
                statements.POSTS,
                to=array([one.to for one in rows.posts]),
                workflows=[one.workflow or "" for one in rows.posts],
                targets=array([one.target for one in rows.posts]),
                values=[one.value for one in rows.posts],
                lanes=array([one.lane for one in rows.posts]),
                kinds=array([one.kind for one in rows.posts]),
                bodies=[one.body for one in rows.posts],
                senders=array([one.sender for one in rows.posts]),
                unknown=[one.unknown or b"" for one in rows.posts],
            )

    def _new_tasks(self, rows: Batch) -> Iterator[Statement]:
        tasks = rows.tasks
        if tasks:
            yield (
                statements.TASKS,
                {
                    "me": self.me or None,
                    "ids": array([one.id for one in tasks]),
                    "instances": array([one.instance for one in tasks]),
                    "workflows": [one.workflow for one in tasks],
                    "services": [one.service for one in tasks],
                    "names": [one.name for one in tasks],
                    "streams": array([one.stream for one in tasks]),
                    "positions": array([one.position for one in tasks]),
                    "attempts": array([one.attempt for one in tasks]),
                    "claimed": array([one.claimed for one in tasks]),
                    "delegated": array([one.delegated for one in tasks]),
                    "ready": array([one.ready_at for one in tasks]),
                    "bodies": [one.body for one in tasks],
                },
            )
        for which, mode, text in (
            (rows.canceled, 1, statements.CANCEL),
            (rows.expired, 2, statements.EXPIRE),
        ):
            if which:
                values = self.params(ids=array(sorted(which)), mode=mode)
                for each in (text, statements.MARK, statements.LEAVE):
                    yield self.text(each), values

    # -- tasks ------------------------------------------------------------------------------

    def claim(self, services: Sequence[str] | None, limit: int) -> list[ClaimedTask]:
        """Take ready tasks of these services (None: all); attempt rises by one.

        One round trip. What was ready long before a claim that found all is not looked at again
        for a minute, as in an index it lies behind the rows of tasks that have ended (B2).
        """
        if limit < 1 or (services is not None and not services):
            return []
        asked = None if services is None else tuple(sorted(services))
        known, floor, since = self._claim_floor
        now = machine_time.monotonic()
        if known != asked or now - since > SWEEP:
            floor, since = 0, now
        names = statements.SERVICES if asked is None else "SELECT unnest(%(services)b::text[])"
        *_, rows, clock = self.session.write(
            [
                *self._fences(),
                self.statement(
                    statements.CLAIM.replace("$SERVICES", names),
                    services=list(asked or ()),
                    floor=floor,
                    limit=limit,
                    me=self.me or None,
                ),
                self.statement("SELECT $STATEMENT"),
            ]
        )
        if len(rows) < limit and self.clock is None:
            floor = clock[0][0] - LAG
        self._claim_floor = (asked, floor, since)
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
        ((row,),) = self.session.read([(text, values)])
        return bool(row[0] == 1)
