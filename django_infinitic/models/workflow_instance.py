"""Instances of workflows, running and ended."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_infinitic.machine.statuses import InstanceStatus
from django_infinitic.models.tag import Tag


class WorkflowInstanceQuerySet(models.QuerySet["WorkflowInstance"]):
    """Instances of workflows."""

    def for_object(self, obj: models.Model) -> WorkflowInstanceQuerySet:
        """Those, running or ended, whose tags or custom id name this row (`shop.order:42`)."""
        label = f"{obj._meta.label_lower}:{obj.pk}"
        tagged = Tag.objects.using(self.db).filter(tag=label).values("instance")
        return self.filter(models.Q(pk__in=tagged) | models.Q(custom_id=label))


class WorkflowInstance(models.Model):
    """One instance of a workflow: who it is, where it stands and what it waits for.

    The row is updated when the status changes, never per step (B5); `waiting_for` and
    `waiting_since` tell of the method that has waited longest, up to 2 s late.
    """

    class Status(models.IntegerChoices):
        """Where an instance stands; STALLED as soon as one of its methods is."""

        RUNNING = InstanceStatus.RUNNING, _("running")
        STALLED = InstanceStatus.STALLED, _("stalled")
        BLOCKED = InstanceStatus.BLOCKED, _("blocked")
        CANCELING = InstanceStatus.CANCELING, _("canceling")
        COMPLETED = InstanceStatus.COMPLETED, _("completed")
        FAILED = InstanceStatus.FAILED, _("failed")
        CANCELED = InstanceStatus.CANCELED, _("canceled")

    id = models.UUIDField(_("id"), primary_key=True)
    name = models.CharField(_("workflow"), max_length=255, db_column="workflow")
    version = models.IntegerField(_("version"), null=True, blank=True)
    status = models.SmallIntegerField(
        _("status"), choices=Status.choices, default=Status.RUNNING, db_default=Status.RUNNING
    )
    waiting_for = models.TextField(_("waiting for"), null=True, blank=True)  # noqa: DJ001
    waiting_since = models.DateTimeField(_("waiting since"), null=True, blank=True)
    tags = models.JSONField(_("tags"), default=list, blank=True)
    started_by = models.CharField(
        _("started by"), max_length=255, default="", db_default="", blank=True
    )
    created_at = models.DateTimeField(_("started"))
    closed_at = models.DateTimeField(_("ended"), null=True, blank=True)
    # What follows is the engine's own. NULL, not "": a custom id is unique or not there.
    custom_id = models.CharField(max_length=255, null=True, editable=False)  # noqa: DJ001
    part = models.BigIntegerField(editable=False)
    method = models.CharField(max_length=255, editable=False)
    parent = models.UUIDField(null=True, editable=False)
    requester = models.JSONField(null=True, editable=False)
    meta = models.JSONField(default=dict, editable=False)
    waiting_kind = models.SmallIntegerField(null=True, editable=False)
    streams = models.IntegerField(default=2, db_default=2, editable=False)
    open = models.TextField(default="2", db_default="2", editable=False)
    queued = models.IntegerField(default=0, db_default=0, editable=False)
    properties = models.BinaryField(null=True, editable=False)
    properties_step = models.IntegerField(default=0, db_default=0, editable=False)
    local_tasks = models.BooleanField(default=False, db_default=False, editable=False)
    crashes = models.SmallIntegerField(default=0, db_default=0, editable=False)
    error = models.TextField(default="", db_default="", editable=False)
    foreign_id = models.CharField(max_length=255, null=True, editable=False)  # noqa: DJ001

    objects = WorkflowInstanceQuerySet.as_manager()

    class Meta:
        db_table = "infinitic_instance"
        verbose_name = _("workflow")
        verbose_name_plural = _("workflows")
        default_permissions = ("view",)
        permissions = [
            ("operate_workflow", _("Can operate workflows (retry, cancel, send, complete)")),
            ("start_workflow", _("Can start workflows")),
            ("view_payload", _("Can view payloads of workflows")),
        ]
        # For the lists of people. The partial ones are made by the migration, per vendor.
        indexes = [
            models.Index(fields=["name", "status", "created_at"], name="infinitic_instance_list"),
            models.Index(fields=["waiting_kind", "waiting_since"], name="infinitic_instance_waits"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.id}"

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self.closed_at is not None
