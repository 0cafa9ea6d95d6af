"""Times: microseconds since 1970 and aware datetimes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

MICROS = 1_000_000


def moment(micros: int) -> datetime:
    """Microseconds since 1970 as an aware datetime in UTC."""
    return datetime.fromtimestamp(micros // MICROS, UTC) + timedelta(microseconds=micros % MICROS)


def micros_of(when: datetime) -> int:
    """The reverse of `moment`."""
    return round((when - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))
