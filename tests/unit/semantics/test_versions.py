"""Two classes of one name: new instances take the newest, running ones keep theirs."""

from collections.abc import Callable

import pytest

from django_infinitic import Workflow, client, get_workflow_by_id, new_workflow, workflow
from django_infinitic.authoring.channel import Channel
from django_infinitic.authoring.deferred import DeferredStatus
from django_infinitic.exceptions import RegistryError
from django_infinitic.registry import registry
from django_infinitic.test import WorkflowEnvironment


@workflow(name="versions.Booking")
class Booking(Workflow):
    gate = Channel(str)

    def book(self) -> str:
        got = self.gate.receive().result()
        return f"{self.context.version} {got}"

    def version(self) -> int:
        return self.context.version

    def quick(self) -> str:
        return f"{self.context.version} {self.gate.receive().result()}"


@workflow(name="versions.Caller")
class Caller(Workflow):
    def starts(self) -> int:
        return new_workflow(Booking).version()

    def calls(self, id: str) -> int:
        return get_workflow_by_id(Booking, id).version()


def newer() -> type[Workflow]:
    @workflow(version=2)
    class Booking2(Booking):
        def book(self) -> str:
            self.sleep(1)
            return f"new {self.context.version} {self.gate.receive().result()}"

    return Booking2


@pytest.fixture
def _only_the_first() -> object:
    """Whatever versions a test registers are gone after it."""
    before = dict(registry._workflows["versions.Booking"])
    yield
    registry._workflows["versions.Booking"].clear()
    registry._workflows["versions.Booking"].update(before)


pytestmark = pytest.mark.usefixtures("_only_the_first")


def test_running_instances_keep_their_version(env: WorkflowEnvironment) -> None:
    old = client.start(Booking.book)
    env.run()
    newer()
    new = client.start(Booking.book)  # whichever class is named, a start takes the highest
    env.advance(1)
    for handle in (old, new):
        handle.stub.gate.send("go")
    assert (old.result(), new.result()) == ("0 go", "new 2 go")


def test_an_instance_takes_its_version_in_its_first_step(env: WorkflowEnvironment) -> None:
    handle = client.start(Booking.version)
    newer()
    assert handle.result() == 2


def test_of_children_and_methods(env: WorkflowEnvironment) -> None:
    old = client.start(Booking.book)
    env.run()
    newer()
    assert client.start(Caller.starts).result() == 2
    assert client.start(Caller.calls, old.workflow_id).result() == 0


def test_two_of_one_version_are_refused() -> None:
    with pytest.raises(RegistryError, match="version="):

        @workflow(name="versions.Booking")
        class Another(Workflow):
            def book(self) -> str: ...


def test_what_no_worker_knows_waits_visibly(
    environments: Callable[..., WorkflowEnvironment],
) -> None:
    env = environments("cold", replay=False)
    newer()
    handle = client.start(Booking.quick)
    env.run()
    known = registry._workflows["versions.Booking"].pop(2)
    handle.stub.gate.send("go")
    env.run()
    assert handle.status() is DeferredStatus.ONGOING
    registry._workflows["versions.Booking"][2] = known
    other = client.start(Booking.quick)
    other.stub.gate.send("fine")
    assert other.result() == "2 fine"
