"""Stubs: stand-ins of services and workflows that act by where they are called.

In workflow code a call is a command of the running method, elsewhere it goes through the client.
A stub has no effect until one of its methods is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import UUID

from django_infinitic.authoring import runtime
from django_infinitic.exceptions import (
    InvalidChannelUsageError,
    InvalidIdTagSelectionError,
    InvalidStubError,
    MultipleCustomIdError,
    UsageError,
)
from django_infinitic.registry import MethodSpec, ServiceSpec, TaskSpec, WorkflowSpec, registry

if TYPE_CHECKING:
    from django.db.models import Model

    from django_infinitic.authoring.channel import Channel
    from django_infinitic.authoring.ref import Ref

    Tag = str | Model | Ref[Any]
    """A text, or a saved row that stands for `shop.order:42`."""

C = TypeVar("C")
CUSTOM_ID = "customId:"
MAX_TEXT = 255
Meta = Mapping[str, str | bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """A task of a service, with the options of its stub."""

    spec: ServiceSpec
    tags: frozenset[str] = frozenset()
    meta: Meta | None = None
    batch_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewInstance:
    """A new instance of a workflow."""

    spec: WorkflowSpec
    tags: frozenset[str] = frozenset()
    meta: Meta | None = None
    custom_id: str | None = None
    once: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ById:
    """The running instance with this id."""

    spec: WorkflowSpec
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ByCustomId:
    """The running instance that holds this custom id."""

    spec: WorkflowSpec
    custom_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ByTag:
    """All running instances with this tag."""

    spec: WorkflowSpec
    tag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """The instance whose code is running."""

    spec: WorkflowSpec


Running = ById | ByCustomId | ByTag | Own
Target = NewTask | NewInstance | Running


class StubMethod:
    """One method of a stub; calling it acts and waits, `dispatch(it, ...)` acts at once."""

    __slots__ = ("spec", "target")

    def __init__(self, target: Target, spec: TaskSpec | MethodSpec) -> None:
        self.target = target
        self.spec = spec

    def __repr__(self) -> str:
        return f"<stub method {self.target.spec.name}.{self.spec.name}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        runtime.refuse_in_inline(f"The stub method {self.target.spec.name}.{self.spec.name}")
        run = runtime.current()
        if run is None:
            call = registry.hooks.require("call")
            return call(self, args, kwargs)
        if isinstance(self.target, ByTag):
            raise UsageError(
                f"{self.target.spec.name}.{self.spec.name} was called by tag, and what runs by tag "
                "has no result to wait for. Use self.dispatch(stub.method, ...)."
            )
        deferred = run.call(self, args, kwargs)
        return deferred if self.spec.is_async else deferred.result()


class StubChannel:
    """A channel of a stub: where messages to running instances are put in."""

    __slots__ = ("channel", "target")

    def __init__(self, target: Target, channel: Channel[Any]) -> None:
        self.target = target
        self.channel = channel

    def send(self, obj: Any, key: str | None = None) -> None:
        """Send a message; with a `key` it counts once per channel of an instance."""
        self._check()
        run = runtime.current()
        if run is None:
            registry.hooks.require("send")(self, obj, key)
        else:
            run.send(self, obj, key)

    async def asend(self, obj: Any, key: str | None = None) -> None:
        """`send` for async code."""
        self._check()
        run = runtime.current()
        if run is None:
            await registry.hooks.require("asend")(self, obj, key)
        else:
            run.send(self, obj, key)

    def receive(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: only the workflow itself receives."""
        raise InvalidChannelUsageError(
            f"{self.target.spec.name}.{self.channel.attribute} was asked to receive through a stub."
            " Only the workflow itself receives, by self.<channel>.receive()."
        )

    clear = receive

    def _check(self) -> None:
        runtime.refuse_in_inline(f"send() on {self.target.spec.name}.{self.channel.attribute}")
        if isinstance(self.target, NewInstance):
            raise InvalidChannelUsageError(
                f"A message to {self.target.spec.name}.{self.channel.attribute} was sent through "
                "new_workflow(), which names no instance yet. Use get_workflow_by_id(), "
                "get_workflow_by_custom_id(), get_workflow_by_tag() or handle.stub."
            )


