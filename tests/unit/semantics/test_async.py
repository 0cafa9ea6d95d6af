"""`async def` methods: they await deferreds and own coroutines, nothing else."""

import asyncio
from collections.abc import Callable

import pytest

from django_infinitic import (
    Workflow,
    and_,
    client,
    first_success,
    new_service,
    new_workflow,
    or_,
    service,
    workflow,
)
from django_infinitic.authoring.channel import Channel
from django_infinitic.exceptions import (
    Canceled,
    TaskFailedError,
    UsageError,
    WorkflowCanceledError,
    WorkflowCodeError,
    WorkflowFailedError,
)
from django_infinitic.test import WorkflowEnvironment

from .world import NOTES, Desk


@service(name="async.Async")
class Async:
    async def shout(self, text: str) -> str:
        await asyncio.sleep(0)
        return text.upper()


@workflow(name="async.Other")
class Other(Workflow):
    async def greet(self, name: str) -> str:
        await self.timer(1)
        return f"hello {name}"


@workflow(name="async.Flow")
class Flow(Workflow):
    desk = new_service(Desk)
    service = new_service(Async)
    other = new_workflow(Other)
    gate = Channel(str)

    async def awaits(self) -> str:
        one = await self.dispatch(self.desk.upper, "a")
        two = self.desk.upper("b")
        three = await self.service.shout("c")
        return one + two + three

    async def gathers(self) -> list[str]:
        first, second = await (
            self.dispatch(self.desk.upper, "a") & self.dispatch(self.desk.upper, "b")
        )
        rest = await and_(self.service.shout(one) for one in "cd")
        return [first, second, *rest]

    async def starts_at_once(self) -> str:
        greeting = self.other.greet("you")
        await self.timer(2)
        return f"{greeting.is_completed()} {await greeting}"

    async def races(self) -> str:
        got = await or_(self.gate.receive(), self.timer(5))
        return got if isinstance(got, str) else "late"

    async def succeeds_once(self) -> str:
        return await first_success(
            self.dispatch(self.desk.fail, "no"), self.dispatch(self.desk.upper, "yes")
        )

    async def own_coroutines(self) -> str:
        return await self._one() + await self._two()

    async def _one(self) -> str:
        return await self.dispatch(self.desk.upper, "one")

    async def _two(self) -> str:
        async with _Noted():
            return await self.dispatch(self.desk.upper, "two")

    async def catches(self) -> str:
        try:
            await self.dispatch(self.desk.fail, "broken")
        except TaskFailedError as error:
            return error.task_name
        return "fine"

    async def tidies(self) -> None:
        try:
            await self.timer(100)
        except Canceled:
            await self.timer(1)
            self.desk.note("tidied")
            raise

    async def sleeps(self) -> None:
        await asyncio.sleep(1)

    async def yields(self) -> None:
        await asyncio.sleep(0)

    async def waits_for_event(self) -> None:
        await asyncio.Event().wait()

    async def makes_task(self) -> None:
        await asyncio.create_task(self._one())

    async def times_out(self) -> None:
        async with asyncio.timeout(1):
            await self.timer(5)

    async def catches_and_goes_on(self) -> str:
        try:
            await asyncio.sleep(0)
        except UsageError:
            return await self.dispatch(self.desk.upper, "refused")
        return "slept"

    def from_sync(self) -> str:
        return self.dispatch(self.other.greet, "sync").result()

    def truth(self) -> None:
        if self.service.shout("x"):
            pass

    async def run_on_me(self, text: str) -> str:
        return await self.dispatch(self.desk.upper, text)


class _Noted:
    async def __aenter__(self) -> None:
        NOTES.append("in")

    async def __aexit__(self, *exc: object) -> None:
        NOTES.append("out") if exc[0] is None else None


RESULTS = [
    (Flow.awaits, "ABC"),
    (Flow.gathers, ["A", "B", "C", "D"]),
    (Flow.starts_at_once, "True hello you"),
    (Flow.races, "late"),
    (Flow.succeeds_once, "YES"),
    (Flow.own_coroutines, "ONETWO"),
    (Flow.catches, "fail"),
    (Flow.catches_and_goes_on, "REFUSED"),
    (Flow.from_sync, "hello sync"),
]
REFUSED = [
    Flow.sleeps,
    Flow.yields,
    Flow.waits_for_event,
    Flow.makes_task,
    Flow.times_out,
    Flow.truth,
]


@pytest.mark.parametrize(
    ("method", "expected"), RESULTS, ids=lambda one: getattr(one, "__name__", "")
)
def test_results(env: WorkflowEnvironment, method: Callable, expected: object) -> None:
    handle = client.start(method)
    env.advance(10)
    assert handle.result() == expected


@pytest.mark.parametrize("method", REFUSED, ids=lambda one: one.__name__)
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_what_is_no_deferred_is_refused(env: WorkflowEnvironment, method: Callable) -> None:
    handle = client.start(method)
    with pytest.raises(WorkflowFailedError) as caught:
        handle.result()
    nested = caught.value.deferred_error
    assert isinstance(nested, WorkflowCodeError)
    assert nested.last_failure.exception.is_a(UsageError)


def test_the_text_names_the_place_and_the_remedy(env: WorkflowEnvironment) -> None:
    with pytest.raises(WorkflowFailedError) as caught:
        client.start(Flow.yields).result()
    text = caught.value.deferred_error.last_failure.exception.message
    assert "semantics/test_async.py" in text
    assert "and_()" in text


def test_a_cancel_reaches_the_await(env: WorkflowEnvironment) -> None:
    handle = client.start(Flow.tidies)
    env.run()
    handle.cancel()
    env.advance(1)
    with pytest.raises(WorkflowCanceledError):
        handle.result()
    assert NOTES == ["tidied"]


def test_own_coroutines_run_on_live_instances(env: WorkflowEnvironment) -> None:
    handle = client.start(Flow.races)
    env.run()
    assert client.dispatch(handle.stub.run_on_me, "x").result() == "X"


class TestTheAsyncClient:
    def test_everything_has_an_async_twin(self, live: WorkflowEnvironment) -> None:
        async def scenario() -> list[object]:
            started = await client.astart(Flow.races)
            dispatched = await client.adispatch(client.new_workflow(Other).greet, "a")
            many = await client.abulk_dispatch([(client.new_workflow(Other).greet, ("b",), {})])
            ongoing = (await started.astatus()).name
            await started.stub.gate.asend("ping")
            got = await started.aresult()
            await client.acomplete_timers(client.get_workflow_by_id(Other, dispatched.workflow_id))
            await client.acomplete_timers(client.get_workflow_by_id(Other, many[0].workflow_id))
            return [
                ongoing,
                got,
                await dispatched.aresult(),
                await many[0].aresult(),
                await many[0].ais_stalled(),
                await started.aproperties(),
                (await started.aexplain()).kind,
                await client.aget_ids(client.get_workflow_by_tag(Other, "t")),
                (await client.aget_state(started.stub))["status"],
            ]

        assert asyncio.run(scenario()) == [
            "ONGOING",
            "ping",
            "hello a",
            "hello b",
            False,
            {},
            "ended",
            set(),
            "COMPLETED",
        ]

    def test_an_async_stub_method_starts_when_it_is_awaited(
        self, live: WorkflowEnvironment
    ) -> None:
        async def scenario() -> str:
            coroutine = client.new_workflow(Flow).awaits()
            assert not live._store._t.instances  # type: ignore[attr-defined]
            return await coroutine

        assert asyncio.run(scenario()) == "ABC"
