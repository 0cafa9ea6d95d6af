"""What only PostgreSQL can show: locks, snapshots, lost connections, plans and round trips."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import pytest
from django.db import connection, transaction

from django_infinitic.machine import effects as fx
from django_infinitic.machine.ids import STARTER_LANE, part_id
from django_infinitic.machine.messages import Kind
from django_infinitic.models import Message, Task, Worker, WorkflowInstance
from django_infinitic.storages.base import DefiniteRollback, NotOwner, UnknownOutcome, WriteSet

pytestmark = pytest.mark.postgresql
LANES = [part_id("shop.Order", STARTER_LANE)]


@contextmanager
def elsewhere():
    """Another connection, in a transaction that is rolled back at the end."""
    other = connection.copy("default")
    other.connect()
    other.set_autocommit(False)
    try:
        with other.cursor() as cursor:
            yield cursor
    finally:
        other.rollback()
        other.close()


def raw(store):
    return store.session.connection().connection


def kill(store):
    """The server ends the connection of the store."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [raw(store).info.backend_pid])
    time.sleep(0.1)


# -- snapshots


def test_a_message_that_commits_late_is_read_although_later_ones_were(database):
    first, second = database.running(), database.running()
    with elsewhere() as cursor:
        cursor.execute(
            "INSERT INTO infinitic_message (part, instance, kind, created, body)"
            " SELECT part, id, 2, 0, '\\x0100'::bytea || '{}' FROM infinitic_instance"
            " WHERE id = %s",
            [first],
        )
        for n in range(3):
            database.send(second, str(n))
            (message,) = database.messages()
            database.write(database.turn(second, consumed=[message.row]))
        assert database.messages() == []
        cursor.connection.commit()
        (late,) = database.messages()
        assert late.instance == first
        assert database.messages() == []


def test_what_was_committed_before_another_began_comes_first(database):
    """Although its id is higher: ids are given before the commit."""
    id = database.running()
    insert = (
        "INSERT INTO infinitic_message (id, part, instance, kind, created, body)"
        " OVERRIDING SYSTEM VALUE SELECT %s, part, id, 2, 0,"
        " '\\x0100'::bytea || convert_to(%s, 'UTF8') FROM infinitic_instance WHERE id = %s"
    )
    with elsewhere() as early, elsewhere() as late:
        early.execute(insert, [1_000_002, '{"n": 1}', id])
        early.connection.commit()
        late.execute(insert, [1_000_001, '{"n": 2}', id])
        late.connection.commit()
    assert [one.doc["n"] for one in database.messages()] == [1, 2]
    assert [one.doc["n"] for one in database.store.messages_of(id)] == [1, 2]


def test_a_new_owner_adopts_messages_of_another_cluster(database):
    """After dump and restore their transactions lie in the future: new ones would overtake."""
    id = database.start().id
    with connection.cursor() as cursor:
        cursor.execute("UPDATE infinitic_message SET xid = '999999999999'::xid8")
    database.own()
    database.send(id)
    assert [one.kind for one in database.messages()] == [Kind.START, Kind.SEND]


# -- locks


def test_who_marks_a_worker_dead_waits_for_its_last_batch(database, in_thread):
    id = database.running()
    store, thief = database.store, database.make()
    began = threading.Event()

    def slow_batch():
        with store.session.transaction() as sql:
            store.fence(sql)
            began.set()
            time.sleep(0.3)
            sql.run("UPDATE infinitic_instance SET error = 'written' WHERE id = %s", [id])

    thread = threading.Thread(target=lambda: in_thread(slow_batch))
    thread.start()
    assert began.wait(5)
    started = time.monotonic()
    assert thief.reap(store.me) == [store.me]
    assert time.monotonic() - started > 0.15
    assert store.head(id).error == "written"
    thread.join(5)
    with pytest.raises(NotOwner):
        database.write(database.turn(id, events=[database.event(id)]))


def test_a_batch_that_hangs_is_reaped_later(database):
    database.own()
    thief = database.make()
    with elsewhere() as cursor:
        cursor.execute(
            "SELECT 1 FROM infinitic_worker WHERE id = %s FOR SHARE", [database.store.me]
        )
        assert thief.reap(database.store.me) == []
    assert thief.reap(database.store.me) == [database.store.me]


