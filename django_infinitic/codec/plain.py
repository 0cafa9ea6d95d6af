"""Plain classes: those whose nodes need no annotation beyond the class itself."""

from __future__ import annotations

from typing import Final

from django_infinitic.codec.scalars import (
    BoolNode,
    BytesNode,
    DecimalNode,
    FloatNode,
    IntNode,
    NoneNode,
    ScalarNode,
    StrNode,
    UUIDNode,
)
from django_infinitic.codec.temporal import DateNode, DatetimeNode, TimedeltaNode, TimeNode

__all__ = ["SCALARS", "TAGS"]

SCALARS: Final[dict[type, ScalarNode]] = {
    node.kind: node
    for node in (
        NoneNode(),
        BoolNode(),
        StrNode(),
        IntNode(),
        FloatNode(),
        DatetimeNode(),
        DateNode(),
        TimeNode(),
        TimedeltaNode(),
        DecimalNode(),
        UUIDNode(),
        BytesNode(),
    )
}
"""The node of each class of scalars."""

TAGS: Final[dict[str, ScalarNode]] = {node.tag: node for node in SCALARS.values() if node.tag}
"""The scalars that are stored with a mark when no annotation tells their class."""
