"""History: every change of every step and task, in order, with who and when."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
from conftest import working
from tests.integration.support import chain, changes, fetch, graph, moment, template_id_of, until_state

from tasker_core import errors
from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.states import TaskState
from tasker_core.step_handler.functional import step_handler
from tasker_core.types import StepContext


@step_handler("work")
async def flaky(context: StepContext) -> dict[str, int]:
    if not context.is_retry():
        raise errors.RetryableError("not yet")
    return {"n": 1}


async def end_of_the_first_attempt(engine: Engine, task: UUID) -> dict[str, Any]:
    return next(
        change
        for change in await engine.history(task)
        if change["attempt"] == 1 and change["from_state"] == "in_progress"
    )


async def test_every_change_of_a_step_is_told_with_its_attempt(engine: Engine) -> None:
    async with working(engine, {"work": flaky}):
        task = await engine.create_task(graph({"only": []}), TaskRequest())
        await engine.wait(task, 10)
    assert await changes(engine, task, "only") == [
        (None, "pending", "enqueued"),
        (1, "enqueued", "in_progress"),
        (1, "in_progress", "waiting_for_retry"),
        (2, "waiting_for_retry", "in_progress"),
        (2, "in_progress", "complete"),
    ]


async def test_every_change_of_a_task_is_told(engine: Engine) -> None:
    async with working(engine, {"work": flaky}):
        task = await engine.create_task(graph({"only": []}), TaskRequest())
        await engine.wait(task, 10)
    assert [(before, after) for _, before, after in await changes(engine, task, None)] == [
        ("pending", "steps_in_process"),
        ("steps_in_process", "waiting_for_retry"),
        ("waiting_for_retry", "steps_in_process"),
        ("steps_in_process", "complete"),
    ]


async def test_each_change_of_a_step_starts_where_the_one_before_ended(engine: Engine) -> None:
    shape = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": ["d"]}
    async with working(engine, {"work": flaky}):
        task = await engine.create_task(graph(shape), TaskRequest())
        await engine.wait(task, 10)
    for step in shape:
        told = await changes(engine, task, step)
        assert told[0][1] == "pending"
        assert told[-1][2] == "complete"
        assert [after for _, _, after in told[:-1]] == [before for _, before, _ in told[1:]]


async def test_times_are_in_order_and_name_the_worker(engine: Engine) -> None:
    async with working(engine, {"work": flaky}, name="berlin-1"):
        task = await engine.create_task(chain(3), TaskRequest())
        await engine.wait(task, 10)
    history = await engine.history(task)
    times = [moment(change["occurred_at"]) for change in history]
    assert times == sorted(times)
    assert {change["worker"] for change in history if change["to_state"] != "enqueued"} == {"berlin-1"}


async def test_a_failed_attempt_keeps_its_error_and_running_time_after_the_step_succeeded(engine: Engine) -> None:
    @step_handler("work")
    async def slow_then_fine(context: StepContext) -> None:
        if not context.is_retry():
            await asyncio.sleep(0.02)
            raise errors.RetryableError("not yet")

    async with working(engine, {"work": slow_then_fine}):
        task = await engine.create_task(graph({"only": []}), TaskRequest())
        await engine.wait(task, 10)
    failed = await end_of_the_first_attempt(engine, task)
    assert failed["error"]["message"] == "not yet"
    assert failed["execution_time_ms"] >= 20


async def test_an_attempt_that_is_under_way_is_told_already(engine: Engine) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    @step_handler("work")
    async def wait() -> None:
        started.set()
        await release.wait()

    async with working(engine, {"work": wait}, name="berlin-1"):
        task = await engine.create_task(graph({"only": []}), TaskRequest())
        await started.wait()
        assert await changes(engine, task, "only") == [
            (None, "pending", "enqueued"),
            (1, "enqueued", "in_progress"),
        ]
        assert (await engine.steps(task))[0]["worker"] == "berlin-1"
        release.set()


async def test_a_step_that_is_ready_but_not_claimed_is_told_to_be_enqueued(engine: Engine) -> None:
    task = await engine.create_task(graph({"only": []}), TaskRequest())
    assert await changes(engine, task, "only") == [(None, "pending", "enqueued")]


async def test_the_attempt_of_a_worker_that_died_is_told_with_that_workers_name(database_url: str) -> None:
    async with Engine(database_url, lease_seconds=0.3) as engine:
        template = graph({"only": []})
        task = await engine.create_task(template, TaskRequest())
        dead = await engine.store.register_worker("dead-1", "host", 1, ["work"])
        assert len(await engine.store.claim_steps(dead, ["work"], 1, 0.01)) == 1
        async with working(engine, {"work": flaky}, name="alive-1"):
            assert await engine.wait(task, 10) is TaskState.COMPLETE
        told = [
            (change["attempt"], change["to_state"], change["worker"])
            for change in await engine.history(task)
            if change["step"] == "only" and change["to_state"] == "in_progress"
        ]
        assert told == [(1, "in_progress", "dead-1"), (2, "in_progress", "alive-1")]


async def test_the_attempt_of_a_worker_that_died_says_that_its_lease_expired(database_url: str) -> None:
    async with Engine(database_url, lease_seconds=0.3) as engine:
        task = await engine.create_task(graph({"only": []}), TaskRequest())
        dead = await engine.store.register_worker("dead-1", "host", 1, ["work"])
        await engine.store.claim_steps(dead, ["work"], 1, 0.01)
        async with working(engine, {"work": flaky}):
            await engine.wait(task, 10)
        ended = await end_of_the_first_attempt(engine, task)
        assert ended["error"] == {
            "error_type": "lease_expired",
            "message": "worker dead-1 neither reported nor renewed its lease",
            "retryable": True,
        }


async def test_a_released_lease_leaves_no_attempt_in_history(engine: Engine) -> None:
    template = graph({"only": []})
    task = await engine.create_task(template, TaskRequest())
    worker = await engine.store.register_worker("w", "host", 1, ["work"])
    (grant,) = await engine.store.claim_steps(worker, ["work"], 1, 30)
    assert grant.template_id == await template_id_of(engine, template)
    await engine.store.release_leases(worker, [grant.key])
    await until_state(engine, task, TaskState.STEPS_IN_PROCESS)
    assert await changes(engine, task, "only") == [(None, "pending", "enqueued")]


async def test_a_claim_that_was_held_up_does_not_begin_before_its_step_was_ready(database_url: str) -> None:
    async with Engine(database_url) as engine:
        worker = await engine.store.register_worker("w", "host", 1, ["work"])
        blocker = await asyncpg.connect(database_url)
        async with blocker.transaction():
            # The claim writes to this table and creating a task does not: the claim has to wait, the task need not.
            await blocker.execute("LOCK TABLE tasker.task_transitions IN ACCESS EXCLUSIVE MODE")
            claim = asyncio.create_task(engine.store.claim_steps(worker, ["work"], 1, 30))
            while not await fetch(database_url, "SELECT 1 FROM pg_locks WHERE NOT granted"):
                assert not claim.done()
            await engine.create_task(graph({"only": []}), TaskRequest())
        await blocker.close()
        grants = await claim or await engine.store.claim_steps(worker, ["work"], 1, 30)
        assert len(grants) == 1
    (row,) = await fetch(database_url, "SELECT leased_at - enqueued_at AS waited FROM tasker.step_queue")
    assert row["waited"] >= timedelta(0)
