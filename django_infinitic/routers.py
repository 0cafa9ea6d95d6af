"""Puts the tables of django-infinitic on their databases: `DATABASE_ROUTERS`."""

from __future__ import annotations

from typing import Any, Final

from django.contrib.auth import get_user_model
from django.db import models, router

from .conf import settings

APP: Final = "infinitic"
HUMAN: Final = "humantask"


class InfiniticRouter:
    """Our tables are on the alias of `STORAGE`, those of human tasks on that of the user model.

    With one database it is not needed. Put it first:
    `DATABASE_ROUTERS = ["django_infinitic.routers.InfiniticRouter", ...]`.
    """

    def db_for_read(self, model: type[models.Model], **hints: Any) -> str | None:
        """Never a replica: what was committed must be seen."""
        return self.db_for_write(model, **hints)

    def db_for_write(self, model: type[models.Model], **hints: Any) -> str | None:
        """The alias of a model of ours; no opinion on others."""
        if model._meta.app_label != APP:
            return None
        return database_of(model._meta.model_name or "")

    def allow_relation(self, obj1: models.Model, obj2: models.Model, **hints: Any) -> bool | None:
        """Within our models always: no foreign key between them exists in the database."""
        ours = {obj1._meta.app_label, obj2._meta.app_label} == {APP}
        return True if ours else None

    def allow_migrate(
        self, db: str, app_label: str, model_name: str | None = None, **hints: Any
    ) -> bool | None:
        """Our tables only where they belong."""
        if app_label != APP:
            return None
        if model_name is None:
            return db in {settings.database, user_database()}
        return db == database_of(model_name)


def database_of(model_name: str) -> str:
    """The alias of a model of ours, by its name."""
    if model_name.lower().startswith(HUMAN):
        return user_database()
    return settings.database


def user_database() -> str:
    """The alias of the user model."""
    return router.db_for_write(get_user_model())