class Stub:
    """What `new_service`, `new_workflow` and `get_workflow_by_...` give; typed as the contract."""

    __slots__ = ("_target",)

    def __init__(self, target: Target) -> None:
        object.__setattr__(self, "_target", target)

    def __repr__(self) -> str:
        return f"<stub of {self._target.spec.name}>"

    def __setattr__(self, name: str, value: object) -> None:
        raise UsageError(f"A stub of {self._target.spec.name} has no attributes to set ({name}).")

    def __getattr__(self, name: str) -> Any:
        target = self._target
        spec = target.spec
        if isinstance(spec, ServiceSpec):
            task = spec.by_attribute.get(name)
            if task is not None:
                return StubMethod(target, task)
        else:
            method = spec.by_attribute.get(name)
            if method is not None:
                return StubMethod(target, method)
            channel = spec.channels.get(name)
            if channel is not None:
                return StubChannel(target, channel)
        known = ", ".join(sorted(spec.by_attribute)) or "none"
        raise AttributeError(f"{spec.name} has no public method {name}; it has: {known}.")


def target_of(stub: object) -> Target:
    """The target of a stub; `InvalidStubError` for anything else."""
    if isinstance(stub, Stub):
        return cast("Target", object.__getattribute__(stub, "_target"))
    raise InvalidStubError(
        f"A stub was expected, not {describe(stub)}. Use what get_workflow_by_id(), "
        "get_workflow_by_custom_id() or get_workflow_by_tag() gives."
    )


def running_target_of(stub: object) -> Running:
    """The target of a stub of running instances."""
    target = target_of(stub)
    if isinstance(target, NewTask | NewInstance):
        raise InvalidIdTagSelectionError(
            f"The stub of {target.spec.name} names no running instance. Use get_workflow_by_id(), "
            "get_workflow_by_custom_id() or get_workflow_by_tag()."
        )
    return target


def describe(thing: object) -> str:
    """How an error names what it got: `CarRental().book`, `CarRental.book` or a class name."""
    owner = getattr(thing, "__self__", None)
    name = getattr(thing, "__name__", None)
    if owner is not None and not isinstance(owner, ModuleType) and name:
        return f"{type(owner).__name__}().{name}"
    if name:
        return str(getattr(thing, "__qualname__", name))
    return f"a {type(thing).__name__}"


def stub_method_of(method: object, what: str = "dispatch()") -> StubMethod:
    """The stub method that was handed to `dispatch`; own methods and function tasks count too."""
    if isinstance(method, StubMethod):
        return method
    spec = getattr(method, "__infinitic__", None)
    if isinstance(spec, TaskSpec) and spec.owner is None:
        return function_task(spec)
    owner = getattr(method, "__self__", None)
    if owner is not None and not isinstance(owner, ModuleType):  # that of a built-in function
        own = registry.hooks.own_method
        found = own(owner, method) if own is not None else None
        if found is not None:
            return cast("StubMethod", found)
        kind = type(owner).__name__
        text = f"{what} got {describe(method)}, a method of a real object."
        maker = "new_workflow" if registry.is_workflow(type(owner)) else "new_service"
        raise InvalidStubError(f"{text} Use a stub: {maker}({kind}).{describe_name(method)}.")
    raise InvalidStubError(
        f"{what} got {describe(method)}, which is no method of a stub. Use a stub: "
        "new_service(Service).task or new_workflow(Workflow).method."
    )


def describe_name(method: object) -> str:
    """The bare name of a method."""
    return str(getattr(method, "__name__", "method"))


def function_task(spec: TaskSpec) -> StubMethod:
    """The stub method of a function task."""
    return StubMethod(NewTask(spec=registry.service_spec(spec.service)), spec)


def check_id(value: object) -> str:
    """A workflow id as text; the UUID of a `WorkflowInstance` or a `WorkflowForeignKey` too."""
    return check_text(str(value) if isinstance(value, UUID) else value, "A workflow id")


def check_text(value: object, what: str) -> str:
    """A tag or custom id: 1 to 255 characters without NUL, no space at an end."""
    if not isinstance(value, str):
        raise UsageError(f"{what} must be a str, not {type(value).__name__}.")
    text = str(value)
    if not text or len(text) > MAX_TEXT:
        raise UsageError(f"{what} must have 1 to {MAX_TEXT} characters, not {len(text)}.")
    if text != text.strip() or "\x00" in text:
        raise UsageError(f"{what} {text!r} may not contain NUL nor begin or end with a space.")
    return text


