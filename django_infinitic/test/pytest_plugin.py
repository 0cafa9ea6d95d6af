"""The pytest fixture `infinitic`: a `WorkflowEnvironment` on the test database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from django_infinitic.test.environment import WorkflowEnvironment


@pytest.fixture
def infinitic(db: None) -> Iterator[WorkflowEnvironment]:
    """An open environment; pytest-django's `db` is asked for."""
    # Imported here, as the plugin is loaded before Django's settings are.
    from django_infinitic.test.environment import WorkflowEnvironment

    with WorkflowEnvironment() as environment:
        yield environment
