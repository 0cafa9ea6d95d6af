"""Waits of a method run: whether they are over, what they take and what they give."""

from __future__ import annotations

from typing import Any, NoReturn

from django_infinitic.authoring.deferred import Deferred, DeferredStatus, combine
from django_infinitic.exceptions import (
    DeferredCanceledError,
    UsageError,
    WaitTimedOutError,
    error_from_json,
)
from django_infinitic.fibres.declared import raised_for
from django_infinitic.fibres.tape import Tape
from django_infinitic.machine.ids import derived_id
from django_infinitic.machine.state import (
    Receive,
    receive_leaf,
)
from django_infinitic.machine.waits import Node, Resolution, Wait, Waiting, evaluate, leaves_of


class Waits(Tape):
    """The part of a method run that waits."""

    def wait(self, deferred: Deferred[Any], timeout: Any = None) -> Any:
        """Wait for a deferred and give its value, or raise."""
        self._mine(deferred, "result()")
        node = deferred.node
        for position in leaves_of(node):
            if self._issued[position].kind == "tag":
                raise UsageError(
                    f"{self._issued[position].what} was dispatched by tag, and what runs by tag "
                    "has no result to wait for."
                )
        self._waits += 1
        resolution = self._evaluate(node)
        if resolution is None:
            until = None if timeout is None else self._due(timeout, "result(timeout)")
            wake = self._suspend(Wait(self._waits, node, until, bool(self._shields)))
            if wake == "timeout":
                raise WaitTimedOutError(message=self._too_late(node, timeout))
            resolution = self._evaluate(node)
            assert resolution is not None, "a method was resumed before its wait was over"
        elif timeout is not None:
            self._due(timeout, "result(timeout)")
        return self._value(resolution)

    def settle(self, deferreds: list[Deferred[Any]]) -> None:
        """Wait until all have an outcome, whatever it is."""
        node = combine("s", deferreds) if deferreds else ["s"]
        self._waits += 1
        while self._evaluate(node) is None:
            self._suspend(Wait(self._waits, node, None, bool(self._shields)))

    def _evaluate(self, node: Node) -> Resolution | None:
        self._replay_takes()
        found = evaluate(node, self._leaf)
        if self.script is None:
            for position, message in found.takes:
                self._receives[position].slot = message
                self._taken.add(message.order)
                self.takes.append([self._waits, position, message.order, message.payload])
        return found.resolution

    def _replay_takes(self) -> None:
        if self.script is None:
            return
        for number, position, order, payload in self.script.takes[len(self.takes) :]:
            if number != self._waits:
                break
            self._receives[position].slot = Waiting(order, payload)
            self.takes.append([number, position, order, payload])

    def _leaf(self, position: int, claimed: set[int]) -> Resolution | None:
        if position in self._closed:
            return Resolution(False, self._closed[position], position)
        receive = self._receives.get(position)
        if receive is not None:
            self._take_early(position, receive)
            if self.script is not None:
                if receive.slot is not None:
                    return Resolution(True, receive.slot.order, position)
                if receive.exhausted:
                    return receive_leaf(position, receive, self.state, claimed)
                return None
            return receive_leaf(position, receive, self.state, claimed | self._taken)
        found = self._outcome(position)
        if found is None or found[1] == DeferredStatus.ONGOING:
            return None
        return Resolution(found[1] == DeferredStatus.COMPLETED, found[0], position)

    def _take_early(self, position: int, receive: Receive) -> None:
        """What the machine took for this receive while the wait went on."""
        known = self.method.receives.get(position)
        if receive.slot is not None or known is None:
            return
        number = self._early.get(position, 0)
        if number < len(known.early) and known.early[number][0] <= self.step:
            receive.slot = known.early[number][1]
            self._early[position] = number + 1

    def _outcome(self, position: int) -> tuple[int, int, Any] | None:
        if self._issued[position].kind == "tag":
            return (self.step, DeferredStatus.COMPLETED, "null")
        command = self.method.commands.get(position)
        return None if command is None else command.outcome(self.step)

    def _value(self, resolution: Resolution) -> Any:
        if not resolution.ok:
            for leaf in resolution.leaves():
                self._raise(leaf.node)
        for leaf in resolution.leaves():
            if isinstance(leaf.node, int) and leaf.node in self._receives:
                self._hand_out(leaf.node)
        return self._decoded(resolution)

    def _hand_out(self, position: int) -> None:
        receive = self._receives[position]
        if receive.slot is not None:
            receive.last, receive.slot = receive.slot, None
            receive.count += 1
            self.given.append(position)

    def _decoded(self, resolution: Resolution) -> Any:
        node = resolution.node
        if isinstance(node, int):
            issued = self._issued[node]
            receive = self._receives.get(node)
            if receive is not None:
                assert receive.last is not None
                return issued.decode(receive.last.payload)
            outcome = self._outcome(node)
            assert outcome is not None
            return issued.decode(outcome[2])
        if node[0] == "&":
            return [self._decoded(part) for part in resolution.parts]
        return self._decoded(resolution.parts[0])

    def _raise(self, node: Node) -> NoReturn:
        assert isinstance(node, int)
        issued = self._issued[node]
        outcome = self._outcome(node)
        value = None if outcome is None else outcome[2]
        if not isinstance(value, dict):
            raise DeferredCanceledError(message=f"{issued.kind} {issued.what} has been canceled")
        if "usage" in value:
            raise UsageError(value["usage"])
        error = error_from_json(value)
        raise raised_for(error, issued.raises) from None

    def _too_late(self, node: Node, timeout: Any) -> str:
        waited = ", ".join(
            dict.fromkeys(
                f"{self._issued[one].kind} {self._issued[one].what}" for one in leaves_of(node)
            )
        )
        return f"{waited} had no outcome within {timeout}"

    def status(self, deferred: Deferred[Any]) -> int:
        """The status of a deferred at this step."""
        self._mine(deferred, "status")
        found = evaluate(deferred.node, self._peek).resolution
        if found is None:
            if isinstance(deferred.node, int):
                outcome = self._outcome_or_none(deferred.node)
                return DeferredStatus.ONGOING if outcome is None else outcome[1]
            return DeferredStatus.ONGOING
        if found.ok:
            return DeferredStatus.COMPLETED
        leaf = next(found.leaves())
        assert isinstance(leaf.node, int)
        if leaf.node in self._closed:
            return DeferredStatus.CANCELED
        outcome = self._outcome(leaf.node)
        return DeferredStatus.CANCELED if outcome is None else outcome[1]

    def _outcome_or_none(self, position: int) -> tuple[int, int, Any] | None:
        return None if position in self._receives else self._outcome(position)

    def _peek(self, position: int, claimed: set[int]) -> Resolution | None:
        """Like `_leaf`, but the answer of a receive is one of the moment, so it is recorded."""
        if position not in self._receives or position in self._closed:
            return self._leaf(position, claimed)
        if self.script is not None:
            while self._next_record < len(self.script.records):
                record = self.script.records[self._next_record]
                self._next_record += 1
                if record[0] == "peek":
                    self.records.append(record)
                    return Resolution(True, record[1], position) if record[1] >= 0 else None
            return None
        found = self._leaf(position, claimed)
        self.records.append(["peek", found.order if found is not None else -1])
        return None if found is None else Resolution(True, found.order, position)

    def identity(self, deferred: Deferred[Any]) -> str | None:
        """The id of a deferred."""
        self._mine(deferred, "id")
        node = deferred.node
        if not isinstance(node, int):
            return None
        kind = self._issued[node].kind
        if kind == "tag":
            raise UsageError(
                f"{self._issued[node].what} was dispatched by tag: it has no id, as it may run on "
                "many instances."
            )
        if kind in ("timer", "receive"):
            return None
        known = self.method.commands.get(node)
        return known.id if known is not None else self._new_id(node)

    def _new_id(self, position: int) -> str:
        return derived_id(self.at, self.state.id, self.method.id, position)

    def cancel(self, deferred: Deferred[Any]) -> None:
        """Cancel all operands of a deferred."""
        self._mine(deferred, "cancel()")
        positions = list(dict.fromkeys(leaves_of(deferred.node)))
        for position in positions:
            if self._issued[position].kind == "tag":
                raise UsageError(
                    f"{self._issued[position].what} was dispatched by tag, and that cannot be "
                    "canceled: it has run wherever it was to run."
                )
        self._command("cancel", "cancel", {"of": positions})
        for position in positions:
            if self._issued[position].kind in ("timer", "receive") and position not in self._closed:
                if self._outcome(position) is None:
                    self._closed[position] = self.step
                receive = self._receives.get(position)
                if receive is not None:
                    receive.closed, receive.slot = True, None
                    self._closed.setdefault(position, self.step)
