"""The live method runs of a process, and what a segment of one came to."""

from __future__ import annotations

import logging
from random import Random
from typing import Any

from django_infinitic.authoring.policy import next_delay
from django_infinitic.exceptions import (
    Canceled,
    DeferredCanceledError,
    DeferredError,
    SerializationError,
    UnknownMethodError,
    WorkflowChangedError,
    WorkflowCodeError,
    WorkflowFailedError,
)
from django_infinitic.fibres import filters
from django_infinitic.fibres.checks import described
from django_infinitic.fibres.commands import recorded
from django_infinitic.fibres.declared import declared_as
from django_infinitic.fibres.fibre import Finished
from django_infinitic.fibres.run import MethodRun
from django_infinitic.fibres.tape import Escape
from django_infinitic.machine.state import Instance, Method, Segment
from django_infinitic.machine.turn import Ran, Wake
from django_infinitic.machine.waits import Wait
from django_infinitic.registry import WorkflowSpec

logger = logging.getLogger("django_infinitic.engine")
_graveyard: list[MethodRun] = []
"""Runs that did not die when they were dropped, or were buried: kept, never resumed."""


def attach(state: Instance, spec: WorkflowSpec) -> None:
    """Tell a state which class it belongs to: its channels decide what a receive matches."""
    state.spec = spec
    channels = {channel.name: channel for channel in spec.channels.values()}
    state.unbuffered = frozenset(name for name, one in channels.items() if not one.buffer)

    def matches(data: dict[str, Any], payload: str) -> bool:
        codec = channels[data["ch"]].codec
        wanted = data.get("of")
        if wanted is not None and not codec.matches(payload, wanted):
            return False
        path = data.get("jp")
        return path is None or filters.query(path)(codec.view(payload))

    state.matches = matches


class Runs:
    """Live method runs by instance and stream; without `keep` each resumption replays cold."""

    def __init__(self, *, keep: bool = True) -> None:
        self._keep = keep
        self._runs: dict[str, dict[int, MethodRun]] = {}
        self._random = Random()

    def run(self, state: Instance, wake: Wake) -> Ran:
        """Run a method up to its next wait or its end; a cold one is replayed first."""
        method = state.methods[wake.stream]
        self._drop_ended(state)
        run = self._runs.get(state.id, {}).get(wake.stream)
        try:
            if run is None:
                run = self._new(state, method)
                self._runs.setdefault(state.id, {})[wake.stream] = run
                replay(run, method)
            out = run.segment(step=wake.step, at=wake.at, wake=wake.kind, takes=wake.takes)
        except Exception as error:  # whatever it is, it stalls this method and nothing else
            self._forget(state.id, wake.stream)
            return self._stalled(state, method, error, run)
        ran = self._ran(run, out)
        if ran.kind != "wait":
            self._forget(state.id, wake.stream)
        elif not self._keep:
            self._forget(state.id, wake.stream)
            bury_unless_dropped(run)
        return ran

    def _drop_ended(self, state: Instance) -> None:
        """Methods that were ended from outside (by force) do not run to their end."""
        runs = self._runs.get(state.id)
        if runs is None or len(runs) == 1:
            return
        for stream in [one for one in runs if one not in state.methods]:
            bury_unless_dropped(runs.pop(stream))

    def _new(self, state: Instance, method: Method) -> MethodRun:
        spec = state.spec
        assert spec is not None
        found = spec.methods.get(method.name)
        if found is None:
            raise UnknownMethodError(
                f'The workflow "{spec.name}" ({spec.place}) has no method "{method.name}".'
            )
        return MethodRun(state, method, spec, found)

    def _ran(self, run: MethodRun, out: Finished | Wait | Escape) -> Ran:
        if isinstance(out, Escape):
            return self._stalled(run.state, run.method, out.error, run, saga=out.saga)
        try:
            changes = run.changes() if run.instance is not None else {}
        except SerializationError as error:
            return self._stalled(run.state, run.method, error, run)
        if isinstance(out, Wait):
            ran = Ran("wait", wait=out)
        elif out.error is None:
            ran = Ran("return", out.value)
        else:
            ended = self._ended(run, out.error)
            if ended is None:
                return self._stalled(run.state, run.method, out.error, run)
            ran = ended
        ran.commands, ran.records = run.commands, run.records
        ran.takes, ran.given = run.takes, run.given
        ran.changes = changes
        ran.canceled = run.told_canceled
        return ran

    def _ended(self, run: MethodRun, error: BaseException) -> Ran | None:
        """The end that an exception is, if it is one: declared, or of a canceled method."""
        if isinstance(error, KeyboardInterrupt):
            raise error
        if isinstance(error, Canceled):
            return Ran("canceled")
        being_canceled = run.canceled or run.method.cancel_step is not None
        if being_canceled and isinstance(error, DeferredCanceledError):
            return Ran("canceled")
        declared = declared_as(error, run.method_spec.raises)
        if declared is None:
            return None
        if being_canceled:
            return Ran("canceled")
        nested = WorkflowCodeError(
            workflow_name=run.state.workflow,
            workflow_id=run.state.id,
            last_failure=run.failure(error),
        )
        return Ran("declared", _failed(run.state, run.method, nested, declared).to_json())

    def stalled(self, state: Instance, wake: Wake, error: BaseException) -> Ran:
        """What a segment comes to that may not be run: its method stalls with this error."""
        return self._stalled(state, state.methods[wake.stream], error, None)

    def _stalled(
        self,
        state: Instance,
        method: Method,
        error: BaseException,
        run: MethodRun | None,
        saga: bool = False,
    ) -> Ran:
        if isinstance(error, KeyboardInterrupt):
            raise error
        seconds = None
        spec = state.spec
        if spec is not None and isinstance(error, Exception):
            seconds = next_delay(spec.retry, method.retries, error, self._random)
        if isinstance(error, DeferredError):
            nested: DeferredError = error
        else:
            failure = recorded(method, error, seconds)
            nested = WorkflowCodeError(
                workflow_name=state.workflow, workflow_id=state.id, last_failure=failure
            )
            log = logger.warning if seconds is not None else logger.error
            log(
                "Workflow %s (%s): method %s stalled: %s",
                state.workflow,
                state.id,
                method.name,
                failure.exception.name,
            )
        if run is not None:
            bury_unless_dropped(run)
        document = _failed(state, method, nested, None).to_json()
        return Ran("stall", document, saga=saga, retry_in=seconds)

    def _forget(self, instance: str, stream: int) -> None:
        runs = self._runs.get(instance)
        if runs is not None:
            runs.pop(stream, None)
            if not runs:
                del self._runs[instance]

    def drop(self, instance: str) -> None:
        """Evict an instance: its fibres are unwound without effects."""
        for run in self._runs.pop(instance, {}).values():
            bury_unless_dropped(run)

    def bury(self) -> None:
        """Forget all runs as a crash would: nothing in them runs any more."""
        for runs in self._runs.values():
            _graveyard.extend(runs.values())
        self._runs = {}


