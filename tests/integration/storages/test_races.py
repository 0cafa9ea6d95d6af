"""Many at once: nothing is lost, nothing is handled twice, and each sender's order is kept."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter

import pytest
from django.db import connections, transaction

from django_infinitic.machine.messages import Kind
from django_infinitic.models import Part, Task
from django_infinitic.storages.base import DefiniteRollback


class Rolled(Exception):
    """Ends a transaction."""


def run_all(*functions):
    """Run functions at once, each in a thread with connections of its own."""
    errors = []

    def guarded(function):
        try:
            function()
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=guarded, args=[one]) for one in functions]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert not any(one.is_alive() for one in threads)
    if errors:
        raise errors[0]


def again(function):
    """SQLite may be busy: a definite rollback is sent again."""
    while True:
        try:
            return function()
        except DefiniteRollback:
            time.sleep(0.005)


@pytest.mark.slow
def test_messages_of_many_senders(database):
    ids = [database.running() for _ in range(6)]
    senders, each = 4, 60
    committed = []
    done = threading.Event()

    def sender(number):
        chance = random.Random(number)
        for n in range(each):
            value = f"{number}.{n}"
            id = chance.choice(ids)
            try:
                with transaction.atomic():
                    database.send(id, value)
                    if chance.random() < 0.2:
                        time.sleep(chance.random() * 0.02)
                    if chance.random() < 0.2:
                        raise Rolled
                committed.append((id, value))
            except Rolled:
                pass

    received = []

    def engine():
        quiet = 0
        try:
            while quiet < 5:
                inputs = again(lambda: database.read(limit=7))
                if inputs.messages:
                    turns = {}
                    for message in inputs.messages:
                        turns.setdefault(message.instance, []).append(message.row)
                        received.append((message.instance, message.doc["value"]))
                    batch = [database.turn(id, consumed=rows) for id, rows in turns.items()]
                    again(lambda batch=batch: database.write(*batch))
                elif done.is_set():
                    quiet += 1
                else:
                    time.sleep(0.001)
        finally:
            database.store.close()

    def all_senders():
        run_all(*(lambda number=number: sender(number) for number in range(senders)))
        done.set()

    run_all(engine, all_senders)
    assert Counter(received) == Counter(committed)
    assert max(Counter(received).values()) == 1
    for number in range(senders):
        for id in ids:
            mine = [v for i, v in received if i == id and v.startswith(f"{number}.")]
            assert mine == sorted(mine, key=lambda value: int(value.split(".")[1]))


@pytest.mark.slow
def test_one_custom_id_has_one_holder(database):
    made = []

    def start():
        for _ in range(10):
            started = database.start(custom_id="42", method="run")
            if started.created:
                made.append(started.id)

    run_all(*[start] * 6)
    assert len(made) == 1
    assert database.store.find(database.workflow, "42") == made[0]
    assert len(database.docs(made[0], Kind.START)) == 1


@pytest.mark.slow
def test_a_task_is_claimed_by_one(database):
    id = database.running()
    database.write(database.turn(id, tasks=[database.task(id) for _ in range(200)]))
    claims = []

    def executor():
        store = database.make()
        store.me = again(lambda: store.register("executor", {}))
        try:
            while found := again(lambda: store.claim([database.service], 7)):
                claims.extend((one.id, one.attempt) for one in found)
        finally:
            store.close()

    run_all(*[executor] * 4)
    assert len(claims) == len(set(claims)) == 200
    assert Task.objects.filter(state=1, attempt=1).count() == 200


@pytest.mark.slow
def test_a_part_has_one_owner(database):
    owned = {}

    def worker(number):
        store = database.make()
        chance = random.Random(number)
        try:
            store.me = again(lambda: store.register(f"worker {number}", {}))
            parts = []
            for _ in range(25):
                parts = again(lambda: store.take(store.me, {database.workflow: 0}, 8))
                wanted = [one for one in again(lambda: store.wanted(store.me)) if one in parts]
                again(lambda wanted=wanted: store.release(store.me, wanted))
                parts = [one for one in parts if one not in wanted]
                time.sleep(chance.random() * 0.01)
            owned[store.me] = again(lambda: store.take(store.me, {database.workflow: 0}, 8))
        finally:
            store.close()

    run_all(*(lambda number=number: worker(number) for number in range(3)))
    owners = dict(Part.objects.values_list("id", "owner"))
    assert len(owners) == 9
    for me, parts in owned.items():
        assert all(owners[one] == me for one in parts)
    assert Counter(owners.values()).most_common(1)[0][1] <= 5


@pytest.mark.slow
def test_one_thief_marks_a_worker_dead(database):
    database.own()
    found = []

    def thief():
        store = database.make()
        try:
            found.extend(again(lambda: store.reap(database.store.me)))
        finally:
            store.close()

    run_all(*[thief] * 5)
    assert found == [database.store.me]
