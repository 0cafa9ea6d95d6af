"""Unions: values of one of several annotations.

At the top of an annotation the arm is stored with the value (`ArmsNode`). Anywhere else nothing
but the JSON itself tells the arm (`UnionNode`): a value is refused when an arm that stands before
its own would have written the same JSON. `None` beside one other arm needs neither
(`OptionalNode`).
"""

from __future__ import annotations

from typing import Any, Final

from django_infinitic.codec.node import Node
from django_infinitic.codec.refusals import Misfit, Refusal, Unannotated
from django_infinitic.codec.sameness import same
from django_infinitic.codec.words import arm_name, render

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

    def fits(self, tree: Any) -> bool:
        return tree is None or self.inner.fits(tree)

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
        # In written order: of arms that would write the same JSON the first reads it.
        self.arms = arms
        self._by_class: dict[type, Node] | None = None

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

    def rivals(self, tree: Any) -> list[Node]:
        """The arms that might read this JSON."""
        return [arm for arm in self.arms if arm.fits(tree)]

    def fits(self, tree: Any) -> bool:
        return any(arm.fits(tree) for arm in self.arms)

    def _sure(self) -> dict[type, Node]:
        """The arms that are known by the class of a value alone."""
        # Not at construction: arms may lead back to this union.
        if self._by_class is None:
            found: dict[type, list[Node]] = {}
            for arm in self.arms:
                for cls in arm.classes or ():
                    found.setdefault(cls, []).append(arm)
            known = all(arm.classes is not None for arm in self.arms)
            self._by_class = {
                cls: arms[0] for cls, arms in found.items() if known and len(arms) == 1
            }
        return self._by_class

    def choose(self, value: Any) -> tuple[Node, Any]:
        """The arm of a value, and its JSON."""
        kind = type(value)
        sure = (self._by_class or self._sure()).get(kind)
        if sure is not None:
            return sure, sure.dump(value)
        fitting = [arm for arm in self.arms if arm.classes and kind in arm.classes]
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
        # The refusal that knows most: the only one, or one about a part of the value.
        for known in refusals:
            telling = len(refusals) == 1 or known.path or known.because
            if telling and not isinstance(known, Unannotated):
                raise known
        self.refuse(value)

    def dump(self, value: Any) -> Any:
        arm, tree = self.choose(value)
        rivals = self.rivals(tree)
        if len(rivals) > 1:
            for rival in rivals:
                if rival is arm:  # what was written first is what reads it
                    break
                if _is_ambiguous(arm, rival, tree):
                    self.refuse(value, self._ambiguous(arm, rival))
        return tree

    def _ambiguous(self, arm: Node, rival: Node) -> str:
        return (
            f"holds a {render(arm.annotation)} that would come back as a "
            f"{render(rival.annotation)}: within {render(self.annotation)} nothing tells them "
            "apart. Declare a discriminator (a Literal field that differs) or the class itself; a "
            "union at the top of an annotation needs none."
        )

    def load(self, tree: Any) -> Any:
        arms = self.rivals(tree)
        if len(arms) == 1:
            return arms[0].load(tree)
        found = self._read(arms, tree)
        if not found:
            self.misfit(tree)
        return found[0][1]

    def _read(self, arms: list[Node], tree: Any) -> list[tuple[Node, Any]]:
        """The values that arms read in it: of those which would write just this, else of all."""
        exact: list[tuple[Node, Any]] = []
        inexact: list[tuple[Node, Any]] = []
        for arm in arms:
            try:
                value = arm.load(tree)
                (exact if same(arm.dump(value), tree) else inexact).append((arm, value))
            except (Misfit, Refusal):
                continue
        return exact or inexact

    def arm_of(self, tree: Any) -> Node | None:
        """The arm that reads this JSON."""
        arms = self.rivals(tree)
        if len(arms) > 1:
            arms = [arm for arm, _ in self._read(arms, tree)]
        return arms[0] if arms else None

    def view(self, tree: Any) -> Any:
        arm = self.arm_of(tree)
        return tree if arm is None else arm.view(tree)


class ArmsNode(Node):
    """A union at the top of an annotation: the arm's name is stored with the value.

    The name is that of the arm's class ("shop.models.Meter"), or the whole arm where several have
    one class ("list[int]"). What was stored before the annotation became a union, or became
    another one, is read as the JSON tells.
    """

    plain = False

    def __init__(self, union: UnionNode) -> None:
        self.annotation = union.annotation
        self.union = union
        classes = [arm_name(arm.annotation) for arm in union.arms]
        self.names: dict[int, str] = {}
        self._by_name: dict[str, Node] = {}
        for arm, name in zip(union.arms, classes, strict=True):
            full = render(arm.annotation)
            self.names[id(arm)] = full if classes.count(name) > 1 else name
            self._by_name.setdefault(full, arm)
        if len(set(self.names.values())) < len(union.arms):
            raise Refusal(None, self.annotation, "has two arms of the same name in its union.")
        for name in classes:
            arms = tuple(arm for arm in union.arms if arm_name(arm.annotation) == name)
            self._by_name[name] = arms[0] if len(arms) == 1 else UnionNode(self.annotation, arms)
        self._nothing = any(arm.annotation is type(None) for arm in union.arms)

    def children(self) -> tuple[Node, ...]:
        return (self.union,)

    def dump(self, value: Any) -> Any:
        if value is None and self._nothing:
            return None
        arm, tree = self.union.choose(value)
        return {ARM: self.names[id(arm)], VALUE: tree}

    def load(self, tree: Any) -> Any:
        if tree is None and self._nothing:
            return None
        if not is_envelope(tree):
            return self.union.load(tree)
        return self.stored_arm(tree).load(tree[VALUE])

    def stored_arm(self, tree: Any) -> Node:
        """The arm that an envelope names. Raises `Misfit` when the annotation has no such."""
        arm = self._by_name.get(tree[ARM]) if type(tree[ARM]) is str else None
        if arm is None:
            raise Misfit(f"found {tree[ARM]}, which is no arm of {render(self.annotation)}")
        return arm

    def arm_of(self, tree: Any) -> Node | None:
        """The arm of what is stored; None for `None`."""
        if tree is None and self._nothing:
            return None
        if not is_envelope(tree):
            return self.union.arm_of(tree)
        arm = self.stored_arm(tree)
        return arm.arm_of(tree[VALUE]) if isinstance(arm, UnionNode) else arm

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
