"""Stale tasks: found, noted, ended where the template says so, and left alone where they only wait."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from conftest import working
from tests.integration.support import fetch, graph, snapshot, until_state

from tasker_core import errors
from tasker_core.orchestration import Engine, TaskRequest, sweeper
from tasker_core.states import TaskState
from tasker_core.step_handler.functional import step_handler
from tasker_core.template import Lifecycle, StalenessAction, TaskTemplate

STEPS: dict[str, list[str]] = {"first": [], "second": ["first"]}
CALLABLES = {"first": "shop.first", "second": "shop.second"}
UNLIMITED = graph(STEPS, callables=CALLABLES)


def limited(**lifecycle: Any) -> TaskTemplate:
    return graph(STEPS, callables=CALLABLES, lifecycle=Lifecycle(**lifecycle))


async def age(url: str, minutes: int) -> None:
    """Let everything in the database have happened so much earlier."""
    columns = {
        "tasks": ["created_at", "requested_at", "started_at", "paused_at"],
        "steps": ["finished_at", "next_retry_at"],
        "step_queue": ["enqueued_at", "wake_at", "leased_at"],
        "workers": ["last_seen_at"],
        "dead_letters": ["created_at"],
        "step_transitions": ["enqueued_at", "leased_at", "occurred_at"],
    }
    for table, names in columns.items():
        changes = ", ".join(f"{name} = {name} - make_interval(mins => $1)" for name in names)
        await fetch(url, f"UPDATE tasker.{table} SET {changes}", minutes)


async def dead_letters(url: str) -> list[asyncpg.Record]:
    return await fetch(url, "SELECT *, reason::text, status::text FROM tasker.dead_letters ORDER BY created_at")


async def state(engine: Engine, task: UUID) -> str:
    return str((await engine.task(task))["status"])


async def claim(engine: Engine, seconds: float = 60.0) -> int:
    """Lease the first step to a worker; return the worker's id."""
    worker = await engine.store.register_worker("w1", "host", 1, ["shop.first"])
    assert await engine.store.claim_steps(worker, ["shop.first"], 1, seconds)
    return worker


@step_handler("shop.first")
def busy() -> None:
    raise errors.RetryableError("not yet", retry_after=3600)


@step_handler("shop.first")
def broken() -> None:
    raise errors.PermanentError("no such account")


@step_handler("shop.first")
def fine() -> None: ...


# -- for lack of workers


async def test_a_task_nobody_can_run_becomes_a_dead_letter_and_goes_on_when_workers_come(
    engine: Engine, database_url: str
) -> None:
    task = await engine.create_task(UNLIMITED, TaskRequest())
    await age(database_url, 59)
    assert await engine.sweep() == []
    await age(database_url, 2)
    assert await engine.sweep() == [
        {
            "task_uuid": str(task),
            "namespace": "test",
            "name": "graph",
            "state": "pending",
            "reason": "worker_unavailable",
            "time_in_state_minutes": 61,
            "threshold_minutes": 60,
            "action": "moved_to_dlq_only",
        }
    ]
    (entry,) = await engine.dlq_entries()
    assert (entry["dlq_reason"], entry["resolution_status"], entry["original_state"]) == (
        "worker_unavailable",
        "pending",
        "pending",
    )
    assert entry["metadata"] == {
        "detection_method": "automatic_staleness",
        "time_in_state_minutes": 61,
        "threshold_minutes": 60,
        "callables": ["shop.first"],
    }
    assert entry["task_snapshot"]["time_in_state_minutes"] == 61
    assert {step["name"] for step in entry["task_snapshot"]["steps"]} == {"first", "second"}

    async with working(engine, {"shop.first": fine, "shop.second": fine}):
        assert await engine.wait(task, 10) is TaskState.COMPLETE


async def test_a_second_sweep_adds_nothing(engine: Engine, database_url: str) -> None:
    await engine.create_task(UNLIMITED, TaskRequest())
    await engine.create_task(limited(), TaskRequest())
    await age(database_url, 100)
    assert len(await engine.sweep()) == 2
    before = await snapshot(database_url), await dead_letters(database_url)
    assert await engine.sweep() == []
    assert (await snapshot(database_url), await dead_letters(database_url)) == before


