"""Tasks: claims, reports, retries, people who answer, and what a cancel or a timeout changes."""

from __future__ import annotations

import pytest
from django.db import transaction

from django_infinitic.machine import effects as fx
from django_infinitic.machine.messages import Kind
from django_infinitic.storages.base import NotOwner, WriteSet

DONE = {"status": 1, "value": '"ok"'}
FAILED = {"status": 2, "value": {"type": "TaskFailedError"}}
CANCELED = {"status": 4, "value": None}


def queue(world, id, **changes):
    task = world.task(id, **changes)
    world.write(world.turn(id, events=[world.event(id)], tasks=[task]))
    return task


def claim(world, services=None, limit=10):
    return world.store.claim([world.service] if services is None else services, limit)


def reports(world, id):
    return [
        {key: doc[key] for key in ("s", "p", "task", "status", "value")}
        for doc in world.docs(id, Kind.REPORT)
    ]


def report(task, doc):
    return {"s": task.doc["s"], "p": task.doc["p"], "task": task.id, **doc}


@pytest.fixture
def id(world):
    return world.running()


def test_a_task_is_claimed_once(world, id):
    task = queue(world, id)
    (claimed,) = claim(world)
    assert (claimed.id, claimed.instance, claimed.attempt) == (task.id, id, 1)
    assert (claimed.service, claimed.name, claimed.doc) == (world.service, "send", task.doc)
    assert claimed.workflow == world.workflow
    assert claim(world) == []
    assert world.tasks(id)[task.id]["worker"] == "worker"


def test_the_oldest_tasks_come_first(world, id):
    now = world.store.now()
    tasks = [queue(world, id, ready_at=now - 100 + n) for n in (3, 1, 2)]
    assert [one.id for one in claim(world, limit=2)] == [tasks[1].id, tasks[2].id]
    assert [one.id for one in claim(world, limit=2)] == [tasks[0].id]


def test_only_tasks_that_are_ready_and_of_these_services(world, id):
    now = world.store.now()
    mine = queue(world, id)
    later = queue(world, id, ready_at=now + 3_600_000_000)
    other = queue(world, id, service="shop.Other")
    assert world.store.next_ready(["shop.Other"]) == other.ready_at
    assert world.store.next_ready(["nobody"]) is None
    assert claim(world, services=[]) == []
    assert [one.id for one in claim(world)] == [mine.id]
    assert world.store.next_ready([world.service]) == later.ready_at
    assert [one.id for one in world.store.claim(None, 5)] == [other.id]
    assert world.store.next_ready(None) == later.ready_at


def test_a_report_ends_the_task(world, id):
    task = queue(world, id)
    (claimed,) = claim(world)
    assert world.store.finish(claimed, DONE)
    assert reports(world, id) == [report(task, DONE)]
    assert world.tasks(id) == {}
    assert not world.store.finish(claimed, DONE)
    assert len(world.messages(id)) == 1


def test_a_report_tells_its_sequence(world, id):
    queue(world, id, doc={"s": 2, "p": 3, "a": "[]", "q": 4})
    (claimed,) = claim(world)
    world.store.finish(claimed, DONE)
    assert world.docs(id, Kind.REPORT)[0]["sequence"] == 4


def test_a_retry_is_a_new_attempt(world, id):
    task = queue(world, id)
    (first,) = claim(world)
    now = world.store.now()
    doc = {**task.doc, "ri": 1}
    assert world.store.retry(first, now - 1, doc)
    assert not world.store.retry(first, now - 1, doc)
    assert not world.store.finish(first, DONE)
    (second,) = claim(world)
    assert second.attempt > first.attempt
    assert second.doc == doc
    assert world.store.finish(second, DONE)


def test_a_retry_waits_until_it_is_ready(world, id):
    task = queue(world, id)
    (first,) = claim(world)
    later = world.store.now() + 3_600_000_000
    assert world.store.retry(first, later, task.doc)
    assert claim(world) == []
    assert world.store.next_ready([world.service]) == later


def test_an_own_result_is_part_of_a_batch(world, id):
    queue(world, id)
    (claimed,) = claim(world)
    world.write(
        world.turn(id, events=[world.event(id)], done_tasks=[(claimed.id, claimed.attempt)])
    )
    assert world.tasks(id) == {}
    assert not world.store.finish(claimed, DONE)


def test_an_own_result_that_is_not_own_any_more(database):
    id = database.running()
    queue(database, id)
    (claimed,) = claim(database)
    with pytest.raises(NotOwner):
        database.write(database.turn(id, done_tasks=[(claimed.id, claimed.attempt + 1)]))
    assert database.store.finish(claimed, DONE)


def test_a_task_may_be_born_claimed(database):
    id = database.running()
    born, queued = database.task(id), database.task(id)
    database.store.write(
        WriteSet([database.turn(id, events=[database.event(id)], tasks=[born, queued])], {born.id})
    )
    rows = database.tasks(id)
    assert (rows[born.id]["state"], rows[born.id]["attempt"]) == (1, 1)
    assert rows[born.id]["worker"] == "worker"
    assert (rows[queued.id]["state"], rows[queued.id]["attempt"]) == (0, 0)
    database.write(database.turn(id, done_tasks=[(born.id, 1)]))
    assert set(database.tasks(id)) == {queued.id}


