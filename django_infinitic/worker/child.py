"""The executor child: the loop between the socket of the engine and the executor."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import time
from typing import Final

import django_infinitic.storages as storages
from django_infinitic.conf import settings
from django_infinitic.worker.executor import Executor, entry_of, result_row
from django_infinitic.worker.frames import Doc, Frames, Gone

FAREWELL: Final = 1.0
"""Seconds that atomic tasks have to commit after their engine is gone."""


class Waker:
    """Lets other threads interrupt a selector; costs a system call only while it waits."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._asleep = False

    def fileno(self) -> int:
        """For selectors."""
        return self._reader.fileno()

    def sleep(self) -> None:
        """The loop is about to wait: look once more for work after this."""
        self._asleep = True

    def awake(self) -> None:
        """The loop has waited."""
        self._asleep = False
        with contextlib.suppress(BlockingIOError, InterruptedError):
            while self._reader.recv(4096):
                pass

    def wake(self) -> None:
        """Interrupt the wait, from any thread or signal handler."""
        if self._asleep:
            self._asleep = False
            with contextlib.suppress(OSError):
                self._writer.send(b"\0")

    def close(self) -> None:
        """Close both ends."""
        self._reader.close()
        self._writer.close()


class Child:
    """Moves tasks from the socket to the executor, and results back."""

    def __init__(self, link: socket.socket, *, slots: int, worker_name: str) -> None:
        self._waker = Waker()
        self._frames = Frames(link)
        self._executor = Executor(
            storages.storage_for(settings.storage.alias, private=True),
            slots=slots,
            worker_name=worker_name,
            wake=self._waker.wake,
        )
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._frames, selectors.EVENT_READ)
        self._selector.register(self._waker, selectors.EVENT_READ)
        self._writing = False
        self._told = False
        self._frames.send({"ready": os.getpid()})

    def run(self) -> None:
        """Until the engine is gone, or this child is replaced."""
        try:
            while self.run_once():
                pass
        except Gone:
            self._selector.unregister(self._frames)
            deadline = time.monotonic() + FAREWELL
            while self._executor.busy_atomic() and time.monotonic() < deadline:
                self._waker.sleep()
                self._executor.results()
                self._selector.select(0.01)
                self._waker.awake()
        finally:
            self._executor.stop()
            self._selector.close()
            self._frames.close()

    def run_once(self) -> bool:
        """Take what came, send what ended, wait; False once it is of no use any more."""
        executor = self._executor
        self._waker.sleep()
        next_tick = executor.tick()
        results = executor.results()
        if executor.retiring and not self._told:
            self._told = True
            self._frames.send({"retiring": True})
        if results:
            self._frames.send({"r": [result_row(one) for one in results]})
        elif executor.done and not self._frames.unsent:
            return False
        self._wait(0.0 if results else max(0.0, next_tick - time.monotonic()))
        for document in self._frames.receive():
            self._handle(document)
        return True

    def _wait(self, timeout: float) -> None:
        frames = self._frames
        if frames.unsent != self._writing:
            self._writing = frames.unsent
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._writing else 0)
            self._selector.modify(frames, events)
        self._selector.select(timeout)
        self._waker.awake()
        if frames.unsent:
            frames.flush()

    def _handle(self, document: Doc) -> None:
        if "t" in document:
            self._executor.take(entry_of(row) for row in document["t"])