def test_a_lock_that_somebody_holds_is_a_definite_rollback(database):
    id = database.running()
    database.send(id)
    consumed = [one.row for one in database.messages()]
    batch = WriteSet(
        [database.turn(id, consumed=consumed, head=database.head(id, status=1, error="x"))]
    )
    with elsewhere() as cursor:
        cursor.execute("SELECT 1 FROM infinitic_instance WHERE id = %s FOR UPDATE", [id])
        with pytest.raises(DefiniteRollback, match="55P03"):
            database.store.write(batch)
        assert database.messages() == []
    database.store.write(batch)
    assert database.store.head(id).error == "x"


@pytest.mark.parametrize("answered", [True, False])
def test_a_cancel_does_not_wait_for_who_answers_a_task(database, answered):
    id = database.running()
    doc = {"s": 2, "p": 3, "a": "[]", "q": 0, "dl": 1}
    task = database.task(id, doc=doc)
    database.write(database.turn(id, tasks=[task]))
    (claimed,) = database.store.claim(None, 1)
    database.store.delegate(claimed)
    with transaction.atomic():
        assert database.store.complete_task(database.service, task.id, {"status": 1, "value": "1"})
        started = time.monotonic()
        database.write(database.turn(id, canceled_tasks=[task.id]))
        assert time.monotonic() - started < 0.5
        transaction.set_rollback(not answered)
    assert database.work_off_lane() == 1
    (report,) = database.docs(id, Kind.REPORT)
    assert report["status"] == (1 if answered else 4)
    assert database.tasks(id) == {}


@pytest.mark.parametrize("answered", [True, False])
@pytest.mark.parametrize("what", ["done_tasks", "retried_tasks", "delegated_tasks"])
@pytest.mark.parametrize("born", [True, False])
def test_an_own_result_does_not_wait_for_who_answers_the_task(database, what, answered, born):
    id = database.running()
    task = database.task(id, doc={"s": 2, "p": 3, "a": "[]", "q": 0, "dl": 1})
    store = database.store
    database.write(database.turn(id, tasks=[task]), claimed={task.id} if born else set())
    attempt = 1 if born else store.claim(None, 1)[0].attempt
    value = (
        fx.Retried(id=task.id, attempt=attempt, ready_at=5, doc={**task.doc, "ri": 1})
        if what == "retried_tasks"
        else (task.id, attempt)
    )
    with transaction.atomic():
        assert store.complete_task(database.service, task.id, {"status": 1, "value": "1"})
        started = time.monotonic()
        database.write(database.turn(id, events=[database.event(id)], **{what: [value]}))
        assert time.monotonic() - started < 0.5
        transaction.set_rollback(not answered)
    assert database.work_off_lane() == 1
    assert len(database.docs(id, Kind.REPORT)) == answered
    rows = database.tasks(id)
    if answered or what == "done_tasks":
        assert rows == {}
    else:
        row = rows[task.id]
        assert (row["state"], row["worker"]) == (2 if what == "delegated_tasks" else 0, None)
        assert row["doc"].get("ri") == (1 if what == "retried_tasks" else None)


@pytest.mark.parametrize("answered", [True, False])
def test_a_take_over_does_not_wait_for_who_answers_a_task(database, answered):
    id = database.running()
    task = database.task(id, doc={"s": 2, "p": 3, "a": "[]", "q": 0, "dl": 1})
    database.write(database.turn(id, tasks=[task]), claimed={task.id})
    dead, database.store = database.store, database.make()
    database.own()
    with transaction.atomic():
        assert database.store.complete_task(database.service, task.id, {"status": 1, "value": "1"})
        assert database.store.reap(dead.me) == [dead.me]
        transaction.set_rollback(not answered)
    assert database.work_off_lane() == 1
    assert len(database.store.claim(None, 1)) == (not answered)


def test_a_timeout_does_not_wait_for_a_claim(database):
    id = database.running()
    task = database.task(id)
    database.write(database.turn(id, tasks=[task]))
    with elsewhere() as cursor:
        cursor.execute("SELECT 1 FROM infinitic_task WHERE id = %s FOR UPDATE", [task.id])
        database.write(database.turn(id, expired_tasks=[task.id]))
        assert task.id in database.tasks(id)
        assert database.store.claim(None, 1) == []
    assert database.work_off_lane() == 1
    assert database.tasks(id) == {}
    assert database.docs(id, Kind.REPORT) == []


