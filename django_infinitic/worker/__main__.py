"""The processes of a worker, started by `processes.spawn`: `engine` and `child`."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from collections.abc import Callable


def engine(supervisor: str, options: str, successor: str) -> int:
    """One engine process; its exit code."""
    from django_infinitic.worker.options import WorkerOptions
    from django_infinitic.worker.processes import ProcessChild

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's affair
    asked = WorkerOptions.from_json(options)
    first_child = None
    if asked.executor:
        # Both load the project at the same time.
        first_child = ProcessChild(slots=asked.concurrency, worker_name=asked.name)

    import django

    django.setup()
    _spare_the_collector()
    from django_infinitic.worker.control import Control
    from django_infinitic.worker.frames import Gone
    from django_infinitic.worker.start import refusals, run_engine

    control = Control(socket.socket(fileno=int(supervisor)))
    try:
        with refusals(control):
            run_engine(asked, control=control, successor=successor == "1", first_child=first_child)
    except Gone:
        print("The supervisor of this worker is gone; it ends.", file=sys.stderr)
        return 1
    return 0


def child(link: str, parent: str, slots: str, worker_name: str) -> int:
    """One executor child; its exit code."""
    import django

    django.setup()
    _spare_the_collector()
    from django_infinitic.worker.child import Child
    from django_infinitic.worker.processes import die_with_parent

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(int(parent))
    Child(socket.socket(fileno=int(link)), slots=int(slots), worker_name=worker_name).run()
    return 0


def _spare_the_collector() -> None:
    """What is loaded now stays; looking at it again and again would cost a third of the speed."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(25_000, 20, 50)


def main() -> None:
    """Run the role that the first argument names."""
    role, *rest = sys.argv[1:]
    roles: dict[str, Callable[..., int]] = {"engine": engine, "child": child}
    code = roles[role](*rest)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # Threads of tasks that count as over must not keep the process.
    os._exit(code)


if __name__ == "__main__":
    main()
