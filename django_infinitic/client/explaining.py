"""From the rows of an instance to its explanation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from django_infinitic.client.causes import Ask, Causes
from django_infinitic.client.context import surroundings
from django_infinitic.client.explanation import RETRY_HINT, Cause, Explanation, Why, since_text
from django_infinitic.client.serving import COMMAND, Missing, Serving
from django_infinitic.client.wording import error_of, error_text, time_text
from django_infinitic.exceptions import (
    TaskFailedError,
    TaskTimedOutError,
    WorkflowCodeError,
    WorkflowFailedError,
    WorkflowTimedOutError,
    WorkflowUnknownError,
)
from django_infinitic.fibres.times import moment
from django_infinitic.machine.messages import Kind
from django_infinitic.machine.state import Instance, Method, Stall
from django_infinitic.machine.statuses import InstanceStatus, OutcomeStatus
from django_infinitic.machine.waits import Wait
from django_infinitic.storages.base import StoredInstance, StoredOutcome
from django_infinitic.storages.loading import state_of

Doc = dict[str, Any]
DEPTH = 4
"""Children of children are explained so far down."""

LATE = 5_000_000
"""After so many microseconds a timer that is due and has not fired is a matter of workers."""


def explain(instance: str, method: str | None = None) -> Explanation:
    """Why an instance, or one method of it, does not move. Raises `WorkflowUnknownError`."""
    found = _Look(serving=Serving()).at(instance, method)
    if found is None:
        raise WorkflowUnknownError(
            workflow_name="", workflow_id=instance, method_name="", method_id=method or instance
        )
    return found


@dataclass(slots=True, kw_only=True)
class _Look:
    """One question; `depth` says how many instances have led here."""

    serving: Serving
    depth: int = 0

    def at(self, instance: str, method: str | None) -> Explanation | None:
        """Explain an instance or a method; None when there is none."""
        store = surroundings().store()
        row = store.history(instance)
        if row is None:
            return None
        known = _Known(row, self.serving, self._deeper)
        if method is None or method == instance:
            return known.instance()
        return known.method(method)

    def _deeper(self, instance: str, method: str | None) -> Explanation | None:
        if self.depth >= DEPTH:
            return None
        return _Look(serving=self.serving, depth=self.depth + 1).at(instance, method)


class _Known:
    """An instance with all that is asked about it."""

    def __init__(self, row: StoredInstance, serving: Serving, ask: Ask) -> None:
        self.row = row
        self.state: Instance = state_of(row)
        self.serving = serving
        self._ask = ask
        self._about_all = False
        self._tasks: dict[str, Doc] | None = None
        self._pending = surroundings().store().messages_of(row.id)
        self._lacking: Missing | None = None
        if row.closed_at is None:
            self._lacking = serving.lacks_workflow(row.workflow, row.version)

    # -- the instance and its methods ------------------------------------------------------

    def instance(self) -> Explanation:
        """Of several running methods first a stalled one, then the one that waits longest."""
        row = self.row
        if row.closed_at is not None:
            return self._closed()
        if row.status == InstanceStatus.BLOCKED:
            return self._blocked()
        self._about_all = True
        found = [self._running(one) for one in self.state.running()]
        if not found:
            return self._not_started(row.id, row.method, row.created_at)
        found.sort(
            key=lambda one: (not one.kind.startswith("stalled"), one.since is None, one.since)
        )
        return replace(found[0], others=tuple(found[1:]))

    def method(self, method_id: str) -> Explanation | None:
        """One method by its id."""
        method = self.state.method_by_id(method_id)
        if method is not None and method.end is None:
            return self._blocked() if self._is_blocked() else self._running(method)
        outcome = surroundings().store().outcome(method_id)
        if outcome is not None and outcome.instance == self.row.id:
            return self._ended_method(method_id, method, outcome)
        for message in self._pending:
            if message.kind == Kind.METHOD and message.doc.get("id") == method_id:
                return self._not_started(method_id, message.doc["method"], message.at)
        return None

    def _is_blocked(self) -> bool:
        return self.row.closed_at is None and self.row.status == InstanceStatus.BLOCKED

    def _asked(self, instance: str, method: str | None) -> Explanation | None:
        """Explain what is waited for; its own methods are among the others already."""
        if self._about_all and instance == self.row.id:
            return None
        return self._ask(instance, method)

    def _made(self, kind: Why, method: Method | None, predicate: str, **values: Any) -> Explanation:
        values.setdefault("status", InstanceStatus(self.row.status).name)
        return Explanation(
            kind=kind,
            workflow_id=self.row.id,
            workflow_name=self.row.workflow,
            method_id=values.pop("method_id", self.row.id if method is None else method.id),
            method_name=values.pop(
                "method_name", self.row.method if method is None else method.name
            ),
            predicate=predicate,
            **values,
        )

    # -- what has not begun, has ended or cannot go on --------------------------------------

    def _not_started(self, id: str, name: str, at: int) -> Explanation:
        since = moment(at)
        predicate = f"was started at {time_text(since)} and no worker has taken it yet"
        kind = Why.NOT_STARTED if self._lacking is None else Why.NO_WORKER
        return self._made(
            kind, None, predicate, since=since, method_id=id, method_name=name, **self._missing()
        )

    def _missing(self) -> Doc:
        if self._lacking is None:
            return {}
        return {"missing": str(self._lacking), "command": self._lacking.command}

    def _closed(self) -> Explanation:
        status = InstanceStatus(self.row.status).name
        assert self.row.closed_at is not None
        ended = moment(self.row.closed_at)
        end = self.state.main_end or ["", None]
        error = error_text(end[1]) if status == "FAILED" and error_of(end[1]) else ""
        predicate = f"ended at {time_text(ended)}: {status}" + (f", as {error}" if error else "")
        return self._made(Why.ENDED, None, predicate, since=ended, status=status, error=error)

    def _ended_method(
        self, method_id: str, method: Method | None, outcome: StoredOutcome
    ) -> Explanation:
        status = OutcomeStatus(outcome.status).name
        error = error_text(outcome.doc["e"]) if "e" in outcome.doc else ""
        shown = error if status == "FAILED" else ""
        name = method.name if method is not None else str(outcome.doc.get("m", ""))
        return self._made(
            Why.ENDED,
            method,
            f"has ended: {status}" + (f", as {shown}" if shown else ""),
            status=status,
            error=shown,
            method_id=method_id,
            method_name=name,
        )

    def _blocked(self) -> Explanation:
        error = self.row.error or "nothing more is recorded"
        predicate = f"is blocked, as the engine could not process it: {error}. {RETRY_HINT}"
        return self._made(Why.BLOCKED, None, predicate, error=self.row.error)

    # -- what runs -------------------------------------------------------------------------

    def _running(self, method: Method) -> Explanation:
        if method.stall is not None and self._is_retried(method):
            return self._moving(method, "was retried and ")
        if method.stall is not None:
            return self._stalled(method, method.stall)
        canceling = self.state.canceling or method.cancel_step is not None
        prefix = "is being canceled and " if canceling else ""
        if method.wait is None or method.wait.checkpoint:
            return self._moving(method, prefix)
        if method.wait.shield:
            prefix = f"{prefix}undoes what its saga did and "
        return self._waiting(method, method.wait, prefix, canceling)

    def _is_retried(self, method: Method) -> bool:
        """Whether a retry of a stalled method has been asked for."""
        return any(
            one.kind == Kind.RETRY and one.doc.get("method") in (None, method.id)
            for one in self._pending
        )

    def _moving(self, method: Method, prefix: str) -> Explanation:
        at = method.wait.at if method.wait is not None else method.at
        since = moment(at)
        kind = Why.CANCELING if prefix.startswith("is being canceled") else Why.MOVING
        if self._lacking is not None:
            kind = Why.NO_WORKER
        predicate = f"{prefix}is about to go on{since_text(since)}"
        return self._made(kind, method, predicate, since=since, **self._missing())

    def _waiting(self, method: Method, wait: Wait, prefix: str, canceling: bool) -> Explanation:
        if self._tasks is None:
            rows = surroundings().store().tasks_of(self.row.id)
            self._tasks = {one["id"]: one for one in rows}
        causes = Causes(self.state, method, self._tasks, self.serving, self._asked)
        text, open_parts = causes.of(wait.node)
        if not open_parts:
            return self._moving(method, prefix)
        limit = None if wait.until is None else moment(wait.until)
        alone = open_parts[0] if len(open_parts) == 1 else None
        until = limit if alone is None or alone.until is None else alone.until
        if alone is not None and alone.kind is Why.TIMER and alone.until is not None:
            what = f"sleeps until {time_text(alone.until)}"
        else:
            what = f"waits for {text}"
        kind, missing = self._kind(open_parts, canceling, causes.now, wait)
        since = moment(wait.at)
        return self._made(
            kind,
            method,
            f"{prefix}{what}{since_text(since, limit)}",
            since=since,
            until=until,
            waits=tuple(open_parts),
            **missing,
        )

    def _kind(self, parts: list[Cause], canceling: bool, now: int, wait: Wait) -> tuple[Why, Doc]:
        """What is missing comes before what is waited for."""
        dues = [one.until for one in parts if one.kind is Why.TIMER and one.until is not None]
        late = min((*dues, *([moment(wait.until)] if wait.until is not None else [])), default=None)
        overdue = late is not None and late < moment(now - LATE)
        if self._lacking is not None and (self._pending or overdue):
            return Why.NO_WORKER, self._missing()
        unserved = [one for one in parts if one.kind is Why.NO_WORKER]
        if unserved:
            command = COMMAND
            return Why.NO_WORKER, {"missing": unserved[0].missing, "command": command}
        return (Why.CANCELING if canceling else parts[0].kind), {}

    # -- stalled ---------------------------------------------------------------------------

    def _stalled(self, method: Method, stall: Stall) -> Explanation:
        since = moment(stall.at)
        error = error_of(stall.error)
        inner = error.deferred_error if isinstance(error, WorkflowFailedError) else error
        text = error_text(stall.error if inner is None else inner.to_json())
        if stall.retries:
            return self._between_attempts(method, stall, inner, text)
        kind, waits = Why.STALLED_CODE, tuple[Cause, ...]()
        if isinstance(inner, TaskFailedError | TaskTimedOutError):
            kind = Why.STALLED_TASK
        elif isinstance(inner, WorkflowFailedError | WorkflowTimedOutError):
            kind, waits = Why.STALLED_CHILD, self._failed_child(inner)
        where = " while it undid a saga" if stall.saga else ""
        reason = f"{text}. {RETRY_HINT}"
        if waits and waits[0].child is not None:  # whose sentence follows, and says the rest
            reason = f"{waits[0].text} failed"
        predicate = f"is stalled{since_text(since)}{where}: {reason}"
        return self._made(kind, method, predicate, since=since, error=text, waits=waits)

    def _failed_child(
        self, error: WorkflowFailedError | WorkflowTimedOutError
    ) -> tuple[Cause, ...]:
        name = f"{error.workflow_name}.{error.method_name}"
        kind = Why.METHOD if error.workflow_id == self.row.id else Why.CHILD
        return (
            Cause(
                kind=kind,
                text=f"{kind} {name} ({error.method_id})",
                name=name,
                id=error.method_id,
                child=self._asked(error.workflow_id, error.method_id),
            ),
        )

    def _between_attempts(
        self, method: Method, stall: Stall, inner: object, text: str
    ) -> Explanation:
        """Its own code failed, and the policy of the workflow runs it again."""
        failure = inner.last_failure if isinstance(inner, WorkflowCodeError) else None
        seconds = None if failure is None else failure.seconds_before_retry
        until = None if seconds is None else moment(stall.at + round(seconds * 1_000_000))
        due = "" if until is None else f", next {time_text(until)}"
        predicate = f"runs its code again (retry {stall.retries}{due}): {text}"
        return self._made(
            Why.RETRY, method, predicate, since=moment(stall.at), until=until, error=text
        )
