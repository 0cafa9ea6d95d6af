"""Effects: the rows that a turn of an instance writes, beside the entries of its history.

They are values: a batch of them can be written, refused, sent again or split (A8). Ids are `str`
UUIDs, times are microseconds since 1970 (UTC), documents are JSON-able dicts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django_infinitic.machine.messages import Kind

Doc = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One row of the history: `entries` of one stream, in order."""

    instance: str
    stream: int
    seq: int
    step: int
    entries: list[Doc]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """A task to run. `doc`: s stream and p position of its command, args, meta, tags, batch_key,
    q sequence, v version; `attempt`: the attempt it starts above (0: never ran). `claimed`: it is
    born claimed by the writing worker, with the next attempt, and is never queued."""

    id: str
    instance: str
    workflow: str
    service: str
    name: str
    ready_at: int
    doc: Doc
    attempt: int = 0
    claimed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """An attempt of the own executor child that failed and is tried again: the row is freed."""

    id: str
    attempt: int
    ready_at: int
    doc: Doc


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTimer:
    """Something due: a `Kind.TIMER` message with `doc` reaches the instance then."""

    id: str
    instance: str
    due: int
    doc: Doc


@dataclass(frozen=True, slots=True, kw_only=True)
class NewInstance:
    """A child to start. Without a custom id it starts in the batch, else through the starter lane,
    which then posts an OUTCOME to `requester` when the start finds another method's instance."""

    id: str
    workflow: str
    tags: tuple[str, ...]
    meta: Doc
    custom_id: str | None
    once: bool
    started_by: str
    requester: Doc
    start: Doc


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """A message to other instances: `to` is `id`, `custom` or `tag`, `value` which.

    By tag it goes to all that run but `sender`. By id or custom id, when none runs (of that
    workflow): `unknown`, if given, is posted to the sender as a message of kind OUTCOME instead.
    """

    to: str
    workflow: str | None
    value: str
    kind: Kind
    doc: Doc
    sender: str
    unknown: Doc | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeRow:
    """What a client that asks for a method's result is told; `seq` rises with each change."""

    method: str
    instance: str
    seq: int
    status: int
    doc: Doc


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The row of the instance, written when one of these changes.

    `open`: streams of the methods that run. `closed_at` None: it still runs.
    """

    instance: str
    workflow: str
    version: int | None
    status: int
    streams: int
    open: tuple[int, ...]
    closed_at: int | None = None
    error: str = ""
    queued: int = 0


@dataclass(slots=True)
class Effects:
    """All that one turn of one instance wants written."""

    instance: str
    consumed: list[int] = field(default_factory=list)
    fired: list[str] = field(default_factory=list)
    events: list[EventRow] = field(default_factory=list)
    tasks: list[NewTask] = field(default_factory=list)
    canceled_tasks: list[str] = field(default_factory=list)
    expired_tasks: list[str] = field(default_factory=list)
    done_tasks: list[tuple[str, int]] = field(default_factory=list)
    retried_tasks: list[Retried] = field(default_factory=list)
    delegated_tasks: list[tuple[str, int]] = field(default_factory=list)
    timers: list[NewTimer] = field(default_factory=list)
    dropped_timers: list[str] = field(default_factory=list)
    instances: list[NewInstance] = field(default_factory=list)
    posts: list[Post] = field(default_factory=list)
    outcomes: list[OutcomeRow] = field(default_factory=list)
    head: Head | None = None
    dropped_tags: list[str] = field(default_factory=list)
    parked: list[int] = field(default_factory=list)
    signals: list[tuple[str, Doc]] = field(default_factory=list)
