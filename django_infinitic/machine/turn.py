"""A turn: what one instance does with the messages of a batch.

    turn.take(message)                      # bookkeeping
    while wake := turn.next():              # user code that can run now
        turn.finish(wake, fibres.run(wake))
    effects = turn.close_up()

`take`, `next` and `finish` are the only writers: each records entries, applies them with `evolve`,
and collects effects. Nothing here knows a clock: times come with the messages.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django_infinitic.machine import (
    arrivals,
    cancels,
    emit,
    endings,
    repairs,
    segments,
    starts,
    timers,
)
from django_infinitic.machine import effects as fx
from django_infinitic.machine.messages import Kind, Message
from django_infinitic.machine.state import (
    Instance,
    Method,
    evolve,
    leaves_of,
)
from django_infinitic.machine.statuses import DeferredStatus
from django_infinitic.machine.waits import Wait, Waiting

logger = logging.getLogger("django_infinitic.engine")
Doc = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wake:
    """A method to run now. `kind`: start, outcome, timeout, cancel or checkpoint.

    `takes`: messages for its receives, as (position, message).
    """

    stream: int
    kind: str
    step: int
    at: int
    takes: tuple[tuple[int, Waiting], ...] = ()


@dataclass(slots=True)
class Ran:
    """What the fibres tell of one segment.

    `kind`: wait, return, declared, canceled or stall. `value`: the payload of a return, or the
    error document of a stall or of a declared exception. `changes`: properties as (name, payload;
    None: deleted). `retry_in`: seconds until the workflow's own policy tries a stall again.
    """

    kind: str
    value: Any = None
    commands: list[list[Any]] = field(default_factory=list)
    records: list[list[Any]] = field(default_factory=list)
    takes: list[list[Any]] = field(default_factory=list)
    given: list[int] = field(default_factory=list)
    wait: Wait | None = None
    changes: dict[str, str | None] = field(default_factory=dict)
    canceled: bool = False
    saga: bool = False
    retry_in: float | None = None


class Turn:
    """What one instance does with some messages; see the module."""

    def __init__(self, state: Instance, now: int) -> None:
        self.state = state
        self.now = max(now, state.at)
        self.effects = fx.Effects(state.id)
        self.entries: dict[int, list[Doc]] = {}
        self.own: deque[Message] = deque()
        self.checkpoints: list[int] = []
        self.returned: set[str] = set()
        if state.shown is None and state.step:  # loaded; a fresh one has its version to tell
            state.shown = endings.head_key(self)
        self.wakes: deque[tuple[int, str, tuple[tuple[int, Waiting], ...]]] = deque()

    def record(self, stream: int, **entry: Any) -> None:
        """Add one entry to the history and apply it."""
        self.entries.setdefault(stream, []).append(entry)
        evolve(self.state, stream, entry)

    def step(self) -> int:
        """The next step of the instance."""
        self.state.step += 1
        return self.state.step

    def to_self(self, kind: Kind, doc: Doc) -> None:
        """A message of the instance to itself: handled in this turn, before anything else."""
        self.own.append(Message(kind=kind, doc=doc, instance=self.state.id, at=self.now))

    def take(self, message: Message) -> None:
        """Handle one message; what can run because of it is given by `next`."""
        if message.row is not None:
            self.effects.consumed.append(message.row)
        self.now = max(self.now, message.at)
        self._handle(message)

    def _handle(self, message: Message) -> None:
        _HANDLERS[message.kind](self, message.doc)

    def wake(self, method: Method, kind: str, takes: tuple[tuple[int, Waiting], ...] = ()) -> None:
        """Let a method run. The messages it takes are its own from now on."""
        method.wait_due = True
        for position, message in takes:
            arrivals.claim(self, method.receives[position].data["ch"], message)
        self.wakes.append((method.stream, kind, takes))

    def drop_wakes(self, method: Method) -> None:
        """It does not run after all: the messages it was to take go back to their places."""
        for stream, _, takes in self.wakes:
            for position, message in takes if stream == method.stream else ():
                arrivals.give_back(self, method.receives[position].data["ch"], message)
        self.wakes = deque(one for one in self.wakes if one[0] != method.stream)
        method.wait_due = False

    def next(self, canceled_soon: bool = False) -> Wake | None:
        """The next method to run, after handling what the instance told itself.

        `canceled_soon`: a cancel of the whole instance waits behind the present message, so a
        method that has not begun is not begun any more.
        """
        while True:
            if self.own:
                self._handle(self.own.popleft())
                continue
            if self.returned:
                arrivals.offer_again(self)
                continue
            if not self.wakes:
                arrivals.drop_unheard(self)
                endings.maybe_close(self)
                return None
            stream, kind, takes = self.wakes.popleft()
            method = self.state.methods.get(stream)
            if method is None or method.end is not None:
                continue
            if kind == "start" and canceled_soon:
                continue
            return Wake(stream=stream, kind=kind, step=self.step(), at=self.now, takes=takes)

    def finish(self, wake: Wake, ran: Ran) -> None:
        """Apply what a segment did."""
        method = self.state.methods[wake.stream]
        method.wait_due = False
        if ran.kind == "stall":
            segments.stall(self, method, wake, ran)
            return
        if wake.kind != "timeout":
            timers.drop_wait_timer(self, method)
        if wake.kind == "cancel" and method.wait is not None:
            for position in leaves_of(method.wait.node):
                command = method.commands[position]
                if command.kind == "task" and command.last == DeferredStatus.ONGOING:
                    self.effects.canceled_tasks.append(command.id)
        segments.record_segment(self, method, wake, ran)
        emit.commands(self, method, wake, ran)
        if ran.kind != "wait":
            endings.method_ended(self, method)
        else:
            timers.set_wait_timer(self, method)
        arrivals.drop_unheard(self)
        if ran.kind == "wait" and method.wait is not None and method.end is None:
            segments.begin_wait(self, method)

    def resume_checkpoints(self, streams: list[int]) -> None:
        """After the commit of a checkpoint its method goes on."""
        for stream in dict.fromkeys(streams):
            method = self.state.methods.get(stream)
            if method is not None and method.wait is not None and method.wait.checkpoint:
                self.wake(method, "checkpoint")

    def close_up(self) -> fx.Effects:
        """All effects, with the rows of the history and, if it changed, of the instance."""
        state = self.state
        endings.forget_short_methods(self)
        for stream, entries in self.entries.items():
            seq = state.next_seq.get(stream, 0)
            state.next_seq[stream] = seq + 1
            self.effects.events.append(
                fx.EventRow(
                    instance=state.id, stream=stream, seq=seq, step=state.step, entries=entries
                )
            )
        key = endings.head_key(self) if endings.may_differ(state) else state.shown
        if key is not None and key != state.shown:
            state.shown = key
            self.effects.head = fx.Head(
                instance=state.id,
                workflow=state.workflow,
                version=state.version,
                status=key[0],
                streams=state.streams,
                open=key[2],
                closed_at=self.now if state.closed else None,
                error=key[3],
                queued=key[4],
            )
        for stream in [one.stream for one in state.methods.values() if one.end is not None]:
            del state.methods[stream]
            state.next_seq.pop(stream, None)
        state.property_log.forget(min((one.step for one in state.running()), default=state.step))
        return self.effects


_HANDLERS: dict[Kind, Callable[[Turn, Doc], None]] = {
    Kind.START: starts.start,
    Kind.METHOD: starts.run_method,
    Kind.SEND: arrivals.message,
    Kind.CANCEL: cancels.cancel,
    Kind.RETRY: repairs.retry,
    Kind.RETRY_TASKS: repairs.retry_tasks,
    Kind.TIMERS: timers.complete_timers,
    Kind.OUTCOME: arrivals.foreign_outcome,
    Kind.REPORT: arrivals.report,
    Kind.TIMER: timers.timer,
}
