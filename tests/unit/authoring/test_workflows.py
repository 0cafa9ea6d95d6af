"""Declaring workflows and their methods."""

from abc import ABC, abstractmethod
from datetime import timedelta
from typing import ClassVar, Protocol

import pytest
from django.contrib.auth.models import User

from django_infinitic.authoring.channel import Channel
from django_infinitic.authoring.decorators import service, task, workflow, workflow_method
from django_infinitic.authoring.ends import WorkflowEnd
from django_infinitic.authoring.policy import RetryPolicy
from django_infinitic.authoring.transient import transient
from django_infinitic.authoring.workflow import Workflow
from django_infinitic.exceptions import RegistryError, UsageError
from django_infinitic.registry import Registry, WorkflowSpec, registry

pytestmark = pytest.mark.usefixtures("fresh_registry")


class SoldOut(Exception):
    pass


class NoMoney(Exception):
    pass


def registered(cls: type) -> WorkflowSpec:
    return registry.workflow_of(cls)


class TestMethods:
    def test_each_public_method_can_be_run(self) -> None:
        class Base(Workflow):
            def inherited(self) -> str: ...

        @workflow(name="Booking", version=3)
        class Booking(Base):
            limit = 5

            def book(self) -> str: ...
            async def quote(self) -> str: ...
            def _private(self) -> str: ...
            @staticmethod
            def helper() -> str: ...
            @property
            def size(self) -> int: ...

        spec = registered(Booking)
        assert (spec.name, spec.version, spec.cls, spec.contract) == ("Booking", 3, Booking, False)
        assert list(spec.methods) == ["inherited", "book", "quote"]
        assert [one.is_async for one in spec.methods.values()] == [False, False, True]

    def test_options_are_recorded(self) -> None:
        policy = RetryPolicy()

        @workflow(
            name="Booking",
            raises=(SoldOut,),
            check_mode="strict",
            retry=policy,
            total_timeout=timedelta(minutes=1),
        )
        class Booking(Workflow):
            @workflow_method(name="take", raises=(NoMoney,), total_timeout=5, check_mode="none")
            def book(self) -> str: ...

            def cancel(self) -> str: ...

        spec = registered(Booking)
        assert (spec.raises, spec.check_mode, spec.retry) == ((SoldOut,), "strict", policy)
        assert spec.total_timeout == 60
        own = spec.methods["take"]
        assert own.attribute == "book"
        assert (own.raises, own.total_timeout, own.check_mode) == ((NoMoney,), 5, "none")
        other = spec.by_attribute["cancel"]
        assert (other.raises, other.total_timeout, other.check_mode) == ((SoldOut,), 60, "strict")

    def test_the_defaults(self) -> None:
        @workflow(name="Booking")
        class Booking(Workflow):
            @workflow_method
            def book(self) -> str: ...

        spec = registered(Booking)
        assert (spec.version, spec.raises, spec.check_mode) == (0, (), "simple")
        assert (spec.retry, spec.total_timeout, spec.on_end, spec.on_stall) == (None,) * 4

    def test_a_method_may_declare_nothing(self) -> None:
        @workflow(name="Booking", raises=(SoldOut,))
        class Booking(Workflow):
            @workflow_method(raises=())
            def book(self) -> str: ...

        assert registered(Booking).methods["book"].raises == ()

    def test_a_method_declares_what_the_one_it_overrides_declares(self) -> None:
        class Base(Workflow):
            @workflow_method(name="take", raises=(NoMoney,), total_timeout=5)
            def book(self) -> str: ...

        @workflow(name="Booking", raises=(SoldOut,), total_timeout=9)
        class Booking(Base):
            def book(self) -> str: ...

        found = registered(Booking).methods["take"]
        assert (found.raises, found.total_timeout) == ((NoMoney,), 5)
        assert found.function is Booking.book


