"""Failpoints: named places where a test lets a process die, fail or hang."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial

NAMES = (
    "engine.after_read",
    "engine.after_load",
    "engine.after_step",
    "engine.before_write",
    "engine.after_write",
    "store.before_commit",
    "store.after_commit",
    "executor.after_claim",
    "executor.in_task",
    "executor.after_task",
    "executor.before_report",
    "executor.after_report",
    "worker.after_mark",
    "worker.after_take",
    "worker.before_renew",
)
_actions: dict[str, Callable[[], None]] = {}


class FailpointError(Exception):
    """Raised by a failpoint whose action is `raise`."""


def failpoint(name: str) -> None:
    """Do what a test has asked for at this place; nothing in production."""
    if _actions:
        action = _actions.get(name)
        if action is not None:
            action()


def set_failpoint(name: str, action: Callable[[], None] | None) -> None:
    """Set or clear the action of a place."""
    if name not in NAMES:
        raise ValueError(f"There is no failpoint {name!r}; there are: {', '.join(NAMES)}")
    if action is None:
        _actions.pop(name, None)
    else:
        _actions[name] = action


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _fail() -> None:
    raise FailpointError


def from_environment(value: str) -> None:
    """`name=kill9`, `name=raise` or `name=hang:SECONDS`, comma-separated; `name=kill9@N`: at the
    N-th time."""
    for one in filter(None, value.split(",")):
        name, _, text = one.partition("=")
        text, _, count = text.partition("@")
        kind, _, seconds = text.partition(":")
        actions: dict[str, Callable[[], None]] = {
            "kill9": _kill,
            "raise": _fail,
            "hang": partial(time.sleep, float(seconds or 1)),
        }
        set_failpoint(name, _at(int(count or 1), actions[kind]))


def _at(count: int, action: Callable[[], None]) -> Callable[[], None]:
    left = [count]

    def act() -> None:
        left[0] -= 1
        if left[0] == 0:
            action()

    return act


if os.environ.get("DJANGO_INFINITIC_FAILPOINTS"):
    from_environment(os.environ["DJANGO_INFINITIC_FAILPOINTS"])
