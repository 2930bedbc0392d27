"""Numbers for Prometheus."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from tests.integration.support import chain

from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.server.metrics import Metrics
from tasker_core.store import StoreUnavailableError


async def samples(http: httpx.AsyncClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """All numbers by name and labels."""
    answer = await http.get("/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def labels(**values: str) -> frozenset[tuple[str, str]]:
    return frozenset(values.items())


async def test_metrics_are_prometheus_text(http: httpx.AsyncClient) -> None:
    answer = await http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")


async def test_requests_are_counted_by_route_and_not_by_path(http: httpx.AsyncClient) -> None:
    for uuid in ("00000000-0000-7000-8000-000000000000", "00000000-0000-7000-8000-000001000000"):
        await http.get(f"/v1/tasks/{uuid}/events")
    await http.get("/nowhere/1")
    await http.request("PROPFIND", "/nowhere/2")
    numbers = await samples(http)
    route = labels(method="GET", route="/v1/tasks/{uuid}/events", status="404")
    assert numbers["tasker_api_requests_total", route] == 2
    assert numbers["tasker_api_requests_total", labels(method="GET", route="unmatched", status="404")] == 1
    assert numbers["tasker_api_requests_total", labels(method="other", route="unmatched", status="404")] == 1
    timed = labels(method="GET", route="/v1/tasks/{uuid}/events")
    assert numbers["tasker_api_request_duration_seconds_count", timed] == 2


async def test_the_state_of_the_system_is_told(engine: Engine, http: httpx.AsyncClient) -> None:
    await engine.create_tasks(chain(2, namespace_name="one"), [TaskRequest()] * 3)
    await engine.store.register_worker("w", "host", 1, ["work"])
    numbers = await samples(http)
    assert numbers["tasker_steps_ready", labels(namespace="one")] == 3
    assert numbers["tasker_queue_oldest_age_seconds", labels(namespace="one")] >= 0
    assert numbers["tasker_tasks_active", labels(namespace="one", state="pending")] == 3
    assert numbers["tasker_workers_live", labels()] == 1
    assert numbers["tasker_dlq_pending_investigations", labels()] == 0
    assert numbers["tasker_db_pool_connections", labels(state="idle")] >= 1


async def test_many_scrapes_ask_the_database_once(
    engine: Engine, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = 0
    standing = engine.backlog.standing

    async def counted() -> Any:
        nonlocal questions
        questions += 1
        return await standing()

    monkeypatch.setattr(engine.backlog, "standing", counted)
    await asyncio.gather(*(http.get("/metrics") for _ in range(10)))
    await http.get("/metrics")
    assert questions == 1


async def test_without_the_database_the_numbers_of_this_process_are_told(
    engine: Engine, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> Any:
        raise StoreUnavailableError("away")

    monkeypatch.setattr(engine.backlog, "standing", away)
    numbers = await samples(http)
    assert ("tasker_workers_live", labels()) not in numbers
    assert ("tasker_db_pool_connections", labels(state="active")) in numbers


async def test_a_database_that_hangs_does_not_keep_a_scrape_waiting_for_long(
    engine: Engine, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.backlog, "standing", asyncio.Event().wait)
    async with asyncio.timeout(4):
        await samples(http)


def test_kinds_of_tasks_are_bounded() -> None:
    metrics = Metrics()
    for number in range(1200):
        metrics.tasks_created("n", f"t{number}", 2)
    families = {family.name: family for family in metrics.registry.collect()}
    counted = [s for s in families["tasker_tasks_requests"].samples if s.name == "tasker_tasks_requests_total"]
    assert len(counted) == 1001
    assert sum(sample.value for sample in counted) == 2400


async def test_credentials_and_denials_are_counted(app: FastAPI, http: httpx.AsyncClient) -> None:
    app.state.metrics.authentication("jwt", "expired")
    app.state.metrics.denial("tasks:create")
    numbers = await samples(http)
    assert numbers["tasker_auth_requests_total", labels(method="jwt", result="expired")] == 1
    assert numbers["tasker_permission_denials_total", labels(permission="tasks:create")] == 1
