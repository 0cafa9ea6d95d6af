"""The state of one instance, and how each entry of its history changes it.

Streams of the history: 0 the instance, 1 its properties, n >= 2 its methods. `evolve` is the only
writer of what an entry records, in a live run and when a cold instance is loaded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django_infinitic.authoring.deferred import DeferredStatus
from django_infinitic.machine.ids import derived_id
from django_infinitic.machine.properties import PropertyLog
from django_infinitic.machine.waits import Resolution, Wait, Waiting, evaluate, leaves_of

if TYPE_CHECKING:
    from django_infinitic.registry import WorkflowSpec

INSTANCE, PROPERTIES, MAIN = 0, 1, 2
Doc = dict[str, Any]
Matcher = Callable[[Doc, str], bool]
"""Whether a message's payload matches the data of a receive command."""


@dataclass(slots=True)
class Command:
    """Something a method asked for. `outcomes`: (step, status, payload or error), oldest first."""

    kind: str
    name: str
    data: Doc
    id: str
    outcomes: list[tuple[int, int, Any]] = field(default_factory=list)
    cancel: bool = False
    sequence: int = 0
    shielded: bool = False

    def outcome(self, step: int) -> tuple[int, int, Any] | None:
        """The last outcome up to a step."""
        found: tuple[int, int, Any]
        for found in reversed(self.outcomes):
            if found[0] <= step:
                return found
        return None

    def status(self, step: int) -> int:
        """The status up to a step."""
        found = self.outcome(step)
        return DeferredStatus.ONGOING if found is None else found[1]

    @property
    def last(self) -> int:
        """The present status."""
        return self.outcomes[-1][1] if self.outcomes else DeferredStatus.ONGOING


@dataclass(slots=True)
class Receive:
    """An open `receive()`: its slot holds what was taken and not yet handed out."""

    data: Doc
    count: int = 0
    slot: Waiting | None = None
    last: Waiting | None = None
    closed: bool = False
    early: list[tuple[int, Waiting]] = field(default_factory=list)

    @property
    def exhausted(self) -> bool:
        """Whether it has handed out as many messages as its limit says."""
        limit = self.data.get("l")
        return limit is not None and self.count >= limit


@dataclass(slots=True)
class Segment:
    """One uninterrupted run of a method, as recorded."""

    step: int
    at: int
    wake: str
    commands: list[list[Any]]
    records: list[list[Any]]
    takes: list[list[Any]]
    given: list[int]
    wait: list[Any] | None
    end: list[Any] | None
    canceled: bool

    @classmethod
    def from_json(cls, stored: Doc) -> Segment:
        """From its entry."""
        return cls(
            step=stored["n"],
            at=stored["a"],
            wake=stored["k"],
            commands=stored.get("c", []),
            records=stored.get("r", []),
            takes=stored.get("t", []),
            given=stored.get("g", []),
            wait=stored.get("w"),
            end=stored.get("e"),
            canceled=bool(stored.get("x")),
        )


@dataclass(slots=True)
class Stall:
    """A method that failed and can be mended. `wake`: what resumed the run that failed."""

    step: int
    at: int
    error: Doc
    wake: str
    saga: bool = False
    retries: int = 0


@dataclass(slots=True)
class Method:
    """One running (or stalled) method of an instance."""

    stream: int
    id: str
    name: str
    args: str
    requester: Doc | None
    at: int
    step: int
    commands: dict[int, Command] = field(default_factory=dict)
    receives: dict[int, Receive] = field(default_factory=dict)
    segments: list[Segment] | None = field(default_factory=list)
    wait: Wait | None = None
    stall: Stall | None = None
    started: bool = False
    positions: int = 0
    last_step: int = 0
    cancel_step: int | None = None
    cancel_told: bool = False
    wait_due: bool = False
    end: list[Any] | None = None
    retries: int = 0
    guard: str | None = None
    joined: list[Doc] = field(default_factory=list)

    @property
    def running(self) -> bool:
        """Whether it has not ended (stalled or not)."""
        return self.end is None


