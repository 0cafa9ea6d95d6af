"""Other workers of this host: a killed one need not keep its lease to the end.

A worker's row names its process by boot, process namespace, pid and start time, so that no other
process is taken for it; from another container or host nothing is concluded.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

PROC = Path("/proc")


@functools.cache
def _here() -> str | None:
    """This boot of this host and the process namespace; None where there is no /proc."""
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink(PROC / 'self/ns/pid')}"
    except OSError:
        return None


def _started(pid: int) -> str | None:
    """When a process started, in ticks since the boot; None when it runs no more."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def own_process() -> list[Any] | None:
    """What a worker's row tells of its process."""
    here, started = _here(), _started(os.getpid())
    return None if here is None or started is None else [here, os.getpid(), started]


def has_vanished(process: Any) -> bool:
    """Whether a process of this host, as told by `own_process`, is surely not there any more."""
    if not isinstance(process, list) or len(process) != 3 or process[0] != _here():
        return False
    return bool(_started(process[1]) != process[2])
