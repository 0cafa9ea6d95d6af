"""What this process knows by name: services, workflows and their parts.

The decorators of `authoring` fill it at import; engine, workers and client read it. A name comes
from here or it is unknown: nothing stored is ever imported.
"""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from .exceptions import (
    RegistryError,
    UnknownServiceError,
    UnknownTaskError,
    UnknownWorkflowError,
    UnknownWorkflowVersionError,
    UsageError,
)

if TYPE_CHECKING:
    from .authoring.channel import Channel
    from .authoring.policy import Retry
    from .codec import Signature, ValueCodec

S = TypeVar("S", "ServiceSpec", "WorkflowSpec")

CheckMode = Literal["none", "simple", "strict"]
"""How closely a replay compares commands with the recorded ones. (F071)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSpec:
    """The method that runs many of one task at once. (F104-F107)

    `max_seconds` counts from the first task of a batch. `item` makes one value of the arguments of
    a task that has not exactly one parameter; None when the dict holds the one argument itself.
    """

    attribute: str
    function: Callable[..., Any]
    max_size: int
    max_seconds: float
    is_async: bool
    item: Callable[..., Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """One task: `name` is stored, `attribute` the Python name; times are in seconds.

    `owner` is the class whose method it is, None for a function task, whose `function` is the
    plain one. `atomic` None: as the setting `ATOMIC_TASKS` says. `abstract`: only a contract.
    """

    service: str
    name: str
    attribute: str
    function: Callable[..., Any]
    owner: type | None
    place: str
    signature: Signature
    raises: tuple[type[Exception], ...] = ()
    attempt_timeout: float | None = None
    timeout_grace: float = 0.0
    total_timeout: float | None = None
    retry: Retry = None
    atomic: bool | None = None
    delegated: bool = False
    is_async: bool = False
    batch: BatchSpec | None = None
    abstract: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """A service: `tasks` by stored name, `by_attribute` by Python name.

    `cls` is None for a function task. A `contract` can be stubbed, not run.
    """

    name: str
    cls: type | None
    tasks: Mapping[str, TaskSpec]
    by_attribute: Mapping[str, TaskSpec]
    contract: bool
    place: str

    @property
    def subject(self) -> Any:
        """The class or, of a function task, the plain function."""
        return self.cls or next(iter(self.tasks.values())).function


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodSpec:
    """One public method of a workflow: `name` is stored, `attribute` the Python name.

    `total_timeout` (seconds), `raises` and `check_mode` have those of the class filled in.
    """

    name: str
    attribute: str
    function: Callable[..., Any]
    signature: Signature
    raises: tuple[type[Exception], ...] = ()
    total_timeout: float | None = None
    check_mode: CheckMode = "simple"
    is_async: bool = False
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowSpec:
    """A version of a workflow: `methods` by stored name, `by_attribute` by Python name.

    `channels` and `transients` are by attribute, `properties` holds the codecs of the annotated
    ones. `on_end` and `on_stall` are tasks that take one `WorkflowEnd`.
    """

    name: str
    version: int
    cls: type
    methods: Mapping[str, MethodSpec]
    by_attribute: Mapping[str, MethodSpec]
    channels: Mapping[str, Channel[Any]]
    properties: Mapping[str, ValueCodec]
    transients: Mapping[str, Callable[[], Any]]
    contract: bool
    raises: tuple[type[Exception], ...] = ()
    check_mode: CheckMode = "simple"
    retry: Retry = None
    total_timeout: float | None = None
    on_end: TaskSpec | None = None
    on_stall: TaskSpec | None = None
    place: str

    @property
    def subject(self) -> type:
        """The class."""
        return self.cls


@dataclass(slots=True)
class Hooks:
    """Calls from lower rooms into upper ones, which fill these in when they are loaded."""

    call: Callable[..., Any] | None = None
    send: Callable[..., Any] | None = None
    asend: Callable[..., Any] | None = None
    own_method: Callable[..., Any] | None = None
    human_task: Callable[..., Any] | None = None
    client_dispatch: Callable[..., Any] | None = None
    more: dict[str, Callable[..., Any]] = field(default_factory=dict)

    def require(self, name: str) -> Callable[..., Any]:
        """The hook of this name; a `UsageError` when no upper room has filled it."""
        hook: Callable[..., Any] | None = self.more.get(name) or getattr(self, name, None)
        if hook is None:
            raise UsageError(
                f"django_infinitic is not set up, so nothing can be done here ({name}). Put "
                '"django_infinitic" into INSTALLED_APPS, and call django.setup() in a script.'
            )
        return hook


class Registry:
    """All services and workflows of this process; use the module's `registry`."""

    def __init__(self) -> None:
        self.hooks = Hooks()
        self._lock = threading.RLock()
        self._services: dict[str, ServiceSpec] = {}
        self._service_contracts: dict[str, list[ServiceSpec]] = {}
        self._workflows: dict[str, dict[int, WorkflowSpec]] = {}
        self._workflow_contracts: dict[str, list[WorkflowSpec]] = {}
        # Keyed by the object itself: classes of a former import keep working after a reload.
        self._service_by_subject: dict[Any, ServiceSpec] = {}
        self._workflow_by_class: dict[type, WorkflowSpec] = {}

    # -- filling ---------------------------------------------------------------------------

    def add_service(self, spec: ServiceSpec) -> None:
        """Register a service. Another implementation of its name is a `RegistryError`."""
        with self._lock:
            if spec.contract:
                _drop_origin(self._services, spec)
                _put_contract(self._service_contracts, spec)
            else:
                other = self._services.get(spec.name)
                if other is not None and not _same_origin(other, spec):
                    raise RegistryError(
                        f'Two services are named "{spec.name}": {_origin(other)} and '
                        f"{_origin(spec)}. Give one of them another stored name: "
                        f'@{_decorator(spec)}(name="...").'
                    )
                _drop_origin(self._services, spec)
                self._services[spec.name] = spec
            self._service_by_subject[spec.subject] = spec

    def add_workflow(self, spec: WorkflowSpec) -> None:
        """Register a version of a workflow. Another class for it is a `RegistryError`."""
        with self._lock:
            if spec.contract:
                _put_contract(self._workflow_contracts, spec)
            else:
                versions = self._workflows.get(spec.name, {})
                other = versions.get(spec.version)
                if other is not None and not _same_origin(other, spec):
                    raise RegistryError(
                        f'Two workflows are named "{spec.name}" with version {spec.version}: '
                        f"{_origin(other)} and {_origin(spec)}. For the next version of it write "
                        f"@workflow(version={max(versions) + 1}), for another workflow "
                        '@workflow(name="...").'
                    )
                for known in self._workflows.values():
                    _drop_origin(known, spec)
                self._workflows.setdefault(spec.name, {})[spec.version] = spec
            self._workflow_by_class[spec.cls] = spec

    # -- services --------------------------------------------------------------------------

    def service(self, name: str) -> ServiceSpec:
        """The implementation of a service; `UnknownServiceError` when there is none here."""
        found = self._services.get(name)
        if found is not None:
            return found
        contracts = self._service_contracts.get(name)
        if contracts:
            raise UnknownServiceError(
                f'The service "{name}" is only a contract here ({_origin(contracts[-1])}): '
                "nothing in this project implements it."
            )
        raise UnknownServiceError(_unknown("service", name, self.services(), "services.py"))

    def service_spec(self, name: str) -> ServiceSpec:
        """The implementation of a service or else a contract of it; `UnknownServiceError`."""
        contracts = self._service_contracts.get(name)
        if name not in self._services and contracts:
            return contracts[-1]
        return self.service(name)

    def task(self, service: str, name: str) -> TaskSpec:
        """A task of an implementation, by stored names; `UnknownTaskError`."""
        spec = self.service(service)
        found = spec.tasks.get(name)
        if found is None:
            raise UnknownTaskError(
                f'The service "{service}" ({spec.place}) has no task "{name}"'
                f"{_nearest(name, spec.tasks)}. It has: {_listed(spec.tasks)}."
            )
        return found

    def services(self) -> list[str]:
        """The stored names of the services that can be run here, sorted."""
        return sorted(self._services)

    def service_contracts(self) -> list[str]:
        """The stored names of services that are only a contract here, sorted."""
        return sorted(self._service_contracts.keys() - self._services.keys())

    def service_of(self, subject: Any) -> ServiceSpec:
        """What a decorated class (a contract too), or a function task, was registered as."""
        spec = getattr(subject, "__infinitic__", None)
        if isinstance(spec, TaskSpec):
            subject = spec.function
        found = self._service_by_subject.get(subject) if _hashable(subject) else None
        if found is not None:
            return found
        if self.is_workflow(subject):
            raise UsageError(f"{_named(subject)} is a workflow, not a service: use new_workflow().")
        raise RegistryError(
            f"{_named(subject)} is no registered service. Decorate "
            + ("the class with @service." if isinstance(subject, type) else "it with @task.")
        )

    def is_service(self, subject: Any) -> bool:
        """Whether this class or function task is registered, as implementation or contract."""
        if isinstance(getattr(subject, "__infinitic__", None), TaskSpec):
            return True
        return _hashable(subject) and subject in self._service_by_subject

    def task_of(self, function: Any) -> TaskSpec:
        """The task of a function task, or of a function such as `CarRental.book`.

        Of a function that several services share, it is that of the service whose class body
        defines it. A `RegistryError` when none or several are meant.
        """
        spec = getattr(function, "__infinitic__", None)
        if isinstance(spec, TaskSpec):
            return spec
        found = [
            (service.cls, task)
            for service in self.all_services()
            for task in service.by_attribute.values()
            if task.function is function
        ]
        if not found:
            raise RegistryError(f"{_named(function)} is no task of a registered service.")
        task: TaskSpec = _owner_of(function, found, "task")
        return task

    # -- workflows -------------------------------------------------------------------------

    def workflow(self, name: str, version: int | None = None) -> WorkflowSpec:
        """An implementation, by default of the highest version here.

        `UnknownWorkflowError` or `UnknownWorkflowVersionError` when there is none.
        """
        versions = self._workflows.get(name)
        if not versions:
            contracts = self._workflow_contracts.get(name)
            if contracts:
                raise UnknownWorkflowError(
                    f'The workflow "{name}" is only a contract here ({_origin(contracts[-1])}): '
                    "nothing in this project implements it."
                )
            raise UnknownWorkflowError(_unknown("workflow", name, self.workflows(), "workflows.py"))
        found = versions.get(max(versions) if version is None else version)
        if found is None:
            known = ", ".join(str(number) for number in sorted(versions))
            raise UnknownWorkflowVersionError(
                f'The workflow "{name}" has no version {version} here, only {known}. Keep the '
                "class of each version that instances still run."
            )
        return found

    def workflow_spec(self, name: str, version: int | None = None) -> WorkflowSpec:
        """An implementation or else, when there is none of this name, a contract of it."""
        contracts = self._workflow_contracts.get(name)
        if not self._workflows.get(name) and contracts:
            return contracts[-1]
        return self.workflow(name, version)

    def workflow_versions(self, name: str) -> list[int]:
        """The versions of a workflow that can be run here, sorted; empty when there is none."""
        return sorted(self._workflows.get(name, ()))

    def workflows(self) -> list[str]:
        """The stored names of the workflows that can be run here, sorted."""
        return sorted(name for name, versions in self._workflows.items() if versions)

    def workflow_contracts(self) -> list[str]:
        """The stored names of workflows that are only a contract here, sorted."""
        return sorted(self._workflow_contracts.keys() - set(self.workflows()))

    def workflow_of(self, cls: Any) -> WorkflowSpec:
        """What a decorated class (a contract too) was registered as."""
        found = self._workflow_by_class.get(cls) if _hashable(cls) else None
        if found is not None:
            return found
        if self.is_service(cls):
            raise UsageError(f"{_named(cls)} is a service, not a workflow: use new_service().")
        raise RegistryError(
            f"{_named(cls)} is no registered workflow. Decorate the class with @workflow."
        )

    def is_workflow(self, cls: Any) -> bool:
        """Whether this class is registered, as implementation or contract."""
        return _hashable(cls) and cls in self._workflow_by_class

    def method_of(self, function: Any) -> tuple[WorkflowSpec, MethodSpec]:
        """The workflow and method of a function such as `TravelBooking.book`.

        Of a function that several workflows share, it is that of the workflow whose class body
        defines it. A `RegistryError` when none or several are meant.
        """
        found = [
            (spec.cls, (spec, method))
            for spec in self.all_workflows()
            for method in spec.by_attribute.values()
            if method.function is function
        ]
        if not found:
            raise RegistryError(f"{_named(function)} is no public method of a registered workflow.")
        pair: tuple[WorkflowSpec, MethodSpec] = _owner_of(function, found, "method")
        return pair

    # -- all -------------------------------------------------------------------------------

    def all_services(self) -> list[ServiceSpec]:
        """All services, contracts included, sorted by name."""
        with self._lock:
            contracts = [spec for specs in self._service_contracts.values() for spec in specs]
            return sorted([*self._services.values(), *contracts], key=lambda spec: spec.name)

    def all_workflows(self) -> list[WorkflowSpec]:
        """All versions of all workflows, contracts included, sorted by name and version."""
        with self._lock:
            contracts = [spec for specs in self._workflow_contracts.values() for spec in specs]
            found = [spec for known in self._workflows.values() for spec in known.values()]
            return sorted([*found, *contracts], key=lambda spec: (spec.name, spec.version))


