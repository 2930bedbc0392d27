"""The order of claims: priority first, but age always catches up."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.support import fetch, graph

from tasker_core.orchestration import Engine, TaskRequest

POINT = timedelta(hours=10)


async def claimed(engine: Engine, limit: int = 100) -> list[str]:
    """The reasons of the tasks in the order in which single claims take them."""
    worker = await engine.store.register_worker("w", "host", 1, ["work", "other"])
    order = []
    while len(order) < limit:
        grants = await engine.store.claim_steps(worker, ["work", "other"], 1, 30)
        if not grants:
            break
        order.append(str((await engine.task(grants[0].key.task_uuid))["reason"]))
    return order


async def aged(url: str, reason: str, age: timedelta) -> None:
    """Make the steps of tasks ready earlier than they were."""
    await fetch(
        url,
        """UPDATE tasker.step_queue AS queue
           SET enqueued_at = enqueued_at - $2::interval, claim_order = claim_order - $2::interval
           FROM tasker.tasks AS task WHERE task.task_uuid = queue.task_uuid AND task.reason = $1""",
        reason,
        age,
    )


async def test_the_higher_priority_is_claimed_first(engine: Engine) -> None:
    for priority in (2, 10, -5, 0):
        await engine.create_task(graph({"only": []}), TaskRequest(priority=priority, reason=str(priority)))
    assert await claimed(engine) == ["10", "2", "0", "-5"]


async def test_equal_priorities_are_claimed_in_the_order_of_their_arrival(engine: Engine) -> None:
    for number in range(5):
        await engine.create_task(graph({"only": []}), TaskRequest(reason=str(number)))
    assert await claimed(engine) == ["0", "1", "2", "3", "4"]


async def test_age_catches_up_with_priority_at_ten_hours_a_point(engine: Engine, database_url: str) -> None:
    for reason, priority in (("fresh", 5), ("old", 3), ("older", 3)):
        await engine.create_task(graph({"only": []}), TaskRequest(priority=priority, reason=reason))
    await aged(database_url, "old", 2 * POINT - timedelta(minutes=1))
    await aged(database_url, "older", 2 * POINT + timedelta(minutes=1))
    assert await claimed(engine) == ["older", "fresh", "old"]


async def test_priority_holds_across_handlers(engine: Engine) -> None:
    for reason, priority, callable_name in (("low", 0, "work"), ("high", 1, "other"), ("higher", 2, "work")):
        template = graph({"only": []}, callables={"only": callable_name})
        await engine.create_task(template, TaskRequest(priority=priority, reason=reason))
    assert await claimed(engine) == ["higher", "high", "low"]


async def test_a_claim_of_many_takes_the_first_ones(engine: Engine) -> None:
    for priority in range(10):
        await engine.create_task(graph({"only": []}), TaskRequest(priority=priority, reason=str(priority)))
    worker = await engine.store.register_worker("w", "host", 1, ["work"])
    grants = await engine.store.claim_steps(worker, ["work"], 3, 30)
    taken = {(await engine.task(grant.key.task_uuid))["priority"] for grant in grants}
    assert taken == {9, 8, 7}


@pytest.mark.parametrize("priority", [-100, 100])
async def test_the_widest_priorities_are_accepted(engine: Engine, priority: int) -> None:
    task = await engine.create_task(graph({"only": []}), TaskRequest(priority=priority))
    assert (await engine.task(task))["priority"] == priority


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(-100, 100), min_size=1, max_size=12))
async def test_any_set_of_priorities_is_claimed_from_the_top(engine: Engine, priorities: list[int]) -> None:
    # The database is shared by the examples: each leaves nothing ready behind.
    for priority in priorities:
        await engine.create_task(graph({"only": []}), TaskRequest(priority=priority, reason=str(priority)))
    assert await claimed(engine, len(priorities)) == [str(p) for p in sorted(priorities, reverse=True)]
