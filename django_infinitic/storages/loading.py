"""From the rows of an instance to its state."""

from __future__ import annotations

from django_infinitic.machine.load import fold
from django_infinitic.machine.state import PROPERTIES, Instance
from django_infinitic.storages.base import StoredInstance


def state_of(row: StoredInstance) -> Instance:
    """The state of an instance: its row, and a fold over the history that was read with it.

    Ended methods are in it when their streams were read (`ClientStore.history`).
    """
    state = Instance(
        id=row.id,
        workflow=row.workflow,
        version=row.version,
        tags=frozenset(row.tags),
        custom_id=row.custom_id,
        meta=row.meta,
        parent=row.parent,
        started_by=row.started_by,
        streams=row.streams,
        closed=row.closed_at is not None,
    )
    return fold(state, row.events)


def folded_to(row: StoredInstance) -> int:
    """Up to this step the changes of properties have been folded: 0 when all are on record."""
    first = next((one for one in row.events if one.stream == PROPERTIES), None)
    return 0 if first is None or first.seq == 0 else first.step
