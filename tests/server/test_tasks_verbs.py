"""What people do to tasks over HTTP, and who is said to have done it."""

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from conftest import working
from fastapi import Request
from tests.integration.support import chain, states

from tasker_core import errors
from tasker_core.access import ALL_PERMISSIONS, Caller, Permission
from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.step_handler.functional import step_handler

Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

BODIES = {
    "pause": {},
    "resume": {},
    "retry": {},
    "rerun": {"step": "s0", "reason": "x"},
    "cancel": {"reason": "x"},
}


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
    raise errors.PermanentError("no")


async def new_task(engine: Engine) -> UUID:
    return await engine.create_task(chain(2), TaskRequest())


async def ended_task(engine: Engine, **callables: str) -> UUID:
    async with working(engine, {"work": work, "broken": broken}):
        task = await engine.create_task(chain(2, callables=callables), TaskRequest())
        await engine.wait(task, 10)
    return task


async def test_delete_cancels_once(http: httpx.AsyncClient, engine: Engine) -> None:
    task = await new_task(engine)
    answer = await http.delete(f"/v1/tasks/{task}?reason=duplicate")
    assert answer.status_code == 200
    assert answer.json()["status"] == "cancelled"
    assert {step["current_state"] for step in answer.json()["steps"]} == {"cancelled"}
    assert (await engine.history(task))[-1]["reason"] == "duplicate"
    again = await http.delete(f"/v1/tasks/{task}")
    assert again.status_code == 400
    assert again.json() == {"error": {"code": "BAD_REQUEST", "message": "Cannot cancel a completed task"}}


async def test_what_is_complete_is_not_deleted(http: httpx.AsyncClient, engine: Engine) -> None:
    answer = await http.delete(f"/v1/tasks/{await ended_task(engine)}")
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "Cannot cancel a completed task"


async def test_cancelling_answers_what_changed_and_a_dry_run_changes_nothing(
    http: httpx.AsyncClient, engine: Engine
) -> None:
    task = await new_task(engine)
    dry = (await http.post(f"/v1/tasks/{task}/cancel", json={"reason": "why", "dry_run": True})).json()
    assert (dry["changed"], dry["dry_run"], dry["to_state"]) == (True, True, "cancelled")
    assert (await engine.task(task))["status"] == "pending"
    change = (await http.post(f"/v1/tasks/{task}/cancel", json={"reason": "why"})).json()
    assert change == {
        "task_uuid": str(task),
        "verb": "cancel",
        "changed": True,
        "dry_run": False,
        "from_state": "pending",
        "to_state": "cancelled",
        "actor": "anonymous",
        "reason": "why",
        "steps": [
            {"step": "s0", "from_state": "enqueued", "to_state": "cancelled"},
            {"step": "s1", "from_state": "pending", "to_state": "cancelled"},
        ],
        "removed": [],
    }


async def test_a_task_is_paused_and_resumed_without_a_body(http: httpx.AsyncClient, engine: Engine) -> None:
    task = await new_task(engine)
    assert (await http.post(f"/v1/tasks/{task}/pause")).json()["changed"] is True
    assert (await engine.task(task))["paused_at"] is not None
    assert (await http.post(f"/v1/tasks/{task}/pause", json={"reason": "again"})).json()["changed"] is False
    assert (await http.post(f"/v1/tasks/{task}/resume", json={"reason": "go"})).json()["changed"] is True
    assert (await engine.task(task))["paused_at"] is None


async def test_failed_steps_are_retried(http: httpx.AsyncClient, engine: Engine) -> None:
    task = await ended_task(engine, s1="broken")
    dry = (await http.post(f"/v1/tasks/{task}/retry", json={"dry_run": True})).json()
    assert dry["steps"] == [{"step": "s1", "from_state": "error", "to_state": "enqueued"}]
    assert (await states(engine, task))["s1"] == "error"
    assert (await http.post(f"/v1/tasks/{task}/retry")).json()["changed"] is True
    assert (await states(engine, task))["s1"] == "enqueued"


