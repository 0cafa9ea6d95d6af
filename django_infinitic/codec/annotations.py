"""Annotations: from what is written to the tree of nodes that encodes it."""

from __future__ import annotations

import collections.abc as abc
import dataclasses
import enum
import types
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    ForwardRef,
    Literal,
    NewType,
    NotRequired,
    Required,
    TypeVar,
    Union,
    get_args,
    get_origin,
)

import annotated_types
from pydantic import BaseModel, Discriminator, RootModel, Tag
from pydantic.fields import FieldInfo
from typing_extensions import (
    ReadOnly,
    TypeAliasType,
    is_typeddict,
)

from django_infinitic.codec.choices import EnumNode, LiteralNode
from django_infinitic.codec.containers import (
    DictNode,
    ListNode,
    SetNode,
    TupleNode,
    VariadicTupleNode,
)
from django_infinitic.codec.foreign import ForeignNode, Unsupported
from django_infinitic.codec.hints import UnresolvedHint, class_hints, resolved, typed_dict_hints
from django_infinitic.codec.models import ModelNode, RootModelNode
from django_infinitic.codec.node import Node
from django_infinitic.codec.places import MISSING
from django_infinitic.codec.plain import SCALARS
from django_infinitic.codec.records import (
    REQUIRED,
    DataclassNode,
    Field,
    NamedTupleNode,
    RecordNode,
    TypedDictNode,
)
from django_infinitic.codec.unions import ArmsNode, OptionalNode, UnionNode
from django_infinitic.codec.untyped import UNTYPED
from django_infinitic.codec.words import class_name, is_model, render

__all__ = ["ModelAnnotation", "compile_annotation", "is_union"]

_SEQUENCES: Final = (
    list,
    abc.Sequence,
    abc.MutableSequence,
    abc.Collection,
    abc.Iterable,
)
_SETS: Final = {set: set, frozenset: frozenset, abc.Set: set, abc.MutableSet: set}
_MAPPINGS: Final = (dict, abc.Mapping, abc.MutableMapping)
_QUALIFIERS: Final = (Final, ClassVar, Required, NotRequired, ReadOnly)


class ModelAnnotation(Exception):
    """Raised inside the codec: the annotation names a Django model."""

    def __init__(self, model: type) -> None:
        super().__init__(class_name(model))
        self.model = model


def compile_annotation(annotation: Any) -> Node:
    """The node of an annotation, arms at its top included.

    Raises `Unsupported`, `ModelAnnotation` or `UnresolvedHint`.
    """
    node = Compiler().node(annotation)
    return ArmsNode(node) if isinstance(node, UnionNode) else node


def is_union(annotation: Any) -> bool:
    """Whether this is `A | B`, `Union[A, B]` or `Optional[A]`."""
    return get_origin(annotation) in (Union, types.UnionType)


