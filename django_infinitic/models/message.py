"""Messages that nobody has consumed yet: the queue of each part."""

from django.db import models


class Message(models.Model):
    """A message to an instance. `created`: microseconds since 1970.

    On PostgreSQL the table has one more column, `xid`, the transaction that wrote it (B2).
    """

    id = models.BigAutoField(primary_key=True)
    part = models.BigIntegerField()
    instance = models.UUIDField()
    kind = models.SmallIntegerField()
    parked = models.BooleanField(default=False, db_default=False)
    created = models.BigIntegerField()
    body = models.BinaryField()

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["instance"], name="infinitic_message_instance")]

    def __str__(self) -> str:
        return f"{self.id} to {self.instance}"
