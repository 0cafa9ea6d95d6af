"""One environment for each way an instance can be resumed.

`live`: the fibre is still there. `cold`: each resumption replays. `crash`: the process dies after
whatever could run has run, so nothing in memory survives and no `finally` runs.
"""

from collections.abc import Iterator

import pytest

from django_infinitic.test import WorkflowEnvironment

from . import world


class CrashingEnvironment(WorkflowEnvironment):
    """Loses its memory after each run."""

    def run(self) -> None:
        super().run()
        self.restart()


@pytest.fixture(params=["live", "cold", "crash"])
def env(request: pytest.FixtureRequest) -> Iterator[WorkflowEnvironment]:
    """An open environment on the memory store; at the end all that ran is replayed."""
    world.reset()
    kind = CrashingEnvironment if request.param == "crash" else WorkflowEnvironment
    with kind(
        cache=request.param != "cold", allow_stalled=True, storage="memory://"
    ) as environment:
        yield environment
        if request.node.get_closest_marker("changed_code") is None:
            for instance in list(environment._store._t.instances):  # type: ignore[attr-defined]
                environment.replay(instance)


@pytest.fixture
def live() -> Iterator[WorkflowEnvironment]:
    """An environment that keeps live instances, for cases that are not about replays."""
    world.reset()
    with WorkflowEnvironment(cache=True, allow_stalled=True, storage="memory://") as environment:
        yield environment