def bury_unless_dropped(run: MethodRun) -> None:
    """Drop a run; one that does not die is kept for ever and reported."""
    if not run.drop():
        _graveyard.append(run)
        logger.error(
            "The code of workflow %s (%s), method %s, did not end when it was dropped: it catches "
            "BaseException and goes on. It is kept and never resumed.",
            run.state.workflow,
            run.state.id,
            run.method.name,
        )


def _failed(
    state: Instance, method: Method, nested: DeferredError, declared: tuple[str, str] | None
) -> WorkflowFailedError:
    return WorkflowFailedError(
        workflow_name=state.workflow,
        workflow_id=state.id,
        method_name=method.name,
        method_id=method.id,
        deferred_error=nested,
        declared=declared,
    )


def replay(run: MethodRun, method: Method) -> None:
    """Run the recorded segments of a method again. Raises `WorkflowChangedError` on divergence."""
    for segment in method.segments or ():
        out = run.segment(step=segment.step, at=segment.at, wake=segment.wake, script=segment)
        if isinstance(out, Escape):
            raise out.error
        _compare(run, segment, out)
        if run.instance is not None and segment.end is None:
            differing = run.properties.recorded_wins(
                run.instance, run.state.property_log, segment.step
            )
            if differing:
                logger.warning(
                    "Workflow %s (%s): a replay computed other values of %s than were recorded; "
                    "the recorded ones are used.",
                    run.state.workflow,
                    run.state.id,
                    ", ".join(differing),
                )
    run.script = None


def _compare(run: MethodRun, segment: Segment, out: Finished | Wait) -> None:
    """Whether a replayed segment ended as the recorded one: at a wait, or in the same way."""
    if isinstance(out, Wait):
        if segment.end is not None:
            raise _changed(run, f"it ended after command {run.position}", "waits there")
        return
    if len(run.commands) < len(segment.commands):
        missing = described(segment.commands[len(run.commands)])
        raise _changed(run, f"command {run.position + 1} was {missing}", "ends before it")
    if segment.end is None:
        raise _changed(run, f"it waited after command {run.position}", "ends there") from out.error
    kind, value = segment.end
    if (kind == "return") != (out.error is None):
        was = "returned a value" if kind == "return" else "ended with an exception"
        now = "returns a value" if out.error is None else f"raises {type(out.error).__name__}"
        raise _changed(run, f"it {was}", now) from out.error
    if kind == "return" and value != out.value and run.method_spec.check_mode == "strict":
        raise _changed(run, "it returned another value", "returns this one")


def _changed(run: MethodRun, was: str, now: str) -> WorkflowChangedError:
    return WorkflowChangedError(
        f"{run.class_name}.{run.method_attribute} changed under a running instance: {was} when it "
        f"first ran, the code now {now}. Restore the order, or register this code as "
        f"version={run.spec.version + 1}."
    )
