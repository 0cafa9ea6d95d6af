"""What is done beside the batches: looking whether one was written, notes, retention."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from django_infinitic.machine.statuses import InstanceStatus
from django_infinitic.storages.base import NotedWait, WriteSet
from django_infinitic.storages.batch import Batch
from django_infinitic.storages.documents import tag_rows
from django_infinitic.storages.session import Sql
from django_infinitic.storages.sql import SECOND, SqlStorage, marks

PRUNE_SECONDS: Final = 60.0
"""A history may have many rows; one that could never be deleted would hold up all others."""

DEAD_WORKERS_KEPT: Final = 24 * 3600 * SECOND


class SqlUpkeep(SqlStorage):
    """The look after an unknown outcome, blocking, notes of waits, and retention."""

    def written(self, batch: WriteSet) -> bool:
        """After an unknown outcome and a retirement: whether the batch was committed.

        Its first event tells; without one, the first row that it takes away, which nobody else
        does. A batch without either can be written again.
        """
        rows = Batch.of(batch, self.parts)
        there, found = False, False
        with self.session.transaction() as sql:
            if rows.events:
                event = rows.events[0]
                there = True
                found = sql.exists(
                    "infinitic_event WHERE instance = %s AND stream = %s AND seq = %s",
                    [self.key(event.instance), event.stream, event.seq],
                )
            elif rows.consumed:
                found = sql.exists("infinitic_message WHERE id = %s", [rows.consumed[0]])
            elif rows.done:
                task, attempt = rows.done[0]
                found = sql.exists(
                    "infinitic_task WHERE id = %s AND attempt = %s", [self.key(task), attempt]
                )
            elif rows.timers_gone:
                found = sql.exists("infinitic_timer WHERE id = %s", [self.key(rows.timers_gone[0])])
            else:
                return False
        return found is there

    def block(self, instance: str, error: str) -> None:
        """Show a running instance as BLOCKED, with the reason (A2)."""
        with self.session.transaction() as sql:
            self.fence(sql)
            sql.run(
                "UPDATE infinitic_instance SET status = %s, error = %s"
                " WHERE id = %s AND closed_at IS NULL",
                [int(InstanceStatus.BLOCKED), error, self.key(instance)],
            )

    def unblock(self, instance: str) -> None:
        """A person repairs a blocked instance: it runs again, its crashes are forgotten, and its
        parked messages are read again, in order (B9)."""
        key = self.key(instance)
        with self.session.transaction() as sql:
            self.fence(sql)
            sql.run(
                "UPDATE infinitic_instance SET status = %s, crashes = 0, error = ''"
                " WHERE id = %s AND status = %s",
                [int(InstanceStatus.RUNNING), key, int(InstanceStatus.BLOCKED)],
            )
            sql.run(
                "UPDATE infinitic_message SET parked = false WHERE instance = %s AND parked", [key]
            )
            part = sql.row("SELECT part FROM infinitic_instance WHERE id = %s", [key])
        if part is not None:
            self.forget([int(part[0])])

    def note_waits(self, waits: Sequence[NotedWait]) -> None:
        """Write what instances wait for, for the lists of people; `kind` None clears it."""
        with self.session.transaction() as sql:
            self.fence(sql)
            for wait in sorted(waits, key=lambda one: one.instance):
                nothing = wait.kind is None
                sql.run(
                    "UPDATE infinitic_instance"
                    " SET waiting_kind = %s, waiting_for = %s, waiting_since = %s WHERE id = %s",
                    [
                        wait.kind,
                        None if nothing else wait.text,
                        None if nothing else self.stamp(wait.since),
                        self.key(wait.instance),
                    ],
                )

    def prune(self, before: int, limit: int = 100) -> int:
        """Delete up to `limit` instances that closed before a time, with all their rows, and rows
        of workers long dead; how many instances.

        What somebody has locked (a row of his own, a custom id) is left to the next call.
        """
        with self.session.transaction() as sql:
            self.take_time(sql, PRUNE_SECONDS)
            old = sql.rows(
                "SELECT id, workflow, custom_id, tags, part FROM infinitic_instance"
                " WHERE closed_at IS NOT NULL AND closed_at < %s"
                f" ORDER BY closed_at LIMIT %s{self.skip_locked}",
                [self.stamp(before), limit],
            )
            if old:
                self._delete(sql, old)
            sql.run(
                "DELETE FROM infinitic_worker WHERE dead AND expires_at < %s",
                [self.stamp(self.time(sql) - DEAD_WORKERS_KEPT)],
            )
        return len(old)

    def _delete(self, sql: Sql, old: Sequence[tuple[Any, ...]]) -> None:
        keys = [row[0] for row in old]
        parts = sorted({row[4] for row in old})
        for id, workflow, custom_id, tags, _ in old:
            names = tag_rows(tags if isinstance(tags, list) else json.loads(tags))
            if names:
                sql.run(
                    f"DELETE FROM infinitic_tag WHERE tag IN ({marks(names)}) AND workflow = %s"
                    " AND instance = %s",
                    [*names, workflow, id],
                )
            if custom_id is not None:
                sql.run(
                    "DELETE FROM infinitic_custom_id WHERE custom_id = %s AND workflow = %s"
                    " AND instance = (SELECT c.instance FROM infinitic_custom_id c"
                    " WHERE c.custom_id = %s AND c.workflow = %s AND c.instance = %s"
                    f"{self.skip_locked})",
                    [custom_id, workflow, custom_id, workflow, id],
                )
        ids = marks(keys)
        for table in ("event", "message", "task", "outcome"):
            sql.run(f"DELETE FROM infinitic_{table} WHERE instance IN ({ids})", keys)
        sql.run(
            f"DELETE FROM infinitic_timer WHERE part IN ({marks(parts)}) AND instance IN ({ids})",
            [*parts, *keys],
        )
        sql.run(f"DELETE FROM infinitic_instance WHERE id IN ({ids})", keys)
