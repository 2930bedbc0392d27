"""A real HTTP server that answers from a script, and both clients behind one face."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tasker_core.client import AsyncTaskerClient, TaskerClient
from tasker_core.client import calls as client_calls


@dataclass
class Asked:
    """A request that arrived."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any


@dataclass
class Answer:
    """What to answer; a status of None breaks the connection instead, after the bytes of ``raw``."""

    status: int | None = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None


class ScriptedServer:
    """Answers requests in the order of its script, then with the last answer again and again."""

    def __init__(self) -> None:
        self.script: list[Answer | Callable[[Asked], Answer]] = [Answer(body={})]
        self.asked: list[Asked] = []
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                text = self.rfile.read(length).decode()
                parts = urlsplit(self.path)
                names = {name.lower(): value for name, value in self.headers.items()}
                body = json.loads(text) if names.get("content-type") == "application/json" else text
                outer.answer(self, Asked(self.command, parts.path, parse_qs(parts.query), names, body))

            do_GET = do_POST = do_PATCH = do_DELETE = answer

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def answer(self, handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        with self._lock:
            self.asked.append(asked)
            planned = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        answer = planned(asked) if callable(planned) else planned
        content = answer.raw if answer.raw is not None else json.dumps(answer.body).encode()
        if answer.status is None:
            if answer.raw is not None:
                handler.send_response(200)
                handler.send_header("Content-Length", str(len(content) + 1))
                handler.end_headers()
                handler.wfile.write(content)
            handler.close_connection = True
            return
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        with contextlib.suppress(OSError):
            handler.wfile.write(content)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A server on a port of this machine."""
    scripted = ScriptedServer()
    yield scripted
    scripted.close()


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance makes all pauses between attempts as short as they may be, and no environment gets in the way."""
    monkeypatch.setattr(client_calls.random, "random", lambda: 0.0)
    for name in ("URL", "AUTH_TOKEN", "TIMEOUT_MS"):
        monkeypatch.delenv(f"TASKER_ORCHESTRATION_{name}", raising=False)
    for name in ("TASKER_AUTH_TOKEN", "TASKER_API_KEY", "TASKER_API_KEY_HEADER"):
        monkeypatch.delenv(name, raising=False)


class Asker:
    """Calls a method of one of the clients, whichever the test runs with."""

    def __init__(self, kind: str, server: ScriptedServer) -> None:
        self.kind = kind
        self.server = server
        self.options: dict[str, Any] = {}

    def __call__(self, method: str, *args: Any, **kwargs: Any) -> Any:
        options = {"base_url": self.server.url, **self.options}
        if self.kind == "sync":
            with TaskerClient(**options) as client:
                return getattr(client, method)(*args, **kwargs)
        return asyncio.run(self._ask(options, method, args, kwargs))

    def every(self, method: str, *args: Any, **kwargs: Any) -> list[Any]:
        """Everything that an iterator of the client yields."""
        options = {"base_url": self.server.url, **self.options}
        if self.kind == "sync":
            with TaskerClient(**options) as client:
                return list(getattr(client, method)(*args, **kwargs))
        return asyncio.run(self._collect(options, method, args, kwargs))

    async def _ask(self, options: Any, method: str, args: Any, kwargs: Any) -> Any:
        async with AsyncTaskerClient(**options) as client:
            return await getattr(client, method)(*args, **kwargs)

    async def _collect(self, options: Any, method: str, args: Any, kwargs: Any) -> list[Any]:
        async with AsyncTaskerClient(**options) as client:
            return [each async for each in getattr(client, method)(*args, **kwargs)]


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest, server: ScriptedServer) -> Asker:
    """Asks the scripted server, once with each client."""
    return Asker(request.param, server)