def test_a_task_goes_on_above_its_last_attempt(world, id):
    queue(world, id, attempt=65536)
    (claimed,) = claim(world)
    assert claimed.attempt == 65537


# -- what the engine's own child has run


def test_an_own_failure_is_tried_again_in_a_batch(world, id):
    task = queue(world, id)
    (first,) = claim(world)
    doc = {**task.doc, "ri": 1, "text": "é"}
    now = world.store.now()
    retried = fx.Retried(id=task.id, attempt=first.attempt, ready_at=now - 1, doc=doc)
    world.write(world.turn(id, events=[world.event(id)], retried_tasks=[retried]))
    assert not world.store.finish(first, DONE)
    (second,) = claim(world)
    assert second.attempt > first.attempt
    assert second.doc == doc


def test_an_own_delegated_task_waits_for_somebody(world, id):
    task = queue(world, id, doc={"s": 2, "p": 3, "a": "[]", "q": 0, "dl": 1})
    (claimed,) = claim(world)
    own = [(claimed.id, claimed.attempt)]
    world.write(world.turn(id, events=[world.event(id)], delegated_tasks=own))
    assert claim(world) == []
    assert world.tasks(id)[task.id]["state"] == 2
    assert world.store.complete_task(world.service, task.id, DONE)


def test_an_own_delegated_task_that_was_canceled_while_it_ran(database):
    id = database.running()
    task = queue(database, id)
    (claimed,) = claim(database)
    database.write(database.turn(id, canceled_tasks=[task.id]))
    database.write(database.turn(id, delegated_tasks=[(claimed.id, claimed.attempt)]))
    assert database.tasks(id) == {}
    assert reports(database, id) == [report(task, CANCELED)]


def test_what_is_not_own_any_more_is_refused(database):
    id = database.running()
    task = queue(database, id)
    (claimed,) = claim(database)
    retried = fx.Retried(id=task.id, attempt=claimed.attempt + 1, ready_at=5, doc=task.doc)
    with pytest.raises(NotOwner):
        database.write(database.turn(id, retried_tasks=[retried]))
    assert database.store.finish(claimed, DONE)


@pytest.mark.parametrize("what", ["done_tasks", "retried_tasks", "delegated_tasks"])
def test_an_own_delegated_task_that_was_answered_early(database, what):
    id = database.running()
    task = queue(database, id, doc={"s": 2, "p": 3, "a": "[]", "q": 0, "dl": 1})
    (claimed,) = claim(database)
    assert database.store.complete_task(database.service, task.id, DONE)
    value = (
        fx.Retried(id=task.id, attempt=claimed.attempt, ready_at=5, doc=task.doc)
        if what == "retried_tasks"
        else (task.id, claimed.attempt)
    )
    database.write(database.turn(id, events=[database.event(id)], **{what: [value]}))
    assert database.tasks(id) == {}
    assert reports(database, id) == [report(task, DONE)]


def test_a_claimed_task_tells_since_when_it_runs(world, id):
    before = world.store.now()
    task = queue(world, id, ready_at=5)
    claim(world)
    assert world.tasks(id)[task.id]["ready_at"] >= before


# -- cancel and timeout


def test_a_queued_task_is_canceled_at_once(world, id):
    task = queue(world, id)
    world.write(world.turn(id, events=[world.event(id)], canceled_tasks=[task.id]))
    assert reports(world, id) == [report(task, CANCELED)]
    assert world.tasks(id) == {}
    assert claim(world) == []
    assert len(world.messages(id)) == 1


def test_a_running_task_decides_about_its_cancel(world, id):
    task = queue(world, id)
    (claimed,) = claim(world)
    world.write(world.turn(id, events=[world.event(id)], canceled_tasks=[task.id]))
    assert reports(world, id) == []
    assert world.store.finish(claimed, DONE)
    assert reports(world, id) == [report(task, DONE)]


def test_a_canceled_task_is_not_tried_again(world, id):
    task = queue(world, id)
    (claimed,) = claim(world)
    world.write(world.turn(id, events=[world.event(id)], canceled_tasks=[task.id]))
    assert world.store.retry(claimed, world.store.now(), {**task.doc, "failure": FAILED["value"]})
    assert reports(world, id) == [report(task, CANCELED)]
    assert world.tasks(id) == {}


def test_an_expired_task_is_not_tried_again(world, id):
    queued, running = queue(world, id), queue(world, id)
    now = world.store.now()
    claimed = next(one for one in claim(world) if one.id == running.id)
    other = next((one for one in world.tasks(id) if one == queued.id), None)
    assert other is not None
    world.write(world.turn(id, events=[world.event(id)], expired_tasks=[running.id]))
    assert world.store.retry(claimed, now, {**running.doc, "failure": FAILED["value"]})
    assert reports(world, id) == [report(running, FAILED)]


