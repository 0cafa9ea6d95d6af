"""The supervisor: starts engine processes, starts them again when they die, and stops them.

It holds one end of a socket to each; the other end of a dead supervisor tells them so.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from django_infinitic.worker.frames import Doc, Frames, Gone
from django_infinitic.worker.options import WorkerOptions, default_name
from django_infinitic.worker.processes import spawn
from django_infinitic.worker.start import REFUSED

logger = logging.getLogger("django_infinitic.worker")
LEASE: Final = 15.0
YOUNG: Final = 10.0
"""A process that dies younger than this is started again with a growing pause."""
LONGEST_PAUSE: Final = 30.0
TICK: Final = 1.0
RELOAD: Final = 5.0
"""Seconds that tasks have to end before a reload."""
NEVER: Final = float("inf")


def pause_before(falls: int) -> float:
    """Seconds before the next start, after so many deaths in a row; none after the first."""
    return 0.0 if falls <= 1 else min(LONGEST_PAUSE, 0.25 * 2.0 ** (falls - 1))


class Process(Protocol):
    """An engine process as the supervisor sees it."""

    frames: Frames

    def poll(self) -> int | None:
        """Its exit code, once it has ended."""

    def kill(self) -> None:
        """End it and its children at once."""


class EngineChild:
    """A real one, in a process group of its own together with its executor children."""

    def __init__(self, options: WorkerOptions, *, successor: bool) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = spawn(
                "engine", options.to_json(), str(int(successor)), links=(theirs,), session=True
            )
        self.frames = Frames(ours)

    def poll(self) -> int | None:
        """Its exit code, once it has ended."""
        return self._process.poll()

    def kill(self) -> None:
        """End it and its children at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)


@dataclass(slots=True)
class Seat:
    """The place of one engine process, whoever sits in it."""

    number: int
    options: WorkerOptions
    process: Process | None = None
    me: int | None = None
    born: float = 0.0
    heard: float | None = None
    """When it last gave a sign of life; None until the first."""
    start_at: float = 0.0
    falls: int = 0
    """How many processes in a row have died young here."""
    successor: bool = False
    reload: bool = False
    kill_at: float = NEVER
    done: bool = False


