"""Waiting for outcomes outside workflow code."""

from __future__ import annotations

import asyncio

from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections

from django_infinitic.client.context import refuse_in_workflow
from django_infinitic.exceptions import UsageError


def refuse_wait(what: str) -> None:
    """A wait in an event loop, in workflow code or inside `atomic()` cannot work."""
    refuse_in_workflow("wait")
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise SynchronousOnlyOperation(
            f"{what} waits, and an event loop is running here. Use its a-twin and await it."
        )
    refuse_in_transaction(what)


def refuse_in_transaction(what: str) -> None:
    """Nobody else sees what a transaction has not committed, so waiting in it never ends."""
    for connection in connections.all(initialized_only=True):
        blocks = connection.atomic_blocks
        if any(not getattr(block, "_from_testcase", False) for block in blocks):
            raise UsageError(
                f"{what} waits inside transaction.atomic(), where the workflow cannot be seen yet. "
                "Wait after the block. Under ATOMIC_REQUESTS show handle.properties() or "
                "handle.explain(), or use @transaction.non_atomic_requests."
            )
