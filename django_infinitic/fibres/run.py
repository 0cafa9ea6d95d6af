"""A run of one workflow method: its code in a fibre, live or replayed.

`segment` runs the code from one wait to the next. With a recorded segment as script it checks each
command against the record and gives back what was recorded; without one it records.
"""

from __future__ import annotations

import contextlib
import contextvars
import hashlib
import random as randoms
import typing
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn
from uuid import UUID

from django.utils import timezone, translation

from django_infinitic.authoring import runtime
from django_infinitic.authoring.channel import Channel
from django_infinitic.authoring.deferred import Deferred, DeferredStatus, combine
from django_infinitic.authoring.policy import duration_seconds
from django_infinitic.authoring.stub import (
    ByCustomId,
    ById,
    ByTag,
    NewInstance,
    NewTask,
    Own,
    StubChannel,
    StubMethod,
    Target,
)
from django_infinitic.authoring.workflow import Workflow, WorkflowContext
from django_infinitic.codec import MISSING, Place, codec_for
from django_infinitic.exceptions import (
    Canceled,
    DeferredCanceledError,
    InlineFailedError,
    InvalidChannelUsageError,
    InvalidInlineError,
    SerializationError,
    UsageError,
    WaitTimedOutError,
    WorkflowChangedError,
    error_from_json,
)
from django_infinitic.failures import Failure
from django_infinitic.fibres import filters
from django_infinitic.fibres.checks import described, difference
from django_infinitic.fibres.declared import raised_for
from django_infinitic.fibres.fibre import Fibre, FibreDropped, Finished
from django_infinitic.fibres.guard import no_database, place_of_user_code
from django_infinitic.fibres.properties import Properties
from django_infinitic.machine.ids import derived_id
from django_infinitic.machine.messages import load_meta, store_meta
from django_infinitic.machine.state import (
    Instance,
    Method,
    Receive,
    Segment,
    receive_leaf,
)
from django_infinitic.machine.waits import Node, Resolution, Wait, Waiting, evaluate, leaves_of
from django_infinitic.registry import MethodSpec, WorkflowSpec

MICROS = 1_000_000
_REFUSALS: dict[str, type[Exception]] = {
    "InvalidInlineError": InvalidInlineError,
    "UsageError": UsageError,
    "SerializationError": SerializationError,
}


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


