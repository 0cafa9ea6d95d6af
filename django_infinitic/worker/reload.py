"""Whether the code has changed: for workers that reload when `DEBUG` is on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from django.utils.autoreload import iter_all_python_module_files

PERIOD: Final = 1.0


class CodeWatch:
    """Remembers when the files of all imported modules were written."""

    def __init__(self) -> None:
        self._times: dict[Path, float] = {}
        self._look_at = 0.0
        self.changed()

    def changed(self) -> str | None:
        """A file that was written since the last look; looks at most once a second."""
        now = time.monotonic()
        if now < self._look_at:
            return None
        self._look_at = now + PERIOD
        found = None
        for file in _files():
            with contextlib.suppress(OSError):
                written = file.stat().st_mtime
                if self._times.setdefault(file, written) != written:
                    self._times[file] = written
                    found = str(file)
        return found


def _files() -> Iterable[Path]:
    return iter_all_python_module_files()
