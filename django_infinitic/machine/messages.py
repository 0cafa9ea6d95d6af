"""Messages: what an instance is told, by clients, workers, its tasks, its timers and others."""

from __future__ import annotations

import base64
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Doc = dict[str, Any]


class Kind(enum.IntEnum):
    """What a message says; the fields of its document are given in brackets.

    `from` is a requester document: `i` instance, `s` stream, `p` position.
    """

    START = 0
    """Begin. [method, args, from]"""
    METHOD = 1
    """Run a method. [id, method, args, from]"""
    SEND = 2
    """A message of a channel. [channel, value, key]"""
    CANCEL = 3
    """Cancel the instance, or one method. [force, method, reason]"""
    RETRY = 4
    """Let stalled methods go on. [method]"""
    RETRY_TASKS = 5
    """Send failed tasks again. [task, status, service]"""
    TIMERS = 6
    """Complete timers early. [method]"""
    OUTCOME = 7
    """What became of a child or a method elsewhere. [s, p, status, value]"""
    REPORT = 8
    """What became of a task. [s, p, task, status, value, sequence]"""
    TIMER = 9
    """A timer is due. [timer, s, and p or w or retry]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message to one instance; `row` is what the store knows it by (None: never stored)."""

    kind: Kind
    doc: Doc
    instance: str = ""
    at: int = 0
    row: int | None = None


def store_meta(meta: Mapping[str, str | bytes] | None) -> Doc:
    """Meta as JSON; bytes are kept apart from texts, so that each comes back as it was given."""
    return {
        key: value if isinstance(value, str) else {"b": base64.b64encode(value).decode()}
        for key, value in (meta or {}).items()
    }


def load_meta(stored: Doc | None) -> dict[str, str | bytes]:
    """The reverse of `store_meta`."""
    return {
        key: value if isinstance(value, str) else base64.b64decode(value["b"])
        for key, value in (stored or {}).items()
    }
