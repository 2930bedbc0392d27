"""A task is read over HTTP: as it is, once it rests, in summary, with its reasons and its history."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from conftest import working
from fastapi import Request
from tests.integration.support import chain, graph

from tasker_core import errors
from tasker_core.access import ALL_PERMISSIONS, Caller
from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.server.app import ServerOptions
from tasker_core.states import TaskState
from tasker_core.step_handler.functional import step_handler

Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


class Known:
    """Everybody is the one caller."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    async def authenticate(self, request: Request) -> Caller:
        return self.caller


@step_handler("work")
async def work() -> dict[str, int]:
    return {"n": 1}


@step_handler("broken")
async def broken() -> None:
    raise errors.PermanentError("the card was declined", error_code="E_CARD")


HANDLERS = {"work": work, "broken": broken}


async def new_task(engine: Engine, template: Any = None) -> UUID:
    return await engine.create_task(template or chain(2), TaskRequest(initiator="ui", reason="packed"))


async def blocked_task(engine: Engine) -> UUID:
    """Of three steps the second failed."""
    async with working(engine, HANDLERS):
        task = await new_task(engine, chain(3, callables={"s1": "broken"}))
        await engine.wait(task, 10)
    return task


@pytest.mark.parametrize("path", ["", "/summary", "/why", "/history"])
async def test_what_is_no_uuid_is_named_and_what_does_not_exist_is_not_found(
    http: httpx.AsyncClient, path: str
) -> None:
    answer = await http.get(f"/v1/tasks/abc{path}")
    assert answer.status_code == 400
    assert answer.json() == {"error": {"code": "INVALID_UUID", "message": "abc"}}
    assert (await http.get(f"/v1/tasks/%00{path}")).status_code == 400
    answer = await http.get(f"/v1/tasks/{uuid4()}{path}")
    assert answer.status_code == 404
    assert answer.json() == {"error": {"code": "NOT_FOUND", "message": "Resource not found"}}


@pytest.mark.parametrize("path", ["", "?wait=1", "/summary", "/why", "/history", "/workflow_steps"])
async def test_a_task_of_a_foreign_namespace_looks_as_if_it_did_not_exist(
    serve: Serve, engine: Engine, path: str
) -> None:
    task = await new_task(engine)
    async with serve(authenticator=Known(Caller("shop", ALL_PERMISSIONS, frozenset({"shop"})))) as client:
        foreign = await client.get(f"/v1/tasks/{task}{path}")
        unknown = await client.get(f"/v1/tasks/{uuid4()}{path}")
    assert foreign.status_code == 404
    assert foreign.json() == unknown.json()
    async with serve(authenticator=Known(Caller("own", ALL_PERMISSIONS, frozenset({"test"})))) as client:
        assert (await client.get(f"/v1/tasks/{task}{path}")).status_code == 200


async def test_a_finished_task_shows_its_steps(http: httpx.AsyncClient, engine: Engine) -> None:
    async with working(engine, HANDLERS):
        task = await new_task(engine)
        await engine.wait(task, 10)
    body = (await http.get(f"/v1/tasks/{task}")).json()
    assert (body["status"], body["execution_status"], body["completion_percentage"]) == (
        "complete",
        "all_complete",
        100.0,
    )
    assert body["completed_at"] is not None
    assert [(step["current_state"], step["attempts"], step["completed_parents"]) for step in body["steps"]] == [
        ("complete", 1, 0),
        ("complete", 1, 1),
    ]
    step_uuids = [step["workflow_step_uuid"] for step in body["steps"]]
    listed = (await http.get(f"/v1/tasks/{task}/workflow_steps")).json()
    assert step_uuids == [step["step_uuid"] for step in listed]