registry = Registry()


def _origin_key(spec: ServiceSpec | WorkflowSpec) -> tuple[str, str]:
    return spec.subject.__module__, spec.subject.__qualname__


def _same_origin(one: ServiceSpec | WorkflowSpec, other: ServiceSpec | WorkflowSpec) -> bool:
    return _origin_key(one) == _origin_key(other)


def _origin(spec: ServiceSpec | WorkflowSpec) -> str:
    return f"{'.'.join(_origin_key(spec))} ({spec.place})"


def _decorator(spec: ServiceSpec) -> str:
    return "task" if spec.cls is None else "service"


def _put_contract(contracts: dict[str, list[S]], spec: S) -> None:
    for name, known in list(contracts.items()):
        contracts[name] = [one for one in known if not _same_origin(one, spec)]
        if not contracts[name]:
            del contracts[name]
    contracts.setdefault(spec.name, []).append(spec)


def _drop_origin(specs: dict[Any, S], spec: S) -> None:
    """A reload, perhaps under another name or version, leaves nothing of the former one."""
    for key in [key for key, one in specs.items() if _same_origin(one, spec)]:
        del specs[key]


def _owner_of(function: Any, found: Sequence[tuple[type | None, Any]], what: str) -> Any:
    if len(found) == 1:
        return found[0][1]
    name = function.__name__
    for cls, value in found:
        if cls is not None and vars(cls).get(name) is function:
            return value
    classes = ", ".join(sorted(cls.__qualname__ for cls, _ in found if cls is not None))
    maker = "new_service" if what == "task" else "new_workflow"
    raise RegistryError(
        f"{_named(function)} is a {what} of several registered classes ({classes}). Say which one: "
        f"{maker}(Class).{name}."
    )


def _hashable(subject: Any) -> bool:
    try:
        hash(subject)
    except TypeError:
        return False
    return True


def _named(subject: Any) -> str:
    name = getattr(subject, "__qualname__", None)
    return f"{subject.__module__}.{name}" if name else f"A {type(subject).__qualname__}"


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f'; did you mean "{close[0]}"?' if close else ""


def _listed(known: Iterable[str]) -> str:
    return ", ".join(sorted(known)) or "none"


def _unknown(what: str, name: str, known: list[str], module: str) -> str:
    return (
        f'No {what} "{name}" is registered here{_nearest(name, known)}. Known: {_listed(known)}. '
        f"Define it in {module} of an installed app, or in a module that this imports."
    )
