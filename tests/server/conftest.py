"""A real HTTP server on a fresh database for each test."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from tasker_core.orchestration import Engine
from tasker_core.server.app import create_app


@contextlib.asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[str]:
    """Serve an application on a free port of this machine; yields its URL."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="on", access_log=False)
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]
    running = asyncio.create_task(server.serve())
    while not server.started:
        if running.done():
            running.result()
            raise RuntimeError("the server ended before it started")
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await running


@pytest.fixture
def app(engine: Engine) -> FastAPI:
    """The application on the test's engine; authentication is off."""
    return create_app(engine)


@pytest.fixture
async def server_url(app: FastAPI) -> AsyncIterator[str]:
    """The URL of a server that runs the application."""
    async with serving(app) as url:
        yield url


@pytest.fixture
async def http(server_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of that server."""
    async with httpx.AsyncClient(base_url=server_url, timeout=20.0) as client:
        yield client


@pytest.fixture
def serve(engine: Engine) -> Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]:
    """Serves the test's engine with arguments of `create_app`; yields a client."""

    @contextlib.asynccontextmanager
    async def serve_with(**arguments: Any) -> AsyncIterator[httpx.AsyncClient]:
        async with (
            serving(create_app(engine, **arguments)) as url,
            httpx.AsyncClient(base_url=url, timeout=20.0) as client,
        ):
            yield client

    return serve_with