async def test_who_waits_is_answered_when_the_task_is_over(
    http: httpx.AsyncClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    somebody_waits = asyncio.Event()
    wait = engine.wait

    async def noticed(task_uuid: UUID, timeout: float | None = None) -> TaskState:
        somebody_waits.set()
        return await wait(task_uuid, timeout)

    @step_handler("work")
    async def patient() -> dict[str, int]:
        await somebody_waits.wait()
        return {}

    monkeypatch.setattr(engine, "wait", noticed)
    async with working(engine, {"work": patient}):
        answer = await http.get(f"/v1/tasks/{await new_task(engine)}?wait=20")
    assert answer.json()["status"] == "complete"


async def test_waiting_is_no_part_of_the_time_that_a_request_may_take(serve: Serve, engine: Engine) -> None:
    task = await new_task(engine)
    async with serve(options=ServerOptions(request_timeout_seconds=0.5)) as client:
        answer = await client.get(f"/v1/tasks/{task}?wait=0.8")
    assert answer.status_code == 200
    assert answer.json()["status"] == "pending"


@pytest.mark.parametrize("wait", ["-1", "60.1", "nan", "long"])
async def test_nobody_waits_longer_than_a_minute(http: httpx.AsyncClient, engine: Engine, wait: str) -> None:
    answer = await http.get(f"/v1/tasks/{await new_task(engine)}?wait={wait}")
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("wait: ")


async def test_a_summary_has_all_that_it_takes_to_draw_a_task(http: httpx.AsyncClient, engine: Engine) -> None:
    task = await blocked_task(engine)
    body = (await http.get(f"/v1/tasks/{task}/summary")).json()
    assert body["task"]["status"] == "blocked_by_failures"
    assert (body["task"]["initiator"], body["task"]["source_system"]) == ("ui", "unknown")
    assert body["template"]["steps"][1] == {
        "name": "s1",
        "step_type": "standard",
        "handler": "broken",
        "dependencies": ["s0"],
        "retryable": True,
        "max_attempts": 3,
    }
    assert [(step["name"], step["current_state"]) for step in body["steps"]] == [
        ("s0", "complete"),
        ("s1", "error"),
        ("s2", "pending"),
    ]
    assert "error" not in body["steps"][0]
    assert body["steps"][1]["error"] == {"error_type": "permanent_error", "retryable": False}
    assert body["dlq"] == {
        "in_dlq": True,
        "dlq_reason": "max_retries_exceeded",
        "resolution_status": "pending",
    }
    assert body["links"] == {
        "task": f"/v1/tasks/{task}",
        "steps": f"/v1/tasks/{task}/workflow_steps",
        "dlq": "/v1/dlq",
    }


async def test_a_task_that_needs_nobody_any_more_is_not_among_the_dead_letters(
    http: httpx.AsyncClient, engine: Engine
) -> None:
    task = await blocked_task(engine)
    await engine.cancel_task(task, actor="me", reason="no longer needed")
    body = (await http.get(f"/v1/tasks/{task}/summary")).json()
    assert body["dlq"] == {"in_dlq": False, "dlq_reason": "max_retries_exceeded", "resolution_status": "cancelled"}


async def test_why_says_what_a_step_waits_for(http: httpx.AsyncClient, engine: Engine) -> None:
    task = await new_task(engine, graph({"a": [], "b": ["a"]}))
    body = (await http.get(f"/v1/tasks/{task}/why")).json()
    assert body["task_uuid"] == str(task)
    assert [step["step"] for step in body["steps"]] == ["a", "b"]
    (explained,) = (await http.get(f"/v1/tasks/{task}/why?step=b")).json()["steps"]
    assert (explained["blocker"], explained["waits_for"]) == ("unmet_dependencies", ["a"])
    assert (await http.get(f"/v1/tasks/{task}/why?step=c")).status_code == 404


async def test_history_tells_every_change_in_order(http: httpx.AsyncClient, engine: Engine) -> None:
    task = await new_task(engine)
    await engine.cancel_task(task, actor="me", reason="no longer needed")
    body = (await http.get(f"/v1/tasks/{task}/history")).json()
    assert body["task_uuid"] == str(task)
    last = body["history"][-1]
    assert (last["step"], last["from_state"], last["to_state"]) == (None, "pending", "cancelled")
    assert (last["verb"], last["actor"], last["reason"]) == ("cancel", "me", "no longer needed")


async def test_the_description_of_the_api_says_what_a_request_for_a_task_consists_of(http: httpx.AsyncClient) -> None:
    document = (await http.get("/api-docs/openapi.json")).json()
    schema = document["paths"]["/v1/tasks"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["name", "namespace", "context", "initiator", "source_system", "reason"]
    actions = document["paths"]["/v1/tasks/{uuid}/workflow_steps/{step_uuid}"]["patch"]["requestBody"]
    assert len(actions["content"]["application/json"]["schema"]["oneOf"]) == 3
    assert "$defs" not in json.dumps(document)
