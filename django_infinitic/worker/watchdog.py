"""The watchdog: workflow code that runs on and on stops one instance, never its worker (A2)."""

from __future__ import annotations

import ctypes
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Final

logger = logging.getLogger("django_infinitic.worker")
PATIENCE: Final = 5.0
"""Seconds that the engine thread has to come back after its segment was interrupted."""
EXIT: Final = 70


class SegmentTimeout(BaseException):
    """Workflow code ran longer than `SEGMENT_TIMEOUT` without a wait."""


class Watchdog:
    """Limits how long the engine thread may be in workflow code.

    `condemn` is called, in the thread of the watchdog, with an instance whose code does not come
    back; it is to note the suspect and end the process.
    """

    def __init__(self, limit: float, condemn: Callable[[str], None]) -> None:
        self.limit = limit
        self._condemn = condemn
        self._thread = threading.get_ident()
        self._lock = threading.Lock()
        self._instance = ""
        self._since = 0.0
        self._fired = 0.0
        self._stopped = threading.Event()

    # -- the engine thread -------------------------------------------------------------------

    def enter(self, instance: str) -> None:
        """Code of this instance runs from here on."""
        self._since = time.monotonic()
        self._instance = instance

    def leave(self) -> bool:
        """It has come back; whether its time had run out."""
        if not self._fired:
            self._instance = ""
            if not self._fired:  # it may have fired between these lines
                return False
        with self._lock:
            self._instance = ""
            self._fired = 0.0
            # What was raised too late must not hit the engine.
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), None)
        return True

    # -- its own thread ----------------------------------------------------------------------

    def start(self) -> None:
        """Watch, until `stop`. Called by the engine thread."""
        self._thread = threading.get_ident()
        threading.Thread(target=self._watch, name="infinitic-watchdog", daemon=True).start()

    def stop(self) -> None:
        """Watch no more."""
        self._stopped.set()

    def within_limit(self) -> bool:
        """Whether code runs, and still may."""
        return bool(self._instance) and time.monotonic() - self._since < self.limit + PATIENCE

    def _watch(self) -> None:
        pause = max(0.02, min(0.5, self.limit / 10))
        while not self._stopped.wait(pause):
            self.run_once()

    def run_once(self) -> None:
        """Interrupt code whose time has run out; give up on a thread that does not come back."""
        now = time.monotonic()
        with self._lock:
            instance = self._instance
            if not instance:
                return
            if not self._fired:
                if now - self._since >= self.limit:
                    self._fired = now
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        ctypes.c_ulong(self._thread), ctypes.py_object(SegmentTimeout)
                    )
                return
            if now - self._fired < PATIENCE:
                return
        logger.critical(
            "The code of workflow instance %s has run for %.0f s and does not stop; this process "
            "ends, and its instances go on in another.",
            instance,
            now - self._since,
        )
        self._condemn(instance)


def leave_process() -> None:
    """End this process at once: its main thread is lost."""
    logging.shutdown()
    os._exit(EXIT)
