"""Leases: kept while a worker lives, rescued when it does not, by whoever is there."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from conftest import working
from tests.integration.support import changes, graph, steps_by_name

from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.states import TaskState
from tasker_core.step_handler.functional import step_handler
from tasker_core.template import Backoff, RetryPolicy
from tasker_core.types import StepContext

LEASE = 0.6
ONCE = RetryPolicy(max_attempts=1)


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[Engine]:
    """An engine whose leases are shorter than the handlers here run."""
    async with Engine(database_url, lease_seconds=LEASE) as opened:
        yield opened


@step_handler("work")
async def work(context: StepContext) -> dict[str, int]:
    return {"attempt": context.retry_count + 1}


@step_handler("work")
async def longer_than_the_lease() -> None:
    await asyncio.sleep(LEASE * 2)


@step_handler("work")
def longer_than_the_lease_on_a_thread() -> None:
    time.sleep(LEASE * 2)


@step_handler("work")
async def blocking_longer_than_the_lease() -> None:
    time.sleep(LEASE * 2)  # noqa: ASYNC251 - blocking the event loop is the point


async def abandon(engine: Engine, callables: list[str], limit: int = 100) -> int:
    """Claim as a worker that dies at once; return how many steps it took with it."""
    worker = await engine.store.register_worker("dead", "host", 1, callables)
    return len(await engine.store.claim_steps(worker, callables, limit, 0.01))


@pytest.mark.parametrize(
    "handler", [longer_than_the_lease, longer_than_the_lease_on_a_thread, blocking_longer_than_the_lease]
)
async def test_a_handler_may_run_longer_than_its_lease(engine: Engine, database_url: str, handler: object) -> None:
    # Another process would rescue the lease if it lapsed, whatever the first one's event loop is doing.
    async with (
        Engine(database_url, lease_seconds=LEASE) as other,
        working(other, {"unrelated": work}),
        working(engine, {"work": handler}),
    ):
        task = await engine.create_task(graph({"only": []}, step={"retry": ONCE}), TaskRequest())
        assert await engine.wait(task, 10) is TaskState.COMPLETE
    assert (await engine.steps(task))[0]["attempts"] == 1


async def test_the_step_of_a_worker_that_died_runs_again_and_the_lost_attempt_counts(engine: Engine) -> None:
    task = await engine.create_task(graph({"only": []}), TaskRequest())
    assert await abandon(engine, ["work"]) == 1
    async with working(engine, {"work": work}):
        assert await engine.wait(task, 10) is TaskState.COMPLETE
    assert (await engine.steps(task))[0]["result"] == {"attempt": 2}
    assert (await changes(engine, task, "only"))[2:4] == [
        (1, "in_progress", "waiting_for_retry"),
        (2, "waiting_for_retry", "in_progress"),
    ]


async def test_without_attempts_left_the_step_of_a_worker_that_died_is_in_error(engine: Engine) -> None:
    template = graph({"a": [], "b": []}, callables={"b": "other"}, step={"retry": ONCE})
    task = await engine.create_task(template, TaskRequest())
    await abandon(engine, ["work"])
    async with working(engine, {"other": work}):
        assert await engine.wait(task, 10) is TaskState.BLOCKED_BY_FAILURES
    steps = await steps_by_name(engine, task)
    assert steps["a"]["error"]["error_type"] == "lease_expired"
    assert (steps["a"]["current_state"], steps["b"]["current_state"]) == ("error", "complete")


async def test_a_worker_that_dies_on_every_attempt_uses_them_up(engine: Engine) -> None:
    policy = RetryPolicy(max_attempts=2, backoff=Backoff.NONE)
    task = await engine.create_task(graph({"only": []}, step={"retry": policy}), TaskRequest())
    async with working(engine, {"other": work}):
        while await engine.store.task_states([task]) != {task: "blocked_by_failures"}:
            await abandon(engine, ["work"])
            await asyncio.sleep(0.01)
    assert (await engine.steps(task))[0]["attempts"] == 2


async def test_any_engine_rescues_whatever_handlers_its_worker_has(engine: Engine, database_url: str) -> None:
    tasks = await engine.create_tasks(graph({"only": []}, step={"retry": ONCE}), [TaskRequest()] * 20)
    assert await abandon(engine, ["work"]) == 20
    async with Engine(database_url, lease_seconds=LEASE) as other, working(other, {"unrelated": work}):
        assert {await other.wait(task, 10) for task in tasks} == {TaskState.BLOCKED_BY_FAILURES}


async def test_two_rescuers_rescue_each_lease_once(engine: Engine, database_url: str) -> None:
    tasks = await engine.create_tasks(graph({"only": []}), [TaskRequest()] * 50)
    await abandon(engine, ["work"])
    async with (
        Engine(database_url, lease_seconds=LEASE) as other,
        working(engine, {"work": work}),
        working(other, {"work": work}),
    ):
        assert {await engine.wait(task, 10) for task in tasks} == {TaskState.COMPLETE}
    assert {(await engine.steps(task))[0]["attempts"] for task in tasks} == {2}


async def test_a_rescuer_that_dies_leaves_its_leases_to_the_next_one(engine: Engine) -> None:
    task = await engine.create_task(graph({"only": []}), TaskRequest())
    await abandon(engine, ["work"])
    await asyncio.sleep(0.02)
    rescuer = await engine.store.register_worker("dead-rescuer", "host", 1, [])
    assert len(await engine.store.take_expired_leases(rescuer, 10, 0.01)) == 1
    async with working(engine, {"work": work}):
        assert await engine.wait(task, 10) is TaskState.COMPLETE
    assert (await engine.steps(task))[0]["attempts"] == 2


async def test_a_lease_in_force_is_not_rescued(engine: Engine) -> None:
    await engine.create_task(graph({"only": []}), TaskRequest())
    worker = await engine.store.register_worker("alive", "host", 1, ["work"])
    (grant,) = await engine.store.claim_steps(worker, ["work"], 1, 30)
    assert await engine.store.take_expired_leases(worker, 10, 30) == []
    assert await engine.store.renew_leases(worker, [grant.key], 30) == {grant.key}


async def test_a_worker_that_stops_in_good_order_leaves_no_lease_behind(engine: Engine, database_url: str) -> None:
    started = asyncio.Event()

    @step_handler("work")
    async def forever(context: StepContext) -> None:
        if not context.is_retry():
            started.set()
            await asyncio.Event().wait()

    async with working(engine, {"work": forever}, shutdown_timeout=0.05):
        task = await engine.create_task(graph({"only": []}), TaskRequest())
        await started.wait()
    step = (await engine.steps(task))[0]
    assert (step["current_state"], step["error"]["error_type"]) == ("waiting_for_retry", "worker_shutdown")
    async with working(engine, {"work": forever}):
        assert await engine.wait(task, 5) is TaskState.COMPLETE
