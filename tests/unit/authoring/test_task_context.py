"""What a running task knows about itself. F093, F096, F097, F107."""

import asyncio
import logging
import threading

import pytest
from asgiref.sync import sync_to_async

from django_infinitic.authoring.task_context import (
    TaskContext,
    current_task,
    enter_task,
    leave_task,
    running_task,
    task_context,
)
from django_infinitic.exceptions import UsageError


def context(task_id: str = "t1", **values) -> TaskContext:
    return TaskContext(task_id=task_id, service_name="Cars", task_name="book", **values)


class TestCurrentTask:
    def test_outside_a_task_it_is_refused_and_says_what_tests_do(self) -> None:
        with pytest.raises(UsageError, match=r"task_context\("):
            current_task()

    def test_in_a_task_it_is_its_context(self) -> None:
        mine = context()
        token = enter_task(mine)
        assert current_task() is mine
        assert current_task("t1") is mine
        leave_task(token)
        with pytest.raises(UsageError):
            current_task()

    def test_another_task_does_not_run_here(self) -> None:
        with running_task(context()), pytest.raises(UsageError, match="t2 does not run here"):
            current_task("t2")

    def test_in_a_batch_each_has_its_own(self) -> None:
        both = {"t1": context("t1"), "t2": context("t2")}
        with running_task(both):
            assert current_task("t1") is both["t1"]
            assert current_task("t2") is both["t2"]
            with pytest.raises(UsageError, match="batch of 2"):
                current_task()
            with pytest.raises(UsageError, match="t3 is not in the batch"):
                current_task("t3")

    def test_coroutines_and_their_threads_find_it_and_others_do_not(self) -> None:
        found = []

        async def work(name: str) -> None:
            with running_task(context(name)):
                await asyncio.sleep(0)
                found.append((name, current_task().task_id))
                found.append((name, await sync_to_async(lambda: current_task().task_id)()))

        async def both() -> None:
            await asyncio.gather(work("t1"), work("t2"))

        asyncio.run(both())
        assert sorted(found) == [("t1", "t1")] * 2 + [("t2", "t2")] * 2

    def test_a_thread_of_its_own_does_not_find_it(self) -> None:
        seen = []

        def look() -> None:
            try:
                current_task()
            except UsageError:
                seen.append("nothing")

        with running_task(context()):
            thread = threading.Thread(target=look)
            thread.start()
            thread.join()
        assert seen == ["nothing"]


class TestTimeout:
    def test_the_flag_and_the_callbacks_tell(self) -> None:
        mine, told = context(), []
        mine.on_timeout(lambda: told.append("one"))
        mine.on_timeout(lambda: told.append("two"))
        assert (mine.has_timed_out, told) == (False, [])
        mine.time_out()
        mine.time_out()
        assert (mine.has_timed_out, told) == (True, ["one", "two"])

    def test_a_callback_that_comes_too_late_is_called_at_once(self) -> None:
        mine, told = context(), []
        mine.time_out()
        mine.on_timeout(lambda: told.append("late"))
        assert told == ["late"]

    def test_what_a_callback_raises_is_logged_and_the_others_run(self, caplog) -> None:
        mine, told = context(), []
        mine.on_timeout(lambda: 1 / 0)
        mine.on_timeout(lambda: told.append("other"))
        with caplog.at_level(logging.ERROR, "django_infinitic"):
            mine.time_out()
        assert told == ["other"]
        assert "ZeroDivisionError" in caplog.text

    def test_it_takes_a_callable(self) -> None:
        with pytest.raises(UsageError, match="callable"):
            context().on_timeout("stop")  # type: ignore[arg-type]


class TestMeta:
    def test_it_can_be_changed_and_values_stay_as_given(self) -> None:
        mine = context(meta={"text": "a", "raw": b"b"})
        mine.meta["count"] = b"1"
        assert mine.meta == {"text": "a", "raw": b"b", "count": b"1"}


class TestInUnitTests:
    def test_what_is_not_named_is_harmless(self) -> None:
        with task_context() as mine:
            assert current_task() is mine
            assert (mine.retry_index, mine.retry_sequence, mine.last_error) == (0, 0, None)
            assert (mine.tags, mine.meta, mine.batch_key) == (frozenset(), {}, None)

    def test_attributes_are_set(self) -> None:
        with task_context(task_id="t9", retry_index=2, tags=["a"], has_timed_out=True):
            mine = current_task()
            assert (mine.task_id, mine.retry_index, mine.tags) == ("t9", 2, {"a"})
            assert mine.has_timed_out is True

    def test_a_batch_can_be_played(self) -> None:
        with task_context(batch=["a", "b"], batch_key="k"):
            current_task("a").meta["x"] = "1"
            assert current_task("b").meta == {}
            assert current_task("b").batch_key == "k"

    def test_what_does_not_exist_is_refused(self) -> None:
        with pytest.raises(UsageError, match="no retry_count"), task_context(retry_count=1):
            pass
