"""Channels: sending, receiving, unions. (T8, T13)"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_type

from django_infinitic import Channel, Deferred, Workflow, client, get_workflow_by_id


@dataclass
class Paid:
    amount: int


@dataclass
class Refused:
    reason: str


class Order(Workflow):
    texts = Channel(str)
    lists = Channel(list[str], name="stored", buffer=False)
    either = Channel[Paid | Refused]()
    maybe = Channel[str | int | None](buffer=False)

    def receives(self) -> None:
        assert_type(self.texts.receive(), Deferred[str])
        assert_type(self.texts.receive().result(), str)
        assert_type(self.lists.receive(3).result(timeout=3), list[str])
        assert_type(self.either.receive().result(), Paid | Refused)
        assert_type(self.maybe.receive(jsonpath="$").result(), str | int | None)
        assert_type(self.either.receive(of=Paid).result(), Paid)
        assert_type(self.either.receive(2, of=Refused, jsonpath="$").result(), Refused)
        self.texts.receive("3")  # type: ignore[call-overload]
        self.texts.receive(of="Paid")  # type: ignore[call-overload]

    def sends_to_itself(self) -> None:
        self.texts.send("a", key="b")
        self.either.send(Paid(3))
        self.texts.clear()
        self.texts.send(3)  # type: ignore[arg-type]
        self.either.send("paid")  # type: ignore[arg-type]


def sends(order_id: str) -> None:
    stub = get_workflow_by_id(Order, order_id)
    stub.texts.send("a")
    stub.either.send(Refused("no"), "key")
    client.get_workflow_by_tag(Order, "red").lists.send(["a"])
    stub.texts.send(3)  # type: ignore[arg-type]
    stub.either.send(3)  # type: ignore[arg-type]


async def sends_async(order_id: str) -> None:
    stub = get_workflow_by_id(Order, order_id)
    await stub.texts.asend("a")
    await stub.texts.asend(3)  # type: ignore[arg-type]


Channel("str")  # type: ignore[arg-type]
Channel(str, name=3)  # type: ignore[arg-type]
