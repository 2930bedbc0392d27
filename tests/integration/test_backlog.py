"""The backlog is counted by namespace, in bounded time."""

import asyncio
from datetime import UTC, datetime, timedelta

from conftest import working
from tests.integration.support import chain, fetch, graph

from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.states import TaskState
from tasker_core.step_handler.functional import step_handler
from tasker_core.store import backlog


async def test_what_waits_is_counted_by_namespace(engine: Engine) -> None:
    await engine.create_tasks(graph({"a": [], "b": [], "c": ["a"]}, namespace_name="one"), [TaskRequest()] * 3)
    await engine.create_tasks(chain(1, namespace_name="two"), [TaskRequest()] * 2)
    waiting = await engine.backlog.waiting()
    assert {namespace: one.steps for namespace, one in waiting.items()} == {"one": 6, "two": 2}


async def test_tasks_that_are_paused_or_not_due_do_not_wait(engine: Engine) -> None:
    paused = await engine.create_task(chain(1), TaskRequest())
    await engine.pause_task(paused, actor="me")
    await engine.create_task(chain(1), TaskRequest(requested_at=datetime.now(UTC) + timedelta(hours=1)))
    assert await engine.backlog.waiting() == {}


async def test_the_age_is_that_of_the_oldest_step(engine: Engine, database_url: str) -> None:
    await engine.create_tasks(chain(1), [TaskRequest()] * 2)
    old = await engine.create_task(chain(1), TaskRequest())
    await fetch(
        database_url,
        "UPDATE tasker.step_queue SET enqueued_at = enqueued_at - interval '1 hour' WHERE task_uuid = $1",
        old,
    )
    waiting = (await engine.backlog.waiting())["test"]
    assert 3600 <= waiting.oldest_seconds < 3700


async def test_only_steps_that_a_live_worker_could_run_count_as_served(engine: Engine) -> None:
    await engine.create_task(chain(1), TaskRequest())
    assert (await engine.backlog.waiting())["test"].oldest_served_seconds is None
    elsewhere = await engine.store.register_worker("elsewhere", "host", 1, ["work"], namespaces=["other"])
    assert (await engine.backlog.waiting())["test"].oldest_served_seconds is None
    here = await engine.store.register_worker("here", "host", 1, ["work"], namespaces=["test"])
    assert (await engine.backlog.waiting())["test"].oldest_served_seconds is not None
    await engine.store.worker_stopped(here)
    assert (await engine.backlog.waiting())["test"].oldest_served_seconds is None
    assert (await engine.backlog.standing()).live_workers == 1
    await engine.store.worker_stopped(elsewhere)
    assert (await engine.backlog.standing()).live_workers == 0


async def test_a_long_queue_is_estimated_from_a_part_of_it(engine: Engine) -> None:
    await engine.create_tasks(graph({f"s{n}": [] for n in range(20)}), [TaskRequest()] * 500)
    exact = await backlog.waiting(engine.store.database, 90.0)
    assert exact[0]["steps"] == 10_000
    estimates = [
        rows[0]["steps"] if (rows := await backlog.waiting(engine.store.database, 90.0, pages=60)) else 0
        for _ in range(20)
    ]
    assert len(set(estimates)) > 1
    assert 8_000 < sum(estimates) / len(estimates) < 12_000


async def test_tasks_that_are_not_over_are_counted_by_state(engine: Engine) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    @step_handler("broken")
    async def broken() -> None:
        raise ValueError("no")

    @step_handler("slow")
    async def slow() -> None:
        started.set()
        await go_on.wait()

    async with working(engine, {"broken": broken, "slow": slow}):
        blocked = await engine.create_task(chain(2, callables={"s0": "broken"}, namespace_name="b"), TaskRequest())
        assert await engine.wait(blocked, 10) is TaskState.BLOCKED_BY_FAILURES
        await engine.create_task(graph({"a": [], "b": []}, callables={"a": "slow"}), TaskRequest())
        await engine.create_tasks(chain(2), [TaskRequest()] * 3)
        await started.wait()
        standing = await engine.backlog.standing()
        go_on.set()
    assert standing.active_tasks == {
        ("b", "blocked_by_failures"): 1,
        ("test", "pending"): 3,
        ("test", "steps_in_process"): 1,
    }
    assert standing.pending_dead_letters == 1


async def test_tasks_that_are_over_are_not_counted(engine: Engine) -> None:
    task = await engine.create_task(chain(1), TaskRequest())
    await engine.cancel_task(task, actor="me", reason="enough")
    assert (await engine.backlog.standing()).active_tasks == {}


async def test_the_pool_tells_how_it_is_used(engine: Engine) -> None:
    database, free = engine.store.database, engine.backlog.pool()
    async with database.transaction(), database.transaction():
        busy = engine.backlog.pool()
    assert (busy.active, busy.acquires) == (2, free.acquires + 2)
    assert busy.failed_acquires == 0


async def test_a_wait_for_a_connection_is_seen_while_it_lasts(database_url: str) -> None:
    async with Engine(database_url, max_connections=1) as engine:
        database = engine.store.database
        async with database.transaction():
            waiting = asyncio.create_task(database.fetch("SELECT 1"))
            await asyncio.sleep(0)
            assert engine.backlog.pool().waiting_for > 0
        await waiting
        assert engine.backlog.pool().waiting_for == 0


async def test_the_schema_is_current_after_migrations_and_not_before(engine: Engine, database_url: str) -> None:
    assert await engine.backlog.schema_is_current()
    await fetch(database_url, "UPDATE tasker_schema_version SET version_num = '0001_initial'")
    assert not await engine.backlog.schema_is_current()
