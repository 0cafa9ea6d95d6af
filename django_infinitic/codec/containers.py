"""Containers: lists, tuples, sets and dicts of other values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

from pydantic_core import from_json, to_json

from django_infinitic.codec.node import Node
from django_infinitic.codec.refusals import Misfit, Refusal

__all__ = ["DictNode", "ListNode", "SetNode", "TupleNode", "VariadicTupleNode", "in_order"]


def in_order(trees: list[Any]) -> list[Any]:
    """The JSON of a set's elements, in an order that depends on nothing but them."""
    if len({type(tree) for tree in trees} - {int, float}) == 0 or all(
        type(tree) is str for tree in trees
    ):
        return sorted(trees)
    return sorted(trees, key=to_json)


def _each(items: Iterable[Any], through: type, turn: Callable[[Any], Any]) -> list[Any]:
    """Turn each item, those of class `through` standing for themselves."""
    try:
        return [item if type(item) is through else turn(item) for item in items]
    except (Refusal, Misfit) as problem:
        problem.path.append(f"[{_index(items, through, turn)}]")
        raise


def _index(items: Iterable[Any], through: type, turn: Callable[[Any], Any]) -> int:
    # Only when there is an error: which of them was it?
    for index, item in enumerate(items):
        try:
            if type(item) is not through:
                turn(item)
        except (Refusal, Misfit):
            return index
    return 0


class ItemsNode(Node):
    """Any number of items of one annotation, as an array."""

    kind: type
    kinds = frozenset({"list"})
    tag = ""

    def __init__(self, annotation: object, item: Node) -> None:
        self.annotation = annotation
        self.classes = frozenset({self.kind})
        self.item = item

    def children(self) -> tuple[Node, ...]:
        return (self.item,)

    def dump(self, value: Any) -> Any:
        if type(value) is not self.kind:
            self.refuse(value)
        return _each(cast("Iterable[Any]", value), self.item.through, self.item.dump)

    def load(self, tree: Any) -> Any:
        if type(tree) is not list:
            # Stored under its tag, before the annotation was written.
            if self.tag and type(tree) is dict and len(tree) == 1 and self.tag in tree:
                return self.load(tree[self.tag])
            self.misfit(tree)
        return self.build(_each(tree, self.item.through, self.item.load))

    def build(self, items: list[Any]) -> Any:
        """The value that has these items."""
        return self.kind(items)

    def view(self, tree: Any) -> Any:
        view = self.item.view
        return [view(item) for item in tree]


class ListNode(ItemsNode):
    """`list[T]`, and the abstract sequences, which come back as lists."""

    kind = list

    def build(self, items: list[Any]) -> Any:
        return items


class VariadicTupleNode(ItemsNode):
    """`tuple[T, ...]`."""

    kind = tuple
    tag = "$tuple"


class SetNode(ItemsNode):
    """`set[T]` and `frozenset[T]`, as an array in a fixed order."""

    tag = "$set"

    def __init__(self, annotation: object, item: Node, kind: type) -> None:
        self.kind = kind
        super().__init__(annotation, item)

    def dump(self, value: Any) -> Any:
        trees = super().dump(value)
        return in_order(trees) if len(trees) > 1 else trees

    def build(self, items: list[Any]) -> Any:
        try:
            return self.kind(items)
        except TypeError as error:
            raise Misfit(f"its items cannot be in a set: {error}") from None


class TupleNode(Node):
    """`tuple[A, B]`, as an array."""

    kinds = frozenset({"list"})
    classes = frozenset({tuple})
    tag = "$tuple"

    def __init__(self, annotation: object, items: tuple[Node, ...]) -> None:
        self.annotation = annotation
        self.items = items

    def children(self) -> tuple[Node, ...]:
        return self.items

    def fits(self, tree: Any) -> bool:
        return type(tree) is list and len(tree) == len(self.items)

    def dump(self, value: Any) -> Any:
        if type(value) is not tuple:
            self.refuse(value)
        if len(value) != len(self.items):
            self.refuse(value, f"holds a tuple of {len(value)} items, not of {len(self.items)}.")
        trees = []
        for node, item in zip(self.items, value, strict=True):
            try:
                trees.append(node.dump(item))
            except Refusal as refusal:
                refusal.path.append(f"[{len(trees)}]")
                raise
        return trees

    def load(self, tree: Any) -> Any:
        if type(tree) is not list:
            if type(tree) is dict and len(tree) == 1 and self.tag in tree:
                return self.load(tree[self.tag])
            self.misfit(tree)
        if len(tree) != len(self.items):
            raise Misfit(f"found {len(tree)} items where {len(self.items)} are annotated")
        values: list[Any] = []
        for node, item in zip(self.items, tree, strict=True):
            try:
                values.append(node.load(item))
            except Misfit as misfit:
                misfit.path.append(f"[{len(values)}]")
                raise
        return tuple(values)

    def view(self, tree: Any) -> Any:
        return [node.view(item) for node, item in zip(self.items, tree, strict=False)]


