"""Steps over HTTP: what they resulted in, what people did to them, and what is remembered of it."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import UUID

import httpx
import pytest
from conftest import working
from fastapi import Request
from tests.integration.support import chain, check_invariants, states

from tasker_core import errors
from tasker_core.access import ALL_PERMISSIONS, Caller
from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.step_handler.functional import step_handler
from tasker_core.types import StepContext

Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

RESET = {"action_type": "reset_for_retry", "reason": "carrier is back", "reset_by": "ann"}
RESOLVE = {"action_type": "resolve_manually", "reason": "not needed", "resolved_by": "ann"}
COMPLETE = {
    "action_type": "complete_manually",
    "completion_data": {"result": {"label": "LBL-90210"}, "metadata": {"ticket": "OPS-318"}},
    "reason": "bought by phone",
    "completed_by": "ann",
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
    raise errors.PermanentError("no carrier")


HANDLERS = {"work": work, "broken": broken}


async def blocked(engine: Engine) -> tuple[UUID, list[str]]:
    """A task of three steps whose second failed, and the paths of its steps."""
    async with working(engine, HANDLERS):
        task = await engine.create_task(chain(3, callables={"s1": "broken"}), TaskRequest())
        await engine.wait(task, 10)
    return task, [f"/v1/tasks/{task}/workflow_steps/{step['step_uuid']}" for step in await engine.steps(task)]


async def waiting(engine: Engine) -> tuple[UUID, list[str]]:
    """A task of two steps that nobody works on, and the paths of its steps."""
    task = await engine.create_task(chain(2), TaskRequest())
    return task, [f"/v1/tasks/{task}/workflow_steps/{step['step_uuid']}" for step in await engine.steps(task)]


async def test_steps_are_listed_in_template_order_each_with_its_whole_result(
    http: httpx.AsyncClient, engine: Engine
) -> None:
    task, _ = await blocked(engine)
    done, failed, pending = (await http.get(f"/v1/tasks/{task}/workflow_steps")).json()
    assert [step["name"] for step in (done, failed, pending)] == ["s0", "s1", "s2"]
    results = done["results"]
    assert results.keys() == {
        "step_uuid",
        "success",
        "status",
        "result",
        "metadata",
        "error",
        "orchestration_metadata",
    }
    assert (results["success"], results["status"], results["result"], results["error"]) == (
        True,
        "completed",
        {"n": 1},
        None,
    )
    assert results["metadata"]["execution_time_ms"] >= 0
    results = failed["results"]
    assert (results["success"], results["status"], results["result"]) == (False, "failed", None)
    assert results["error"]["message"] == "no carrier"
    assert pending["results"] is None
    assert not {"result", "metadata", "error"} & done.keys()


async def test_one_step_is_what_the_list_has(http: httpx.AsyncClient, engine: Engine) -> None:
    task, paths = await blocked(engine)
    listed = (await http.get(f"/v1/tasks/{task}/workflow_steps")).json()
    assert [(await http.get(path)).json() for path in paths] == listed


@pytest.mark.parametrize(("method", "rest"), [("GET", ""), ("PATCH", ""), ("GET", "/audit")])
async def test_what_does_not_name_a_step_of_the_task_is_refused(
    http: httpx.AsyncClient, engine: Engine, method: str, rest: str
) -> None:
    task, (path, _) = await waiting(engine)
    other, _ = await waiting(engine)
    step = path.rpartition("/")[2]
    beyond = f"{str(task)[:-6]}0000ff"
    cases = [
        (f"/v1/tasks/abc/workflow_steps/{step}", 400, "BAD_REQUEST", "Invalid task UUID format"),
        (f"/v1/tasks/{task}/workflow_steps/abc", 400, "BAD_REQUEST", "Invalid step UUID format"),
        (f"/v1/tasks/{task}/workflow_steps/{beyond}", 404, "NOT_FOUND", "Resource not found"),
        (f"/v1/tasks/{task}/workflow_steps/{task}", 404, "NOT_FOUND", "Resource not found"),
        (f"/v1/tasks/{other}/workflow_steps/{step}", 404, "NOT_FOUND", "Step does not belong to the specified task"),
    ]
    for case, status, code, message in cases:
        answer = await http.request(method, case + rest, json=RESOLVE if method == "PATCH" else None)
        assert answer.status_code == status, case
        assert answer.json() == {"error": {"code": code, "message": message}}


async def test_steps_of_a_task_that_does_not_exist_are_not_found(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/tasks/0194c8a2-0000-7000-8000-000000000000/workflow_steps")
    assert answer.status_code == 404
    answer = await http.get("/v1/tasks/abc/workflow_steps")
    assert answer.json() == {"error": {"code": "BAD_REQUEST", "message": "Invalid task UUID format"}}


async def test_a_reset_gives_a_failed_step_all_its_attempts_and_the_task_goes_on(
    http: httpx.AsyncClient, engine: Engine
) -> None:
    task, paths = await blocked(engine)
    answer = await http.patch(paths[1], json=RESET)
    assert answer.status_code == 200
    assert (answer.json()["current_state"], answer.json()["attempts"]) == ("enqueued", 0)
    async with working(engine, {**HANDLERS, "broken": work}):
        assert await engine.wait(task, 10) == "complete"


async def test_a_completion_by_hand_is_a_result_like_any_other(
    http: httpx.AsyncClient, engine: Engine, database_url: str
) -> None:
    _, paths = await blocked(engine)
    answer = await http.patch(paths[1], json=COMPLETE)
    assert answer.status_code == 200
    step = answer.json()
    assert step["current_state"] == "complete"
    assert step["results"] == {
        "step_uuid": step["step_uuid"],
        "success": True,
        "status": "completed",
        "result": {"label": "LBL-90210"},
        "metadata": {
            "execution_time_ms": 0,
            "custom": {
                "ticket": "OPS-318",
                "manually_completed": True,
                "completed_by": "ann",
                "completion_reason": "bought by phone",
            },
        },
        "error": None,
        "orchestration_metadata": None,
    }
    await check_invariants(database_url)


@pytest.mark.parametrize("result", [{}, [1, 2], "text", 0, False])
async def test_any_result_but_null_may_be_given_and_is_seen_by_the_next_step(
    http: httpx.AsyncClient, engine: Engine, result: Any
) -> None:
    seen = []

    @step_handler("work")
    async def look(context: StepContext) -> dict[str, int]:
        seen.append(context.get_dependency_result("s0"))
        return {}

    task, paths = await waiting(engine)
    body = {**COMPLETE, "completion_data": {"result": result, "metadata": "by phone"}}
    step = (await http.patch(paths[0], json=body)).json()
    assert step["results"]["result"] == result
    assert step["results"]["metadata"]["custom"]["operator_metadata"] == "by phone"
    async with working(engine, {"work": look}):
        assert await engine.wait(task, 10) == "complete"
    assert seen == [result]


async def test_a_resolved_step_has_no_result_and_frees_the_next(http: httpx.AsyncClient, engine: Engine) -> None:
    task, paths = await waiting(engine)
    step = (await http.patch(paths[0], json=RESOLVE)).json()
    assert (step["current_state"], step["results"]) == ("resolved_manually", None)
    assert await states(engine, task) == {"s0": "resolved_manually", "s1": "enqueued"}


async def test_only_a_failed_step_is_reset(http: httpx.AsyncClient, engine: Engine) -> None:
    _, paths = await blocked(engine)
    for path, state in ((paths[0], "complete"), (paths[2], "pending")):
        answer = await http.patch(path, json=RESET)
        assert answer.status_code == 400
        assert answer.json()["error"] == {
            "code": "BAD_REQUEST",
            "message": f"Cannot manually resolve step: invalid transition from {state} to ResetForRetry",
        }


async def test_what_has_ended_is_not_ended_again(http: httpx.AsyncClient, engine: Engine) -> None:
    _, paths = await waiting(engine)
    for first in (RESOLVE, COMPLETE):
        path = paths.pop(0)
        assert (await http.patch(path, json=first)).status_code == 200
        for again in (RESOLVE, COMPLETE):
            answer = await http.patch(path, json=again)
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "CONFLICT")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"action_type": "forget"}, "action_type"),
        ({"action_type": None}, "action_type"),
        ({"reason": ""}, "reason"),
        ({"completed_by": 7}, "completed_by"),
        ({"completed_by": "ann", "resolved_by": "ann"}, "resolved_by"),
        ({"completion_data": {}}, "completion_data.result"),
        ({"completion_data": {"result": None}}, "completion_data.result"),
        ({"completion_data": []}, "completion_data"),
        ({"completion_data": {"result": 1, "meta": 1}}, "completion_data.meta"),
    ],
)
async def test_an_action_that_is_not_understood_does_nothing(
    http: httpx.AsyncClient, engine: Engine, change: dict[str, Any], field: str
) -> None:
    task, paths = await waiting(engine)
    answer = await http.patch(paths[0], json={**COMPLETE, **change})
    assert answer.status_code == 422
    assert [detail["field"] for detail in answer.json()["error"]["details"]] == [field]
    assert await states(engine, task) == {"s0": "enqueued", "s1": "pending"}


async def test_the_actor_is_whoever_has_the_credentials_and_only_without_any_whoever_the_body_says(
    http: httpx.AsyncClient, serve: Serve, engine: Engine
) -> None:
    _, paths = await waiting(engine)
    await http.patch(paths[0], json=RESOLVE)
    async with serve(authenticator=Known(Caller("boss", ALL_PERMISSIONS))) as client:
        await client.patch(paths[1], json=RESOLVE)
    actors = [(await http.get(f"{path}/audit")).json()[0]["actor"] for path in paths]
    assert actors == ["ann", "boss"]


@pytest.mark.parametrize("by", ["name", "uuid"])
@pytest.mark.parametrize(
    ("verb", "body", "state"),
    [("reset", {}, "enqueued"), ("resolve", {}, "resolved_manually"), ("complete", {"result": {"n": 2}}, "complete")],
)
async def test_a_verb_on_a_step_answers_what_changed(
    http: httpx.AsyncClient, engine: Engine, by: str, verb: str, body: dict[str, Any], state: str
) -> None:
    task, paths = await blocked(engine)
    step = "s1" if by == "name" else paths[1].rpartition("/")[2]
    path = f"/v1/tasks/{task}/workflow_steps/{step}/{verb}"
    answer = await http.post(path, json={"reason": "carrier is back", "actor": "ann", **body})
    change = answer.json()
    assert (answer.status_code, change["verb"], change["actor"]) == (200, verb, "ann")
    assert {"step": "s1", "from_state": "error", "to_state": state} in change["steps"]
    assert (await states(engine, task))["s1"] == state


async def test_a_verb_on_a_step_that_does_not_exist_is_not_found(http: httpx.AsyncClient, engine: Engine) -> None:
    task, _ = await blocked(engine)
    answer = await http.post(f"/v1/tasks/{task}/workflow_steps/nothing/reset", json={"reason": "x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")


async def test_steps_of_foreign_namespaces_are_out_of_reach(serve: Serve, engine: Engine) -> None:
    task, paths = await waiting(engine)
    async with serve(authenticator=Known(Caller("shop", ALL_PERMISSIONS, frozenset({"shop"})))) as client:
        answers = [
            await client.get(paths[0]),
            await client.get(f"{paths[0]}/audit"),
            await client.patch(paths[0], json=RESOLVE),
            await client.get(f"/v1/tasks/{task}/workflow_steps"),
        ]
    assert {answer.status_code for answer in answers} == {404}
    assert await states(engine, task) == {"s0": "enqueued", "s1": "pending"}


async def test_the_audit_has_every_attempt_and_everything_done_by_hand_newest_first(
    http: httpx.AsyncClient, engine: Engine
) -> None:
    task, paths = await blocked(engine)
    await http.patch(paths[1], json=RESET)
    await http.patch(paths[1], json=COMPLETE)
    completed, reset, failed = (await http.get(f"{paths[1]}/audit")).json()
    assert (completed["to_state"], completed["success"], completed["result"], completed["action"]) == (
        "complete",
        True,
        {"label": "LBL-90210"},
        "complete",
    )
    assert (completed["actor"], completed["reason"]) == ("ann", "bought by phone")
    assert (reset["from_state"], reset["to_state"], reset["success"], reset["action"]) == (
        "error",
        "enqueued",
        False,
        "reset",
    )
    assert not {"result", "worker_uuid", "execution_time_ms"} & reset.keys()
    assert (failed["from_state"], failed["to_state"], failed["success"], failed["attempt"]) == (
        "in_progress",
        "error",
        False,
        1,
    )
    assert failed["result"]["message"] == "no carrier"
    assert failed["execution_time_ms"] >= 0
    assert UUID(failed["worker_uuid"])
    assert not {"action", "actor", "reason"} & failed.keys()
    assert failed["workflow_step_uuid"] == paths[1].rpartition("/")[2]
    assert failed["correlation_id"] == str(task)
    again = (await http.get(f"{paths[1]}/audit")).json()
    assert again == [completed, reset, failed]
    assert len({row[key] for row in again for key in ("audit_uuid", "transition_uuid")}) == 6


async def test_the_result_stands_only_with_the_attempt_that_counts(http: httpx.AsyncClient, engine: Engine) -> None:
    async with working(engine, HANDLERS):
        task = await engine.create_task(chain(1), TaskRequest())
        await engine.wait(task, 10)
        await engine.rerun_task(task, "s0", actor="me", reason="again")
        await engine.wait(task, 10)
    (step,) = await engine.steps(task)
    audit = (await http.get(f"/v1/tasks/{task}/workflow_steps/{step['step_uuid']}/audit")).json()
    assert [(row["to_state"], row.get("result")) for row in audit] == [
        ("complete", {"n": 1}),
        ("enqueued", None),
        ("complete", None),
    ]
