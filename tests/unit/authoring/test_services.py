"""Declaring services and tasks."""

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import pytest
from asgiref.sync import iscoroutinefunction
from django.contrib.auth.models import User

from django_infinitic.authoring import runtime
from django_infinitic.authoring.decorators import batch, service, task, workflow_method
from django_infinitic.authoring.policy import RetryPolicy
from django_infinitic.exceptions import RegistryError, TaskFailedError
from django_infinitic.registry import Registry, TaskSpec

pytestmark = pytest.mark.usefixtures("fresh_registry")


class SoldOut(Exception):
    pass


def options_of(cls: type, attribute: str) -> TaskSpec:
    return registered(cls).by_attribute[attribute]


def registered(cls):
    from django_infinitic.registry import registry

    return registry.service_of(cls)


class TestTasksOfAClass:
    def test_each_public_method_is_a_task(self, fresh_registry: Registry) -> None:
        class Base:
            def inherited(self) -> str: ...

        @service(name="Cars")
        class Cars(Base):
            colour = "red"

            def book(self) -> str: ...
            async def quote(self) -> str: ...
            def _private(self) -> str: ...
            def __call__(self) -> str: ...
            @staticmethod
            def helper() -> str: ...
            @classmethod
            def make(cls) -> str: ...
            @property
            def wheels(self) -> int: ...

        spec = fresh_registry.service("Cars")
        assert list(spec.tasks) == ["inherited", "book", "quote"]
        assert spec.cls is Cars
        assert spec.contract is False
        assert [one.is_async for one in spec.tasks.values()] == [False, False, True]
        assert spec.tasks["book"].function is Cars.book
        assert spec.tasks["book"].owner is Cars

    def test_options_are_recorded_in_seconds(self) -> None:
        policy = RetryPolicy()

        @service(name="Cars")
        class Cars:
            @task(
                name="take",
                raises=[SoldOut, SoldOut],
                attempt_timeout=timedelta(minutes=1),
                timeout_grace=5,
                total_timeout=600,
                retry=policy,
                atomic=True,
                delegated=True,
            )
            def book(self) -> str: ...

        spec = registered(Cars).tasks["take"]
        assert (spec.service, spec.name, spec.attribute) == ("Cars", "take", "book")
        assert spec.raises == (SoldOut,)
        assert (spec.attempt_timeout, spec.timeout_grace, spec.total_timeout) == (60, 5, 600)
        assert spec.retry is policy
        assert (spec.atomic, spec.delegated, spec.abstract) == (True, True, False)

    def test_the_defaults(self) -> None:
        @service(name="Cars")
        class Cars:
            @task
            def book(self) -> str: ...
            def cancel(self) -> None: ...

        for spec in registered(Cars).tasks.values():
            assert (spec.raises, spec.retry, spec.batch) == ((), None, None)
            assert (spec.attempt_timeout, spec.timeout_grace, spec.total_timeout) == (None, 0, None)
            assert (spec.atomic, spec.delegated) == (None, False)

    def test_what_is_decorated_is_returned_as_it_is(self) -> None:
        class Cars:
            @task
            def book(self) -> str:
                return "booked"

        assert service(name="Cars")(Cars) is Cars
        assert Cars().book() == "booked"

    def test_the_place_is_where_it_was_written(self) -> None:
        @service(name="Cars")
        class Cars:
            def book(self) -> str: ...

        spec = registered(Cars)
        assert spec.place.partition(":")[0].endswith("authoring/test_services.py")
        assert spec.tasks["book"].place.partition(":")[0].endswith("test_services.py")
        assert not spec.place.startswith("/")

    def test_a_model_in_a_signature_is_refused(self) -> None:
        with pytest.raises(RegistryError, match=r"Ref\[User\]"):

            @service(name="Cars")
            class Cars:
                def book(self, user: User) -> str: ...

        with pytest.raises(RegistryError, match=r"its result.*Ref\[User\]"):

            @service(name="Users")
            class Users:
                def all(self) -> list[User]: ...


