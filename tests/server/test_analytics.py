"""Analytics over HTTP."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from conftest import working
from fastapi import Request
from tests.integration.dynamic import analyzer, batches, convergence, mould, template
from tests.integration.support import chain, fetch, graph, moment

from tasker_core.access import ALL_PERMISSIONS, Caller
from tasker_core.errors import PermanentError, RetryableError
from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.orchestration import analytics as module
from tasker_core.states import StepState, TaskState
from tasker_core.step_handler.functional import step_handler
from tasker_core.template import TaskTemplate
from tasker_core.types import StepContext

Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


class Known:
    """Everybody is the one caller."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    async def authenticate(self, request: Request) -> Caller:
        return self.caller


@step_handler("work")
async def work() -> dict[str, Any]:
    return {}


@step_handler("fail")
async def fail() -> dict[str, Any]:
    raise PermanentError("never")


@step_handler("stumble")
async def stumble(context: StepContext) -> dict[str, Any]:
    if context.retry_count == 0:
        raise RetryableError("not yet")
    return {}


@step_handler("analyze")
async def analyze() -> dict[str, Any]:
    return batches(6)


HANDLERS = {"analyze": analyze, "work": work, "fail": fail, "stumble": stumble}
FAILING = graph({"broken": []}, name="failing", callables={"broken": "fail"})


async def run(engine: Engine, shape: TaskTemplate, count: int = 1) -> list[UUID]:
    tasks = await engine.create_tasks(shape, [TaskRequest() for _ in range(count)])
    async with working(engine, HANDLERS):
        await asyncio.gather(*(engine.wait(task, 20) for task in tasks))
    return tasks


async def stretch(url: str, task: UUID, seconds: float) -> None:
    """Let a task and each attempt of it have taken longer by so many seconds than they did."""
    for statement in (
        "UPDATE tasker.tasks SET started_at = started_at - make_interval(secs => $2) WHERE task_uuid = $1",
        "UPDATE tasker.step_transitions SET leased_at = leased_at - make_interval(secs => $2) WHERE task_uuid = $1",
    ):
        await fetch(url, statement, task, seconds)


async def age(url: str, task: UUID, hours: int) -> None:
    """Let everything about a task have happened so many hours earlier."""
    for table, columns in {
        "tasks": ("created_at", "started_at", "completed_at"),
        "step_transitions": ("enqueued_at", "leased_at", "occurred_at"),
        "task_transitions": ("occurred_at",),
    }.items():
        changes = ", ".join(f"{column} = {column} - make_interval(hours => $2)" for column in columns)
        await fetch(url, f"UPDATE tasker.{table} SET {changes} WHERE task_uuid = $1", task, hours)


async def performance(http: httpx.AsyncClient, **query: Any) -> dict[str, Any]:
    answer = await http.get("/v1/analytics/performance", params=query)
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


async def bottlenecks(http: httpx.AsyncClient, **query: Any) -> dict[str, Any]:
    answer = await http.get("/v1/analytics/bottlenecks", params=query)
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


async def test_an_empty_database_has_numbers_too(http: httpx.AsyncClient) -> None:
    body = await performance(http)
    period = moment(body.pop("calculated_at")) - moment(body.pop("analysis_period_start"))
    assert period == timedelta(hours=24)
    assert body == {
        **dict.fromkeys(("total_tasks", "active_tasks", "completed_tasks", "failed_tasks"), 0),
        **dict.fromkeys(("completion_rate", "error_rate", "tasks_per_hour", "steps_per_hour"), 0),
        **dict.fromkeys(("average_task_duration_seconds", "average_step_duration_seconds"), 0.0),
        "system_health_score": 1.0,
    }
    body = await bottlenecks(http)
    assert (body["slow_steps"], body["slow_tasks"], body["recommendations"]) == ([], [], [])
    assert set(body["resource_utilization"]["system_health"].values()) == {0}


