"""Why an instance does not move: one sentence, and the same as data. No user code is run."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django_infinitic.client.wording import time_text
from django_infinitic.storages.base import Doc

RETRY_HINT: Final = "Mend the cause, then retry it: handle.retry(), or in the admin"


class Why(enum.StrEnum):
    """What an instance, a method of it or one part of its wait stands on."""

    PERSON = "person"
    """Somebody has to decide a human task."""
    MESSAGE = "message"
    """A message on a channel."""
    TIMER = "timer"
    """It sleeps until a time."""
    TASK = "task"
    """A task that runs, or is about to."""
    RETRY = "retry"
    """A task, or the workflow's own code, failed and is tried again."""
    DELEGATED = "delegated"
    """A delegated task that somebody has to complete."""
    CHILD = "child"
    """Another workflow."""
    METHOD = "method"
    """Another method of this instance, or of one addressed by id."""
    NO_WORKER = "no_worker"
    """What has to run next is served by no living worker."""
    STALLED_TASK = "stalled_task"
    """Stalled: a task failed for good."""
    STALLED_CHILD = "stalled_child"
    """Stalled: a child, or a method elsewhere, failed."""
    STALLED_CODE = "stalled_code"
    """Stalled: its own code raised."""
    BLOCKED = "blocked"
    """The engine could not process it."""
    CANCELING = "canceling"
    """It is being canceled, and its cleanup runs or waits."""
    NOT_STARTED = "not_started"
    """No worker has seen it yet."""
    MOVING = "moving"
    """Nothing is waited for: a worker is about to run it."""
    ENDED = "ended"
    """It has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One part of a wait: a task, a message, a time, a child or a method.

    `id` is that of the task, child or method, `name` its stored name or that of the channel.
    `until`: when a timer is due, when the next attempt begins, or when a total timeout passes.
    `retry_index` retries have been made or are due, of `max_retries` (None: a policy of its own).
    `child` explains what is waited for, where that can be asked.
    """

    kind: Why
    text: str
    name: str = ""
    id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    worker: str | None = None
    retry_index: int = 0
    max_retries: int | None = None
    error: str = ""
    missing: str = ""
    child: Explanation | None = None

    def __str__(self) -> str:
        return self.text

    def to_json(self) -> Doc:
        """Plain JSON."""
        return _to_json(self, child=None if self.child is None else self.child.to_json())


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why an instance, or one method of it, does not move. `str()` is a sentence.

    `predicate` is the sentence without its subject. `since`: since when; `until`: when it goes on
    at the latest, if that is known. `waits`: the parts of the wait that are still open, in written
    order. `error`: the text of what stalled or blocked it. `missing`: what no worker serves,
    `command` what to run then. `status`: the name of the instance's (or, when it has ended, the
    method's) status. `others`: the other running methods, after the one that waits longest.
    """

    kind: Why
    workflow_id: str
    workflow_name: str
    method_id: str
    method_name: str
    predicate: str
    status: str
    since: datetime | None = None
    until: datetime | None = None
    waits: tuple[Cause, ...] = ()
    error: str = ""
    missing: str = ""
    command: str = ""
    others: tuple[Explanation, ...] = ()

    @property
    def subject(self) -> str:
        """What it is about: `shop.Order (id)`, of a side method or one of several with its name."""
        text = f"{self.workflow_name} ({self.workflow_id})"
        if self.method_name and (self.others or self.method_id != self.workflow_id):
            text += f", method {self.method_name},"
        return text

    def __str__(self) -> str:
        sentences = [f"{self.subject} {self.predicate.removesuffix('.')}."]
        sentences += [str(one.child) for one in self.waits if one.child is not None]
        if self.missing:
            sentences.append(f"{self.missing}.")
        sentences += [
            f"Its method {one.method_name} {one.predicate.removesuffix('.')}."
            for one in self.others
        ]
        return " ".join(sentences)

    def to_json(self) -> Doc:
        """Plain JSON; `sentence` is `str()`."""
        return {
            "sentence": str(self),
            **_to_json(
                self,
                waits=[one.to_json() for one in self.waits],
                others=[one.to_json() for one in self.others],
            ),
        }


def _to_json(thing: Cause | Explanation, **nested: Any) -> Doc:
    found: Doc = {}
    for name in thing.__slots__:
        value = nested[name] if name in nested else getattr(thing, name)
        found[name] = value.isoformat() if isinstance(value, datetime) else value
    found["kind"] = str(thing.kind)
    return found


def since_text(since: datetime | None, until: datetime | None = None) -> str:
    """`since 14:05, at most until 15:00`, as far as it is known."""
    text = "" if since is None else f" since {time_text(since)}"
    return text if until is None else f"{text}, at most until {time_text(until)}"