class TestNames:
    def test_outside_any_app_a_name_must_be_given(self) -> None:
        with pytest.raises(RegistryError, match=r'belongs to no installed app.*name="Cars"'):

            @service
            class Cars:
                def book(self) -> str: ...

        with pytest.raises(RegistryError, match='name="send_mail"'):

            @task
            def send_mail(to: str) -> None: ...

    def test_in_an_app_the_default_begins_with_its_label(self, fresh_registry: Registry) -> None:
        class Cars:
            def book(self) -> str: ...

        Cars.__module__ = "django.contrib.auth.services"
        service(Cars)

        def send_mail(to: str) -> None: ...

        send_mail.__module__ = "django.contrib.auth.services"
        task(send_mail)
        assert fresh_registry.services() == ["auth.Cars", "auth.send_mail"]

    @pytest.mark.parametrize("name", ["", " x", "x ", "x\0", "x" * 256, "\ud800", 5])
    def test_a_name_that_cannot_be_stored_is_refused(self, name) -> None:
        def body(self) -> None: ...

        with pytest.raises(RegistryError):
            service(name=name)(type("Cars", (), {}))
        with pytest.raises(RegistryError):
            task(name=name)(body)

    def test_a_name_may_be_given_by_position(self, fresh_registry: Registry) -> None:
        @service("Cars")
        class Cars:
            def book(self) -> str: ...

        assert fresh_registry.services() == ["Cars"]

    def test_two_tasks_of_one_name_are_refused(self) -> None:
        with pytest.raises(RegistryError, match=r"two tasks named 'book': book .* and take"):

            @service(name="Cars")
            class Cars:
                def book(self) -> str: ...
                @task(name="book")
                def take(self) -> str: ...


class TestContracts:
    def test_a_class_with_abstract_methods_is_only_a_contract(
        self, fresh_registry: Registry
    ) -> None:
        @service(name="Cars")
        class Cars(ABC):
            @abstractmethod
            def book(self) -> str: ...

        assert fresh_registry.services() == []
        assert fresh_registry.service_contracts() == ["Cars"]
        assert registered(Cars).contract is True
        assert registered(Cars).tasks["book"].abstract is True
        with pytest.raises(RegistryError, match="only a contract"):
            fresh_registry.service("Cars")

    def test_abstract_methods_count_without_abc_too(self) -> None:
        @service(name="Cars")
        class Cars:
            @abstractmethod
            def book(self) -> str: ...

        assert registered(Cars).contract is True

    def test_any_protocol_is_a_contract(self) -> None:
        @service(name="Cars")
        class Cars(Protocol):
            def book(self) -> str: ...

        assert registered(Cars).contract is True
        assert registered(Cars).tasks["book"].abstract is True
        assert list(registered(Cars).tasks) == ["book"]

    def test_a_decorated_subclass_implements_it_with_its_names_and_options(
        self, fresh_registry: Registry
    ) -> None:
        policy = RetryPolicy()

        @service(name="Cars")
        class Cars(ABC):
            @task(name="take", raises=(SoldOut,), delegated=True, retry=policy, total_timeout=5)
            @abstractmethod
            def book(self) -> str: ...

        @service
        class Garage(Cars):
            @task(total_timeout=9, retry=None)
            def book(self) -> str: ...

        spec = fresh_registry.service("Cars")
        assert spec.cls is Garage
        found = spec.tasks["take"]
        assert found.function is Garage.book
        assert (found.raises, found.delegated, found.total_timeout) == ((SoldOut,), True, 9)
        assert found.retry is None
        assert registered(Cars).contract is True
        assert fresh_registry.service_spec("Cars") is spec

    def test_raises_may_be_taken_back(self) -> None:
        @service(name="Cars")
        class Cars(ABC):
            @task(raises=(SoldOut,))
            @abstractmethod
            def book(self) -> str: ...

        @service
        class Garage(Cars):
            @task(raises=())
            def book(self) -> str: ...

        assert options_of(Garage, "book").raises == ()

    def test_two_implementations_are_refused_with_both_places(self) -> None:
        @service(name="Cars")
        class Cars:
            def book(self) -> str: ...

        with pytest.raises(RegistryError) as caught:

            @service
            class Garage(Cars):
                def book(self) -> str: ...

        text = str(caught.value)
        assert 'Two services are named "Cars"' in text
        assert "<locals>.Cars (" in text
        assert "<locals>.Garage (" in text
        assert '@service(name="...")' in text

    def test_a_refused_class_gives_no_name_to_subclasses(self) -> None:
        class Cars:
            @task(atomic=True)
            async def book(self) -> str: ...

        with pytest.raises(RegistryError):
            service(name="Cars")(Cars)
        Garage = type("Garage", (Cars,), {"book": lambda self: None})
        with pytest.raises(RegistryError, match="no default name"):
            service(Garage)

    def test_the_same_class_again_is_a_reload(self, fresh_registry: Registry) -> None:
        def load(name: str) -> type:
            @service(name=name)
            class Cars:
                def book(self) -> str: ...

            return Cars

        old, new = load("Cars"), load("Cars")
        assert fresh_registry.service("Cars").cls is new
        assert registered(old).cls is old
        load("Renamed")
        assert fresh_registry.services() == ["Renamed"]


