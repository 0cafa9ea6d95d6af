"""What a running task knows about itself."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass, field, replace
from typing import Any

from django_infinitic.exceptions import Failure, UsageError

logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True, eq=False)
class TaskContext:
    """One attempt of a task. (F096)

    `task_id` is the same in all attempts (F099); `retry_sequence` counts retries by hand,
    `retry_index` automatic ones within it; `last_error` is the failure of the attempt before.
    `meta` may be changed: the next attempt of the sequence sees it (F097); its values are `str` or
    `bytes`, as they were given.
    """

    task_id: str
    service_name: str
    task_name: str
    workflow_id: str = ""
    workflow_name: str = ""
    workflow_version: int = 0
    worker_name: str = ""
    tags: frozenset[str] = frozenset()
    meta: dict[str, str | bytes] = field(default_factory=dict)
    retry_index: int = 0
    retry_sequence: int = 0
    last_error: Failure | None = None
    batch_key: str | None = None
    has_timed_out: bool = False
    """Whether `attempt_timeout` has passed: stop soon (F093)."""
    _callbacks: list[Callable[[], Any]] = field(default_factory=list, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def on_timeout(self, callback: Callable[[], Any]) -> None:
        """Call this without arguments when `attempt_timeout` passes; at once if it has passed.

        It runs in another thread than the task; what it raises is logged. (F093)
        """
        if not callable(callback):
            raise UsageError(f"on_timeout() takes a callable, not {callback!r}.")
        with self._lock:
            if not self.has_timed_out:
                self._callbacks.append(callback)
                return
        self._run(callback)

    def time_out(self) -> None:
        """For the executor: the limit has passed. Sets the flag, runs the callbacks once."""
        with self._lock:
            self.has_timed_out = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            self._run(callback)

    def _run(self, callback: Callable[[], Any]) -> None:
        try:
            callback()
        except Exception:
            logger.exception(
                "The on_timeout callback of task %s.%s (%s) raised.",
                self.service_name,
                self.task_name,
                self.task_id,
            )


Running = TaskContext | Mapping[str, TaskContext]

_running: ContextVar[Running | None] = ContextVar("infinitic_task", default=None)


def current_task(task_id: str | None = None) -> TaskContext:
    """The context of the running task; in a batch method that of one of its tasks, by id. (F107)

    Raises `UsageError` outside a task. It is found in the task's own thread or coroutine and in
    what these start with a copied context, such as `sync_to_async` or `asyncio.create_task`.
    """
    running = _running.get()
    if running is None:
        raise UsageError(
            "current_task() was called outside a task. In a unit test put the call into: with "
            'django_infinitic.test.task_context(task_id="..."):'
        )
    if isinstance(running, TaskContext):
        if task_id is None or task_id == running.task_id:
            return running
        raise UsageError(f"The task {task_id} does not run here; {running.task_id} does.")
    if task_id is None:
        raise UsageError(
            f"A batch of {len(running)} tasks runs here: name one, current_task(task_id)."
        )
    found = running.get(task_id)
    if found is None:
        raise UsageError(f"The task {task_id} is not in the batch that runs here.")
    return found


def enter_task(running: Running) -> Token[Running | None]:
    """For the executor: mark a task, or the tasks of a batch by id, as running from here on."""
    return _running.set(running)


def leave_task(token: Token[Running | None]) -> None:
    """For the executor: undo `enter_task`, in the same context."""
    _running.reset(token)


@contextlib.contextmanager
def running_task(running: Running) -> Iterator[None]:
    """`enter_task` and `leave_task` around a block."""
    token = enter_task(running)
    try:
        yield
    finally:
        leave_task(token)


@contextlib.contextmanager
def task_context(*, batch: Iterable[str] = (), **attributes: Any) -> Iterator[TaskContext]:
    """For unit tests: run a task's code as if in a task with these attributes.

    Gives the `TaskContext`; what is not named has a harmless value. With `batch`, ids of tasks,
    the code runs as a batch method does, each task with these attributes.
    """
    defaults: dict[str, Any] = {
        "task_id": "task",
        "service_name": "service",
        "task_name": "task",
        "worker_name": "test",
        "workflow_id": "workflow",
        "workflow_name": "workflow",
    }
    unknown = attributes.keys() - {name for name in TaskContext.__slots__ if name[0] != "_"}
    if unknown:
        raise UsageError(f"A task context has no {', '.join(sorted(unknown))}.")
    if "tags" in attributes:
        attributes["tags"] = frozenset(attributes["tags"])
    context = TaskContext(**{**defaults, **attributes})
    ids = list(batch)
    running: Running = context
    if ids:
        running = {one: replace(context, task_id=one, meta=dict(context.meta)) for one in ids}
    with running_task(running):
        yield context
