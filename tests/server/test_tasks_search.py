"""Tasks are found by what they are, a page at a time."""

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import Request
from tests.integration.support import chain

from tasker_core.access import ALL_PERMISSIONS, Caller
from tasker_core.orchestration import Engine, TaskRequest

Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


class Known:
    """Everybody is the one caller."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    async def authenticate(self, request: Request) -> Caller:
        return self.caller


async def tasks(engine: Engine, number: int, **template: Any) -> list[str]:
    """New tasks, the newest first."""
    created = [await engine.create_task(chain(1, **template), TaskRequest(context={"n": n})) for n in range(number)]
    return sorted((str(task) for task in created), reverse=True)


async def found(http: httpx.AsyncClient, **query: Any) -> list[str]:
    answer = await http.get("/v1/tasks", params=query)
    assert answer.status_code == 200, answer.text
    return [task["task_uuid"] for task in answer.json()["tasks"]]


async def test_pages_are_counted(http: httpx.AsyncClient, engine: Engine) -> None:
    created = await tasks(engine, 3)
    body = (await http.get("/v1/tasks?page=2&per_page=2")).json()
    assert [task["task_uuid"] for task in body["tasks"]] == created[2:]
    assert body["tasks"][0]["steps"] == []
    assert body["pagination"] == {
        "page": 2,
        "per_page": 2,
        "total_count": 3,
        "total_pages": 2,
        "has_next": False,
        "has_previous": True,
        "next_cursor": None,
    }


async def test_a_page_beyond_the_last_is_empty(http: httpx.AsyncClient, engine: Engine) -> None:
    await tasks(engine, 1)
    for page in (2, 2**32 - 1):
        body = (await http.get(f"/v1/tasks?page={page}&per_page=100")).json()
        assert body["tasks"] == []
        assert (body["pagination"]["total_count"], body["pagination"]["has_next"]) == (1, False)


async def test_cursors_lead_through_all_tasks_without_counting(http: httpx.AsyncClient, engine: Engine) -> None:
    created = await tasks(engine, 5)
    body = (await http.get("/v1/tasks?per_page=2")).json()
    seen = [task["task_uuid"] for task in body["tasks"]]
    while (cursor := body["pagination"]["next_cursor"]) is not None:
        await tasks(engine, 1)  # what is new comes before the first page, and moves none
        body = (await http.get(f"/v1/tasks?per_page=2&cursor={cursor}")).json()
        assert body["pagination"].keys() == {"per_page", "has_next", "next_cursor"}
        seen += [task["task_uuid"] for task in body["tasks"]]
    assert seen == created


async def test_each_filter_finds_the_one_task_that_it_fits(http: httpx.AsyncClient, engine: Engine) -> None:
    await tasks(engine, 1)
    correlation = UUID("7d1b1f0e-52a4-4b7e-9c35-0f9f5d3b8a10")
    request = TaskRequest(
        context={"customer": {"id": 7, "city": "Oslo"}, "items": [1, 2]},
        tags=["dock-7", "express"],
        correlation_id=correlation,
        initiator="ui",
        source_system="wms",
    )
    template = chain(1, namespace_name="shop", name="order", version="2.0.0")
    task = str(await engine.create_task(template, request))
    await engine.cancel_task(UUID(task), actor="me", reason="x")
    queries: list[dict[str, Any]] = [
        {"namespace": ["shop", "elsewhere"]},
        {"name": "order"},
        {"version": "2.0.0"},
        {"status": ["cancelled", "error"]},
        {"tag": ["dock-7"]},
        {"tag": ["express", "dock-7"]},
        {"correlation_id": str(correlation)},
        {"initiator": "ui"},
        {"source_system": "wms"},
        {"context": json.dumps({"customer": {"id": 7}})},
        {"context": json.dumps({"items": [2]})},
        {"name": "order", "namespace": "shop", "tag": "express"},
    ]
    for query in queries:
        assert await found(http, **query) == [task], query
    for query in ({"tag": ["dock-7", "slow"]}, {"name": "order", "namespace": "test"}, {"context": '{"items": [3]}'}):
        assert await found(http, **query) == [], query


async def test_tasks_are_found_by_when_they_were_created(http: httpx.AsyncClient, engine: Engine) -> None:
    new, old = await tasks(engine, 2)
    created_at = (await engine.task(UUID(new)))["created_at"]
    assert await found(http, created_after=created_at) == [new]
    assert await found(http, created_before=created_at) == [old]
    # Without a zone it is UTC.
    assert await found(http, created_after=created_at.removesuffix("Z")) == [new]


async def test_pending_is_the_state_and_completed_stands_for_complete(http: httpx.AsyncClient, engine: Engine) -> None:
    done, waiting = await tasks(engine, 2)
    (step,) = await engine.steps(UUID(done))
    await engine.resolve_step(UUID(done), step["name"], actor="me", reason="x")
    assert await found(http, status="pending") == [waiting]
    assert await found(http, status="completed") == [done] == await found(http, status="complete")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("page=0", "page must be >= 1"),
        ("page=4294967296", "page must be <= 4294967295"),
        ("page=x", "page: Input should be a valid integer"),
        ("per_page=0", "per_page must be between 1 and 100"),
        ("per_page=101", "per_page must be between 1 and 100"),
        ("cursor=x", "cursor must be a UUID"),
        ("status=done", "status must be one of: pending, "),
        ("correlation_id=x", "correlation_id must be a UUID"),
        ("created_after=yesterday", "created_after must be an RFC 3339 time"),
        ("created_before=0001-01-01T00:00:00%2B14:00", "created_before must be an RFC 3339 time"),
        ("context=[]", "context must be a JSON object"),
        ("context={", "context must be a JSON object"),
        ("context=" + "[" * 5000, "context must be a JSON object"),
        ("context=%7B%22a%22:%22%5Cu0000%22%7D", "context must be a JSON object"),
        ("name=%00", "name must not contain NUL characters"),
        ("namespace=%00", "namespace must not contain NUL characters"),
        ("tag=a&tag=%00", "tag must not contain NUL characters"),
    ],
)
async def test_a_filter_that_makes_no_sense_is_named(http: httpx.AsyncClient, query: str, message: str) -> None:
    answer = await http.get(f"/v1/tasks?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith(message)


async def test_only_tasks_of_open_namespaces_are_found_and_counted(serve: Serve, engine: Engine) -> None:
    (own,) = await tasks(engine, 1, namespace_name="shop")
    await tasks(engine, 2)
    async with serve(authenticator=Known(Caller("shop", ALL_PERMISSIONS, frozenset({"shop"})))) as client:
        body = (await client.get("/v1/tasks")).json()
        assert [task["task_uuid"] for task in body["tasks"]] == [own]
        assert body["pagination"]["total_count"] == 1
        assert await found(client, namespace="test") == []
        assert await found(client, namespace=["test", "shop"]) == [own]
