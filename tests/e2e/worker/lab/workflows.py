import contextlib
import os
import signal
import time
from datetime import timedelta

from django_infinitic import Channel, Workflow, new_service, new_workflow, workflow
from django_infinitic.exceptions import TaskFailedError
from lab.services import Other, Steps


@workflow
class Chain(Workflow):
    """`n` tasks in a row; each is noted in the ledger."""

    steps = new_service(Steps)

    def run(self, key: str, n: int) -> int:
        value = 0
        for _ in range(n):
            value = self.steps.plus(key, value)
        return value

    def atomic(self, key: str, n: int) -> int:
        return sum(self.steps.write(f"{key}-{number}") for number in range(n))

    def mixed(self, key: str, n: int) -> int:
        value = 0
        for number in range(n):
            one = self.dispatch(self.steps.plus, key, value)
            two = self.dispatch(self.steps.write, f"{key}-{number}")
            (one & two).result()
            value += 1
            self.sleep(0.02)
        return value


@workflow
class Single(Workflow):
    """One task of each kind."""

    steps = new_service(Steps)
    other = new_service(Other)
    go = Channel(str)

    def slow(self, key: str, seconds: float) -> str:
        return self.steps.slow(key, seconds)

    def until(self, key: str, path: str) -> str:
        return self.steps.until(key, path)

    def wait(self, key: str, n: int, seconds: float) -> int:
        waits = [self.dispatch(self.steps.wait, f"{key}-{one}", seconds) for one in range(n)]
        return len([one.result() for one in waits])

    def flaky(self, key: str) -> int:
        return self.steps.flaky(key)

    def named(self, name: str, key: str) -> str:
        try:
            self.dispatch(getattr(self.steps, name), key).result()
        except TaskFailedError as error:
            return str(error.last_failure.exception.name if error.last_failure else "")
        return "done"

    def mails(self, n: int) -> list[str]:
        mails = [self.dispatch(self.steps.mail, f"{one}") for one in range(n)]
        return sorted(one.result() for one in mails)

    def where(self) -> int:
        return self.other.where()

    def sleep_for(self, seconds: float) -> str:
        self.sleep(timedelta(seconds=seconds))
        return "awake"

    def receive(self) -> str:
        return self.go.receive().result()


@workflow(version=int(os.environ.get("LAB_VERSION", "1")))
class Versioned(Workflow):
    """Its version is that of the process."""

    steps = new_service(Steps)
    go = Channel(str)

    def run(self, key: str) -> str:
        number = self.steps.plus(key, 0)
        return f"{self.go.receive().result()} {number} {self.context.version}"


@workflow
class Parent(Workflow):
    """Children with and without a custom id."""

    def run(self, key: str, n: int) -> int:
        plain = [self.dispatch(new_workflow(Chain).run, f"{key}-{one}", 2) for one in range(n)]
        known = self.dispatch(new_workflow(Chain, custom_id=key).run, f"{key}-known", 2)
        return sum(one.result() for one in plain) + known.result()


@workflow
class Endless(Workflow):
    """Code that does not come back."""

    def spin(self) -> None:
        while True:
            pass

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def stubborn(self) -> None:
        while True:
            with contextlib.suppress(BaseException):  # what the watchdog throws
                time.sleep(0.01)
