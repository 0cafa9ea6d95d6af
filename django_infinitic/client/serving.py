"""Who serves what: living workers, and those that have been seen.

The `info` of a worker's row says it: `roles` (a list), `workflows` (stored name -> its versions, or
the highest of them) and `services` (a list of names). What it does not say it does not limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django_infinitic.client.context import surroundings
from django_infinitic.client.wording import time_text
from django_infinitic.fibres.times import moment

Doc = dict[str, Any]
COMMAND: Final = "python manage.py infinitic_worker"
"""What starts a worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """What no living worker serves, what was last seen of one that did, and what helps."""

    what: str
    last_seen: str
    command: str = COMMAND

    def __str__(self) -> str:
        return f"No living worker serves {self.what} ({self.last_seen}). Run: {self.command}"


class Serving:
    """One look at the workers; the store is asked when it is needed, once."""

    def __init__(self) -> None:
        self._alive: list[Doc] | None = None

    def alive(self) -> list[Doc]:
        """Living workers: name, info."""
        if self._alive is None:
            self._alive = surroundings().store().workers_alive()
        return self._alive

    def lacks_workflow(self, name: str, version: int | None) -> Missing | None:
        """Why nobody runs this workflow; None when somebody does."""
        if any(serves_workflow(one["info"], name, version) for one in self.alive()):
            return None
        which = f"workflow {name}" + ("" if version is None else f" version {version}")
        return Missing(
            what=which, last_seen=_seen(lambda info: serves_workflow(info, name, version))
        )

    def lacks_service(self, name: str) -> Missing | None:
        """Why nobody runs tasks of this service; None when somebody does."""
        if any(serves_service(one["info"], name) for one in self.alive()):
            return None
        return Missing(
            what=f"service {name}", last_seen=_seen(lambda info: serves_service(info, name))
        )


def serves_workflow(info: Doc, name: str, version: int | None) -> bool:
    """Whether a worker runs this workflow, in this version if it is known."""
    if "engine" not in info.get("roles", ("engine",)):
        return False
    served = info.get("workflows")
    if served is None:
        return True
    if name not in served:
        return False
    if version is None or not isinstance(served, dict):
        return True
    versions = served[name]
    return version <= versions if isinstance(versions, int) else version in versions


def serves_service(info: Doc, name: str) -> bool:
    """Whether a worker runs tasks of this service."""
    if "executor" not in info.get("roles", ("executor",)):
        return False
    served = info.get("services")
    return served is None or name in served


def _seen(serves: Any) -> str:
    """The last worker that did, among those still on record."""
    known = [one for one in surroundings().store().workers_seen() if serves(one["info"])]
    if not known:
        return "none is on record"
    last = max(known, key=lambda one: one["seen"])
    return f"last seen: worker {last['name']} at {time_text(moment(last['seen']))}"
