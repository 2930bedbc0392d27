"""While PostgreSQL is away every route says so at once; when it is back, everything goes on without a restart."""

import asyncio
import os
import re
import signal
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from tests.integration.support import chain
from tests.server.conftest import serving

from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.server.app import create_app
from tasker_core.store import EmbeddedPostgres

UUID = "019a0000-0000-7000-8000-000000000000"

#: What parts of paths may be.
PARTS = {"namespace": "n", "name": "t", "version": "1.0.0"}


async def stop(postgres: EmbeddedPostgres) -> None:
    await asyncio.to_thread(postgres._control, "stop", "-m", "immediate")


async def kill(postgres: EmbeddedPostgres) -> None:
    """Let the main process of a server die; the others notice and follow."""
    pid = int((postgres.data_directory / "postmaster.pid").read_text().splitlines()[0])
    os.kill(pid, signal.SIGKILL)


async def start(postgres: EmbeddedPostgres) -> None:
    await asyncio.to_thread(postgres._launch)


@pytest.fixture
async def app(own_postgres: EmbeddedPostgres) -> AsyncIterator[FastAPI]:
    """An application on a PostgreSQL of its own."""
    async with Engine(own_postgres.url, acquire_timeout=3.0) as engine:
        yield create_app(engine)


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server that runs it."""
    async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=8.0) as client:
        yield client


def reads(app: FastAPI) -> list[str]:
    """Every path that is read without a query and needs the database."""
    return [
        re.sub(r"{(\w+)}", lambda part: PARTS.get(part[1], UUID), path)
        for path, operations in app.openapi()["paths"].items()
        if "x-required-permission" in operations.get("get", {})
        and not any(one.get("required") and one["in"] == "query" for one in operations["get"].get("parameters", ()))
    ]


def assert_away(answer: httpx.Response) -> None:
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (503, "SERVICE_UNAVAILABLE"), f"{answer.url}: {answer.text}"
    assert answer.headers["retry-after"] == str(error["retry_after_seconds"])
    assert answer.headers["x-request-id"]
    assert "postgres" not in error["message"].lower()
    assert "connect" not in error["message"].lower()


async def test_every_route_tells_of_an_outage_and_works_again_after_it(
    app: FastAPI, http: httpx.AsyncClient, own_postgres: EmbeddedPostgres
) -> None:
    paths = reads(app)
    assert f"/v1/tasks/{UUID}/events" in paths
    await stop(own_postgres)
    started = time.monotonic()
    for answer in await asyncio.gather(*(http.get(path) for path in paths for _ in range(3))):
        assert_away(answer)
    assert time.monotonic() - started < 8
    for path, status in (("/health", 200), ("/metrics", 200), ("/health/detailed", 200), ("/health/ready", 503)):
        started = time.monotonic()
        assert (await http.get(path)).status_code == status
        assert time.monotonic() - started < 3
    await start(own_postgres)
    async with asyncio.timeout(20):
        while (await http.get("/health/ready")).status_code != 200:  # noqa: ASYNC110 - that is how to find out
            await asyncio.sleep(0.05)
    assert (await http.get(f"/v1/tasks/{UUID}/events")).status_code == 404


async def test_requests_in_the_middle_of_an_outage_are_answered_and_none_hangs(
    app: FastAPI, http: httpx.AsyncClient, own_postgres: EmbeddedPostgres
) -> None:
    """Clients ask all the time while PostgreSQL crashes and comes back."""
    engine: Engine = app.state.engine
    task = await engine.create_task(chain(1), TaskRequest())
    await engine.cancel_task(task, actor="me", reason="over")
    # Not its stream of events: one that has begun cannot be answered any more, it breaks off and is resumed.
    path = f"/v1/tasks/{task}"
    over, back = asyncio.Event(), asyncio.Event()
    refused, served_again = asyncio.Semaphore(0), asyncio.Semaphore(0)

    async def ask() -> None:
        while not over.is_set():
            answer = await http.get(path)
            if answer.status_code != 200:
                assert_away(answer)
                refused.release()
            elif back.is_set():
                served_again.release()

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        asking = [group.create_task(ask()) for _ in range(10)]
        for bring_down in (stop, kill):
            await bring_down(own_postgres)
            await refused.acquire()
            await start(own_postgres)
            back.set()
            for _ in range(30):
                await served_again.acquire()
            back.clear()
            refused, served_again = asyncio.Semaphore(0), asyncio.Semaphore(0)
        over.set()
        await asyncio.gather(*asking)


async def test_events_go_on_after_an_outage(
    app: FastAPI, http: httpx.AsyncClient, own_postgres: EmbeddedPostgres
) -> None:
    engine: Engine = app.state.engine
    task = await engine.create_task(chain(1), TaskRequest())
    async with http.stream("GET", f"/v1/tasks/{task}/events") as answer:
        lines = (line async for line in answer.aiter_lines() if line.startswith("event: "))
        told = [await anext(lines)]
        await stop(own_postgres)
        await start(own_postgres)
        await engine.cancel_task(task, actor="me", reason="enough")
        async with asyncio.timeout(20):
            told += [line async for line in lines]
    assert told == ["event: step", "event: step", "event: task", "event: end"]
