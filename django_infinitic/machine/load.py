"""Loading: the state of an instance is a fold of `evolve` over its stored entries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django_infinitic.machine.effects import EventRow
from django_infinitic.machine.state import Instance, evolve


def fold(state: Instance, events: Iterable[EventRow]) -> Instance:
    """Apply stored rows. Each stream is in order; streams depend on each other only by steps."""
    ordered: list[tuple[int, int, dict[str, Any]]] = []
    for row in events:
        state.next_seq[row.stream] = row.seq + 1
        for entry in row.entries:
            ordered.append((row.stream, row.seq, entry))
    for stream, _, entry in ordered:
        evolve(state, stream, entry)
    return state
