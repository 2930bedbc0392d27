"""Failed attempts: which are tried again, how often, and when."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pydantic
import pytest
from conftest import working
from tests.integration.support import (
    AT_ONCE,
    chain,
    delays,
    fetch,
    graph,
    moment,
    states,
    steps_by_name,
    until_state,
)

from tasker_core import StepHandler, errors
from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.states import TaskState
from tasker_core.step_handler.functional import inputs, step_handler
from tasker_core.template import Backoff, RetryPolicy, load_text
from tasker_core.types import StepContext

ONE_STEP: dict[str, list[str]] = {"only": []}


def failing(times: int, error: Callable[[], Exception] = lambda: errors.RetryableError("not yet")) -> Any:
    """A handler that fails on its first attempts at each step."""

    @step_handler("work")
    async def work(context: StepContext) -> dict[str, int]:
        if context.retry_count < times:
            raise error()
        return {"attempts_before_success": context.retry_count + 1}

    return work


async def run(engine: Engine, template: Any, handlers: Mapping[str, Any], **context: Any) -> tuple[UUID, TaskState]:
    async with working(engine, handlers):
        task = await engine.create_task(template, TaskRequest(context))
        return task, await engine.wait(task, 15)


async def only_step(engine: Engine, task: UUID) -> dict[str, Any]:
    return (await engine.steps(task))[0]


async def test_a_step_that_keeps_failing_ends_in_error_after_exactly_max_attempts(engine: Engine) -> None:
    task, state = await run(engine, chain(3), {"work": failing(10)})
    assert state is TaskState.BLOCKED_BY_FAILURES
    assert (await steps_by_name(engine, task))["s0"]["attempts"] == 3
    assert await states(engine, task) == {"s0": "error", "s1": "pending", "s2": "pending"}


async def test_a_step_that_fails_and_then_succeeds_lets_its_task_complete(engine: Engine) -> None:
    task, state = await run(engine, chain(2), {"work": failing(2)})
    assert state is TaskState.COMPLETE
    assert [step["attempts"] for step in await engine.steps(task)] == [3, 3]


async def test_a_handler_can_tell_how_many_attempts_it_took(engine: Engine) -> None:
    policy = RetryPolicy(max_attempts=5, backoff=Backoff.NONE)
    task, _ = await run(engine, graph(ONE_STEP, step={"retry": policy}), {"work": failing(2)})
    assert (await only_step(engine, task))["result"] == {"attempts_before_success": 3}


async def test_two_leaves_that_recover_let_their_join_run_once(engine: Engine) -> None:
    joined: list[int] = []

    @step_handler("join")
    async def join(context: StepContext) -> None:
        joined.append(len(context.get_dependency_result_keys()))

    shape = {"root": [], "a": ["root"], "b": ["root"], "c": ["root"], "join": ["a", "b", "c"]}
    template = graph(shape, callables={"join": "join", "root": "fine", "c": "fine"})
    _, state = await run(engine, template, {"work": failing(1), "fine": failing(0), "join": join})
    assert (state, joined) == (TaskState.COMPLETE, [4])


@pytest.mark.parametrize("max_attempts", [0, 1])
async def test_with_max_attempts_of_zero_or_one_the_first_attempt_is_the_last(
    engine: Engine, max_attempts: int
) -> None:
    policy = RetryPolicy(max_attempts=max_attempts, backoff=Backoff.NONE)
    task, state = await run(engine, graph(ONE_STEP, step={"retry": policy}), {"work": failing(1)})
    assert (state, (await only_step(engine, task))["attempts"]) == (TaskState.BLOCKED_BY_FAILURES, 1)


async def test_a_step_that_the_template_calls_not_retryable_is_never_tried_again(engine: Engine) -> None:
    policy = RetryPolicy(retryable=False, max_attempts=3, backoff=Backoff.NONE)
    task, state = await run(engine, graph(ONE_STEP, step={"retry": policy}), {"work": failing(1)})
    assert (state, (await only_step(engine, task))["attempts"]) == (TaskState.BLOCKED_BY_FAILURES, 1)


class RaisesPermanent(StepHandler):
    def call(self, context: StepContext) -> Any:
        raise errors.PermanentError("no such account")


class RaisesPermanentAsync(StepHandler):
    async def call(self, context: StepContext) -> Any:
        raise errors.PermanentError("no such account")


class ReturnsPermanent(StepHandler):
    def call(self, context: StepContext) -> Any:
        return self.failure("no such account", retryable=False)


@step_handler("work")
def raises_permanent_in_a_function(context: StepContext) -> None:
    raise errors.PermanentError("no such account")


class Order(pydantic.BaseModel):
    quantity: int


@step_handler("work")
@inputs(Order)
def takes_an_order(inputs: Order) -> None: ...


@pytest.mark.parametrize(
    "handler",
    [RaisesPermanent, RaisesPermanentAsync, ReturnsPermanent, raises_permanent_in_a_function, takes_an_order],
)
async def test_a_permanent_failure_is_never_tried_again(engine: Engine, handler: Any) -> None:
    task, state = await run(engine, graph(ONE_STEP), {"work": handler}, quantity="many")
    step = await only_step(engine, task)
    assert (state, step["current_state"], step["attempts"]) == (TaskState.BLOCKED_BY_FAILURES, "error", 1)
    assert step["error"]["retryable"] is False


@pytest.mark.parametrize(
    ("backoff", "plain"),
    [
        (Backoff.NONE, [0, 0, 0, 0]),
        (Backoff.LINEAR, [40, 80, 120, 130]),
        (Backoff.EXPONENTIAL, [40, 80, 130, 130]),
        (Backoff.FIBONACCI, [40, 40, 80, 120]),
    ],
)
async def test_the_database_schedules_each_attempt_as_the_templates_policy_says(
    engine: Engine, database_url: str, backoff: Backoff, plain: list[int]
) -> None:
    template = load_text(f"""
        name: retries
        namespace_name: test
        version: 1.0.0
        steps:
          - name: only
            handler: {{callable: work}}
            retry: {{retryable: true, max_attempts: 5, backoff: {backoff}, backoff_base_ms: 40, max_backoff_ms: 130}}
        """)
    task, state = await run(engine, template, {"work": failing(4)})
    assert state is TaskState.COMPLETE
    pauses = [pause * 1000 for pause in await delays(database_url, task)]
    assert len(pauses) == 4
    for pause, expected in zip(pauses, plain, strict=True):
        assert expected * 0.849 <= pause <= min(expected * 1.151, 130.001)


async def test_no_attempt_starts_before_it_is_due(engine: Engine, database_url: str) -> None:
    policy = RetryPolicy(max_attempts=3, backoff=Backoff.LINEAR, backoff_base_ms=100)
    await run(engine, graph(ONE_STEP, step={"retry": policy}), {"work": failing(2)})
    rows = await fetch(database_url, "SELECT leased_at, enqueued_at FROM tasker.step_transitions WHERE attempt > 1")
    assert [timedelta(0) <= row["leased_at"] - row["enqueued_at"] < timedelta(seconds=0.9) for row in rows] == [
        True
    ] * 2


@pytest.mark.parametrize(
    ("metadata", "seconds"),
    [
        ({"retry_after_seconds": 120}, 120),
        ({"retry_after": 0.5}, 0.5),
        ({"headers": {"Retry-After": "120"}}, 120),
        ({"headers": {"RETRY-AFTER": "7"}}, 7),
        ({"retry_after": 86_400}, 3600),
    ],
)
async def test_the_called_servers_delay_is_scheduled_exactly(
    engine: Engine, database_url: str, metadata: dict[str, Any], seconds: float
) -> None:
    class Unavailable(StepHandler):
        def call(self, context: StepContext) -> Any:
            if context.is_retry():
                return self.success()
            return self.failure("503", metadata=metadata)

    async with working(engine, {"work": Unavailable}):
        task = await engine.create_task(graph(ONE_STEP), TaskRequest())
        await until_state(engine, task, TaskState.WAITING_FOR_RETRY)
    assert await delays(database_url, task) == [seconds]


async def test_the_pause_of_a_raised_error_is_scheduled_exactly(engine: Engine, database_url: str) -> None:
    async with working(engine, {"work": failing(1, lambda: errors.RateLimitError("slow down", retry_after=90))}):
        task = await engine.create_task(graph(ONE_STEP), TaskRequest())
        await until_state(engine, task, TaskState.WAITING_FOR_RETRY)
    assert await delays(database_url, task) == [90]


async def test_a_task_waits_for_its_retry_for_an_hour_and_then_goes_on(engine: Engine, database_url: str) -> None:
    async with working(engine, {"work": failing(1, lambda: errors.RetryableError("m", retry_after=3600))}) as worker:
        task = await engine.create_task(graph(ONE_STEP), TaskRequest())
        await until_state(engine, task, TaskState.WAITING_FOR_RETRY)
        due = moment((await only_step(engine, task))["next_retry_at"])
        assert timedelta(minutes=59) < due - datetime.now(UTC) <= timedelta(hours=1)
        # The hour passes: every copy of the due time moves into the past.
        await fetch(
            database_url,
            """
            WITH queue AS (
                UPDATE tasker.step_queue SET wake_at = wake_at - interval '1 hour',
                    enqueued_at = enqueued_at - interval '1 hour', claim_order = claim_order - interval '1 hour'
            )
            UPDATE tasker.steps SET next_retry_at = next_retry_at - interval '1 hour'
            """,
        )
        worker.wake()
        assert await engine.wait(task, 10) is TaskState.COMPLETE


async def test_while_one_step_waits_for_its_retry_the_others_go_on(engine: Engine) -> None:
    shape = {"flaky": [], "a": [], "b": ["a"]}
    template = graph(shape, callables={"a": "fine", "b": "fine"})
    flaky = failing(1, lambda: errors.RetryableError("m", retry_after=3600))
    async with working(engine, {"work": flaky, "fine": failing(0)}):
        task = await engine.create_task(template, TaskRequest())
        await until_state(engine, task, TaskState.WAITING_FOR_RETRY)
    assert await states(engine, task) == {"flaky": "waiting_for_retry", "a": "complete", "b": "complete"}


async def test_each_failed_attempt_is_visible_while_the_step_waits(engine: Engine) -> None:
    async with working(engine, {"work": failing(1, lambda: errors.RetryableError("not now", retry_after=60))}):
        task = await engine.create_task(graph(ONE_STEP, step={"retry": AT_ONCE}), TaskRequest())
        await until_state(engine, task, TaskState.WAITING_FOR_RETRY)
    step = await only_step(engine, task)
    assert step["error"] == {"error_type": "retryable_error", "message": "not now", "retryable": True}
