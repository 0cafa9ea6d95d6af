"""Words that explanations and timelines share: times, durations, lists, kinds of values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from django_infinitic.exceptions import DeferredError, error_from_json

SHOWN: Final = 5
"""So many members of a long list are named, the others counted."""

TEXT_LIMIT: Final = 500
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))


def time_text(when: datetime) -> str:
    """`2026-03-01 14:05:00 UTC`."""
    return f"{when:%Y-%m-%d %H:%M:%S} UTC"


def duration_text(seconds: float) -> str:
    """`12 s`, `3 min`, `2 h`, `5 d`: the largest unit that fits, rounded down."""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def listed(parts: Sequence[str], word: str) -> str:
    """`a, b and c`; of a long list the first are named."""
    shown = list(dict.fromkeys(parts))
    if len(shown) > SHOWN + 1:
        shown = [*shown[:SHOWN], f"{len(shown) - SHOWN} more"]
        word = "and" if word == "and" else "or one of"
    if len(shown) < 2:
        return "".join(shown)
    return f"{', '.join(shown[:-1])} {word} {shown[-1]}"


def short(text: str, limit: int = TEXT_LIMIT) -> str:
    """A text cut to a length that a sentence can bear."""
    return text if len(text) <= limit else f"{text[:limit]}…"


def error_text(document: Any) -> str:
    """The text of a recorded error."""
    return short(str(error_from_json(document)))


def error_of(document: Any) -> DeferredError | None:
    """A recorded error; None for what is none (a task that was canceled has a value of None)."""
    return error_from_json(document) if isinstance(document, dict) and "type" in document else None


def kind_of(payload: str | None) -> str:
    """What a payload is, without showing it."""
    value = None if payload is None else json.loads(payload)
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "an object"
