"""Tasks: what becomes of an attempt (B8). A claim is (worker, attempt)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from django.db import connections

from django_infinitic.machine.messages import Kind
from django_infinitic.machine.statuses import DeferredStatus
from django_infinitic.storages.base import ClaimedTask, Doc
from django_infinitic.storages.batch import Batch, canceled_report
from django_infinitic.storages.documents import pack, unpack
from django_infinitic.storages.session import Sql
from django_infinitic.storages.sql import SqlStorage, marks

QUEUED, CLAIMED, DELEGATED = 0, 1, 2
NORMAL, CANCELED, EXPIRED = 0, 1, 2
HELD: Final = "id = %s AND attempt = %s AND state = 1"


class SqlTasks(SqlStorage):
    """`TaskStore` in a database that knows RETURNING; adapters add `claim`."""

    def finish(self, task: ClaimedTask, doc: Doc) -> bool:
        """Delete the task and post `doc` (Kind.REPORT); False: not ours any more, dropped.

        Inside the caller's transaction when there is one (`atomic=True` tasks).
        """
        with self.reporting() as sql:
            return self._end(sql, task, pack(report_of(task, doc)))

    @contextmanager
    def reporting(self) -> Iterator[Sql]:
        """The caller's transaction when there is one, else one of our own."""
        if connections[self.alias].in_atomic_block:
            yield Sql(self.session, connections[self.alias])
        else:
            with self.session.transaction() as sql:
                yield sql

    def _end(self, sql: Sql, task: ClaimedTask, report: bytes) -> bool:
        gone = sql.row(
            f"DELETE FROM infinitic_task WHERE {HELD} RETURNING instance, part",
            [self.key(task.id), task.attempt],
        )
        if gone is None:
            return False
        self.insert_message(sql, gone[1], self.id(gone[0]), Kind.REPORT, report)
        return True

    def retry(self, task: ClaimedTask, ready_at: int, doc: Doc) -> bool:
        """Free the task for a next attempt with `doc` as its new document. A task that was
        canceled or expired meanwhile ends instead (CANCELED report, or `doc["failure"]` as
        FAILED). False: not ours any more."""
        with self.session.transaction() as sql:
            freed = sql.run(
                "UPDATE infinitic_task SET worker = NULL, state = 0, attempt = attempt + 1,"
                f" ready_at = %s, body = %s WHERE {HELD} AND mode = 0",
                [ready_at, pack(doc), self.key(task.id), task.attempt],
            )
            if freed:
                return True
            held = sql.row(
                f"SELECT mode FROM infinitic_task WHERE {HELD}",
                [self.key(task.id), task.attempt],
            )
            if held is None:
                return False
            failed = {"status": int(DeferredStatus.FAILED), "value": doc.get("failure")}
            report = self._canceled(task) if held[0] == CANCELED else pack(report_of(task, failed))
            return self._end(sql, task, report)

    def delegate(self, task: ClaimedTask) -> bool:
        """The method of a delegated task returned: it waits for somebody now, unclaimed.

        One that was canceled meanwhile ends instead.
        """
        with self.session.transaction() as sql:
            let_go = sql.run(
                "UPDATE infinitic_task SET worker = NULL, state = 2, attempt = attempt + 1,"
                f" delegated = true WHERE {HELD} AND mode <> 1",
                [self.key(task.id), task.attempt],
            )
            return bool(let_go) or self._end(sql, task, self._canceled(task))

    def _canceled(self, task: ClaimedTask) -> bytes:
        return canceled_report(task.id, task.doc["s"], task.doc["p"])

    def next_ready(self, services: Sequence[str] | None) -> int | None:
        """When the next unclaimed task is ready, if there is one."""
        statement = "SELECT min(ready_at) FROM infinitic_task WHERE state = 0"
        params: list[Any] = []
        if services is not None:
            if not services:
                return None
            statement += f" AND service IN ({marks(services)})"
            params += services
        with self.session.transaction() as sql:
            found = sql.row(statement, params)
        return None if found is None or found[0] is None else int(found[0])

    def note_delegated(self, rows: Batch) -> None:
        """Remember which own attempts of a batch that was written others can answer."""
        self.delegated.difference_update(one.id for one in rows.answered)
        self.delegated.update(one.id for one in rows.tasks if one.claimed and one.delegated)

    def claimed(self, row: Sequence[Any]) -> ClaimedTask:
        """A row (id, instance, workflow, service, name, attempt, body) as a claimed task."""
        id, instance, workflow, service, name, attempt, body = row
        doc = unpack(body)
        if doc.get("dl"):
            self.delegated.add(self.id(id))
        return ClaimedTask(
            id=self.id(id),
            instance=self.id(instance),
            workflow=workflow,
            service=service,
            name=name,
            attempt=attempt,
            doc=doc,
        )


def report_of(task: ClaimedTask, doc: Doc) -> Doc:
    """The document of a REPORT: which command it answers, and what is said."""
    known = task.doc
    return {
        "s": known["s"],
        "p": known["p"],
        "task": task.id,
        **({"sequence": known["q"]} if "q" in known else {}),
        **doc,
    }
