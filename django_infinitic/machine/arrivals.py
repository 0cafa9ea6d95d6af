"""Arrivals: messages of channels and outcomes of commands, offered to the waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_infinitic.machine import emit, repairs
from django_infinitic.machine.state import (
    INSTANCE,
    Method,
    leaf_of,
    leaves_of,
)
from django_infinitic.machine.statuses import DeferredStatus
from django_infinitic.machine.waits import Waiting, evaluate

if TYPE_CHECKING:
    from django_infinitic.machine.turn import Turn

Doc = dict[str, Any]
MAX_WAITING = 10_000
JOIN_USAGE = -1


def message(turn: Turn, doc: Doc) -> None:
    state = turn.state
    channel, key = doc["channel"], doc.get("key")
    if state.closed or (key is not None and (channel, key) in state.keys):
        return
    if len(state.channels.get(channel, ())) >= MAX_WAITING:
        discard(turn, channel, turn.step(), doc["value"], "limit")
        return
    arrival = Waiting(turn.step(), doc["value"], key)
    queue = state.channels.setdefault(channel, [])
    queue.append(arrival)
    taken = serve_waits(turn, channel, arrival)
    queue.pop()
    if not taken or key is not None:
        turn.record(INSTANCE, msg=[arrival.order, channel, arrival.payload, key])
    if taken and key is not None:
        turn.record(INSTANCE, gone=[channel, [arrival.order]])


def serve_waits(turn: Turn, channel: str, arrival: Waiting) -> bool:
    """Offer a message that arrived to the waits, the one that began first first."""
    waiting = [
        method
        for method in turn.state.running()
        if method.wait is not None
        and method.stall is None
        and not method.wait_due
        and any(receive.data["ch"] == channel for receive in method.receives.values())
    ]
    for method in sorted(waiting, key=lambda one: one.wait.step if one.wait else 0):
        if method.wait is None:
            continue
        found = evaluate(method.wait.node, leaf_of(turn.state, method, turn.state.step))
        takes = [(at, one) for at, one in found.takes if one.order == arrival.order]
        if found.resolution is not None:
            turn.wake(method, "outcome", tuple(found.takes))
            return any(one.order == arrival.order for _, one in found.takes)
        if takes:
            position, one = takes[0]
            turn.record(method.stream, took=[turn.state.step, position, one.order, one.payload])
            return True
    return False


def discard(turn: Turn, channel: str, order: int, payload: str, why: str) -> None:
    turn.record(INSTANCE, note={"discarded": [order, channel, payload, why], "a": turn.now})
    turn.effects.signals.append(
        ("message_discarded", {"channel": channel, "why": why, "id": turn.state.id})
    )


def drop_unheard(turn: Turn) -> None:
    """`buffer=False`: what matches no open receive is discarded after each step."""
    state = turn.state
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
            turn.record(INSTANCE, gone=[channel, [one.order for one in unheard], "unheard"])
            for one in unheard:
                discard(turn, channel, one.order, one.payload, "unheard")


def give_back(turn: Turn, channel: str, message: Waiting) -> None:
    """What was taken and never handed out goes back to its place."""
    turn.offered = True
    turn.record(INSTANCE, msg=[message.order, channel, message.payload, message.key])


def give_back_canceled(turn: Turn, method: Method, positions: list[int]) -> None:
    for position in positions:
        receive = method.receives.get(position)
        if receive is not None and receive.slot is not None and not receive.closed:
            give_back(turn, receive.data["ch"], receive.slot)
            receive.slot = None


def report(turn: Turn, doc: Doc) -> None:
    command_outcome(turn, doc, task=True)


def foreign_outcome(turn: Turn, doc: Doc) -> None:
    command_outcome(turn, doc, task=False)


def command_outcome(turn: Turn, doc: Doc, *, task: bool) -> None:
    method = turn.state.methods.get(doc["s"])
    if turn.state.closed or method is None or method.end is not None:
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
    arrive(turn, method, doc["p"], status, value)


def arrive(turn: Turn, method: Method, position: int, status: int, value: Any) -> None:
    """An outcome of a command; wakes the method when its wait is over by it."""
    turn.record(method.stream, out=[turn.step(), position, status, value])
    wait = method.wait
    if wait is None or wait.checkpoint or method.wait_due:
        return
    if wait.open is not None:
        if wait.open:
            return
    elif position not in leaves_of(wait.node):
        return
    stall = method.stall
    if stall is not None and (stall.wake != "outcome" or not stalled_on(turn, method, stall.step)):
        return
    found = evaluate(wait.node, leaf_of(turn.state, method, turn.state.step))
    for at, message in found.takes if found.resolution is None else ():
        took(turn, method, at, message)
    if found.resolution is not None:
        if stall is not None:
            repairs.unstall(turn, method)
        turn.wake(method, "outcome", tuple(found.takes))


def stalled_on(turn: Turn, method: Method, step: int) -> bool:
    """Whether the wait had come to a failure when the method stalled."""
    if method.wait is None:
        return False
    found = evaluate(method.wait.node, leaf_of(turn.state, method, step))
    return found.resolution is None or not found.resolution.ok


def took(turn: Turn, method: Method, position: int, message: Waiting) -> None:
    step = turn.step()
    channel = method.receives[position].data["ch"]
    turn.record(method.stream, took=[step, position, message.order, message.payload])
    turn.record(INSTANCE, gone=[channel, [message.order]])
