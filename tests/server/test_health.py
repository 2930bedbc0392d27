"""Health tells the truth, quickly, whatever the database does."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import httpx
import pytest
from fastapi import FastAPI
from tests.integration.support import chain, fetch

from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.server.admission import AdmissionLimits
from tasker_core.server.app import ServerOptions
from tasker_core.store import StoreUnavailableError

Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.mark.parametrize(("path", "status"), [("/health", "healthy"), ("/health/live", "alive")])
async def test_a_process_that_runs_answers(http: httpx.AsyncClient, path: str, status: str) -> None:
    answer = await http.get(path)
    assert (answer.status_code, answer.json()["status"]) == (200, status)
    assert answer.json()["timestamp"].endswith("Z")


async def test_a_server_that_just_started_is_ready(http: httpx.AsyncClient) -> None:
    answer = await http.get("/health/ready")
    body = answer.json()
    assert (answer.status_code, body["status"]) == (200, "ready")
    assert {name: check["status"] for name, check in body["checks"].items()} == dict.fromkeys(
        ("web_database", "orchestration_database", "schema", "orchestration_system"), "healthy"
    )
    assert body["info"]["operational_state"] == "Normal"


async def test_a_server_with_an_old_schema_is_not_ready(http: httpx.AsyncClient, database_url: str) -> None:
    await fetch(database_url, "UPDATE tasker_schema_version SET version_num = '0001_initial'")
    answer = await http.get("/health/ready")
    body = answer.json()
    assert (answer.status_code, body["status"]) == (503, "not_ready")
    assert body["error"]["code"] == "SERVICE_UNAVAILABLE"
    assert int(answer.headers["retry-after"]) == body["error"]["retry_after_seconds"]
    assert body["checks"]["schema"]["status"] == "unhealthy"
    assert body["checks"]["web_database"]["status"] == "healthy"


async def test_a_server_that_stops_is_not_ready(app: FastAPI, http: httpx.AsyncClient) -> None:
    app.state.stopping.set()
    answer = await http.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["checks"]["orchestration_system"]["message"] == "Operational state: GracefulShutdown"


async def test_a_database_that_hangs_is_found_out_in_two_seconds_by_all_who_ask(
    engine: Engine, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = 0

    async def hang() -> bool:
        nonlocal questions
        questions += 1
        await asyncio.Event().wait()
        return True

    monkeypatch.setattr(engine.backlog, "schema_is_current", hang)
    started = time.monotonic()
    answers = await asyncio.gather(*(http.get("/health/ready") for _ in range(5)))
    assert time.monotonic() - started < 3
    assert {answer.status_code for answer in answers} == {503}
    assert answers[0].json()["checks"]["web_database"]["message"] == "The database did not answer within 2 seconds"
    assert questions == 1


async def test_an_outage_is_told_without_what_the_driver_says(
    engine: Engine, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> bool:
        raise StoreUnavailableError("connection to 10.0.0.7 refused")

    monkeypatch.setattr(engine.backlog, "schema_is_current", away)
    answer = await http.get("/health/detailed")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["checks"]["orchestration_database"]["message"] == "The database cannot be reached"
    assert "10.0.0.7" not in answer.text


async def test_details_tell_of_a_long_queue(engine: Engine, serve: Serve) -> None:
    await engine.create_tasks(chain(1), [TaskRequest()] * 9)
    async with serve(options=ServerOptions(admission=AdmissionLimits(max_queue_depth=10))) as http:
        body = (await http.get("/health/detailed")).json()
    assert body["status"] == "degraded"
    assert body["checks"]["queue_depth"] == {
        "status": "degraded",
        "message": "9 steps wait to be run",
        "duration_ms": 0,
    }


async def test_details_tell_of_a_busy_pool(engine: Engine, http: httpx.AsyncClient) -> None:
    maximum = engine.backlog.pool().maximum
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(maximum - 1):
            await stack.enter_async_context(engine.store.database.transaction())
        body = (await http.get("/health/detailed")).json()
    assert body["checks"]["pool_utilization"]["status"] == "degraded"
    assert body["info"]["pool_utilization"]["tasker_pool"]["max_connections"] == maximum


async def test_the_configuration_is_told_only_where_it_is_switched_on(serve: Serve) -> None:
    async with serve() as http:
        assert (await http.get("/config")).status_code == 404
    options = ServerOptions(config_endpoint_enabled=True, environment="staging", max_body_bytes=1000)
    async with serve(options=options) as http:
        body = (await http.get("/config")).json()
    assert body["metadata"]["environment"] == "staging"
    assert body["limits"]["max_body_bytes"] == 1000
    assert body["auth"]["enabled"] is False


async def test_the_configuration_has_no_secrets(serve: Serve, database_url: str) -> None:
    async with serve(options=ServerOptions(config_endpoint_enabled=True)) as http:
        assert database_url not in (await http.get("/config")).text


async def test_every_operation_of_the_document_describes_our_errors(http: httpx.AsyncClient) -> None:
    document = (await http.get("/api-docs/openapi.json")).json()
    assert "HTTPValidationError" not in str(document)
    assert set(document["components"]["securitySchemes"]) == {"bearer_auth", "api_key_auth"}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            public = path.startswith(("/health", "/metrics", "/api-docs"))
            assert public or operation["security"], f"{method} {path}"
            assert operation["tags"]
            for status, answer in operation["responses"].items():
                if int(status) >= 400 and path != "/health/ready":
                    schema = answer["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/ErrorBody"}, f"{method} {path} {status}"


async def test_the_documentation_is_shown_without_anything_from_elsewhere(http: httpx.AsyncClient) -> None:
    page = await http.get("/api-docs/ui")
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for part in ("page.js", "page.css", "openapi.json"):
        assert f'"{part}"' in page.text
        assert (await http.get(f"/api-docs/{part}")).status_code == 200
    assert "//" not in page.text.replace("<!doctype", "")
