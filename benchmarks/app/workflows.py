"""The workflows that are measured."""

from django_infinitic import Workflow, new_service, workflow

from .services import Nothing


@workflow(name="bench.Steps")
class Steps(Workflow):
    nothing = new_service(Nothing)

    def tasks(self, count: int) -> int:
        total = 0
        for number in range(count):
            total += self.nothing.step(number)
        return total

    def inline_checkpointed(self, count: int) -> int:
        total = 0
        for number in range(count):
            total += self.inline(abs, number, checkpoint=True)
        return total

    def at_once(self) -> int:
        return 1
