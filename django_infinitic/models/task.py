"""Tasks that have not ended."""

from django.db import models


class Task(models.Model):
    """A task that is queued, runs, or waits for somebody (delegated).

    `id` is that of its command, `attempt` a fence that only rises, `stream` and `position` say
    which command it answers. `ready_at`: microseconds since 1970.
    """

    class State(models.IntegerChoices):
        """Who is to act."""

        QUEUED = 0
        CLAIMED = 1
        DELEGATED = 2

    class Mode(models.IntegerChoices):
        """Whether another attempt may begin."""

        NORMAL = 0
        CANCELED = 1
        EXPIRED = 2

    id = models.UUIDField(primary_key=True)
    instance = models.UUIDField()
    part = models.BigIntegerField()
    workflow = models.CharField(max_length=255)
    service = models.CharField(max_length=255)
    name = models.CharField(max_length=255)
    stream = models.IntegerField()
    position = models.IntegerField()
    worker = models.BigIntegerField(null=True)
    attempt = models.IntegerField()
    state = models.SmallIntegerField(choices=State.choices, default=0, db_default=0)
    mode = models.SmallIntegerField(choices=Mode.choices, default=0, db_default=0)
    delegated = models.BooleanField(default=False, db_default=False)
    priority = models.SmallIntegerField(default=0, db_default=0)
    ready_at = models.BigIntegerField()
    body = models.BinaryField()

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["instance"], name="infinitic_task_instance")]

    def __str__(self) -> str:
        return f"{self.service}.{self.name} {self.id}"
