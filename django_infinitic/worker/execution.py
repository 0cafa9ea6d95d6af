"""Running one attempt of a task, or one batch of them: user code in, a verdict out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from asgiref.sync import async_to_sync

from django_infinitic.authoring.policy import next_delay
from django_infinitic.authoring.task_context import TaskContext, running_task
from django_infinitic.conf import settings
from django_infinitic.exceptions import (
    RegistryError,
    SerializationError,
    TaskFailedError,
    UsageError,
)
from django_infinitic.failures import Failure
from django_infinitic.fibres.declared import declared_as
from django_infinitic.machine.messages import load_meta, store_meta
from django_infinitic.machine.statuses import DeferredStatus
from django_infinitic.registry import TaskSpec, registry
from django_infinitic.storages.base import ClaimedTask

logger = logging.getLogger("django_infinitic.executor")
Doc = dict[str, Any]
_random = Random()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of an attempt. `kind`: finish (with `doc`, a REPORT), retry (`doc` is the next
    document of the task, `delay` in seconds) or delegate."""

    kind: str
    doc: Doc = field(default_factory=dict)
    delay: float = 0.0
    error: BaseException | None = None


class AttemptTimedOut(Exception):
    """An attempt took longer than its `attempt_timeout`; goes through the retry policy (F092)."""


class WorkerKilled(Exception):
    """A task has killed its executor process again and again."""


Replacements = Mapping[str, Any]
"""Objects that stand for services in a test, by service name."""


def context_of(task: ClaimedTask, worker_name: str) -> TaskContext:
    """What `current_task()` gives during this attempt."""
    doc = task.doc
    last = doc.get("lf")
    return TaskContext(
        task_id=task.id,
        service_name=task.service,
        task_name=task.name,
        workflow_id=task.instance,
        workflow_name=task.workflow,
        workflow_version=doc.get("v") or 0,
        worker_name=worker_name,
        tags=frozenset(doc.get("tg", ())),
        meta=load_meta(doc.get("mt")),
        retry_index=doc.get("ri", 0),
        retry_sequence=doc.get("q", 0),
        last_error=Failure.from_json(last) if last else None,
        batch_key=doc.get("bk"),
    )


def known(service: str, name: str) -> TaskSpec | None:
    """A task's spec; None when it is not known here."""
    try:
        return registry.task(service, name)
    except RegistryError:
        return None


def spec_of(task: ClaimedTask) -> TaskSpec | None:
    """The task's spec; None when it is not known here."""
    return known(task.service, task.name)


def is_atomic(spec: TaskSpec | None) -> bool:
    """Whether writes and result commit together (B8)."""
    if spec is None or spec.is_async or spec.batch is not None:
        return False
    return settings.atomic_tasks if spec.atomic is None else spec.atomic


def prepare(task: ClaimedTask) -> tuple[TaskSpec, tuple[Any, ...], dict[str, Any]]:
    """The task's spec and decoded arguments. Raises what makes a preparation failure (F101)."""
    spec = registry.task(task.service, task.name)
    args, kwargs = spec.signature.decode_arguments(task.doc["a"])
    return spec, args, kwargs


def callable_of(spec: TaskSpec, replaced: Replacements) -> Callable[..., Any]:
    """What to call: the bound method of a fresh service object, or the function."""
    if spec.service in replaced:
        fake = replaced[spec.service]
        if spec.owner is None:
            found: Callable[..., Any] = fake
            return found
        return getattr(fake, spec.attribute)  # type: ignore[no-any-return]
    if spec.owner is None:
        return spec.function
    return getattr(spec.owner(), spec.attribute)  # type: ignore[no-any-return]


