"""Places: where a value is, in the words of an error text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["MISSING", "Missing", "Place"]


class Missing:
    """The class of `MISSING`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING: Final = Missing()
"""Stands for an annotation that is not there; `Any` and `object` count as none too."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value is, for error texts; `str()` of it is how they call it.

    `kind` is "property", "parameter", "result", "message", "outcome" or another noun; `owner` the
    class ("TravelBooking") or the task or method ("travel.CarRental.book"); `name` the attribute,
    parameter or channel. `line`, for parameters and results, is the line to write, with `{}` for
    the annotation: "def book(self, cart: {})".
    """

    kind: str
    owner: str
    name: str = ""
    line: str = ""

    def __str__(self) -> str:
        if self.kind == "property":
            return f"{self.owner}.{self.name}"
        if self.kind == "result":
            return f"the result of {self.owner}" + (f"({self.name})" if self.name else "")
        if self.kind == "message":
            return f"a message on {self.owner}.{self.name}"
        return (
            f"{self.kind} {self.name} of {self.owner}"
            if self.name
            else (f"{self.kind} of {self.owner}")
        )

    def at(self, path: str) -> str:
        """The place of a part, `path` being like ".legs[0].price"; empty for the whole."""
        if not path:
            return str(self)
        return f"{self}{path}" if self.kind == "property" else f"{self} (at {path.lstrip('.')})"

    def line_for(self, annotation: str) -> str:
        """The sentence that says what to write, so that the value has this annotation."""
        if self.kind == "property":
            return (
                f"Write in the class body: {self.name}: {annotation}. "
                "(The annotation in __init__ does not exist at run time.)"
            )
        if self.kind in ("parameter", "result"):
            called = self.name if self.kind == "result" and self.name else self.owner
            method = called.rpartition(".")[2]
            line = self.line or (
                f"def {method}(self, {self.name}: {{}})"
                if self.kind == "parameter"
                else f"def {method}(...) -> {{}}"
            )
            return f"Write: {line.replace('{}', annotation)}"
        if self.kind == "message":
            typed = f"[{annotation}]()" if "|" in annotation else f"({annotation})"
            return f"Write in the class body: {self.name} = Channel{typed}"
        return f"Annotate it as {annotation}."
