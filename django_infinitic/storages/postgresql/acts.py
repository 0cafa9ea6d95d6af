"""What clients do in PostgreSQL, each act one statement."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from django_infinitic.storages.base import Started
from django_infinitic.storages.clients import NOBODY
from django_infinitic.storages.documents import as_id, lane_of, pack, tag_rows, to_json
from django_infinitic.storages.postgresql import statements
from django_infinitic.storages.postgresql.reading import PostgresqlReading
from django_infinitic.storages.session import Sql
from django_infinitic.storages.starts import Start

CHUNK = 1_000
"""Starts in one statement."""


class PostgresqlActs(PostgresqlReading):
    """Starts and posts to tags."""

    def insert_instance(self, sql: Sql, start: Start) -> None:
        """Insert the row, its tags and its START message."""
        sql.run(self.text(statements.START), self._values(start))

    def claim_and_insert(self, sql: Sql, start: Start, old: str | None) -> bool:
        """Claim the custom id, from nobody or from an instance that ended, and insert."""
        text = statements.START_WITH_CLAIM if old is None else statements.START_WITH_OLD_CLAIM
        found = sql.row(self.text(text), {**self._values(start), "old": old})
        return found is not None and found[0] == 1

    def _values(self, start: Start) -> dict[str, Any]:
        requester = start.doc.get("from")
        return self.params(
            id=start.id,
            part=start.part,
            workflow=start.workflow,
            method=start.method,
            custom_id=start.custom_id,
            parent=as_id(requester.get("i")) if requester else None,
            requester=to_json(requester) if requester else None,
            tags=to_json(list(start.tags)),
            tag_rows=tag_rows(start.tags),
            meta=to_json(start.meta),
            started_by=start.started_by,
            body=pack(start.doc),
        )

    def begin_many(self, sql: Sql, starts: Sequence[Start]) -> list[Started]:
        """All starts, in order; those without a custom id in few statements."""
        found: list[Started | None] = [None] * len(starts)
        plain = iter([(n, one) for n, one in enumerate(starts) if one.custom_id is None])
        while chunk := list(islice(plain, CHUNK)):
            self._insert_many(sql, [one for _, one in chunk])
            for n, one in chunk:
                found[n] = Started(id=one.id, created=True)
        for n, one in enumerate(starts):
            if one.custom_id is not None:
                found[n] = self.begin(sql, one)
        return [one for one in found if one is not None]

    def _insert_many(self, sql: Sql, starts: Sequence[Start]) -> None:
        rows = [self._values(start) for start in starts]
        columns = {
            "ids": "id",
            "parts": "part",
            "workflows": "workflow",
            "methods": "method",
            "tags": "tags",
            "metas": "meta",
            "started_bys": "started_by",
            "requesters": "requester",
            "parents": "parent",
            "bodies": "body",
        }
        values = {many: [row[one] for row in rows] for many, one in columns.items()}
        sql.run(self.text(statements.START_MANY), self.params(**values))

    def post_by_tag(self, sql: Sql, workflow: str, tag: str, kind: int, body: bytes) -> list[str]:
        """Post to all that have a tag; beyond 1,000 through the lane."""
        fan = {"fan": {"tag": tag, "workflow": workflow, "after": ""}, "body": body.hex()}
        rows = sql.rows(
            self.text(statements.POST_BY_TAG),
            self.params(
                tag=tag,
                workflow=workflow,
                limit=self.tag_limit,
                kind=int(kind),
                body=body,
                lane=lane_of(workflow),
                nobody=NOBODY,
                fan=pack(fan),
            ),
        )
        return [self.id(row[0]) for row in rows]