@dataclass(slots=True)
class Instance:
    """The state of one instance."""

    id: str
    workflow: str
    version: int | None = None
    tags: frozenset[str] = frozenset()
    custom_id: str | None = None
    meta: Doc = field(default_factory=dict)
    parent: Doc | None = None
    started_by: str = ""
    step: int = 0
    at: int = 0
    streams: int = MAIN
    methods: dict[int, Method] = field(default_factory=dict)
    channels: dict[str, list[Waiting]] = field(default_factory=dict)
    keys: set[tuple[str, str]] = field(default_factory=set)
    property_log: PropertyLog = field(default_factory=PropertyLog)
    canceling: bool = False
    forced: bool = False
    closed: bool = False
    blocked: bool = False
    main_end: list[Any] | None = None
    next_seq: dict[int, int] = field(default_factory=dict)
    head_changed: bool = True
    shown: tuple[int, int | None, tuple[int, ...], str, int, int] | None = None
    spec: WorkflowSpec | None = None
    matches: Matcher = lambda data, payload: True
    unbuffered: frozenset[str] = frozenset()

    @property
    def properties(self) -> dict[str, str | None]:
        """The encoded properties as they are now; None: deleted."""
        return self.property_log.values

    def method_by_id(self, method_id: str) -> Method | None:
        """A running method by its id."""
        for method in self.methods.values():
            if method.id == method_id:
                return method
        return None

    def buffered(self, channel: str) -> bool:
        """Whether messages of a channel (stored name) wait for a receive that comes later."""
        return channel not in self.unbuffered

    def running(self) -> Iterator[Method]:
        """Methods that have not ended, in the order of their start."""
        return (method for method in self.methods.values() if method.end is None)


def evolve(state: Instance, stream: int, entry: Doc) -> None:
    """Apply one entry of the history. An entry has one key that says what it is."""
    ((kind, body),) = entry.items()
    _EVOLVE[kind](state, stream, body)
    if kind in _SHOWN:
        state.head_changed = True


def _touch(state: Instance, step: int, at: int | None = None) -> None:
    state.step = max(state.step, step)
    if at is not None:
        state.at = max(state.at, at)


def _opened(state: Instance, stream: int, body: Doc) -> None:
    _touch(state, body["n"], body["a"])
    state.streams = max(state.streams, stream)
    state.methods[stream] = Method(
        stream=stream,
        id=body["id"],
        name=body["m"],
        args=body["v"],
        requester=body.get("f"),
        at=body["a"],
        step=body["n"],
    )


def _outcome(state: Instance, stream: int, body: list[Any]) -> None:
    step, position, status, value, *_ = body  # and the time, for the timeline
    _touch(state, step)
    method = state.methods.get(stream)
    if method is None or position not in method.commands:
        return
    command = method.commands[position]
    command.outcomes.append((step, status, value))
    if status == DeferredStatus.ONGOING:
        command.sequence += 1
    elif method.wait is not None and method.wait.open is not None:
        if status == DeferredStatus.COMPLETED:
            method.wait.open.discard(position)
        else:
            method.wait.open = None


def _taken_early(state: Instance, stream: int, body: list[Any]) -> None:
    """A message taken by a wait that goes on."""
    step, position, order, payload = body
    _touch(state, step)
    method = state.methods.get(stream)
    if method is not None:
        message = Waiting(order, payload)
        method.receives[position].slot = message
        method.receives[position].early.append((step, message))


def _segment(state: Instance, stream: int, body: Doc) -> None:
    segment = Segment.from_json(body)
    _touch(state, segment.step, segment.at)
    method = state.methods.get(stream)
    if method is None:
        return
    method.started = True
    method.stall = None
    method.retries = 0
    if segment.wake == "cancel" and method.wait is not None:
        for position in leaves_of(method.wait.node):
            if method.commands[position].kind == "task":
                _cancel_command(method, position, segment.step)
    method.wait_due = False
    method.last_step = segment.step
    method.cancel_told = method.cancel_told or segment.canceled
    if method.segments is not None:
        method.segments.append(segment)
    for kind, name, data in segment.commands:
        method.positions += 1
        _commanded(state, method, segment, kind, name, data)
    _handed_out(method, segment)
    method.wait = None
    if segment.wait is not None:
        method.wait = Wait.from_json(segment.wait, segment.step, segment.at)
        method.wait.open = _open_leaves(state, method)
    method.end = segment.end
    if segment.end is not None:
        state.head_changed = True


