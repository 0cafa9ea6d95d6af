"""Arrivals: messages of channels and outcomes of commands, offered to the waits."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django_infinitic.machine import emit, repairs, timers
from django_infinitic.machine.state import (
    INSTANCE,
    Method,
    leaf_of,
    leaves_of,
)
from django_infinitic.machine.statuses import DeferredStatus
from django_infinitic.machine.waits import Evaluation, Waiting, evaluate

if TYPE_CHECKING:
    from django_infinitic.machine.turn import Turn

logger = logging.getLogger("django_infinitic.engine")
Doc = dict[str, Any]
MAX_WAITING = 10_000
_DISCARDED = {
    "limit": f"{MAX_WAITING:,} of them wait already",
    "unheard": "no open receive matches it, and the channel has buffer=False",
    "ended": "the instance has ended",
}
JOIN_USAGE = -1


def message(turn: Turn, doc: Doc) -> None:
    """A message for a channel: taken by the first wait that wants it, or kept."""
    state = turn.state
    channel, key = doc["channel"], doc.get("key")
    if key is not None and (channel, key) in state.keys:
        return
    if state.closed:
        discard(turn, channel, turn.step(), doc["value"], "ended")
        return
    if len(state.channels.get(channel, ())) >= MAX_WAITING:
        discard(turn, channel, turn.step(), doc["value"], "limit")
        return
    arrival = Waiting(turn.step(), doc["value"], key)
    queue = state.channels.setdefault(channel, [])
    queue.append(arrival)
    found = None
    for method in waiting_for(turn, channel):
        found = look(turn, method)
        if any(one.order == arrival.order for _, one in found.takes):
            break
    else:
        found = None
    queue.pop()
    if found is None or key is not None:
        turn.record(INSTANCE, msg=[arrival.order, channel, arrival.payload, key])
    if found is not None:
        served(turn, method, found)


def waiting_for(turn: Turn, channel: str) -> list[Method]:
    """The methods whose wait may want a message of a channel, the one that began first first."""
    waiting = [
        method
        for method in turn.state.running()
        if method.wait is not None
        and not method.wait.checkpoint
        and method.stall is None
        and not method.wait_due
        and any(
            receive.data["ch"] == channel
            for receive in map(method.receives.get, leaves_of(method.wait.node))
            if receive is not None
        )
    ]
    return sorted(waiting, key=lambda one: one.wait.step if one.wait else 0)


def look(turn: Turn, method: Method) -> Evaluation:
    """What the wait of a method has come to by now."""
    assert method.wait is not None
    return evaluate(method.wait.node, leaf_of(turn.state, method, turn.state.step))


def served(turn: Turn, method: Method, found: Evaluation) -> None:
    """Give a wait what it can take: it is over, or it goes on with messages in its hands."""
    if found.resolution is not None:
        turn.wake(method, "outcome", tuple(found.takes))
        return
    for position, message in found.takes:
        took(turn, method, position, message)


def claim(turn: Turn, channel: str, message: Waiting) -> None:
    """A message is somebody's: nobody else finds it in its channel."""
    if any(one.order == message.order for one in turn.state.channels.get(channel, ())):
        turn.record(INSTANCE, gone=[channel, [message.order]])


def discard(turn: Turn, channel: str, order: int, payload: str, why: str) -> None:
    """Drop a message, and say so in the timeline and in the log."""
    turn.record(INSTANCE, note={"discarded": [order, channel, payload, why], "a": turn.now})
    logger.warning(
        "Workflow %s (%s): a message on channel %s was discarded: %s",
        turn.state.workflow,
        turn.state.id,
        channel,
        _DISCARDED[why],
    )


def drop_unheard(turn: Turn) -> None:
    """`buffer=False`: what matches no open receive is discarded after each step."""
    state = turn.state
    if not state.unbuffered or any(one.stall is not None for one in state.running()):
        return  # what a stalled method has not come to again is heard by it later
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
    turn.returned.add(channel)
    turn.record(INSTANCE, msg=[message.order, channel, message.payload, message.key])


def offer_again(turn: Turn) -> None:
    """Offer what went back to its place to the waits of others."""
    channels, turn.returned = turn.returned, set()
    for channel in sorted(channels):
        for method in waiting_for(turn, channel):
            if turn.state.channels.get(channel):
                served(turn, method, look(turn, method))


def give_back_canceled(turn: Turn, method: Method, positions: list[int]) -> None:
    for position in positions:
        receive = method.receives.get(position)
        if receive is not None and receive.slot is not None and not receive.closed:
            give_back(turn, receive.data["ch"], receive.slot)
            receive.slot = None


def report(turn: Turn, doc: Doc) -> None:
    command_outcome(turn, doc, task=True)


def foreign_outcome(turn: Turn, doc: Doc) -> None:
    """What became of a child or a method elsewhere, or that a message has reached nobody."""
    if "lost" in doc:
        workflow, target, channel = doc["lost"]
        logger.warning(
            "Workflow %s (%s) sent a message to channel %s of %s (%s), and no such instance runs: "
            "it is lost.",
            turn.state.workflow,
            turn.state.id,
            channel,
            workflow,
            target,
        )
        return
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
            status, value = DeferredStatus.CANCELED, None
        if status == DeferredStatus.CANCELED and not value:
            value = emit.task_canceled(command)
    arrive(turn, method, doc["p"], status, value)


def arrive(turn: Turn, method: Method, position: int, status: int, value: Any) -> None:
    """An outcome of a command; wakes the method when its wait is over by it."""
    command = method.commands[position]
    if command.last == DeferredStatus.ONGOING and status != DeferredStatus.TIMED_OUT:
        timers.drop_total_timer(turn, method, position)
    turn.record(method.stream, out=[turn.step(), position, status, value, turn.now])
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
    found = look(turn, method)
    if stall is not None and found.resolution is not None:
        repairs.unstall(turn, method)
    served(turn, method, found)


def stalled_on(turn: Turn, method: Method, step: int) -> bool:
    """Whether the wait had come to a failure when the method stalled."""
    if method.wait is None:
        return False
    found = evaluate(method.wait.node, leaf_of(turn.state, method, step))
    return found.resolution is None or not found.resolution.ok


def took(turn: Turn, method: Method, position: int, message: Waiting) -> None:
    """A wait that goes on has taken a message."""
    turn.record(method.stream, took=[turn.step(), position, message.order, message.payload])
    claim(turn, method.receives[position].data["ch"], message)
