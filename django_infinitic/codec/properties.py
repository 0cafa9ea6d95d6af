"""Properties: what is annotated in a class body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, get_origin

from django_infinitic.codec.hints import UnresolvedHint, own_hints, resolved
from django_infinitic.codec.values import ValueCodec, codec_for

__all__ = ["property_codecs"]


def property_codecs(cls: type) -> dict[str, ValueCodec]:
    """Name to codec of what is annotated in a class body, base classes included.

    `ClassVar`s are left out. An annotation that cannot be resolved yet is tried again at the first
    use of its codec.
    """
    found: dict[str, ValueCodec] = {}
    for name, (raw, owner) in own_hints(cls).items():
        if isinstance(raw, str) and raw.replace("typing.", "").startswith("ClassVar"):
            continue
        try:
            annotation = resolved(raw, owner)
        except UnresolvedHint:
            found[name] = ValueCodec(raw, _later(raw, owner))
            continue
        if _is_class_var(annotation):
            found.pop(name, None)
            continue
        found[name] = codec_for(annotation)
    return found


def _later(raw: Any, owner: Any) -> Callable[[], Any]:
    return lambda: resolved(raw, owner)


def _is_class_var(annotation: Any) -> bool:
    return annotation is ClassVar or get_origin(annotation) is ClassVar
