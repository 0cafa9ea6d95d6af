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

from django_infinitic.exceptions import (
    WorkflowCanceledError,
    WorkflowUnknownError,
    error_from_json,
)
from django_infinitic.machine import effects as fx
from django_infinitic.machine import emit
from django_infinitic.machine.ids import derived_id
from django_infinitic.machine.messages import Kind, Message
from django_infinitic.machine.properties import difference
from django_infinitic.machine.state import (
    INSTANCE,
    MAIN,
    PROPERTIES,
    Command,
    Instance,
    Method,
    evolve,
    leaf_of,
    leaves_of,
)
from django_infinitic.machine.statuses import DeferredStatus, InstanceStatus, OutcomeStatus
from django_infinitic.machine.waits import Wait, Waiting, evaluate

logger = logging.getLogger("django_infinitic.engine")
Doc = dict[str, Any]
MAX_WAITING = 10_000
JOIN_USAGE = -1
CHECKPOINT_GUARD = 1_000_000


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
        self._entries: dict[int, list[Doc]] = {}
        self._own: deque[Message] = deque()
        self.checkpoints: list[int] = []
        self._wakes: deque[tuple[int, str, tuple[tuple[int, Waiting], ...]]] = deque()
        self._shown = self._head_key()

    # -- recording ------------------------------------------------------------------------

    def record(self, stream: int, **entry: Any) -> None:
        """Add one entry to the history and apply it."""
        self._entries.setdefault(stream, []).append(entry)
        evolve(self.state, stream, entry)

    def step(self) -> int:
        """The next step of the instance."""
        self.state.step += 1
        return self.state.step

    def to_self(self, kind: Kind, doc: Doc) -> None:
        """A message of the instance to itself: handled in this turn, before anything else."""
        self._own.append(Message(kind=kind, doc=doc, instance=self.state.id, at=self.now))

    # -- messages -------------------------------------------------------------------------

    def take(self, message: Message) -> None:
        """Handle one message; what can run because of it is given by `next`."""
        if message.row is not None:
            self.effects.consumed.append(message.row)
        self.now = max(self.now, message.at)
        self._handle(message)

    def _handle(self, message: Message) -> None:
        _HANDLERS[message.kind](self, message.doc)

    def _start(self, doc: Doc) -> None:
        if self.state.methods or self.state.closed or self.state.streams > MAIN:
            return
        self._open(MAIN, self.state.id, doc["method"], doc["args"], doc.get("from"))
        self.effects.signals.append(("workflow_started", {"tags": sorted(self.state.tags)}))

    def _run_method(self, doc: Doc) -> None:
        state = self.state
        if doc.get("join"):
            self._join(doc)
            return
        if state.closed or state.canceling or not (state.methods or state.streams > MAIN):
            self._unknown_method(doc)
            return
        if state.method_by_id(doc["id"]) is not None:
            return
        self._open(
            max(state.streams, MAIN) + 1, doc["id"], doc["method"], doc["args"], doc.get("from")
        )

    def _open(self, stream: int, id: str, name: str, args: str, requester: Doc | None) -> None:
        body = {"id": id, "m": name, "v": args, "n": self.step(), "a": self.now}
        if requester:
            body["f"] = requester
        self.record(stream, open=body)
        self._wakes.append((stream, "start", ()))

    def _join(self, doc: Doc) -> None:
        """A child start found this instance by its custom id: it waits for the same outcome."""
        main = self.state.methods.get(MAIN)
        if main is not None and main.end is None:
            self.record(MAIN, join=doc["from"])
            if main.stall is not None:
                self._tell_one(doc["from"], DeferredStatus.FAILED, main.stall.error)
        elif self.state.main_end is not None:
            status, value = _told(self.state.main_end)
            self._tell_one(doc["from"], status, value)

    def _unknown_method(self, doc: Doc) -> None:
        error = WorkflowUnknownError(
            workflow_name=self.state.workflow,
            workflow_id=self.state.id,
            method_name=doc["method"],
            method_id=doc["id"],
        ).to_json()
        requester = doc.get("from")
        if requester:
            self._tell_one(requester, DeferredStatus.UNKNOWN, error)
        else:
            self._outcome(doc["id"], OutcomeStatus.UNKNOWN, {"e": error})

    def _message(self, doc: Doc) -> None:
        state = self.state
        channel, key = doc["channel"], doc.get("key")
        if state.closed or (key is not None and (channel, key) in state.keys):
            return
        if len(state.channels.get(channel, ())) >= MAX_WAITING:
            self._discard(channel, self.step(), doc["value"], "limit")
            return
        arrival = Waiting(self.step(), doc["value"], key)
        queue = state.channels.setdefault(channel, [])
        queue.append(arrival)
        taken = self._serve_waits(channel, arrival)
        queue.pop()
        if not taken or key is not None:
            self.record(INSTANCE, msg=[arrival.order, channel, arrival.payload, key])
        if taken and key is not None:
            self.record(INSTANCE, gone=[channel, [arrival.order]])

    def _serve_waits(self, channel: str, arrival: Waiting) -> bool:
        """Offer a message that arrived to the waits, the one that began first first."""
        waiting = [
            method
            for method in self.state.running()
            if method.wait is not None
            and method.stall is None
            and not method.wait_due
            and any(receive.data["ch"] == channel for receive in method.receives.values())
        ]
        for method in sorted(waiting, key=lambda one: one.wait.step if one.wait else 0):
            if method.wait is None:
                continue
            found = evaluate(method.wait.node, leaf_of(self.state, method, self.state.step))
            takes = [(at, one) for at, one in found.takes if one.order == arrival.order]
            if found.resolution is not None:
                self._wake(method, "outcome", tuple(found.takes))
                return any(one.order == arrival.order for _, one in found.takes)
            if takes:
                position, one = takes[0]
                self.record(method.stream, took=[self.state.step, position, one.order, one.payload])
                return True
        return False

    def _wake(self, method: Method, kind: str, takes: tuple[tuple[int, Waiting], ...] = ()) -> None:
        method.wait_due = True
        self._wakes.append((method.stream, kind, takes))

    def _discard(self, channel: str, order: int, payload: str, why: str) -> None:
        self.record(INSTANCE, note={"discarded": [order, channel, payload, why], "a": self.now})
        self.effects.signals.append(
            ("message_discarded", {"channel": channel, "why": why, "id": self.state.id})
        )

    def _cancel(self, doc: Doc) -> None:
        state = self.state
        target = doc.get("method")
        if state.closed:
            return
        if target is not None and target != state.id:
            method = state.method_by_id(target)
            if method is not None and method.end is None:
                self._cancel_method(method, bool(doc.get("force")))
            return
        force = bool(doc.get("force"))
        if state.canceling and not force:
            return
        first = not state.canceling
        self.record(INSTANCE, stop=[self.step(), int(force)])
        if first and state.main_end is None and MAIN in state.methods:
            self._outcome(state.id, OutcomeStatus.CANCELED, {"e": self._canceled_error(state.id)})
        for method in list(state.running()):
            self._cancel_method(method, force)

    def _cancel_method(self, method: Method, force: bool) -> None:
        if force or not method.started:
            if method.cancel_step is None:
                self.record(method.stream, cancel=self.step())
                self._told_canceled(method)
            self._cancel_children(method, force)
            self._drop_wakes(method)
            self.record(method.stream, end=[self.step(), ["canceled"]])
            self._method_ended(method)
            return
        if method.cancel_step is not None:
            return
        self.record(method.stream, cancel=self.step())
        self._told_canceled(method)
        self._cancel_children(method, force)
        if method.wait is not None and not method.wait.shield:
            self._drop_wakes(method)
            if method.stall is not None:
                self._unstall(method)
            self._wake(method, "cancel")

    def _told_canceled(self, method: Method) -> None:
        """Waiters get their error at once, whatever the method does from now on."""
        error = self._canceled_error(method.id, method.name)
        self._outcome(method.id, OutcomeStatus.CANCELED, {"e": error})
        self._tell(method, DeferredStatus.CANCELED, error)

    def _canceled_error(self, method_id: str, name: str = "") -> Doc:
        if not name:
            found = self.state.method_by_id(method_id)
            name = found.name if found is not None else ""
        return WorkflowCanceledError(
            workflow_name=self.state.workflow,
            workflow_id=self.state.id,
            method_name=name,
            method_id=method_id,
        ).to_json()

    def _cancel_children(self, method: Method, force: bool) -> None:
        """Running children, and methods that it runs on others by id, are canceled with it."""
        for command in method.commands.values():
            if command.shielded or command.last not in (
                DeferredStatus.ONGOING,
                DeferredStatus.FAILED,
                DeferredStatus.TIMED_OUT,
            ):
                continue
            if command.kind == "child":
                self._post_cancel(command, None, force)
            elif command.kind == "method" and command.data["to"] in ("id", "custom"):
                self._post_cancel(command, command.id, force)

    def _post_cancel(self, command: Command, method: str | None, force: bool) -> None:
        data = command.data
        to, value = ("id", command.id) if command.kind == "child" else (data["to"], data["to_id"])
        self.effects.posts.append(
            fx.Post(
                to=to,
                workflow=data["wf"],
                value=value,
                kind=Kind.CANCEL,
                doc={"force": force, "method": method},
                sender=self.state.id,
            )
        )

    def _drop_wakes(self, method: Method) -> None:
        self._wakes = deque(one for one in self._wakes if one[0] != method.stream)
        method.wait_due = False

    def _retry(self, doc: Doc) -> None:
        target = doc.get("method")
        for method in list(self.state.running()):
            if method.stall is None or (target is not None and method.id != target):
                continue
            self._retry_method(method)

    def _retry_method(self, method: Method, *, by_hand: bool = True) -> None:
        again = [
            position
            for position in self._failed_leaves(method)
            if self._send_again(method, position)
        ]
        wake = method.stall.wake if method.stall is not None else "outcome"
        self._unstall(method, by_hand=by_hand)
        if not again:
            self._resume_stalled(method, wake)

    def _failed_leaves(self, method: Method) -> list[int]:
        if method.wait is None or (method.stall is not None and method.stall.wake == "cancel"):
            return []
        return [
            position
            for position in leaves_of(method.wait.node)
            if method.commands[position].last in (DeferredStatus.FAILED, DeferredStatus.TIMED_OUT)
        ]

    def _send_again(self, method: Method, position: int) -> bool:
        """Give a failed task a new sequence, or retry a failed child; whether that was possible."""
        command = method.commands[position]
        _, _, value = command.outcomes[-1]
        if isinstance(value, dict) and value.get("declared"):
            return False
        if command.kind == "task":
            self.record(method.stream, out=[self.step(), position, DeferredStatus.ONGOING, None])
            emit.task(self, method, position, command, ready_at=self.now)
            return True
        if command.kind in ("child", "method"):
            self.record(method.stream, out=[self.step(), position, DeferredStatus.ONGOING, None])
            target = None if command.kind == "child" else command.id
            if command.kind == "method" and command.data["to"] == "own":
                self.to_self(Kind.RETRY, {"method": target})
            else:
                value = command.id if command.kind == "child" else command.data["to_id"]
                to = "id" if command.kind == "child" else command.data["to"]
                self.effects.posts.append(
                    fx.Post(
                        to=to,
                        workflow=command.data["wf"],
                        value=value,
                        kind=Kind.RETRY,
                        doc={"method": target},
                        sender=self.state.id,
                    )
                )
            return True
        return False

    def _unstall(self, method: Method, *, by_hand: bool = True) -> None:
        self.record(method.stream, retry=[self.step(), int(by_hand)])
        if method.cancel_step is None and by_hand:
            self._outcome(method.id, OutcomeStatus.ONGOING, {})

    def _resume_stalled(self, method: Method, wake: str) -> None:
        if wake != "outcome" or method.wait is None:
            self._wake(method, wake)
            return
        found = evaluate(method.wait.node, leaf_of(self.state, method, self.state.step))
        if found.resolution is not None:
            self._wake(method, wake, tuple(found.takes))

    def _retry_tasks(self, doc: Doc) -> None:
        task_id, status, service = doc.get("task"), doc.get("status"), doc.get("service")
        for method in list(self.state.running()):
            if task_id is None:
                positions = self._failed_leaves(method) if method.stall is not None else []
            else:
                positions = [at for at, one in method.commands.items() if one.id == task_id]
            again = False
            for position in dict.fromkeys(positions):
                command = method.commands[position]
                if command.kind != "task" or command.last not in (
                    DeferredStatus.FAILED,
                    DeferredStatus.TIMED_OUT,
                ):
                    continue
                if status is not None and command.last != status:
                    continue
                if service is not None and command.data["s"] != service:
                    continue
                again = self._send_again(method, position) or again
            stands = method.wait is not None and any(
                position in leaves_of(method.wait.node) for position in positions
            )
            if again and stands and method.stall is not None:
                self._unstall(method)

    def _complete_timers(self, doc: Doc) -> None:
        target = doc.get("method")
        for method in list(self.state.running()):
            if target is not None and method.id != target:
                continue
            for position, command in list(method.commands.items()):
                if command.kind == "timer" and command.last == DeferredStatus.ONGOING:
                    self.effects.dropped_timers.append(command.id)
                    self._arrive(method, position, DeferredStatus.COMPLETED, self._moment())

    def _moment(self) -> str:
        """The value of a timer: when it completed, in microseconds."""
        return str(self.now)

    def _timer(self, doc: Doc) -> None:
        self.effects.fired.append(doc["timer"])
        method = self.state.methods.get(doc["s"])
        if method is None or method.end is not None:
            return
        if "guard" in doc:
            self._guard_due(method)
        elif "p" in doc:
            command = method.commands[doc["p"]]
            if command.kind == "timer":
                if command.last == DeferredStatus.ONGOING:
                    self._arrive(method, doc["p"], DeferredStatus.COMPLETED, self._moment())
            elif command.last == DeferredStatus.ONGOING and command.sequence == 0:
                self._total_timeout(method, doc["p"], command)
        elif "w" in doc:
            if (
                method.wait is not None
                and method.wait.number == doc["w"]
                and not method.wait_due
                and method.stall is None
            ):
                self._wake(method, "timeout")
        elif method.stall is not None and method.stall.step == doc["retry"]:
            self._retry_method(method, by_hand=False)

    def _total_timeout(self, method: Method, position: int, command: Command) -> None:
        if command.kind == "task":
            self.effects.expired_tasks.append(command.id)
        self._arrive(
            method, position, DeferredStatus.TIMED_OUT, emit.timed_out(self.state, command)
        )

    def _report(self, doc: Doc) -> None:
        self._command_outcome(doc, task=True)

    def _foreign_outcome(self, doc: Doc) -> None:
        self._command_outcome(doc, task=False)

    def _command_outcome(self, doc: Doc, *, task: bool) -> None:
        method = self.state.methods.get(doc["s"])
        if self.state.closed or method is None or method.end is not None:
            return
        command = method.commands.get(doc["p"])
        if command is None or command.last in (DeferredStatus.COMPLETED, DeferredStatus.CANCELED):
            return
        status, value = doc["status"], doc.get("value")
        if status == JOIN_USAGE:
            status = DeferredStatus.FAILED
        if task:
            if command.sequence != doc.get("sequence", command.sequence):
                return
            if command.cancel and status != DeferredStatus.COMPLETED:
                status = DeferredStatus.CANCELED
            if status == DeferredStatus.CANCELED and not value:
                value = emit.task_canceled(command)
        self._arrive(method, doc["p"], status, value)

    def _arrive(self, method: Method, position: int, status: int, value: Any) -> None:
        """An outcome of a command; wakes the method when its wait is over by it."""
        self.record(method.stream, out=[self.step(), position, status, value])
        wait = method.wait
        if wait is None or wait.checkpoint or method.wait_due:
            return
        if wait.open is not None:
            if wait.open:
                return
        elif position not in leaves_of(wait.node):
            return
        stall = method.stall
        if stall is not None and (
            stall.wake != "outcome" or not self._stalled_on(method, stall.step)
        ):
            return
        found = evaluate(wait.node, leaf_of(self.state, method, self.state.step))
        for at, message in found.takes if found.resolution is None else ():
            self._took(method, at, message)
        if found.resolution is not None:
            if stall is not None:
                self._unstall(method)
            self._wake(method, "outcome", tuple(found.takes))

    def _stalled_on(self, method: Method, step: int) -> bool:
        """Whether the wait had come to a failure when the method stalled."""
        if method.wait is None:
            return False
        found = evaluate(method.wait.node, leaf_of(self.state, method, step))
        return found.resolution is None or not found.resolution.ok

    def _took(self, method: Method, position: int, message: Waiting) -> None:
        step = self.step()
        channel = method.receives[position].data["ch"]
        self.record(method.stream, took=[step, position, message.order, message.payload])
        self.record(INSTANCE, gone=[channel, [message.order]])

    # -- running ----------------------------------------------------------------------------

    def next(self, canceled_soon: bool = False) -> Wake | None:
        """The next method to run, after handling what the instance told itself.

        `canceled_soon`: a cancel of the whole instance waits behind the present message, so a
        method that has not begun is not begun any more.
        """
        while True:
            if self._own:
                self._handle(self._own.popleft())
                continue
            if not self._wakes:
                self._drop_unheard()
                self._maybe_close()
                return None
            stream, kind, takes = self._wakes.popleft()
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
            self._stall(method, wake, ran)
            return
        if method.wait is not None and method.wait.until is not None and wake.kind != "timeout":
            self.effects.dropped_timers.append(self._wait_timer(method, method.wait.number))
        if wake.kind == "cancel" and method.wait is not None:
            for position in leaves_of(method.wait.node):
                command = method.commands[position]
                if command.kind == "task" and command.last == DeferredStatus.ONGOING:
                    self.effects.canceled_tasks.append(command.id)
        self._record_segment(method, wake, ran)
        emit.commands(self, method, wake, ran)
        if ran.kind != "wait":
            self._method_ended(method)
        elif method.wait is not None and method.wait.until is not None:
            self.effects.timers.append(
                fx.NewTimer(
                    id=self._wait_timer(method, method.wait.number),
                    instance=self.state.id,
                    due=method.wait.until,
                    doc={"s": method.stream, "w": method.wait.number},
                )
            )
        self._drop_unheard()
        if ran.kind == "wait" and method.wait is not None and method.end is None:
            self._begin_wait(method)

    def _record_segment(self, method: Method, wake: Wake, ran: Ran) -> None:
        body: Doc = {"n": wake.step, "a": wake.at, "k": wake.kind}
        end = None if ran.kind == "wait" else [ran.kind, ran.value]
        for key, value in (
            ("c", ran.commands),
            ("r", ran.records),
            ("t", ran.takes),
            ("g", ran.given),
            ("w", ran.wait.to_json() if ran.wait is not None else None),
            ("e", end),
            ("x", int(ran.canceled)),
        ):
            if value:
                body[key] = value
        for kind, _, data in ran.commands:
            if kind == "cancel":
                self._give_back_canceled(method, data["of"])
        gone: dict[str, list[int]] = {}
        first = method.positions + 1
        data_of = {
            first + number: data
            for number, (kind, _, data) in enumerate(ran.commands)
            if kind == "receive"
        }
        for _, position, order, _ in ran.takes:
            known = method.receives.get(position)
            data = known.data if known is not None else data_of[position]
            channel = data["ch"]
            if any(one.order == order for one in self.state.channels.get(channel, ())):
                gone.setdefault(channel, []).append(order)
        self.record(method.stream, seg=body)
        for channel, orders in gone.items():
            self.record(INSTANCE, gone=[channel, orders])
        if ran.changes:
            stored = {
                name: difference(self.state.properties.get(name), payload)
                for name, payload in ran.changes.items()
            }
            self.record(PROPERTIES, set=[wake.step, stored])

    def _give_back_canceled(self, method: Method, positions: list[int]) -> None:
        for position in positions:
            receive = method.receives.get(position)
            if receive is not None and receive.slot is not None and not receive.closed:
                self._give_back(receive.data["ch"], receive.slot)
                receive.slot = None

    def _give_back(self, channel: str, message: Waiting) -> None:
        """What was taken and never handed out goes back to its place."""
        self.record(INSTANCE, msg=[message.order, channel, message.payload, message.key])

    def _wait_timer(self, method: Method, number: int) -> str:
        return derived_id(method.at, self.state.id, method.id, f"wait{number}")

    def _begin_wait(self, method: Method) -> None:
        """A wait that has just begun: what a cancel or an arrival in this very turn says of it."""
        wait = method.wait
        if wait is None:
            return
        if wait.checkpoint:
            self.checkpoints.append(method.stream)
            method.wait_due = True
            self._guard_checkpoint(method)
            return
        self._unguard_checkpoint(method)
        if method.cancel_step is not None and not method.cancel_told and not wait.shield:
            self._wake(method, "cancel")
        else:
            found = evaluate(wait.node, leaf_of(self.state, method, self.state.step))
            if found.resolution is not None:
                self._wake(method, "outcome", tuple(found.takes))

    def _stall(self, method: Method, wake: Wake, ran: Ran) -> None:
        for position, message in wake.takes:
            receive = method.receives[position]
            queue = self.state.channels.get(receive.data["ch"], ())
            if all(one.order != message.order for one in queue):
                self._give_back(receive.data["ch"], message)
        body: Doc = {"n": wake.step, "a": wake.at, "e": ran.value, "k": wake.kind}
        if ran.saga:
            body["s"] = 1
        if ran.retry_in is not None:
            body["r"] = method.retries + 1
        self.record(method.stream, stall=body)
        if ran.retry_in is not None:
            self.effects.timers.append(
                fx.NewTimer(
                    id=derived_id(wake.at, self.state.id, method.id, f"retry{wake.step}"),
                    instance=self.state.id,
                    due=wake.at + int(ran.retry_in * 1_000_000),
                    doc={"s": method.stream, "retry": wake.step},
                )
            )
            return
        if method.cancel_step is None:
            self._outcome(method.id, OutcomeStatus.STALLED, {"e": ran.value})
            self._tell(method, DeferredStatus.FAILED, ran.value)
        emit.stalled(self, method, ran.value)

    def resume_checkpoints(self, streams: list[int]) -> None:
        """After the commit of a checkpoint its method goes on."""
        for stream in streams:
            method = self.state.methods.get(stream)
            if method is not None and method.wait is not None and method.wait.checkpoint:
                self._wake(method, "checkpoint")

    def _guard_checkpoint(self, method: Method) -> None:
        """While a method stands at checkpoints one timer row finds it again after a crash."""
        if method.guard is None:
            label = f"checkpoint{self.state.step}"
            self._arm_guard(method, derived_id(self.now, self.state.id, method.id, label))

    def _arm_guard(self, method: Method, timer: str) -> None:
        self.record(method.stream, guard=timer)
        self.effects.timers.append(
            fx.NewTimer(
                id=timer,
                instance=self.state.id,
                due=self.now + CHECKPOINT_GUARD,
                doc={"s": method.stream, "guard": 1},
            )
        )

    def _unguard_checkpoint(self, method: Method) -> None:
        if method.guard is not None:
            self.effects.dropped_timers.append(method.guard)
            self.record(method.stream, guard=None)

    def _guard_due(self, method: Method) -> None:
        self.record(method.stream, guard=None)
        if method.wait is None or not method.wait.checkpoint:
            return
        self._guard_checkpoint(method)
        if not method.wait_due:
            self._wake(method, "checkpoint")

    # -- endings ----------------------------------------------------------------------------

    def _method_ended(self, method: Method) -> None:
        end = method.end or ["canceled", None]
        for receive in method.receives.values():
            if receive.slot is not None and not receive.closed:
                self._give_back(receive.data["ch"], receive.slot)
                receive.slot = None
        for position, command in method.commands.items():
            if command.kind == "timer" and command.last == DeferredStatus.ONGOING:
                self.effects.dropped_timers.append(command.id)
            elif command.last == DeferredStatus.ONGOING and command.data.get("tt"):
                self.effects.dropped_timers.append(emit.total_timer(self.state, method, position))
        if method.wait is not None and method.wait.until is not None:
            self.effects.dropped_timers.append(self._wait_timer(method, method.wait.number))
        self._unguard_checkpoint(method)
        if method.cancel_step is not None:
            end = ["canceled", None]
        elif end[0] == "canceled":
            self._told_canceled(method)
        else:
            status, value = _told(end)
            if status == DeferredStatus.COMPLETED:
                self._outcome(method.id, OutcomeStatus.COMPLETED, {"v": value})
            else:
                self._outcome(method.id, OutcomeStatus.FAILED, {"e": value})
            self._tell(method, status, value)
        if method.stream == MAIN:
            self.record(INSTANCE, main=[self.state.step, end])
        emit.withdraw(self, method)

    def _tell(self, method: Method, status: int, value: Any) -> None:
        for requester in [method.requester, *method.joined]:
            if requester:
                self._tell_one(requester, status, value)

    def _tell_one(self, requester: Doc, status: int, value: Any) -> None:
        doc = {"s": requester["s"], "p": requester["p"], "status": int(status), "value": value}
        if requester["i"] == self.state.id:
            self.to_self(Kind.OUTCOME, doc)
        else:
            self.effects.posts.append(
                fx.Post(
                    to="id",
                    workflow=None,
                    value=requester["i"],
                    kind=Kind.OUTCOME,
                    doc=doc,
                    sender=self.state.id,
                )
            )

    def _outcome(self, method_id: str, status: int, doc: Doc) -> None:
        seq = self.state.step
        self.effects.outcomes = [one for one in self.effects.outcomes if one.method != method_id]
        self.effects.outcomes.append(
            fx.OutcomeRow(
                method=method_id, instance=self.state.id, seq=seq, status=int(status), doc=doc
            )
        )

    def _drop_unheard(self) -> None:
        """`buffer=False`: what matches no open receive is discarded after each step."""
        state = self.state
        for channel, queue in list(state.channels.items()):
            if not queue or state.buffered(channel):
                continue
            open_receives = [
                receive
                for method in state.running()
                for receive in method.receives.values()
                if receive.data["ch"] == channel and not receive.closed and not receive.exhausted
            ]
            unheard = [
                one
                for one in queue
                if not any(state.matches(r.data, one.payload) for r in open_receives)
            ]
            if unheard:
                self.record(INSTANCE, gone=[channel, [one.order for one in unheard], "unheard"])
                for one in unheard:
                    self._discard(channel, one.order, one.payload, "unheard")

    def _maybe_close(self) -> None:
        """An instance ends when none of its methods runs any more."""
        state = self.state
        if state.closed or state.main_end is None or self._own or self._wakes:
            return
        running = list(state.running())
        if any(
            one.stall is None or one.stall.saga or one.cancel_step is not None for one in running
        ):
            return
        for method in running:  # they are stalled, and nobody can mend them any more
            if method.stall is None:
                continue
            self.record(method.stream, end=[self.step(), ["failed", method.stall.error]])
            self._outcome(method.id, OutcomeStatus.FAILED, {"e": method.stall.error})
        while self._own:
            self._own.popleft()
        status = self._closing_status()
        self.record(INSTANCE, closed=[self.step(), status, self.now])
        self.effects.dropped_tags.extend(sorted(state.tags))
        emit.ended(self, status)

    def _closing_status(self) -> int:
        if self.state.canceling or (self.state.main_end or [""])[0] == "canceled":
            return InstanceStatus.CANCELED
        end = self.state.main_end or ["failed"]
        return InstanceStatus.COMPLETED if end[0] == "return" else InstanceStatus.FAILED

    # -- the end of the turn --------------------------------------------------------------------

    def close_up(self) -> fx.Effects:
        """All effects, with the rows of the history and, if it changed, of the instance."""
        state = self.state
        self._forget_short_methods()
        for stream, entries in self._entries.items():
            seq = state.next_seq.get(stream, 0)
            state.next_seq[stream] = seq + 1
            self.effects.events.append(
                fx.EventRow(
                    instance=state.id, stream=stream, seq=seq, step=state.step, entries=entries
                )
            )
        key = self._head_key()
        if key != self._shown:
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
        return self.effects

    def _forget_short_methods(self) -> None:
        """A method that only read or set properties leaves its outcome and no history."""
        for stream in sorted(self._entries, reverse=True):
            entries = self._entries[stream]
            if stream <= MAIN or len(entries) != 2 or "open" not in entries[0]:
                continue
            body = entries[1].get("seg")
            if body is not None and "e" in body and "c" not in body and "r" not in body:
                del self._entries[stream]
                if self.state.streams == stream:
                    self.state.streams -= 1

    def _head_key(self) -> tuple[int, int | None, tuple[int, ...], str, int, int]:
        state = self.state
        open_streams = tuple(sorted(one.stream for one in state.running()))
        stalled = next(
            (one for one in state.running() if one.stall is not None and not one.stall.retries),
            None,
        )
        waiting = sum(len(queue) for queue in state.channels.values())
        error = ""
        if state.closed:
            status = self._closing_status()
        elif state.blocked:
            status = InstanceStatus.BLOCKED
        elif state.canceling:
            status = InstanceStatus.CANCELING
        elif stalled is not None:
            status = InstanceStatus.STALLED
        else:
            status = InstanceStatus.RUNNING
        if status == InstanceStatus.STALLED and stalled is not None and stalled.stall is not None:
            error = str(error_from_json(stalled.stall.error))[:1000]
        return (
            int(status),
            state.version,
            open_streams or (MAIN,),
            error,
            waiting if waiting >= 1000 else 0,
            state.streams,
        )


def _told(end: list[Any]) -> tuple[int, Any]:
    """What a requester is told of an end."""
    kind, value = end
    if kind == "return":
        return DeferredStatus.COMPLETED, value
    return (DeferredStatus.CANCELED if kind == "canceled" else DeferredStatus.FAILED), value


_HANDLERS: dict[Kind, Callable[[Turn, Doc], None]] = {
    Kind.START: Turn._start,
    Kind.METHOD: Turn._run_method,
    Kind.SEND: Turn._message,
    Kind.CANCEL: Turn._cancel,
    Kind.RETRY: Turn._retry,
    Kind.RETRY_TASKS: Turn._retry_tasks,
    Kind.TIMERS: Turn._complete_timers,
    Kind.OUTCOME: Turn._foreign_outcome,
    Kind.REPORT: Turn._report,
    Kind.TIMER: Turn._timer,
}
