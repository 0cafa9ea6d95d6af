"""A test environment: engine, executor and client in one thread, on virtual time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any
from unittest import mock

from django.db import connections
from django.utils import timezone

import django_infinitic.storages as storages
from django_infinitic.authoring import runtime
from django_infinitic.authoring.policy import duration_seconds
from django_infinitic.authoring.stub import StubMethod
from django_infinitic.client import context
from django_infinitic.client.context import wall
from django_infinitic.client.waiting import refuse_in_transaction
from django_infinitic.conf import settings
from django_infinitic.exceptions import UsageError, WorkflowUnknownError, error_from_json
from django_infinitic.fibres.replaying import replay_methods
from django_infinitic.fibres.times import moment
from django_infinitic.machine.effects import Effects
from django_infinitic.machine.statuses import OutcomeStatus
from django_infinitic.registry import TaskSpec, registry
from django_infinitic.storages.base import ClaimedTask, Storage, StoredInstance
from django_infinitic.storages.loading import state_of
from django_infinitic.storages.memory import MemoryStorage
from django_infinitic.worker import notices
from django_infinitic.worker.engine import Engine
from django_infinitic.worker.execution import Verdict, prepare
from django_infinitic.worker.local import LocalExecutor

MICROS = 1_000_000
WORKER = "test-environment"
Doc = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One attempt of a task, as `env.calls` lists it; `attempt` counts from 1."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    attempt: int


class WorkflowEnvironment:
    """A context manager in which workflows run on virtual time, without a thread or a sleep.

    It is strict: each resumption replays cold (`cache=True` keeps live instances), and leaving it
    fails when a method is stalled whose failure the test has not seen (`allow_stalled=True`: not).
    `duplicate_tasks=True` runs each task twice, as a crash might. `storage=None` is the project's
    own setting, i.e. rows in the test database; `"memory://"` needs none.
    """

    def __init__(
        self,
        *,
        cache: bool = False,
        duplicate_tasks: bool = False,
        allow_stalled: bool = False,
        storage: str | None = None,
        transport: str | None = None,
    ) -> None:
        for name, value in (("storage", storage), ("transport", transport)):
            if value not in (None, "memory://"):
                raise UsageError(
                    f"WorkflowEnvironment({name}={value!r}): give None for the project's own "
                    'setting, or "memory://".'
                )
        self._cache = cache
        self._duplicate = duplicate_tasks
        self._allow_stalled = allow_stalled
        self._memory = storage == "memory://"
        self._micros = wall()
        self._calls: list[tuple[str, str, Call]] = []
        self._stalled: dict[str, tuple[str, Doc]] = {}
        self._seen: set[str] = set()
        self._exits = contextlib.ExitStack()
        self._open = False

    # -- opening and closing ---------------------------------------------------------------

    def __enter__(self) -> WorkflowEnvironment:
        if self._memory:
            self._store: Storage = MemoryStorage(self._clock, settings.parts)
        else:
            self._store = storages.storage_for(
                settings.storage.alias, private=False, clock=self._clock
            )
        self._engine = Engine(
            self._store, notify=notices.tell, observe=self._observe, keep_live=self._cache
        )
        self._executor = LocalExecutor(
            self._store,
            worker_name=WORKER,
            slots=1,
            before=self._before,
            after=self._after,
            duplicate=self._duplicate,
        )
        self._live()
        around = _Around(self)
        context.enter(around)
        self._exits.callback(context.leave, around)
        self._exits.enter_context(mock.patch.object(timezone, "now", self._virtual_now))
        self._open = True
        return self

    def _live(self) -> None:
        served = {name: registry.workflow_versions(name) for name in registry.workflows()}
        info = {
            "roles": ["engine", "executor"],
            "workflows": served,
            "services": registry.services(),
        }
        self._store.me = self._store.register(WORKER, info)
        versions = {name: max(found) for name, found in served.items()}
        self._engine.parts = self._store.take(self._store.me, versions, settings.parts)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open = False
        self._engine.forget()
        self._exits.close()
        if error is not None or self._allow_stalled:
            return
        unseen = [
            str(error_from_json(document))
            for instance, document in self._stalled.values()
            if instance not in self._seen
        ]
        if unseen:
            raise AssertionError(
                "A workflow is stalled and the test has not looked at it (result(), status(), "
                "explain(); or allow_stalled=True): " + "; ".join(unseen)
            )

    def _observe(self, effects: Effects) -> None:
        for outcome in effects.outcomes:
            if outcome.status == OutcomeStatus.STALLED:
                self._stalled[outcome.method] = (outcome.instance, outcome.doc["e"])
                self._seen.discard(outcome.instance)
            else:
                self._stalled.pop(outcome.method, None)

    # -- time ------------------------------------------------------------------------------

    def _clock(self) -> int:
        return self._micros

    def _virtual_now(self) -> datetime:
        if runtime.current() is not None:
            raise UsageError(
                "django.utils.timezone.now() in workflow code gives another time in each replay. "
                "Use self.now()."
            )
        return moment(self._micros)

    def now(self) -> datetime:
        """The virtual time, aware, in UTC."""
        return moment(self._micros)

    def advance(self, duration: float | timedelta) -> None:
        """Move the clock, through all that is due meanwhile, in order, retry delays included."""
        seconds = duration_seconds(duration, "env.advance()")
        target = self._micros + round(seconds * MICROS)
        self.run()
        while (due := self._next_due()) is not None and due <= target:
            self._micros = max(self._micros, due)
            self.run()
        self._micros = target
        self.run()

    def _next_due(self) -> int | None:
        dues = (
            self._store.read(self._engine.parts, 1).next_due,
            self._store.next_ready(self._served()),
            self._executor.next_due(),
        )
        return min((due for due in dues if due is not None), default=None)

    # -- running ---------------------------------------------------------------------------

    def run(self) -> None:
        """Run until nothing is runnable now."""
        refuse_in_transaction("WorkflowEnvironment.run()")
        while self._step():
            pass

    def _step(self) -> bool:
        busy = self._engine.run_once().busy
        busy = self._store.start_from_lane(self._engine.parts) or busy
        if not busy:
            self._executor.services = self._served()
            busy = self._executor.run_once()
        return busy

    def _served(self) -> list[str]:
        """What is only a contract here waits, visibly, unless the test has replaced it."""
        return [*registry.services(), *self._executor.replaced]

    def restart(self) -> None:
        """Forget all live instances, as a crash would: no `finally` runs."""
        self._engine.bury()
        self._store.reap(self._store.me)
        executor = self._executor
        self._executor = LocalExecutor(
            self._store,
            worker_name=WORKER,
            slots=1,
            before=self._before,
            after=self._after,
            duplicate=self._duplicate,
        )
        self._executor.replaced = executor.replaced
        self._live()

    # -- tasks -----------------------------------------------------------------------------

    def _before(self, task: ClaimedTask) -> None:
        with contextlib.suppress(Exception):
            _, args, kwargs = prepare(task)
            call = Call(args=args, kwargs=kwargs, attempt=task.doc.get("ri", 0) + 1)
            self._calls.append((task.service, task.name, call))
        self._marks = {
            one.alias: len(one.run_on_commit) for one in connections.all(initialized_only=True)
        }

    def _after(self, task: ClaimedTask, verdict: Verdict) -> None:
        """The test case never commits, so what a task wants done after its commit is done here."""
        for connection in connections.all(initialized_only=True):
            start = self._marks.get(connection.alias, 0)
            callbacks = connection.run_on_commit[start:]
            if not callbacks or not connection.in_atomic_block:
                continue
            del connection.run_on_commit[start:]
            for _, callback, *_ in callbacks:
                callback()

    def calls(self, task: Any) -> list[Call]:
        """The attempts of a task so far: `env.calls(CarRental.book)`, a function task, a stub's."""
        spec = task.spec if isinstance(task, StubMethod) else registry.task_of(task)
        if not isinstance(spec, TaskSpec):
            raise UsageError(f"env.calls() takes a task, not {task!r}.")
        return [
            call
            for service, name, call in self._calls
            if (service, name) == (spec.service, spec.name)
        ]

    def replace(self, service: Any, fake: Any) -> None:
        """Let an object stand for a service: its methods by their Python names."""
        self._executor.replaced[registry.service_of(service).name] = fake

    # -- looking ---------------------------------------------------------------------------

    def history(self, workflow_id: str) -> list[Doc]:
        """The rows of the history of an instance, by stream and number."""
        return [
            {"stream": one.stream, "seq": one.seq, "step": one.step, "entries": one.entries}
            for one in self._row(workflow_id).events
        ]

    def replay(self, workflow_id: str) -> None:
        """Replay all methods against the present code; raises `WorkflowChangedError`."""
        for one in replay_methods(state_of(self._row(workflow_id))):
            if one.error is not None:
                raise one.error

    def _row(self, workflow_id: str) -> StoredInstance:
        row = self._store.history(workflow_id)
        if row is None:
            raise WorkflowUnknownError(
                workflow_name="", workflow_id=workflow_id, method_name="", method_id=""
            )
        return row


class _Around:
    """What the client acts on while an environment is open."""

    def __init__(self, environment: WorkflowEnvironment) -> None:
        self._env = environment

    def store(self) -> Storage:
        return self._env._store

    def now(self) -> int:
        return self._env._micros

    def parts(self) -> int:
        return settings.parts

    def result_timeout(self) -> float | None:
        return None

    def saw_failure(self, instance: str) -> None:
        """The test has looked at this instance, and at the failures nested in its own."""
        env = self._env
        env._seen.add(instance)
        for stalled, document in env._stalled.values():
            nested: Any = document
            while stalled == instance and isinstance(nested, dict):
                if "workflow_id" in nested:
                    env._seen.add(nested["workflow_id"])
                nested = nested.get("deferred_error")

    def wait(self, done: Callable[[], bool], timeout: float | None) -> bool:
        """Run until it is done, or until nothing can run without time or an event."""
        while not done():
            refuse_in_transaction("A wait")
            if not self._env._step():
                return done()
        return True
