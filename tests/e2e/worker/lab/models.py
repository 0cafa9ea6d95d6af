from django.db import models


class Entry(models.Model):
    """What an atomic task has written."""

    key = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.key
