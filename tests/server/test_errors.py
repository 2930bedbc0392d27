"""Errors at the edges: strange characters, other methods, slashes, nothing at all."""

from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.integration.support import chain

from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.server.errors import ApiError
from tasker_core.template import IdentityStrategy


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
def test_what_no_answer_may_hold_is_replaced_in_messages_and_details(text: str) -> None:
    error = ApiError(400, "BAD_REQUEST", text, details=[{"field": text, "message": text}])
    assert error.described() == {
        "code": "BAD_REQUEST",
        "message": "a\N{REPLACEMENT CHARACTER}b",
        "details": [{"field": "a\N{REPLACEMENT CHARACTER}b", "message": "a\N{REPLACEMENT CHARACTER}b"}],
    }
    assert error.response().status_code == 400


async def test_a_nul_character_in_a_path_or_a_query_is_no_failure_of_the_server(http: httpx.AsyncClient) -> None:
    for method, path in (
        ("GET", "/v1/tasks/%00"),
        ("GET", "/v1/tasks?status=%00"),
        ("GET", "/v1/templates/%00/%00/%00"),
        ("DELETE", "/v1/templates/%00/a/b"),
        ("GET", "/v1/dlq?dlq_reason=%00"),
        ("GET", "/v1/dlq/task/%00"),
        ("GET", "/v1/analytics/performance?hours=%00"),
        ("GET", f"/v1/tasks/{uuid4()}/why?step=%00"),
        ("POST", f"/v1/tasks/{uuid4()}/workflow_steps/%00/reset"),
        ("POST", "/v1/worker/%00/lease"),
        ("DELETE", "/v1/auth/keys/%00"),
    ):
        answer = await http.request(method, path)
        assert answer.status_code in {400, 404, 422}, path
        assert answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/why?step=%00", "/workflow_steps/%00"])
async def test_nor_is_one_in_the_name_of_a_step_of_a_task_that_exists(
    http: httpx.AsyncClient, engine: Engine, path: str
) -> None:
    task = await engine.create_task(chain(1), TaskRequest())
    assert (await http.get(f"/v1/tasks/{task}{path}")).status_code in {400, 404}
    answer = await http.post(f"/v1/tasks/{task}/workflow_steps/%00/reset", json={"reason": "a test"})
    assert answer.status_code in {400, 404}


async def test_a_strange_character_in_one_task_of_many_fails_that_task_only(
    http: httpx.AsyncClient, engine: Engine
) -> None:
    await engine.templates.register(chain(1))
    good = {"name": "graph", "namespace": "test", "context": {}, "initiator": "a", "source_system": "b", "reason": "c"}
    answer = await http.post("/v1/tasks/bulk", json={"tasks": [good, {**good, "reason": "\0"}, {**good, "\0": 1}]})
    assert [each["status"] for each in answer.json()["results"]] == ["created", "failed", "failed"]


async def test_a_method_that_a_path_lacks_is_answered_with_all_that_it_has(http: httpx.AsyncClient) -> None:
    for path, allowed in {
        "/v1/tasks": {"GET", "POST"},
        "/v1/tasks/bulk": {"POST"},
        f"/v1/tasks/{uuid4()}": {"GET", "DELETE"},
        f"/v1/tasks/{uuid4()}/workflow_steps/{uuid4()}": {"GET", "PATCH"},
        f"/v1/dlq/entry/{uuid4()}": {"GET", "PATCH"},
        "/v1/templates": {"GET", "POST"},
        "/v1/templates/a/b/c": {"GET", "DELETE"},
        "/v1/auth/keys": {"GET", "POST"},
        "/health": {"GET"},
        "/api-docs/ui": {"GET"},
    }.items():
        for method in ("PUT", "OPTIONS", "HEAD", "TRACE"):
            answer = await http.request(method, path)
            assert answer.status_code == 405
            assert set(answer.headers["allow"].split(", ")) == allowed, (method, path)
        assert answer.json() == {"error": {"code": "METHOD_NOT_ALLOWED", "message": "This method is not allowed here"}}


async def test_there_is_nothing_at_a_path_with_a_slash_at_its_end(http: httpx.AsyncClient) -> None:
    for path in ("/v1/tasks/", f"/v1/tasks/{uuid4()}/", "/v1/dlq/", "/health/", "/api-docs/ui/"):
        answer = await http.get(path)
        assert answer.status_code == 404, path
        assert answer.json()["error"]["code"] == "NOT_FOUND"
        assert "location" not in answer.headers


async def test_a_time_long_ago_has_four_digits_for_its_year(http: httpx.AsyncClient, engine: Engine) -> None:
    await engine.templates.register(chain(1))
    body = {"name": "graph", "namespace": "test", "initiator": "a", "source_system": "b", "reason": "c", "context": {}}
    answer = await http.post("/v1/tasks", json={**body, "requested_at": "0942-06-11T16:49:48Z"})
    assert answer.json()["requested_at"] == "0942-06-11T16:49:48.000000Z"
    assert (await http.get(f"/v1/tasks/{answer.json()['task_uuid']}")).json()["requested_at"].startswith("0942-")


@pytest.mark.parametrize(
    ("context", "complaint"),
    [
        ({"k" * 10_001: 1}, "A key of 10001 characters"),
        ({"a": {"k" * 10_001: 1}}, "A key of 10001 characters"),
        ({"a": "x" * 10_001}, "A string of 10001 characters"),
        ({"a": list(range(1001))}, "1001 entries"),
        ({"a": [[[[[[[[[[1]]]]]]]]]]}, "More than 10 levels"),
        ({str(n): "x" * 9_000 for n in range(130)}, "more than 1048576"),
        ({}, "'n' is a required property"),
    ],
)
async def test_a_context_that_is_not_accepted_is_answered_with_what_is_wrong_with_it(
    http: httpx.AsyncClient, engine: Engine, context: dict[str, Any], complaint: str
) -> None:
    template = chain(1, input_schema={"required": ["n"]}, identity_strategy=IdentityStrategy.STRICT)
    await engine.templates.register(template)
    body = {"name": "graph", "namespace": "test", "initiator": "a", "source_system": "b", "reason": "c"}
    answer = await http.post("/v1/tasks", json={**body, "context": context})
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert (error["code"], error["message"]) == ("VALIDATION_ERROR", "The context is not accepted")
    assert complaint in error["details"][0]["message"]
    assert error["details"][0]["field"].startswith("context")


async def test_a_step_is_not_completed_without_a_result(engine: Engine) -> None:
    task = await engine.create_task(chain(1), TaskRequest())
    with pytest.raises(ValueError, match="resolve it"):
        await engine.complete_step(task, "s0", None, actor="ann", reason="a test")  # type: ignore[arg-type]
    assert (await engine.steps(task))[0]["current_state"] == "enqueued"


async def test_a_body_that_is_not_needed_may_be_left_out(http: httpx.AsyncClient, engine: Engine) -> None:
    task = await engine.create_task(chain(1), TaskRequest())
    for headers in ({}, {"Content-Type": "application/json"}):
        for verb in ("pause", "resume"):
            answer = await http.post(f"/v1/tasks/{task}/{verb}", headers=headers)
            assert (answer.status_code, answer.json()["changed"]) == (200, True)
