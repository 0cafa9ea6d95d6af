"""Classes that values of the tests are made of."""

from __future__ import annotations

import enum
from collections import namedtuple
from dataclasses import InitVar, dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, TypeVar

import pydantic.dataclasses
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, RootModel
from typing_extensions import TypedDict

from django_infinitic.codec import Place

PLACE = Place("property", "TravelBooking", "booked")

T = TypeVar("T")


class Text(str):
    """As Django's `SafeString`: `str()` of it is one again."""

    __slots__ = ()

    def __str__(self) -> str:
        return self


class Status(str, enum.Enum):  # noqa: UP042
    """As a member of Django's `TextChoices`."""

    OPEN = "open"
    DONE = "done"


class Priority(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Corner(enum.Enum):
    HERE = (0, 0)
    THERE = (1, 1)


class Handler(enum.Enum):
    """Its values are no plain values."""

    A = object()
    B = object()


class Rights(enum.Flag):
    READ = 1
    WRITE = 2
    RUN = 4


@dataclass(frozen=True)
class Money:
    amount: Decimal
    currency: str = "EUR"


@dataclass(frozen=True)
class Meter:
    length: int


@dataclass(frozen=True)
class Foot:
    length: int


@dataclass(frozen=True)
class LongMeter(Meter):
    pass


@dataclass(frozen=True)
class Card:
    number: str
    kind: Literal["card"] = "card"


@dataclass(frozen=True)
class Cash:
    number: str
    kind: Literal["cash"] = "cash"


@dataclass
class Cart:
    owner: str
    items: list[Money] = field(default_factory=list)
    due: date | None = None
    status: Status = Status.OPEN


@dataclass
class Tree:
    value: int
    children: list[Tree] = field(default_factory=list)


@dataclass
class Box(Generic[T]):
    content: T
    others: list[T]


@dataclass
class MoneyBox(Box[Money]):
    label: str


@dataclass(slots=True)
class Slotted:
    number: int
    name: str = "x"


@dataclass
class Normalized:
    """Its `__post_init__` changes nothing the second time."""

    code: str
    length: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.code = self.code.upper()
        self.length = len(self.code)
        self.seen = True


@dataclass
class Doubling:
    number: int

    def __post_init__(self) -> None:
        self.number *= 2


@dataclass
class Holder:
    inside: Doubling | None
    deeper: Holder | None = None


@dataclass
class WithInitVar:
    number: int
    start: InitVar[int] = 0

    def __post_init__(self, start: int) -> None:
        self.number += start


@dataclass(eq=False)
class Identity:
    """Instances are equal to themselves only."""

    number: int


class Plain:
    """No dataclass."""


class Point(NamedTuple):
    x: int
    y: int = 0
    label: Status = Status.OPEN


Pair = namedtuple("Pair", "left right")


class Address(TypedDict):
    street: str
    built: date
    number: NotRequired[int]


class Loose(TypedDict, total=False):
    street: str


class Order(BaseModel):
    number: int
    placed: datetime
    items: list[Money] = []
    token: bytes = b""
    status: Status = Status.OPEN
    payload: dict[str, Any] = Field(default_factory=dict, alias="data")


class Noted(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)
    name: str


class Secretive(BaseModel):
    name: str
    _cache: str = PrivateAttr(default="empty")


class Codes(RootModel[list[Annotated[str, Field(max_length=3)]]]):
    pass


class Page(BaseModel, Generic[T]):
    items: list[T]


@pydantic.dataclasses.dataclass
class Validated:
    number: int = Field(gt=0)
    parts: list[Meter] = Field(default_factory=list)


class Celsius:
    """Says by itself how it is stored, as `Ref` does."""

    def __init__(self, degrees: int) -> None:
        self.degrees = degrees

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Celsius) and self.degrees == other.degrees

    def __hash__(self) -> int:
        return hash(self.degrees)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            lambda tree: tree if isinstance(tree, Celsius) else Celsius(tree),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value: value.degrees
            ),
        )


class NoSchema(Generic[T]):
    """Its schema refuses what has no argument, as that of `Ref` does."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        raise TypeError("NoSchema needs its model.")


def model_class() -> type:
    """A class that looks like a Django model, without Django."""
    base = type("Model", (), {"__module__": "django.db.models.base"})
    return type("Invoice", (base,), {"__module__": "shop.models"})
