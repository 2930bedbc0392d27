"""A result counts for the lease it was claimed under, once, and for nothing else."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import pytest
from tests.integration.support import chain, graph, snapshot, states

from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.states import StepState
from tasker_core.step_source import LeaseKey, StepReport
from tasker_core.store import AttemptEnd, Store


@dataclass
class Leased:
    """A task of three steps in a row whose first step is leased to a worker."""

    store: Store
    task: UUID
    worker: int
    other: int
    lease: LeaseKey


@pytest.fixture
async def leased(engine: Engine) -> Leased:
    task = await engine.create_task(chain(3), TaskRequest())
    worker, other = [await engine.store.register_worker(name, "host", 1, ["work"]) for name in ("one", "other")]
    (grant,) = await engine.store.claim_steps(worker, ["work"], 5, 30)
    return Leased(engine.store, task, worker, other, grant.key)


def complete(lease: LeaseKey, result: str = '{"n":1}') -> AttemptEnd:
    return AttemptEnd(lease, StepState.COMPLETE, result=result)


def failed(lease: LeaseKey, delay: float | None = None) -> AttemptEnd:
    state = StepState.ERROR if delay is None else StepState.WAITING_FOR_RETRY
    return AttemptEnd(lease, state, delay=delay, error='{"message":"m"}')


async def assert_refused(database_url: str, leased: Leased, worker: int, end: AttemptEnd) -> None:
    before = await snapshot(database_url)
    answer = await leased.store.record_attempts(worker, [end], callables=["work"], want=5, lease_seconds=30)
    assert answer.refused == {end.lease}
    assert (list(answer.leased), answer.queued, list(answer.rested)) == ([], 0, [])
    assert await snapshot(database_url) == before


@pytest.mark.parametrize("end", [complete, failed, lambda lease: failed(lease, 0.0)], ids=["success", "error", "retry"])
async def test_a_report_under_another_workers_lease_changes_nothing(
    database_url: str, leased: Leased, end: Callable[[LeaseKey], AttemptEnd]
) -> None:
    await assert_refused(database_url, leased, leased.other, end(leased.lease))


@pytest.mark.parametrize("other", [-1, 1])
async def test_a_report_of_another_lease_changes_nothing(database_url: str, leased: Leased, other: int) -> None:
    lease = leased.lease._replace(lease_id=leased.lease.lease_id + other)
    await assert_refused(database_url, leased, leased.worker, complete(lease))


async def test_a_report_of_a_step_that_is_not_leased_changes_nothing(database_url: str, leased: Leased) -> None:
    await assert_refused(database_url, leased, leased.worker, complete(leased.lease._replace(ordinal=1)))


async def test_a_report_sent_twice_counts_once(database_url: str, leased: Leased) -> None:
    await leased.store.record_attempts(leased.worker, [complete(leased.lease)])
    await assert_refused(database_url, leased, leased.worker, complete(leased.lease, '{"n":2}'))


async def test_a_report_twice_in_one_batch_counts_once(engine: Engine, leased: Leased) -> None:
    ends = [complete(leased.lease), complete(leased.lease)]
    answer = await leased.store.record_attempts(leased.worker, ends, callables=["work"], want=5, lease_seconds=30)
    assert [grant.key[:2] for grant in answer.leased] == [(leased.task, 1)]
    assert await states(engine, leased.task) == {"s0": "complete", "s1": "in_progress", "s2": "pending"}


async def test_the_report_of_a_failed_attempt_sent_again_does_not_put_the_retry_off(
    database_url: str, leased: Leased
) -> None:
    await leased.store.record_attempts(leased.worker, [failed(leased.lease, 3600)])
    await assert_refused(database_url, leased, leased.worker, failed(leased.lease, 7200))


async def test_the_result_of_an_attempt_before_the_current_one_changes_nothing(
    database_url: str, leased: Leased
) -> None:
    await leased.store.record_attempts(leased.worker, [failed(leased.lease, 0)])
    (again,) = await leased.store.claim_steps(leased.worker, ["work"], 5, 30)
    assert again.attempt == 2
    await assert_refused(database_url, leased, leased.worker, complete(leased.lease))


async def test_a_result_that_arrives_after_its_lease_was_rescued_changes_nothing(
    database_url: str, engine: Engine, leased: Leased
) -> None:
    await leased.store.renew_leases(leased.worker, [leased.lease], -1)
    (expired,) = await leased.store.take_expired_leases(leased.other, 10, 30)
    assert (expired.grant.key, expired.holder) == (leased.lease, "one")
    await assert_refused(database_url, leased, leased.worker, complete(leased.lease))
    await leased.store.record_attempts(leased.other, [failed(leased.lease, 0)])
    await assert_refused(database_url, leased, leased.worker, complete(leased.lease))
    assert (await states(engine, leased.task))["s0"] == "waiting_for_retry"


async def test_a_released_lease_is_void(database_url: str, leased: Leased) -> None:
    await leased.store.release_leases(leased.worker, [leased.lease])
    await assert_refused(database_url, leased, leased.worker, complete(leased.lease))


async def test_nobody_can_release_or_renew_another_workers_lease(database_url: str, leased: Leased) -> None:
    before = await snapshot(database_url)
    await leased.store.release_leases(leased.other, [leased.lease])
    assert await leased.store.renew_leases(leased.other, [leased.lease], 60) == frozenset()
    assert await snapshot(database_url) == before


async def test_in_one_batch_the_valid_reports_count_and_the_stale_ones_do_not(engine: Engine) -> None:
    template = graph({"only": []})
    tasks = await engine.create_tasks(template, [TaskRequest()] * 6)
    worker = await engine.store.register_worker("one", "host", 1, ["work"])
    grants = [grant.key for grant in await engine.store.claim_steps(worker, ["work"], 10, 30)]
    assert [key.task_uuid for key in grants] == tasks
    stale = [key._replace(lease_id=key.lease_id + 1_000) for key in grants[::2]]
    answer = await engine.store.record_attempts(worker, [complete(key) for key in (*stale, *grants[1::2])])
    assert answer.refused == set(stale)
    assert [(await engine.task(task))["status"] for task in tasks] == ["steps_in_process", "complete"] * 3


async def test_a_source_refuses_the_report_of_a_lease_it_never_took(engine: Engine) -> None:
    task = await engine.create_task(chain(1), TaskRequest())
    async with engine.worker_source(["work"], on_ready=lambda: None) as source:
        (step,) = await source.claim(1)
        foreign = StepReport(step.key._replace(lease_id=0), success=True, result="{}")
        answer = await source.report([foreign], 0)
    assert answer.refused == {foreign.lease}
    assert await states(engine, task) == {"s0": "in_progress"}
