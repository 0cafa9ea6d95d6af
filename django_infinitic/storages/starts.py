"""Starting an instance, with or without a custom id (A5). The same for clients and the lane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django_infinitic.exceptions import UsageError
from django_infinitic.machine.messages import Kind
from django_infinitic.storages.base import Doc, Started
from django_infinitic.storages.documents import as_id, pack, tag_rows, to_json
from django_infinitic.storages.session import Sql
from django_infinitic.storages.sql import SqlStorage

ATTEMPTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """An instance to start; `doc` is its START message."""

    id: str
    workflow: str
    part: int
    method: str
    tags: Sequence[str]
    meta: Doc
    custom_id: str | None
    once: bool
    started_by: str
    doc: Doc


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a custom id; `method` None: the instance is gone."""

    id: str
    method: str | None
    closed: bool


class OtherMethodError(UsageError):
    """The custom id belongs to an instance that another method started."""

    def __init__(self, start: Start, holder: Holder) -> None:
        super().__init__(
            f"{start.workflow} with custom id {start.custom_id!r} was started by its method "
            f"{holder.method}, and now {start.method} was asked for. Start it with the same "
            f"method, or run {start.method} on the instance: get_workflow_by_custom_id()."
        )


class SqlStarts(SqlStorage):
    """The steps of a start as single statements; an adapter may join them."""

    def begin(self, sql: Sql, start: Start) -> Started:
        """Start, or find the holder of the custom id. Raises `OtherMethodError`.

        Waits for a transaction that has claimed the same custom id and not ended yet.
        """
        if start.custom_id is None:
            self.insert_instance(sql, start)
            return Started(id=start.id, created=True)
        if self.claim_and_insert(sql, start, old=None):
            return Started(id=start.id, created=True)
        for _ in range(ATTEMPTS):
            holder = self._holder(sql, start)
            if holder is None:  # rolled back or pruned just now
                if self.claim_and_insert(sql, start, old=None):
                    return Started(id=start.id, created=True)
                continue
            if holder.method is not None and (start.once or not holder.closed):
                if holder.method != start.method:
                    raise OtherMethodError(start, holder)
                return Started(id=holder.id, created=False, closed=holder.closed)
            if self.claim_and_insert(sql, start, old=holder.id):
                return Started(id=start.id, created=True)
        raise RuntimeError(
            f"The custom id {start.custom_id!r} of {start.workflow} changes hands all the time."
        )

    def claim_and_insert(self, sql: Sql, start: Start, old: str | None) -> bool:
        """Claim the custom id, from nobody or from an instance that ended, and insert."""
        if old is None:
            claimed = sql.run(
                "INSERT INTO infinitic_custom_id (custom_id, workflow, instance)"
                " VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                [start.custom_id, start.workflow, self.key(start.id)],
            )
        else:
            claimed = sql.run(
                "UPDATE infinitic_custom_id SET instance = %s"
                " WHERE custom_id = %s AND workflow = %s AND instance = %s",
                [self.key(start.id), start.custom_id, start.workflow, self.key(old)],
            )
        if claimed != 1:
            return False
        self.insert_instance(sql, start)
        return True

    def _holder(self, sql: Sql, start: Start) -> Holder | None:
        found = sql.row(
            "SELECT c.instance, i.method, i.closed_at IS NOT NULL FROM infinitic_custom_id c"
            " LEFT JOIN infinitic_instance i ON i.id = c.instance"
            " WHERE c.custom_id = %s AND c.workflow = %s",
            [start.custom_id, start.workflow],
        )
        if found is None:
            return None
        return Holder(id=self.id(found[0]), method=found[1], closed=bool(found[2]))

    def insert_instance(self, sql: Sql, start: Start) -> None:
        """Insert the row, its tags and its START message."""
        now = self.time(sql)
        requester = start.doc.get("from")
        parent = as_id(requester.get("i")) if requester else None
        sql.run(
            "INSERT INTO infinitic_instance (id, part, workflow, method, status, custom_id, parent,"
            " requester, tags, meta, started_by, created_at)"
            " VALUES (%s, %s, %s, %s, 0, %s, %s, %s, %s, %s, %s, %s)",
            [
                self.key(start.id),
                start.part,
                start.workflow,
                start.method,
                start.custom_id,
                None if parent is None else self.key(parent),
                to_json(requester) if requester else None,
                to_json(list(start.tags)),
                to_json(start.meta),
                start.started_by,
                self.stamp(now),
            ],
        )
        for tag in tag_rows(start.tags):
            sql.run(
                "INSERT INTO infinitic_tag (tag, workflow, ended, instance)"
                " VALUES (%s, %s, false, %s)",
                [tag, start.workflow, self.key(start.id)],
            )
        self.insert_message(sql, start.part, start.id, Kind.START, pack(start.doc))