class TestChannelsAndProperties:
    def test_channels_are_found_by_attribute(self) -> None:
        class Base(Workflow):
            inherited = Channel(str)

        @workflow(name="Booking")
        class Booking(Base):
            changed = Channel[str | int](name="change", buffer=False)

        channels = registered(Booking).channels
        assert set(channels) == {"inherited", "changed"}
        assert channels["changed"] is Booking.changed
        assert channels["changed"].name == "change"

    def test_two_channels_of_one_name_are_refused(self) -> None:
        with pytest.raises(RegistryError, match="two channels named 'change'"):

            @workflow(name="Booking")
            class Booking(Workflow):
                change = Channel(str)
                other = Channel(str, name="change")

    def test_properties_are_what_class_bodies_annotate(self) -> None:
        class Base(Workflow):
            price: int

        @workflow(name="Booking")
        class Booking(Base):
            log: list[str]
            _hidden: str
            label: str = "default"
            shared: ClassVar[int] = 3
            helper: object = transient(object)
            changed: Channel[str] = Channel(str)

            def book(self) -> str: ...

        properties = registered(Booking).properties
        assert set(properties) == {"price", "log", "_hidden", "label"}
        assert properties["log"].annotation == list[str]

    def test_transients_are_found_with_their_factories(self) -> None:
        class Helper: ...

        @workflow(name="Booking")
        class Booking(Workflow):
            helper = transient(Helper)

        assert registered(Booking).transients == {"helper": Helper}

    def test_transient_takes_something_that_makes_the_value(self) -> None:
        with pytest.raises(UsageError, match=r"transient\(list\)"):
            transient([])  # type: ignore[arg-type]

    @pytest.mark.parametrize("value", [[], {}, set(), bytearray(), type("Bag", (dict,), {})()])
    def test_a_mutable_class_attribute_is_refused(self, value) -> None:
        with pytest.raises(RegistryError) as caught:

            @workflow(name="Booking")
            class Booking(Workflow):
                log = value

        text = str(caught.value)
        assert "Booking.log is a mutable class attribute" in text
        assert "__init__" in text
        assert "transient(" in text

    def test_so_is_an_inherited_or_private_one_but_not_one_that_is_overridden(self) -> None:
        class Base(Workflow):
            _log = []

        with pytest.raises(RegistryError, match=r"Base\._log"):

            @workflow(name="Booking")
            class Booking(Base): ...

        @workflow(name="Other")
        class Other(Base):
            _log = ()  # type: ignore[assignment]

    def test_constants_and_stubs_are_fine(self) -> None:
        from django_infinitic.authoring.stub import new_service

        @service(name="Cars")
        class Cars:
            def book(self) -> str: ...

        @workflow(name="Booking")
        class Booking(Workflow):
            cars = new_service(Cars)
            limit = 5
            names = ("a", "b")
            kinds = frozenset({1})


class TestVersions:
    def test_a_subclass_with_another_version_is_the_next_one(
        self, fresh_registry: Registry
    ) -> None:
        @workflow(name="Booking", version=1, raises=(SoldOut,), check_mode="strict")
        class Booking(Workflow):
            def book(self) -> str: ...

        @workflow(version=2, check_mode="none")
        class BookingTwo(Booking):
            def book(self) -> str: ...

        assert fresh_registry.workflow_versions("Booking") == [1, 2]
        assert fresh_registry.workflow("Booking").cls is BookingTwo
        assert fresh_registry.workflow("Booking", 1).cls is Booking
        assert registered(BookingTwo).raises == (SoldOut,)
        assert registered(BookingTwo).check_mode == "none"

    def test_the_same_version_is_refused_with_both_places_and_the_remedy(self) -> None:
        @workflow(name="Booking", version=4)
        class Booking(Workflow): ...

        with pytest.raises(RegistryError) as caught:

            @workflow(version=4)
            class Again(Booking): ...

        text = str(caught.value)
        assert '"Booking" with version 4' in text
        assert "<locals>.Booking (" in text
        assert "<locals>.Again (" in text
        assert "@workflow(version=5)" in text
        assert "name=" in text

    def test_the_same_class_again_is_a_reload_whatever_its_version(
        self, fresh_registry: Registry
    ) -> None:
        def load(version: int) -> type:
            @workflow(name="Booking", version=version)
            class Booking(Workflow): ...

            return Booking

        load(1)
        newest = load(1)
        assert fresh_registry.workflow("Booking").cls is newest
        load(2)
        assert fresh_registry.workflow_versions("Booking") == [2]

    @pytest.mark.parametrize("version", [-1, 1.0, "1", True, None])
    def test_a_version_is_an_int_from_0_up(self, version) -> None:
        with pytest.raises(RegistryError, match="version"):
            workflow(name="Booking", version=version)


class TestContracts:
    def test_an_abstract_class_needs_no_workflow_base(self, fresh_registry: Registry) -> None:
        @workflow(name="Booking", raises=(SoldOut,))
        class Booking(ABC):
            changed = Channel(str)

            @workflow_method(name="take")
            @abstractmethod
            def book(self) -> str: ...

        assert registered(Booking).contract is True
        assert set(registered(Booking).channels) == {"changed"}
        assert fresh_registry.workflows() == []
        assert fresh_registry.workflow_contracts() == ["Booking"]
        with pytest.raises(RegistryError, match="only a contract"):
            fresh_registry.workflow("Booking")

        @workflow
        class Trip(Workflow, Booking):
            def book(self) -> str: ...

        spec = fresh_registry.workflow("Booking")
        assert spec.cls is Trip
        assert spec.methods["take"].raises == (SoldOut,)

    def test_any_protocol_is_a_contract(self) -> None:
        @workflow(name="Booking")
        class Booking(Protocol):
            def book(self) -> str: ...

        assert registered(Booking).contract is True
        assert list(registered(Booking).methods) == ["book"]


