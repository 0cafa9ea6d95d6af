"""The field with which an application's model points to a workflow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.db import models


class WorkflowForeignKey(models.ForeignKey):  # type: ignore[type-arg]
    """A `ForeignKey` to `WorkflowInstance` without a database constraint.

    With one the engine would wait for transactions of the application (A5). By default nothing
    happens to the row when retention deletes the instance: reading the attribute then raises
    `WorkflowInstance.DoesNotExist`, `<name>_id` still tells the id.
    """

    def __init__(
        self,
        to: Any = "infinitic.WorkflowInstance",
        on_delete: Callable[..., Any] = models.DO_NOTHING,
        **options: Any,
    ) -> None:
        options.setdefault("db_constraint", False)
        super().__init__(to, on_delete, **options)

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        """For migrations: under the public name."""
        name, _, args, options = super().deconstruct()
        return name, "django_infinitic.models.WorkflowForeignKey", args, options