def test_claims_pass_what_others_are_claiming(database):
    id = database.running()
    tasks = [database.task(id, ready_at=n) for n in (1, 2, 3)]
    database.write(database.turn(id, tasks=tasks))
    with elsewhere() as cursor:
        cursor.execute("SELECT 1 FROM infinitic_task WHERE id = %s FOR UPDATE", [tasks[0].id])
        assert [one.id for one in database.store.claim(None, 1)] == [tasks[1].id]
    assert [one.id for one in database.store.claim(None, 5)] == [tasks[0].id, tasks[2].id]


def test_a_lane_start_waits_for_a_claim_and_others_pass_it(database, monkeypatch):
    monkeypatch.setattr("django_infinitic.storages.lane.LONG_PATIENCE", 0.2)
    parent = database.running()
    taken = [database.child(parent, custom_id="42") for _ in range(2)]
    free = database.child(parent, custom_id="43")
    database.write(database.turn(parent, instances=[*taken, free]))
    with elsewhere() as cursor:
        cursor.execute(
            "INSERT INTO infinitic_custom_id (custom_id, workflow, instance) VALUES"
            " ('42', %s, gen_random_uuid())",
            [database.workflow],
        )
        assert database.store.start_from_lane(LANES)
        assert not database.store.start_from_lane(LANES)
        assert database.store.head(free.id) is not None
        assert database.store.head(taken[0].id) is None
    assert database.work_off_lane() == 2
    assert database.store.head(taken[0].id) is not None
    assert database.store.head(taken[1].id) is None
    assert [one["join"] for one in database.docs(taken[0].id, Kind.METHOD)] == [True]


def test_a_batch_never_waits_for_a_claimed_custom_id(database):
    parent = database.running()
    with transaction.atomic():
        database.start(custom_id="42")
        child = database.child(parent, custom_id="42")
        started = time.monotonic()
        database.write(database.turn(parent, instances=[child]))
        assert time.monotonic() - started < 0.5


def test_retention_passes_what_is_locked(database):
    now = database.store.now()
    ids = [database.running() for _ in range(2)]
    for n, id in enumerate(ids):
        database.close(id, at=now - 10 + n)
    with elsewhere() as cursor:
        cursor.execute("SELECT 1 FROM infinitic_instance WHERE id = %s FOR UPDATE", [ids[0]])
        assert database.store.prune(now) == 1
    assert [database.store.head(id) is None for id in ids] == [False, True]


# -- lost connections


def test_a_connection_lost_while_idle_is_made_again_for_reads(database):
    id = database.running()
    database.send(id)
    kill(database.store)
    with pytest.raises(DefiniteRollback):
        database.messages()
    assert len(database.messages()) == 1


@pytest.mark.parametrize("committed", [True, False])
def test_a_connection_lost_during_a_write_is_an_unknown_outcome(database, committed):
    id = database.running()
    database.send(id)
    consumed = [one.row for one in database.messages()]
    task = database.task(id)
    batch = WriteSet(
        [database.turn(id, consumed=consumed, events=[database.event(id)], tasks=[task])],
        {task.id},
    )
    store = database.store
    if committed:
        # The commit is done when the answer is lost.
        pipeline = type(store.session)._pipeline

        def lossy(connection, statements):
            pipeline(store.session, connection, statements)
            kill(store)
            connection.execute("SELECT 1")

        store.session._pipeline = lossy
    else:
        kill(store)
    with pytest.raises(UnknownOutcome):
        store.write(batch)
    vars(store.session).pop("_pipeline", None)
    assert database.messages() == []
    store.me = store.retire(store.me)
    assert store.written(batch) is committed
    if not committed:
        store.write(batch)
    assert database.docs(id, Kind.SEND) == []
    assert database.tasks(id)[task.id]["worker"] == "worker"
    assert store.take(store.me, {database.workflow: 0}, 8) == database.parts


def test_a_retirement_waits_for_the_lost_transaction(database):
    """On the server it may still run: what it commits must be seen."""
    id = database.running()
    store = database.store
    event = database.event(id)
    batch = WriteSet([database.turn(id, events=[event])])
    with elsewhere() as cursor:
        cursor.execute("SELECT 1 FROM infinitic_worker WHERE id = %s FOR SHARE", [store.me])
        cursor.execute(
            "INSERT INTO infinitic_event VALUES (%s, %s, %s, 1, '\\x01005b5d'::bytea)",
            [id, event.stream, event.seq],
        )
        timer = threading.Timer(1.3, cursor.connection.commit)
        timer.start()
        store.me = store.retire(store.me)
        timer.join()
    assert store.written(batch)