def _handed_out(method: Method, segment: Segment) -> None:
    """What the receives took and gave: each slot is emptied before it is filled again."""
    taken: dict[int, deque[Waiting]] = {}
    for _, position, order, payload in segment.takes:
        taken.setdefault(position, deque()).append(Waiting(order, payload))
    for position in segment.given:
        receive = method.receives[position]
        if receive.slot is None and taken.get(position):
            receive.slot = taken[position].popleft()
        if receive.slot is not None:
            receive.last, receive.slot = receive.slot, None
            receive.count += 1
    for position, left in taken.items():
        if left and not method.receives[position].closed:
            method.receives[position].slot = left.popleft()


def _commanded(
    state: Instance, method: Method, segment: Segment, kind: str, name: str, data: Doc
) -> None:
    position = method.positions
    if kind == "cancel":
        for target in data["of"]:
            _cancel_command(method, target, segment.step)
    elif kind == "clear":
        return
    elif kind == "receive":
        method.receives[position] = Receive(data)
    if kind not in ("send", "cancel", "clear", "inline"):
        command = Command(kind, name, data, derived_id(segment.at, state.id, method.id, position))
        command.shielded = bool(data.get("sh"))
        method.commands[position] = command
        if kind == "method" and data["to"] == "tag":
            command.outcomes.append((segment.step, DeferredStatus.COMPLETED, "null"))


def _cancel_command(method: Method, position: int, step: int) -> None:
    command = method.commands[position]
    if command.kind in ("timer", "receive"):
        if command.kind == "receive":
            method.receives[position].closed = True
            method.receives[position].slot = None
        if command.last == DeferredStatus.ONGOING:
            command.outcomes.append((step, DeferredStatus.CANCELED, None))
    elif command.last == DeferredStatus.ONGOING:
        command.cancel = True


def _open_leaves(state: Instance, method: Method) -> set[int] | None:
    """Of a plain `&` over many commands, those without outcome: so an arrival is O(1)."""
    wait = method.wait
    if wait is None or not isinstance(wait.node, list) or wait.node[0] != "&":
        return None
    operands = wait.node[1:]
    if not all(isinstance(one, int) and one not in method.receives for one in operands):
        return None
    commands = [method.commands[one] for one in operands]
    if any(one.last not in (DeferredStatus.ONGOING, DeferredStatus.COMPLETED) for one in commands):
        return None
    return {
        one
        for one, command in zip(operands, commands, strict=True)
        if command.last == DeferredStatus.ONGOING
    }


def _stalled(state: Instance, stream: int, body: Doc) -> None:
    _touch(state, body["n"], body["a"])
    method = state.methods.get(stream)
    if method is not None:
        method.stall = Stall(
            body["n"], body["a"], body["e"], body["k"], bool(body.get("s")), body.get("r", 0)
        )
        method.retries = max(method.retries, body.get("r", 0))


def _retried(state: Instance, stream: int, body: list[int]) -> None:
    step, by_hand, *until = body
    _touch(state, step)
    method = state.methods.get(stream)
    if method is not None:
        method.stall = None
        if by_hand:
            method.retries = 0
        if until and method.wait is not None:
            method.wait.until = until[0]


def _joined(state: Instance, stream: int, body: Doc) -> None:
    """Somebody else waits for this method too."""
    method = state.methods.get(stream)
    if method is not None:
        method.joined.append(body)


def _guarded(state: Instance, stream: int, body: str | None) -> None:
    method = state.methods.get(stream)
    if method is not None:
        method.guard = body


