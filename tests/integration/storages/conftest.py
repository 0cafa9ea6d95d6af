"""One contract, several stores: on the test database with connections of its own (`database`),
inside the test's transaction (`shared`), and in memory."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, connections, transaction

from django_infinitic.machine import effects as fx
from django_infinitic.machine.ids import STARTER_LANE, part_id, part_number, uuid7
from django_infinitic.machine.messages import Kind, Message
from django_infinitic.storages import storage_for
from django_infinitic.storages.base import Inputs, Started, Storage, WriteSet
from django_infinitic.storages.memory import MemoryStorage

WORKFLOW = "shop.Order"
PARTS = 8


class Clock:
    """A clock that moves with each look, and when told."""

    def __init__(self) -> None:
        self.micros = time.time_ns() // 1000

    def __call__(self) -> int:
        self.micros += 1
        return self.micros


class World:
    """A store, and short words for what tests do with it."""

    workflow = WORKFLOW
    service = "shop.Mail"

    def __init__(self, kind: str, make: Callable[[], Storage]) -> None:
        self.kind = kind
        self.make = make
        self.store = make()
        self.parts: list[int] = []
        self.streams: dict[str, itertools.count[int]] = {}

    # -- ownership

    def own(self, store: Storage | None = None, workflow: str = WORKFLOW) -> Storage:
        """Let a store (a new worker) register and take what it can."""
        store = store or self.store
        if not store.me:
            store.me = store.register("worker", {"slots": 8})
        self.parts = store.take(store.me, {workflow: 0}, PARTS)
        return store

    # -- clients

    def id(self) -> str:
        return uuid7(time.time_ns() // 1000, secrets.randbits(74))

    def start_arguments(self, **options: Any) -> dict[str, Any]:
        id = options.pop("id", None) or self.id()
        workflow = options.pop("workflow", WORKFLOW)
        arguments: dict[str, Any] = {
            "id": id,
            "workflow": workflow,
            "part": part_id(workflow, part_number(id, PARTS)),
            "method": "run",
            "tags": [],
            "meta": {},
            "custom_id": None,
            "once": False,
            "started_by": "",
            **options,
        }
        arguments.setdefault("doc", {"method": arguments["method"], "args": "[]"})
        return arguments

    def start(self, store: Storage | None = None, **options: Any) -> Started:
        return (store or self.store).start(**self.start_arguments(**options))

    def send(self, id: str, value: str = "1", **options: Any) -> list[str]:
        return self.store.post(
            options.get("workflow", WORKFLOW),
            options.get("to", "id"),
            id,
            options.get("kind", Kind.SEND),
            {"channel": "c", "value": value},
        )

    # -- the engine

    def read(self, limit: int = 50) -> Inputs:
        return self.store.read([one for one in self.parts if one & 255 != STARTER_LANE], limit)

    def messages(self, id: str | None = None) -> list[Message]:
        """What the next read gives (and so is in memory from now on)."""
        found = self.read().messages
        return [one for one in found if id is None or one.instance == id]

    def write(self, *turns: fx.Effects, claimed: set[str] | None = None) -> None:
        self.store.write(WriteSet(list(turns), claimed or set()))

    def running(self, **options: Any) -> str:
        """An instance that has begun: its START is consumed."""
        id = self.start(**options).id
        if not self.parts:
            self.own()
        starts = [one.row for one in self.messages(id)]
        self.write(self.turn(id, consumed=starts, events=[self.event(id)]))
        return id

    def turn(self, id: str, **effects: Any) -> fx.Effects:
        return fx.Effects(id, **effects)

    def event(self, id: str, stream: int = 2, seq: int | None = None, **entry: Any) -> fx.EventRow:
        if seq is None:
            seq = next(self.streams.setdefault(f"{id}.{stream}", itertools.count()))
        return fx.EventRow(
            instance=id, stream=stream, seq=seq, step=seq + 1, entries=[entry or {"note": {"é": 1}}]
        )

    def head(self, id: str, **changes: Any) -> fx.Head:
        values: dict[str, Any] = {
            "instance": id,
            "workflow": WORKFLOW,
            "version": 1,
            "status": 0,
            "streams": 2,
            "open": (2,),
            **changes,
        }
        return fx.Head(**values)

    def close(self, id: str, at: int | None = None, **effects: Any) -> None:
        """End an instance."""
        moment = self.store.now() if at is None else at
        self.write(
            self.turn(
                id,
                head=self.head(id, status=4, closed_at=moment),
                events=[self.event(id)],
                **effects,
            )
        )

    def task(self, id: str, **changes: Any) -> fx.NewTask:
        values: dict[str, Any] = {
            "id": self.id(),
            "instance": id,
            "workflow": WORKFLOW,
            "service": self.service,
            "name": "send",
            "ready_at": self.store.now(),
            "doc": {"s": 2, "p": 3, "a": "[]", "q": 0, "v": 1},
            **changes,
        }
        return fx.NewTask(**values)

    def tasks(self, id: str) -> dict[str, dict[str, Any]]:
        return {one["id"]: one for one in self.store.tasks_of(id)}

    def child(self, parent: str, **changes: Any) -> fx.NewInstance:
        requester = {"i": parent, "s": 2, "p": 5}
        method = changes.pop("method", "run")
        values: dict[str, Any] = {
            "id": self.id(),
            "workflow": WORKFLOW,
            "tags": (),
            "meta": {},
            "custom_id": None,
            "once": False,
            "started_by": f"workflow {parent}",
            "requester": requester,
            "start": {"method": method, "args": "[]", "from": requester},
            **changes,
        }
        return fx.NewInstance(**values)

    def work_off_lane(self) -> int:
        """How much was in the starter lane."""
        lanes = [part_id(WORKFLOW, STARTER_LANE)]
        count = 0
        while self.store.start_from_lane(lanes):
            count += 1
        return count

    def docs(self, id: str, kind: Kind | None = None) -> list[dict[str, Any]]:
        """Documents of messages that nobody has consumed yet."""
        found = self.store.messages_of(id)
        return [one.doc for one in found if kind is None or one.kind == kind]


def close(store: Storage) -> None:
    getattr(store, "close", lambda: None)()


@pytest.fixture(params=["database", pytest.param("shared", marks=pytest.mark.django_db), "memory"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """All stores. What needs rows in a database, or two workers at once, uses `database`."""
    kind = request.param
    if kind == "memory":
        memory = MemoryStorage(Clock())
        yield World(kind, lambda: memory)
    elif kind == "database":
        yield request.getfixturevalue("database")
    else:
        yield from _in_database(private=False)


@pytest.fixture
def database(django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    """The store in the test database, on connections of its own.

    Without a transaction around it; deleting our rows takes a hundredth of the time of a flush.
    """
    with django_db_blocker.unblock():
        try:
            yield from _in_database(private=True)
        finally:
            with transaction.atomic(), connection.cursor() as cursor:
                for model in apps.get_app_config("infinitic").get_models():
                    cursor.execute(f"DELETE FROM {model._meta.db_table}")


def _in_database(private: bool) -> Iterator[World]:
    made: list[Storage] = []

    def make() -> Storage:
        store = storage_for("default", private, parts=PARTS)
        made.append(store)
        return store

    yield World("database" if private else "shared", make)
    for store in made:
        close(store)


@pytest.fixture
def in_thread() -> Callable[[Callable[[], Any]], Any]:
    """Run something in another thread, on its own connections, and give what it gave."""
    import threading

    def run(function: Callable[[], Any]) -> Any:
        results: list[Any] = []
        errors: list[BaseException] = []

        def target() -> None:
            try:
                results.append(function())
            except BaseException as error:
                errors.append(error)
            finally:
                connections.close_all()

        thread = threading.Thread(target=target)
        thread.start()
        thread.join(30)
        assert not thread.is_alive()
        if errors:
            raise errors[0]
        return results[0]

    return run