def check_tag(value: object, what: str) -> str:
    """A tag or custom id; a saved row of a model, or a `Ref`, stands for `shop.order:42`."""
    if isinstance(value, str):
        return check_text(value, what)
    from django.db.models import Model
    from django.utils.functional import LazyObject

    from django_infinitic.authoring.ref import Ref

    if isinstance(value, Model | LazyObject):
        value = Ref(cast("Model", value))
    return check_text(value.tag if isinstance(value, Ref) else value, what)


def check_tags(tags: object) -> frozenset[str]:
    """Tags as a set of texts."""
    if isinstance(tags, str) or not isinstance(tags, Iterable):
        raise UsageError(f"tags= must be a collection of texts, not {type(tags).__name__}.")
    return frozenset(check_tag(tag, "A tag") for tag in tags)


def check_meta(meta: object) -> Meta | None:
    """Meta as a dict of `str` to `str` or `bytes`."""
    if meta is None:
        return None
    if not isinstance(meta, Mapping):
        raise UsageError(f"meta= must be a dict of str to str or bytes, not {type(meta).__name__}.")
    for key, value in meta.items():
        if not isinstance(key, str) or not isinstance(value, str | bytes):
            raise UsageError(
                f"meta= must be a dict of str to str or bytes; {key!r} holds a "
                f"{type(value).__name__}."
            )
    return dict(meta)


def new_service(
    contract: Callable[..., C],
    *,
    tags: Iterable[Tag] = (),
    meta: Meta | None = None,
    batch_key: str | None = None,
) -> C:
    """A stub of a service, typed as its contract; each call of it is a new task."""
    target = NewTask(
        spec=registry.service_of(contract),
        tags=check_tags(tags),
        meta=check_meta(meta),
        batch_key=None if batch_key is None else check_text(batch_key, "batch_key="),
    )
    return cast("C", Stub(target))


def new_workflow(
    contract: Callable[..., C],
    *,
    tags: Iterable[Tag] = (),
    meta: Meta | None = None,
    custom_id: Tag | None = None,
    once: bool = False,
) -> C:
    """A stub of new instances of a workflow; each call of it starts one."""
    spec = registry.workflow_of(contract)
    found = check_tags(tags)
    ids = [tag.removeprefix(CUSTOM_ID) for tag in found if tag.startswith(CUSTOM_ID)]
    if custom_id is not None:
        ids.append(check_tag(custom_id, "custom_id="))
    if len(set(ids)) > 1:
        raise MultipleCustomIdError(
            f"{spec.name} got several custom ids: {', '.join(sorted(set(ids)))}. An instance has "
            "at most one, by custom_id= or by one tag customId:..."
        )
    if once and not ids:
        raise UsageError(f"{spec.name}: once=True needs a custom_id=, which is the key it counts.")
    target = NewInstance(
        spec=spec,
        tags=frozenset(tag for tag in found if not tag.startswith(CUSTOM_ID)),
        meta=check_meta(meta),
        custom_id=check_text(ids[0], "custom_id=") if ids else None,
        once=once,
    )
    return cast("C", Stub(target))


def get_workflow_by_id(contract: Callable[..., C], workflow_id: str) -> C:
    """A stub of the running instance with this id."""
    spec = registry.workflow_of(contract)
    return cast("C", Stub(ById(spec=spec, id=check_id(workflow_id))))


def get_workflow_by_custom_id(contract: Callable[..., C], custom_id: Tag) -> C:
    """A stub of the running instance that holds this custom id."""
    spec = registry.workflow_of(contract)
    return cast("C", Stub(ByCustomId(spec=spec, custom_id=check_tag(custom_id, "A custom id"))))


def get_workflow_by_tag(contract: Callable[..., C], tag: Tag) -> C:
    """A stub of all running instances with this tag: dispatch and send only."""
    spec = registry.workflow_of(contract)
    text = check_tag(tag, "A tag")
    if text.startswith(CUSTOM_ID):
        return get_workflow_by_custom_id(contract, text.removeprefix(CUSTOM_ID))
    return cast("C", Stub(ByTag(spec=spec, tag=text)))
