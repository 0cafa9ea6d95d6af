"""Starting the processes of a worker: by `subprocess`, never by fork, the same on every system."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
from typing import Any, Final, Protocol

from django_infinitic.worker.frames import Frames

_PR_SET_PDEATHSIG: Final = 1


def arguments(role: str, *rest: str) -> list[str]:
    """The command line of a process of this worker: the same interpreter and flags."""
    flags = [f"-W{option}" for option in sys.warnoptions]
    return [sys.executable, *flags, "-m", "django_infinitic.worker", role, *rest]


def environment() -> dict[str, str]:
    """Its environment: what this process can import, it can import too."""
    from django.conf import settings

    path = os.pathsep.join(one or os.getcwd() for one in sys.path)
    module = getattr(settings, "SETTINGS_MODULE", None)
    known = {"DJANGO_SETTINGS_MODULE": module} if module else {}
    return {**os.environ, **known, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}


def spawn(
    role: str, *rest: str, links: tuple[socket.socket, ...], session: bool = False
) -> subprocess.Popen[bytes]:
    """Start a process that inherits these sockets; their numbers are its first arguments."""
    numbers = [str(link.fileno()) for link in links]
    return subprocess.Popen(
        arguments(role, *numbers, *rest),
        stdin=subprocess.DEVNULL,
        env=environment(),
        pass_fds=[link.fileno() for link in links],
        start_new_session=session,
    )


def die_with_parent(parent: int) -> None:
    """On Linux: be killed when the process that started this one dies, however busy both are."""
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


class Child(Protocol):
    """An executor child as its engine sees it."""

    frames: Frames

    def kill(self) -> None:
        """End it at once, and everything in it."""

    def close(self) -> None:
        """It has ended, or is to end: forget it."""


class ProcessChild:
    """An executor child in a process of its own."""

    def __init__(self, *, slots: int, worker_name: str) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = spawn(
                "child", str(os.getpid()), str(slots), worker_name, links=(theirs,)
            )
        self.frames = Frames(ours)

    def kill(self) -> None:
        """End it at once, and everything in it."""
        self._process.kill()
        self.close()

    def close(self) -> None:
        """It has ended, or is to end: forget it."""
        self.frames.close()
        try:
            self._process.wait(0.1)
        except subprocess.TimeoutExpired:
            threading.Thread(target=self._bury, daemon=True).start()

    def _bury(self) -> None:
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class ThreadChild:
    """An executor in a thread of this process (`--all-in-one`): what hangs in it stays."""

    def __init__(self, *, slots: int, worker_name: str) -> None:
        from django_infinitic.worker.child import Child as Loop

        ours, theirs = socket.socketpair()
        self._theirs = theirs
        self.frames = Frames(ours)
        loop = Loop(theirs, slots=slots, worker_name=worker_name)
        threading.Thread(target=loop.run, name="infinitic-executor", daemon=True).start()

    def kill(self) -> None:
        """Leave it to itself."""
        self.close()

    def close(self) -> None:
        """The loop sees the end of the socket."""
        self.frames.close()


def make_child(**options: Any) -> Child:
    """A child process."""
    return ProcessChild(**options)
