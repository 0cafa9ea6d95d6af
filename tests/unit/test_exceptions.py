"""The exceptions: families, texts, and the way into JSON and back."""

import copy
import json
import pickle
from decimal import Decimal
from uuid import UUID

import pytest

from django_infinitic import exceptions
from django_infinitic.exceptions import (
    Canceled,
    DeferredCanceledError,
    DeferredError,
    DeferredFailedError,
    DeferredTimedOutError,
    ExceptionInfo,
    Failure,
    InfiniticError,
    InlineFailedError,
    SerializationError,
    TaskCanceledError,
    TaskFailedError,
    TaskTimedOutError,
    TaskUnknownError,
    WaitTimedOutError,
    WorkflowCanceledError,
    WorkflowCodeError,
    WorkflowFailedError,
    WorkflowTimedOutError,
    WorkflowUnknownError,
    error_from_json,
)


class Trouble(Exception):
    pass


class SubTrouble(Trouble, LookupError):
    pass


def failure(exception: BaseException, **values) -> Failure:
    try:
        raise exception
    except BaseException as raised:
        return Failure.of(raised, worker_name="worker-1", **values)


TASK = {"service_name": "travel.Cars", "task_name": "book", "task_id": "t1"}
METHOD = {
    "workflow_name": "travel.Booking",
    "workflow_id": "w1",
    "method_name": "book",
    "method_id": "m1",
}


def task_failed(exception: BaseException | None = None, **values) -> TaskFailedError:
    return TaskFailedError(**TASK, last_failure=failure(exception or Trouble("no car")), **values)


ERRORS = [
    task_failed(),
    task_failed(declared=("travel.SoldOut", '["tea",3]')),
    TaskTimedOutError(**TASK),
    TaskCanceledError(**TASK),
    TaskCanceledError(**TASK, reason="not needed"),
    TaskUnknownError(**TASK),
    WorkflowFailedError(**METHOD, deferred_error=task_failed()),
    WorkflowFailedError(
        **METHOD,
        deferred_error=WorkflowFailedError(**METHOD, deferred_error=TaskTimedOutError(**TASK)),
        declared=("travel.SoldOut", "[]"),
    ),
    WorkflowCodeError(
        workflow_name="travel.Booking", workflow_id="w1", last_failure=failure(ValueError("bug"))
    ),
    WorkflowTimedOutError(**METHOD),
    WorkflowCanceledError(**METHOD),
    WorkflowUnknownError(**METHOD),
    InlineFailedError(last_failure=failure(OSError("disk"))),
    WaitTimedOutError(message="still waits for a person"),
    WaitTimedOutError(),
    DeferredCanceledError(message="the timer was canceled"),
]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
class TestValues:
    def test_it_comes_back_from_json(self, error: DeferredError) -> None:
        stored = json.dumps(error.to_json())
        again = error_from_json(json.loads(stored))
        assert type(again) is type(error)
        assert again == error
        assert hash(again) == hash(error)
        assert str(again) == str(error)

    def test_it_can_be_copied_and_sent_to_another_process(self, error: DeferredError) -> None:
        assert copy.copy(error) == error
        assert pickle.loads(pickle.dumps(error)) == error

    def test_its_constructor_takes_keywords_only(self, error: DeferredError) -> None:
        with pytest.raises(TypeError):
            type(error)("something")

    def test_its_text_is_not_empty(self, error: DeferredError) -> None:
        assert str(error)


class TestFamilies:
    def test_canceled_is_no_exception_of_the_application(self) -> None:
        assert issubclass(Canceled, BaseException)
        assert not issubclass(Canceled, Exception)

    def test_a_wait_that_timed_out_is_a_timeout_error(self) -> None:
        with pytest.raises(TimeoutError, match="still waits"):
            raise ERRORS[13]

    @pytest.mark.parametrize(
        ("family", "members"),
        [
            (DeferredFailedError, "TaskFailed WorkflowFailed WorkflowCode InlineFailed"),
            (DeferredTimedOutError, "TaskTimedOut WorkflowTimedOut WaitTimedOut"),
            (DeferredCanceledError, "TaskCanceled WorkflowCanceled"),
            (
                exceptions.UsageError,
                "InvalidStub InvalidInline InvalidChannelUsage MultipleCustomId HumanTaskClosed "
                "StaleHumanTask InvalidIdTagSelection InvalidDuration DatabaseAccess",
            ),
            (
                exceptions.RegistryError,
                "UnknownService UnknownTask UnknownWorkflow UnknownWorkflowVersion "
                "UnknownMethod UnknownChannel",
            ),
        ],
    )
    def test_a_family_has_its_members(self, family: type, members: str) -> None:
        for name in members.split():
            assert issubclass(getattr(exceptions, f"{name}Error"), family)
        assert issubclass(family, InfiniticError)

    def test_all_that_is_public_is_in_the_list(self) -> None:
        for name in exceptions.__all__:
            assert hasattr(exceptions, name)


