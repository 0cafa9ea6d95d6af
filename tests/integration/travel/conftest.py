"""What the tests of the travel app share."""

from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _tasks_take_no_time(settings: Any) -> None:
    settings.TRAVEL_SECONDS = 0
