"""Services that the workflows of these tests use, and what they left behind."""

from typing import Any

from django_infinitic import client, current_task, service, task
from django_infinitic.authoring.ends import WorkflowEnd

NOTES: list[Any] = []
"""What tasks saw or did, in order."""
SWITCHES: dict[str, Any] = {}
"""What a test changes under a running workflow."""


def reset() -> None:
    NOTES.clear()
    SWITCHES.clear()


class Broken(Exception):
    """What tasks raise on purpose."""


class SoldOut(Exception):
    """A declared exception."""


@service(name="world.Desk")
class Desk:
    def upper(self, text: str) -> str:
        return text.upper()

    def note(self, text: str) -> str:
        NOTES.append(text)
        return text

    def forget(self, text: str) -> None:
        NOTES.append(f"undo {text}")

    def fail(self, text: str) -> str:
        raise Broken(text)

    def fail_while_switched(self, text: str) -> str:
        NOTES.append(f"try {text}")
        if SWITCHES.get("broken"):
            raise Broken(text)
        return text

    def context(self) -> str:
        here = current_task()
        return f"{sorted(here.tags)} {here.meta} {here.batch_key} {here.retry_sequence}"

    def cancel_workflow(self, workflow: str, id: str) -> None:
        from django_infinitic.registry import registry

        contract = registry.workflow_spec(workflow).cls
        client.cancel(client.get_workflow_by_id(contract, id))

    @task(raises=(SoldOut,))
    def sell(self, left: int) -> int:
        if left == 0:
            raise SoldOut("seat", 12)
        return left - 1

    @task(total_timeout=10, retry=lambda index, error: 30)
    def patient(self, text: str) -> str:
        NOTES.append(f"try {text}")
        raise Broken(text)

    @task(delegated=True, total_timeout=60)
    def ask(self, question: str) -> str:
        NOTES.append(current_task().task_id)
        return "ignored"

    @task(delegated=True, raises=(SoldOut,))
    def ask_for_ever(self, question: str) -> int:
        NOTES.append(current_task().task_id)
        return 0


@task(name="world.tell")
def tell(end: WorkflowEnd) -> None:
    NOTES.append((end.status, end.workflow_name, sorted(end.tags), end.error))
