"""What holds for every request, whatever its route: an id, limits of size and of time, one envelope."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import urlsplit

import httpx
import pytest
import structlog
from fastapi import Body, FastAPI, Request
from tests.server.conftest import serving

from tasker_core.orchestration import Engine
from tasker_core.serialization import SerializationError
from tasker_core.server.app import ServerOptions, create_app
from tasker_core.store import StoreError, StoreUnavailableError

_ERRORS = {
    "value": ValueError("secret"),
    "lookup": KeyError("secret"),
    "serialization": SerializationError("secret"),
    "timeout": TimeoutError("secret"),
    "store": StoreError("relation secret does not exist"),
    "away": StoreUnavailableError("connection to secret refused"),
    "group": ExceptionGroup("secret", [ValueError("secret")]),
}


def with_routes(app: FastAPI) -> FastAPI:
    @app.post("/test/echo")
    async def echo(body: Annotated[Any, Body()]) -> Any:
        return {"length": len(str(body))}

    @app.post("/test/raw")
    async def raw(request: Request) -> Any:
        return {"length": len(await request.body())}

    @app.get("/test/wait")
    async def wait() -> None:
        await asyncio.Event().wait()

    @app.get("/test/raise/{kind}")
    async def fail(kind: str) -> None:
        raise _ERRORS[kind]

    return app


@pytest.fixture
async def http(engine: Engine) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server with routes that misbehave, and a tight limit of size."""
    options = ServerOptions(max_body_bytes=1000)
    app = with_routes(create_app(engine, options=options))
    async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=10.0) as client:
        yield client


@contextlib.asynccontextmanager
async def connected(http: httpx.AsyncClient) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection on which anything can be said."""
    parts = urlsplit(str(http.base_url))
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        yield reader, writer
    finally:
        writer.close()


def code(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["x-request-id"]
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize("path", ["/test/echo", "/test/raw"])
@pytest.mark.parametrize("way", ["declared", "chunked"])
async def test_a_body_that_is_too_large_is_refused(http: httpx.AsyncClient, path: str, way: str) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'"' + b"x" * 600
        yield b"x" * 600 + b'"'

    content: Any = b'"' + b"x" * 1200 + b'"' if way == "declared" else pieces()
    answer = await http.post(path, content=content, headers={"Content-Type": "application/json"})
    assert code(answer) == (413, "PAYLOAD_TOO_LARGE")
    assert "1000 bytes" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/test/echo", "/test/raw"])
async def test_a_body_up_to_the_limit_is_taken(http: httpx.AsyncClient, path: str) -> None:
    body = b'"' + b"x" * 998 + b'"'
    answer = await http.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200


async def test_a_connection_goes_on_after_a_body_was_refused(http: httpx.AsyncClient) -> None:
    await http.post("/test/raw", content=b"x" * 5000)
    assert (await http.post("/test/raw", content=b"x")).json() == {"length": 1}


@pytest.mark.parametrize("length", ["ten", "-5", "1e3", ""])
async def test_a_length_that_is_none_is_no_error_of_the_server(http: httpx.AsyncClient, length: str) -> None:
    async with connected(http) as (reader, writer):
        writer.write(f"POST /test/raw HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
        status = int((await reader.readline()).split()[1])
    assert status < 500


async def test_what_takes_too_long_is_answered_with_408(engine: Engine) -> None:
    app = with_routes(create_app(engine, options=ServerOptions(request_timeout_seconds=0.2)))
    async with serving(app) as url, httpx.AsyncClient(base_url=url) as http:
        answer = await http.get("/test/wait")
    assert code(answer) == (408, "TIMEOUT")
    assert answer.json()["error"]["message"] == "Request timeout"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("value", (500, "INTERNAL_ERROR")),
        ("serialization", (500, "INTERNAL_ERROR")),
        ("timeout", (500, "INTERNAL_ERROR")),
        ("lookup", (500, "INTERNAL_ERROR")),
        ("group", (500, "INTERNAL_ERROR")),
        ("store", (500, "DATABASE_ERROR")),
        ("away", (503, "SERVICE_UNAVAILABLE")),
    ],
)
async def test_whatever_a_route_raises_is_answered_in_the_envelope_without_its_text(
    http: httpx.AsyncClient, kind: str, expected: tuple[int, str]
) -> None:
    answer = await http.get(f"/test/raise/{kind}")
    assert code(answer) == expected
    assert "secret" not in answer.text
    if kind == "away":
        assert answer.headers["retry-after"]


@pytest.mark.parametrize("given", ["order 7", "x" * 200, "a\tb", ""])
async def test_a_request_id_that_looks_like_none_is_replaced(http: httpx.AsyncClient, given: str) -> None:
    answer = await http.get("/health", headers={"X-Request-ID": given})
    assert len(answer.headers["x-request-id"]) == 36


async def test_errors_are_logged_with_the_id_of_their_request(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound: list[str] = []

    def note(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        bound.append(event.get("request_id", ""))
        raise structlog.DropEvent

    structlog.configure(processors=[structlog.contextvars.merge_contextvars, note])
    try:
        await http.get("/test/raise/value", headers={"X-Request-ID": "order-7"})
    finally:
        structlog.reset_defaults()
    assert bound == ["order-7"]


@pytest.mark.parametrize("path", ["/test/echo", "/test/raw"])
async def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_error(
    http: httpx.AsyncClient, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with connected(http) as (_, writer):
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
            writer.write(head.encode() + b'"half')
            await writer.drain()
        async with asyncio.timeout(5):
            while f'route="{path}"' not in (await http.get("/metrics")).text:  # noqa: ASYNC110 - counted when it is over
                await asyncio.sleep(0.01)
    assert not [entry for entry in logs if entry["log_level"] in {"error", "warning"}]
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