@pytest.mark.parametrize(
    ("lifecycle", "action", "ends_as"),
    [
        ({}, "transitioned_to_dlq_and_error", "error"),
        ({"auto_fail_on_timeout": False}, "moved_to_dlq_only", "pending"),
        ({"staleness_action": StalenessAction.ERROR}, "transitioned_to_error_only", "error"),
        ({"staleness_action": StalenessAction.NONE}, "reported_only", "pending"),
    ],
)
async def test_the_template_says_what_happens_to_a_stale_task(
    engine: Engine, database_url: str, lifecycle: dict[str, Any], action: str, ends_as: str
) -> None:
    template = limited(max_waiting_for_dependencies_minutes=5, **lifecycle)
    task = await engine.create_task(template, TaskRequest())
    await age(database_url, 4)
    assert await engine.sweep() == []
    await age(database_url, 1)
    before = await snapshot(database_url)
    would = action.replace("transitioned", "would_transition").replace("moved", "would_move")
    assert [found["action"] for found in await engine.sweep(dry_run=True)] == [would]
    assert (await snapshot(database_url), await dead_letters(database_url)) == (before, [])
    assert [found["action"] for found in await engine.sweep()] == [action]
    assert await state(engine, task) == ends_as
    assert len(await dead_letters(database_url)) == ("dlq" in action)
    if ends_as == "error":
        change = [change for change in await engine.history(task) if change["step"] is None][-1]
        assert (change["to_state"], change["actor"]) == ("error", "tasker")
        assert "no live worker has a handler for shop.first" in change["reason"]


async def test_a_task_that_ended_for_lack_of_workers_stays_noted_and_can_be_retried(
    engine: Engine, database_url: str
) -> None:
    task = await engine.create_task(limited(), TaskRequest())
    await age(database_url, 100)
    await engine.sweep()
    await engine.sweep()
    (entry,) = await dead_letters(database_url)
    assert entry["status"] == "pending"
    await engine.retry_task(task, actor="ada")
    async with working(engine, {"shop.first": fine, "shop.second": fine}):
        assert await engine.wait(task, 10) is TaskState.COMPLETE


async def test_a_task_that_ended_for_lack_of_workers_can_be_taken_for_resolved(
    engine: Engine, database_url: str
) -> None:
    task = await engine.create_task(limited(max_waiting_for_dependencies_minutes=2), TaskRequest())
    await age(database_url, 3)
    await engine.sweep()
    (entry,) = await engine.dlq_entries(status="pending")
    resolved = await engine.resolve_dlq_entry(UUID(entry["dlq_entry_uuid"]), action="resolve", actor="ann")
    assert resolved["resolution_status"] == "manually_resolved"
    assert await state(engine, task) == "resolved_manually"


async def test_a_task_that_only_queues_is_never_stale(engine: Engine, database_url: str) -> None:
    await engine.create_task(limited(), TaskRequest())
    await age(database_url, 1000)
    await engine.store.register_worker("w1", "host", 1, ["shop.first"])
    assert await engine.sweep() == []


async def test_a_pause_between_workers_does_not_count_as_a_lack_of_them(engine: Engine, database_url: str) -> None:
    await engine.create_task(limited(), TaskRequest())
    await age(database_url, 1000)
    worker = await engine.store.register_worker("w1", "host", 1, ["shop.first"])
    await engine.store.worker_stopped(worker)
    assert await engine.sweep() == []
    await age(database_url, 60)
    assert len(await engine.sweep()) == 1


async def test_a_task_is_not_stale_while_a_step_of_it_runs_though_another_lacks_a_worker(
    engine: Engine, database_url: str
) -> None:
    template = graph({"first": [], "second": []}, callables=CALLABLES, lifecycle=Lifecycle())
    await engine.create_task(template, TaskRequest())
    await age(database_url, 1000)
    await claim(engine)
    await fetch(database_url, "UPDATE tasker.workers SET last_seen_at = last_seen_at - interval '1 day'")
    assert await engine.sweep() == []
    await age(database_url, 1000)
    assert [found["state"] for found in await engine.sweep(dry_run=True)] == ["steps_in_process"]


