"""Worker processes."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Worker(models.Model):
    """One life of a worker process; a new life has a new row, so its id is the epoch (B6).

    `expires_at`: its lease, by the clock of the database; `dead`: what it held has been freed.
    """

    id = models.BigAutoField(_("id"), primary_key=True)
    name = models.CharField(_("name"), max_length=255)
    host = models.CharField(_("host"), max_length=255)
    pid = models.IntegerField(_("process"))
    started_at = models.DateTimeField(_("started"))
    expires_at = models.DateTimeField(_("lease until"))
    dead = models.BooleanField(_("dead"), default=False, db_default=False)
    suspect = models.UUIDField(_("suspect"), null=True, blank=True)
    info = models.JSONField(_("about it"), default=dict, blank=True)

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")
        default_permissions = ("view",)

    def __str__(self) -> str:
        return self.name