class TestTexts:
    def test_of_a_failed_task_it_says_what_was_raised(self) -> None:
        text = "task travel.Cars.book (t1) failed: "
        assert str(task_failed(ValueError("no car"))) == f"{text}ValueError: no car"
        assert str(task_failed(Trouble())).startswith(f"{text}{Trouble.__module__}.Trouble")

    def test_of_a_retried_task_it_counts_the_attempts(self) -> None:
        last = failure(ValueError("x"), retry_index=1, previous=failure(ValueError("y")))
        error = TaskFailedError(**TASK, last_failure=last)
        assert "failed after 2 attempts: ValueError: x" in str(error)

    def test_of_a_failed_workflow_it_ends_with_the_innermost_reason(self) -> None:
        inner = WorkflowFailedError(**METHOD, deferred_error=task_failed(ValueError("no car")))
        outer = WorkflowFailedError(**METHOD, deferred_error=inner)
        assert str(outer).endswith("ValueError: no car")

    def test_of_own_code_it_names_the_workflow_and_the_exception(self) -> None:
        assert str(ERRORS[8]) == "the code of workflow travel.Booking (w1) raised ValueError: bug"

    def test_of_a_withdrawn_task_it_gives_the_reason(self) -> None:
        assert str(ERRORS[4]) == "task travel.Cars.book (t1) was canceled: not needed"


class TestCausedBy:
    def test_it_knows_the_class_and_all_its_bases(self) -> None:
        error = task_failed(SubTrouble("x"))
        for kind in (SubTrouble, Trouble, LookupError, Exception, BaseException):
            assert error.caused_by(kind) is True
        for kind in (ValueError, KeyError):
            assert error.caused_by(kind) is False

    def test_it_looks_through_all_nested_errors(self) -> None:
        inner = WorkflowFailedError(**METHOD, deferred_error=task_failed(SubTrouble("x")))
        outer = WorkflowFailedError(**METHOD, deferred_error=inner)
        for kind in (Trouble, LookupError, TaskFailedError, WorkflowFailedError, DeferredError):
            assert outer.caused_by(kind) is True
        for kind in (ValueError, TaskTimedOutError):
            assert outer.caused_by(kind) is False

    def test_it_goes_by_names_and_so_works_after_a_reload(self) -> None:
        error = error_from_json(task_failed(SubTrouble("x")).to_json())
        assert isinstance(error, TaskFailedError)
        reloaded = type("Trouble", (Exception,), {"__module__": Trouble.__module__})
        assert error.caused_by(reloaded) is True

    def test_it_takes_exception_classes_only(self) -> None:
        with pytest.raises(TypeError, match="exception class"):
            task_failed().caused_by("Trouble")  # type: ignore[arg-type]


class TestJson:
    @pytest.mark.parametrize(
        "data",
        [
            {},
            {"type": "os.system"},
            {"type": "Canceled"},
            {"type": "DeferredError"},
            {"type": "TaskTimedOutError", "service_name": "s"},
            {"type": "TaskTimedOutError", "service_name": 1, "task_name": "t", "task_id": "i"},
            {"type": "InlineFailedError", "last_failure": {"worker_name": "w"}},
            {"type": "InlineFailedError", "last_failure": "text"},
            {"type": ["TaskTimedOutError"]},
        ],
    )
    def test_what_is_no_recorded_error_is_refused(self, data: dict) -> None:
        with pytest.raises(SerializationError, match="not a recorded error"):
            error_from_json(data)

    def test_what_a_newer_release_adds_is_ignored(self) -> None:
        data = {**TaskTimedOutError(**TASK).to_json(), "colour": "red"}
        assert error_from_json(data) == TaskTimedOutError(**TASK)

    def test_a_subclass_is_stored_as_the_class_that_is_known(self) -> None:
        class MyTimeout(TaskTimedOutError):
            pass

        assert type(error_from_json(MyTimeout(**TASK).to_json())) is TaskTimedOutError

    def test_a_family_cannot_be_stored(self) -> None:
        with pytest.raises(SerializationError, match="family"):
            DeferredFailedError().to_json()

    def test_of_a_very_long_chain_both_ends_are_kept(self) -> None:
        error: DeferredError = task_failed(SubTrouble("root"))
        for number in range(500):
            error = WorkflowFailedError(
                **{**METHOD, "workflow_id": f"w{number}"}, deferred_error=error
            )
        again = error_from_json(json.loads(json.dumps(error.to_json())))
        assert isinstance(again, WorkflowFailedError)
        assert again.workflow_id == "w499"
        assert again.caused_by(SubTrouble)
        assert len(json.dumps(again.to_json())) < 50_000


