"""Where instances, methods and commands stand."""

from __future__ import annotations

import enum

from django_infinitic.authoring.deferred import DeferredStatus

__all__ = ["DeferredStatus", "InstanceStatus", "OutcomeStatus", "final"]


class InstanceStatus(enum.IntEnum):
    """The status of an instance as its row shows it."""

    RUNNING = 0
    STALLED = 1
    BLOCKED = 2
    CANCELING = 3
    COMPLETED = 4
    FAILED = 5
    CANCELED = 6


class OutcomeStatus(enum.IntEnum):
    """What a waiter of a method is told; STALLED can still be mended."""

    ONGOING = 0
    COMPLETED = 1
    FAILED = 2
    CANCELED = 4
    UNKNOWN = 5
    STALLED = 6


def final(status: int) -> bool:
    """Whether a command's status can change no more."""
    return status in (DeferredStatus.COMPLETED, DeferredStatus.CANCELED)
