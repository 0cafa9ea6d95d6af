import asyncio
import os
import signal
import time
from pathlib import Path

from django_infinitic import RetryPolicy, batch, current_task, service, task
from lab.ledger import note
from lab.models import Entry

FAST = RetryPolicy(min_delay=0.05, max_delay=0.1, max_retries=10, jitter=0)


@service
class Steps:
    @task
    def plus(self, key: str, number: int) -> int:
        note("plus", key, number)
        return number + 1

    @task(atomic=True, retry=FAST)  # the test that cuts connections cuts its own too
    def write(self, key: str) -> int:
        Entry.objects.create(key=key)
        return 1

    @task(atomic=True, retry=None)
    def write_and_fail(self, key: str) -> None:
        Entry.objects.create(key=key)
        raise ValueError("no")

    @task
    async def wait(self, key: str, seconds: float) -> str:
        await asyncio.sleep(seconds)
        note("waited", key)
        return key

    @task
    def slow(self, key: str, seconds: float) -> str:
        note("begin", key, os.getpid())
        time.sleep(seconds)
        note("end", key)
        return key

    @task
    def until(self, key: str, path: str) -> str:
        """Runs until a file is there."""
        note("begin", key, os.getpid())
        while not Path(path).exists():
            time.sleep(0.01)
        note("end", key)
        return key

    @task(retry=FAST)
    def flaky(self, key: str) -> int:
        index = current_task().retry_index
        note("flaky", key, index)
        if index < 2:
            raise ValueError("again")
        return index

    @task(attempt_timeout=0.3, retry=None)
    def hangs(self, key: str) -> None:
        note("hangs", key)
        time.sleep(60)

    @task(attempt_timeout=0.2, timeout_grace=5, retry=None)
    def obeys(self, key: str) -> str:
        context = current_task()
        context.on_timeout(lambda: note("told", key))
        while not context.has_timed_out:
            time.sleep(0.01)
        return key

    @task(attempt_timeout=0.2, retry=None)
    async def hangs_async(self, key: str) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            note("canceled", key)

    @task
    def dies(self, key: str) -> None:
        note("dies", key)
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGKILL)

    @task
    def mail(self, to: str) -> str:
        raise NotImplementedError

    @batch(mail, max_size=3, max_seconds=0.3)
    def mails(self, tos: dict[str, str]) -> dict[str, str]:
        note("batch", len(tos))
        return {key: f"to {to}" for key, to in tos.items()}


@service
class Other:
    @task
    def where(self) -> int:
        return os.getpid()
