"""Timers, sleeps and time limits of waits."""

from datetime import UTC, datetime, timedelta

import pytest

from django_infinitic import Workflow, client, new_service, workflow
from django_infinitic.authoring.channel import Channel
from django_infinitic.exceptions import (
    DeferredCanceledError,
    WaitTimedOutError,
    WorkflowFailedError,
)
from django_infinitic.test import WorkflowEnvironment

from .world import NOTES, SWITCHES, Desk


@workflow(name="timers.Clock")
class Clock(Workflow):
    desk = new_service(Desk)
    gate = Channel(str)

    def until(self, when: datetime) -> datetime:
        return self.timer(when).result()

    def lasts(self, seconds: float) -> tuple[datetime, datetime]:
        return self.now(), self.timer(seconds).result()

    def delta(self) -> float:
        before = self.now()
        self.sleep(timedelta(hours=2))
        return (self.now() - before).total_seconds()

    def overlap(self) -> float:
        begun = self.now()
        long = self.timer(60)
        self.sleep(40)
        long.result()
        return (self.now() - begun).total_seconds()

    def naive(self) -> None:
        self.timer(datetime(2030, 1, 1))

    def now_is_fixed(self) -> bool:
        return self.now() == self.now()

    def race(self) -> str:
        got = (self.gate.receive() | self.timer(10)).result()
        return "time" if isinstance(got, datetime) else got

    def closed(self) -> str:
        timer = self.timer(10)
        timer.cancel()
        first = timer.status.name
        try:
            timer.result()
        except DeferredCanceledError:
            return f"{first} closed"
        return "fired"

    def cancels_twice(self) -> str:
        timer = self.timer(1)
        self.sleep(5)
        timer.cancel()
        return timer.status.name

    def limited(self) -> str:
        task = self.dispatch(self.desk.note, "x")
        gate = self.gate.receive()
        try:
            gate.result(timeout=5)
        except TimeoutError:
            late = gate.status.name
            return f"{late} {gate.result()} {task.result()}"
        return "in time"

    def limited_by_moment(self) -> str:
        when = self.now() + timedelta(seconds=5)
        try:
            return self.gate.receive().result(timeout=when)
        except WaitTimedOutError:
            return f"late {self.now() == when}"

    def limit_uncaught(self) -> str:
        return self.gate.receive().result(timeout=5)

    def limit_after_stall(self) -> str:
        try:
            return self.dispatch(self.desk.fail_while_switched, "x").result(timeout=10)
        except WaitTimedOutError:
            return "late"

    def heartbeat(self) -> int:
        rounds = 0
        while True:
            try:
                self.gate.receive().result(timeout=10)
                return rounds
            except WaitTimedOutError:
                rounds += 1

    def leaves_timers(self) -> str:
        self.timer(timedelta(days=365))
        self.dispatch(self.desk.patient, "x").cancel()
        (self.gate.receive() | self.timer(timedelta(days=300))).result(timeout=3600)
        return "left"


def timers_of(env: WorkflowEnvironment) -> int:
    return len(env._store._t.timers)  # type: ignore[attr-defined]