def _canceled(state: Instance, stream: int, body: int) -> None:
    _touch(state, body)
    method = state.methods.get(stream)
    if method is not None and method.cancel_step is None:
        method.cancel_step = body


def _ended(state: Instance, stream: int, body: list[Any]) -> None:
    """An end without a segment: canceled before it ran, dropped, or failed with the instance."""
    step, end = body
    _touch(state, step)
    method = state.methods.get(stream)
    if method is not None:
        method.end = end
        method.wait = None


def _changed(state: Instance, stream: int, body: list[Any]) -> None:
    step, changes = body
    _touch(state, step)
    state.property_log.add(step, changes)


def _arrived(state: Instance, stream: int, body: list[Any]) -> None:
    order, channel, payload, key = body
    _touch(state, order)
    queue = state.channels.setdefault(channel, [])
    queue.append(Waiting(order, payload, key))
    if len(queue) > 1 and queue[-2].order > order:  # it went back to its place
        queue.sort(key=lambda waiting: waiting.order)
    if key is not None:
        state.keys.add((channel, key))


def _gone(state: Instance, stream: int, body: list[Any]) -> None:
    """Messages taken, cleared or discarded: `[channel, [orders]]`."""
    channel, orders, *_ = body
    gone = set(orders)
    queue = state.channels.get(channel, [])
    if len(gone) == 1 and queue and queue[0].order in gone:
        del queue[0]
    else:
        state.channels[channel] = [one for one in queue if one.order not in gone]


def _cancel_asked(state: Instance, stream: int, body: list[Any]) -> None:
    step, forced = body
    _touch(state, step)
    state.canceling = True
    state.forced = state.forced or bool(forced)


def _main_ended(state: Instance, stream: int, body: list[Any]) -> None:
    _touch(state, body[0])
    state.main_end = body[1]


def _closed(state: Instance, stream: int, body: list[Any]) -> None:
    _touch(state, body[0])
    state.closed = True


def _noted(state: Instance, stream: int, body: Any) -> None:
    """For the timeline only."""


_EVOLVE: dict[str, Callable[[Instance, int, Any], None]] = {
    "open": _opened,
    "out": _outcome,
    "took": _taken_early,
    "seg": _segment,
    "stall": _stalled,
    "retry": _retried,
    "join": _joined,
    "guard": _guarded,
    "cancel": _canceled,
    "end": _ended,
    "set": _changed,
    "msg": _arrived,
    "gone": _gone,
    "stop": _cancel_asked,
    "main": _main_ended,
    "closed": _closed,
    "note": _noted,
}


_SHOWN = frozenset({"open", "stall", "retry", "stop", "main", "closed", "end", "cancel"})
"""Entries that can change the row of the instance."""


def leaf_of(
    state: Instance, method: Method, step: int
) -> Callable[[int, set[int]], Resolution | None]:
    """What is known of the positions of a method up to a step, from the machine's own state."""

    def leaf(position: int, claimed: set[int]) -> Resolution | None:
        receive = method.receives.get(position)
        if receive is not None and not receive.closed:
            return receive_leaf(position, receive, state, claimed)
        found = method.commands[position].outcome(step)
        if found is None or found[1] == DeferredStatus.ONGOING:
            return None
        return Resolution(found[1] == DeferredStatus.COMPLETED, found[0], position)

    return leaf


def receive_leaf(
    position: int, receive: Receive, state: Instance, claimed: set[int]
) -> Resolution | None:
    """Whether a receive has something for its next wait."""
    if receive.slot is not None:
        return Resolution(True, receive.slot.order, position)
    if receive.exhausted:
        order = receive.last.order if receive.last is not None else 0
        return Resolution(True, order, position)
    for waiting in state.channels.get(receive.data["ch"], ()):
        if waiting.order not in claimed and state.matches(receive.data, waiting.payload):
            return Resolution(True, waiting.order, position, take=waiting)
    return None


__all__ = ["Command", "Instance", "Method", "evaluate", "evolve", "leaf_of", "leaves_of"]
