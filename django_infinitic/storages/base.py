"""The port of the storages: four small faces of one store.

`EngineStore` is what the engine loop needs, `TaskStore` executors, `WorkerStore` ownership, and
`ClientStore` what clients, the admin and commands call inside the caller's own transaction.
Times are microseconds since 1970 by the clock of the store; ids are `str`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django_infinitic.machine.effects import Effects, EventRow
from django_infinitic.machine.messages import Kind, Message

Doc = dict[str, Any]


class StoreError(Exception):
    """Base of what a write can answer; what it means decides what happens to the batch (A8)."""


class DefiniteRollback(StoreError):
    """Nothing was written and nothing else changed: send the same value again."""


class UnknownOutcome(StoreError):
    """The connection was lost after COMMIT may have been sent: retire, then look."""


class NotOwner(StoreError):
    """Fence refused, key clash or count mismatch: drop everything, start as a new worker."""


class RefusedData(StoreError):
    """The database refuses the data itself: bisect (A2.5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredInstance:
    """The row of an instance with the rows of its history that a cold load needs.

    `events`: streams 0, 1 and those of `open`, ordered by stream and seq.
    """

    id: str
    workflow: str
    version: int | None
    status: int
    tags: tuple[str, ...]
    custom_id: str | None
    meta: Doc
    started_by: str
    parent: Doc | None
    streams: int
    open: tuple[int, ...]
    created_at: int
    closed_at: int | None
    method: str
    crashes: int = 0
    error: str = ""
    events: Sequence[EventRow] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What one read found. `next_due`: when the next timer of the parts is due, if one is."""

    now: int
    messages: Sequence[Message] = ()
    timers: Sequence[tuple[str, int, str, Doc]] = ()
    """(timer id, due, instance, doc) of timers that are due, in order of due."""
    next_due: int | None = None
    complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedWait:
    """What an instance waits for: the kind of wait, a text, and since when."""

    instance: str
    kind: int | None
    text: str = ""
    since: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedTask:
    """An attempt of a task that this worker holds."""

    id: str
    instance: str
    workflow: str
    service: str
    name: str
    attempt: int
    doc: Doc


@dataclass(slots=True)
class WriteSet:
    """One batch: the effects of the turns of several instances, and of own task results.

    `claimed`: ids of new tasks that are born claimed by this worker, with their first attempt.
    """

    turns: list[Effects] = field(default_factory=list)
    claimed: set[str] = field(default_factory=set)


class EngineStore(ABC):
    """What the engine loop needs: one read and one write per batch."""

    @abstractmethod
    def read(self, parts: Sequence[int], limit: int) -> Inputs:
        """Messages (not parked) and due timers of own parts, in order; at most `limit` per part."""

    @abstractmethod
    def load(self, instances: Sequence[str]) -> dict[str, StoredInstance]:
        """Rows and history of cold instances; unknown ids are missing."""

    @abstractmethod
    def write(self, batch: WriteSet) -> None:
        """Write a batch in one transaction that starts with the fence, or raise a `StoreError`."""

    @abstractmethod
    def written(self, batch: WriteSet) -> bool:
        """After an unknown outcome and a retirement: whether the batch was committed."""

    @abstractmethod
    def start_from_lane(self, parts: Sequence[int]) -> bool:
        """Work off one start with a custom id (the starter lane); whether there was one."""

    @abstractmethod
    def now(self) -> int:
        """The time of the store."""

    def forget(self, parts: Sequence[int] | None = None) -> None:  # noqa: B027
        """What was read of these parts (None: all) and not yet consumed is no longer in memory.

        `read` never gives a message or timer twice before it is consumed, parked or fired, unless
        it is told so; call it with whatever makes the engine drop what it has read.
        """

    def block(self, instance: str, error: str) -> None:  # noqa: B027
        """Show a running instance as BLOCKED, with the reason (A2)."""

    def unblock(self, instance: str) -> None:  # noqa: B027
        """A person repairs a blocked instance: it runs again, its crashes are forgotten, and its
        parked messages are read again, in order (B9)."""

    def note_waits(self, waits: Sequence[NotedWait]) -> None:  # noqa: B027
        """Write what instances wait for, for the lists of people; `kind` None clears it."""

    def prune(self, before: int, limit: int = 100) -> int:
        """Delete up to `limit` instances that closed before a time, with all their rows, and rows
        of workers long dead; how many instances."""
        return 0


class TaskStore(ABC):
    """What executors need. Every call is one short transaction."""

    @abstractmethod
    def claim(self, services: Sequence[str] | None, limit: int) -> list[ClaimedTask]:
        """Take ready tasks of these services (None: all); attempt rises by one."""

    @abstractmethod
    def finish(self, task: ClaimedTask, doc: Doc) -> bool:
        """Delete the task and post `doc` (Kind.REPORT); False: not ours any more, dropped.

        Inside the caller's transaction when there is one (`atomic=True` tasks).
        """

    @abstractmethod
    def retry(self, task: ClaimedTask, ready_at: int, doc: Doc) -> bool:
        """Free the task for a next attempt with `doc` as its new document. A task that was
        canceled or expired meanwhile ends instead (CANCELED report, or `doc["failure"]` as
        FAILED). False: not ours any more."""

    @abstractmethod
    def delegate(self, task: ClaimedTask) -> bool:
        """The method of a delegated task returned: it waits for somebody now, unclaimed."""

    @abstractmethod
    def next_ready(self, services: Sequence[str] | None) -> int | None:
        """When the next unclaimed task is ready, if there is one."""


class WorkerStore(ABC):
    """Who owns what. `me` is the id of a worker's present life, the epoch."""

    @abstractmethod
    def register(self, name: str, info: Doc) -> int:
        """Insert a worker row with a lease of 15 s; its id."""

    @abstractmethod
    def renew(self, me: int) -> bool:
        """Renew the lease; False: marked dead, stop and start as a new worker."""

    @abstractmethod
    def reap(self, dead: int | None = None) -> list[int]:
        """Mark workers dead whose lease has run out (or this one), free what they held."""

    @abstractmethod
    def take(self, me: int, workflows: dict[str, int], parts: int) -> list[int]:
        """Make the part rows of these workflows (name -> highest version) and take free ones, up
        to a fair share among living workers; all parts owned afterwards."""

    @abstractmethod
    def release(self, me: int, parts: Sequence[int] | None = None) -> None:
        """Let parts go (None: all)."""

    @abstractmethod
    def retire(self, me: int) -> int:
        """After an unknown outcome: mark this life dead, register a new one that inherits parts
        and claimed tasks; its id. Raises `NotOwner` when a thief was first."""

    def wanted(self, me: int) -> list[int]:
        """Own parts that a poorer worker asks for: release them after the batch (B6)."""
        return []

    def need_version(self, me: int, instance: str, version: int) -> int | None:
        """Only workers with this version shall take the part of this instance; the part, to be
        released. After 5 s without one anybody takes it all the same (A6)."""
        return None

    def suspect(self, me: int, instance: str | None) -> None:  # noqa: B027
        """Note the instance that might kill this worker; who marks it dead counts (A2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What a start gave: the id of the instance, and whether this start made it."""

    id: str
    created: bool
    closed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredOutcome:
    """The outcome row of a method as `result()` reads it; `retrying`: a retry is committed."""

    instance: str
    seq: int
    status: int
    doc: Doc
    retrying: bool = False


class ClientStore(ABC):
    """What clients call, on the caller's connection and inside the caller's transaction."""

    @abstractmethod
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

        Raises `UsageError` when the running holder was started by another method.
        """

    @abstractmethod
    def start_many(self, starts: Sequence[Doc]) -> list[Started]:
        """Many starts (keyword arguments of `start`) in few statements, all or none."""

    @abstractmethod
    def post(self, workflow: str, to: str, value: str, kind: Kind, doc: Doc) -> list[str]:
        """Post a message to running instances: `to` is `id`, `custom` or `tag`. The ids reached
        (empty: none runs). SEND counts against the limit of 10,000 waiting messages."""

    @abstractmethod
    def find(self, workflow: str | None, custom_id: str) -> str | None:
        """The latest instance that had this custom id, running or ended."""

    @abstractmethod
    def outcome(self, method: str) -> StoredOutcome | None:
        """The outcome of a method, if any yet."""

    @abstractmethod
    def head(self, instance: str) -> StoredInstance | None:
        """The row of an instance, without history."""

    @abstractmethod
    def history(self, instance: str) -> StoredInstance | None:
        """The row of an instance with all of its history, ended methods included."""

    @abstractmethod
    def ids_by_tag(self, workflow: str, tag: str) -> set[str]:
        """Ids of running instances with a tag (`customId:x` too)."""

    @abstractmethod
    def tasks_of(self, instance: str) -> list[Doc]:
        """Task rows of an instance: id, service, name, attempt, worker (its name), ready_at, doc,
        state."""

    @abstractmethod
    def messages_of(self, instance: str) -> list[Message]:
        """Messages of an instance that nobody has consumed yet, in order."""

    @abstractmethod
    def complete_task(self, service: str, task: str, doc: Doc) -> bool:
        """Answer a delegated task, before or after its method returned: delete it and post `doc`.
        False when no such delegated task is open."""

    @abstractmethod
    def delegated_name(self, service: str, task: str) -> str | None:
        """The stored name of an open delegated task of a service; None when there is none."""

    @abstractmethod
    def workers_alive(self) -> list[Doc]:
        """Living workers: name, info."""

    def workers_seen(self) -> list[Doc]:
        """Workers on record, dead ones too: name, info, seen (when the lease was last renewed)."""
        return []


class Storage(EngineStore, TaskStore, WorkerStore, ClientStore):
    """All four faces; what an adapter implements. `me` is set by the worker that uses it."""

    me: int = 0
    failpoint: Callable[[str], None]
    """Called with `store.before_commit` and `store.after_commit` around each write."""

    def close(self) -> None:
        """Close the connections that this thread has of its own."""
