"""PostgreSQL crashes and comes back; Tasker goes on where it was."""

import asyncio

from conftest import working
from tests.integration.support import chain, check_invariants

from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.states import TaskState
from tasker_core.step_handler.functional import step_handler
from tasker_core.store import EmbeddedPostgres


@step_handler("work")
async def work() -> None: ...


async def test_work_in_progress_survives_a_crash_of_the_database(own_postgres: EmbeddedPostgres) -> None:
    running, crashed = asyncio.Event(), asyncio.Event()
    ran = 0

    @step_handler("work")
    async def slow_from_half_on() -> None:
        nonlocal ran
        ran += 1
        if ran > 120:
            running.set()
            await crashed.wait()

    async with Engine(own_postgres.url, lease_seconds=5) as engine, working(engine, {"work": slow_from_half_on}):
        tasks = await engine.create_tasks(chain(4), [TaskRequest()] * 60)
        await running.wait()
        await asyncio.to_thread(own_postgres.restart)
        crashed.set()
        async with asyncio.timeout(30):
            assert {await engine.wait(task) for task in tasks} == {TaskState.COMPLETE}
    await check_invariants(own_postgres.url)


async def test_a_crash_of_the_database_at_any_moment_loses_no_step(own_postgres: EmbeddedPostgres) -> None:
    async with (
        Engine(own_postgres.url, lease_seconds=2) as engine,
        working(engine, {"work": work}, name="one"),
        working(engine, {"work": work}, name="two"),
    ):
        tasks = await engine.create_tasks(chain(20), [TaskRequest()] * 100)
        await engine.wait(tasks[0], 20)
        await asyncio.to_thread(own_postgres.restart)
        async with asyncio.timeout(30):
            assert {await engine.wait(task) for task in tasks} == {TaskState.COMPLETE}
    await check_invariants(own_postgres.url)


async def test_an_idle_engine_takes_new_work_after_a_crash_of_the_database(own_postgres: EmbeddedPostgres) -> None:
    async with Engine(own_postgres.url) as engine, working(engine, {"work": work}):
        first = await engine.create_task(chain(2), TaskRequest())
        assert await engine.wait(first, 10) is TaskState.COMPLETE
        await asyncio.to_thread(own_postgres.restart)
        second = await engine.create_task(chain(2), TaskRequest())
        assert await engine.wait(second, 10) is TaskState.COMPLETE
    await check_invariants(own_postgres.url)