class TestTimers:
    def test_an_instant_never_fires_early(self, env: WorkflowEnvironment) -> None:
        due = env.now() + timedelta(hours=1)
        handle = client.start(Clock.until, due)
        env.advance(timedelta(minutes=59))
        with pytest.raises(WaitTimedOutError):
            handle.result()
        env.advance(timedelta(minutes=2))
        assert handle.result() == due

    def test_the_past_is_now(self, env: WorkflowEnvironment) -> None:
        begun = env.now()
        assert client.start(Clock.until, datetime(2001, 1, 1, tzinfo=UTC)).result() == begun

    @pytest.mark.parametrize("seconds", [0, -5, 0.5])
    def test_durations(self, env: WorkflowEnvironment, seconds: float) -> None:
        handle = client.start(Clock.lasts, seconds)
        env.advance(1)
        begun, ended = handle.result()
        assert (ended - begun).total_seconds() == max(seconds, 0)

    def test_a_timedelta(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Clock.delta)
        env.advance(timedelta(hours=2))
        assert handle.result() == 7200

    def test_what_runs_meanwhile_counts(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Clock.overlap)
        env.advance(60)
        assert handle.result() == 60

    def test_a_naive_moment_is_refused(self, env: WorkflowEnvironment) -> None:
        with pytest.raises(WorkflowFailedError, match="naive"):
            client.start(Clock.naive).result()

    def test_now_stands_still_until_the_next_wait(self, env: WorkflowEnvironment) -> None:
        assert client.start(Clock.now_is_fixed).result()

    def test_a_message_or_time(self, env: WorkflowEnvironment) -> None:
        early, late = client.start(Clock.race), client.start(Clock.race)
        env.advance(9)
        early.stub.gate.send("bingo")
        env.advance(1)
        assert (early.result(), late.result()) == ("bingo", "time")

    def test_of_a_message_and_a_timer_the_earlier_wins(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Clock.race)
        env.run()
        env._micros += 12_000_000  # nobody works for a while
        handle.stub.gate.send("too late")
        assert handle.result() == "time"

    def test_a_canceled_timer_is_closed(self, env: WorkflowEnvironment) -> None:
        assert client.start(Clock.closed).result() == "CANCELED closed"
        assert timers_of(env) == 0

    def test_what_has_fired_stays_completed(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Clock.cancels_twice)
        env.advance(5)
        assert handle.result() == "COMPLETED"

    def test_nothing_is_left_when_the_instance_ends(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Clock.leaves_timers)
        env.run()
        handle.stub.gate.send("go")
        assert handle.result() == "left"
        assert timers_of(env) == 0

    def test_nor_when_it_is_dropped_by_force(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Clock.leaves_timers)
        env.run()
        handle.cancel(force=True)
        env.run()
        assert timers_of(env) == 0


class TestCompleteTimers:
    def test_by_hand(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Clock.race)
        env.run()
        client.complete_timers(client.get_workflow_by_id(Clock, handle.workflow_id))
        assert handle.result() == "time"
        assert timers_of(env) == 0

    def test_by_tag(self, env: WorkflowEnvironment) -> None:
        handle = client.dispatch(client.new_workflow(Clock, tags={"t"}).race)
        env.run()
        client.complete_timers(client.get_workflow_by_tag(Clock, "t"))
        assert handle.result() == "time"

    @pytest.mark.parametrize("mine", [True, False])
    def test_of_one_method(self, env: WorkflowEnvironment, mine: bool) -> None:
        handle = client.start(Clock.race)
        env.run()
        stub = client.get_workflow_by_id(Clock, handle.workflow_id)
        client.complete_timers(stub, method_id=handle.method_id if mine else "another")
        env.run()
        handle.stub.gate.send("bingo") if not mine else None
        assert handle.result() == ("time" if mine else "bingo")

    def test_not_the_time_limits_of_waits(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Clock.limit_uncaught)
        env.run()
        client.complete_timers(client.get_workflow_by_id(Clock, handle.workflow_id))
        env.run()
        handle.stub.gate.send("in time")
        assert handle.result() == "in time"


class TestLimitsOfWaits:
    def test_the_deferred_goes_on(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Clock.limited)
        env.advance(5)
        handle.stub.gate.send("late")
        assert handle.result() == "ONGOING late x"

    def test_in_time(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Clock.limited)
        env.advance(4)
        handle.stub.gate.send("soon")
        assert handle.result() == "in time"
        assert timers_of(env) == 0

    def test_by_a_moment(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Clock.limited_by_moment)
        env.advance(5)
        assert handle.result() == "late True"

    def test_uncaught_it_stalls_and_a_retry_runs_the_step_again(
        self, env: WorkflowEnvironment
    ) -> None:
        handle = client.start(Clock.limit_uncaught)
        env.advance(5)
        with pytest.raises(WorkflowFailedError) as caught:
            handle.result()
        assert isinstance(caught.value.deferred_error, WaitTimedOutError)
        handle.retry()
        env.run()
        assert handle.is_stalled()

    def test_a_limit_that_passed_while_the_method_was_stalled_counts_anew(
        self, env: WorkflowEnvironment
    ) -> None:
        SWITCHES["broken"] = True
        handle = client.start(Clock.limit_after_stall)
        env.run()
        assert handle.is_stalled()
        env.advance(3600)
        SWITCHES["broken"] = False
        handle.retry()
        assert handle.result() == "x"
        assert timers_of(env) == 0
        assert NOTES == ["try x", "try x"]

    def test_a_loop_of_limited_receives_loses_nothing(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Clock.heartbeat)
        env.advance(95)
        handle.stub.gate.send("stop")
        assert handle.result() == 9