class Compiler:
    """Makes the nodes of one annotation; what is met again, in itself too, is the same node."""

    def __init__(self) -> None:
        self._known: dict[Any, Node] = {}

    def node(self, annotation: Any) -> Node:
        """The node of this annotation or part of one."""
        try:
            known = self._known.get(annotation)
        except TypeError:  # unhashable metadata
            return self._make(annotation)
        if known is None:
            known = self._make(annotation)
            self._known[annotation] = known
        return known

    def _make(self, annotation: Any) -> Node:
        if annotation is MISSING or annotation is Any or annotation is object:
            return UNTYPED
        if annotation is None:
            return SCALARS[type(None)]
        if isinstance(annotation, (str, ForwardRef)):
            raise UnresolvedHint(str(annotation), NameError("it is a text"))
        if isinstance(annotation, TypeVar):
            return self._variable(annotation)
        if isinstance(annotation, NewType):
            return self.node(annotation.__supertype__)
        if isinstance(annotation, TypeAliasType):
            return self._alias(annotation, resolved(annotation.__value__, annotation))
        origin = get_origin(annotation)
        if origin is None:
            return self._class(annotation, annotation, ())
        return self._generic(annotation, origin, get_args(annotation))

    def _variable(self, variable: TypeVar) -> Node:
        if variable.__constraints__:
            return self.node(Union[variable.__constraints__])  # noqa: UP007
        return UNTYPED if variable.__bound__ is None else self.node(variable.__bound__)

    def _alias(self, annotation: Any, value: Any) -> Node:
        link = LinkNode(annotation)
        self._known[annotation] = link
        link.target = self.node(value)
        return link.target

    def _generic(self, annotation: Any, origin: Any, args: tuple[Any, ...]) -> Node:
        if is_union(annotation):
            return self._union(annotation, args)
        if origin is Annotated:
            return self._annotated(annotation, args[0], annotation.__metadata__)
        if origin is Literal:
            return LiteralNode(annotation, args)
        if origin in _QUALIFIERS:
            return self.node(args[0])
        if isinstance(origin, TypeAliasType):
            return self._alias(annotation, resolved(origin.__value__, origin)[args])
        if isinstance(origin, type):
            return self._class(annotation, origin, args)
        return ForeignNode(annotation)

    # -- unions and metadata

    def _union(self, annotation: Any, args: tuple[Any, ...]) -> Node:
        arms = {id(node): node for node in self._arms(args)}
        nothing = SCALARS[type(None)]
        others = [node for node in arms.values() if node is not nothing]
        if len(others) == 1:
            return OptionalNode(annotation, others[0]) if len(arms) > 1 else others[0]
        if len(others) < len(arms):
            others.append(nothing)
        return UnionNode(annotation, tuple(others))

    def _arms(self, args: tuple[Any, ...]) -> list[Node]:
        found: list[Node] = []
        for arg in args:
            node = self.node(arg)
            if isinstance(node, UnionNode):
                found.extend(node.arms)
            elif isinstance(node, OptionalNode):
                found.extend((node.inner, SCALARS[type(None)]))
            else:
                found.append(node)
        return found

    def _annotated(self, annotation: Any, inner: Any, metadata: tuple[Any, ...]) -> Node:
        plain: Node | None
        try:
            plain = self.node(inner)
        except Unsupported:
            plain = None
        if plain is None:
            return ForeignNode(annotation)
        return ForeignNode(annotation, plain) if any(map(_constrains, metadata)) else plain

    # -- classes

    def _class(self, annotation: Any, cls: Any, args: tuple[Any, ...]) -> Node:
        if cls in SCALARS:
            return SCALARS[cls]
        if not isinstance(cls, type):
            return ForeignNode(annotation)
        if cls in _SEQUENCES:
            return ListNode(annotation, self.node(args[0] if args else MISSING))
        if cls in _SETS:
            return SetNode(annotation, self.node(args[0] if args else MISSING), _SETS[cls])
        if cls is tuple:
            return self._tuple(annotation, args)
        if cls in _MAPPINGS:
            return self._dict(annotation, args)
        if is_model(cls):
            raise ModelAnnotation(cls)
        if is_typeddict(cls):
            return self._typed_dict(annotation, cls, args)
        if issubclass(cls, enum.Enum):
            return EnumNode(cls)
        if issubclass(cls, BaseModel):
            return self._model(annotation, cls)
        if "__get_pydantic_core_schema__" in _names(cls):
            return ForeignNode(annotation)
        if issubclass(cls, tuple) and hasattr(cls, "_fields"):
            return self._named_tuple(annotation, cls, args)
        if dataclasses.is_dataclass(cls):
            if not _is_plain_class(cls):
                raise Unsupported(render(annotation))  # it holds more than its fields
            return self._dataclass(annotation, cls, args)
        return ForeignNode(annotation)

    def _tuple(self, annotation: Any, args: tuple[Any, ...]) -> Node:
        if not args and annotation is tuple:
            return VariadicTupleNode(annotation, UNTYPED)
        if len(args) == 2 and args[1] is Ellipsis:
            return VariadicTupleNode(annotation, self.node(args[0]))
        if args == ((),):  # typing.Tuple[()] of older Pythons
            args = ()
        return TupleNode(annotation, tuple(self.node(arg) for arg in args))

    def _dict(self, annotation: Any, args: tuple[Any, ...]) -> Node:
        key, value = args or (str, MISSING)
        node = self.node(key)
        return DictNode(annotation, SCALARS[str] if node is UNTYPED else node, self.node(value))

    def _remember(self, annotation: Any, node: RecordNode) -> None:
        # Before the fields are looked at, which may lead back to it.
        self._known[annotation] = node

    def _dataclass(self, annotation: Any, cls: type, args: tuple[Any, ...]) -> Node:
        node = DataclassNode(annotation, cls)
        self._remember(annotation, node)
        hints = class_hints(cls, args)
        fields = []
        for field in dataclasses.fields(cls):
            default: Any = REQUIRED
            if isinstance(field.default, FieldInfo):  # a dataclass of pydantic
                default = REQUIRED if field.default.is_required() else _model_default(field.default)
            elif field.default is not dataclasses.MISSING:
                default = _constant(field.default)
            elif field.default_factory is not dataclasses.MISSING:
                default = field.default_factory
            fields.append(Field(field.name, self.node(hints.get(field.name, Any)), default))
        node.complete(fields)
        return node

    def _named_tuple(self, annotation: Any, cls: Any, args: tuple[Any, ...]) -> Node:
        node = NamedTupleNode(annotation, cls)
        self._remember(annotation, node)
        hints = class_hints(cls, args)
        defaults = cls._field_defaults
        node.complete(
            [
                Field(
                    name,
                    self.node(hints.get(name, MISSING)),
                    _constant(defaults[name]) if name in defaults else REQUIRED,
                )
                for name in cls._fields
            ]
        )
        return node

    def _typed_dict(self, annotation: Any, cls: Any, args: tuple[Any, ...]) -> Node:
        node = TypedDictNode(annotation, cls)
        self._remember(annotation, node)
        hints = typed_dict_hints(cls, args)
        node.complete(
            [Field(name, self.node(hint)) for name, hint in hints.items()],
            frozenset(name for name, hint in hints.items() if _may_miss(cls, name, hint)),
        )
        return node

    def _model(self, annotation: Any, cls: type[BaseModel]) -> Node:
        try:
            cls.model_rebuild()
        except Exception as error:  # a name in it does not exist
            raise UnresolvedHint(cls.__qualname__, error) from error
        if issubclass(cls, RootModel):
            root = RootModelNode(annotation, cls)
            self._known[annotation] = root
            root.root = self._model_field(cls.model_fields["root"])
            return root
        node = ModelNode(annotation, cls)
        self._remember(annotation, node)
        fields = [
            Field(
                name,
                self._model_field(info),
                REQUIRED if info.is_required() else _model_default(info),
            )
            for name, info in cls.model_fields.items()
        ]
        node.complete(fields, UNTYPED if cls.model_config.get("extra") == "allow" else None)
        return node

    def _model_field(self, info: FieldInfo) -> Node:
        annotation: Any = info.annotation
        try:
            return self.node(annotation)
        except Unsupported:
            # Then its metadata says how: a validator and a serializer, say.
            if not info.metadata:
                raise
            return ForeignNode(Annotated[(annotation, *info.metadata)])