def moment(micros: int) -> datetime:
    """Microseconds since 1970 as an aware datetime in UTC."""
    return datetime.fromtimestamp(micros // MICROS, UTC) + timedelta(microseconds=micros % MICROS)


def micros_of(when: datetime) -> int:
    """The reverse of `moment`."""
    return round((when - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))


class MethodRun:
    """One method of one instance while its code is alive."""

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
        self._waits = 0
        self._positions = 0
        self._issued: dict[int, Issued] = {}
        self._receives: dict[int, Receive] = {}
        self._closed: dict[int, int] = {}
        self._early: dict[int, int] = {}
        self._patches: dict[str, bool] = {}
        self._recorded_patches: set[str] = set()
        self._begin_records()

    def _begin_records(self) -> None:
        self.commands: list[list[Any]] = []
        self.records: list[list[Any]] = []
        self.takes: list[list[Any]] = []
        self.given: list[int] = []
        self._taken: set[int] = set()
        self._next_record = 0
        self._told = False

    # -- segments -----------------------------------------------------------------------------

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
        try:
            with runtime.running(self), no_database():
                if self._fibre is None:
                    self._fibre = Fibre(self._body, _fresh_context())
                    out = self._fibre.resume()
                else:
                    assert self.instance is not None
                    self.properties.refresh(self.instance, self.state.property_log, step)
                    out = self._fibre.resume(wake)
        except (UsageError, SerializationError) as error:
            return Escape(error)
        if isinstance(out, Finished):
            return out
        assert isinstance(out, Wait | Escape)
        return out

    def _body(self) -> Any:
        spec = self.spec
        workflow = spec.cls.__new__(spec.cls)
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

    # -- what authoring primitives ask ----------------------------------------------------------

    def _alive(self, what: str = "A command") -> None:
        if self._dropped:
            self._dropped += 1
            if self._dropped > 100 and self._fibre is not None:
                self._fibre.suspend(None)  # it swallows everything: never to be resumed
            raise FibreDropped
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

    def call(
        self, stub: StubMethod, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Deferred[Any]:
        """Dispatch a task, a child or a method."""
        self._alive(f"{stub.target.spec.name}.{stub.spec.name}")
        payload = stub.spec.signature.encode_arguments(args, kwargs)
        target = self._target(stub.target)
        spec = stub.spec
        data: dict[str, Any]
        if isinstance(target, NewTask):
            kind, name = "task", f"{target.spec.name}.{spec.name}"
            data = {"s": target.spec.name, "t": spec.name, "a": payload}
            if getattr(spec, "delegated", False):
                data["dl"] = 1
            if target.batch_key is not None:
                data["bk"] = target.batch_key
        else:
            kind = "child" if isinstance(target, NewInstance) else "method"
            name = f"{target.spec.name}.{spec.name}"
            data = {"wf": target.spec.name, "m": spec.name, "a": payload}
            if isinstance(target, NewInstance):
                if target.custom_id is not None:
                    data["ci"] = target.custom_id
                    data["once"] = int(target.once)
            else:
                data.update(_addressed(target))
        if isinstance(target, NewTask | NewInstance):
            if target.tags:
                data["tg"] = sorted(target.tags)
            if target.meta:
                data["mt"] = store_meta(target.meta)
        if spec.total_timeout is not None and not isinstance(target, ByTag):
            data["tt"] = spec.total_timeout
        if self._shields:
            data["sh"] = 1
        position = self._command(kind, name, data)
        self._issued[position] = Issued(
            "tag" if isinstance(target, ByTag) else kind,
            spec.signature.decode_result,
            spec.raises,
            name,
        )
        return Deferred(self, position)

    def _target(self, target: Target) -> Target:
        """By its own id or custom id an instance means itself."""
        mine = self.state
        if isinstance(target, ById) and target.id == mine.id and target.spec.name == mine.workflow:
            return Own(spec=target.spec)
        if isinstance(target, ByCustomId) and target.custom_id == mine.custom_id:
            return Own(spec=target.spec)
        return target

    def timer(self, when: Any) -> Deferred[datetime]:
        """A timer after a duration or at an aware datetime."""
        self._alive("timer()")
        due = self._due(when, "timer()")
        position = self._command("timer", "timer", {"due": due})
        self._issued[position] = Issued("timer", lambda payload: moment(int(payload)), (), "timer")
        return Deferred(self, position)

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

    def receive(
        self, channel: Channel[Any], limit: int | None, of: type | None, jsonpath: str | None
    ) -> Deferred[Any]:
        """Open a receive of one of the workflow's own channels."""
        self._alive("receive()")
        if self.spec.channels.get(channel.attribute) is not channel:
            raise InvalidChannelUsageError(
                f"{channel.owner}.{channel.attribute} is no channel of {self.class_name}."
            )
        data: dict[str, Any] = {"ch": channel.name}
        if limit is not None:
            data["l"] = limit
        if of is not None:
            data["of"] = f"{of.__module__}.{of.__qualname__}"
        if jsonpath is not None:
            filters.query(jsonpath)
            data["jp"] = jsonpath
        position = self._command("receive", channel.name, data)
        self._receives[position] = Receive(data)
        codec, place = channel.codec, channel.place
        self._issued[position] = Issued(
            "receive", lambda payload: codec.decode(payload, place), (), channel.name
        )
        return Deferred(self, position)

    def send(self, to: Channel[Any] | StubChannel, obj: Any, key: str | None) -> None:
        """Send a message to the own instance or to others."""
        self._alive("send()")
        channel = to.channel if isinstance(to, StubChannel) else to
        target = self._target(to.target) if isinstance(to, StubChannel) else Own(spec=self.spec)
        data = {
            "wf": target.spec.name,
            "ch": channel.name,
            "v": channel.codec.encode(obj, channel.place),
            **_addressed(target),
        }
        if key is not None:
            data["key"] = check_key(key)
        self._command("send", f"{target.spec.name}.{channel.name}", data)

    def clear(self, channel: Channel[Any]) -> None:
        """Drop what waits in a channel."""
        self._command("clear", channel.name, {"ch": channel.name})
        for waiting in self.state.channels.get(channel.name, ()):
            self._taken.add(waiting.order)  # not for a wait of this very step either

    def cancel(self, deferred: Deferred[Any]) -> None:
        """Cancel all operands of a deferred."""
        self._mine(deferred, "cancel()")
        positions = list(dict.fromkeys(leaves_of(deferred.node)))
        for position in positions:
            if self._issued[position].kind == "tag":
                raise UsageError(
                    f"{self._issued[position].what} was dispatched by tag, and that cannot be "
                    "canceled: it has run wherever it was to run."
                )
        self._command("cancel", "cancel", {"of": positions})
        for position in positions:
            if self._issued[position].kind in ("timer", "receive") and position not in self._closed:
                if self._outcome(position) is None:
                    self._closed[position] = self.step
                receive = self._receives.get(position)
                if receive is not None:
                    receive.closed, receive.slot = True, None
                    self._closed.setdefault(position, self.step)

    def inline(self, function: Callable[..., Any], args: Any, kwargs: Any, checkpoint: bool) -> Any:
        """Run something once and record it."""
        self._alive("inline()")
        if isinstance(function, StubMethod):
            raise InvalidInlineError(
                f"inline() got the stub method {function!r}. Call it directly, or dispatch it."
            )
        if not callable(function):
            raise InvalidInlineError(f"inline() got {function!r}, which cannot be called.")
        codec = codec_for(_returned(function))
        place = Place("result", "inline", getattr(function, "__qualname__", "function"))
        position = self._command("inline", "inline", {"cp": 1} if checkpoint else {})
        record = self.commands[-1]
        if self.script is None:
            data = dict(record[2])
            data.update(self._run_inline(function, args, kwargs, codec, place))
            record[2] = data
        data = record[2]
        if "u" in data:
            kind, text = data["u"]
            raise _REFUSALS.get(kind, UsageError)(text)
        if "e" in data:
            raise InlineFailedError(last_failure=Failure.from_json(data["e"]))
        if checkpoint:
            self._suspend(Wait(self._waits, ["s"], checkpoint=True))
        del position
        return codec.decode(data["v"], place)

    def _run_inline(
        self, function: Callable[..., Any], args: Any, kwargs: Any, codec: Any, place: Place
    ) -> dict[str, Any]:
        try:
            with runtime.inlining():
                value = function(*args, **kwargs)
                if isinstance(value, Coroutine):
                    value.close()
                    raise InvalidInlineError("inline() takes no async function: call a plain one.")
            return {"v": codec.encode(value, place)}
        except (UsageError, SerializationError) as error:
            kind = next(
                (one for one in _REFUSALS if isinstance(error, _REFUSALS[one])), "UsageError"
            )
            return {"u": [kind, str(error)]}
        except Exception as error:
            return {"e": self.failure(error).to_json()}

    def failure(self, error: BaseException, seconds: float | None = None) -> Failure:
        """What is recorded of an exception of workflow code."""
        return Failure.of(
            error,
            worker_name=worker_name(),
            retry_sequence=0,
            retry_index=self.method.retries,
            seconds_before_retry=seconds,
        )

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

    # -- waits ------------------------------------------------------------------------------------

    def _mine(self, deferred: Deferred[Any], what: str) -> None:
        self._alive(what)
        if deferred._run is not self:
            raise UsageError(
                f"{what} was used on a deferred of another method run. A deferred belongs to the "
                "method that made it."
            )

    def wait(self, deferred: Deferred[Any], timeout: Any = None) -> Any:
        """Wait for a deferred and give its value, or raise."""
        self._mine(deferred, "result()")
        node = deferred.node
        for position in leaves_of(node):
            if self._issued[position].kind == "tag":
                raise UsageError(
                    f"{self._issued[position].what} was dispatched by tag, and what runs by tag "
                    "has no result to wait for."
                )
        self._waits += 1
        resolution = self._evaluate(node)
        if resolution is None:
            until = None if timeout is None else self._due(timeout, "result(timeout)")
            wake = self._suspend(Wait(self._waits, node, until, bool(self._shields)))
            if wake == "timeout":
                raise WaitTimedOutError(message=self._too_late(node, timeout))
            resolution = self._evaluate(node)
            assert resolution is not None, "a method was resumed before its wait was over"
        elif timeout is not None:
            self._due(timeout, "result(timeout)")
        return self._value(resolution)

    def settle(self, deferreds: list[Deferred[Any]]) -> None:
        """Wait until all have an outcome, whatever it is."""
        node = combine("s", deferreds) if deferreds else ["s"]
        self._waits += 1
        while self._evaluate(node) is None:
            self._suspend(Wait(self._waits, node, None, bool(self._shields)))

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
            if expected is None or expected[1] != wait.node:
                if self.method_spec.check_mode != "none" or expected is None:
                    self._changed("the wait was for other commands when it first ran", "this wait")
        wake = self._fibre.suspend(wait)
        if self._dropped:
            raise FibreDropped
        if wake == "cancel":
            self.canceled = self._told = True
            raise Canceled("the method is being canceled")
        return str(wake)

    def _evaluate(self, node: Node) -> Resolution | None:
        self._replay_takes()
        found = evaluate(node, self._leaf)
        if self.script is None:
            for position, message in found.takes:
                self._receives[position].slot = message
                self._taken.add(message.order)
                self.takes.append([self._waits, position, message.order, message.payload])
        return found.resolution

    def _replay_takes(self) -> None:
        if self.script is None:
            return
        for number, position, order, payload in self.script.takes[len(self.takes) :]:
            if number != self._waits:
                break
            self._receives[position].slot = Waiting(order, payload)
            self.takes.append([number, position, order, payload])

    def _leaf(self, position: int, claimed: set[int]) -> Resolution | None:
        if position in self._closed:
            return Resolution(False, self._closed[position], position)
        receive = self._receives.get(position)
        if receive is not None:
            self._take_early(position, receive)
            if self.script is not None:
                if receive.slot is not None:
                    return Resolution(True, receive.slot.order, position)
                if receive.exhausted:
                    return receive_leaf(position, receive, self.state, claimed)
                return None
            return receive_leaf(position, receive, self.state, claimed | self._taken)
        found = self._outcome(position)
        if found is None or found[1] == DeferredStatus.ONGOING:
            return None
        return Resolution(found[1] == DeferredStatus.COMPLETED, found[0], position)

    def _take_early(self, position: int, receive: Receive) -> None:
        """What the machine took for this receive while the wait went on."""
        known = self.method.receives.get(position)
        if receive.slot is not None or known is None:
            return
        number = self._early.get(position, 0)
        if number < len(known.early) and known.early[number][0] <= self.step:
            receive.slot = known.early[number][1]
            self._early[position] = number + 1

    def _outcome(self, position: int) -> tuple[int, int, Any] | None:
        if self._issued[position].kind == "tag":
            return (self.step, DeferredStatus.COMPLETED, "null")
        command = self.method.commands.get(position)
        return None if command is None else command.outcome(self.step)

    def _value(self, resolution: Resolution) -> Any:
        if not resolution.ok:
            for leaf in resolution.leaves():
                self._raise(leaf.node)
        for leaf in resolution.leaves():
            if isinstance(leaf.node, int) and leaf.node in self._receives:
                self._hand_out(leaf.node)
        return self._decoded(resolution)

    def _hand_out(self, position: int) -> None:
        receive = self._receives[position]
        if receive.slot is not None:
            receive.last, receive.slot = receive.slot, None
            receive.count += 1
            self.given.append(position)

    def _decoded(self, resolution: Resolution) -> Any:
        node = resolution.node
        if isinstance(node, int):
            issued = self._issued[node]
            receive = self._receives.get(node)
            if receive is not None:
                assert receive.last is not None
                return issued.decode(receive.last.payload)
            outcome = self._outcome(node)
            assert outcome is not None
            return issued.decode(outcome[2])
        if node[0] == "&":
            return [self._decoded(part) for part in resolution.parts]
        return self._decoded(resolution.parts[0])

    def _raise(self, node: Node) -> NoReturn:
        assert isinstance(node, int)
        issued = self._issued[node]
        outcome = self._outcome(node)
        value = None if outcome is None else outcome[2]
        if not isinstance(value, dict):
            raise DeferredCanceledError(message=f"{issued.kind} {issued.what} has been canceled")
        if "usage" in value:
            raise UsageError(value["usage"])
        error = error_from_json(value)
        raise raised_for(error, issued.raises) from None

    def _too_late(self, node: Node, timeout: Any) -> str:
        waited = ", ".join(
            dict.fromkeys(
                f"{self._issued[one].kind} {self._issued[one].what}" for one in leaves_of(node)
            )
        )
        return f"{waited} had no outcome within {timeout}"

    def status(self, deferred: Deferred[Any]) -> int:
        """The status of a deferred at this step."""
        self._mine(deferred, "status")
        found = evaluate(deferred.node, self._peek).resolution
        if found is None:
            if isinstance(deferred.node, int):
                outcome = self._outcome_or_none(deferred.node)
                return DeferredStatus.ONGOING if outcome is None else outcome[1]
            return DeferredStatus.ONGOING
        if found.ok:
            return DeferredStatus.COMPLETED
        leaf = next(found.leaves())
        assert isinstance(leaf.node, int)
        if leaf.node in self._closed:
            return DeferredStatus.CANCELED
        outcome = self._outcome(leaf.node)
        return DeferredStatus.CANCELED if outcome is None else outcome[1]

    def _outcome_or_none(self, position: int) -> tuple[int, int, Any] | None:
        return None if position in self._receives else self._outcome(position)

    def _peek(self, position: int, claimed: set[int]) -> Resolution | None:
        """Like `_leaf`, but the answer of a receive is one of the moment, so it is recorded."""
        if position not in self._receives or position in self._closed:
            return self._leaf(position, claimed)
        if self.script is not None:
            while self._next_record < len(self.script.records):
                record = self.script.records[self._next_record]
                self._next_record += 1
                if record[0] == "peek":
                    self.records.append(record)
                    return Resolution(True, record[1], position) if record[1] >= 0 else None
            return None
        found = self._leaf(position, claimed)
        self.records.append(["peek", found.order if found is not None else -1])
        return None if found is None else Resolution(True, found.order, position)

    def identity(self, deferred: Deferred[Any]) -> str | None:
        """The id of a deferred."""
        self._mine(deferred, "id")
        node = deferred.node
        if not isinstance(node, int):
            return None
        kind = self._issued[node].kind
        if kind == "tag":
            raise UsageError(
                f"{self._issued[node].what} was dispatched by tag: it has no id, as it may run on "
                "many instances."
            )
        if kind in ("timer", "receive"):
            return None
        known = self.method.commands.get(node)
        return known.id if known is not None else self._new_id(node)

    def _new_id(self, position: int) -> str:
        return derived_id(self.at, self.state.id, self.method.id, position)


def _addressed(target: Target) -> dict[str, Any]:
    if isinstance(target, ById):
        return {"to": "id", "to_id": target.id}
    if isinstance(target, ByCustomId):
        return {"to": "custom", "to_id": target.custom_id}
    if isinstance(target, ByTag):
        return {"to": "tag", "to_id": target.tag}
    return {"to": "own"}


def _returned(function: Callable[..., Any]) -> Any:
    """The annotation of what a function returns, if it has one that resolves."""
    try:
        return typing.get_type_hints(function).get("return", MISSING)
    except Exception:
        return MISSING


def _driven(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Drive an async method. Deferreds suspend the fibre below it, so nothing may be yielded."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    error = UsageError(
        f"A workflow method awaited something else than a deferred ({place_of_user_code()}). Use "
        "and_() and or_() in place of asyncio, self.sleep() in place of asyncio.sleep()."
    )
    try:
        coroutine.throw(error)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise error


def _fresh_context() -> contextvars.Context:
    """Each fibre has its own, defined context: the same live and cold (C3)."""
    context = contextvars.Context()
    context.run(_defined)
    return context


def _defined() -> None:
    from django.conf import settings

    translation.activate(settings.LANGUAGE_CODE)
    timezone.activate(timezone.get_default_timezone())


def check_key(key: Any) -> str:
    """A message key: 1 to 255 characters."""
    if not isinstance(key, str) or not key or len(key) > 255 or "\x00" in key:
        raise UsageError(f"send(key={key!r}): a key is a text of 1 to 255 characters.")
    return key


_worker = {"name": "worker"}


def worker_name() -> str:
    """The name of this worker, as failures record it."""
    return _worker["name"]


def set_worker_name(name: str) -> None:
    """Told by the worker when it starts."""
    _worker["name"] = name


__all__ = ["Escape", "MethodRun", "micros_of", "moment"]
