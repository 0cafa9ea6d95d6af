"""Custom ids and the instance that holds each."""

from django.db import models


class CustomId(models.Model):
    """A claim; valid while its instance runs, kept until that is deleted (A5)."""

    pk = models.CompositePrimaryKey("custom_id", "workflow")
    custom_id = models.CharField(max_length=255)
    workflow = models.CharField(max_length=255)
    instance = models.UUIDField()

    class Meta:
        db_table = "infinitic_custom_id"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.workflow} {self.custom_id}"
