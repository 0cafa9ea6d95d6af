"""The registry: what is known by name, and what is said of the rest."""

import pytest

from django_infinitic.authoring.decorators import service, task, workflow
from django_infinitic.authoring.workflow import Workflow
from django_infinitic.exceptions import (
    RegistryError,
    UnknownServiceError,
    UnknownTaskError,
    UnknownWorkflowError,
    UnknownWorkflowVersionError,
    UsageError,
)
from django_infinitic.registry import Hooks, Registry


@pytest.fixture
def known(fresh_registry: Registry) -> Registry:
    class Base:
        def inherited(self) -> str: ...

    @service(name="travel.Cars")
    class Cars(Base):
        def book(self) -> str: ...

    @service(name="travel.Hotels")
    class Hotels(Base):
        def book(self) -> str: ...

    @workflow(name="travel.Booking", version=1)
    class Booking(Workflow):
        def book(self) -> str: ...
        def cancel(self) -> str: ...

    @workflow(version=2)
    class BookingTwo(Booking):
        def book(self) -> str: ...

    return fresh_registry


class TestUnknownNames:
    def test_of_a_service_it_names_the_nearest_and_the_known(self, known: Registry) -> None:
        with pytest.raises(UnknownServiceError) as caught:
            known.service("travel.Car")
        text = str(caught.value)
        assert 'did you mean "travel.Cars"?' in text
        assert "Known: travel.Cars, travel.Hotels." in text
        assert "services.py" in text

    def test_of_a_task_it_names_those_of_the_service(self, known: Registry) -> None:
        with pytest.raises(UnknownTaskError, match=r'did you mean "book".*book, inherited'):
            known.task("travel.Cars", "boook")

    def test_of_a_workflow_and_of_a_version(self, known: Registry) -> None:
        with pytest.raises(UnknownWorkflowError, match=r"Known: travel\.Booking"):
            known.workflow("something")
        with pytest.raises(UnknownWorkflowVersionError, match="no version 3 here, only 1, 2"):
            known.workflow("travel.Booking", 3)
        assert known.workflow_versions("something") == []

    def test_an_empty_registry_says_none(self, fresh_registry: Registry) -> None:
        with pytest.raises(UnknownWorkflowError, match="Known: none"):
            fresh_registry.workflow("something")

    def test_of_a_class_that_is_not_decorated(self, known: Registry) -> None:
        for thing in (int, object(), [], print):
            with pytest.raises(RegistryError, match="no registered service"):
                known.service_of(thing)
            with pytest.raises(RegistryError, match="no registered workflow"):
                known.workflow_of(thing)

    def test_services_and_workflows_are_not_mixed_up(self, known: Registry) -> None:
        with pytest.raises(UsageError, match=r"use new_workflow\(\)"):
            known.service_of(known.workflow("travel.Booking").cls)
        with pytest.raises(UsageError, match=r"use new_service\(\)"):
            known.workflow_of(known.service("travel.Cars").cls)


class TestFunctions:
    def test_a_function_of_one_class_is_found(self, known: Registry) -> None:
        cars = known.service("travel.Cars")
        assert known.task_of(cars.cls.book) is cars.tasks["book"]  # type: ignore[union-attr]

    def test_a_shared_one_means_the_class_whose_body_defines_it(self, known: Registry) -> None:
        first = known.workflow("travel.Booking", 1)
        spec, method = known.method_of(first.cls.cancel)
        assert (spec.version, method.name) == (1, "cancel")
        spec, _ = known.method_of(known.workflow("travel.Booking", 2).cls.book)
        assert spec.version == 2

    def test_one_of_a_base_that_is_not_registered_is_ambiguous(self, known: Registry) -> None:
        inherited = known.service("travel.Cars").by_attribute["inherited"].function
        with pytest.raises(RegistryError, match=r"Cars.*Hotels.*new_service\(Class\)\.inherited"):
            known.task_of(inherited)

    def test_what_is_no_task_or_method_is_refused(self, known: Registry) -> None:
        with pytest.raises(RegistryError, match="no task"):
            known.task_of(print)
        with pytest.raises(RegistryError, match="no public method"):
            known.method_of(print)


class TestListings:
    def test_names_are_sorted(self, known: Registry) -> None:
        @task(name="a.first")
        def first() -> None: ...

        assert known.services() == ["a.first", "travel.Cars", "travel.Hotels"]
        assert known.workflows() == ["travel.Booking"]
        assert [spec.version for spec in known.all_workflows()] == [1, 2]
        assert [spec.name for spec in known.all_services()] == known.services()

    def test_specs_cannot_be_changed(self, known: Registry) -> None:
        spec = known.service("travel.Cars")
        with pytest.raises(AttributeError):
            spec.name = "other"  # type: ignore[misc]
        with pytest.raises(TypeError):
            spec.tasks["x"] = spec.tasks["book"]  # type: ignore[index]


class TestHooks:
    def test_one_that_nobody_has_filled_says_what_to_do(self) -> None:
        with pytest.raises(UsageError, match="INSTALLED_APPS"):
            Hooks().require("call")

    def test_one_that_is_filled_is_given(self) -> None:
        assert Hooks(call=print).require("call") is print
        assert Hooks(more={"ask": print}).require("ask") is print
