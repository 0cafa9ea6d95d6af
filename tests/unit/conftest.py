"""What unit tests share."""

from collections.abc import Iterator
from typing import Any

import pytest

from django_infinitic.registry import Registry, registry


@pytest.fixture
def fresh_registry() -> Iterator[Registry]:
    """The registry of the process, empty for one test."""
    before: dict[str, Any] = {}
    for name, value in vars(registry).items():
        if isinstance(value, dict):
            before[name] = value
            setattr(registry, name, {})
    yield registry
    for name, value in before.items():
        setattr(registry, name, value)
