"""The tape of a method run: what it asks for, recorded, or compared with the record."""

from __future__ import annotations

import hashlib
import random as randoms
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn, cast

from django.utils import timezone

from django_infinitic.authoring import runtime
from django_infinitic.authoring.deferred import Deferred
from django_infinitic.authoring.policy import duration_seconds
from django_infinitic.authoring.workflow import Workflow, WorkflowContext
from django_infinitic.exceptions import (
    Canceled,
    UsageError,
    WorkflowChangedError,
)
from django_infinitic.fibres.checks import described, difference
from django_infinitic.fibres.fibre import Fibre, FibreDropped
from django_infinitic.fibres.guard import place_of_user_code
from django_infinitic.fibres.properties import Properties
from django_infinitic.fibres.times import MICROS, micros_of
from django_infinitic.machine.messages import load_meta
from django_infinitic.machine.state import (
    Instance,
    Method,
    Receive,
    Segment,
)
from django_infinitic.machine.waits import Wait, same_tree
from django_infinitic.registry import MethodSpec, WorkflowSpec

if TYPE_CHECKING:
    from django_infinitic.authoring.runtime import MethodRun


class Escape:
    """What a fibre gives when its method stalls without unwinding: user code never sees it."""

    __slots__ = ("error", "saga")

    def __init__(self, error: BaseException, saga: bool = False) -> None:
        self.error = error
        self.saga = saga


class Issued:
    """What a run knows of a command beyond the machine: how its result is decoded and raised."""

    __slots__ = ("decode", "kind", "raises", "what")

    def __init__(
        self,
        kind: str,
        decode: Callable[[str], Any],
        raises: tuple[type[Exception], ...] = (),
        what: str = "",
    ) -> None:
        self.kind = kind
        self.decode = decode
        self.raises = raises
        self.what = what


class Tape:
    """The part of a method run that knows its fibre, its position and its record."""

    def __init__(
        self, state: Instance, method: Method, spec: WorkflowSpec, method_spec: MethodSpec
    ) -> None:
        self.state = state
        self.method = method
        self.spec = spec
        self.method_spec = method_spec
        self.class_name = spec.cls.__name__
        self.method_attribute = method_spec.attribute
        self.context = WorkflowContext(
            workflow_id=state.id,
            workflow_name=state.workflow,
            version=spec.version,
            method_id=method.id,
            method_name=method.name,
            tags=state.tags
            | ({f"customId:{state.custom_id}"} if state.custom_id is not None else frozenset()),
            meta=load_meta(state.meta),
        )
        seed = hashlib.blake2b(f"{state.id}|{method.id}".encode()).digest()
        self.random = randoms.Random(seed)
        self._uuids = randoms.Random(seed + b"uuid")
        self.instance: Workflow | None = None
        self.properties = Properties(spec)
        self.step = 0
        self.at = 0
        self.script: Segment | None = None
        self.canceled = False
        self.changed: WorkflowChangedError | None = None
        self._fibre: Fibre | None = None
        self._dropped = 0
        self._starting = False
        self._shields = 0
        self.open_sagas = 0
        self._waits = 0
        self._positions = 0
        self._issued: dict[int, Issued] = {}
        self._receives: dict[int, Receive] = {}
        self._closed: dict[int, int] = {}
        self._early: dict[int, int] = {}
        self._patches: dict[str, bool] = {}
        self._recorded_patches: set[str] = set()
        self._begin_records()

    def _alive(self, what: str = "A command") -> None:
        here = runtime.present()
        if here is not cast("MethodRun", self):
            where = "outside the fibre of its method (in a thread, or after its end?)"
            raise UsageError(
                f"{what} was used {where if here is None else 'in another method run'}. A deferred "
                "belongs to the method that made it."
            )
        if self._dropped:
            self._dropped += 1
            if self._dropped > 100 and self._fibre is not None:
                self._fibre.suspend(None)  # it swallows everything: never to be resumed
            raise FibreDropped
        runtime.refuse_in_inline(what)
        if self._starting:
            raise UsageError(
                f"{what} in {self.class_name}.__init__: it runs for each method of the instance, "
                "so it may set attributes only. Move it to the method."
            )
        if self._fibre is None or not self._fibre.current:
            raise UsageError(f"{what} was used outside the fibre of its method (in a thread?).")

    def _command(self, kind: str, name: str, data: dict[str, Any]) -> int:
        self._alive()
        position = self._positions + 1
        if self.script is not None:
            number = len(self.commands)
            recorded = self.script.commands[number] if number < len(self.script.commands) else None
            text = difference(self.method_spec.check_mode, recorded, [kind, name, data])
            if text is not None:
                self._changed(f"command {position} was {text[0]} when it first ran", text[1])
            if recorded is not None:
                data = recorded[2]
        self._positions = position
        self.commands.append([kind, name, data])
        return position

    @property
    def position(self) -> int:
        """The position of the last command."""
        return self._positions

    def _changed(self, was: str, now: str) -> NoReturn:
        self.changed = WorkflowChangedError(
            f"{self.class_name}.{self.method_attribute} changed under a running instance: {was}, "
            f"the code now asks for {now} ({place_of_user_code()}). Restore the order, or register "
            f"this code as version={self.spec.version + 1}."
        )
        self._leave(Escape(self.changed))

    def _leave(self, escape: Escape) -> NoReturn:
        assert self._fibre is not None
        self._fibre.suspend(escape)
        raise FibreDropped  # it is only ever dropped

    def _suspend(self, wait: Wait) -> str:
        assert self._fibre is not None
        if self.script is not None:
            expected = None if self.script.wait is None else self.script.wait
            if len(self.commands) < len(self.script.commands):
                missing = self.script.commands[len(self.commands)]
                self._changed(
                    f"command {self._positions + 1} was {described(missing)} when it first ran",
                    "a wait",
                )
            if expected is None or not same_tree(expected[1], wait.node):
                self._changed("the wait was for other commands when it first ran", "this wait")
        wake = self._fibre.suspend(wait)
        if self._dropped:
            raise FibreDropped
        if wake == "cancel":
            self.canceled = self._told = True
            raise Canceled("the method is being canceled")
        return str(wake)

    def _deferred(self, position: int) -> Deferred[Any]:
        return Deferred(cast("MethodRun", self), position)

    def _mine(self, deferred: Deferred[Any], what: str) -> None:
        self._alive(what)
        if deferred._run is not cast("MethodRun", self):
            raise UsageError(
                f"{what} was used on a deferred of another method run. A deferred belongs to the "
                "method that made it."
            )

    def _due(self, when: Any, what: str) -> int:
        if isinstance(when, datetime):
            if timezone.is_naive(when):
                raise UsageError(
                    f"{what} got the naive datetime {when.isoformat()}. Give an aware one: "
                    "django.utils.timezone.make_aware(...)."
                )
            return micros_of(when)
        if isinstance(when, timedelta):
            return self.at + max(0, round(when / timedelta(microseconds=1)))
        if isinstance(when, int | float) and not isinstance(when, bool) and when <= 0:
            return self.at
        return self.at + round(duration_seconds(when, what) * MICROS)

    def _begin_records(self) -> None:
        self.commands: list[list[Any]] = []
        self.records: list[list[Any]] = []
        self.takes: list[list[Any]] = []
        self.given: list[int] = []
        self._taken: set[int] = set()
        self._next_record = 0
        self._told = False
