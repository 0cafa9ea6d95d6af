"""From the rows of an instance to its state."""

from __future__ import annotations

from django_infinitic.machine.load import fold
from django_infinitic.machine.state import Instance
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
