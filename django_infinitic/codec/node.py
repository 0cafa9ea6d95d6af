"""Nodes: one per part of an annotation, between a value and its JSON.

An annotation is compiled once to a tree of nodes. A node knows exactly which values it takes, so
that what it stores comes back as the same type and an equal value: nothing is checked twice, save
where an annotation leaves room for mistakes (unions, custom types).
"""

from __future__ import annotations

import math
from typing import Any, Final, NoReturn

from django_infinitic.codec.refusals import Misfit, Refusal
from django_infinitic.codec.words import render

__all__ = ["ALL_KINDS", "Never", "Node", "all_below", "depth_of", "json_kind"]

ALL_KINDS: Final = frozenset({"null", "bool", "int", "float", "str", "list", "dict"})

_KINDS: Final = {
    type(None): "null",
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
    list: "list",
    dict: "dict",
}


class Never:
    """A class without instances: `type(value) is Never` is never true."""


def json_kind(tree: object) -> str:
    """The kind of a JSON value, as in `Node.kinds`."""
    return _KINDS[type(tree)]


class Node:
    """How values of one annotation become JSON, and JSON values again.

    `dump` gives JSON as Python objects, `load` the value, always a fresh one. They raise `Refusal`
    and `Misfit`.
    """

    annotation: object = None
    kinds: frozenset[str] = ALL_KINDS
    """The kinds of JSON that it writes."""
    classes: frozenset[type] | None = None
    """The exact classes of its values; None: unknown, it has to be tried."""
    through: type = Never
    """Values and JSON of exactly this class are the same thing, and need no call."""
    opaque: bool = False
    """Whether its JSON objects may have any keys."""
    plain: bool = True
    """Whether its JSON is what a query should see."""
    unsure: bool = False
    """Whether code of the application takes part in loading, so that encoding has to be proved."""

    def dump(self, value: Any) -> Any:
        """The JSON of a value. Raises `Refusal`."""
        raise NotImplementedError

    def load(self, tree: Any) -> Any:
        """The value of JSON. Raises `Misfit`."""
        raise NotImplementedError

    def view(self, tree: Any) -> Any:
        """JSON without the codec's own marks, as a query sees it. May change `tree`."""
        return tree

    def fits(self, tree: Any) -> bool:
        """Whether this JSON might be one of its values; a look at the surface, without errors."""
        kind = json_kind(tree)
        return kind in self.kinds or (kind == "int" and "float" in self.kinds)

    def takes(self, value: object) -> bool:
        """Whether it takes a value that is of none of its `classes` (a subclass, a number)."""
        return self.classes is None

    def children(self) -> tuple[Node, ...]:
        """The nodes of the parts of its values."""
        return ()

    def refuse(self, value: object, because: str = "") -> NoReturn:
        """Raise the refusal of this value."""
        raise Refusal(value, self.annotation, because)

    def misfit(self, tree: object) -> NoReturn:
        """Raise that this JSON does not fit."""
        raise Misfit(f"found JSON {json_kind(tree)} where {render(self.annotation)} is annotated")


def depth_of(node: Node) -> float:
    """How deeply its JSON can nest at most; infinite for recursive and untyped annotations."""
    return _depth(node, set())


def all_below(node: Node) -> list[Node]:
    """This node and all below, each once."""
    seen: set[int] = set()
    rest, found = [node], []
    while rest:
        one = rest.pop()
        if id(one) not in seen:
            seen.add(id(one))
            found.append(one)
            rest.extend(one.children())
    return found


def _depth(node: Node, above: set[int]) -> float:
    if id(node) in above:
        return math.inf
    if node.opaque and not node.children():
        return math.inf
    inside = above | {id(node)}
    return 2 + max((_depth(child, inside) for child in node.children()), default=-2)
