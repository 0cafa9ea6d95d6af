"""Replays of stored histories against the present code: nothing is recorded or sent."""

from __future__ import annotations

from dataclasses import dataclass

from django_infinitic.exceptions import (
    RegistryError,
    SerializationError,
    UnknownMethodError,
    UsageError,
    WorkflowChangedError,
)
from django_infinitic.fibres.run import MethodRun
from django_infinitic.fibres.runs import attach, bury_unless_dropped, replay
from django_infinitic.machine.state import Instance, Method
from django_infinitic.registry import WorkflowSpec, registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What became of one method: `error` None is a replay that met what was recorded.

    `folded`: it was not replayed, as the properties that it began with are not known any more.
    """

    method_id: str
    method_name: str
    error: Exception | None = None
    folded: bool = False


def replay_methods(state: Instance, *, folded_to: int = 0) -> list[Replay]:
    """Replay all methods of an instance, ended ones too, against the class registered here.

    `folded_to`: up to this step its properties have been folded into one row. An unregistered
    workflow or version is a `RegistryError`.
    """
    spec = registry.workflow(state.workflow, state.version)
    attach(state, spec)
    return [
        _replayed(state, spec, method, folded=method.step < folded_to)
        for method in state.methods.values()
        if method.segments
    ]


def _replayed(state: Instance, spec: WorkflowSpec, method: Method, *, folded: bool) -> Replay:
    if folded:
        return Replay(method_id=method.id, method_name=method.name, folded=True)
    try:
        _replay(state, spec, method)
    except (WorkflowChangedError, SerializationError, RegistryError, UsageError) as error:
        return Replay(method_id=method.id, method_name=method.name, error=error)
    return Replay(method_id=method.id, method_name=method.name)


def _replay(state: Instance, spec: WorkflowSpec, method: Method) -> None:
    found = spec.methods.get(method.name)
    if found is None:
        raise UnknownMethodError(
            f'The workflow "{spec.name}" ({spec.place}) has no method "{method.name}".'
        )
    run = MethodRun(state, method, spec, found)
    try:
        replay(run, method)
    finally:
        bury_unless_dropped(run)