class DictNode(Node):
    """`dict[K, V]`: an object, or an array of pairs when keys are not texts or numbers."""

    classes = frozenset({dict})

    def __init__(self, annotation: object, key: Node, value: Node) -> None:
        self.annotation = annotation
        self.key = key
        self.value = value
        self._form: str = ""

    def children(self) -> tuple[Node, ...]:
        return (self.key, self.value)

    @property
    def form(self) -> str:
        """How keys are stored: "text" as they are, "number" as their JSON, or "pairs"."""
        # Not at construction: of a recursive alias the kinds are not known then.
        if not self._form:
            if self.key.kinds == {"str"}:
                self._form = "text"
            elif self.key.kinds <= {"int", "float", "bool"}:
                self._form = "number"
            else:
                self._form = "pairs"
        return self._form

    @property
    def kinds(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset({"list" if self.form == "pairs" else "dict"})

    @property
    def opaque(self) -> bool:  # type: ignore[override]
        return self.form == "text"

    def dump(self, value: Any) -> Any:
        if type(value) is not dict:
            self.refuse(value)
        dump, through = self.value.dump, self.value.through
        try:
            if self.form == "pairs":
                keys = [self.key.dump(key) for key in value]
                return [
                    [tree, dump(item)]
                    for tree, (key, item) in zip(keys, value.items(), strict=True)
                ]
            if self.key.through is str and all(type(key) is str for key in value):
                if all(type(item) is through for item in value.values()):
                    return value
                return {key: dump(item) for key, item in value.items()}
            keys = [self._name(key) for key in value]
            trees = [dump(item) for item in value.values()]
        except Refusal as refusal:
            self._locate(refusal, value)
            raise
        found = dict(zip(keys, trees, strict=True))
        if len(found) != len(value):
            self.refuse(value, "holds a dict with two keys that are stored alike.")
        return found

    def _name(self, key: Any) -> str:
        tree = self.key.dump(key)
        return tree if self.form == "text" else to_json(tree).decode()

    def _locate(self, refusal: Refusal, value: dict[Any, Any]) -> None:
        for key, item in value.items():
            try:
                self.key.dump(key)
            except Refusal:
                refusal.path.append(" (a key)")
                return
            try:
                self.value.dump(item)
            except Refusal:
                refusal.path.append(f"[{_shown(key)}]")
                return

    def load(self, tree: Any) -> Any:
        if type(tree) is dict:
            return self._load_object(tree)
        if type(tree) is not list or self.form != "pairs":
            self.misfit(tree)
        found = {}
        for pair in tree:
            if type(pair) is not list or len(pair) != 2:
                raise Misfit("found an array whose items are no pairs of key and value")
            try:
                found[self.key.load(pair[0])] = self.value.load(pair[1])
            except TypeError as error:
                raise Misfit(f"it cannot be a key: {error}") from None
        return found

    def _load_object(self, tree: dict[str, Any]) -> Any:
        load, load_key, form = self.value.load, self.key.load, self.form
        found: dict[Any, Any] = {}
        name = ""
        try:
            if self.key.through is str:
                if all(type(item) is self.value.through for item in tree.values()):
                    return tree
                for name, item in tree.items():
                    found[name] = load(item)
                return found
            for name, item in tree.items():
                key = load_key(name if form != "number" else from_json(name))
                found[key] = load(item)
            return found
        except ValueError:
            raise Misfit("found a key that is no number") from None
        except Misfit as misfit:
            misfit.path.append(f"[{_shown(name)}]")
            raise

    def view(self, tree: Any) -> Any:
        if type(tree) is list:
            return [[self.key.view(key), self.value.view(item)] for key, item in tree]
        return {name: self.value.view(item) for name, item in tree.items()}


def _shown(key: object) -> str:
    # Keys may be personal data: only what looks like a name or a number is shown.
    if type(key) is int or (type(key) is str and key.isidentifier() and len(key) <= 40):
        return repr(key)
    return "..."
