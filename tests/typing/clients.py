"""Starts and handles. (T2, T4, T14)"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, assert_type

from django_infinitic import DeferredStatus, WorkflowHandle, client, new_service, new_workflow
from tests.typing.contracts import Booking, Cars, Cart, Elsewhere, Reservation


def starts(cart: Cart) -> None:
    assert_type(client.start(Booking.book, cart), WorkflowHandle[Reservation])
    assert_type(client.start(Booking.book, cart, gift=True).result(), Reservation)
    assert_type(client.start(Booking.progress).result(timedelta(seconds=3)), list[str])
    assert_type(client.start(Booking.quote, cart).result(), int)
    client.start(Booking.book)  # type: ignore[call-arg]
    client.start(Booking.book, "a cart")  # type: ignore[arg-type]
    client.start(Booking.book, cart, True)  # type: ignore[call-arg]
    client.start(Cars.book, cart)  # type: ignore[type-var]


def dispatches(cart: Cart) -> None:
    stub = new_workflow(Booking)
    assert_type(client.dispatch(stub.book, cart), WorkflowHandle[Reservation])
    assert_type(client.dispatch(stub.quote, cart).result(), int)
    assert_type(client.dispatch(new_workflow(Elsewhere).run, cart).result(), str)
    client.dispatch(stub.book, "a cart")  # type: ignore[arg-type]
    client.dispatch(stub.book)  # type: ignore[call-arg]
    client.bulk_dispatch([(stub.book, (cart,), {})])


def handles(cart: Cart) -> None:
    by_id = client.get_handle("1")
    assert_type(by_id, WorkflowHandle[Any])
    by_method = client.get_handle(Booking.book, workflow_id="1")
    assert_type(by_method, WorkflowHandle[Reservation])
    assert_type(client.get_handle(Booking.quote, custom_id="1").result(), int)
    assert_type(client.get_handle(Elsewhere.run, workflow_id="1").result(), str)
    assert_type(by_method.status(), DeferredStatus)
    assert_type(by_method.properties(), dict[str, Any])
    assert_type(by_method.explain().kind, client.Why)
    wider: WorkflowHandle[object] = by_method  # covariant
    wider.cancel()
    narrower: WorkflowHandle[str] = by_method  # type: ignore[assignment]
    client.get_handle(Booking.book)  # type: ignore[call-overload]
    client.get_handle(3)  # type: ignore[call-overload]
    by_method.result("soon")  # type: ignore[arg-type]


async def async_twins(cart: Cart) -> None:
    assert_type(await client.astart(Booking.book, cart), WorkflowHandle[Reservation])
    stub = new_workflow(Booking)
    handle = await client.adispatch(stub.book, cart)
    assert_type(handle, WorkflowHandle[Reservation])
    assert_type(await handle.aresult(timeout=3), Reservation)
    quote = await client.adispatch(stub.quote, cart)
    assert_type(await quote.aresult(), int)
    assert_type(await handle.astatus(), DeferredStatus)
    await client.astart(Booking.book, "a cart")  # type: ignore[arg-type]
    await client.adispatch(stub.book)  # type: ignore[call-arg]
    await client.acancel(stub, force=True)


def acts(cart: Cart) -> None:
    stub = client.get_workflow_by_id(Booking, "1")
    client.cancel(stub, force=True)
    client.retry_workflow(stub)
    client.complete_timers(stub, method_id="1")
    client.retry_tasks(stub, task_id="1", status=DeferredStatus.FAILED, service=Cars)
    assert_type(client.complete_task(Cars, "1", 3), bool)
    assert_type(client.fail_task("Cars", "1", ValueError("no")), bool)
    assert_type(client.get_ids(stub), set[str])
    assert_type(client.get_state(stub), dict[str, Any] | None)
    client.fail_task("Cars", "1", 3)  # type: ignore[arg-type]
    client.retry_tasks(stub, "1")  # type: ignore[call-arg]
    new_service(Cars).book(cart)
