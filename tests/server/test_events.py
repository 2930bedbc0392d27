"""Server-sent events over real HTTP."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from conftest import working
from fastapi import Request
from starlette.types import Message
from tests.integration.support import chain
from tests.server.conftest import serving

from tasker_core.access import ALL_PERMISSIONS, Caller
from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.orchestration.feed import News, Position
from tasker_core.server.app import ServerOptions, create_app
from tasker_core.server.serving import Address, listening
from tasker_core.server.streams import EventStream, Streams
from tasker_core.step_handler.functional import step_handler

Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@step_handler("work")
async def work() -> None: ...


@dataclass
class Event:
    id: str
    kind: str
    data: Any


async def events(answer: httpx.Response) -> AsyncIterator[Event]:
    """The events of a stream, parsed as browsers do."""
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif "data" in fields:
            yield Event(fields.get("id", ""), fields["event"], json.loads(fields["data"]))
            fields = {}
        else:
            fields = {}


async def follow(http: httpx.AsyncClient, path: str, last_seen: str | None = None) -> list[Event]:
    """All events of a stream that ends."""
    headers = {"Last-Event-ID": last_seen} if last_seen else {}
    async with http.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        return [event async for event in events(answer)]


class CallerIs:
    """Lets everybody in as one caller."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def authenticate(self, request: Request) -> Caller:
        return self._caller


async def finished(engine: Engine, **options: Any) -> Any:
    async with working(engine, {"work": work}):
        task = await engine.create_task(chain(3, **options), TaskRequest())
        await engine.wait(task, 10)
    return task


async def test_the_stream_of_a_task_tells_its_history_and_ends_with_it(engine: Engine, http: httpx.AsyncClient) -> None:
    task = await finished(engine)
    told = await follow(http, f"/v1/tasks/{task}/events")
    *changes, end = told
    assert (end.kind, end.data) == ("end", {"status": "complete"})
    assert {change.kind for change in changes} == {"task", "step"}
    history = await engine.history(task)
    assert [change.data["occurred_at"] for change in changes] == [change["occurred_at"] for change in history]
    assert {(change.data["namespace"], change.data["name"]) for change in changes} == {("test", "graph")}


@pytest.mark.parametrize("way", ["header", "parameter"])
async def test_a_stream_goes_on_after_the_last_event_that_was_seen(
    engine: Engine, http: httpx.AsyncClient, way: str
) -> None:
    path = f"/v1/tasks/{await finished(engine)}/events"
    whole = await follow(http, path)
    for seen, event in enumerate(whole[:-1], start=1):
        rest = (
            await follow(http, path, event.id)
            if way == "header"
            else await follow(http, f"{path}?last_event_id={event.id}")
        )
        assert rest == whole[seen:]


async def test_a_stream_goes_on_at_another_server(engine: Engine, serve: Serve) -> None:
    """However a client is cut off and whichever server it reaches then, it is told everything once and in order."""
    random.seed(3)
    async with serve() as one, serve() as other, working(engine, {"work": work}):
        tasks = await engine.create_tasks(chain(4), [TaskRequest()] * 3)
        for task in tasks:
            seen: list[Event] = []
            async with asyncio.timeout(20):
                while not seen or seen[-1].kind != "end":
                    headers = {"Last-Event-ID": seen[-1].id} if seen else {}
                    http, patience = random.choice([one, other]), random.randrange(1, 5)
                    async with http.stream("GET", f"/v1/tasks/{task}/events", headers=headers) as answer:
                        async for event in events(answer):
                            seen.append(event)
                            patience -= 1
                            if not patience:
                                break
            assert seen == await follow(one, f"/v1/tasks/{task}/events")


async def test_the_stream_of_all_tasks_begins_now_and_passes_the_filters(
    engine: Engine, http: httpx.AsyncClient
) -> None:
    await finished(engine, namespace_name="one")
    async with http.stream("GET", "/v1/events?namespace=one&name=wanted&types=task") as answer:
        lines = answer.aiter_lines()
        assert await anext(lines) == "retry: 2000"
        await finished(engine, namespace_name="two", name="wanted")
        await finished(engine, namespace_name="one", name="other")
        task = await finished(engine, namespace_name="one", name="wanted")
        told = []
        async with asyncio.timeout(10):
            async for line in lines:
                if line.startswith("data: "):
                    told.append(json.loads(line.removeprefix("data: ")))
                if len(told) == 2:
                    break
    assert [change["to_state"] for change in told] == ["steps_in_process", "complete"]
    assert {change["task_uuid"] for change in told} == {str(task)}


