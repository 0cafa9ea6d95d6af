"""Frames over a socket: documents between an engine and its executor child, and the supervisor.

A frame is the length of its body in four bytes, then a document as rows have it. A frame holds
many tasks or many results, so that none of them costs a system call of its own.
"""

from __future__ import annotations

import socket
from struct import Struct
from typing import Any, Final

from django_infinitic.codec import pack, unpack

Doc = dict[str, Any]
HEAD: Final = Struct("!I")
CHUNK: Final = 1 << 18
AT_ONCE: Final = 1 << 22
"""Bytes that one `receive` reads at most, so that a fast peer cannot hold the loop."""


class Gone(Exception):
    """The other end is closed: its process has ended."""


def encode(document: Doc) -> bytes:
    """One frame."""
    body = pack(document)
    return HEAD.pack(len(body)) + body


class Decoder:
    """Puts frames together from whatever pieces the socket gives."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Doc]:
        """The documents that are complete now."""
        buffer = self._buffer
        buffer += data
        found: list[Doc] = []
        start = 0
        while len(buffer) - start >= HEAD.size:
            (length,) = HEAD.unpack_from(buffer, start)
            end = start + HEAD.size + length
            if len(buffer) < end:
                break
            found.append(unpack(bytes(buffer[start + HEAD.size : end])))
            start = end
        if start:
            del buffer[:start]
        return found


class Frames:
    """Both directions of a socket, neither of which ever waits. For one thread."""

    def __init__(self, link: socket.socket) -> None:
        link.setblocking(False)
        self.link = link
        self._out = bytearray()
        self._decoder = Decoder()

    def fileno(self) -> int:
        """For selectors."""
        return self.link.fileno()

    @property
    def unsent(self) -> bool:
        """Whether the socket was full: flush again once it is writable."""
        return bool(self._out)

    def send(self, document: Doc) -> None:
        """Send a document, or as much of it as fits now. Raises `Gone`."""
        self._out += encode(document)
        self.flush()

    def flush(self) -> None:
        """Send what is left. Raises `Gone`."""
        out = self._out
        while out:
            try:
                sent = self.link.send(memoryview(out)[:CHUNK])
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                raise Gone from error
            del out[:sent]

    def receive(self) -> list[Doc]:
        """The documents that have arrived. Raises `Gone` once nothing is left to read."""
        found: list[Doc] = []
        read = 0
        while read < AT_ONCE:
            try:
                data = self.link.recv(CHUNK)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                if found:
                    break
                raise Gone from error
            if not data:
                if found:
                    break
                raise Gone
            read += len(data)
            found += self._decoder.feed(data)
            if len(data) < CHUNK:
                break
        return found

    def close(self) -> None:
        """Close the socket: the other end sees `Gone`."""
        self.link.close()


def task_row(number: int, task: Any) -> list[Any]:
    """A claimed task as the child gets it, under the number that its result will carry."""
    return [
        number,
        task.id,
        task.instance,
        task.workflow,
        task.service,
        task.name,
        task.attempt,
        task.doc,
    ]