def called(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Call it; an awaitable is waited for."""
    value = function(*args, **kwargs)
    if hasattr(value, "__await__"):

        async def wait() -> Any:
            return await value

        return async_to_sync(wait)()
    return value


def succeeded(task: ClaimedTask, spec: TaskSpec, value: Any) -> Verdict:
    """The verdict of a value. Raises `SerializationError`."""
    if spec.delegated:
        return Verdict(kind="delegate")
    payload = spec.signature.encode_result(value)
    return Verdict(kind="finish", doc={"status": int(DeferredStatus.COMPLETED), "value": payload})


def failed(
    task: ClaimedTask,
    spec: TaskSpec | None,
    context: TaskContext,
    error: BaseException,
    *,
    final: bool = False,
) -> Verdict:
    """The verdict of an exception: by the declaration and the retry policy of the task."""
    declared = None if spec is None else declared_as(error, spec.raises)
    delay = None
    if declared is None and spec is not None and not final and isinstance(error, Exception):
        with running_task(context):
            delay = next_delay(spec.retry, context.retry_index, error, _random)
    previous = context.last_error
    failure = Failure.of(
        error,
        worker_name=context.worker_name,
        retry_sequence=context.retry_sequence,
        retry_index=context.retry_index,
        seconds_before_retry=delay,
        previous=previous,
    )
    value = TaskFailedError(
        service_name=task.service,
        task_name=task.name,
        task_id=task.id,
        last_failure=failure,
        declared=declared,
    ).to_json()
    level = logging.ERROR if delay is None else logging.WARNING
    if declared is None:
        logger.log(
            level,
            "Task %s.%s (%s) raised %s%s",
            task.service,
            task.name,
            task.id,
            failure.exception.name,
            "" if delay is None else f"; it is tried again in {delay:g} s",
        )
    if delay is None:
        return Verdict(
            kind="finish",
            doc={"status": int(DeferredStatus.FAILED), "value": value},
            error=error,
        )
    doc = dict(task.doc)
    doc["ri"] = context.retry_index + 1
    doc["lf"] = failure.to_json()
    doc["failure"] = value
    doc.pop("mt", None)
    if context.meta:
        doc["mt"] = store_meta(context.meta)
    return Verdict(kind="retry", doc=doc, delay=delay, error=error)


def timed_out(task: ClaimedTask, spec: TaskSpec | None, context: TaskContext) -> Verdict:
    """The verdict of an attempt that took too long."""
    limit = settings.task_max_seconds
    if spec is not None and spec.attempt_timeout is not None:
        limit = min(limit, spec.attempt_timeout)
    error = AttemptTimedOut(f"The attempt took longer than {limit:g} s.")
    return failed(task, spec, context, error)


def attempt(
    task: ClaimedTask,
    worker_name: str,
    replaced: Replacements | None = None,
    context: TaskContext | None = None,
) -> Verdict:
    """Run one attempt to its verdict. Only exit signals of the process leave it."""
    context = context or context_of(task, worker_name)
    try:
        spec, args, kwargs = prepare(task)
    except (RegistryError, SerializationError, TypeError) as error:
        return failed(task, None, context, error, final=True)
    try:
        with running_task(context):
            value = called(callable_of(spec, replaced or {}), args, kwargs)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        return failed(task, spec, context, error)
    try:
        return succeeded(task, spec, value)
    except SerializationError as error:
        return failed(task, spec, context, error, final=True)


async def attempt_async(task: ClaimedTask, context: TaskContext) -> Verdict:
    """Run one attempt of an `async def` task in the running event loop."""
    try:
        spec, args, kwargs = prepare(task)
    except (RegistryError, SerializationError, TypeError) as error:
        return failed(task, None, context, error, final=True)
    try:
        with running_task(context):
            value = await callable_of(spec, {})(*args, **kwargs)
    except BaseException as error:
        return failed(task, spec, context, error)
    try:
        return succeeded(task, spec, value)
    except SerializationError as error:
        return failed(task, spec, context, error, final=True)


class BatchAttempt:
    """Some tasks of one kind, run together by their batch method (F104)."""

    def __init__(
        self,
        tasks: Sequence[ClaimedTask],
        contexts: Mapping[str, TaskContext],
        replaced: Replacements | None = None,
    ) -> None:
        self._tasks = tasks
        self._contexts = contexts
        self._replaced = replaced or {}
        self._by_id = {task.id: task for task in tasks}
        self._verdicts: dict[str, Verdict] = {}
        self._items: dict[str, Any] = {}
        self._specs: dict[str, TaskSpec] = {}
        for task in tasks:
            try:
                spec, args, kwargs = prepare(task)
                self._specs[task.id] = spec
                self._items[task.id] = _item(spec, args, kwargs)
            except (RegistryError, SerializationError, TypeError) as error:
                failure = failed(task, None, contexts[task.id], error, final=True)
                self._verdicts[task.id] = failure

    def run(self) -> list[Verdict]:
        """Call the method in this thread."""
        if self._items:
            try:
                with running_task({one: self._contexts[one] for one in self._items}):
                    results = called(self._function(), (dict(self._items),), {})
            except (KeyboardInterrupt, GeneratorExit):
                raise
            except BaseException as error:
                self._fail(error)
            else:
                self._share(results)
        return [self._verdicts[task.id] for task in self._tasks]

    async def run_async(self) -> list[Verdict]:
        """Await the method in the running event loop."""
        if self._items:
            try:
                with running_task({one: self._contexts[one] for one in self._items}):
                    results = await self._function()(dict(self._items))
            except BaseException as error:
                self._fail(error)
            else:
                self._share(results)
        return [self._verdicts[task.id] for task in self._tasks]

    def _function(self) -> Callable[..., Any]:
        spec = next(iter(self._specs.values()))
        assert spec.batch is not None
        assert spec.owner is not None
        owner = self._replaced.get(spec.service) or spec.owner()
        found: Callable[..., Any] = getattr(owner, spec.batch.attribute)
        return found

    def _fail(self, error: BaseException) -> None:
        for one in self._items:
            self._verdicts[one] = failed(
                self._by_id[one], self._specs[one], self._contexts[one], error
            )

    def _share(self, results: Any) -> None:
        """A missing or wrong key fails only its task; of no dict at all each task has None."""
        if results is None:
            results = dict.fromkeys(self._items)
        for one in self._items:
            task, spec, context = self._by_id[one], self._specs[one], self._contexts[one]
            assert spec.batch is not None
            try:
                if not isinstance(results, Mapping) or one not in results:
                    raise UsageError(
                        f"The batch method {spec.service}.{spec.batch.attribute} gave nothing for "
                        f"task {one}. It must return a dict with the keys that it got."
                    )
                self._verdicts[one] = succeeded(task, spec, results[one])
            except (UsageError, SerializationError) as error:
                self._verdicts[one] = failed(task, spec, context, error, final=True)
        given = results if isinstance(results, Mapping) else ()
        unknown = [key for key in given if key not in self._items]
        if unknown:
            logger.error(
                "The batch method of %s gave results for unknown tasks: %d of them are dropped.",
                self._tasks[0].service,
                len(unknown),
            )


def attempt_batch(
    tasks: Sequence[ClaimedTask], worker_name: str, replaced: Replacements | None = None
) -> list[Verdict]:
    """Run the batch method of some tasks in this thread."""
    contexts = {task.id: context_of(task, worker_name) for task in tasks}
    return BatchAttempt(tasks, contexts, replaced).run()


def _item(spec: TaskSpec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    assert spec.batch is not None
    if spec.batch.item is not None:
        return spec.batch.item(*args, **kwargs)
    return args[0] if args else next(iter(kwargs.values()))