async def test_a_client_that_is_cut_off_before_anything_happened_can_go_on_from_there(
    engine: Engine, http: httpx.AsyncClient
) -> None:
    async with http.stream("GET", "/v1/events") as answer:
        async for line in answer.aiter_lines():
            if line.startswith("id: "):
                last = line.removeprefix("id: ")
                break
    task = await finished(engine)
    async with http.stream("GET", "/v1/events", headers={"Last-Event-ID": last}) as answer:
        first = await anext(events(answer))
    assert first.data["task_uuid"] == str(task)
    assert first.data["to_state"] == "steps_in_process"


async def test_a_caller_is_told_only_of_namespaces_that_are_open_to_him(engine: Engine, serve: Serve) -> None:
    caller = Caller("me", ALL_PERMISSIONS, frozenset({"mine"}))
    foreign, start = await finished(engine, namespace_name="foreign"), await engine.feed.now()
    async with serve(authenticator=CallerIs(caller)) as http:
        assert (await http.get(f"/v1/tasks/{foreign}/events")).status_code == 404
        missing = await http.get("/v1/tasks/00000000-0000-7000-8000-000000000000/events")
        assert missing.json() == (await http.get(f"/v1/tasks/{foreign}/events")).json()
        await finished(engine, namespace_name="foreign")
        mine = await finished(engine, namespace_name="mine")
        async with http.stream("GET", f"/v1/events?last_event_id={start}") as answer:
            assert (await anext(events(answer))).data["task_uuid"] == str(mine)


async def test_what_is_no_uuid_names_no_task(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/tasks/nonsense/events")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_UUID")


@pytest.mark.parametrize("query", ["last_event_id=yesterday", "types=nonsense"])
async def test_nonsense_is_a_bad_request(http: httpx.AsyncClient, query: str) -> None:
    answer = await http.get(f"/v1/events?{query}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BAD_REQUEST")


async def test_too_many_streams_are_refused_until_one_ends(engine: Engine) -> None:
    task = await finished(engine)
    app = create_app(engine)
    app.state.streams = Streams(app.state.stopping, maximum=1)
    async with serving(app) as url, httpx.AsyncClient(base_url=url) as http:
        async with http.stream("GET", "/v1/events") as answer:
            assert answer.status_code == 200
            refused = await http.get("/v1/events")
            assert refused.status_code == 503
            assert refused.json()["error"]["code"] == "SERVICE_UNAVAILABLE"
            assert refused.headers["retry-after"]
        async with asyncio.timeout(10):
            # When the server notices that the client left is up to the network.
            while (await http.get(f"/v1/tasks/{task}/events")).status_code != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_a_quiet_stream_shows_that_it_is_alive_and_outlasts_the_request_timeout(
    engine: Engine, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasker_core.server.routes.events.KEEP_ALIVE_SECONDS", 0.8)
    task = await engine.create_task(chain(1), TaskRequest())
    options = ServerOptions(request_timeout_seconds=1.5)
    async with serve(options=options) as http, http.stream("GET", f"/v1/tasks/{task}/events") as answer:
        quiet = 0
        async with asyncio.timeout(10):
            async for line in answer.aiter_lines():
                quiet += line == ": keep-alive"
                if quiet == 5:
                    break
    assert quiet == 5


async def test_streams_end_at_once_when_the_server_stops(engine: Engine) -> None:
    task = await engine.create_task(chain(1), TaskRequest())
    app = create_app(engine)
    async with (
        listening(app, Address("127.0.0.1", 0)) as server,
        httpx.AsyncClient(base_url=server.url) as http,
        contextlib.AsyncExitStack() as stack,
    ):
        answers = [
            await stack.enter_async_context(http.stream("GET", path))
            for path in ("/v1/events", f"/v1/tasks/{task}/events")
        ]
        server.stop()
        async with asyncio.timeout(3):
            for answer in answers:
                # A clean end: the body is complete.
                await answer.aread()
            await http.aclose()
            await server.running


async def test_a_client_that_does_not_take_what_is_sent_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasker_core.server.streams._SEND_SECONDS", 0.05)
    streams = Streams(asyncio.Event(), maximum=1)
    closed = asyncio.Event()

    async def news() -> AsyncGenerator[News, None]:
        try:
            while True:
                yield News([], Position(1, 0, 0))
        finally:
            closed.set()

    async def send(message: Message) -> None:
        if b"keep-alive" in message.get("body", b""):
            await asyncio.Event().wait()

    async with asyncio.timeout(5):
        await EventStream(news(), streams)({"type": "http"}, asyncio.Event().wait, send)  # type: ignore[arg-type]
    assert closed.is_set()
    streams.enter()
