"""Unions: values of one of several annotations.

At the top of an annotation the arm is stored with the value (`ArmsNode`). Anywhere else nothing
but the JSON itself tells the arm (`UnionNode`): a value is refused when another arm would have
written the same JSON. `None` beside one other arm needs neither (`OptionalNode`).
"""

from __future__ import annotations

from typing import Any, Final

from django_infinitic.codec.node import Node, json_kind
from django_infinitic.codec.refusals import Misfit, Refusal, Unannotated
from django_infinitic.codec.sameness import same
from django_infinitic.codec.words import render

__all__ = ["ArmsNode", "OptionalNode", "UnionNode", "is_envelope"]

ARM: Final = "$arm"
VALUE: Final = "$value"


def is_envelope(tree: Any) -> bool:
    """Whether this JSON is a value with the name of its arm."""
    return type(tree) is dict and len(tree) == 2 and ARM in tree and VALUE in tree


class OptionalNode(Node):
    """`T | None`."""

    def __init__(self, annotation: object, inner: Node) -> None:
        self.annotation = annotation
        self.inner = inner
        self.through = inner.through

    @property
    def kinds(self) -> frozenset[str]:  # type: ignore[override]
        return self.inner.kinds | {"null"}

    @property
    def classes(self) -> frozenset[type] | None:  # type: ignore[override]
        inner = self.inner.classes
        return None if inner is None else inner | {type(None)}

    @property
    def opaque(self) -> bool:  # type: ignore[override]
        return self.inner.opaque

    def takes(self, value: object) -> bool:
        return self.inner.takes(value)

    def children(self) -> tuple[Node, ...]:
        return (self.inner,)

    def dump(self, value: Any) -> Any:
        if value is None:
            return None
        try:
            tree = self.inner.dump(value)
        except Refusal as refusal:
            if refusal.value is value and not refusal.because:
                refusal.annotation = self.annotation
            raise
        if tree is None:
            self.refuse(value, "holds a value that is stored as null, and would be None again.")
        return tree

    def load(self, tree: Any) -> Any:
        return None if tree is None else self.inner.load(tree)

    def view(self, tree: Any) -> Any:
        return None if tree is None else self.inner.view(tree)


