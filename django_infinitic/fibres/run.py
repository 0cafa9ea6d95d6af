"""A run of one workflow method: its code in a fibre, live or replayed.

`segment` runs the code from one wait to the next. With a recorded segment as script it checks each
command against the record and gives back what was recorded; without one it records.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Coroutine, Iterator
from datetime import datetime
from typing import Any, NoReturn
from uuid import UUID

from django.utils import timezone, translation

from django_infinitic.authoring import runtime
from django_infinitic.authoring.workflow import Workflow
from django_infinitic.exceptions import (
    SerializationError,
    UsageError,
)
from django_infinitic.fibres.commands import Commands
from django_infinitic.fibres.fibre import Fibre, FibreDropped, Finished
from django_infinitic.fibres.guard import (
    after_segment,
    before_segment,
    place_of_await,
    place_of_error,
    raised_by,
)
from django_infinitic.fibres.tape import Escape
from django_infinitic.fibres.times import moment
from django_infinitic.machine.state import (
    Segment,
)
from django_infinitic.machine.waits import Wait, Waiting


class MethodRun(Commands):
    """One method of one instance while its code is alive."""

    def segment(
        self,
        *,
        step: int,
        at: int,
        wake: str,
        takes: tuple[tuple[int, Waiting], ...] = (),
        script: Segment | None = None,
    ) -> Finished | Wait | Escape:
        """Run the code from its start or its last wait to the next wait or its end."""
        self._begin_records()
        self.script = script
        self.step, self.at = step, at
        if script is not None:
            self._recorded_patches.update(one[1] for one in script.records if one[0] == "patch")
        for position, message in takes:
            self._receives[position].slot = message
            self.takes.append([self._waits, position, message.order, message.payload])
        before = before_segment()
        outer = runtime.enter(self)
        try:
            if self._fibre is None:
                self._fibre = Fibre(self._body, _fresh_context())
                out = self._fibre.resume()
            else:
                assert self.instance is not None
                self.properties.refresh(self.instance, self.state.property_log, step)
                out = self._fibre.resume(wake)
        except SerializationError as error:  # a property that the class no longer reads
            return Escape(error)
        finally:
            runtime.leave(outer)
        try:
            after_segment(before)
        except UsageError as error:
            return Escape(error)
        if isinstance(out, Finished):
            return out
        assert isinstance(out, Wait | Escape)
        return out

    def _body(self) -> Any:
        spec = self.spec
        workflow: Workflow = object.__new__(spec.cls)
        object.__setattr__(workflow, "_infinitic_run", self)
        self.instance = workflow
        for name, factory in spec.transients.items():
            workflow.__dict__[name] = factory()
        self._starting = True
        try:
            workflow.__init__()  # type: ignore[misc]
        finally:
            self._starting = False
        self.properties.refresh(workflow, self.state.property_log, self.step)
        args, kwargs = self.method_spec.signature.decode_arguments(self.method.args)
        result = getattr(workflow, self.method_spec.attribute)(*args, **kwargs)
        if isinstance(result, Coroutine):
            result = _driven(result)
        return self.method_spec.signature.encode_result(result)

    def changes(self) -> dict[str, str | None]:
        """Properties that the segment has changed, encoded. Raises `SerializationError`."""
        assert self.instance is not None
        return self.properties.changes(self.instance)

    def drop(self) -> bool:
        """Unwind the code without effects; False when it does not die."""
        self._dropped = 1
        if self._fibre is None:
            return True
        with runtime.running(self):
            return self._fibre.drop()

    def patched(self, name: str) -> bool:
        """Whether this run takes the new code."""
        self._alive("patched()")
        if name not in self._patches:
            new = self.script is None or name in self._recorded_patches
            self._patches[name] = new
        if self._patches[name] and not any(
            one[0] == "patch" and one[1] == name for one in self.records
        ):
            self.records.append(["patch", name])
        return self._patches[name]

    def now(self) -> datetime:
        """The recorded time of the step."""
        return moment(self.at)

    def uuid4(self) -> UUID:
        """A seeded random UUID."""
        return UUID(int=self._uuids.getrandbits(128), version=4)

    def replaying(self) -> bool:
        """Whether what runs has run before."""
        return self.script is not None or bool(self._dropped)

    def counts_as_leaving(self, error: BaseException) -> bool:
        """Whether an exception that leaves a saga is one of the application."""
        return not isinstance(error, FibreDropped | GeneratorExit) and not self._dropped

    def canceled_meanwhile(self) -> bool:
        """Whether a cancel was held back and is to be raised now."""
        step = self.method.cancel_step
        if self._shields or self.canceled or step is None or step > self.step:
            return False
        self.canceled = self._told = True
        return True

    @contextlib.contextmanager
    def shield(self) -> Iterator[None]:
        """Hold back a cancel meanwhile."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1

    def stall(self, error: BaseException) -> NoReturn:
        """Stall here, out of reach of any `except`."""
        self._leave(Escape(error, saga=True))

    @property
    def told_canceled(self) -> bool:
        """Whether `Canceled` was raised in this segment."""
        return self._told


def _driven(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Drive an async method. Deferreds suspend the fibre below it, so nothing may be yielded."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    except (RuntimeError, AttributeError) as wrong:
        if raised_by(wrong, "asyncio") or "no running event loop" in str(wrong):
            raise _foreign(
                place_of_error(wrong)
            ) from wrong  # it asks for a loop, and there is none
        raise
    error = _foreign(place_of_await(coroutine))
    try:
        coroutine.throw(error)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise error


def _foreign(place: str) -> UsageError:
    return UsageError(
        f"A workflow method awaited something else than a deferred ({place}). Use and_() and or_() "
        "in place of asyncio, self.sleep() in place of asyncio.sleep()."
    )


def _fresh_context() -> contextvars.Context:
    """Each fibre has its own, defined context: the same live and cold (C3)."""
    context = contextvars.Context()
    context.run(_defined)
    return context


def _defined() -> None:
    from django.conf import settings

    translation.activate(settings.LANGUAGE_CODE)
    timezone.activate(timezone.get_default_timezone())