class Supervisor:
    """Keeps `options.processes` engines running; `reap` marks a worker dead in the store.

    `changed` names a file of the code that has changed since the last call: then all start anew.
    """

    def __init__(
        self,
        options: WorkerOptions,
        *,
        reap: Callable[[int], Any],
        start: Callable[..., Process] = EngineChild,
        clock: Callable[[], float] = time.monotonic,
        changed: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._changed = changed
        self._reap = reap
        self._start = start
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        # Each delivery of a signal writes a byte, so that two in a row count as two.
        self._calls, self._caller = socket.socketpair()
        self._calls.setblocking(False)
        self._caller.setblocking(False)
        self._selector.register(self._calls, selectors.EVENT_READ)
        name = options.name or default_name(0).rpartition("-")[0]
        self._seats = [
            Seat(number, replace(options, name=f"{name}-{number}"))
            for number in range(1, options.processes + 1)
        ]
        self._dead: list[int] = []
        self._reap_at = 0.0
        self._signals = 0
        self._told = 0
        self._failed = False

    # -- signals -----------------------------------------------------------------------------

    def stop(self) -> None:
        """The first call drains, the second ends all at once."""
        self._signals += 1

    @contextlib.contextmanager
    def on_signals(self, *numbers: int) -> Iterator[None]:
        """While the block runs each of these signals is a call of `stop`."""
        previous = {number: signal.signal(number, lambda *_: None) for number in numbers}
        former = signal.set_wakeup_fd(self._caller.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(former)
            for number, handler in previous.items():
                signal.signal(number, handler)

    def run(self) -> int:
        """Until all have ended; the exit code."""
        while (code := self.run_once()) is None:
            if self._signals == self._told:
                self._selector.select(self._timeout())
            self._read_signals()
        return code

    def _read_signals(self) -> None:
        with contextlib.suppress(BlockingIOError, InterruptedError):
            for number in self._calls.recv(4096):
                if number in (signal.SIGINT, signal.SIGTERM):
                    self.stop()

    # -- one round ---------------------------------------------------------------------------

    def run_once(self) -> int | None:
        """Look after every process; the exit code once all have ended."""
        for seat in self._seats:
            if seat.process is not None:
                self._hear(seat)
        self._act_on_signals()
        now = self._clock()
        if not self._signals and (file := self._changed()) is not None:
            self._reload(file, now)
        for seat in self._seats:
            self._look_after(seat, now)
        self._bury(now)
        if any(not seat.done for seat in self._seats):
            return None
        return 1 if self._failed or self._signals > 1 else 0

    def _act_on_signals(self) -> None:
        signals, told = self._signals, self._told
        self._told = signals
        if signals > 1:
            self.kill()
        elif signals > told:
            logger.info("Running tasks may end; another signal ends them at once.")
            for seat in self._seats:
                if seat.process is None:
                    seat.done = True
                else:
                    self._tell(seat, drain=True)

    def _reload(self, file: str, now: float) -> None:
        logger.info("%s changed, reloading.", file)
        for seat in self._seats:
            if seat.process is None:
                seat.start_at, seat.falls = now, 0
            elif not seat.reload:
                seat.reload, seat.kill_at = True, now + RELOAD
                self._tell(seat, drain=True)

    def _look_after(self, seat: Seat, now: float) -> None:
        process = seat.process
        if seat.done:
            return
        if process is None:
            if now >= seat.start_at:
                self._begin(seat, now)
            return
        code = process.poll()
        if code is not None:
            self._ended(seat, code, now)
        elif now >= seat.kill_at:
            process.kill()
        elif seat.heard is not None and now - seat.heard > LEASE:
            logger.error(
                "Worker %s has given no sign of life for %.0f s: it is killed.",
                seat.options.name,
                now - seat.heard,
            )
            process.kill()
            self._ended(seat, -signal.SIGKILL, now)

    def _begin(self, seat: Seat, now: float) -> None:
        seat.process = self._start(seat.options, successor=seat.successor)
        seat.me, seat.heard, seat.born = None, None, now
        self._selector.register(seat.process.frames, selectors.EVENT_READ)

    def _ended(self, seat: Seat, code: int, now: float) -> None:
        process = seat.process
        assert process is not None
        self._hear(seat)  # its last words may name its life
        process.kill()  # its children
        self._selector.unregister(process.frames)
        process.frames.close()
        seat.process = None
        if seat.reload:
            seat.reload, seat.kill_at, seat.falls, seat.start_at = False, NEVER, 0, now
            if seat.me is not None and code != 0:
                self._dead.append(seat.me)
            seat.done = bool(self._signals)
            return
        if code == 0:
            seat.done = True
            return
        if seat.me is not None:
            self._dead.append(seat.me)
            self._reap_at = 0.0
        if code == REFUSED or self._signals:
            self._failed = True
            seat.done = True
            if code == REFUSED:
                self.stop()
            return
        seat.successor = True
        seat.falls = seat.falls + 1 if now - seat.born < YOUNG else 1
        pause = pause_before(seat.falls)
        seat.start_at = now + pause
        logger.error(
            "Worker %s ended with %s; it is started again%s.",
            seat.options.name,
            _reason(code),
            f" in {pause:g} s" if pause else "",
        )

    def _bury(self, now: float) -> None:
        """Mark dead workers dead at once, so that others need not wait for their leases."""
        if not self._dead or now < self._reap_at:
            return
        try:
            while self._dead:
                self._reap(self._dead[0])
                self._dead.pop(0)
        except Exception as error:
            logger.warning("A dead worker could not be marked so yet: %s", error)
            self._reap_at = now + TICK
            if all(seat.done for seat in self._seats):
                self._dead = []  # its lease will run out

    def kill(self) -> None:
        """End everything at once."""
        for seat in self._seats:
            if seat.process is not None:
                seat.process.kill()

    # -- talking -----------------------------------------------------------------------------

    def _hear(self, seat: Seat) -> None:
        assert seat.process is not None
        try:
            notes = seat.process.frames.receive()
        except Gone:
            return
        for note in notes:
            self._note(seat, note)

    def _note(self, seat: Seat, note: Doc) -> None:
        seat.heard = self._clock()
        if "me" in note:
            seat.me = note["me"]

    def _tell(self, seat: Seat, **note: Any) -> None:
        assert seat.process is not None
        with contextlib.suppress(Gone):
            seat.process.frames.send(note)

    def _timeout(self) -> float:
        now = self._clock()
        starts = [
            seat.start_at - now for seat in self._seats if seat.process is None and not seat.done
        ]
        return max(0.0, min([TICK, *starts]))


def _reason(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"