def test_without_a_server_nothing_is_written(database):
    id = database.running()
    store = database.store
    store.close()
    settings = connection.settings_dict
    host = settings["HOST"], settings["OPTIONS"]
    settings["HOST"], settings["OPTIONS"] = "/nowhere", {}
    try:
        with pytest.raises(DefiniteRollback):
            database.write(database.turn(id, events=[database.event(id, seq=1)]))
    finally:
        settings["HOST"], settings["OPTIONS"] = host
    database.write(database.turn(id, events=[database.event(id, seq=1)]))


def test_a_deadlock_is_a_definite_rollback(database):
    """Ours lock in order, so it takes two that do not."""
    ids = sorted(database.running() for _ in range(2))
    store = database.store
    raw(store).execute("SET lock_timeout = 0; SET deadlock_timeout = '500ms'")
    with elsewhere() as cursor:
        cursor.execute("SELECT 1 FROM infinitic_instance WHERE id = %s FOR UPDATE", [ids[1]])

        def other():
            time.sleep(0.2)
            cursor.execute("SET deadlock_timeout = '10s'")
            cursor.execute("SELECT 1 FROM infinitic_instance WHERE id = %s FOR UPDATE", [ids[0]])

        thread = threading.Thread(target=other)
        thread.start()
        try:
            heads = [database.turn(id, head=database.head(id, status=1)) for id in ids]
            with pytest.raises(DefiniteRollback, match="40P01"):
                store.write(WriteSet(heads))
        finally:
            thread.join(5)
    store.write(WriteSet(heads))
    assert [store.head(id).status for id in ids] == [1, 1]


# -- settings and costs


def test_a_private_connection_has_settings_of_its_own(database):
    database.own()
    settings = {
        name: raw(database.store).execute(f"SHOW {name}").fetchone()[0]
        for name in ("lock_timeout", "statement_timeout", "enable_seqscan", "plan_cache_mode")
    }
    assert settings == {
        "lock_timeout": "1s",
        "statement_timeout": "10s",
        "enable_seqscan": "off",
        "plan_cache_mode": "force_generic_plan",
    }
    assert raw(database.store) is not connection.connection
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone() == ("0",)


def every_effect(database):
    """A batch with each kind of effect, and its instance."""
    id = database.running(tags=["vip"])
    other = database.start(custom_id="7", tags=["vip"]).id
    for n in range(3):
        database.send(id, str(n))
    rows = [one.row for one in database.messages(id)]
    now = database.store.now()
    tasks = [database.task(id) for _ in range(6)]
    timers = [
        fx.NewTimer(id=database.id(), instance=id, due=now, doc={"s": 2, "p": n}) for n in range(3)
    ]
    database.write(database.turn(id, tasks=tasks, timers=timers[:2]))
    claimed = {one.id: one for one in database.store.claim([database.service], 6)}
    done, retried, delegated, canceled, expired, _ = (claimed[one.id] for one in tasks)
    posts = [
        fx.Post(
            to=to,
            workflow=database.workflow,
            value=value,
            kind=Kind.SEND,
            doc={"channel": "c", "value": "1"},
            sender=id,
            unknown={"s": 2, "p": 1, "status": 5, "value": None},
        )
        for to, value in (("id", other), ("custom", "7"), ("tag", "vip"), ("id", database.id()))
    ]
    effects = database.turn(
        id,
        consumed=rows[:2],
        parked=rows[2:],
        fired=[timers[0].id],
        dropped_timers=[timers[1].id],
        events=[database.event(id), database.event(id, 0), database.event(id, 1)],
        tasks=[database.task(id)],
        done_tasks=[(done.id, done.attempt)],
        retried_tasks=[
            fx.Retried(id=retried.id, attempt=retried.attempt, ready_at=now, doc=retried.doc)
        ],
        delegated_tasks=[(delegated.id, delegated.attempt)],
        canceled_tasks=[canceled.id],
        expired_tasks=[expired.id],
        timers=timers[2:],
        instances=[
            database.child(id, tags=("vip",)),
            database.child(id, custom_id="8"),
        ],
        posts=posts,
        outcomes=[fx.OutcomeRow(method=id, instance=id, seq=1, status=1, doc={"v": "1"})],
        dropped_tags=["vip"],
        head=database.head(id, status=4, closed_at=now),
    )
    return id, effects


def cost(store, function):
    session = store.session
    before = session.statements, session.trips
    result = function()
    return result, (session.statements - before[0], session.trips - before[1])


