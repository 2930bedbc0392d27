"""The recount itself: it finds each kind of damage that it is there to find."""

from collections.abc import AsyncIterator

import pytest
from conftest import working
from tests.integration.support import check_invariants, fetch, graph, until_state

from tasker_core import errors
from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.states import TaskState
from tasker_core.step_handler.functional import step_handler
from tasker_core.store import EmbeddedPostgres


@step_handler("work")
async def work() -> None: ...


@step_handler("flaky")
async def flaky() -> None:
    raise errors.RetryableError("m", retry_after=3600)


@pytest.fixture
async def damaged_url(postgres: EmbeddedPostgres, database_url: str) -> AsyncIterator[str]:
    """A copy of a database with one task in every kind of state, for a test to damage.

    Not the test's own database, whose recount at the end has to succeed.
    """
    name = database_url.partition("/test_")[2].partition("?")[0]
    async with Engine(database_url) as engine:
        idle = await engine.create_task(graph({"only": []}, callables={"only": "idle"}), TaskRequest())
        async with working(engine, {"work": work, "flaky": flaky}):
            done = await engine.create_task(graph({"a": [], "b": ["a"]}), TaskRequest())
            waiting = await engine.create_task(graph({"a": [], "b": ["a"]}, callables={"a": "flaky"}), TaskRequest())
            await engine.wait(done, 10)
            await until_state(engine, waiting, TaskState.WAITING_FOR_RETRY)
        worker = await engine.store.register_worker("w", "host", 1, ["idle"])
        assert len(await engine.store.claim_steps(worker, ["idle"], 1, 300)) == 1
        assert await engine.store.task_states([idle]) == {idle: "steps_in_process"}
    await fetch(postgres.url, f'CREATE DATABASE "copy_{name}" TEMPLATE "test_{name}"')
    yield database_url.replace("/test_", "/copy_", 1)
    await fetch(postgres.url, f'DROP DATABASE "copy_{name}" WITH (FORCE)')


async def test_an_undamaged_database_passes(damaged_url: str) -> None:
    await check_invariants(damaged_url)


@pytest.mark.parametrize(
    ("damage", "promise"),
    [
        ("UPDATE tasker.tasks SET retrying_steps = 2 WHERE state = 'waiting_for_retry'", "counters"),
        ("UPDATE tasker.steps SET unmet_dependencies = 2 WHERE state = 'pending'", "unmet_dependencies"),
        ("DELETE FROM tasker.step_queue WHERE status = 'delayed'", "the queue holds exactly"),
        ("UPDATE tasker.step_queue SET attempt = 2 WHERE status = 'leased'", "the queue holds exactly"),
        ("UPDATE tasker.step_queue SET wake_at = now() WHERE status = 'delayed'", "is due when"),
        ("DELETE FROM tasker.workers", "has a holder"),
        ("DELETE FROM tasker.step_transitions WHERE to_state = 'complete'", "completed once"),
        ("UPDATE tasker.step_transitions SET attempt = 2 WHERE to_state = 'waiting_for_retry'", "without gaps"),
        ("UPDATE tasker.template_steps SET max_attempts = -1; UPDATE tasker.steps SET attempts = 2", "without gaps"),
        ("UPDATE tasker.tasks SET completed_at = NULL", "if and only if all its steps"),
        ("UPDATE tasker.steps SET result = NULL", "a result is there"),
        ("DELETE FROM tasker.task_transitions WHERE to_state = 'complete'", "unbroken line"),
        ("UPDATE tasker.step_transitions SET leased_at = occurred_at + interval '1 s'", "times of an attempt"),
    ],
)
async def test_damage_is_found_and_named(damaged_url: str, damage: str, promise: str) -> None:
    for statement in damage.split(";"):
        await fetch(damaged_url, statement)
    with pytest.raises(AssertionError, match=promise):
        await check_invariants(damaged_url)
