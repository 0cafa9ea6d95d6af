"""Operations that act by the kind of database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import router
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation, OperationCategory


class VendorSQL(Operation):
    """Statements on the table of `model`, per vendor (`connection.vendor`); others do nothing.

    For what models cannot say: columns and indexes that only one vendor has, storage parameters.
    """

    category = OperationCategory.SQL
    reduces_to_sql = True

    def __init__(
        self,
        model: str,
        forwards: Mapping[str, Sequence[str]],
        backwards: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.model = model
        self.forwards = forwards
        self.backwards = backwards or {}

    @property
    def reversible(self) -> bool:  # type: ignore[override]
        """Always: what is not undone goes with its table."""
        return True

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Models know nothing of it."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: Any,
        to_state: Any,
    ) -> None:
        """Run the statements of this vendor."""
        self._run(app_label, schema_editor, self.forwards)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: Any,
        to_state: Any,
    ) -> None:
        """Undo them, where something is named for that."""
        self._run(app_label, schema_editor, self.backwards)

    def _run(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        statements: Mapping[str, Sequence[str]],
    ) -> None:
        connection = schema_editor.connection
        if not router.allow_migrate(connection.alias, app_label, model_name=self.model):
            return
        for statement in statements.get(connection.vendor, ()):
            schema_editor.execute(statement, params=None)

    def describe(self) -> str:
        """For `migrate --plan`."""
        return f"Statements for {self.model} on {', '.join(sorted(self.forwards))}"
