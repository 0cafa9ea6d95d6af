"""The parts of a wait in words: from a wait tree and rows to causes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from django_infinitic.authoring.policy import RetryPolicy
from django_infinitic.client.context import surroundings
from django_infinitic.client.explanation import Cause, Explanation, Why
from django_infinitic.client.serving import Missing, Serving
from django_infinitic.client.wording import duration_text, listed, short, time_text
from django_infinitic.exceptions import RegistryError
from django_infinitic.fibres.times import moment
from django_infinitic.machine.state import Command, Instance, Method
from django_infinitic.machine.statuses import DeferredStatus
from django_infinitic.machine.waits import Node
from django_infinitic.registry import registry

Doc = dict[str, Any]
HUMAN = "human"
QUEUED, CLAIMED, DELEGATED = 0, 1, 2
Ask = Callable[[str, str | None], Explanation | None]
"""Explains another instance, or a method of it; None when it cannot be asked."""


class Causes:
    """What the open parts of a method's wait are."""

    def __init__(
        self, state: Instance, method: Method, tasks: dict[str, Doc], serving: Serving, ask: Ask
    ) -> None:
        self._state = state
        self._method = method
        self._tasks = tasks
        self._serving = serving
        self._ask = ask
        self.now = surroundings().now()

    def of(self, node: Node) -> tuple[str, list[Cause]]:
        """The words for a tree, and its open parts in written order; ("", []) when none is."""
        if isinstance(node, int):
            cause = self._leaf(node)
            return (cause.text, [cause]) if cause is not None else ("", [])
        operator, *operands = node
        texts: list[str] = []
        causes: list[Cause] = []
        for operand in operands:
            text, inner = self.of(operand)
            if not inner:
                continue
            nested = isinstance(operand, list) and len(inner) > 1
            texts.append(f"({text})" if nested else text)
            causes += [one for one in inner if one not in causes]
        return listed(texts, "and" if operator in "&s" else "or"), causes

    def _leaf(self, position: int) -> Cause | None:
        command = self._method.commands[position]
        if command.kind == "receive":
            return self._message(position, command)
        if command.last != DeferredStatus.ONGOING:
            return None
        if command.kind == "timer":
            due = moment(command.data["due"])
            return Cause(kind=Why.TIMER, text=f"a timer due {time_text(due)}", until=due)
        cause = self._task(command) if command.kind == "task" else self._elsewhere(command)
        if cause.until is None and command.data.get("tt") and cause.since is not None:
            return replace(cause, until=self._limit(position, command))
        return cause

    def _limit(self, position: int, command: Command) -> datetime | None:
        """When the total timeout of a command passes."""
        first = 1
        for segment in self._method.segments or ():
            first += len(segment.commands)
            if position < first:
                return moment(segment.at + int(command.data["tt"] * 1_000_000))
        return None

    def _message(self, position: int, command: Command) -> Cause | None:
        receive = self._method.receives[position]
        if receive.closed or receive.exhausted or receive.slot is not None:
            return None
        data = command.data
        text = f"a message on channel {data['ch']}"
        if data.get("of"):
            text += f" of class {data['of'].rpartition('.')[2]}"
        if data.get("jp"):
            text += f" that matches {data['jp']}"
        return Cause(kind=Why.MESSAGE, text=text, name=data["ch"])

    # -- tasks -----------------------------------------------------------------------------

    def _task(self, command: Command) -> Cause:
        data, row = command.data, self._tasks.get(command.id)
        base = Cause(kind=Why.TASK, text=f"task {command.name}", name=command.name, id=command.id)
        if data["s"] == HUMAN:
            return replace(base, kind=Why.PERSON, text=f"somebody to decide {data['t']}")
        if row is None:
            return replace(
                base, text=f"task {command.name} (it has ended, and is about to be told)"
            )
        since = moment(row["ready_at"])
        if row["state"] == DELEGATED:
            text = f"{base.text} (somebody has to complete it; its id is {command.id})"
            return replace(base, kind=Why.DELEGATED, text=text, since=since)
        if row["state"] == CLAIMED:
            worker = row.get("worker")
            on = f" on worker {worker}" if worker else ""
            text = f"{base.text} (runs{on} for {self._ago(row['ready_at'])}{_attempt(row)})"
            return replace(base, text=text, since=since, worker=worker, **_retries(row))
        missing = self._serving.lacks_service(data["s"])
        if missing is not None:
            return _unserved(base, missing, since)
        if row["doc"].get("ri") and row["ready_at"] > self.now:
            return replace(
                base, kind=Why.RETRY, text=_retried(base.text, row), until=since, **_retries(row)
            )
        text = (
            f"{base.text} (waits for a free worker for {self._ago(row['ready_at'])}{_attempt(row)})"
        )
        return replace(base, text=text, since=since, **_retries(row))

    def _ago(self, micros: int) -> str:
        return duration_text((self.now - micros) / 1_000_000)

    # -- other workflows and methods -------------------------------------------------------

    def _elsewhere(self, command: Command) -> Cause:
        data, store = command.data, surroundings().store()
        name = f"{data['wf']}.{data['m']}"
        if command.kind == "child":
            target: str | None = command.id
            if data.get("ci") and store.head(command.id) is None:
                target = store.find(data["wf"], data["ci"])  # it found an instance that was there
            text = f"child {name} ({target or command.id})"
            child = None if target is None else self._ask(target, None)
            return Cause(kind=Why.CHILD, text=text, name=name, id=target, child=child)
        if data["to"] == "own":
            text, target = f"its method {data['m']}", self._state.id
        else:
            target = data["to_id"]
            if data["to"] == "custom":
                target = store.find(data["wf"], data["to_id"])
            text = f"method {name} ({data['to_id']})"
        child = None if target is None else self._ask(target, command.id)
        return Cause(kind=Why.METHOD, text=text, name=name, id=command.id, child=child)


def _unserved(base: Cause, missing: Missing, since: datetime) -> Cause:
    text = f"{base.text} (no worker serves it)"
    return replace(base, kind=Why.NO_WORKER, text=text, since=since, missing=str(missing))


def _attempt(row: Doc) -> str:
    """`, retry 3 of 11 after ValueError: ...`; nothing for a first attempt."""
    values = _retries(row)
    if not values["retry_index"]:
        return ""
    return f", {_count(values)} after {values['error']}"


def _count(values: Doc) -> str:
    limit = values["max_retries"]
    return f"retry {values['retry_index']}" + ("" if limit is None else f" of {limit}")


def _retried(text: str, row: Doc) -> str:
    values = _retries(row)
    due = time_text(moment(row["ready_at"]))
    return f"{text} ({_count(values)}, next {due}, last error {values['error']})"


def _retries(row: Doc) -> Doc:
    """What is known of a task's retries: how many of how many, and the last error."""
    doc = row["doc"]
    last = doc.get("lf") or {}
    exception = last.get("exception") or {}
    name = str(exception.get("name", "")).removeprefix("builtins.")
    message = exception.get("message")
    try:
        policy = registry.task(row["service"], row["name"]).retry
    except RegistryError:
        policy = None
    return {
        "retry_index": doc.get("ri", 0),
        "max_retries": policy.max_retries if isinstance(policy, RetryPolicy) else None,
        "error": short(f"{name}: {message}" if message else name),
    }
