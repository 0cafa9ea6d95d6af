"""The name of this worker, as failures record it."""

from __future__ import annotations

_worker = {"name": "worker"}


def worker_name() -> str:
    """The name of this worker, as failures record it."""
    return _worker["name"]


def set_worker_name(name: str) -> None:
    """Told by the worker when it starts."""
    _worker["name"] = name