class Rich(Exception):
    def __init__(self) -> None:
        super().__init__("rich")
        self.text = "42"
        self.number = 42
        self.ratio = 42.5
        self.items = [1, (2, None), {"k": True}]
        self.price = Decimal("1.50")
        self.key = UUID(int=5)
        self.odd = object()
        self.keys = {1: 2}
        self.big = "x" * 1_000_000
        self.nan = float("nan")
        self._hidden = "secret"


class TestWhatIsRecorded:
    def test_public_attributes_that_are_json_are_kept(self) -> None:
        properties = ExceptionInfo.of(Rich()).properties
        assert properties["text"] == "42"
        assert (properties["number"], properties["ratio"]) == (42, 42.5)
        assert properties["items"] == [1, [2, None], {"k": True}]
        assert properties["price"] == "1.50"
        assert "_hidden" not in properties

    def test_what_is_no_json_is_described_in_words(self) -> None:
        properties = ExceptionInfo.of(Rich()).properties
        assert properties["odd"] == "(not recorded: a builtins.object is not plain JSON)"
        assert "builtins.int" in properties["keys"]
        assert "more characters" in properties["big"]
        assert properties["nan"] == "nan"
        json.dumps(properties, allow_nan=False)

    def test_all_attributes_together_have_a_limit(self) -> None:
        error = ValueError("large")
        for number in range(500):
            setattr(error, f"field_{number}", ["x" * 100] * 100)
        assert len(json.dumps(ExceptionInfo.of(error).properties)) < 50_000

    def test_what_it_was_raised_from_is_kept_with_its_fields(self) -> None:
        try:
            try:
                raise Rich
            except Rich as cause:
                raise RuntimeError("outer") from cause
        except RuntimeError as error:
            info = ExceptionInfo.of(error)
        assert (info.name, info.message) == ("builtins.RuntimeError", "outer")
        assert info.cause is not None
        assert info.cause.name == f"{Rich.__module__}.Rich"
        assert info.cause.properties["text"] == "42"

    def test_the_context_counts_unless_it_is_suppressed(self) -> None:
        def cause_of(*, suppressed: bool) -> ExceptionInfo | None:
            try:
                try:
                    raise KeyError("inner")
                except KeyError:
                    if suppressed:
                        raise ValueError("outer") from None
                    raise ValueError("outer")  # noqa: B904
            except ValueError as error:
                return ExceptionInfo.of(error).cause

        assert cause_of(suppressed=True) is None
        found = cause_of(suppressed=False)
        assert found is not None
        assert found.name == "builtins.KeyError"

    def test_a_circle_of_causes_is_cut(self) -> None:
        one, two = ValueError("one"), ValueError("two")
        one.__cause__, two.__cause__ = two, one
        info = ExceptionInfo.of(one)
        assert info.cause is not None
        assert info.cause.message == "two"
        assert info.cause.cause is None

    def test_what_databases_refuse_is_replaced(self) -> None:
        info = ExceptionInfo.of(ValueError("a\0b\ud800c"))
        assert info.message == "a\ufffdb\ufffdc"
        assert "\0" not in failure(ValueError("a\0b")).stack_trace

    def test_a_long_text_is_cut_and_says_so(self) -> None:
        message = ExceptionInfo.of(ValueError("x" * 50_000)).message
        assert len(message) < 11_000
        assert "40000 more characters" in message

    def test_an_exception_whose_text_raises_is_recorded_all_the_same(self) -> None:
        class Broken(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no text")

        assert "str() raised RuntimeError" in ExceptionInfo.of(Broken()).message
        failure(Broken())

    def test_the_stack_trace_says_where(self) -> None:
        found = failure(ValueError("sorry"))
        assert "in failure" in found.stack_trace
        assert "ValueError: sorry" in found.stack_trace


class TestAttempts:
    def chain(self, count: int) -> Failure:
        found: Failure | None = None
        for index in range(count):
            found = failure(
                ValueError(f"attempt {index}"),
                retry_index=index,
                seconds_before_retry=None if index == count - 1 else index + 1,
                previous=found,
            )
        assert found is not None
        return found

    def test_all_attempts_come_back_from_json(self) -> None:
        last = self.chain(21)
        again = Failure.from_json(json.loads(json.dumps(last.to_json())))
        assert again == last
        assert [one.retry_index for one in again.chain()] == list(range(20, -1, -1))

    def test_of_very_many_attempts_the_newest_are_kept(self) -> None:
        again = Failure.from_json(self.chain(300).to_json())
        assert again.retry_index == 299
        assert len(again.chain()) == 100
