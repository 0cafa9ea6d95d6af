"""Whether another worker of this host is still there."""

import os
import subprocess
import sys

from django_infinitic.worker.neighbours import has_vanished, own_process


def test_the_own_process_is_there() -> None:
    process = own_process()
    assert process is not None
    assert process[1] == os.getpid()
    assert not has_vanished(process)


def test_a_process_that_has_ended_has_vanished() -> None:
    code = (
        "from django_infinitic.worker.neighbours import own_process; print(*own_process(), sep='|')"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here, pid, started = told.stdout.strip().split("|")
    assert has_vanished([here, int(pid), started])


def test_another_process_with_the_same_number_is_not_taken_for_it() -> None:
    process = own_process()
    assert process is not None
    here, pid, started = process
    assert has_vanished([here, pid, f"{started}1"])


def test_of_another_host_or_container_nothing_is_concluded() -> None:
    process = own_process()
    assert process is not None
    assert not has_vanished(["another boot pid:[1]", process[1], "1"])
    for unknown in (None, [], "text", [process[0], process[1]]):
        assert not has_vanished(unknown)
