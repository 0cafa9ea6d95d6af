"""Timers: what is due at some time."""

from django.db import models


class Timer(models.Model):
    """A message that reaches the instance at `due`, in microseconds since 1970."""

    id = models.UUIDField(primary_key=True)
    part = models.BigIntegerField()
    due = models.BigIntegerField()
    instance = models.UUIDField()
    body = models.BinaryField()

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["part", "due"], name="infinitic_timer_due")]

    def __str__(self) -> str:
        return f"{self.id} of {self.instance}"
