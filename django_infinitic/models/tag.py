"""Tags of instances."""

from django.db import models


class Tag(models.Model):
    """A tag of an instance; `ended` once that has closed, deleted with it.

    The tag comes first in the key, so that one index finds the running instances of a workflow
    and all instances that are about a row of an application.
    """

    pk = models.CompositePrimaryKey("tag", "workflow", "ended", "instance")
    tag = models.CharField(max_length=255)
    workflow = models.CharField(max_length=255)
    ended = models.BooleanField(default=False, db_default=False)
    instance = models.UUIDField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.tag