def test_a_write_is_one_round_trip_whatever_the_batch(database):
    _, effects = every_effect(database)
    _, (statements, trips) = cost(database.store, lambda: database.write(effects))
    assert trips == 1
    # BEGIN, fence, COMMIT. Consumed, parked, done, retried, delegated (three), timers gone, events,
    # children, lane, posts, tasks. Three each for cancels and timeouts. Timers, outcomes, tags,
    # heads.
    assert statements == 3 + 13 + 6 + 4


def test_a_step_is_one_round_trip_and_few_statements(database):
    """What happens ten times in a workflow of ten steps: a result in, the next task out."""
    id = database.running()
    task = database.task(id)
    database.store.write(WriteSet([database.turn(id, tasks=[task])], {task.id}))
    for _ in range(3):
        following = database.task(id)
        batch = WriteSet(
            [
                database.turn(
                    id,
                    events=[database.event(id)],
                    tasks=[following],
                    done_tasks=[(task.id, 1)],
                )
            ],
            {following.id},
        )
        _, costs = cost(database.store, lambda batch=batch: database.store.write(batch))
        assert costs == (6, 1)  # BEGIN, fence, done, events, tasks, COMMIT
        task = following


def test_what_else_is_one_round_trip(database):
    store = database.store
    id = database.running(tags=["vip"])
    database.write(database.turn(id, tasks=[database.task(id) for _ in range(2)]))
    assert cost(store, database.read)[1] == (4, 1)
    assert cost(store, lambda: store.load([id, database.id()]))[1] == (2, 1)
    (one, two), costs = cost(store, lambda: store.claim([database.service], 2))
    assert costs == (5, 1)
    assert cost(store, lambda: store.finish(one, {"status": 1, "value": "1"}))[1][1] == 1
    assert cost(store, lambda: store.claim([database.service], 2)) == ([], (5, 1))
    assert cost(store, lambda: store.claim([database.service], 2)) == ([], (1, 1))
    database.write(database.turn(id, tasks=[database.task(id)]))
    (found,), costs = cost(store, lambda: store.claim([database.service], 2))
    assert (found.instance, costs) == (id, (6, 2))
    with transaction.atomic():
        assert cost(store, lambda: store.finish(two, {"status": 1, "value": "1"}))[1] == (1, 1)
    assert cost(store, lambda: database.start(tags=["a", "b"]))[1] == (1, 1)
    assert cost(store, lambda: database.start(custom_id="9"))[1] == (1, 1)
    assert cost(store, lambda: database.start(custom_id="9"))[1] == (2, 2)
    assert cost(store, lambda: database.send(id))[1] == (1, 1)
    assert cost(store, lambda: database.send("vip", to="tag"))[1] == (1, 1)
    starts = [database.start_arguments(tags=["a"]) for _ in range(500)]
    assert cost(store, lambda: store.start_many(starts))[1] == (1, 1)


def generic_plans(store):
    """The plans of all statements that the connection has prepared, by their texts."""
    statements = raw(store).execute(
        "SELECT name, statement, cardinality(parameter_types) FROM pg_prepared_statements"
    )
    plans = {}
    for name, text, parameters in statements.fetchall():
        values = f"({', '.join(['NULL'] * parameters)})" if parameters else ""
        rows = raw(store).execute(f'EXPLAIN EXECUTE "{name}"{values}')
        plans[text] = [row[0] for row in rows]
    return plans


def test_no_statement_of_the_engine_reads_a_table(database):
    """Planned while the tables are small: the plan must not depend on it."""
    store = database.store
    id, effects = every_effect(database)
    database.write(effects)
    database.read()
    store.load([id])
    store.claim(None, 1)
    for services in (None, ["a", "b"]):
        for _ in range(3):
            store.claim(services, 10)
    store.start_from_lane(LANES)
    plans = generic_plans(store)
    assert len(plans) > 25
    for text, plan in plans.items():
        told = text + "\n" + "\n".join(plan)
        for number, line in enumerate(plan):
            assert "Seq Scan" not in line, told
            # An index without a condition is the table in another order, but for its first row.
            if "Scan using infinitic" in line and "Limit" not in plan[number - 1]:
                assert "Index Cond" in plan[number + 1], told


def test_a_closed_store_connects_again(database):
    database.own()
    database.store.close()
    assert database.store.renew(database.store.me)
    assert Worker.objects.count() == 1
    assert WorkflowInstance.objects.count() == Task.objects.count() == Message.objects.count() == 0
