"""Whether a command of a replay is the recorded one (check modes of F071)."""

from __future__ import annotations

from typing import Any

_FREE = {"tg", "mt", "tt", "sh", "bk", "dl", "cp", "v", "e", "u"}
"""Never compared: tags, meta, timeouts, and what an inline gave."""
_TIMES = {"due"}


def difference(mode: str, recorded: list[Any] | None, asked: list[Any]) -> tuple[str, str] | None:
    """What was recorded and what is asked for, in words; None when they are the same."""
    now = described(asked)
    if recorded is None:
        return "no command but a wait or the end", now
    if mode == "none":
        return None if recorded[0] == asked[0] else (described(recorded), now)
    if recorded[0] != asked[0] or recorded[1] != asked[1]:
        return described(recorded), now
    if mode == "strict":
        return _strictly(recorded, asked)
    return None


def _strictly(recorded: list[Any], asked: list[Any]) -> tuple[str, str] | None:
    free = _FREE if asked[0] == "inline" else _FREE - {"v"}
    for key in sorted((recorded[2].keys() | asked[2].keys()) - free):
        if recorded[2].get(key) != asked[2].get(key):
            was, now = recorded[2].get(key), asked[2].get(key)
            return f"{described(recorded)} with {was}", f"{described(asked)} with {now}"
    return None


def described(command: list[Any]) -> str:
    """A command in words: `task "travel.Cars.book"`."""
    kind, name, _ = command
    return f'{kind} "{name}"' if name != kind else str(kind)
