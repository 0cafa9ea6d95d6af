"""The line between a supervisor and an engine: it carries notes, and its end is a death notice."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

from django_infinitic.worker.frames import Frames, Gone


class Control:
    """The engine's end. Notes that cannot be sent any more are dropped: the loop sees the end."""

    def __init__(self, link: socket.socket) -> None:
        self._frames = Frames(link)
        self._lock = threading.Lock()

    def fileno(self) -> int:
        """For selectors."""
        return self._frames.fileno()

    def tell(self, **note: Any) -> None:
        """Send a note: `me` (id of the present life), `beat`, `idle`, `refused`."""
        with self._lock, contextlib.suppress(Gone):
            self._frames.send(note)

    def heard(self) -> list[dict[str, Any]]:
        """Notes of the supervisor. Raises `Gone` when it has ended."""
        return self._frames.receive()

    def close(self) -> None:
        """Say nothing any more."""
        self._frames.close()
