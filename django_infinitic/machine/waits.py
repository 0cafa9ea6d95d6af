"""Waits: trees over the commands of a method, and when they are over.

A tree is a position or a list `[operator, *trees]`; the operators are `&` all, `|` the first
outcome, `1` the first success, `s` all settled (nothing raises).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Node = int | list[Any]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that waits in a channel; `order` is the step of its arrival."""

    order: int
    payload: str
    key: str | None = None


@dataclass(slots=True)
class Resolution:
    """What a tree came to. `order` is the step it counts from; `parts` those that decided."""

    ok: bool
    order: int
    node: Node
    parts: list[Resolution] = field(default_factory=list)
    take: Waiting | None = None

    def leaves(self) -> Iterator[Resolution]:
        """The resolved leaves that make up this outcome."""
        if isinstance(self.node, int):
            yield self
        for part in self.parts:
            yield from part.leaves()


Leaf = Callable[[int, set[int]], Resolution | None]
"""What is known of a position; the set holds the messages claimed so far in this evaluation."""


@dataclass(slots=True)
class Evaluation:
    """One look at a tree: its resolution, if any, and the messages to take now."""

    resolution: Resolution | None
    takes: list[tuple[int, Waiting]]


def evaluate(node: Node, leaf: Leaf) -> Evaluation:
    """Look whether a wait is over.

    Of an `|` only the operand that ends it takes messages; below `&` alone each receive takes as
    soon as it can.
    """
    if isinstance(node, int):  # nearly all waits
        found = leaf(node, set())
        taken = [] if found is None or found.take is None else [(node, found.take)]
        return Evaluation(found, taken)
    takes: list[tuple[int, Waiting]] = []
    resolution = _look(node, leaf, set(), takes, free=True)
    if resolution is not None:
        known = {position for position, _ in takes}
        for one in resolution.leaves():
            if one.take is not None and isinstance(one.node, int) and one.node not in known:
                takes.append((one.node, one.take))
    return Evaluation(resolution, takes)


def _look(
    node: Node, leaf: Leaf, claimed: set[int], takes: list[tuple[int, Waiting]], *, free: bool
) -> Resolution | None:
    if isinstance(node, int):
        found = leaf(node, claimed)
        if found is not None and found.take is not None:
            claimed.add(found.take.order)
            if free:
                takes.append((node, found.take))
        return found
    operator, *operands = node
    free = free and operator in "&s"
    parts = [_look(operand, leaf, claimed, takes, free=free) for operand in operands]
    there = [part for part in parts if part is not None]
    good = [part for part in there if part.ok]
    bad = [part for part in there if not part.ok]
    if operator == "|":
        return _chosen(node, min(there, key=_order, default=None))
    if operator == "1":
        if good:
            return _chosen(node, min(good, key=_order))
        return _chosen(node, max(bad, key=_order)) if len(bad) == len(operands) else None
    if operator == "&" and bad:
        return _chosen(node, min(bad, key=_order))
    if len(there) < len(operands):
        return None
    return Resolution(True, max((part.order for part in there), default=0), node, there)


def _order(part: Resolution) -> int:
    return part.order


def _chosen(node: Node, part: Resolution | None) -> Resolution | None:
    return None if part is None else Resolution(part.ok, part.order, node, [part])


def leaves_of(node: Node) -> Iterator[int]:
    """The positions of a tree, in written order."""
    if isinstance(node, int):
        yield node
    else:
        for operand in node[1:]:
            yield from leaves_of(operand)


def same_tree(one: Node, other: Node) -> bool:
    """Whether two trees are for the same commands; the order of operands does not count (F033)."""
    if isinstance(one, int) or isinstance(other, int):
        return one == other
    if one == other:
        return True
    if one[0] != other[0] or len(one) != len(other):
        return False
    return sorted(map(_ordered, one[1:])) == sorted(map(_ordered, other[1:]))


def _ordered(node: Node) -> str:
    if isinstance(node, int):
        return str(node)
    return f"({node[0]} {' '.join(sorted(map(_ordered, node[1:])))})"


@dataclass(slots=True)
class Wait:
    """Where a method stands: its wait number, tree, limit and since when.

    `shield`: a cancel is held back meanwhile. `checkpoint`: nothing is waited for but the commit.
    """

    number: int
    node: Node
    until: int | None = None
    shield: bool = False
    checkpoint: bool = False
    step: int = 0
    at: int = 0
    open: set[int] | None = None

    def to_json(self) -> list[Any]:
        """As stored in a segment."""
        return [self.number, self.node, self.until, int(self.shield), int(self.checkpoint)]

    @classmethod
    def from_json(cls, stored: list[Any], step: int, at: int) -> Wait:
        """From a segment, with the step and time of that segment."""
        number, node, until, shield, checkpoint = stored
        return cls(number, node, until, bool(shield), bool(checkpoint), step, at)
