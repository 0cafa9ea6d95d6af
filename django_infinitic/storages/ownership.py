"""Who owns what: workers, their leases and their parts (A6, B6)."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured

from django_infinitic.machine.ids import STARTER_LANE, part_id
from django_infinitic.machine.messages import Kind
from django_infinitic.machine.statuses import InstanceStatus
from django_infinitic.storages.base import DefiniteRollback, Doc, NotOwner
from django_infinitic.storages.batch import AnsweredRecord, canceled_report, late_doc
from django_infinitic.storages.documents import pack, to_json
from django_infinitic.storages.session import Sql
from django_infinitic.storages.sql import LEASE, PATIENCE, SqlStorage, marks

RETIRE_PATIENCE: Final = 12.0
"""Seconds: longer than the database lets a statement of the lost connection run."""


@dataclass(slots=True)
class _Part:
    id: int
    workflow: str
    number: int
    owner: int | None
    wanted_by: int | None
    min_version: int
    freed_at: int | None


class SqlOwnership(SqlStorage):
    """`WorkerStore` in a database that knows RETURNING."""

    def register(self, name: str, info: Doc) -> int:
        """Insert a worker row with a lease of 15 s; its id. A new life has nothing in memory."""
        self.forget()
        with self.session.transaction() as sql:
            return self._register(sql, name, socket.gethostname()[:255], os.getpid(), to_json(info))

    def _register(self, sql: Sql, name: str, host: str, pid: int, info: str) -> int:
        now = self.time(sql)
        found = sql.row(
            "INSERT INTO infinitic_worker (name, host, pid, started_at, expires_at, info)"
            " VALUES (%s, %s, %s, %s, %s, %s) RETURNING id",
            [name[:255], host, pid, self.stamp(now), self.stamp(now + LEASE), info],
        )
        assert found is not None
        return int(found[0])

    def renew(self, me: int) -> bool:
        """Renew the lease; False: marked dead, stop and start as a new worker."""
        with self.session.transaction() as sql:
            expires = self.stamp(self.time(sql) + LEASE)
            return bool(
                sql.run(
                    "UPDATE infinitic_worker SET expires_at = %s WHERE id = %s AND NOT dead",
                    [expires, me],
                )
            )

    def suspect(self, me: int, instance: str | None) -> None:
        """Note the instance that might kill this worker; who marks it dead counts (A2)."""
        key = None if instance is None else self.key(instance)
        with self.session.transaction() as sql:
            sql.run("UPDATE infinitic_worker SET suspect = %s WHERE id = %s", [key, me])

    # -- the dead --------------------------------------------------------------------------

    def reap(self, dead: int | None = None) -> list[int]:
        """Mark workers dead whose lease has run out (or this one), free what they held.

        Marking waits for the last transaction of the worker; one that does not end within the
        limit of a lock is left to the next call.
        """
        if dead is None:
            with self.session.transaction() as sql:
                candidates = [
                    row[0]
                    for row in sql.rows(
                        "SELECT id FROM infinitic_worker WHERE NOT dead AND expires_at < %s",
                        [self.stamp(self.time(sql))],
                    )
                ]
        else:
            candidates = [dead]
        reaped = []
        for worker in candidates:
            try:
                with self.session.transaction() as sql:
                    if self._reap(sql, worker, even_alive=dead is not None):
                        reaped.append(worker)
            except DefiniteRollback:
                continue
        return reaped

    def _reap(self, sql: Sql, worker: int, *, even_alive: bool) -> bool:
        now = self.time(sql)
        # Two statements: the snapshot of the second sees what the first has waited for.
        alive = "" if even_alive else " AND expires_at < %s"
        marked = sql.row(
            f"UPDATE infinitic_worker SET dead = true WHERE id = %s AND NOT dead{alive}"
            " RETURNING suspect",
            [worker] if even_alive else [worker, self.stamp(now)],
        )
        if marked is None:
            return False
        self._free_tasks(sql, worker, now)
        sql.run(
            "UPDATE infinitic_part SET owner = NULL, freed_at = %s WHERE owner = %s", [now, worker]
        )
        sql.run("UPDATE infinitic_part SET wanted_by = NULL WHERE wanted_by = %s", [worker])
        if marked[0] is not None:
            sql.run(
                "UPDATE infinitic_instance SET crashes = crashes + 1,"
                " status = CASE WHEN crashes >= 2 THEN %s ELSE status END"
                " WHERE id = %s AND closed_at IS NULL",
                [int(InstanceStatus.BLOCKED), self.key(self.id(marked[0]))],
            )
        return True

    def _free_tasks(self, sql: Sql, worker: int, now: int) -> None:
        """Its tasks are tried again; what was canceled or has expired ends with it.

        A row that somebody has locked, who is answering a delegated task, is left to the lane.
        """
        rows = sql.rows(
            "SELECT id, instance, part, stream, position, mode FROM infinitic_task"
            f" WHERE worker = %s{self.skip_locked}",
            [worker],
        )
        freed = [row[0] for row in rows if row[5] == 0]
        ended = [row for row in rows if row[5] != 0]
        for some in (freed[at : at + 500] for at in range(0, len(freed), 500)):
            sql.run(
                "UPDATE infinitic_task SET worker = NULL, state = 0, attempt = attempt + 1,"
                f" ready_at = %s WHERE id IN ({marks(some)})",
                [now, *some],
            )
        for id, instance, part, stream, position, mode in ended:
            sql.run("DELETE FROM infinitic_task WHERE id = %s", [id])
            if mode == 1:
                report = canceled_report(self.id(id), stream, position)
                self.insert_message(sql, part, self.id(instance), Kind.REPORT, report)
        locked = sql.rows(
            "SELECT id, instance, part, attempt FROM infinitic_task WHERE worker = %s", [worker]
        )
        for id, instance, part, attempt in locked:
            doc = late_doc(AnsweredRecord(self.id(id), "freed", attempt))
            lane = part | STARTER_LANE
            self.insert_message(sql, lane, self.id(instance), Kind.REPORT, pack(doc))

    def retire(self, me: int) -> int:
        """After an unknown outcome: mark this life dead, register a new one that inherits parts
        and claimed tasks; its id. Raises `NotOwner` when a thief was first."""
        with self.session.transaction() as sql:
            self.be_patient(sql, RETIRE_PATIENCE)
            old = sql.row(
                "UPDATE infinitic_worker SET dead = true WHERE id = %s AND NOT dead"
                " RETURNING name, host, pid, info",
                [me],
            )
            if old is None:
                raise NotOwner(f"Worker {me} was marked dead by another.")
            name, host, pid, info = old
            new = self._register(
                sql, name, host, pid, info if isinstance(info, str) else to_json(info)
            )
            for column in ("owner", "wanted_by"):
                sql.run(f"UPDATE infinitic_part SET {column} = %s WHERE {column} = %s", [new, me])
            sql.run("UPDATE infinitic_task SET worker = %s WHERE worker = %s", [new, me])
        return new

    # -- parts -----------------------------------------------------------------------------

    def take(self, me: int, workflows: dict[str, int], parts: int) -> list[int]:
        """Make the part rows of these workflows (name -> highest version) and take free ones, up
        to a fair share among living workers; all parts owned afterwards.

        Of a workflow the share is its parts by the workers that own or want some of it. What is
        missing is asked of those that have more (`wanted`).
        """
        self.parts = parts
        with self.session.transaction() as sql:
            self._fence(sql, me)
            now = self.time(sql)
            taken: list[int] = []
            for workflow, rows in self._part_rows(sql, workflows, parts).items():
                taken += self._take(sql, me, rows, workflows[workflow], now)
            if taken:
                self._unpark(sql, taken)
                self.adopt_messages(sql, taken)
            owned = [
                row[0]
                for row in sql.rows(
                    "SELECT id FROM infinitic_part WHERE owner = %s ORDER BY id", [me]
                )
            ]
        if taken:
            self.forget(taken)
        return owned

    def _part_rows(self, sql: Sql, workflows: Iterable[str], parts: int) -> dict[str, list[_Part]]:
        names = sorted(workflows)
        found: dict[str, list[_Part]] = {name: [] for name in names}
        if not names:
            return found
        query = (
            "SELECT id, workflow, n, owner, wanted_by, min_version, freed_at FROM infinitic_part"
            f" WHERE workflow IN ({marks(names)}) ORDER BY id"
        )
        for row in sql.rows(query, names):
            found[row[1]].append(_Part(*row))
        missing = [name for name in names if not found[name]]
        for name in missing:
            for number in (*range(parts), STARTER_LANE):
                sql.run(
                    "INSERT INTO infinitic_part (id, workflow, n) VALUES (%s, %s, %s)"
                    " ON CONFLICT DO NOTHING",
                    [part_id(name, number), name, number],
                )
        if missing:
            return self._part_rows(sql, names, parts)
        for name in names:
            there = len(found[name]) - 1
            if there != parts:
                raise ImproperlyConfigured(
                    f'INFINITIC["PARTS"] is {parts}, and workflow {name} was divided into {there} '
                    f"parts when it was first used. Set it to {there}: it cannot be changed."
                )
        return found

    def _take(self, sql: Sql, me: int, rows: list[_Part], version: int, now: int) -> list[int]:
        takers = {me} | {one.owner for one in rows if one.owner is not None}
        takers |= {one.wanted_by for one in rows if one.wanted_by is not None}
        share = -(-len(rows) // len(takers))
        mine = sum(one.owner == me for one in rows)
        free = [one for one in rows if one.owner is None and _may_take(one, me, version, now)]
        free.sort(key=lambda one: one.wanted_by != me)
        wanted = [one.id for one in free[: max(0, share - mine)]]
        taken: list[int] = []
        if wanted:
            taken = [
                row[0]
                for row in sql.rows(
                    "UPDATE infinitic_part SET owner = %s, wanted_by = NULL"
                    f" WHERE id IN ({marks(wanted)}) AND owner IS NULL RETURNING id",
                    [me, *sorted(wanted)],
                )
            ]
        asked = sum(one.wanted_by == me and one.owner is not None for one in rows)
        self._ask(sql, me, rows, share, share - mine - len(taken) - asked)
        return taken

    def _ask(self, sql: Sql, me: int, rows: list[_Part], share: int, number: int) -> None:
        """Ask those for parts that have more than their share."""
        spare: dict[int, int] = {}
        for one in rows:
            if one.owner is not None and one.owner != me:
                given = one.wanted_by is not None
                spare[one.owner] = spare.get(one.owner, -share) + (not given)
        asked: list[int] = []
        for one in rows:
            if len(asked) >= number or one.owner is None or one.wanted_by is not None:
                continue
            if spare.get(one.owner, 0) > 0:
                spare[one.owner] -= 1
                asked.append(one.id)
        if asked:
            sql.run(
                "UPDATE infinitic_part SET wanted_by = %s"
                f" WHERE id IN ({marks(asked)}) AND owner IS NOT NULL AND wanted_by IS NULL",
                [me, *asked],
            )

    def _unpark(self, sql: Sql, parts: Sequence[int]) -> None:
        """A new owner may have what the last one lacked; what is blocked stays parked (B9)."""
        sql.run(
            f"UPDATE infinitic_message SET parked = false WHERE part IN ({marks(parts)}) AND parked"
            " AND NOT EXISTS (SELECT 1 FROM infinitic_instance i"
            " WHERE i.id = infinitic_message.instance AND i.status = %s)",
            [*parts, int(InstanceStatus.BLOCKED)],
        )

    def adopt_messages(self, sql: Sql, parts: Sequence[int]) -> None:
        """Put messages right that came from another cluster."""

    def wanted(self, me: int) -> list[int]:
        """Own parts that a poorer worker asks for: release them after the batch (B6)."""
        with self.session.transaction() as sql:
            rows = sql.rows(
                "SELECT id FROM infinitic_part WHERE owner = %s AND wanted_by IS NOT NULL", [me]
            )
        return [row[0] for row in rows]

    def need_version(self, me: int, instance: str, version: int) -> int | None:
        """Only workers with this version shall take the part of this instance; the part, to be
        released. After 5 s without one anybody takes it all the same (A6)."""
        with self.session.transaction() as sql:
            self._fence(sql, me)
            found = sql.row(
                "UPDATE infinitic_part SET min_version = %s WHERE owner = %s AND min_version < %s"
                " AND id = (SELECT part FROM infinitic_instance WHERE id = %s) RETURNING id",
                [version, me, version, self.key(instance)],
            )
        return None if found is None else int(found[0])

    def release(self, me: int, parts: Sequence[int] | None = None) -> None:
        """Let parts go (None: all). What somebody asked for is kept for him for a while."""
        if parts is not None and not parts:
            return
        which: list[Any] = [] if parts is None else sorted(parts)
        limited = f" AND id IN ({marks(which)})" if which else ""
        with self.session.transaction() as sql:
            self._fence(sql, me)
            sql.run(
                f"UPDATE infinitic_part SET owner = NULL, freed_at = %s WHERE owner = %s{limited}",
                [self.time(sql), me, *which],
            )
            if parts is None:
                sql.run("UPDATE infinitic_part SET wanted_by = NULL WHERE wanted_by = %s", [me])
        self.forget(parts)


def _may_take(part: _Part, me: int, version: int, now: int) -> bool:
    if part.freed_at is None or part.freed_at < now - PATIENCE:
        return True
    return part.min_version <= version and part.wanted_by in (None, me)