def test_an_expired_task_that_nobody_runs_is_gone(world, id):
    task = queue(world, id)
    world.write(world.turn(id, events=[world.event(id)], expired_tasks=[task.id]))
    assert world.tasks(id) == {}
    assert reports(world, id) == []


def test_a_late_report_of_an_expired_task_is_told(world, id):
    task = queue(world, id)
    (claimed,) = claim(world)
    world.write(world.turn(id, events=[world.event(id)], expired_tasks=[task.id]))
    assert world.store.finish(claimed, DONE)
    assert reports(world, id) == [report(task, DONE)]


# -- delegated tasks


def delegated(world, id, **changes):
    doc = {"s": 2, "p": 3, "a": "[]", "q": 0, "dl": 1}
    return queue(world, id, doc=doc, **changes)


def test_somebody_answers_a_delegated_task(world, id):
    task = delegated(world, id)
    assert world.store.delegated_name(world.service, task.id) == "send"
    (claimed,) = claim(world)
    assert world.store.delegate(claimed)
    assert not world.store.finish(claimed, DONE)
    assert claim(world) == []
    assert not world.store.complete_task("shop.Other", task.id, DONE)
    assert not world.store.complete_task(world.service, world.id(), DONE)
    assert world.store.complete_task(world.service, task.id, DONE)
    assert reports(world, id) == [report(task, DONE)]
    assert not world.store.complete_task(world.service, task.id, DONE)
    assert world.store.delegated_name(world.service, task.id) is None


def test_an_early_answer_is_kept(world, id):
    task = delegated(world, id)
    (claimed,) = claim(world)
    assert world.store.complete_task(world.service, task.id, DONE)
    assert not world.store.delegate(claimed)
    assert not world.store.retry(claimed, world.store.now(), task.doc)
    assert reports(world, id) == [report(task, DONE)]


def test_only_delegated_tasks_are_answered(world, id):
    task = queue(world, id)
    assert not world.store.complete_task(world.service, task.id, DONE)
    assert not world.store.complete_task(world.service, "no id", DONE)
    assert world.store.delegated_name(world.service, task.id) is None
    claim(world)
    assert not world.store.complete_task(world.service, task.id, DONE)


def test_a_delegated_task_that_waits_is_canceled_at_once(world, id):
    task = delegated(world, id)
    (claimed,) = claim(world)
    world.store.delegate(claimed)
    world.write(world.turn(id, events=[world.event(id)], canceled_tasks=[task.id]))
    assert reports(world, id) == [report(task, CANCELED)]
    assert not world.store.complete_task(world.service, task.id, DONE)


def test_a_delegated_task_that_was_canceled_while_its_method_ran(world, id):
    task = delegated(world, id)
    (claimed,) = claim(world)
    world.write(world.turn(id, events=[world.event(id)], canceled_tasks=[task.id]))
    assert world.store.delegate(claimed)
    assert reports(world, id) == [report(task, CANCELED)]
    assert world.tasks(id) == {}


def test_a_delegated_task_that_waits_outlives_its_timeout(world, id):
    task = delegated(world, id)
    (claimed,) = claim(world)
    world.store.delegate(claimed)
    world.write(world.turn(id, events=[world.event(id)], expired_tasks=[task.id]))
    assert world.store.complete_task(world.service, task.id, DONE)


# -- transactions of others


def test_a_report_is_part_of_the_callers_transaction(database):
    id = database.running()
    task = queue(database, id)
    (claimed,) = claim(database)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        assert database.store.finish(claimed, DONE)
        raise ZeroDivisionError
    assert reports(database, id) == []
    with transaction.atomic():
        assert database.store.finish(claimed, DONE)
    assert reports(database, id) == [report(task, DONE)]


def test_an_answer_rolls_back_with_the_caller(database):
    id = database.running()
    task = delegated(database, id)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        assert database.store.complete_task(database.service, task.id, DONE)
        assert not database.store.complete_task(database.service, task.id, DONE)
        raise ZeroDivisionError
    assert database.store.complete_task(database.service, task.id, DONE)


# -- the dead


def test_the_tasks_of_a_dead_worker_are_tried_again(world, id):
    task = queue(world, id)
    (first,) = claim(world)
    assert world.store.reap(world.store.me) == [world.store.me]
    assert not world.store.finish(first, DONE)
    world.store.me = world.store.register("second", {})
    (second,) = claim(world)
    assert second.id == task.id
    assert second.attempt > first.attempt
    assert world.store.finish(second, DONE)


def test_who_is_dead_claims_nothing(world, id):
    queue(world, id)
    world.store.reap(world.store.me)
    with pytest.raises(NotOwner):
        claim(world)


def test_what_was_canceled_or_expired_ends_with_its_dead_worker(database):
    id = database.running()
    canceled, expired = queue(database, id), queue(database, id)
    assert len(claim(database)) == 2
    database.write(database.turn(id, canceled_tasks=[canceled.id], expired_tasks=[expired.id]))
    database.store.reap(database.store.me)
    assert database.tasks(id) == {}
    assert reports(database, id) == [report(canceled, CANCELED)]
