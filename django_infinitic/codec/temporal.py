"""Temporal values: datetimes, dates, times and durations, as ISO 8601."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from typing import Any, Final

from django_infinitic.codec.scalars import TextNode

__all__ = ["DateNode", "DatetimeNode", "TimeNode", "TimedeltaNode"]


class DatetimeNode(TextNode):
    """ISO 8601; an aware one keeps instant and offset, not the zone's name."""

    kind = datetime
    tag = "$datetime"
    notation = "ISO datetime"

    def takes(self, value: object) -> bool:
        return issubclass(type(value), datetime)

    def dump(self, value: Any) -> Any:
        if type(value) is datetime:
            return datetime.isoformat(value)
        if not issubclass(type(value), datetime):
            self.refuse(value)
        text = datetime.isoformat(value)
        # A subclass may know more than a datetime does: nanoseconds, say.
        if not datetime.fromisoformat(text) == value:  # noqa: SIM201
            self.refuse(value, f"holds a {type(value).__name__} that no datetime is equal to.")
        return text

    def read(self, text: str) -> Any:
        return datetime.fromisoformat(text)


class DateNode(TextNode):
    kind = date
    tag = "$date"
    notation = "ISO date"

    def write(self, value: Any) -> str:
        return date.isoformat(value)

    def read(self, text: str) -> Any:
        return date.fromisoformat(text)


class TimeNode(TextNode):
    kind = time
    tag = "$time"
    notation = "ISO time"

    def write(self, value: Any) -> str:
        if value.tzinfo is not None and value.utcoffset() is None:
            self.refuse(
                value,
                "holds a time in a zone whose offset depends on the day. "
                "Use a datetime, or a time without zone.",
            )
        return time.isoformat(value)

    def read(self, text: str) -> Any:
        return time.fromisoformat(text)


class TimedeltaNode(TextNode):
    """ISO 8601, to the microsecond: "P1DT2.5S", "-P1D"."""

    kind = timedelta
    tag = "$timedelta"
    notation = "ISO duration"

    def write(self, value: Any) -> str:
        sign = ""
        days, seconds, micros = value.days, value.seconds, value.microseconds
        if days < 0:
            sign = "-"
            total = -((days * 86400 + seconds) * 1_000_000 + micros)
            seconds, micros = divmod(total, 1_000_000)
            days, seconds = divmod(seconds, 86400)
        text = f"{sign}P{days}D" if days else f"{sign}P"
        if micros:
            fraction = f"{micros:06}".rstrip("0")
            return f"{text}T{seconds}.{fraction}S"
        return f"{text}T{seconds}S" if seconds or not days else text

    def read(self, text: str) -> Any:
        found = _DURATION.fullmatch(text)
        if found is None or text[-1] in "PT":
            raise ValueError(text)
        sign, weeks, days, hours, minutes, seconds, fraction = found.groups()
        micros = int((fraction or "")[:6].ljust(6, "0"))
        days = int(weeks or 0) * 7 + int(days or 0)
        if sign == "-":
            return timedelta(
                days=-days,
                hours=-int(hours or 0),
                minutes=-int(minutes or 0),
                seconds=-int(seconds or 0),
                microseconds=-micros,
            )
        return timedelta(
            days=days,
            hours=int(hours or 0),
            minutes=int(minutes or 0),
            seconds=int(seconds or 0),
            microseconds=micros,
        )


_DURATION: Final = re.compile(
    r"([+-]?)P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:[.,](\d+))?S)?)?", re.ASCII
)
