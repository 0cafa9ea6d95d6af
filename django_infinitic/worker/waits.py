"""What instances wait for, for the lists of people.

Only waits that have lasted two seconds are written, so that what keeps moving never pays.
"""

from __future__ import annotations

import enum
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from django_infinitic.fibres.times import moment
from django_infinitic.machine.state import Command, Instance, Method
from django_infinitic.machine.statuses import DeferredStatus
from django_infinitic.machine.waits import leaves_of
from django_infinitic.storages.base import EngineStore, NotedWait

PATIENCE: Final = 2.0
PAGE: Final = 200
"""Notes in one transaction."""


class WaitKind(enum.IntEnum):
    """What a wait is for, as `waiting_kind` has it."""

    TASK = 1
    MESSAGE = 2
    TIMER = 3
    CHILD = 4
    METHOD = 5
    DELEGATED = 6


_KINDS: Final = {
    "task": WaitKind.TASK,
    "receive": WaitKind.MESSAGE,
    "timer": WaitKind.TIMER,
    "child": WaitKind.CHILD,
    "method": WaitKind.METHOD,
}


class WaitNotes:
    """Remembers which instances have been stepped, and notes those that stand still since."""

    def __init__(self, store: EngineStore, state_of: Callable[[str], Instance | None]) -> None:
        self._store = store
        self._state_of = state_of
        self._stepped: OrderedDict[str, float] = OrderedDict()
        self._noted: set[str] = set()
        self._clear: list[str] = []

    def loaded(self, instance: str) -> None:
        """An instance with a past was loaded: somebody may have noted its wait."""
        self._noted.add(instance)

    def stepped(self, instance: str) -> None:
        """An instance has moved."""
        self._stepped[instance] = time.monotonic()
        self._stepped.move_to_end(instance)
        if instance in self._noted:
            self._noted.discard(instance)
            self._clear.append(instance)

    def forget(self) -> None:
        """Nothing is this worker's any more."""
        self._stepped.clear()
        self._noted.clear()
        self._clear.clear()

    def run_once(self) -> bool:
        """Write some notes; whether there were any."""
        notes = [NotedWait(instance=one, kind=None) for one in self._clear[:PAGE]]
        since = time.monotonic() - PATIENCE
        found: list[str] = []
        for instance, at in self._stepped.items():
            if at > since or len(found) >= PAGE:
                break
            found.append(instance)
        for instance in found:
            state = self._state_of(instance)
            note = None if state is None else note_of(state)
            if note is not None:
                notes.append(note)
        if notes:
            self._store.note_waits(notes)
        del self._clear[:PAGE]
        for instance in found:
            del self._stepped[instance]
        self._noted.update(one.instance for one in notes if one.kind is not None)
        return bool(notes)


def note_of(state: Instance) -> NotedWait | None:
    """The wait of the method that has waited longest; None when none waits."""
    waiting = [
        method
        for method in state.running()
        if method.wait is not None and not method.wait.checkpoint and method.stall is None
    ]
    if state.closed or not waiting:
        return None
    method = min(waiting, key=lambda one: one.wait.at if one.wait is not None else 0)
    assert method.wait is not None
    kinds: list[WaitKind] = []
    texts: list[str] = []
    for position in leaves_of(method.wait.node):
        command = method.commands[position]
        text = _words(method, position, command)
        if text and text not in texts:
            kinds.append(_kind(command))
            texts.append(text)
    if not texts:
        return None
    joint = " or " if _any(method.wait.node) else " and "
    return NotedWait(instance=state.id, kind=kinds[0], text=joint.join(texts), since=method.wait.at)


def _kind(command: Command) -> WaitKind:
    if command.kind == "task" and command.data.get("dl"):
        return WaitKind.DELEGATED
    return _KINDS.get(command.kind, WaitKind.TASK)


def _words(method: Method, position: int, command: Command) -> str:
    if command.kind == "receive":
        receive = method.receives.get(position)
        open_ = receive is None or not (receive.closed or receive.exhausted)
        return f"a message on channel {command.data['ch']}" if open_ else ""
    if command.last != DeferredStatus.ONGOING:
        return ""
    if command.kind == "timer":
        return f"a timer due {moment(command.data['due']):%Y-%m-%d %H:%M:%S} UTC"
    if command.kind == "task":
        return f"task {command.name}"
    return f"{'method' if command.kind == 'method' else 'workflow'} {command.name}"


def _any(node: object) -> bool:
    return isinstance(node, list) and bool(node) and node[0] not in ("&", "s")