async def test_performance_counts_what_became_of_the_tasks_and_how_long_they_took(
    http: httpx.AsyncClient, engine: Engine, database_url: str
) -> None:
    done = await run(engine, chain(2), 3)
    await run(engine, FAILING)
    await engine.create_task(chain(2, name="waiting"), TaskRequest())
    for task in done:
        await stretch(database_url, task, 60)
    body = await performance(http)
    assert (body["total_tasks"], body["active_tasks"]) == (5, 2)
    assert (body["completed_tasks"], body["failed_tasks"]) == (3, 1)
    assert (body["completion_rate"], body["error_rate"], body["system_health_score"]) == (75.0, 25.0, 0.75)
    assert 60 <= body["average_task_duration_seconds"] < 70
    assert 60 <= body["average_step_duration_seconds"] < 70
    assert abs(datetime.now(UTC) - moment(body["calculated_at"])) < timedelta(minutes=1)


async def test_rates_are_by_the_hour_and_only_what_happened_in_the_window_counts(
    http: httpx.AsyncClient, engine: Engine, database_url: str
) -> None:
    tasks = await run(engine, chain(2), 6)
    for task in tasks[:4]:
        await age(database_url, task, 3)
    assert {key: (await performance(http, hours=1))[key] for key in ("completed_tasks", "tasks_per_hour")} == {
        "completed_tasks": 2,
        "tasks_per_hour": 2,
    }
    wider = await performance(http, hours=4)
    assert (wider["completed_tasks"], wider["tasks_per_hour"], wider["steps_per_hour"]) == (6, 2, 3)
    assert (await performance(http, hours=8760))["steps_per_hour"] == 0


async def test_a_failed_task_that_was_retried_counts_as_what_it_is_now(http: httpx.AsyncClient, engine: Engine) -> None:
    (task,) = await run(engine, FAILING)
    await engine.retry_task(task, actor="ann")
    async with working(engine, {"fail": work}):
        assert await engine.wait(task, 10) is TaskState.COMPLETE
    body = await performance(http)
    assert (body["completed_tasks"], body["failed_tasks"], body["completion_rate"]) == (1, 0, 100.0)


async def test_bottlenecks_lists_the_slowest_steps_and_templates_first(
    http: httpx.AsyncClient, engine: Engine, database_url: str
) -> None:
    slow, fast = await run(engine, chain(1, name="slow"), 5), await run(engine, chain(2, name="fast"), 6)
    await run(engine, chain(1, name="rare"), 4)
    for number, task in enumerate(slow):
        await stretch(database_url, task, 100 * number)
    body = await bottlenecks(http)
    assert [(row["task_name"], row["step_name"], row["execution_count"]) for row in body["slow_steps"][:1]] == [
        ("slow", "s0", 5)
    ]
    assert {row["step_name"] for row in body["slow_steps"][1:]} == {"s0", "s1"}
    assert [(row["task_name"], row["execution_count"]) for row in body["slow_tasks"]] == [("slow", 5), ("fast", 6)]
    first = body["slow_tasks"][0]
    assert 200 <= first["average_duration_seconds"] < 210
    assert 400 <= first["max_duration_seconds"] < 410
    assert (first["average_step_count"], first["error_rate"], first["version"]) == (1.0, 0.0, "1.0.0")
    assert moment(first["last_executed_at"]) > datetime.now(UTC) - timedelta(minutes=1)
    assert len(fast) == 6
    everything = await bottlenecks(http, min_executions=1)
    assert {row["task_name"] for row in everything["slow_tasks"]} == {"slow", "fast", "rare"}
    assert len((await bottlenecks(http, limit=1))["slow_steps"]) == 1


async def test_failed_attempts_count_as_errors_and_lead_to_a_recommendation(
    http: httpx.AsyncClient, engine: Engine, database_url: str
) -> None:
    for task in await run(engine, graph({"flaky": []}, callables={"flaky": "stumble"}), 3):
        await stretch(database_url, task, 40)
    body = await bottlenecks(http)
    (step,) = body["slow_steps"]
    assert (step["execution_count"], step["error_count"], step["error_rate"]) == (6, 3, 0.5)
    errors, slow = body["recommendations"]
    assert errors.startswith("Step 'flaky' of test/graph/1.0.0 fails in 50% of its attempts")
    assert slow.startswith("Step 'flaky' of test/graph/1.0.0 takes 40.")