async def test_a_paused_or_delayed_task_is_not_stale(engine: Engine, database_url: str) -> None:
    paused = await engine.create_task(limited(), TaskRequest())
    await engine.create_task(limited(), TaskRequest(requested_at=datetime.now(UTC) + timedelta(days=1)))
    await engine.pause_task(paused, actor="ada")
    await age(database_url, 1000)
    assert await engine.sweep() == []


async def test_a_task_whose_retry_nobody_can_make_is_stale_once_it_is_overdue(
    engine: Engine, database_url: str
) -> None:
    async with working(engine, {"shop.first": busy}):
        task = await engine.create_task(UNLIMITED, TaskRequest())
        await until_state(engine, task, TaskState.WAITING_FOR_RETRY)
    await age(database_url, 60 + 29)
    assert await engine.sweep() == []
    await age(database_url, 2)
    (found,) = await engine.sweep()
    assert (found["state"], found["threshold_minutes"]) == ("waiting_for_retry", 30)


async def test_a_lease_that_nobody_is_left_to_rescue_counts_as_a_step_nobody_runs(
    engine: Engine, database_url: str
) -> None:
    await engine.create_task(UNLIMITED, TaskRequest())
    await claim(engine)
    await age(database_url, 29)
    assert await engine.sweep() == []
    await age(database_url, 3)
    (found,) = await engine.sweep()
    assert (found["state"], found["reason"]) == ("steps_in_process", "worker_unavailable")


async def test_a_task_blocked_by_failures_is_noted_once_and_not_for_lack_of_workers(
    engine: Engine, database_url: str
) -> None:
    async with working(engine, {"shop.first": broken}):
        task = await engine.create_task(UNLIMITED, TaskRequest())
        await engine.wait(task, 10)
    await age(database_url, 1000)
    assert await engine.sweep() == []
    assert [entry["reason"] for entry in await dead_letters(database_url)] == ["max_retries_exceeded"]


async def test_the_oldest_are_handled_first_and_not_too_many_at_once(
    engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "BATCH", 2)
    reported = limited(staleness_action=StalenessAction.NONE)
    for _ in range(3):
        await engine.create_task(reported, TaskRequest())
    tasks = []
    for _ in range(5):
        tasks.append(str(await engine.create_task(UNLIMITED, TaskRequest())))
        await age(database_url, 1)
    await age(database_url, 100)
    handled = []
    for _ in range(4):
        found = [entry["task_uuid"] for entry in await engine.sweep() if entry["action"] != "reported_only"]
        assert len(found) <= 2
        handled += found
    assert handled == tasks


# -- deadlines


async def test_past_its_deadline_a_task_ends_even_if_it_is_paused_or_running_or_blocked(
    engine: Engine, database_url: str
) -> None:
    template = limited(max_duration_minutes=90)
    async with working(engine, {"shop.first": broken}):
        blocked = await engine.create_task(template, TaskRequest())
        await engine.wait(blocked, 10)
    running = await engine.create_task(template, TaskRequest())
    await claim(engine, 100_000.0)
    paused = await engine.create_task(template, TaskRequest())
    await engine.pause_task(paused, actor="ada")
    await age(database_url, 89)
    assert await engine.sweep() == []
    await age(database_url, 1)
    found = await engine.sweep()
    assert [UUID(entry["task_uuid"]) for entry in found] == [blocked, running, paused]
    assert {entry["action"] for entry in found} == {"transitioned_to_dlq_and_error"}
    assert {entry["reason"] for entry in found} == {"staleness_timeout"}
    assert {entry["threshold_minutes"] for entry in found} == {90}
    assert [await state(engine, task) for task in (blocked, running, paused)] == ["error"] * 3
    assert await engine.sweep() == []
    assert [(entry["reason"], entry["status"]) for entry in await dead_letters(database_url)] == [
        ("max_retries_exceeded", "permanently_failed"),
        *[("staleness_timeout", "pending")] * 3,
    ]


