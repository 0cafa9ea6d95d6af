"""Parts: what a worker owns of a workflow's instances (A6)."""

from django.db import models


class Part(models.Model):
    """Part `n` of the instances of a workflow; 255 is its starter lane.

    `id` is computed from name and `n`, so that clients can start before any worker ran.
    `freed_at`: microseconds since 1970 at which its last owner let it go.
    """

    id = models.BigIntegerField(primary_key=True)
    workflow = models.CharField(max_length=255)
    n = models.SmallIntegerField()
    owner = models.BigIntegerField(null=True)
    wanted_by = models.BigIntegerField(null=True)
    min_version = models.IntegerField(default=0, db_default=0)
    freed_at = models.BigIntegerField(null=True)

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["workflow", "n"], name="infinitic_part_number"),
        ]

    def __str__(self) -> str:
        return f"{self.workflow} {self.n}"