@pytest.mark.parametrize("by_uuid", [False, True])
async def test_a_task_runs_again_from_a_step_on(http: httpx.AsyncClient, engine: Engine, by_uuid: bool) -> None:
    task = await ended_task(engine)
    step = (await engine.steps(task))[1]["step_uuid"] if by_uuid else "s1"
    answer = await http.post(f"/v1/tasks/{task}/rerun", json={"step": step, "reason": "new prices"})
    assert answer.json()["steps"] == [{"step": "s1", "from_state": "complete", "to_state": "enqueued"}]
    assert await states(engine, task) == {"s0": "complete", "s1": "enqueued"}


@pytest.mark.parametrize("step", ["s7", "0194c8a2-0000-7000-8000-000000000001"])
async def test_a_step_to_run_again_from_must_exist(http: httpx.AsyncClient, engine: Engine, step: str) -> None:
    answer = await http.post(f"/v1/tasks/{await ended_task(engine)}/rerun", json={"step": step, "reason": "x"})
    assert answer.status_code == 404


async def test_a_move_that_the_state_does_not_allow_is_a_conflict(http: httpx.AsyncClient, engine: Engine) -> None:
    task = await ended_task(engine)
    for verb in ("pause", "retry", "cancel"):
        answer = await http.post(f"/v1/tasks/{task}/{verb}", json=BODIES[verb])
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "CONFLICT"), verb
        assert "complete" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("verb", "body", "field"),
    [
        ("rerun", {"step": "s0"}, "reason"),
        ("rerun", {"reason": "x"}, "step"),
        ("cancel", {}, "reason"),
        ("cancel", {"reason": ""}, "reason"),
        ("cancel", {"reason": "x", "dryrun": True}, "dryrun"),
        ("pause", {"dry_run": True}, "dry_run"),
        ("retry", {"dry_run": "no"}, "dry_run"),
    ],
)
async def test_a_verb_with_wrong_words_does_nothing(
    http: httpx.AsyncClient, engine: Engine, verb: str, body: dict[str, Any], field: str
) -> None:
    task = await new_task(engine)
    answer = await http.post(f"/v1/tasks/{task}/{verb}", json=body)
    assert answer.status_code == 422
    assert [detail["field"] for detail in answer.json()["error"]["details"]] == [field]
    assert len(await engine.history(task)) == 1


@pytest.mark.parametrize("verb", BODIES)
async def test_verbs_need_a_task(http: httpx.AsyncClient, verb: str) -> None:
    answer = await http.post(f"/v1/tasks/abc/{verb}", json=BODIES[verb])
    assert answer.json() == {"error": {"code": "INVALID_UUID", "message": "abc"}}
    assert (await http.post(f"/v1/tasks/{uuid4()}/{verb}", json=BODIES[verb])).status_code == 404


async def test_tasks_of_foreign_namespaces_are_out_of_reach(serve: Serve, engine: Engine) -> None:
    task = await new_task(engine)
    async with serve(authenticator=Known(Caller("shop", ALL_PERMISSIONS, frozenset({"shop"})))) as client:
        for verb, body in BODIES.items():
            assert (await client.post(f"/v1/tasks/{task}/{verb}", json=body)).status_code == 404, verb
        assert (await client.delete(f"/v1/tasks/{task}")).status_code == 404
    assert len(await engine.history(task)) == 1


async def test_the_actor_is_whoever_has_the_credentials(serve: Serve, engine: Engine) -> None:
    task = await new_task(engine)
    async with serve(authenticator=Known(Caller("ann", ALL_PERMISSIONS))) as client:
        await client.post(f"/v1/tasks/{task}/pause")
        await client.delete(f"/v1/tasks/{task}")
    acts = [(change["verb"], change["actor"]) for change in await engine.history(task) if change["step"] is None]
    assert acts == [("pause", "ann"), ("cancel", "ann")]


async def test_each_verb_needs_its_permission(serve: Serve, engine: Engine) -> None:
    task = await new_task(engine)
    needed = dict.fromkeys(BODIES, Permission.TASKS_OPERATE) | {"cancel": Permission.TASKS_CANCEL}
    for verb, permission in needed.items():
        async with serve(authenticator=Known(Caller("ann", ALL_PERMISSIONS - {permission}))) as client:
            answer = await client.post(f"/v1/tasks/{task}/{verb}", content=json.dumps(BODIES[verb]))
            assert answer.status_code == 403
            assert answer.json()["error"]["message"] == f"Missing required permission: {permission}"
