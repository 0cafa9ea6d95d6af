"""The watchdog over workflow code."""

import time

import pytest

from django_infinitic.worker import watchdog
from django_infinitic.worker.watchdog import SegmentTimeout, Watchdog


def spin(seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pass


def test_code_that_runs_too_long_is_interrupted() -> None:
    found = Watchdog(0.05, lambda instance: None)
    found.start()
    found.enter("i")
    with pytest.raises(SegmentTimeout):
        spin(10)
    assert found.leave()
    found.stop()


def test_code_in_time_is_left_alone() -> None:
    found = Watchdog(0.05, lambda instance: None)
    found.start()
    for _ in range(5):
        found.enter("i")
        spin(0.02)
        assert not found.leave()
    spin(0.1)
    found.stop()


def test_an_interruption_that_comes_too_late_hits_nobody() -> None:
    found = Watchdog(0.0, lambda instance: None)
    found.enter("i")
    try:
        found.run_once()
        late = found.leave()
    except SegmentTimeout:
        late = found.leave()
    assert late
    spin(0.05)
    assert not found.leave()


def test_code_that_swallows_it_is_condemned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "PATIENCE", 0.1)
    condemned: list[str] = []
    found = Watchdog(0.02, condemned.append)
    found.start()
    found.enter("i")
    deadline = time.monotonic() + 10
    while not condemned and time.monotonic() < deadline:
        try:
            spin(0.05)
        except SegmentTimeout:
            continue
    found.leave()
    found.stop()
    assert condemned[0] == "i"


def test_a_lease_may_be_renewed_only_while_code_may_run() -> None:
    found = Watchdog(0.01, lambda instance: None)
    assert not found.within_limit()
    found.enter("i")
    assert found.within_limit()
