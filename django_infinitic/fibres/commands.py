"""Commands of a method run."""

from __future__ import annotations

import typing
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

from django_infinitic.authoring import runtime
from django_infinitic.authoring.channel import Channel
from django_infinitic.authoring.deferred import Deferred
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
from django_infinitic.codec import MISSING, Place, codec_for
from django_infinitic.exceptions import (
    InlineFailedError,
    InvalidChannelUsageError,
    InvalidInlineError,
    SerializationError,
    UsageError,
)
from django_infinitic.failures import Failure
from django_infinitic.fibres import filters
from django_infinitic.fibres.names import worker_name
from django_infinitic.fibres.tape import Issued
from django_infinitic.fibres.times import moment
from django_infinitic.fibres.waits import Waits
from django_infinitic.machine.messages import store_meta
from django_infinitic.machine.state import (
    Method,
    Receive,
)
from django_infinitic.machine.waits import Wait

_REFUSALS: dict[str, type[Exception]] = {
    "InvalidInlineError": InvalidInlineError,
    "UsageError": UsageError,
    "SerializationError": SerializationError,
}


class Commands(Waits):
    """The part of a method run that commands."""

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
        return self._deferred(position)

    def _target(self, target: Target) -> Target:
        """By its own id or custom id an instance means itself."""
        mine = self.state
        if isinstance(target, ById) and target.id == mine.id and target.spec.name == mine.workflow:
            return Own(spec=target.spec)
        if (
            isinstance(target, ByCustomId)
            and target.custom_id == mine.custom_id
            and target.spec.name == mine.workflow
        ):
            return Own(spec=target.spec)
        return target

    def timer(self, when: Any) -> Deferred[datetime]:
        """A timer after a duration or at an aware datetime."""
        self._alive("timer()")
        due = self._due(when, "timer()")
        position = self._command("timer", "timer", {"due": due})
        self._issued[position] = Issued("timer", lambda payload: moment(int(payload)), (), "timer")
        return self._deferred(position)

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
        return self._deferred(position)

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
            # `-> None` drops what is returned, as it does for tasks and methods.
            nothing = codec.annotation in (None, type(None))
            return {"v": "null" if nothing else codec.encode(value, place)}
        except (UsageError, SerializationError) as error:
            kind = next(
                (one for one in _REFUSALS if isinstance(error, _REFUSALS[one])), "UsageError"
            )
            return {"u": [kind, str(error)]}
        except Exception as error:
            return {"e": self.failure(error).to_json()}

    def failure(self, error: BaseException, seconds: float | None = None) -> Failure:
        """What is recorded of an exception of workflow code."""
        return recorded(self.method, error, seconds)


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


def check_key(key: Any) -> str:
    """A message key: 1 to 255 characters."""
    if not isinstance(key, str) or not key or len(key) > 255 or "\x00" in key:
        raise UsageError(f"send(key={key!r}): a key is a text of 1 to 255 characters.")
    return key


def recorded(method: Method, error: BaseException, seconds: float | None) -> Failure:
    """What is recorded of an exception of workflow code; `seconds` before it is tried again."""
    return Failure.of(
        error,
        worker_name=worker_name(),
        retry_sequence=0,
        retry_index=method.retries,
        seconds_before_retry=seconds,
    )
