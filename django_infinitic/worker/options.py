"""What a worker was asked to do: the flags of `infinitic_worker`."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from django_infinitic.registry import registry
from django_infinitic.worker.neighbours import own_process

ROLES: Final = ("engine", "executor", "gateway")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """Flags. `services` and `workflows`: serve only these; None: all that are registered."""

    concurrency: int = 8
    processes: int = 1
    roles: tuple[str, ...] = ("engine", "executor")
    services: tuple[str, ...] | None = None
    workflows: tuple[str, ...] | None = None
    all_in_one: bool = False
    drain: bool = False
    name: str = ""

    def to_json(self) -> str:
        """For the command line of a process of this worker."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> WorkerOptions:
        """The reverse of `to_json`."""
        values: dict[str, Any] = json.loads(text)
        for key, value in values.items():
            if isinstance(value, list):
                values[key] = tuple(value)
        return cls(**values)

    @property
    def engine(self) -> bool:
        """Whether it steps workflows."""
        return "engine" in self.roles

    @property
    def executor(self) -> bool:
        """Whether it runs tasks."""
        return "executor" in self.roles

    def served_workflows(self) -> dict[str, int]:
        """The workflows that it steps, with their highest version here."""
        if not self.engine:
            return {}
        return {
            name: max(registry.workflow_versions(name))
            for name in registry.workflows()
            if self.workflows is None or name in self.workflows
        }

    def served_services(self) -> list[str]:
        """The services whose tasks it runs."""
        if not self.executor:
            return []
        return [
            name for name in registry.services() if self.services is None or name in self.services
        ]

    def info(self) -> dict[str, Any]:
        """What the row of the worker tells about it."""
        return {
            "roles": list(self.roles),
            "workflows": {
                name: registry.workflow_versions(name) for name in self.served_workflows()
            },
            "services": self.served_services(),
            "slots": self.concurrency if self.executor else 0,
            "process": own_process(),
        }


def default_name(number: int = 1) -> str:
    """The name of a worker process, as people see it."""
    return f"{socket.gethostname()}-{os.getpid()}-{number}"


def wrong_names(options: WorkerOptions) -> Mapping[str, list[str]]:
    """Names asked for that nothing here implements, by kind."""
    return {
        "workflow": [one for one in options.workflows or () if one not in registry.workflows()],
        "service": [one for one in options.services or () if one not in registry.services()],
    }