async def test_a_deadline_that_only_ends_the_task_leaves_no_dead_letter_open(engine: Engine, database_url: str) -> None:
    template = limited(max_duration_minutes=90, staleness_action=StalenessAction.ERROR)
    async with working(engine, {"shop.first": broken}):
        task = await engine.create_task(template, TaskRequest())
        await engine.wait(task, 10)
    await age(database_url, 91)
    assert [entry["action"] for entry in await engine.sweep()] == ["transitioned_to_error_only"]
    assert await state(engine, task) == "error"
    assert [(entry["reason"], entry["status"]) for entry in await dead_letters(database_url)] == [
        ("max_retries_exceeded", "permanently_failed")
    ]


async def test_the_deadline_counts_from_the_requested_start(engine: Engine, database_url: str) -> None:
    start = datetime.now(UTC) + timedelta(minutes=60)
    await engine.create_task(limited(max_duration_minutes=10), TaskRequest(requested_at=start))
    await age(database_url, 65)
    assert await engine.sweep() == []
    await age(database_url, 10)
    assert [found["time_in_state_minutes"] for found in await engine.sweep()] == [15]


async def test_a_deadline_that_makes_dead_letters_only_makes_one(engine: Engine, database_url: str) -> None:
    task = await engine.create_task(limited(max_duration_minutes=10, auto_fail_on_timeout=False), TaskRequest())
    await age(database_url, 11)
    assert [found["action"] for found in await engine.sweep()] == ["moved_to_dlq_only"]
    await age(database_url, 100)
    assert await engine.sweep() == []
    assert [entry["metadata"] for entry in await engine.dlq_entries()] == [
        {"detection_method": "deadline", "time_in_state_minutes": 11, "threshold_minutes": 10}
    ]
    assert await state(engine, task) == "pending"


# -- dead letters that resolve themselves


async def noted(engine: Engine, url: str) -> UUID:
    """A task that was noted for lack of workers."""
    task = await engine.create_task(UNLIMITED, TaskRequest())
    await age(url, 100)
    assert len(await engine.sweep()) == 1
    return task


async def test_a_dead_letter_stays_open_as_long_as_nothing_happens(engine: Engine, database_url: str) -> None:
    await noted(engine, database_url)
    await engine.store.register_worker("w1", "host", 1, ["shop.first"])
    await engine.sweep()
    assert [entry["status"] for entry in await dead_letters(database_url)] == ["pending"]


async def test_a_dead_letter_is_closed_once_its_task_goes_on(engine: Engine, database_url: str) -> None:
    await noted(engine, database_url)
    await claim(engine)
    assert await engine.sweep() == []
    (entry,) = await dead_letters(database_url)
    assert (entry["status"], entry["resolved_by"]) == ("manually_resolved", "tasker")
    assert entry["notes"] == "the task has ended or gone on since"


async def test_a_dead_letter_is_closed_once_its_task_ends(engine: Engine, database_url: str) -> None:
    task = await noted(engine, database_url)
    async with working(engine, {"shop.first": fine, "shop.second": fine}):
        await engine.wait(task, 10)
    await engine.sweep()
    assert [entry["status"] for entry in await dead_letters(database_url)] == ["manually_resolved"]


async def test_a_task_that_went_on_only_to_fail_is_noted_for_that_instead(engine: Engine, database_url: str) -> None:
    task = await noted(engine, database_url)
    async with working(engine, {"shop.first": broken}):
        await engine.wait(task, 10)
    await engine.sweep()
    assert [(entry["reason"], entry["status"]) for entry in await dead_letters(database_url)] == [
        ("worker_unavailable", "manually_resolved"),
        ("max_retries_exceeded", "pending"),
    ]


# -- sweeps


async def test_one_process_sweeps_at_a_time(engine: Engine, database_url: str) -> None:
    await engine.create_task(UNLIMITED, TaskRequest())
    await age(database_url, 100)
    async with engine.store.database.transaction() as other:
        await other.execute("SELECT pg_advisory_xact_lock(hashtextextended('tasker.sweep', 0))")
        assert await engine.sweep() == []
        assert len(await engine.sweep(dry_run=True)) == 1
    assert len(await engine.sweep()) == 1
