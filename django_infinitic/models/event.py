"""The history: one row per segment, never updated."""

from django.db import models


class Event(models.Model):
    """Entries of one stream of an instance. The key is the optimistic lock (B5)."""

    pk = models.CompositePrimaryKey("instance", "stream", "seq")
    instance = models.UUIDField()
    stream = models.IntegerField()
    seq = models.IntegerField()
    step = models.IntegerField()
    body = models.BinaryField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.instance} {self.stream}.{self.seq}"
