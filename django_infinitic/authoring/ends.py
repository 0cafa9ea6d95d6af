"""What `on_end=` and `on_stall=` are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowEnd:
    """How an instance ended, or that a method of it stalled.

    `error` is a text, empty unless the status is FAILED or STALLED.
    """

    workflow_id: str
    workflow_name: str
    tags: frozenset[str]
    status: Literal["COMPLETED", "FAILED", "CANCELED", "STALLED"]
    error: str = ""
