"""One environment for each way an instance can be resumed.

`live`: the fibre is still there. `cold`: each resumption replays. `crash`: the process dies after
whatever could run has run, so nothing in memory survives and no `finally` runs.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_infinitic.machine.state import Instance
from django_infinitic.storages.loading import state_of
from django_infinitic.test import WorkflowEnvironment

from . import world


class CheckedEnvironment(WorkflowEnvironment):
    """After each batch what is in memory is compared with what would be loaded."""

    def _step(self) -> bool:
        busy = super()._step()
        for instance, state in list(self._engine._cache.items()):
            (row,) = self._store.load([instance]).values()
            assert known(state_of(row)) == known(state)
        return busy


def known(state: Instance) -> dict[str, Any]:
    """What a machine knows of an instance, but for what is only about this process."""
    found = dataclasses.asdict(
        dataclasses.replace(state, spec=None, matches=None, shown=None)  # type: ignore[arg-type]
    )
    for name in ("step", "at", "head_changed", "unbuffered", "property_log"):
        del found[name]
    found["properties"] = dict(state.properties)
    found["channels"] = {name: queue for name, queue in found["channels"].items() if queue}
    for method in found["methods"].values():
        del method["wait_due"]
    return found


class CrashingEnvironment(WorkflowEnvironment):
    """Loses its memory after each run."""

    def run(self) -> None:
        super().run()
        self.restart()


@pytest.fixture
def environments() -> Iterator[Callable[..., WorkflowEnvironment]]:
    """Opens an environment of a kind; at the end all that ran in it is replayed."""
    world.reset()
    with contextlib.ExitStack() as stack:

        def opened(kind: str, *, replay: bool = True) -> WorkflowEnvironment:
            cls = {"crash": CrashingEnvironment, "live": CheckedEnvironment}.get(
                kind, WorkflowEnvironment
            )
            environment = cls(cache=kind != "cold", allow_stalled=True, storage="memory://")
            stack.enter_context(environment)
            if replay:
                stack.callback(replay_all, environment)
            return environment

        yield opened


def replay_all(environment: WorkflowEnvironment) -> None:
    for instance in list(environment._store._t.instances):  # type: ignore[attr-defined]
        environment.replay(instance)


@pytest.fixture(params=["live", "cold", "crash"])
def env(
    request: pytest.FixtureRequest, environments: Callable[..., WorkflowEnvironment]
) -> WorkflowEnvironment:
    """An open environment on the memory store."""
    return environments(request.param)


@pytest.fixture
def live() -> Iterator[WorkflowEnvironment]:
    """An environment that keeps live instances, for cases that are not about replays."""
    world.reset()
    with WorkflowEnvironment(cache=True, allow_stalled=True, storage="memory://") as environment:
        yield environment
