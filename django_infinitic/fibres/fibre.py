"""A fibre: code that can stop in the middle and go on later, without a thread.

The only module that knows greenlet. A fibre belongs to the thread that resumed it first.
"""

from __future__ import annotations

import contextvars
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from greenlet import getcurrent, greenlet

DROP_THROWS = 100
DROP_SECONDS = 1.0


class FibreDropped(BaseException):
    """Thrown into a fibre that is dropped; no `except Exception` of user code sees it."""


@dataclass(slots=True)
class Finished:
    """The code of a fibre came to its end."""

    value: Any = None
    error: BaseException | None = None


class Fibre:
    """Runs a function; `suspend` inside it gives a value to whoever resumed it."""

    __slots__ = ("_greenlet", "started")

    def __init__(self, function: Callable[[], Any], context: contextvars.Context) -> None:
        def body(_: Any) -> Finished:
            try:
                return Finished(function())
            except BaseException as error:
                return Finished(error=error)

        self._greenlet = greenlet(body)
        self._greenlet.gr_context = context
        self.started = False

    @property
    def dead(self) -> bool:
        """Whether its code has come to its end."""
        return self.started and self._greenlet.dead

    @property
    def current(self) -> bool:
        """Whether the present code runs in this fibre."""
        return getcurrent() is self._greenlet

    def resume(self, value: Any = None) -> Any:
        """Run on until the code suspends (what it gave) or ends (`Finished`)."""
        self.started = True
        self._greenlet.parent = getcurrent()
        return self._greenlet.switch(value)

    def suspend(self, value: Any) -> Any:
        """Called by the code inside: give a value, and wait to be resumed."""
        parent = self._greenlet.parent
        assert parent is not None
        return parent.switch(value)

    def drop(self) -> bool:
        """Unwind it without effects; False when it does not die and must be kept, never resumed."""
        if not self.started or self._greenlet.dead:
            return True
        deadline = time.monotonic() + DROP_SECONDS
        for _ in range(DROP_THROWS):
            self._greenlet.parent = getcurrent()
            self._greenlet.throw(FibreDropped())
            if self._greenlet.dead:
                return True
            if time.monotonic() > deadline:
                break
        return False
