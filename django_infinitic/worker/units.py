"""Units of work of an executor: one attempt of a task, or of the tasks of a batch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from django.db import transaction

from django_infinitic.authoring.task_context import TaskContext
from django_infinitic.conf import settings
from django_infinitic.registry import TaskSpec
from django_infinitic.storages.base import ClaimedTask, TaskStore
from django_infinitic.worker import execution
from django_infinitic.worker.execution import Verdict
from django_infinitic.worker.failpoints import failpoint

RUNNING: Final = 0
WARNED: Final = 1
"""Its time is up, and it may still end by itself within the grace."""
OVER: Final = 2
"""It counts as ended, whatever it still does."""
WRITTEN: Final = "written"
"""The kind of verdict of an atomic task: the child has committed its result itself."""
Entry = tuple[int, ClaimedTask]


class _Undone(Exception):
    """Rolls back the writes of an atomic task."""


class Unit:
    """What one thread, or the event loop, works on. Whoever settles it first says how it ended."""

    __slots__ = (
        "_lock",
        "_settled",
        "began",
        "cancel",
        "contexts",
        "due",
        "entries",
        "spec",
        "stage",
        "writes",
    )

    def __init__(self, entries: Sequence[Entry], spec: TaskSpec | None, worker_name: str) -> None:
        self.entries = entries
        self.spec = spec
        self.contexts: dict[str, TaskContext] = {
            task.id: execution.context_of(task, worker_name) for _, task in entries
        }
        self.began = 0.0
        self.due = float("inf")
        self.stage = RUNNING
        self.cancel: Callable[[], Any] | None = None
        self.writes = False
        """Whether it has settled itself, to write its result in its own transaction."""
        self._settled = False
        self._lock = threading.Lock()

    @property
    def limit(self) -> float:
        """Seconds that it may take."""
        limit = settings.task_max_seconds
        if self.spec is None or self.spec.attempt_timeout is None:
            return limit
        return min(limit, self.spec.attempt_timeout)

    @property
    def grace(self) -> float:
        """Seconds from the time-out to the end."""
        return 0.0 if self.spec is None else self.spec.timeout_grace

    @property
    def is_async(self) -> bool:
        """Whether it runs in the event loop."""
        spec = self.spec
        if spec is None:
            return False
        return spec.is_async if spec.batch is None else spec.batch.is_async

    def settle(self) -> bool:
        """Whether the caller is the first to say how it ended."""
        with self._lock:
            if self._settled:
                return False
            self._settled = True
            return True

    def warn(self) -> None:
        """Tell the code that its time is up."""
        for context in self.contexts.values():
            context.time_out()

    def time_outs(self) -> list[Verdict]:
        """The verdicts when it took too long."""
        return [
            execution.timed_out(task, self.spec, self.contexts[task.id]) for _, task in self.entries
        ]

    def run(self, store: TaskStore, worker_name: str) -> list[Verdict]:
        """Run it in this thread."""
        failpoint("executor.in_task")
        if self.spec is not None and self.spec.batch is not None:
            return execution.BatchAttempt(self._tasks(), self.contexts).run()
        ((_, task),) = self.entries
        context = self.contexts[task.id]
        if execution.is_atomic(self.spec):
            return [self._run_atomic(store, task, context, worker_name)]
        return [execution.attempt(task, worker_name, None, context)]

    async def run_async(self) -> list[Verdict]:
        """Run it in the running event loop."""
        failpoint("executor.in_task")
        if self.spec is not None and self.spec.batch is not None:
            return await execution.BatchAttempt(self._tasks(), self.contexts).run_async()
        ((_, task),) = self.entries
        return [await execution.attempt_async(task, self.contexts[task.id])]

    def _tasks(self) -> list[ClaimedTask]:
        return [task for _, task in self.entries]

    def _run_atomic(
        self, store: TaskStore, task: ClaimedTask, context: TaskContext, worker_name: str
    ) -> Verdict:
        """User writes and result commit together, or not at all.

        The row of the task is touched last: the engine must be able to cancel it meanwhile.
        """
        verdict = Verdict(kind=WRITTEN)
        try:
            with transaction.atomic(using=settings.storage.alias):
                verdict = execution.attempt(task, worker_name, None, context)
                if verdict.kind != "finish" or verdict.error is not None:
                    if verdict.error is not None:
                        raise _Undone
                    return verdict
                if not self.settle():
                    raise _Undone
                self.writes = True
                failpoint("executor.before_report")
                if not store.finish(task, verdict.doc):
                    raise _Undone
        except _Undone:
            return verdict if verdict.error is not None else Verdict(kind=WRITTEN)
        except Exception as error:
            # The commit itself failed (a deferred constraint): the task has failed.
            return execution.failed(task, self.spec, context, error)
        return Verdict(kind=WRITTEN)
