"""A service whose task does nothing: what is measured is the engine."""

from django_infinitic import service


@service(name="bench.Nothing")
class Nothing:
    def step(self, number: int) -> int:
        return number
