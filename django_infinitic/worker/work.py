"""The work of a batch: what was read, by instance, and who runs the tasks beside the engine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from django_infinitic.machine.effects import NewTask
from django_infinitic.machine.messages import Kind, Message
from django_infinitic.machine.state import Instance
from django_infinitic.storages.base import ClaimedTask, Inputs
from django_infinitic.worker.execution import Verdict


@dataclass(frozen=True, slots=True)
class Progress:
    """What a `run_once` came to: whether it did something, and when the next thing is due."""

    busy: bool
    next_due: int | None = None


class Colocated(Protocol):
    """The executor child beside an engine: tasks go to it after the commit, without a queue."""

    def reserve(self, service: str, name: str) -> bool:
        """Take a slot for a task about to be committed; False: none is free, or not served."""

    def unreserve(self, service: str, name: str) -> None:
        """The task was not committed after all."""

    def send(self, tasks: Sequence[ClaimedTask]) -> None:
        """Run these, whose slots are reserved."""

    def results(self) -> Sequence[tuple[ClaimedTask, Verdict]]:
        """What has ended since the last call."""

    def give_back(self, results: Iterable[tuple[ClaimedTask, Verdict]]) -> None:
        """The engine could not use these after all: they come again."""

    def spill(self, results: Iterable[tuple[ClaimedTask, Verdict]]) -> None:
        """Report these through the store."""

    def lost(self) -> None:
        """The engine owns nothing any more: reports go through the store from now on."""


def claimed(task: NewTask) -> ClaimedTask:
    """A task that was born claimed, as its executor gets it."""
    return ClaimedTask(
        id=task.id,
        instance=task.instance,
        workflow=task.workflow,
        service=task.service,
        name=task.name,
        attempt=task.attempt + 1,
        doc=task.doc,
    )


def by_instance(inputs: Inputs) -> dict[str, list[Message]]:
    """Messages and due timers by instance; a timer counts from its due time."""
    work: dict[str, list[Message]] = {}
    for message in inputs.messages:
        work.setdefault(message.instance, []).append(message)
    for timer, due, instance, doc in inputs.timers:
        fired = Message(kind=Kind.TIMER, doc={**doc, "timer": timer}, instance=instance, at=due)
        messages = work.setdefault(instance, [])
        place = next((at for at, one in enumerate(messages) if one.at > due), len(messages))
        messages.insert(place, fired)
    return work


def cancels(state: Instance, messages: list[Message]) -> bool:
    """Whether one of these cancels the whole instance."""
    return any(
        one.kind == Kind.CANCEL and one.doc.get("method") in (None, state.id) for one in messages
    )
