"""The engine's face in SQLite: batches by `executemany`, and the claim of tasks."""

from __future__ import annotations

import json
from collections.abc import Sequence

from django_infinitic.machine.messages import Kind
from django_infinitic.storages.base import ClaimedTask, NotOwner, WriteSet
from django_infinitic.storages.batch import BY_TAG, Batch, PostRecord
from django_infinitic.storages.clients import NOBODY
from django_infinitic.storages.documents import CUSTOM_ID_TAG, as_key, pack, tag_rows
from django_infinitic.storages.lane import routed
from django_infinitic.storages.session import Sql
from django_infinitic.storages.sqlite.reading import SqliteReading


class SqliteEngine(SqliteReading):
    """`EngineStore` and `claim`."""

    def write(self, batch: WriteSet) -> None:
        """Write a batch in one transaction that starts with the fence, or raise a `StoreError`."""
        rows = Batch.of(batch, self.parts, self.delegated)
        try:
            with self.session.transaction() as sql:
                self.fence(sql)
                self._write(sql, rows)
                self.failpoint("store.before_commit")
        except NotOwner:
            self.forget()
            raise
        for timer in rows.timers_gone:
            self.given_timers.pop(timer, None)
        self.note_delegated(rows)
        self.failpoint("store.after_commit")

    def _write(self, sql: Sql, rows: Batch) -> None:
        key = as_key
        if rows.consumed:
            gone = sql.run(
                "DELETE FROM infinitic_message WHERE id IN (SELECT value FROM json_each(%s))",
                [json.dumps(rows.consumed)],
            )
            _expect(gone, len(rows.consumed), "messages")
        if rows.parked:
            sql.run(
                "UPDATE infinitic_message SET parked = true"
                " WHERE id IN (SELECT value FROM json_each(%s))",
                [json.dumps(rows.parked)],
            )
        if rows.done:
            gone = sql.many(
                "DELETE FROM infinitic_task WHERE id = %s AND attempt = %s",
                [(key(task), attempt) for task, attempt in rows.done],
            )
            _expect(gone, len(rows.done), "tasks")
        if rows.retried:
            freed = sql.many(
                "UPDATE infinitic_task SET worker = NULL, state = 0, ready_at = %s, body = %s"
                " WHERE id = %s AND attempt = %s",
                [(one.ready_at, one.body, key(one.id), one.attempt) for one in rows.retried],
            )
            _expect(freed, len(rows.retried), "tasks")
        for answered in rows.answered:
            self.do_late(sql, answered)
        if rows.timers_gone:
            sql.run(
                "DELETE FROM infinitic_timer WHERE id IN (SELECT value FROM json_each(%s))",
                [json.dumps([key(timer) for timer in rows.timers_gone])],
            )
        if rows.events:
            sql.many(
                "INSERT INTO infinitic_event (instance, stream, seq, step, body)"
                " VALUES (%s, %s, %s, %s, %s)",
                [(key(one.instance), *one[1:]) for one in rows.events],
            )
        self._write_children(sql, rows)
        for post in rows.posts:
            self._write_post(sql, post)
        self._write_tasks(sql, rows)
        if rows.timers:
            sql.many(
                "INSERT INTO infinitic_timer (id, part, instance, due, body) VALUES"
                " (%s, (SELECT part FROM infinitic_instance WHERE id = %s), %s, %s, %s)",
                [
                    (key(one.id), key(one.instance), key(one.instance), one.due, one.body)
                    for one in rows.timers
                ],
            )
        if rows.outcomes:
            sql.many(
                "INSERT INTO infinitic_outcome (method, instance, seq, status, body)"
                " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (method) DO UPDATE"
                " SET seq = excluded.seq, status = excluded.status, body = excluded.body",
                [(key(one.method), key(one.instance), *one[2:]) for one in rows.outcomes],
            )
        if rows.heads:
            sql.many(
                "UPDATE infinitic_instance SET version = %s, status = %s, streams = %s, open = %s,"
                " closed_at = %s, error = %s, queued = %s WHERE id = %s",
                [
                    (
                        *one[1:5],
                        None if one.closed_at is None else self.stamp(one.closed_at),
                        one.error,
                        one.queued,
                        key(one.instance),
                    )
                    for one in rows.heads
                ],
            )
        if rows.tags_ended:
            sql.many(
                "UPDATE infinitic_tag SET ended = true WHERE tag = %s AND NOT ended"
                " AND workflow = (SELECT workflow FROM infinitic_instance WHERE id = %s)"
                " AND instance = %s",
                [(tag, key(one), key(one)) for one, tag in rows.tags_ended],
            )

    def _write_children(self, sql: Sql, rows: Batch) -> None:
        for child in rows.children:
            made = sql.run(
                "INSERT INTO infinitic_instance (id, part, workflow, method, status, parent,"
                " requester, tags, meta, started_by, created_at)"
                " VALUES (%s, %s, %s, %s, 0, %s, %s, %s, %s, %s, %s) ON CONFLICT (id) DO NOTHING",
                [
                    as_key(child.id),
                    child.part,
                    child.workflow,
                    child.method,
                    None if child.parent is None else as_key(child.parent),
                    child.requester,
                    child.tags,
                    child.meta,
                    child.started_by,
                    self.stamp(self.now()),
                ],
            )
            if made != 1:
                continue
            names = tag_rows(child.tag_list)
            if names:
                sql.many(
                    "INSERT INTO infinitic_tag (tag, workflow, ended, instance)"
                    " VALUES (%s, %s, false, %s)",
                    [(name, child.workflow, as_key(child.id)) for name in names],
                )
            self.insert_message(sql, child.part, child.id, Kind.START, child.body)
        for start in rows.lane:
            self.insert_message(sql, start.part, start.instance, Kind.START, start.body)

    def _write_post(self, sql: Sql, post: PostRecord) -> None:
        if post.to == BY_TAG:
            self._write_to_tag(sql, post)
            return
        lane = self._lane_before(sql, post)
        if lane is None:
            self.deliver(sql, post)
        else:
            self.insert_message(sql, lane, post.target or post.sender, post.kind, routed(post))

    def _lane_before(self, sql: Sql, post: PostRecord) -> int | None:
        """The lane in which the start of the target may still wait: then the message waits too."""
        if post.target is None:
            found = sql.row(
                "SELECT part FROM infinitic_message WHERE part = %s AND NOT parked LIMIT 1",
                [post.lane],
            )
        else:
            found = sql.row(
                "SELECT m.part FROM infinitic_message m WHERE m.instance = %s AND NOT EXISTS ("
                "SELECT 1 FROM infinitic_instance i WHERE i.id = m.instance) LIMIT 1",
                [as_key(post.target)],
            )
        return None if found is None else int(found[0])

    def _write_to_tag(self, sql: Sql, post: PostRecord) -> None:
        if post.value.startswith(CUSTOM_ID_TAG):
            condition, params = self.target(
                post.workflow or "", "custom", post.value.removeprefix(CUSTOM_ID_TAG)
            )
        elif self._are_many(sql, post):
            fan = {
                "tag": post.value,
                "workflow": post.workflow,
                "after": "",
                "sender": post.sender,
            }
            body = pack({"fan": fan, "body": post.body.hex()})
            self.insert_message(sql, post.lane, NOBODY, post.kind, body)
            return
        else:
            condition = (
                "i.closed_at IS NULL AND i.id IN (SELECT g.instance FROM infinitic_tag g"
                " WHERE g.tag = %s AND g.workflow = %s AND NOT g.ended)"
            )
            params = [post.value, post.workflow]
        sql.run(
            "INSERT INTO infinitic_message (part, instance, kind, created, body)"
            f" SELECT i.part, i.id, %s, {self.clock_sql()}, %s FROM infinitic_instance i"
            f" WHERE {condition} AND i.id <> %s ORDER BY i.id",
            [post.kind, post.body, *params, as_key(post.sender)],
        )

    def _are_many(self, sql: Sql, post: PostRecord) -> bool:
        found = sql.row(
            "SELECT count(*) FROM (SELECT 1 FROM infinitic_tag"
            " WHERE tag = %s AND workflow = %s AND NOT ended LIMIT %s) t",
            [post.value, post.workflow, self.tag_limit + 2],
        )
        return found is not None and found[0] > self.tag_limit + 1

    def _write_tasks(self, sql: Sql, rows: Batch) -> None:
        if rows.tasks:
            sql.many(
                "INSERT INTO infinitic_task (id, instance, part, workflow, service, name, stream,"
                " position, attempt, worker, state, delegated, ready_at, body) VALUES (%s, %s,"
                " (SELECT part FROM infinitic_instance WHERE id = %s),"
                " %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                [
                    (
                        as_key(one.id),
                        as_key(one.instance),
                        as_key(one.instance),
                        *one[2:8],
                        self.me if one.claimed else None,
                        int(one.claimed),
                        one.delegated,
                        one.ready_at,
                        one.body,
                    )
                    for one in rows.tasks
                ],
            )
        for task in rows.canceled:
            self.cancel_late(sql, task, 1)
        for task in rows.expired:
            self.cancel_late(sql, task, 2)

    # -- tasks -----------------------------------------------------------------------------

    def claim(self, services: Sequence[str] | None, limit: int) -> list[ClaimedTask]:
        """Take ready tasks of these services (None: all); attempt rises by one.

        It asks before it takes the write lock, which an idle worker must not do.
        """
        condition, params = "state = 0 AND ready_at <= %s", [self.now()]
        if services is not None:
            condition += " AND service IN (SELECT value FROM json_each(%s))"
            params.append(json.dumps(list(services)))  # type: ignore[arg-type]
        with self.session.reading() as sql:
            if not sql.exists(f"infinitic_task WHERE {condition} LIMIT 1", params):
                return []
        with self.session.transaction() as sql:
            self.fence(sql)
            ready = sql.rows(
                f"SELECT id FROM infinitic_task WHERE {condition}"
                " ORDER BY priority DESC, ready_at, id LIMIT %s",
                [*params, limit],
            )
            rows = sql.rows(
                "UPDATE infinitic_task SET worker = %s, state = 1, attempt = attempt + 1,"
                " ready_at = %s WHERE id IN (SELECT value FROM json_each(%s))"
                " RETURNING id, instance, workflow, service, name, attempt, body",
                [self.me or None, self.now(), json.dumps([id for (id,) in ready])],
            )
        found = {row[0]: row for row in rows}
        return [self.claimed(found[id]) for (id,) in ready]


def _expect(found: int, wanted: int, what: str) -> None:
    if found != wanted:
        raise NotOwner(f"{wanted - found} of {wanted} {what} were taken by somebody else.")
