"""The starter lane: what would make the engine wait is done here, one short transaction each.

In it are starts with a custom id, which wait for a user's claim (A5), messages that must not pass
such a start, and messages to tags that many instances have. One lane per workflow, in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from django_infinitic.machine.messages import Kind
from django_infinitic.machine.statuses import DeferredStatus, OutcomeStatus
from django_infinitic.storages.base import DefiniteRollback, Doc, RefusedData, Started
from django_infinitic.storages.batch import (
    BY_CUSTOM_ID,
    BY_ID,
    AnsweredRecord,
    PostRecord,
    canceled_report,
)
from django_infinitic.storages.clients import NOBODY, SqlClients
from django_infinitic.storages.documents import (
    as_id,
    is_lane,
    lane_of,
    pack,
    part_of,
    unpack,
)
from django_infinitic.storages.session import Sql
from django_infinitic.storages.starts import OtherMethodError, Start
from django_infinitic.storages.tasks import HELD

PAGE: Final = 50
LONG_PATIENCE, SHORT_PATIENCE = 5.0, 0.05
"""Seconds to wait for a lock: for the first that is locked, and for the others of the call."""

JOIN_USAGE: Final = -1
"""The status by which a start is told that it asked for another method than the holder's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneMessage:
    """A row of the lane."""

    row: int
    instance: str
    kind: int
    doc: Doc

    @property
    def subjects(self) -> set[tuple[Any, ...]]:
        """What it is about: of one subject the order is kept."""
        doc = self.doc
        if "fan" in doc:
            return {("tag", doc["fan"]["workflow"], doc["fan"]["tag"])}
        if "task" in doc:
            return {("task", doc["task"])}
        if "post" not in doc:
            return {(self.instance,), (doc["workflow"], doc["custom_id"])}
        post = doc["post"]
        if post["to"] == BY_CUSTOM_ID:
            return {(post["workflow"], post["value"])}
        return {(self.instance,)}


