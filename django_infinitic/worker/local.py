"""An executor in the caller's own thread: claims tasks, runs them one by one, reports.

Test environments use it on virtual time, and `--all-in-one` workers in real time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from django_infinitic.conf import settings
from django_infinitic.exceptions import RegistryError
from django_infinitic.registry import TaskSpec, registry
from django_infinitic.storages.base import ClaimedTask, Storage
from django_infinitic.worker import execution, notices
from django_infinitic.worker.execution import Verdict
from django_infinitic.worker.failpoints import failpoint

MICROS = 1_000_000
Observe = Callable[[ClaimedTask], None]
After = Callable[[ClaimedTask, Verdict], None]


@dataclass(slots=True)
class _Batch:
    due: int
    tasks: list[ClaimedTask] = field(default_factory=list)


class _Lost(Exception):
    """Rolls back the writes of an atomic task that somebody else has run."""


class LocalExecutor:
    """Runs tasks in this thread. `before` and `after` are told of each attempt."""

    def __init__(
        self,
        store: Storage,
        *,
        worker_name: str,
        services: Sequence[str] | None = None,
        slots: int = 1,
        before: Observe | None = None,
        after: After | None = None,
        duplicate: bool = False,
    ) -> None:
        self.store = store
        self.replaced: dict[str, Any] = {}
        self._worker_name = worker_name
        self.services = services
        self._slots = slots
        self._before = before
        self._after = after
        self._duplicate = duplicate
        self._batches: dict[tuple[str, str, str | None], _Batch] = {}

    def run_once(self) -> bool:
        """Claim and run some tasks, and batches that are due; whether there was anything."""
        busy = False
        for task in self.store.claim(self.services, self._slots):
            busy = True
            failpoint("executor.after_claim")
            spec = _spec(task)
            if spec is not None and spec.batch is not None:
                self._collect(task, spec)
            else:
                self._run(task, spec)
        now = self.store.now()
        for key, batch in list(self._batches.items()):
            if batch.due <= now:
                busy = True
                del self._batches[key]
                self._run_batch(batch.tasks)
        return busy

    def next_due(self) -> int | None:
        """When a batch that is being collected is sent."""
        return min((batch.due for batch in self._batches.values()), default=None)

    def _collect(self, task: ClaimedTask, spec: TaskSpec) -> None:
        assert spec.batch is not None
        key = (task.service, task.name, task.doc.get("bk"))
        due = self.store.now() + round(spec.batch.max_seconds * MICROS)
        batch = self._batches.setdefault(key, _Batch(due))
        batch.tasks.append(task)
        if len(batch.tasks) >= spec.batch.max_size:
            del self._batches[key]
            self._run_batch(batch.tasks)

    def _run(self, task: ClaimedTask, spec: TaskSpec | None) -> None:
        for _ in range(2 if self._duplicate else 1):
            if self._before is not None:
                self._before(task)
            atomic = spec is not None and (
                settings.atomic_tasks if spec.atomic is None else spec.atomic
            )
            failpoint("executor.in_task")
            if atomic and spec is not None and not spec.is_async:
                verdict = self._run_atomic(task)
            else:
                verdict = execution.attempt(task, self._worker_name, self.replaced)
            failpoint("executor.after_task")
            if self._after is not None:
                self._after(task, verdict)
        if not (atomic and verdict.kind == "done"):
            self.report(task, verdict)

    def _run_atomic(self, task: ClaimedTask) -> Verdict:
        """User writes and result commit together, or not at all."""
        verdict = Verdict(kind="done")
        try:
            with transaction.atomic(using=settings.storage.alias):
                verdict = execution.attempt(task, self._worker_name, self.replaced)
                if verdict.error is not None:
                    raise _Lost
                if not self.report(task, verdict):
                    raise _Lost
                return Verdict(kind="done")
        except _Lost:
            return verdict if verdict.error is not None else Verdict(kind="done")

    def _run_batch(self, tasks: list[ClaimedTask]) -> None:
        for _ in range(2 if self._duplicate else 1):
            for task in tasks:
                if self._before is not None:
                    self._before(task)
            verdicts = execution.attempt_batch(tasks, self._worker_name, self.replaced)
        for task, verdict in zip(tasks, verdicts, strict=True):
            if self._after is not None:
                self._after(task, verdict)
            self.report(task, verdict)

    def report(self, task: ClaimedTask, verdict: Verdict) -> bool:
        """Tell the store what became of an attempt; False when it was not ours any more."""
        failpoint("executor.before_report")
        if verdict.kind == "finish":
            told = self.store.finish(task, verdict.doc)
        elif verdict.kind == "delegate":
            told = self.store.delegate(task)
        else:
            ready_at = self.store.now() + round(verdict.delay * MICROS)
            told = self.store.retry(task, ready_at, verdict.doc)
        if told:
            notices.tell_failure(task, verdict)
        return told


def _spec(task: ClaimedTask) -> TaskSpec | None:
    try:
        return registry.task(task.service, task.name)
    except RegistryError:
        return None
