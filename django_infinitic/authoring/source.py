"""Where something was written, for error texts: `travel/workflows.py:31`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

_OWN = __name__.partition(".")[0] + ".authoring."


def place_of_code(filename: str, module: str, line: int) -> str:
    """The file as its module names it, so that texts are the same on every machine."""
    parts = PurePath(filename).parts
    count = module.count(".") + 1
    if parts and parts[-1] == "__init__.py":
        count += 1
    return f"{'/'.join(parts[-count:])}:{line}"


def place_of_function(function: Callable[..., Any]) -> str:
    """Where a function begins (its first decorator)."""
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    if code is None:
        return function.__module__
    return place_of_code(code.co_filename, function.__module__, code.co_firstlineno)


def place_of_caller() -> str:
    """Where the code is that called into this package: the line of the decorator, say."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_OWN):
        frame = frame.f_back
    return place_of_code(
        frame.f_code.co_filename, frame.f_globals.get("__name__", ""), frame.f_lineno
    )
