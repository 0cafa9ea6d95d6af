"""Values at every boundary: copied, checked, and refused where they are handed over."""

import dataclasses
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from django.db import models

from django_infinitic import Workflow, client, new_service, new_workflow, service, task, workflow
from django_infinitic.authoring.channel import Channel
from django_infinitic.exceptions import (
    PayloadTooLargeError,
    SerializationError,
    TaskFailedError,
    WorkflowCodeError,
    WorkflowFailedError,
)
from django_infinitic.test import WorkflowEnvironment

from .world import Desk


class Size(models.TextChoices):
    LARGE = "l", "Large"


@dataclasses.dataclass
class Cart:
    items: list[str]
    price: Decimal = Decimal(0)


@dataclasses.dataclass
class BigCart(Cart):
    more: int = 0


@dataclasses.dataclass
class Box:
    items: list[str]
    price: Decimal = Decimal(0)


@service(name="values.Shop")
class Shop:
    def fill(self, cart: Cart, item: str) -> Cart:
        cart.items.append(item)
        return cart

    def wrong(self) -> int:
        return "no number"  # type: ignore[return-value]

    def dropped(self) -> None:
        return 5  # type: ignore[return-value]

    def untyped(self, value):  # type: ignore[no-untyped-def]
        return value

    def either(self, value: Cart | Box) -> Box | Cart:
        return Box(value.items) if isinstance(value, Cart) else Cart(value.items)

    @task(raises=())
    def bad_dict(self) -> dict[str, object]:
        return {"a": object()}


@workflow(name="values.Flow")
class Flow(Workflow):
    shop = new_service(Shop)
    desk = new_service(Desk)
    carts = Channel(Cart)
    either = Channel[Cart | Box]()

    cart: Cart
    seen: set[int]
    choice: Cart | Box | None

    def __init__(self) -> None:
        self.cart = Cart([])

    def copies(self, cart: Cart) -> list[list[str]]:
        given = cart
        filled = self.shop.fill(cart, "b")
        seen = [list(given.items), list(filled.items)]
        task = self.dispatch(self.shop.fill, cart, "c")
        cart.items.append("afterwards")
        again = task.result()
        twice = task.result()
        again.items.append("mine")
        return [*seen, again.items, twice.items]

    def message_is_a_copy(self) -> list[str]:
        cart = Cart(["x"])
        self.carts.send(cart)
        cart.items.append("later")
        return self.carts.receive().result().items

    def properties_are_copies(self) -> list[str]:
        items = ["a"]
        self.cart = Cart(items)
        self.sleep(1)
        items.append("shared")
        self.sleep(1)
        return self.cart.items

    def child_is_a_copy(self) -> list[str]:
        cart = Cart(["a"])
        other = new_workflow(Flow).gives_back(cart)
        cart.items.append("b")
        return other.items

    def gives_back(self, cart: Cart) -> Cart:
        cart.items.append("child")
        return cart

    def wrong_argument(self) -> None:
        self.shop.fill({"items": []}, "x")  # type: ignore[arg-type]

    def subclass_argument(self) -> None:
        self.shop.fill(BigCart([]), "x")

    def wrong_result_of_task(self) -> int:
        return self.shop.wrong()

    def dropped(self) -> str:
        return str(self.shop.dropped())

    def wrong_result(self) -> int:
        return "five"  # type: ignore[return-value]

    def wrong_property(self) -> None:
        self.cart = "none"  # type: ignore[assignment]
        self.sleep(1)

    def unannotated_property(self) -> str:
        self.plain = {"a": [1, None, Decimal(2), datetime(2024, 1, 1, tzinfo=UTC)]}
        self.sleep(1)
        return str(self.plain)

    def unannotated_object(self) -> None:
        self.plain = Cart([])
        self.sleep(1)

    def deferred_property(self) -> None:
        self.kept = self.timer(1)
        self.sleep(1)

    def deferred_argument(self) -> None:
        self.shop.untyped(self.timer(1))

    def caught(self) -> str:
        try:
            self.shop.fill("cart", "x")  # type: ignore[arg-type]
        except SerializationError as error:
            self.sleep(1)
            return str(error)
        return "stored"

    def untyped(self, value):  # type: ignore[no-untyped-def]
        self.sleep(1)
        return self.shop.untyped(value)

    def union(self) -> list[str]:
        one, two = self.shop.either(Cart(["a"])), self.shop.either(Box(["b"]))
        self.choice = one
        self.sleep(1)
        kinds = [type(one).__name__, type(two).__name__, type(self.choice).__name__]
        got = self.either.receive(of=Box).result()
        return [*kinds, type(got).__name__]

    def choices(self, size: str) -> str:
        return f"{type(size).__name__} {size}"

    def large(self) -> str:
        return "x" * 2_100_000

    def large_argument(self) -> None:
        self.desk.upper("x" * 2_100_000)

    def undecodable(self, number: int) -> int:
        self.sleep(1)
        return number


def refusal(handle: client.WorkflowHandle[object]) -> str:
    with pytest.raises(WorkflowFailedError) as caught:
        handle.result()
    nested = caught.value.deferred_error
    assert isinstance(nested, WorkflowCodeError)
    failure = nested.last_failure.exception
    assert failure.is_a(SerializationError), failure
    return failure.message


