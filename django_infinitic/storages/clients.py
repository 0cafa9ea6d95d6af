"""What clients, the admin and commands read and do, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from django.db import transaction
from django.db.models import OuterRef, QuerySet, Subquery

from django_infinitic import models
from django_infinitic.exceptions import UsageError
from django_infinitic.machine.effects import EventRow
from django_infinitic.machine.messages import Kind, Message
from django_infinitic.storages.base import Doc, Started, StoredInstance, StoredOutcome
from django_infinitic.storages.documents import (
    CUSTOM_ID_TAG,
    as_id,
    lane_of,
    open_streams,
    pack,
    to_micros,
    unpack,
)
from django_infinitic.storages.session import Sql
from django_infinitic.storages.sql import LEASE
from django_infinitic.storages.starts import SqlStarts, Start

NOBODY: Final = "00000000-0000-0000-0000-000000000000"
"""The instance of messages that are the starter lane's own."""


class SqlClients(SqlStarts):
    """`ClientStore` by the ORM, as far as it is not about speed."""

    waiting_limit = 10_000
    """Messages that may wait for one instance."""
    tag_limit = 1_000
    """Instances that a message by tag reaches at once; more are reached after the commit."""

    # -- acts ------------------------------------------------------------------------------

    def start(
        self,
        *,
        id: str,
        workflow: str,
        part: int,
        method: str,
        tags: Sequence[str],
        meta: Doc,
        custom_id: str | None,
        once: bool,
        started_by: str,
        doc: Doc,
    ) -> Started:
        """Insert an instance, its tags and its START message, or find the holder of the custom id.

        Raises `UsageError` when the holder was started by another method.
        """
        start = Start(
            id=id,
            workflow=workflow,
            part=part,
            method=method,
            tags=tags,
            meta=meta,
            custom_id=custom_id,
            once=once,
            started_by=started_by,
            doc=doc,
        )
        with self.session.act() as sql:
            return self.begin(sql, start)

    def start_many(self, starts: Sequence[Doc]) -> list[Started]:
        """Many starts (keyword arguments of `start`) in few statements, all or none."""
        with transaction.atomic(using=self.alias), self.session.caller() as sql:
            return self.begin_many(sql, [Start(**one) for one in starts])

    def begin_many(self, sql: Sql, starts: Sequence[Start]) -> list[Started]:
        """All starts, in order."""
        return [self.begin(sql, one) for one in starts]

    def post(self, workflow: str, to: str, value: str, kind: Kind, doc: Doc) -> list[str]:
        """Post a message to running instances: `to` is `id`, `custom` or `tag`. The ids reached
        (empty: none runs). SEND counts against the limit of 10,000 waiting messages.

        By id with an empty `workflow`: of whatever workflow. A tag with more than 1,000 targets
        is worked off by a worker after the commit; 1,001 of the ids are given then.
        """
        if to == "tag" and value.startswith(CUSTOM_ID_TAG):
            to, value = "custom", value.removeprefix(CUSTOM_ID_TAG)
        body = pack(doc)
        with self.session.act() as sql:
            if to == "tag":
                reached = self.post_by_tag(sql, workflow, value, kind, body)
            else:
                limited = kind == Kind.SEND
                reached = self.post_to_one(sql, workflow, to, value, kind, body, limited)
                if not reached and limited:
                    self._refuse_overflow(sql, workflow, to, value)
        return reached

    def target(self, workflow: str, to: str, value: str) -> tuple[str, list[Any]]:
        """The condition that finds one running instance `i`, and its parameters."""
        if to == "custom":
            return (
                "i.id = (SELECT c.instance FROM infinitic_custom_id c"
                " WHERE c.custom_id = %s AND c.workflow = %s) AND i.closed_at IS NULL",
                [value, workflow],
            )
        id = as_id(value)
        if id is None:
            return "1 = 0", []
        if not workflow:
            return "i.id = %s AND i.closed_at IS NULL", [self.key(id)]
        return (
            "i.id = %s AND i.workflow = %s AND i.closed_at IS NULL",
            [self.key(id), workflow],
        )

    def post_to_one(
        self, sql: Sql, workflow: str, to: str, value: str, kind: int, body: bytes, limited: bool
    ) -> list[str]:
        """Post by id or custom id; with `limited` only when not too many wait already."""
        condition, params = self.target(workflow, to, value)
        limit: list[Any] = []
        if limited:
            condition += (
                " AND i.queued + (SELECT count(*) FROM infinitic_message m"
                " WHERE m.instance = i.id) < %s"
            )
            limit = [self.waiting_limit]
        rows = sql.rows(
            "INSERT INTO infinitic_message (part, instance, kind, created, body)"
            f" SELECT i.part, i.id, %s, {self.clock_sql()}, %s FROM infinitic_instance i"
            f" WHERE {condition} RETURNING instance",
            [int(kind), body, *params, *limit],
        )
        return [self.id(row[0]) for row in rows]

    def _refuse_overflow(self, sql: Sql, workflow: str, to: str, value: str) -> None:
        condition, params = self.target(workflow, to, value)
        found = sql.row(
            f"SELECT i.id, i.workflow FROM infinitic_instance i WHERE {condition}", params
        )
        if found is not None:
            raise UsageError(
                f"{found[1]} ({self.id(found[0])}) has {self.waiting_limit:,} messages waiting, "
                "which is the limit. It does not take them: look at what it waits for, or cancel "
                "it."
            )

    def post_by_tag(self, sql: Sql, workflow: str, tag: str, kind: int, body: bytes) -> list[str]:
        """Post to all that have a tag; beyond 1,000 through the lane."""
        rows = sql.rows(
            "SELECT i.id, i.part FROM infinitic_tag g"
            " JOIN infinitic_instance i ON i.id = g.instance WHERE"
            " g.tag = %s AND g.workflow = %s AND NOT g.ended AND i.closed_at IS NULL"
            " ORDER BY i.id LIMIT %s",
            [tag, workflow, self.tag_limit + 1],
        )
        if len(rows) > self.tag_limit:
            doc = {"fan": {"tag": tag, "workflow": workflow, "after": ""}, "body": body.hex()}
            self.insert_message(sql, lane_of(workflow), NOBODY, kind, pack(doc))
        else:
            for id, part in rows:
                self.insert_message(sql, part, self.id(id), kind, body)
        return [self.id(row[0]) for row in rows]

    def complete_task(self, service: str, task: str, doc: Doc) -> bool:
        """Answer a delegated task, before or after its method returned: delete it and post `doc`.
        False when no such delegated task is open."""
        id = as_id(task)
        if id is None:
            return False
        with self.session.caller() as sql:
            gone = sql.row(
                "DELETE FROM infinitic_task WHERE id = %s AND service = %s AND delegated"
                " RETURNING instance, part, stream, position, body",
                [self.key(id), service],
            )
            if gone is None:
                return False
            instance, part, stream, position, body = gone
            known = unpack(body)
            report = {"s": stream, "p": position, "task": id, **doc}
            if "q" in known:
                report.setdefault("sequence", known["q"])
            self.insert_message(sql, part, self.id(instance), Kind.REPORT, pack(report))
        return True

    # -- reads -----------------------------------------------------------------------------

    def find(self, workflow: str | None, custom_id: str) -> str | None:
        """The latest instance that had this custom id, running or ended."""
        claims = models.CustomId.objects.using(self.alias).filter(custom_id=custom_id)
        if workflow:
            claims = claims.filter(workflow=workflow)
        instances = models.WorkflowInstance.objects.using(self.alias)
        found = (
            instances.filter(pk__in=claims.values("instance"))
            .order_by("-created_at")
            .values_list("pk", flat=True)
            .first()
        )
        return None if found is None else str(found)

    def outcome(self, method: str) -> StoredOutcome | None:
        """The outcome of a method, if any yet."""
        id = as_id(method)
        if id is None:
            return None
        row = models.Outcome.objects.using(self.alias).filter(pk=id).first()
        if row is None:
            return None
        retries = models.Message.objects.using(self.alias).filter(
            instance=row.instance, kind__in=(Kind.RETRY, Kind.RETRY_TASKS)
        )
        return StoredOutcome(
            instance=str(row.instance),
            seq=row.seq,
            status=row.status,
            doc=unpack(row.body),
            retrying=retries.exists(),
        )

    def head(self, instance: str) -> StoredInstance | None:
        """The row of an instance, without history."""
        id = as_id(instance)
        if id is None:
            return None
        row = models.WorkflowInstance.objects.using(self.alias).filter(pk=id).first()
        return None if row is None else _stored(row, ())

    def history(self, instance: str) -> StoredInstance | None:
        """The row of an instance with all of its history, ended methods included."""
        id = as_id(instance)
        if id is None:
            return None
        row = models.WorkflowInstance.objects.using(self.alias).filter(pk=id).first()
        if row is None:
            return None
        events = models.Event.objects.using(self.alias).filter(instance=id)
        return _stored(row, events.order_by("stream", "seq"))

    def ids_by_tag(self, workflow: str, tag: str) -> set[str]:
        """Ids of running instances with a tag (`customId:x` too)."""
        running = models.WorkflowInstance.objects.using(self.alias).filter(
            name=workflow, closed_at=None
        )
        holders: Any
        if tag.startswith(CUSTOM_ID_TAG):
            claims = models.CustomId.objects.using(self.alias)
            holders = claims.filter(
                custom_id=tag.removeprefix(CUSTOM_ID_TAG), workflow=workflow
            ).values("instance")
        else:
            tags = models.Tag.objects.using(self.alias)
            holders = tags.filter(tag=tag, workflow=workflow, ended=False).values("instance")
        return {str(id) for id in running.filter(pk__in=holders).values_list("pk", flat=True)}

    def tasks_of(self, instance: str) -> list[Doc]:
        """Task rows of an instance: id, service, name, attempt, worker (its name), ready_at, doc,
        state, mode, delegated."""
        id = as_id(instance)
        if id is None:
            return []
        names = models.Worker.objects.using(self.alias).filter(pk=OuterRef("worker")).values("name")
        rows = models.Task.objects.using(self.alias).filter(instance=id)
        return [
            {
                "id": str(row.id),
                "service": row.service,
                "name": row.name,
                "attempt": row.attempt,
                "worker": row.worker_name,
                "ready_at": row.ready_at,
                "doc": unpack(row.body),
                "state": row.state,
                "mode": row.mode,
                "delegated": row.delegated,
            }
            for row in rows.annotate(worker_name=Subquery(names)).order_by("id")
        ]

    def messages_of(self, instance: str) -> list[Message]:
        """Messages of an instance that nobody has consumed yet, in order."""
        id = as_id(instance)
        if id is None:
            return []
        rows = models.Message.objects.using(self.alias).filter(instance=id)
        return [
            Message(
                kind=Kind(row.kind),
                doc=unpack(row.body),
                instance=id,
                at=row.created,
                row=row.pk,
            )
            for row in self.in_order(rows)
        ]

    def in_order(self, rows: QuerySet[models.Message]) -> QuerySet[models.Message]:
        """Messages in the order in which they are handled."""
        return rows.order_by("id")

    def delegated_name(self, service: str, task: str) -> str | None:
        """The name of the task when such a delegated task is open."""
        id = as_id(task)
        if id is None:
            return None
        rows = models.Task.objects.using(self.alias)
        found = rows.filter(pk=id, service=service, delegated=True)
        return found.values_list("name", flat=True).first()

    def workers_alive(self) -> list[Doc]:
        """Living workers: id, name, info."""
        rows = models.Worker.objects.using(self.alias)
        alive = rows.filter(dead=False, expires_at__gt=self.client_now()).order_by("id")
        return [{"id": row.pk, "name": row.name, "info": row.info} for row in alive]

    def workers_seen(self) -> list[Doc]:
        """Workers on record, dead ones too: id, name, info, seen (their last renewal)."""
        rows = models.Worker.objects.using(self.alias).order_by("id")
        return [
            {
                "id": row.pk,
                "name": row.name,
                "info": row.info,
                "seen": to_micros(row.expires_at) - LEASE,
            }
            for row in rows
        ]

    def client_now(self) -> Any:
        """The time of the store, as the ORM compares it."""
        raise NotImplementedError


def _stored(row: models.WorkflowInstance, events: Iterable[models.Event]) -> StoredInstance:
    return StoredInstance(
        id=str(row.pk),
        workflow=row.name,
        version=row.version,
        status=row.status,
        tags=tuple(row.tags),
        custom_id=row.custom_id,
        meta=row.meta,
        started_by=row.started_by,
        parent=row.requester,
        streams=row.streams,
        open=open_streams(row.open),
        created_at=to_micros(row.created_at),
        closed_at=None if row.closed_at is None else to_micros(row.closed_at),
        method=row.method,
        crashes=row.crashes,
        error=row.error,
        events=[
            EventRow(
                instance=str(row.pk),
                stream=event.stream,
                seq=event.seq,
                step=event.step,
                entries=unpack(event.body),
            )
            for event in events
        ],
    )
