"""The Django app."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class InfiniticConfig(AppConfig):
    """Loads `services.py`, `workflows.py` and `human_tasks.py` of every installed app."""

    name = "django_infinitic"
    label = "infinitic"
    verbose_name = "Workflows"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Prepare SQLite, register the checks, and import what applications declare."""
        from . import checks, sqlite
        from .codec import set_limits
        from .conf import settings

        checks.register()
        sqlite.prepare()
        if not any(problem.key == "PAYLOAD_LIMIT" for problem in settings.problems()):
            set_limits(payload=settings.payload_limit)
        # It fills the hooks by which stubs act outside workflow code.
        import_module(f"{self.name}.client")
        # Never `tasks`: that name belongs to other libraries, which import it themselves.
        autodiscover_modules("services", "workflows", "human_tasks")
