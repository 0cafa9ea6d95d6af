"""Models of pydantic. As other records they are restored, so that validators do not run again;
aliases and serializers do not matter here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pydantic import RootModel

from django_infinitic.codec.node import Node
from django_infinitic.codec.records import Field, RecordNode
from django_infinitic.codec.refusals import Misfit
from django_infinitic.codec.words import class_name

__all__ = ["ModelNode", "RootModelNode"]

_new: Final = object.__new__
_set: Final = object.__setattr__


class ModelNode(RecordNode):
    """A pydantic model; aliases and serializers do not matter here."""

    def complete(self, fields: Sequence[Field], extra: Node | None = None) -> None:
        """As for any record; `extra` is for what a model with `extra="allow"` holds."""
        super().complete(fields)
        self._extra = extra
        self._names = frozenset(field.name for field in self.fields)
        cls: Any = self.cls
        self.unsure = bool(cls.__pydantic_post_init__)
        self._private = bool(cls.__private_attributes__)
        self.opaque = extra is not None
        self.plain = extra is None

    def children(self) -> tuple[Node, ...]:
        extra = (self._extra,) if self._extra is not None else ()
        return super().children() + extra

    def dump(self, value: Any) -> Any:
        tree = super().dump(value)
        if self._extra is not None:
            for name, item in (value.__pydantic_extra__ or {}).items():
                tree[name] = self._extra.dump(item)
        if self._private:
            self._check_private(value, tree)
        return tree

    def _check_private(self, value: Any, tree: Any) -> None:
        found = self.load(tree)
        if value.__pydantic_private__ != found.__pydantic_private__:
            self.refuse(
                value,
                f"holds a {class_name(self.cls)} with private attributes, which are not stored. "
                "Make them fields.",
            )

    def load(self, tree: Any) -> Any:
        values = self.load_fields(tree)
        extra = None
        if self._extra is not None:
            extra = {
                name: self._extra.load(item)
                for name, item in tree.items()
                if name not in self._names
            }
        return self._restore(values, extra)

    def _restore(self, values: dict[str, Any], extra: dict[str, Any] | None) -> Any:
        instance: Any = _new(self.cls)
        _set(instance, "__dict__", values)
        _set(instance, "__pydantic_fields_set__", set(values))
        _set(instance, "__pydantic_extra__", extra)
        _set(instance, "__pydantic_private__", None)
        if self.unsure:
            try:
                instance.model_post_init(None)
            except Exception as error:
                raise Misfit(
                    f"{class_name(self.cls)}.model_post_init raised {type(error).__name__}"
                ) from error
        return instance

    def view(self, tree: Any) -> Any:
        seen = super().view(tree)
        if self._extra is not None:
            for name, item in tree.items():
                if name not in self._names:
                    seen[name] = self._extra.view(item)
        return seen


class RootModelNode(Node):
    """A `RootModel`: stored as what it holds."""

    def __init__(self, annotation: object, cls: type[RootModel[Any]]) -> None:
        self.annotation = annotation
        self.cls = cls
        self.classes = frozenset({cls})
        self.root: Node = Node()

    @property
    def kinds(self) -> frozenset[str]:  # type: ignore[override]
        return self.root.kinds

    @property
    def opaque(self) -> bool:  # type: ignore[override]
        return self.root.opaque

    def children(self) -> tuple[Node, ...]:
        return (self.root,)

    def dump(self, value: Any) -> Any:
        if type(value) is not self.cls:
            self.refuse(value)
        return self.root.dump(value.root)

    def load(self, tree: Any) -> Any:
        instance: Any = _new(self.cls)
        _set(instance, "__dict__", {"root": self.root.load(tree)})
        _set(instance, "__pydantic_fields_set__", {"root"})
        return instance

    def view(self, tree: Any) -> Any:
        return self.root.view(tree)