async def test_batch_workers_count_as_the_step_that_they_are_made_from(http: httpx.AsyncClient, engine: Engine) -> None:
    (task,) = await run(
        engine,
        template(analyzer("analyze", callable="analyze"), mould("part", "analyze"), convergence("gather", "part")),
    )
    assert (await engine.task(task))["status"] == "complete"
    steps = (await bottlenecks(http, min_executions=1))["slow_steps"]
    assert {row["step_name"]: row["execution_count"] for row in steps} == {"analyze": 1, "part": 6, "gather": 1}


async def test_tasks_and_steps_are_counted_by_state(http: httpx.AsyncClient, engine: Engine) -> None:
    await run(engine, chain(2), 2)
    await run(engine, FAILING)
    await engine.create_task(chain(3), TaskRequest())
    health = (await bottlenecks(http))["resource_utilization"]["system_health"]
    assert set(health) == {
        *(f"{state}_tasks" for state in TaskState),
        *(f"{state}_steps" for state in StepState),
        "total_tasks",
        "total_steps",
    }
    assert {key: number for key, number in health.items() if number} == {
        "complete_tasks": 2,
        "blocked_by_failures_tasks": 1,
        "pending_tasks": 1,
        "total_tasks": 4,
        "complete_steps": 4,
        "error_steps": 1,
        "enqueued_steps": 1,
        "pending_steps": 2,
        "total_steps": 8,
    }


async def test_an_answer_is_given_again_for_a_minute_and_then_counted_anew(
    http: httpx.AsyncClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await performance(http)
    await run(engine, chain(1))
    assert await performance(http) == first
    assert (await performance(http, hours=23))["completed_tasks"] == 1
    monkeypatch.setattr(module, "FRESH_SECONDS", 0.0)
    assert (await performance(http))["completed_tasks"] == 1


async def test_those_who_ask_at_once_share_one_count(
    http: httpx.AsyncClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, counts = module.counted.performance, []

    async def counting(*arguments: Any) -> Any:
        counts.append(arguments)
        return await count(*arguments)

    monkeypatch.setattr(module.counted, "performance", counting)
    answers = await asyncio.gather(*(performance(http) for _ in range(8)))
    assert all(answer == answers[0] for answer in answers)
    assert len(counts) == 1


async def test_whoever_is_limited_to_a_namespace_sees_the_numbers_of_that(serve: Serve, engine: Engine) -> None:
    await run(engine, chain(1, namespace_name="shop"), 2)
    await run(engine, chain(3, namespace_name="bank"), 3)
    await run(engine, graph({"broken": []}, namespace_name="bank", callables={"broken": "fail"}))
    ann = Known(Caller("ann", ALL_PERMISSIONS, frozenset({"shop"})))
    async with serve(authenticator=ann) as client:
        body = await performance(client)
        assert {key: body[key] for key in ("total_tasks", "completed_tasks", "failed_tasks", "active_tasks")} == {
            "total_tasks": 2,
            "completed_tasks": 2,
            "failed_tasks": 0,
            "active_tasks": 0,
        }
        assert (await performance(client, hours=1))["steps_per_hour"] == 2
        found = await bottlenecks(client, min_executions=1)
        assert {row["namespace_name"] for row in found["slow_steps"] + found["slow_tasks"]} == {"shop"}
        health = found["resource_utilization"]["system_health"]
        assert (health["total_tasks"], health["total_steps"]) == (2, 2)
        ann.caller = Caller("bob", ALL_PERMISSIONS, frozenset({"bank"}))
        assert (await performance(client))["total_tasks"] == 4


@pytest.mark.parametrize(
    "path",
    [
        *("performance?hours=0", "performance?hours=8761", "performance?hours=x", "bottlenecks?limit=0"),
        *("bottlenecks?limit=-1", "bottlenecks?limit=1001", "bottlenecks?min_executions=0"),
        "bottlenecks?min_executions=99999999999",
    ],
)
async def test_numbers_out_of_range_are_a_bad_request(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(f"/v1/analytics/{path}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BAD_REQUEST")


async def test_analytics_need_their_permission(serve: Serve) -> None:
    async with serve(authenticator=Known(Caller("ann", frozenset()))) as client:
        for path in ("performance", "bottlenecks"):
            assert (await client.get(f"/v1/analytics/{path}")).status_code == 403