class TestCopies:
    def test_arguments_and_results(self, env: WorkflowEnvironment) -> None:
        given = Cart(["a"])
        handle = client.start(Flow.copies, given)
        given.items.append("caller")
        assert handle.result() == [
            ["a"],
            ["a", "b"],
            ["a", "c", "mine"],
            ["a", "c"],
        ]

    def test_messages(self, env: WorkflowEnvironment) -> None:
        assert client.start(Flow.message_is_a_copy).result() == ["x"]

    def test_children(self, env: WorkflowEnvironment) -> None:
        assert client.start(Flow.child_is_a_copy).result() == ["a", "child"]

    def test_what_a_client_gets(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Flow.gives_back, Cart([]))
        handle.result().items.append("mine")
        assert handle.result() == Cart(["child"])


class TestRefusals:
    def test_at_the_start(self, live: WorkflowEnvironment) -> None:
        with pytest.raises(SerializationError, match="cart"):
            client.start(Flow.copies, "no cart")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            client.start(Flow.copies)  # type: ignore[call-arg]
        with pytest.raises(PayloadTooLargeError, match="2"):
            client.start(Flow.choices, "x" * 2_100_000)
        assert not live._store._t.instances  # type: ignore[attr-defined]

    @pytest.mark.parametrize("bad", ["\x00", "\ud800"])
    def test_of_what_databases_do_not_store(self, live: WorkflowEnvironment, bad: str) -> None:
        with pytest.raises(SerializationError):
            client.start(Flow.choices, bad)

    def test_of_messages_at_the_sender(self, live: WorkflowEnvironment) -> None:
        handle = client.start(Flow.union)
        with pytest.raises(SerializationError):
            handle.stub.carts.send(BigCart([]))
        with pytest.raises(PayloadTooLargeError):
            handle.stub.carts.send(Cart(["x" * 2_100_000]))

    @pytest.mark.parametrize("method", [Flow.wrong_argument, Flow.subclass_argument])
    def test_of_arguments_in_workflow_code(self, env: WorkflowEnvironment, method: object) -> None:
        assert "cart" in refusal(client.start(method))  # type: ignore[arg-type]

    def test_they_can_be_caught(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Flow.caught)
        env.advance(1)
        assert "cart" in handle.result()

    def test_of_the_result_of_a_task(self, env: WorkflowEnvironment) -> None:
        with pytest.raises(WorkflowFailedError) as caught:
            client.start(Flow.wrong_result_of_task).result()
        nested = caught.value.deferred_error
        assert isinstance(nested, TaskFailedError)
        assert nested.last_failure.exception.is_a(SerializationError)
        assert "wrong" in nested.last_failure.exception.message

    def test_of_the_result_of_a_method(self, env: WorkflowEnvironment) -> None:
        assert "wrong_result" in refusal(client.start(Flow.wrong_result))

    def test_of_a_property(self, env: WorkflowEnvironment) -> None:
        assert "Flow.cart" in refusal(client.start(Flow.wrong_property))

    def test_of_an_object_without_annotation(self, env: WorkflowEnvironment) -> None:
        text = refusal(client.start(Flow.unannotated_object))
        assert text.startswith("Flow.plain holds a ")
        assert "Write in the class body: plain: Cart" in text

    @pytest.mark.parametrize("method", [Flow.deferred_property, Flow.deferred_argument])
    def test_of_deferreds(self, env: WorkflowEnvironment, method: object) -> None:
        assert "Deferred" in refusal(client.start(method))  # type: ignore[arg-type]

    @pytest.mark.parametrize("method", [Flow.large, Flow.large_argument])
    def test_of_what_is_too_large(self, env: WorkflowEnvironment, method: object) -> None:
        assert "2,000,000" in refusal(client.start(method))  # type: ignore[arg-type]


class TestKinds:
    def test_none_drops_what_is_returned(self, env: WorkflowEnvironment) -> None:
        assert client.start(Flow.dropped).result() == "None"

    def test_without_annotation(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Flow.unannotated_property)
        env.advance(1)
        assert "Decimal('2')" in handle.result()

    @pytest.mark.parametrize(
        "value",
        [
            None,
            [1, 2.5, "x", True],
            {"a": {"b": [None]}},
            (1, (2,)),
            {1, 2},
            b"\x00\xff",
            UUID(int=5),
            Decimal("1.50"),
            datetime(2024, 1, 2),
            datetime(2024, 1, 2, tzinfo=UTC),
        ],
    )
    def test_plain_values_come_back_as_they_are(
        self, env: WorkflowEnvironment, value: object
    ) -> None:
        handle = client.start(Flow.untyped, value)
        env.advance(1)
        got = handle.result()
        assert got == value
        assert type(got) is type(value)

    def test_arms_of_a_union(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Flow.union)
        env.advance(1)
        handle.stub.either.send(Cart([]))
        handle.stub.either.send(Box([]))
        assert handle.result() == ["Box", "Cart", "Box", "Box"]

    def test_plain_subclasses_arrive_plain(self, env: WorkflowEnvironment) -> None:
        assert client.start(Flow.choices, Size.LARGE).result() == "str l"


class TestStoredInputThatNobodyReads:
    def test_it_stalls_the_method_and_nothing_else(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Flow.undecodable, 5)
        (row,) = env._store._t.messages.values()  # type: ignore[attr-defined]
        row.message.doc["args"] = '{"no": "arguments"}'
        other = client.start(Flow.choices, "fine")
        assert other.result() == "str fine"
        assert handle.is_stalled()

    def test_of_a_method_that_is_gone(self, env: WorkflowEnvironment) -> None:
        handle = client.start(Flow.undecodable, 5)
        (row,) = env._store._t.messages.values()  # type: ignore[attr-defined]
        row.message.doc["method"] = "gone"
        with pytest.raises(WorkflowFailedError) as caught:
            handle.result()
        assert 'has no method "gone"' in str(caught.value)
