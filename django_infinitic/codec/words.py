"""Words: how classes, values and annotations are named in error texts and in stored arms."""

from __future__ import annotations

import dataclasses
import enum
import types
from collections import OrderedDict, defaultdict
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin
from uuid import UUID

from typing_extensions import TypeAliasType

from django_infinitic.codec.places import MISSING

__all__ = [
    "arm_name",
    "class_name",
    "class_of",
    "classes_in",
    "is_model",
    "is_storable_class",
    "render",
    "shape",
    "type_name",
]

ARMS_SHOWN: Final = 3
ITEMS_SEEN: Final = 100
DEPTH_SEEN: Final = 6


def class_name(cls: type) -> str:
    """`module.Class`, without the module for builtins."""
    module = getattr(cls, "__module__", None)
    name = getattr(cls, "__qualname__", None) or repr(cls)
    return name if module in (None, "builtins") else f"{module}.{name}"


def classes_in(annotation: object) -> list[type]:
    """The classes whose instances an annotation takes: of a union those of its arms."""
    if _is_union(annotation):
        return [cls for arm in get_args(annotation) for cls in classes_in(arm)]
    origin = get_origin(annotation)
    if origin is Annotated:
        return classes_in(get_args(annotation)[0])
    cls = annotation if origin is None else origin
    return [cls] if isinstance(cls, type) else []


def arm_name(annotation: object) -> str:
    """`module.Class` of an annotation's class, under which an arm of a union is stored."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return arm_name(get_args(annotation)[0])
    cls = annotation if origin is None else origin
    if isinstance(cls, type):
        return f"{cls.__module__}.{cls.__qualname__}"
    return render(annotation)


def type_name(value: object) -> str:
    """What a value is, as words after "holds": "a shop.models.Meter", "an int", "None"."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {class_name(value)}"
    if isinstance(value, types.FunctionType):
        return "a lambda" if value.__name__ == "<lambda>" else f"the function {value.__qualname__}"
    name = class_name(type(value))
    return f"an {name}" if name in ("int", "object") else f"a {name}"


def is_model(cls: object) -> bool:
    """Whether this is a Django model class; asks by name, so that Django is not imported here."""
    return isinstance(cls, type) and any(
        base.__name__ == "Model" and base.__module__ == "django.db.models.base"
        for base in cls.__mro__
    )


def class_of(value: object) -> type:
    """The class of a value; of a lazy object of Django the class of what it has loaded, if it has.

    Never loads it, as `value.__class__` would: that may be a query.
    """
    kind = type(value)
    if any(
        base.__name__ == "LazyObject" and base.__module__ == "django.utils.functional"
        for base in kind.__mro__
    ):
        inside = type(vars(value).get("_wrapped"))
        return inside if is_model(inside) else kind
    return kind


def is_storable_class(cls: type) -> bool:
    """Whether an annotation with this class says how to store its instances."""
    return (
        cls.__module__ == "builtins"
        or dataclasses.is_dataclass(cls)
        or issubclass(cls, (enum.Enum, tuple, datetime, date, time, timedelta, Decimal, UUID))
        or issubclass(cls, (str, int, float, bytes, list, dict, set))
        or hasattr(cls, "__get_pydantic_core_schema__")
        or is_model(cls)
    )


def render(annotation: object) -> str:
    """An annotation as text, classes with their modules; arms are stored under this name."""
    if annotation is MISSING:
        return "no annotation"
    if annotation is None or annotation is types.NoneType:
        return "None"
    if isinstance(annotation, TypeAliasType):
        return render(annotation.__value__) if _is_union(annotation.__value__) else str(annotation)
    origin = get_origin(annotation)
    if origin is None or origin is annotation:
        if isinstance(annotation, type):
            return class_name(annotation)
        return str(annotation)
    args = get_args(annotation)
    if _is_union(annotation):
        return " | ".join(render(arm) for arm in args)
    if origin is Literal:
        return f"Literal[{', '.join(repr(arg) for arg in args)}]"
    if hasattr(annotation, "__metadata__"):
        return render(args[0])
    inside = ", ".join("..." if arg is Ellipsis else render(arg) for arg in args)
    return f"{render(origin)}[{inside or '()'}]"


def _is_union(annotation: object) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def shape(value: object, depth: int = 0) -> str:
    """The annotation that a value suggests, with short names: "list[Money]"."""
    kind = type(value)
    if value is None:
        return "None"
    if depth > DEPTH_SEEN:
        return "Any"
    if is_model(class_of(value)):
        return f"Ref[{class_of(value).__qualname__}]"
    if kind in (list, set, frozenset):
        items: Any = value
        return f"{kind.__name__}[{_arms(items, depth)}]"
    if kind is tuple:
        return _tuple_shape(value, depth)  # type: ignore[arg-type]
    if kind in (dict, OrderedDict, defaultdict):
        mapping: Any = value
        return f"{kind.__name__}[{_arms(mapping, depth)}, {_arms(mapping.values(), depth)}]"
    if not dataclasses.is_dataclass(kind) and not isinstance(value, enum.Enum):
        for plain in (str, int, float, bytes, datetime):
            if isinstance(value, plain) and kind is not bool:
                return plain.__name__
    return _short(kind)


def _short(kind: type) -> str:
    # Of a class defined in a function, "function.<locals>.Class", one writes the last part.
    return kind.__qualname__.rpartition("<locals>.")[2]


def _tuple_shape(value: tuple[object, ...], depth: int) -> str:
    shapes = [shape(item, depth + 1) for item in value[:ITEMS_SEEN]]
    if not shapes:
        return "tuple[()]"
    if len(shapes) > ARMS_SHOWN and len(set(shapes)) == 1:
        return f"tuple[{shapes[0]}, ...]"
    return f"tuple[{', '.join(shapes)}]"


def _arms(items: Any, depth: int) -> str:
    found: dict[str, None] = {}
    for index, item in enumerate(items):
        if index == ITEMS_SEEN:
            break
        found[shape(item, depth + 1)] = None
    if not found or len(found) > ARMS_SHOWN:
        return "Any"
    return " | ".join(sorted(found, key=lambda name: name == "None"))