class TestEnds:
    def test_they_are_a_function_task_or_a_method_of_a_service(self) -> None:
        @task(name="Told")
        def told(end: WorkflowEnd) -> None: ...

        @service(name="Watcher")
        class Watcher:
            @task(name="stall")
            def stalled(self, end: WorkflowEnd) -> None: ...

        @workflow(name="Booking", on_end=told, on_stall=Watcher.stalled)
        class Booking(Workflow): ...

        spec = registered(Booking)
        assert spec.on_end is not None
        assert (spec.on_end.service, spec.on_end.name) == ("Told", "told")
        assert spec.on_stall is not None
        assert (spec.on_stall.service, spec.on_stall.name) == ("Watcher", "stall")

        @workflow(version=1)
        class Next(Booking): ...

        @workflow(version=2, on_end=None)
        class Silent(Booking): ...

        assert registered(Next).on_end is spec.on_end
        assert registered(Silent).on_end is None

    def test_anything_else_is_refused(self) -> None:
        @task(name="Told")
        def nothing() -> None: ...

        with pytest.raises(RegistryError, match=r"on_end=.*function task or a service's method"):
            workflow(name="Booking", on_end=print)
        with pytest.raises(RegistryError, match="one argument, a WorkflowEnd"):
            workflow(name="Booking", on_stall=nothing)


class TestMistakes:
    def test_it_must_derive_from_workflow(self) -> None:
        with pytest.raises(RegistryError, match=r"class Booking\(Workflow\)"):

            @workflow(name="Booking")
            class Booking:
                def book(self) -> str: ...

    @pytest.mark.parametrize(
        "name",
        [
            "context",
            "dispatch",
            "timer",
            "sleep",
            "inline",
            "now",
            "random",
            "uuid4",
            "saga",
            "human_task",
            "logger",
        ],
    )
    def test_no_name_of_workflow_may_be_hidden(self, name: str) -> None:
        for body in (
            {name: lambda self: None},
            {name: 5},
            {"__annotations__": {name: str}},
        ):
            with pytest.raises(RegistryError, match=rf"Booking\.{name} hides Workflow\.{name}"):
                workflow(name="Booking")(type("Booking", (Workflow,), dict(body)))

    def test_its_decorator_is_not_that_of_tasks(self) -> None:
        with pytest.raises(RegistryError, match="@workflow_method"):

            @workflow(name="Booking")
            class Booking(Workflow):
                @task
                def book(self) -> str: ...

        with pytest.raises(RegistryError, match="that is for classes"):

            @workflow
            def book() -> str: ...

        with pytest.raises(RegistryError, match="methods of a class"):

            @workflow_method
            def cancel() -> str: ...

    def test_a_model_in_a_signature_is_refused(self) -> None:
        with pytest.raises(RegistryError, match=r"Ref\[User\]"):

            @workflow(name="Booking")
            class Booking(Workflow):
                def book(self, user: User) -> str: ...

    def test_two_methods_of_one_name_are_refused(self) -> None:
        with pytest.raises(RegistryError, match="two methods named 'book'"):

            @workflow(name="Booking")
            class Booking(Workflow):
                def book(self) -> str: ...
                @workflow_method(name="book")
                def take(self) -> str: ...

    def test_it_is_made_without_arguments(self) -> None:
        with pytest.raises(RegistryError, match="__init__ needs arguments"):

            @workflow(name="Booking")
            class Booking(Workflow):
                def __init__(self, cart: str) -> None: ...

    @pytest.mark.parametrize(
        "options",
        [
            {"raises": SoldOut},
            {"check_mode": "loose"},
            {"check_mode": None},
            {"retry": 3},
            {"total_timeout": 0},
        ],
        ids=repr,
    )
    def test_a_wrong_option_names_the_place(self, options) -> None:
        with pytest.raises(RegistryError, match=r"test_workflows\.py:\d+"):
            workflow(name="Booking", **options)
        if options.get("check_mode", "") is not None and "retry" not in options:
            with pytest.raises(RegistryError, match=r"book .*test_workflows\.py:\d+"):

                class Booking(Workflow):
                    @workflow_method(**options)
                    def book(self) -> str: ...
