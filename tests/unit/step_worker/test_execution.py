"""From a handler's outcome to the report of an attempt."""

import math
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pydantic
import pytest
from tests.unit.step_worker.support import leased_step

from tasker_core import StepHandler, errors, serialization
from tasker_core.handler import HandlerRegistry
from tasker_core.step_handler.functional import step_handler
from tasker_core.step_source import AncestorResult, StepReport
from tasker_core.step_worker import execution
from tasker_core.types import StepHandlerResult

STEP = leased_step()


def reported(result: StepHandlerResult) -> StepReport:
    return execution.report(STEP, result)


def run(function: Any, **step: Any) -> StepReport:
    """Run a plain handler as the worker does."""
    leased = leased_step(**step)
    registry = HandlerRegistry()
    registry.register("work", function)
    handler = execution.resolve(registry, leased)
    assert not isinstance(handler, StepHandlerResult)
    return execution.run_sync(leased, handler, execution.make_context(leased, handler, lambda: False))


def test_a_success_is_reported_as_json_text_under_its_lease() -> None:
    report = reported(StepHandlerResult.success({"n": 6**64}, {"rows": 2}))
    assert report == StepReport(STEP.key, True, f'{{"n":{6**64}}}', {"rows": 2}, None, 0)


def test_a_success_without_a_result_is_an_empty_object() -> None:
    assert reported(StepHandlerResult.success()).result == "{}"


def test_the_handlers_running_time_is_reported() -> None:
    report = execution.report(STEP, StepHandlerResult.success(), started=time.perf_counter() - 1.5)
    assert 1500 <= report.execution_time_ms < 2500


def test_a_failure_carries_message_type_code_and_whether_to_retry() -> None:
    report = reported(StepHandlerResult.failure("no money", "payment", False, {"amount": 3}, "E42"))
    assert (report.success, report.result, report.metadata) == (False, None, {"amount": 3})
    assert report.error == {"error_type": "payment", "message": "no money", "retryable": False, "error_code": "E42"}


@pytest.mark.parametrize("value", [object(), math.nan, "\ud800", "\0"])
def test_a_result_without_a_json_form_is_a_permanent_failure(value: object) -> None:
    report = reported(StepHandlerResult.success({"value": value}))
    assert report.error is not None
    assert report.error["error_type"] == "SERIALIZATION_ERROR"
    assert not report.retryable
    assert report.result is None


def test_a_result_with_keys_that_are_no_text_is_a_permanent_failure() -> None:
    @step_handler("work")
    def work() -> object:
        return {1: 2}

    report = run(work)
    assert (report.success, report.retryable) == (False, False)


def test_metadata_is_reported_as_later_steps_will_see_it() -> None:
    class Note(pydantic.BaseModel):
        text: str

    report = reported(StepHandlerResult.success({}, {"note": Note(text="x"), "pair": (1, 2)}))
    assert report.metadata == {"note": {"text": "x"}, "pair": [1, 2]}


def test_messages_are_made_printable_and_kept_short() -> None:
    report = reported(StepHandlerResult.failure("a\0b\ud800" + "x" * 20_000, "t\0"))
    assert report.error is not None
    assert report.error["message"].startswith("a\\x00b\\ud800xxx")
    assert len(report.error["message"]) < 11_000
    assert report.error["error_type"] == "t\\x00"
    serialization.dumps(report.error)


def test_an_exception_becomes_a_retryable_failure_with_its_traceback() -> None:
    @step_handler("work")
    def work() -> None:
        raise RuntimeError("boom")

    report = run(work)
    assert report.error == {"error_type": "handler_error", "message": "boom", "retryable": True}
    assert 'raise RuntimeError("boom")' in report.metadata["traceback"]


def test_a_failure_with_metadata_that_has_no_json_form_stays_what_it_is() -> None:
    @step_handler("work")
    def work() -> None:
        raise errors.RetryableError("try later", metadata={"response": object()})

    report = run(work)
    assert report.error is not None
    assert (report.error["message"], report.retryable) == ("try later", True)


def test_an_async_function_behind_a_plain_decorator_is_awaited() -> None:
    async def hidden() -> dict[str, bool]:
        return {"awaited": True}

    @step_handler("work")
    def work() -> object:
        return hidden()

    assert run(work).result == '{"awaited":true}'


def test_an_exit_in_a_handler_fails_its_step_only() -> None:
    @step_handler("work")
    def work() -> None:
        raise SystemExit(3)

    report = run(work)
    assert report.error is not None
    assert report.error["error_type"] == "handler_error"


def test_the_pause_that_an_error_asks_for_is_in_the_metadata() -> None:
    @step_handler("work")
    def work() -> None:
        raise errors.RateLimitError("slow down", retry_after=7)

    assert run(work).metadata["retry_after_seconds"] == 7


def test_an_awaitable_that_a_plain_call_returns_is_awaited() -> None:
    async def later() -> dict[str, int]:
        return {"n": 1}

    class Work(StepHandler):
        def call(self, context: Any) -> Any:
            return later()

    # On a thread, as the worker does it: a thread has no loop of its own.
    with ThreadPoolExecutor(1) as thread:
        report = thread.submit(run, Work).result()
    assert report.result == '{"n":1}'


def test_the_context_holds_what_the_step_may_ask_for() -> None:
    seen: dict[str, Any] = {}

    @step_handler("work")
    def work(context: Any) -> None:
        seen.update(
            input=context.get_input("a"),
            config=context.get_config("url"),
            before=context.get_dependency_result("before"),
            retries=(context.retry_count, context.max_retries, context.is_last_retry()),
            attempts=context.task_sequence_step.workflow_step.attempts,
        )

    run(
        work,
        attempt=3,
        context='{"a":1}',
        initialization={"url": "x"},
        ancestors=[AncestorResult("before", "", '{"n":1}', None)],
    )
    assert seen == {"input": 1, "config": "x", "before": {"n": 1}, "retries": (2, 3, True), "attempts": 2}


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        ({"callable_name": "engine_tests.nowhere"}, "Handler not found: engine_tests.nowhere"),
        ({"callable_name": "work", "method": "nope"}, "Handler not found: work with method 'nope'"),
        ({"callable_name": "work", "resolver": "nope"}, "Handler not found: work ("),
    ],
)
def test_a_missing_handler_is_a_permanent_failure_that_names_it(handler: dict[str, Any], message: str) -> None:
    registry = HandlerRegistry()
    registry.register("work", step_handler("work")(lambda: None))
    failure = execution.resolve(registry, leased_step(**handler))
    assert isinstance(failure, StepHandlerResult)
    assert (failure.error_type, failure.retryable) == ("handler_not_found", False)
    assert failure.error_message is not None
    assert failure.error_message.startswith(message)


def test_nested_configuration_is_the_attempts_own() -> None:
    step = leased_step(initialization={"limits": {"rows": 1}})

    @step_handler("work")
    def work(context: Any) -> None:
        context.get_config("limits")["rows"] += 1

    registry = HandlerRegistry()
    registry.register("work", work)
    handler = execution.resolve(registry, step)
    assert not isinstance(handler, StepHandlerResult)
    execution.run_sync(step, handler, execution.make_context(step, handler, lambda: False))
    assert execution.make_context(step, handler, lambda: False).get_config("limits") == {"rows": 1}
