"""References to rows, as values that workflows may keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeVar, get_args

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.functional import LazyObject, empty
from pydantic_core import core_schema

from django_infinitic.authoring import runtime
from django_infinitic.exceptions import DatabaseAccessError, UsageError

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler

M = TypeVar("M", bound=models.Model)
N = TypeVar("N", bound=models.Model)

_PLAIN: Final = (int, str)  # what JSON keeps as it is; other keys travel as text


class Ref(Generic[M]):
    """A reference to a saved row: `Ref(order)`, annotated `Ref[Order]`, stored as its primary key.

    A lazy object such as `request.user` is unwrapped. Two are equal when model and key are. The
    row is read by `get()`, `aget()` or `queryset()`, not in workflow code: load it in a task.
    """

    __slots__ = ("_model", "_pk")

    _model: type[M]
    _pk: Any

    def __init__(self, instance: M) -> None:
        found: Any = instance
        while isinstance(found, LazyObject):
            if found._wrapped is empty:
                found._setup()
            found = found._wrapped
        if not isinstance(found, models.Model):
            raise UsageError(
                f"Ref() takes a saved row of a model, not {found!r} ({type(found).__name__})."
            )
        if found.pk is None or found._state.adding:
            raise UsageError(
                f"Ref() got a {found._meta.label} that is not saved, so nothing can be referred "
                "to. Save it first."
            )
        object.__setattr__(self, "_model", type(found))
        object.__setattr__(self, "_pk", found.pk)

    @classmethod
    def of(cls, model: type[N], pk: Any) -> Ref[N]:
        """A reference by model and primary key, without looking whether there is such a row."""
        ref: Ref[Any] = object.__new__(cls)
        object.__setattr__(ref, "_model", model)
        object.__setattr__(ref, "_pk", pk)
        return ref

    @property
    def model(self) -> type[M]:
        """The model."""
        return self._model

    @property
    def pk(self) -> Any:
        """The primary key."""
        return self._pk

    @property
    def tag(self) -> str:
        """`shop.order:42`: how the row is called in tags and custom ids."""
        tree = _to_json(self._pk)
        key = ",".join(map(str, tree)) if isinstance(tree, list) else tree
        return f"{self._model._meta.label_lower}:{key}"

    def get(self) -> M:
        """The row, read now; `Model.DoesNotExist` when it is gone."""
        return self.queryset().get()

    async def aget(self) -> M:
        """`get()` for async code."""
        return await self.queryset().aget()

    def queryset(self) -> models.QuerySet[M]:
        """The row as a queryset of the base manager, to lock, update or select from it."""
        if runtime.current() is not None:
            raise DatabaseAccessError(
                f"{self!r} was read in workflow code. A replay would read another row. Hand the "
                "Ref to a task and read the row there, or wrap it in self.inline(...)."
            )
        found: models.QuerySet[M] = self._model._base_manager.filter(pk=self._pk)
        return found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ref):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, Any]:
        return self._model._meta.concrete_model, self._pk

    def __repr__(self) -> str:
        return f"Ref({self.tag})"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"A Ref cannot be changed ({name}); make another one.")

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (type(self), self._model, self._pk)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        model = next(iter(get_args(source)), None)
        if not (isinstance(model, type) and issubclass(model, models.Model)):
            raise TypeError("Ref needs its model in an annotation: Ref[Order].")

        def load(tree: Any) -> Ref[Any]:
            try:
                return cls.of(model, _from_json(model, tree))
            except ValidationError as error:
                raise ValueError(f"no primary key of {model._meta.label}: {error}") from None

        def check(value: Any) -> Ref[Any]:
            if not isinstance(value, Ref):
                raise ValueError(f"a Ref is expected, not a {type(value).__name__}")
            if value._key()[0] is not model._meta.concrete_model:
                raise ValueError(
                    f"a Ref[{model._meta.label}] is expected, not one of {value._model._meta.label}"
                )
            return value

        return core_schema.json_or_python_schema(
            json_schema=core_schema.no_info_plain_validator_function(load),
            python_schema=core_schema.no_info_plain_validator_function(check),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda ref: _to_json(check(ref)._pk)
            ),
        )


def _remade(kind: type[Ref[Any]], model: type[Any], pk: Any) -> Ref[Any]:
    return kind.of(model, pk)


def _key_fields(model: type[models.Model]) -> list[Any] | None:
    """The fields of a composite primary key; None for an ordinary one."""
    field: Any = model._meta.pk
    return list(field.fields) if isinstance(field, models.CompositePrimaryKey) else None


def _to_json(pk: Any) -> Any:
    if isinstance(pk, tuple):
        return [_part_to_json(part) for part in pk]
    return _part_to_json(pk)


def _part_to_json(value: Any) -> Any:
    return value if type(value) in _PLAIN else str(value)


def _from_json(model: type[models.Model], tree: Any) -> Any:
    fields = _key_fields(model)
    if fields is None:
        if type(tree) not in _PLAIN:
            raise ValueError(f"a primary key of {model._meta.label} is no {type(tree).__name__}")
        return model._meta.pk.to_python(tree)
    if not isinstance(tree, list) or len(tree) != len(fields):
        raise ValueError(f"a primary key of {model._meta.label} has {len(fields)} parts")
    return tuple(field.to_python(part) for field, part in zip(fields, tree, strict=True))
