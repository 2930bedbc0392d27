"""Creation of tasks is refused while there is too much to do already, and only then."""

import asyncio
import time
from typing import Any

import pytest
from tests.integration.support import chain, fetch

from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.orchestration.backlog import Waiting
from tasker_core.server.admission import Admission, AdmissionLimits
from tasker_core.server.errors import ApiError
from tasker_core.server.metrics import Metrics
from tasker_core.store import StoreUnavailableError

OPEN = AdmissionLimits(max_queue_depth=None, max_pool_wait_seconds=None)


def refusal(admission: Admission, namespace: str = "test") -> ApiError:
    with pytest.raises(ApiError) as refused:
        admission.require(namespace)
    return refused.value


def knowing(engine: Engine, limits: AdmissionLimits, **waiting: Waiting) -> Admission:
    """An admission that has just seen this."""
    admission = Admission(engine, limits)
    admission._waiting = waiting
    admission._looked_at = time.monotonic()
    return admission


async def test_the_limit_of_all_namespaces_refuses_everybody_until_there_is_less(engine: Engine) -> None:
    admission = Admission(engine, AdmissionLimits(max_queue_depth=5))
    tasks = await engine.create_tasks(chain(1), [TaskRequest()] * 6)
    await admission.look()
    error = refusal(admission, "other")
    assert (error.status, error.code, error.retry_after) == (503, "BACKPRESSURE", 15)
    assert error.message == "Service under backpressure: 6 steps wait to be run"
    await engine.cancel_task(tasks[0], actor="me", reason="enough")
    await admission.look()
    admission.require("other")


async def test_the_limit_of_a_namespace_refuses_only_that_namespace(engine: Engine) -> None:
    admission = Admission(engine, AdmissionLimits(max_queue_depth_per_namespace=2))
    await engine.create_tasks(chain(1, namespace_name="busy"), [TaskRequest()] * 3)
    await admission.look()
    assert "namespace 'busy'" in refusal(admission, "busy").message
    admission.require("test")


async def test_old_work_that_workers_could_do_refuses_only_its_namespace(engine: Engine, database_url: str) -> None:
    admission = Admission(engine, AdmissionLimits(max_queue_age_seconds=60))
    for namespace, handler in (("busy", "work"), ("orphaned", "unknown")):
        await engine.create_task(chain(1, namespace_name=namespace, callables={"s0": handler}), TaskRequest())
    await engine.store.register_worker("w", "host", 1, ["work"])
    await fetch(database_url, "UPDATE tasker.step_queue SET enqueued_at = enqueued_at - interval '70 seconds'")
    await admission.look()
    assert "has waited for 70 seconds" in refusal(admission, "busy").message
    admission.require("orphaned")
    admission.require("test")


@pytest.mark.parametrize(("steps", "seconds"), [(101, 15), (151, 30), (201, 60)])
async def test_the_worse_it_is_the_later_to_try_again(engine: Engine, steps: int, seconds: int) -> None:
    admission = knowing(engine, AdmissionLimits(max_queue_depth=100), test=Waiting(steps, 1.0, 1.0))
    assert refusal(admission).retry_after == seconds


async def test_what_is_not_known_is_accepted(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = AdmissionLimits(max_queue_depth=0)
    Admission(engine, limits).require("test")
    admission = knowing(engine, limits, test=Waiting(1, 1.0, 1.0))
    refusal(admission)
    assert admission._looked_at is not None
    admission._looked_at -= 60
    admission.require("test")


async def test_without_limits_everything_is_accepted(engine: Engine) -> None:
    knowing(engine, OPEN, test=Waiting(10**9, 10.0**9, 10.0**9)).require("test")


async def test_a_pool_that_is_used_up_refuses_once_somebody_has_waited_for_long(database_url: str) -> None:
    async with Engine(database_url, max_connections=1) as engine:
        admission = Admission(engine, AdmissionLimits(max_pool_wait_seconds=0.05))
        database = engine.store.database
        async with database.transaction():
            admission.require("test")
            waiting = asyncio.create_task(database.fetch("SELECT 1"))
            async with asyncio.timeout(5):
                while engine.backlog.pool().waiting_for < 0.06:  # noqa: ASYNC110 - it is time that has to pass
                    await asyncio.sleep(0.01)
            error = refusal(admission)
        await waiting
        assert (error.code, error.retry_after) == ("BACKPRESSURE", 15)
        admission.require("test")


async def test_the_backlog_is_looked_at_again_and_again_whatever_happens(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasker_core.server.admission.LOOK_SECONDS", 0.0)
    looks = asyncio.Queue[None]()
    answers: list[Any] = [StoreUnavailableError("away"), {}, StoreUnavailableError("away"), {}]

    async def waiting() -> Any:
        looks.put_nowait(None)
        answer = answers.pop(0) if answers else {}
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(engine.backlog, "waiting", waiting)
    running = asyncio.create_task(Admission(engine, OPEN).run())
    async with asyncio.timeout(5):
        for _ in range(6):
            await looks.get()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_refusals_are_counted_by_reason(engine: Engine) -> None:
    metrics = Metrics()
    admission = Admission(engine, AdmissionLimits(max_queue_depth=0), metrics)
    await engine.create_task(chain(1), TaskRequest())
    await admission.look()
    refusal(admission)
    assert b'tasker_api_requests_rejected_total{reason="queue_depth"} 1.0' in metrics.exposition()