class SqlLane(SqlClients):
    """Working off the lane."""

    def start_from_lane(self, parts: Sequence[int]) -> bool:
        """Work off one start with a custom id (the starter lane); whether there was one.

        It may wait up to 5 s for a transaction of a user, once per call. What had to wait too
        long is left for the next call, with all that comes after it and is about the same.
        """
        lanes = [part for part in parts if is_lane(part)]
        held: set[tuple[Any, ...]] = set()
        for message in self.lane_messages(lanes) if lanes else ():
            if message.subjects & held:
                held |= message.subjects
                continue
            try:
                self._one(message, SHORT_PATIENCE if held else LONG_PATIENCE)
            except DefiniteRollback:
                held |= message.subjects
            except RefusedData as error:
                self._refused(message, error)
                return True
            else:
                return True
        return False

    def lane_messages(self, lanes: Sequence[int]) -> list[LaneMessage]:
        """The first messages of these lanes, in order."""
        raise NotImplementedError

    def _one(self, message: LaneMessage, patience: float) -> None:
        with self.session.transaction() as sql:
            self.fence(sql)
            self.be_patient(sql, patience)
            if not self._taken(sql, message):
                return
            doc = message.doc
            if "fan" in doc:
                self._fan_out(sql, message.kind, doc)
            elif "post" in doc:
                self._pass_on(sql, message)
            elif "cancel" in doc:
                self.cancel_late(sql, doc["task"], doc["cancel"])
            elif "late" in doc:
                body = bytes.fromhex(doc["body"])
                self.do_late(
                    sql,
                    AnsweredRecord(doc["task"], doc["late"], doc["attempt"], doc["ready_at"], body),
                )
            else:
                self._start(sql, doc)

    def _taken(self, sql: Sql, message: LaneMessage) -> bool:
        return bool(sql.run("DELETE FROM infinitic_message WHERE id = %s", [message.row]))

    def _refused(self, message: LaneMessage, error: RefusedData) -> None:
        """Poison must not hold up the lane: its sender is told instead."""
        with self.session.transaction() as sql:
            self.fence(sql)
            if self._taken(sql, message) and "requester" in message.doc:
                text = f"The database refuses this start: {error}"
                self._answer(sql, message.doc["requester"], JOIN_USAGE, {"usage": text})

    # -- starts ----------------------------------------------------------------------------

    def _start(self, sql: Sql, doc: Doc) -> None:
        start = Start(
            id=doc["id"],
            workflow=doc["workflow"],
            part=part_of(doc["workflow"], doc["id"], self.parts),
            method=doc["method"],
            tags=doc["tags"],
            meta=doc["meta"],
            custom_id=doc["custom_id"],
            once=doc["once"],
            started_by=doc["started_by"],
            doc=doc["start"],
        )
        requester = doc["requester"]
        for _ in range(2):
            try:
                started = self.begin(sql, start)
            except OtherMethodError as error:
                self._answer(sql, requester, JOIN_USAGE, {"usage": str(error)})
                return
            if started.created or self._joined(sql, start, started, requester):
                return

    def _joined(self, sql: Sql, start: Start, started: Started, requester: Doc) -> bool:
        """Let the requester wait for the holder; False: that has ended this very moment."""
        if not started.closed:
            doc = {"id": None, "join": True, "from": requester, "method": start.method}
            return bool(
                self.post_to_one(sql, "", "id", started.id, Kind.METHOD, pack(doc), limited=False)
            )
        found = sql.row(
            "SELECT status, body FROM infinitic_outcome WHERE method = %s", [self.key(started.id)]
        )
        if found is None:
            self._answer(sql, requester, int(DeferredStatus.UNKNOWN), None)
            return True
        status, body = found
        outcome = unpack(body)
        if status in (OutcomeStatus.STALLED, OutcomeStatus.ONGOING):
            status = DeferredStatus.FAILED
        self._answer(sql, requester, int(status), outcome.get("v", outcome.get("e")))
        return True

    def _answer(self, sql: Sql, requester: Doc, status: int, value: Any) -> None:
        if not requester:
            return
        doc = {"s": requester["s"], "p": requester["p"], "status": status, "value": value}
        self.post_to_one(sql, "", "id", requester["i"], Kind.OUTCOME, pack(doc), limited=False)

    # -- messages --------------------------------------------------------------------------

    def _pass_on(self, sql: Sql, message: LaneMessage) -> None:
        post, unknown = message.doc["post"], message.doc["unknown"]
        record = PostRecord(
            to=post["to"],
            workflow=post["workflow"],
            target=as_id(message.instance) if post["to"] == BY_ID else None,
            value=post["value"],
            lane=0,
            kind=message.kind,
            body=bytes.fromhex(message.doc["body"]),
            sender=post["sender"],
            unknown=None if unknown is None else bytes.fromhex(unknown),
        )
        self.deliver(sql, record)

    def deliver(self, sql: Sql, post: PostRecord) -> None:
        """Deliver a message of an instance by id or custom id, or tell its sender."""
        to, value = ("id", post.target or "") if post.to == BY_ID else ("custom", post.value)
        workflow = post.workflow or ""
        reached = self.post_to_one(sql, workflow, to, value, post.kind, post.body, limited=False)
        if not reached and post.unknown is not None:
            self.post_to_one(sql, "", "id", post.sender, Kind.OUTCOME, post.unknown, limited=False)

    def _fan_out(self, sql: Sql, kind: int, doc: Doc) -> None:
        fan, body = doc["fan"], bytes.fromhex(doc["body"])
        rows = sql.rows(
            "SELECT i.id, i.part FROM infinitic_tag g"
            " JOIN infinitic_instance i ON i.id = g.instance WHERE"
            " g.tag = %s AND g.workflow = %s AND NOT g.ended AND i.closed_at IS NULL"
            " AND i.id > %s AND i.id <> %s ORDER BY i.id LIMIT %s",
            [
                fan["tag"],
                fan["workflow"],
                self.key(fan["after"] or NOBODY),
                self.key(fan.get("sender") or NOBODY),
                self.tag_limit,
            ],
        )
        for id, part in rows:
            self.insert_message(sql, part, self.id(id), kind, body)
        if len(rows) == self.tag_limit:
            rest = {**doc, "fan": {**fan, "after": self.id(rows[-1][0])}}
            self.insert_message(sql, lane_of(fan["workflow"]), NOBODY, kind, pack(rest))

    def do_late(self, sql: Sql, record: AnsweredRecord) -> None:
        """Do what has become of an attempt to its row, if that is still there."""
        which = [self.key(record.id), record.attempt]
        if record.what == "done":
            sql.run(f"DELETE FROM infinitic_task WHERE {HELD}", which)
            return
        if record.what == "retried":
            sql.run(
                "UPDATE infinitic_task SET worker = NULL, state = 0, ready_at = %s, body = %s"
                f" WHERE {HELD}",
                [record.ready_at, record.body, *which],
            )
        elif record.what == "freed":
            sql.run(
                "UPDATE infinitic_task SET worker = NULL, state = 0, attempt = attempt + 1,"
                f" ready_at = {self.clock_sql()} WHERE {HELD}",
                which,
            )
        else:
            sql.run(
                "UPDATE infinitic_task SET worker = NULL, state = 2, delegated = true"
                f" WHERE {HELD}",
                which,
            )
        marked = sql.row(
            "SELECT mode FROM infinitic_task WHERE id = %s AND state <> 1 AND mode <> 0",
            [self.key(record.id)],
        )
        if marked is not None:
            self.cancel_late(sql, record.id, marked[0])

    def cancel_late(self, sql: Sql, task: str, mode: int) -> None:
        """Cancel (1) or expire (2) a task: it ends if nobody runs it, else it is marked."""
        states = "state <> 1" if mode == 1 else "state = 0"
        gone = sql.row(
            f"DELETE FROM infinitic_task WHERE id = %s AND {states}"
            " RETURNING instance, part, stream, position",
            [self.key(task)],
        )
        if gone is not None and mode == 1:
            instance, part, stream, position = gone
            report = canceled_report(task, stream, position)
            self.insert_message(sql, part, self.id(instance), Kind.REPORT, report)
        elif gone is None:
            sql.run(
                "UPDATE infinitic_task SET mode = %s"
                " WHERE id = %s AND state = 1 AND (mode = 0 OR %s = 1)",
                [mode, self.key(task), mode],
            )


def routed(post: PostRecord) -> bytes:
    """The body of a message in the lane that is passed on when its turn comes."""
    return pack(
        {
            "post": {
                "to": post.to,
                "workflow": post.workflow,
                "value": post.value,
                "sender": post.sender,
            },
            "body": post.body.hex(),
            "unknown": None if post.unknown is None else post.unknown.hex(),
        }
    )