class UnionNode(Node):
    """A union whose arm is found by the JSON. `arms` may contain the node of `None`."""

    def __init__(self, annotation: object, arms: tuple[Node, ...]) -> None:
        self.annotation = annotation
        self.arms = arms
        self._rivals: dict[str, tuple[Node, ...]] | None = None

    @property
    def kinds(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset().union(*(arm.kinds for arm in self.arms))

    @property
    def classes(self) -> frozenset[type] | None:  # type: ignore[override]
        found: frozenset[type] = frozenset()
        for arm in self.arms:
            if arm.classes is None:
                return None
            found |= arm.classes
        return found

    @property
    def opaque(self) -> bool:  # type: ignore[override]
        return any(arm.opaque for arm in self.arms)

    def takes(self, value: object) -> bool:
        return any(arm.takes(value) for arm in self.arms)

    def children(self) -> tuple[Node, ...]:
        return self.arms

    def rivals(self, kind: str) -> tuple[Node, ...]:
        """The arms that may write this kind of JSON."""
        if self._rivals is None:
            self._rivals = {}
        if kind not in self._rivals:
            self._rivals[kind] = tuple(
                arm
                for arm in self.arms
                if kind in arm.kinds or (kind == "int" and "float" in arm.kinds)
            )
        return self._rivals[kind]

    def choose(self, value: Any) -> tuple[Node, Any]:
        """The arm of a value, and its JSON."""
        kind = type(value)
        fitting = [arm for arm in self.arms if arm.classes and kind in arm.classes]
        if len(fitting) == 1 and all(arm.classes is not None for arm in self.arms):
            return fitting[0], fitting[0].dump(value)
        trying = fitting + [arm for arm in self.arms if arm not in fitting and arm.takes(value)]
        first: tuple[Node, Any] | None = None
        refusals: list[Refusal] = []
        for arm in trying:
            try:
                tree = arm.dump(value)
            except Refusal as refusal:
                refusals.append(refusal)
                continue
            if _comes_back(arm, tree, value):
                return arm, tree
            first = first or (arm, tree)
        if first is not None:
            return first
        # The refusal that knows most: of an arm of the value's own class, or about a part of it.
        for known in refusals:
            telling = len(refusals) == 1 or known.path or known.because
            if telling and not isinstance(known, Unannotated):
                raise known
        self.refuse(value)

    def dump(self, value: Any) -> Any:
        arm, tree = self.choose(value)
        rivals = self.rivals(json_kind(tree))
        if len(rivals) > 1:
            for rival in rivals:
                if rival is not arm and _is_ambiguous(arm, rival, tree):
                    self.refuse(value, self._ambiguous(arm, rival))
        return tree

    def _ambiguous(self, arm: Node, rival: Node) -> str:
        return (
            f"holds a {render(arm.annotation)} that is stored as a {render(rival.annotation)} "
            f"would be: within {render(self.annotation)} nothing tells them apart. Declare a "
            "discriminator (a Literal field that differs) or the class itself; a union at the top "
            "of an annotation needs none."
        )

    def load(self, tree: Any) -> Any:
        arms = self.rivals(json_kind(tree))
        if len(arms) == 1:
            return arms[0].load(tree)
        exact: list[Any] = []
        inexact: list[Any] = []
        for arm in arms:
            try:
                value = arm.load(tree)
                (exact if same(arm.dump(value), tree) else inexact).append(value)
            except (Misfit, Refusal):
                continue
        found = exact or inexact
        if not found:
            self.misfit(tree)
        if any(not same(found[0], other) for other in found[1:]):
            raise Misfit(
                f"it fits several arms of {render(self.annotation)}: declare a discriminator"
            )
        return found[0]

    def arm_of(self, tree: Any) -> Node | None:
        """The arm that reads this JSON."""
        for exactly in (True, False):
            for arm in self.rivals(json_kind(tree)):
                try:
                    if not exactly or same(arm.dump(arm.load(tree)), tree):
                        return arm
                except (Misfit, Refusal):
                    continue
        return None

    def view(self, tree: Any) -> Any:
        arm = self.arm_of(tree)
        return tree if arm is None else arm.view(tree)


class ArmsNode(Node):
    """A union at the top of an annotation: the arm's name is stored with the value.

    `names` are those of `union.arms`. What was stored before the annotation became a union is
    read as its JSON tells.
    """

    plain = False

    def __init__(self, union: UnionNode) -> None:
        self.annotation = union.annotation
        self.union = union
        self.names = {id(arm): render(arm.annotation) for arm in union.arms}
        self.by_name = {self.names[id(arm)]: arm for arm in union.arms}
        if len(self.by_name) < len(union.arms):
            raise Refusal(None, self.annotation, "has two arms of the same name in its union.")

    def children(self) -> tuple[Node, ...]:
        return (self.union,)

    def dump(self, value: Any) -> Any:
        if value is None and "None" in self.by_name:
            return None
        arm, tree = self.union.choose(value)
        return {ARM: self.names[id(arm)], VALUE: tree}

    def load(self, tree: Any) -> Any:
        if tree is None and "None" in self.by_name:
            return None
        if not is_envelope(tree):
            return self.union.load(tree)
        return self.stored_arm(tree).load(tree[VALUE])

    def stored_arm(self, tree: Any) -> Node:
        """The arm that an envelope names. Raises `Misfit` when the annotation has no such."""
        arm = self.by_name.get(tree[ARM]) if type(tree[ARM]) is str else None
        if arm is None:
            raise Misfit(f"found {tree[ARM]}, which is no arm of {render(self.annotation)}")
        return arm

    def arm_of(self, tree: Any) -> Node | None:
        """The arm of what is stored; None for `None`."""
        if tree is None and "None" in self.by_name:
            return None
        return self.stored_arm(tree) if is_envelope(tree) else self.union.arm_of(tree)

    def view(self, tree: Any) -> Any:
        if not is_envelope(tree):
            return self.union.view(tree)
        return self.stored_arm(tree).view(tree[VALUE])


def _comes_back(arm: Node, tree: Any, value: Any) -> bool:
    try:
        return same(arm.load(tree), value)
    except Misfit:
        return False


def _is_ambiguous(arm: Node, rival: Node, tree: Any) -> bool:
    """Whether the rival reads the arm's JSON as another value, and would write the same."""
    try:
        other = rival.load(tree)
        return same(rival.dump(other), tree) and not same(other, arm.load(tree))
    except (Misfit, Refusal):
        return False
