"""Who is claimed when: delayed starts, and namespaces that do not starve each other."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from conftest import working
from tests.integration.dynamic import by_hand, success, task_state
from tests.integration.support import fetch, graph, moment, states

from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.states import TaskState
from tasker_core.step_handler.functional import step_handler
from tasker_core.template import TaskTemplate

HOUR = timedelta(hours=1)


def of(namespace: str) -> TaskTemplate:
    return graph({"only": []}, namespace_name=namespace)


async def claimed(engine: Engine, limit: int, claims: int = 1) -> list[UUID]:
    """The tasks whose steps the next claims take, in no order within a claim."""
    worker = await engine.store.register_worker("w", "host", 1, ["work"])
    grants = [await engine.store.claim_steps(worker, ["work"], limit, 30) for _ in range(claims)]
    return [grant.key.task_uuid for claim in grants for grant in claim]


async def flood(engine: Engine, namespace: str, count: int, **fields: Any) -> list[UUID]:
    return await engine.create_tasks(of(namespace), [TaskRequest(**fields)] * count)


def places(order: Sequence[UUID], tasks: Sequence[UUID]) -> list[int]:
    """Where tasks stand in an order."""
    return [order.index(task) for task in tasks]


# -- delayed starts


async def test_a_task_that_is_to_start_later_is_pending_and_not_claimed(engine: Engine) -> None:
    later = datetime.now(UTC) + HOUR
    async with by_hand(engine) as hands:
        task = await engine.create_task(of("a"), TaskRequest(requested_at=later))
        assert await hands.claim() == set()
        assert 3500 < (await hands.source.next_due() or 0) <= 3600
    view = await engine.task(task)
    assert (view["status"], view["started_at"]) == ("pending", None)
    assert moment(view["requested_at"]) == later


async def test_a_task_that_is_to_start_later_starts_once_that_is_due(engine: Engine, database_url: str) -> None:
    task = await engine.create_task(of("a"), TaskRequest(requested_at=datetime.now(UTC) + HOUR))
    await fetch(database_url, "UPDATE tasker.step_queue SET wake_at = clock_timestamp()")
    async with by_hand(engine) as hands:
        assert await hands.claim() == {"only"}
        assert hands.held["only"].attempt == 1
        await hands.complete("only")
    assert await task_state(engine, task) == "complete"
    changes = [(c["from_state"], c["to_state"]) for c in await engine.history(task) if c["step"] is None]
    assert changes == [("pending", "steps_in_process"), ("steps_in_process", "complete")]


async def test_an_idle_worker_starts_a_delayed_task_at_its_time_and_not_before(engine: Engine) -> None:
    started: list[datetime] = []

    @step_handler("work")
    async def work() -> None:
        started.append(datetime.now(UTC))

    async with working(engine, {"work": work}, idle_poll=60):
        due = datetime.now(UTC) + timedelta(seconds=0.4)
        task = await engine.create_task(of("a"), TaskRequest(requested_at=due))
        assert await engine.wait(task, 5) is TaskState.COMPLETE
    # The database and this process share a machine and its clock.
    assert due <= started[0]


@pytest.mark.parametrize(
    "when",
    [
        datetime.now(UTC) - HOUR,
        (datetime.now(UTC) - HOUR).replace(tzinfo=None),
        datetime.now(timezone(timedelta(hours=9))) - HOUR,
    ],
    ids=["utc", "without a zone, taken as utc", "another zone"],
)
async def test_a_task_that_was_to_start_in_the_past_starts_at_once(engine: Engine, when: datetime) -> None:
    task = await engine.create_task(of("a"), TaskRequest(requested_at=when))
    assert await claimed(engine, 5) == [task]


async def test_a_time_without_a_zone_is_taken_as_utc(engine: Engine) -> None:
    later = datetime.now(UTC) + HOUR
    task = await engine.create_task(of("a"), TaskRequest(requested_at=later.replace(tzinfo=None)))
    assert moment((await engine.task(task))["requested_at"]) == later
    assert await claimed(engine, 5) == []


async def test_every_first_step_of_a_delayed_task_waits_and_the_others_follow(
    engine: Engine, database_url: str
) -> None:
    shape = graph({"a": [], "b": [], "c": ["a", "b"]})
    async with by_hand(engine) as hands:
        task = await engine.create_task(shape, TaskRequest(requested_at=datetime.now(UTC) + HOUR))
        assert await states(engine, task) == {"a": "enqueued", "b": "enqueued", "c": "pending"}
        await fetch(database_url, "UPDATE tasker.step_queue SET wake_at = clock_timestamp()")
        assert await hands.claim() == {"a", "b"}
        assert await hands.complete("a", "b") == {"c"}
        await hands.complete("c")
    assert await task_state(engine, task) == "complete"


async def test_a_delayed_task_can_be_paused_resumed_and_cancelled(engine: Engine) -> None:
    task = await engine.create_task(of("a"), TaskRequest(requested_at=datetime.now(UTC) + HOUR))
    await engine.pause_task(task, actor="ann")
    await engine.resume_task(task, actor="ann")
    assert await claimed(engine, 5) == []
    await engine.cancel_task(task, actor="ann", reason="no")
    assert await states(engine, task) == {"only": "cancelled"}


@pytest.mark.parametrize("verb", ["resolve", "complete"])
async def test_a_step_of_a_delayed_task_can_be_ended_by_hand_before_its_time(engine: Engine, verb: str) -> None:
    shape = graph({"a": [], "b": ["a"]})
    task = await engine.create_task(shape, TaskRequest(requested_at=datetime.now(UTC) + HOUR))
    if verb == "resolve":
        await engine.resolve_step(task, "a", actor="ann", reason="done")
    else:
        await engine.complete_step(task, "a", {}, actor="ann", reason="done")
    async with by_hand(engine) as hands:
        assert await hands.claim() == {"b"}
        await hands.complete("b")
    assert await task_state(engine, task) == "complete"


async def test_the_lease_of_a_delayed_start_is_given_back_like_any_other(engine: Engine, database_url: str) -> None:
    await engine.create_task(of("a"), TaskRequest(requested_at=datetime.now(UTC) + HOUR))
    await fetch(database_url, "UPDATE tasker.step_queue SET wake_at = clock_timestamp()")
    async with by_hand(engine) as hands:
        await hands.claim()
        await hands.source.release([hands.held.pop("only").key])
        assert await hands.claim() == {"only"}
        await hands.abandon("only")
        assert await hands.claim() == {"only"}
        assert hands.held["only"].attempt == 2


# -- namespaces


async def test_a_flood_in_one_namespace_does_not_keep_another_waiting(engine: Engine) -> None:
    await flood(engine, "flood", 2_000)
    (task,) = await flood(engine, "quiet", 1)
    order = await claimed(engine, 50, claims=8)
    assert len(order) == 400
    assert order.index(task) < 300


async def test_the_later_tasks_of_a_quiet_namespace_do_not_wait_for_the_flood_either(engine: Engine) -> None:
    await flood(engine, "flood", 2_000)
    tasks = await flood(engine, "quiet", 100)
    order = await claimed(engine, 50, claims=12)
    assert max(places(order, tasks)) < 500


async def test_tasks_that_come_one_by_one_queue_behind_their_own_namespace_too(engine: Engine) -> None:
    for _ in range(60):
        await flood(engine, "flood", 1)
    (task,) = await flood(engine, "quiet", 1)
    order = await claimed(engine, 1, claims=30)
    assert task in order


async def test_within_a_namespace_the_first_to_come_is_the_first_served(engine: Engine) -> None:
    tasks = [task for _ in range(5) for task in await flood(engine, "a", 10)]
    assert await claimed(engine, 1, claims=50) == tasks


async def test_two_floods_take_turns(engine: Engine) -> None:
    one = await flood(engine, "one", 200)
    two = await flood(engine, "two", 200)
    order = await claimed(engine, 20, claims=10)
    assert len(order) == 200
    shares = [len(set(order) & set(tasks)) for tasks in (one, two)]
    assert min(shares) >= 80


async def test_namespaces_share_fairly_although_one_has_steps_of_other_handlers(engine: Engine) -> None:
    shape = graph({"a": [], "b": []}, namespace_name="flood", callables={"b": "other"})
    await engine.create_tasks(shape, [TaskRequest()] * 500)
    (task,) = await flood(engine, "quiet", 1)
    worker = await engine.store.register_worker("w", "host", 1, ["work", "other"])
    order: list[UUID] = []
    for _ in range(6):
        grants = await engine.store.claim_steps(worker, ["work", "other"], 20, 30)
        order += [grant.key.task_uuid for grant in grants]
    assert task in order


async def test_a_higher_priority_is_claimed_before_every_backlog(engine: Engine) -> None:
    await flood(engine, "flood", 500)
    await flood(engine, "quiet", 5)
    urgent = await flood(engine, "flood", 3, priority=1)
    assert sorted(await claimed(engine, 3)) == sorted(urgent)


async def test_a_flood_of_a_higher_priority_still_comes_before_a_lower_one(engine: Engine) -> None:
    (low,) = await flood(engine, "quiet", 1)
    await flood(engine, "flood", 300, priority=1)
    order = await claimed(engine, 100, claims=4)
    assert order.index(low) == 300


async def test_each_priority_of_a_namespace_has_a_backlog_of_its_own(engine: Engine) -> None:
    await flood(engine, "flood", 500, priority=0)
    urgent = await flood(engine, "flood", 10, priority=5)
    (other,) = await flood(engine, "quiet", 1, priority=5)
    order = await claimed(engine, 1, claims=11)
    assert set(order) == {*urgent, other}


async def test_an_aged_step_comes_before_a_fresh_one_of_higher_priority(engine: Engine, database_url: str) -> None:
    aged = await flood(engine, "a", 5, priority=2)
    await fetch(database_url, "UPDATE tasker.step_queue SET claim_order = claim_order - interval '4 days'")
    fresh = await flood(engine, "b", 5, priority=10)
    order = await claimed(engine, 1, claims=10)
    assert (order[:5], order[5:]) == (aged, fresh)


async def test_a_backlog_is_forgotten_once_it_is_drained(engine: Engine) -> None:
    await flood(engine, "busy", 1_000)
    assert len(await claimed(engine, 1_000)) == 1_000
    (first,) = await flood(engine, "busy", 1)
    (second,) = await flood(engine, "quiet", 1)
    assert await claimed(engine, 1, claims=2) == [first, second]


async def test_a_backlog_that_was_cancelled_is_forgotten_too(engine: Engine) -> None:
    tasks = await flood(engine, "busy", 30)
    for task in tasks:
        await engine.cancel_task(task, actor="ann", reason="no")
    (first,) = await flood(engine, "busy", 1)
    (second,) = await flood(engine, "quiet", 1)
    assert await claimed(engine, 1, claims=2) == [first, second]


async def test_a_wide_fan_out_does_not_keep_other_tasks_waiting(engine: Engine) -> None:
    shape = graph({"root": [], **{f"b{n}": ["root"] for n in range(500)}}, namespace_name="flood")
    async with by_hand(engine) as hands:
        await engine.create_task(shape, TaskRequest())
        await hands.claim()
        await hands.report(success(hands.held["root"]), want=0)
        (task,) = await flood(engine, "quiet", 1)
        order = await claimed(engine, 20, claims=3)
    assert task in order


async def test_tasks_created_by_many_at_once_are_all_claimed(engine: Engine, database_url: str) -> None:
    async with Engine(database_url) as other:
        created = await asyncio.gather(
            *(flood(source, namespace, 20) for source in (engine, other) for namespace in ("a", "b") * 5)
        )
    tasks = [task for batch in created for task in batch]
    order = await claimed(engine, 100, claims=5)
    assert sorted(order) == sorted(tasks)
