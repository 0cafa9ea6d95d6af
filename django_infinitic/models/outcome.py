"""Outcomes: what `result()` tells."""

from django.db import models


class Outcome(models.Model):
    """What became of a method; `seq` rises with each change."""

    method = models.UUIDField(primary_key=True)
    instance = models.UUIDField()
    seq = models.IntegerField()
    status = models.SmallIntegerField()
    body = models.BinaryField()

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["instance"], name="infinitic_outcome_instance")]

    def __str__(self) -> str:
        return f"{self.method} {self.status}"