class LinkNode(Node):
    """Stands for an alias within itself; `target` is set once it is known."""

    def __init__(self, annotation: object) -> None:
        self.annotation = annotation
        self.target: Node = self

    @property
    def kinds(self) -> frozenset[str]:  # type: ignore[override]
        return self.target.kinds

    @property
    def classes(self) -> frozenset[type] | None:  # type: ignore[override]
        return self.target.classes

    @property
    def opaque(self) -> bool:  # type: ignore[override]
        return self.target.opaque

    def children(self) -> tuple[Node, ...]:
        return (self.target,)

    def fits(self, tree: Any) -> bool:
        return self.target.fits(tree)

    def takes(self, value: object) -> bool:
        return self.target.takes(value)

    def dump(self, value: Any) -> Any:
        return self.target.dump(value)

    def load(self, tree: Any) -> Any:
        return self.target.load(tree)

    def view(self, tree: Any) -> Any:
        return self.target.view(tree)


def _is_plain_class(cls: type) -> bool:
    return all(base is object or base.__module__ != "builtins" for base in cls.__mro__)


def _may_miss(cls: Any, name: str, hint: Any) -> bool:
    # Where annotations are texts, the class itself does not know what is NotRequired.
    while (origin := get_origin(hint)) in (*_QUALIFIERS, Annotated):
        if origin in (Required, NotRequired):
            return origin is NotRequired
        hint = get_args(hint)[0]
    return name not in cls.__required_keys__


def _constant(value: Any) -> Any:
    return lambda: value


def _model_default(info: FieldInfo) -> Any:
    factory: Any = info.default_factory
    if factory is None:
        return info.get_default
    return (
        factory
        if not getattr(info, "default_factory_takes_validated_data", False)
        else (lambda: factory({}))
    )


def _names(cls: type) -> set[str]:
    return {name for base in cls.__mro__ for name in vars(base)}


def _constrains(metadata: Any) -> bool:
    """Whether this metadata means something to pydantic beyond documentation."""
    if isinstance(metadata, (Discriminator, Tag)):  # arms are found without their help
        return False
    if isinstance(metadata, FieldInfo):
        return bool(metadata.metadata)
    return isinstance(
        metadata, (annotated_types.BaseMetadata, annotated_types.GroupedMetadata)
    ) or hasattr(metadata, "__get_pydantic_core_schema__")
