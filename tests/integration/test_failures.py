"""What a failure means for the steps around it, and what people see of it."""

import asyncio
import math
from typing import Any
from uuid import UUID

import pytest
from conftest import working
from tests.integration.support import chain, fetch, graph, states, steps_by_name

from tasker_core import errors
from tasker_core.orchestration import Engine, InvalidTaskError, TaskNotFoundError, TaskRequest
from tasker_core.states import TaskState
from tasker_core.step_handler.functional import step_handler
from tasker_core.types import StepContext

INPUT_SCHEMA = {
    "type": "object",
    "required": ["customer"],
    "properties": {
        "customer": {"type": "object", "properties": {"email": {"type": "string"}}},
        "items": {"type": "array", "minItems": 1, "items": {"type": "integer"}},
    },
}
RESULT_SCHEMA = {"type": "object", "required": ["total"], "properties": {"total": {"type": "integer"}}}


@step_handler("work")
async def work() -> dict[str, int]:
    return {"n": 1}


@step_handler("broken")
async def broken() -> None:
    raise errors.PermanentError("the card was declined", error_code="E_CARD", metadata={"card": "4242"})


HANDLERS = {"work": work, "broken": broken}


async def run(engine: Engine, template: Any, handlers: dict[str, Any] = HANDLERS) -> tuple[UUID, TaskState]:
    async with working(engine, handlers):
        task = await engine.create_task(template, TaskRequest())
        return task, await engine.wait(task, 10)


async def test_after_a_failure_mid_chain_what_came_before_is_complete_and_what_comes_after_stays_pending(
    engine: Engine,
) -> None:
    task, state = await run(engine, chain(4, callables={"s1": "broken"}))
    assert state is TaskState.BLOCKED_BY_FAILURES
    assert await states(engine, task) == {"s0": "complete", "s1": "error", "s2": "pending", "s3": "pending"}


async def test_independent_branches_go_on_beside_a_failure(engine: Engine) -> None:
    shape = {"root": [], "bad": ["root"], "a": ["root"], "b": ["a"], "c": ["b"], "join": ["bad", "c"]}
    task, state = await run(engine, graph(shape, callables={"bad": "broken"}))
    assert state is TaskState.BLOCKED_BY_FAILURES
    assert await states(engine, task) == {
        "root": "complete",
        "bad": "error",
        "a": "complete",
        "b": "complete",
        "c": "complete",
        "join": "pending",
    }


async def test_a_blocked_task_is_not_over(engine: Engine) -> None:
    task, _ = await run(engine, graph({"only": []}, callables={"only": "broken"}))
    view = await engine.task(task)
    assert (view["status"], view["completed_at"], view["failed_steps"]) == ("blocked_by_failures", None, 1)


async def test_the_error_is_visible_on_the_step(engine: Engine) -> None:
    task, _ = await run(engine, graph({"only": []}, callables={"only": "broken"}))
    step = (await engine.steps(task))[0]
    assert step["error"] == {
        "error_type": "permanent_error",
        "message": "the card was declined",
        "retryable": False,
        "error_code": "E_CARD",
    }
    assert step["metadata"]["card"] == "4242"
    assert step["result"] is None


async def test_a_missing_handler_blocks_the_task_and_is_named(engine: Engine) -> None:
    async with working(engine, {"work": work}, callables=["work", "engine_tests.nowhere"]):
        task = await engine.create_task(
            graph({"a": [], "b": []}, callables={"b": "engine_tests.nowhere"}), TaskRequest()
        )
        assert await engine.wait(task, 10) is TaskState.BLOCKED_BY_FAILURES
    step = (await steps_by_name(engine, task))["b"]
    assert step["error"]["error_type"] == "handler_not_found"
    assert "engine_tests.nowhere" in step["error"]["message"]
    assert step["attempts"] == 1


@pytest.mark.parametrize("value", [object(), math.inf, "\ud800", "\0"], ids=["object", "infinity", "surrogate", "nul"])
async def test_a_result_that_json_cannot_say_is_a_permanent_failure(engine: Engine, value: object) -> None:
    @step_handler("work")
    async def unspeakable() -> dict[str, object]:
        return {"deep": [value]}

    task, state = await run(engine, graph({"only": []}), {"work": unspeakable})
    step = (await engine.steps(task))[0]
    assert (state, step["attempts"]) == (TaskState.BLOCKED_BY_FAILURES, 1)
    assert step["error"]["error_type"] == "SERIALIZATION_ERROR"


