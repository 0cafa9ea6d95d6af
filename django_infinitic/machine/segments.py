"""Segments: what one uninterrupted run of a method leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_infinitic.machine import arrivals, emit, endings, timers
from django_infinitic.machine import effects as fx
from django_infinitic.machine.properties import difference
from django_infinitic.machine.state import (
    INSTANCE,
    PROPERTIES,
    Method,
)
from django_infinitic.machine.statuses import DeferredStatus, OutcomeStatus

if TYPE_CHECKING:
    from django_infinitic.machine.turn import Ran, Turn, Wake

Doc = dict[str, Any]


def record_segment(turn: Turn, method: Method, wake: Wake, ran: Ran) -> None:
    """The entries of a segment that counts: what it asked for, took, waits for and changed."""
    body: Doc = {"n": wake.step, "a": wake.at, "k": wake.kind}
    if ran.commands:
        body["c"] = ran.commands
    if ran.records:
        body["r"] = ran.records
    if ran.takes:
        body["t"] = ran.takes
    if ran.given:
        body["g"] = ran.given
    if ran.wait is not None:
        body["w"] = ran.wait.to_json()
    if ran.kind != "wait":
        body["e"] = [ran.kind, ran.value]
    if ran.canceled:
        body["x"] = 1
    for kind, _, data in ran.commands:
        if kind == "cancel":
            arrivals.give_back_canceled(turn, method, data["of"])
    gone = _taken_from_queues(turn, method, ran) if ran.takes else {}
    turn.record(method.stream, seg=body)
    for channel, orders in gone.items():
        turn.record(INSTANCE, gone=[channel, orders])
    if ran.changes:
        stored = {
            name: difference(turn.state.properties.get(name), payload)
            for name, payload in ran.changes.items()
        }
        turn.record(PROPERTIES, set=[wake.step, stored])


def _taken_from_queues(turn: Turn, method: Method, ran: Ran) -> dict[str, list[int]]:
    """The messages that the segment took out of channels, by channel."""
    first = method.positions + 1
    opened = {
        first + number: data
        for number, (kind, _, data) in enumerate(ran.commands)
        if kind == "receive"
    }
    gone: dict[str, list[int]] = {}
    for _, position, order, _ in ran.takes:
        known = method.receives.get(position)
        channel = (known.data if known is not None else opened[position])["ch"]
        if any(one.order == order for one in turn.state.channels.get(channel, ())):
            gone.setdefault(channel, []).append(order)
    return gone


def begin_wait(turn: Turn, method: Method) -> None:
    """A wait that has just begun: what a cancel or an arrival in this very turn says of it."""
    wait = method.wait
    if wait is None:
        return
    if wait.checkpoint:
        turn.checkpoints.append(method.stream)
        method.wait_due = True
        timers.guard_checkpoint(turn, method)
        return
    timers.unguard_checkpoint(turn, method)
    if method.cancel_step is not None and not method.cancel_told and not wait.shield:
        turn.wake(method, "cancel")


def stall(turn: Turn, method: Method, wake: Wake, ran: Ran) -> None:
    """The segment leaves no trace but the failure; the messages it took go back."""
    for position, message in wake.takes:
        arrivals.give_back(turn, method.receives[position].data["ch"], message)
    body: Doc = {"n": wake.step, "a": wake.at, "e": ran.value, "k": wake.kind}
    if ran.saga:
        body["s"] = 1
    if ran.retry_in is not None:
        body["r"] = method.retries + 1
    turn.record(method.stream, stall=body)
    if ran.retry_in is not None:
        turn.effects.timers.append(
            fx.NewTimer(
                id=timers.retry_timer(turn, method, wake.step),
                instance=turn.state.id,
                due=wake.at + int(ran.retry_in * 1_000_000),
                doc={"s": method.stream, "retry": wake.step},
            )
        )
        return
    if method.cancel_step is None:
        endings.outcome(turn, method.id, OutcomeStatus.STALLED, {"e": ran.value})
        endings.tell(turn, method, DeferredStatus.FAILED, ran.value)
    emit.stalled(turn, method, ran.value)