class TestFunctionTasks:
    def test_a_function_is_a_service_of_one_task(self, fresh_registry: Registry) -> None:
        @task(name="Mailer", raises=(SoldOut,))
        def send_mail(to: str, body: str = "") -> int:
            """Sends."""
            return len(to)

        spec = fresh_registry.task("Mailer", "send_mail")
        assert (spec.owner, spec.raises, spec.attribute) == (None, (SoldOut,), "send_mail")
        assert fresh_registry.service_of(send_mail) is fresh_registry.service("Mailer")
        assert fresh_registry.task_of(send_mail) is spec
        assert fresh_registry.service("Mailer").cls is None

    def test_called_outside_workflow_code_it_is_the_plain_function(self) -> None:
        @task(name="Mailer")
        def send_mail(to: str, *, body: str = "") -> str:
            """Sends."""
            return to + body

        assert send_mail("a", body="b") == "ab"
        assert (send_mail.__name__, send_mail.__doc__) == ("send_mail", "Sends.")

    def test_an_async_function_stays_one(self) -> None:
        @task(name="Mailer")
        async def send_mail(to: str) -> str:
            return to

        assert iscoroutinefunction(send_mail)
        assert asyncio.run(send_mail("a")) == "a"

    def test_called_in_inline_code_it_is_the_plain_function(self) -> None:
        @task(name="Mailer")
        def send_mail(to: str) -> str:
            return to

        with runtime.running(object()), runtime.inlining():  # type: ignore[arg-type]
            assert send_mail("a") == "a"

    def test_a_lambda_or_generator_is_refused(self) -> None:
        with pytest.raises(RegistryError, match="lambda"):
            task(name="Mailer")(lambda to: to)

        with pytest.raises(RegistryError, match="generator"):

            @task(name="Mailer")
            def send_many() -> list[str]:
                yield "a"


class TestMistakes:
    def test_an_atomic_task_cannot_be_async(self) -> None:
        with pytest.raises(RegistryError, match=r"Cars.book .*async def with atomic=True"):

            @service(name="Cars")
            class Cars:
                @task(atomic=True)
                async def book(self) -> str: ...

    @pytest.mark.parametrize(
        "options",
        [
            {"raises": SoldOut},
            {"raises": ("SoldOut",)},
            {"raises": (KeyboardInterrupt,)},
            {"raises": 5},
            {"raises": (TaskFailedError,)},
            {"attempt_timeout": 0},
            {"attempt_timeout": "30"},
            {"attempt_timeout": timedelta(seconds=-1)},
            {"timeout_grace": -1},
            {"timeout_grace": None},
            {"total_timeout": float("inf")},
            {"retry": 3},
            {"retry": RetryPolicy},
            {"retry": lambda: None},
            {"atomic": 1},
            {"delegated": None},
        ],
        ids=repr,
    )
    def test_a_wrong_option_is_refused_and_the_place_named(self, options) -> None:
        with pytest.raises(RegistryError, match=r"Cars\.book.*test_services\.py:\d+"):

            class Cars:
                @task(**options)
                def book(self) -> str: ...

    def test_an_unknown_option_is_refused(self) -> None:
        with pytest.raises(TypeError, match="retries"):
            task(retries=3)  # type: ignore[call-overload]

    def test_static_class_and_private_methods_and_properties_are_no_tasks(self) -> None:
        for kind in (staticmethod, classmethod, property):
            with pytest.raises(RegistryError, match=kind.__name__):

                @service(name="Cars")
                class Cars:
                    @kind
                    @task
                    def book(self) -> str: ...

            with pytest.raises(RegistryError, match=kind.__name__):

                class Garage:
                    @task
                    @kind
                    def book(self) -> str: ...

        with pytest.raises(RegistryError, match="private"):

            @service(name="Cars")
            class Private:
                @task
                def _book(self) -> str: ...

    def test_a_class_is_no_task_and_a_function_no_service(self) -> None:
        with pytest.raises(RegistryError, match="a class is a @service"):

            @task
            class Cars: ...

        with pytest.raises(RegistryError, match="a function is a @task"):

            @service
            def book() -> str: ...

        with pytest.raises(RegistryError, match="@workflow_method"):

            @service(name="Cars")
            class Garage:
                @workflow_method
                def book(self) -> str: ...

    def test_a_function_task_is_no_method(self) -> None:
        @task(name="Mailer")
        def send_mail(to: str) -> None: ...

        with pytest.raises(RegistryError, match="function task send_mail"):

            @service(name="Cars")
            class Cars:
                mail = send_mail

    def test_a_service_is_made_without_arguments(self) -> None:
        with pytest.raises(RegistryError, match="__init__ needs arguments"):

            @service(name="Cars")
            class Cars:
                def __init__(self, garage: str) -> None: ...

        @service(name="Fine")
        @dataclass
        class Fine:
            garage: str = "mine"

    def test_a_generator_or_a_method_without_self_is_no_task(self) -> None:
        with pytest.raises(RegistryError, match="generator"):

            @service(name="Cars")
            class Cars:
                def book(self) -> list[str]:
                    yield "a"

        with pytest.raises(RegistryError, match="takes no self"):

            @service(name="Cars")
            class Garage:
                def book() -> str: ...  # type: ignore[misc]