async def test_an_error_message_that_cannot_be_stored_is_made_printable(engine: Engine) -> None:
    @step_handler("work")
    async def unspeakable() -> None:
        raise errors.PermanentError("bad \0 byte \ud800")

    task, _ = await run(engine, graph({"only": []}), {"work": unspeakable})
    assert (await engine.steps(task))[0]["error"]["message"] == "bad \\x00 byte \\ud800"


async def test_a_result_against_its_schema_is_noted_and_the_task_goes_on(engine: Engine) -> None:
    task, state = await run(engine, chain(2, step={"result_schema": RESULT_SCHEMA}))
    assert state is TaskState.COMPLETE
    step = (await steps_by_name(engine, task))["s0"]
    assert step["metadata"]["result_schema_violations"] == ["/: 'total' is a required property"]
    assert step["result"] == {"n": 1}


async def test_with_strict_results_a_result_against_its_schema_is_a_permanent_failure(engine: Engine) -> None:
    task, state = await run(engine, chain(2, step={"result_schema": RESULT_SCHEMA}, strict_results=True))
    assert state is TaskState.BLOCKED_BY_FAILURES
    step = (await steps_by_name(engine, task))["s0"]
    assert (step["attempts"], step["error"]["error_type"]) == (1, "result_schema_violation")


async def test_a_context_against_the_input_schema_is_refused_with_pointers_to_every_fault(engine: Engine) -> None:
    template = graph({"only": []}, input_schema=INPUT_SCHEMA)
    with pytest.raises(InvalidTaskError) as refused:
        await engine.create_task(template, TaskRequest({"items": [1, "x"], "customer": {"email": 5}}))
    assert [violation.pointer for violation in refused.value.violations] == ["/customer/email", "/items/1"]
    assert "test/graph/1.0.0" in str(refused.value)
    with pytest.raises(InvalidTaskError) as missing:
        await engine.create_task(template, TaskRequest({"items": []}))
    assert [violation.pointer for violation in missing.value.violations] == ["", "/items"]


async def test_tasks_created_together_are_created_all_or_none(engine: Engine, database_url: str) -> None:
    template = graph({"only": []}, input_schema=INPUT_SCHEMA)
    requests = [TaskRequest({"customer": {}}), TaskRequest({}), TaskRequest({"customer": {}})]
    with pytest.raises(InvalidTaskError):
        await engine.create_tasks(template, requests)
    assert await fetch(database_url, "SELECT 1 FROM tasker.tasks") == []


@pytest.mark.parametrize(
    "request_",
    [
        TaskRequest({"text": "\0"}),
        TaskRequest({"text": "\ud800"}),
        TaskRequest({"number": math.nan}),
        TaskRequest({"thing": object()}),
        TaskRequest({"long": "x" * 10_001}),
        TaskRequest(priority=101),
        TaskRequest(priority=-101),
        TaskRequest(tags=["\0"]),
        TaskRequest(initiator="\0"),
        TaskRequest(reason="\ud800"),
    ],
    ids=["nul", "surrogate", "nan", "object", "long text", "high", "low", "nul tag", "nul initiator", "bad reason"],
)
async def test_a_request_that_cannot_be_stored_is_refused_as_invalid(engine: Engine, request_: TaskRequest) -> None:
    with pytest.raises(InvalidTaskError):
        await engine.create_task(graph({"only": []}), request_)


async def test_an_unknown_task_is_said_to_be_unknown(engine: Engine) -> None:
    unknown = UUID("0192f7a0-0000-7000-8000-000000000000")
    for ask in (engine.task, engine.steps, engine.history, engine.wait):
        with pytest.raises(TaskNotFoundError, match=str(unknown)):
            await ask(unknown)


async def test_waiting_for_a_task_ends_when_the_time_is_up(engine: Engine) -> None:
    task = await engine.create_task(graph({"only": []}), TaskRequest())
    with pytest.raises(TimeoutError):
        await engine.wait(task, 0.05)


async def test_one_waiter_giving_up_does_not_leave_the_others_to_the_poll(engine: Engine) -> None:
    release = asyncio.Event()

    @step_handler("work")
    async def wait(context: StepContext) -> None:
        await release.wait()

    async with working(engine, {"work": wait}):
        task = await engine.create_task(graph({"only": []}), TaskRequest())
        patient = asyncio.create_task(engine.wait(task, 10))
        with pytest.raises(TimeoutError):
            await engine.wait(task, 0.05)
        release.set()
        # Far below the second after which the poll would find out.
        async with asyncio.timeout(0.5):
            assert await patient is TaskState.COMPLETE