class TestBatches:
    def test_a_batch_belongs_to_its_task_and_is_none_itself(self) -> None:
        @service(name="Mail")
        class Mail:
            @task(retry=RetryPolicy())
            def send(self, to: str) -> int: ...

            @batch(send, max_size=10, max_seconds=timedelta(minutes=1))
            def send_many(self, many: dict[str, str]) -> dict[str, int]: ...

        spec = registered(Mail)
        assert list(spec.tasks) == ["send"]
        found = spec.tasks["send"].batch
        assert found is not None
        assert (found.attribute, found.function) == ("send_many", Mail.send_many)
        assert (found.max_size, found.max_seconds, found.is_async) == (10, 60, False)
        assert found.item is None

    def test_the_defaults(self) -> None:
        @service(name="Mail")
        class Mail:
            async def send(self, to: str) -> int: ...
            @batch(send)
            async def send_many(self, many: dict[str, str]) -> dict[str, int]: ...

        found = options_of(Mail, "send").batch
        assert found is not None
        assert (found.max_size, found.max_seconds, found.is_async) == (1000, 1, True)

    def test_several_arguments_make_one_item(self) -> None:
        @service(name="Mail")
        class Mail:
            def send(self, to: str, body: str) -> int: ...
            @batch(send)
            def send_many(self, many: dict[str, Letter]) -> dict[str, int]: ...

        found = options_of(Mail, "send").batch
        assert found is not None
        assert found.item is not None
        assert found.item("a", "b") == Letter("a", "b")

    def test_several_arguments_without_a_class_for_them_are_refused(self) -> None:
        with pytest.raises(RegistryError, match=r"send takes 2 arguments.*dict\[str, Item\]"):

            @service(name="Mail")
            class Mail:
                def send(self, to: str, body: str) -> int: ...
                @batch(send)
                def send_many(self, many: dict[str, str]) -> dict[str, int]: ...

    def test_it_is_inherited_but_not_for_an_overridden_task(self) -> None:
        class Base:
            def send(self, to: str) -> int: ...
            @batch(send)
            def send_many(self, many: dict[str, str]) -> dict[str, int]: ...

        @service(name="Mail")
        class Mail(Base): ...

        assert options_of(Mail, "send").batch is not None
        with pytest.raises(RegistryError, match=r"Override send_many too: @batch\(send\)"):

            @service(name="Other")
            class Other(Base):
                def send(self, to: str) -> int: ...

    def test_wrong_batches_are_refused(self) -> None:
        def foreign(self, to: str) -> int: ...

        with pytest.raises(RegistryError, match="a task of the same class"):

            @service(name="Mail")
            class Foreign:
                @batch(foreign)
                def send_many(self, many: dict[str, str]) -> dict[str, int]: ...

        with pytest.raises(RegistryError, match="both batches of send"):

            @service(name="Mail")
            class Twice:
                def send(self, to: str) -> int: ...
                @batch(send)
                def one(self, many: dict[str, str]) -> dict[str, int]: ...
                @batch(send)
                def two(self, many: dict[str, str]) -> dict[str, int]: ...

        with pytest.raises(RegistryError, match="takes one dict"):

            @service(name="Mail")
            class Shape:
                def send(self, to: str) -> int: ...
                @batch(send)  # type: ignore[arg-type]
                def send_many(self) -> dict[str, int]: ...

        for options in ({"max_size": 0}, {"max_size": 1.5}, {"max_seconds": 0}):
            with pytest.raises(RegistryError, match="max_s"):

                class Numbers:
                    def send(self, to: str) -> int: ...
                    @batch(send, **options)
                    def send_many(self, many: dict[str, str]) -> dict[str, int]: ...


@dataclass
class Letter:
    to: str
    body: str
