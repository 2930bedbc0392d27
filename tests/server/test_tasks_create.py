"""Tasks are created over HTTP, one or many at a time, and what is wrong with a request is said in full."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest
from fastapi import Request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.support import chain, fetch, graph

from tasker_core.access import ALL_PERMISSIONS, Caller
from tasker_core.orchestration import Engine
from tasker_core.template import IdentityStrategy

Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

DEEP: dict[str, Any] = {}
_inner = DEEP
for _ in range(10):
    _inner["k"] = {}
    _inner = _inner["k"]


class Known:
    """Everybody is the one caller."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    async def authenticate(self, request: Request) -> Caller:
        return self.caller


def wanted(**fields: Any) -> dict[str, Any]:
    """A request for a task; fields that are ... are left out."""
    request = {
        "name": "graph",
        "namespace": "test",
        "version": "1.0.0",
        "context": {"parcel": "PX-4471"},
        "initiator": "ui",
        "source_system": "wms",
        "reason": "packed",
        **fields,
    }
    return {key: value for key, value in request.items() if value is not ...}


@pytest.fixture(autouse=True)
async def template(engine: Engine) -> None:
    """Two steps, one after the other."""
    await engine.templates.register(chain(2), actor="test")


async def create(http: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    return await http.post("/v1/tasks", content=json.dumps(wanted(**fields)), headers=JSON)


JSON = {"Content-Type": "application/json"}


async def test_a_new_task_is_answered_exactly_as_it_is_read_afterwards(http: httpx.AsyncClient) -> None:
    fields = {
        "tags": ["dock-7", "express"],
        "priority": 5,
        "correlation_id": "7d1b1f0e-52a4-4b7e-9c35-0f9f5d3b8a10",
        "parent_correlation_id": "7d1b1f0e-52a4-4b7e-9c35-0f9f5d3b8a11",
        "idempotency_key": "parcel-PX-4471",
        "requested_at": "2090-02-03T09:15:30",
        "options": {"anything": True},
    }
    answer = await create(http, **fields)
    assert answer.status_code == 200
    task = answer.json()
    assert {key: task[key] for key in ("status", "priority", "tags", "correlation_id", "requested_at", "context")} == {
        "status": "pending",
        "priority": 5,
        "tags": ["dock-7", "express"],
        "correlation_id": "7d1b1f0e-52a4-4b7e-9c35-0f9f5d3b8a10",
        "requested_at": "2090-02-03T09:15:30.000000Z",
        "context": {"parcel": "PX-4471"},
    }
    assert [(step["name"], step["current_state"], step["total_parents"]) for step in task["steps"]] == [
        ("s0", "enqueued", 0),
        ("s1", "pending", 1),
    ]
    assert (await http.get(f"/v1/tasks/{task['task_uuid']}")).json() == task


async def test_a_step_has_the_same_named_step_uuid_in_every_task(http: httpx.AsyncClient) -> None:
    tasks = [(await create(http)).json() for _ in range(2)]
    first, second = ([step["named_step_uuid"] for step in task["steps"]] for task in tasks)
    assert first == second
    assert len(set(first)) == 2


async def test_a_task_does_not_start_before_it_was_asked_to(http: httpx.AsyncClient, database_url: str) -> None:
    await create(http, requested_at="2090-02-03T09:15:30+02:00")
    (queued,) = await fetch(database_url, "SELECT status::text, wake_at::text FROM tasker.step_queue")
    assert queued["status"] == "delayed"
    assert queued["wake_at"].startswith("2090-02-03 07:15:30")


@pytest.mark.parametrize("version", [..., None, "latest"])
async def test_without_a_version_the_newest_is_taken(http: httpx.AsyncClient, engine: Engine, version: Any) -> None:
    await engine.templates.register(chain(3, version="1.10.0"), actor="test")
    await engine.templates.register(chain(4, version="1.9.0"), actor="test")
    assert (await create(http, version=version)).json()["version"] == "1.10.0"


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("name", "Task name cannot be empty"),
        ("namespace", "Namespace cannot be empty"),
        ("version", "Version cannot be empty"),
    ],
)
async def test_an_empty_name_is_a_bad_request(http: httpx.AsyncClient, field: str, message: str) -> None:
    answer = await create(http, **{field: ""})
    assert answer.status_code == 400
    assert answer.json() == {"error": {"code": "BAD_REQUEST", "message": message}}


async def test_a_template_that_nobody_registered_is_not_found(http: httpx.AsyncClient) -> None:
    answer = await create(http, name="ship_parcell")
    assert answer.status_code == 404
    assert answer.json()["error"] == {
        "code": "NOT_FOUND",
        "message": "Task template not found: Failed to load task template for task: ship_parcell, "
        "namespace: test, version: 1.0.0, error: not registered",
    }


@pytest.mark.parametrize("field", ["name", "namespace", "context", "initiator", "source_system", "reason"])
async def test_a_field_that_is_missing_is_named(http: httpx.AsyncClient, field: str) -> None:
    answer = await create(http, **{field: ...})
    assert answer.status_code == 422
    assert answer.json()["error"] == {
        "code": "VALIDATION_ERROR",
        "message": "Request body failed validation",
        "details": [{"field": field, "message": "Field required"}],
    }


@pytest.mark.parametrize(
    ("field", "value", "place"),
    [
        ("name", "x" * 256, "name"),
        ("namespace", "x" * 256, "namespace"),
        ("version", "x" * 51, "version"),
        ("initiator", "", "initiator"),
        ("source_system", "x" * 256, "source_system"),
        ("reason", "x" * 501, "reason"),
        ("reason", None, "reason"),
        ("priority", 101, "priority"),
        ("priority", True, "priority"),
        ("tags", ["a", ""], "tags.1"),
        ("tags", [1], "tags.0"),
        ("tags", ["x"] * 1001, "tags"),
        ("tags", ["x" * 10_000] * 106, "tags"),
        ("tags", ["x" * 10_001], "tags.0"),
        ("requested_at", 5, "requested_at"),
        ("requested_at", "2030-02-30T00:00:00Z", "requested_at"),
        ("requested_at", "0001-01-01T00:00:00Z", "requested_at"),
        ("requested_at", "9999-12-31T23:59:59.999999Z", "requested_at"),
        ("options", [], "options"),
        ("correlation_id", "x", "correlation_id"),
        ("parent_correlation_id", 7, "parent_correlation_id"),
        ("idempotency_key", 7, "idempotency_key"),
        ("return_existing", "yes", "return_existing"),
        ("context", [], "context"),
        ("context", None, "context"),
        ("context", DEEP, "context" + "/k" * 10),
        ("context", {str(n): n for n in range(1001)}, "context"),
        ("context", {"a": list(range(1001))}, "context/a"),
        ("context", {"a": ["b", "x" * 10_001]}, "context/a/1"),
        ("context", {"a": {"x" * 10_001: 1}}, "context/a"),
        ("context", {str(n): "x" * 9_999 for n in range(106)}, "context"),
    ],
)
async def test_a_value_beyond_its_limits_is_refused_and_its_place_named(
    http: httpx.AsyncClient, field: str, value: Any, place: str
) -> None:
    answer = await create(http, **{field: value})
    assert answer.status_code == 422, answer.text
    assert [detail["field"] for detail in answer.json()["error"]["details"]] == [place]


async def test_a_field_that_is_misspelt_is_refused_with_a_hint(http: httpx.AsyncClient) -> None:
    answer = await create(http, idempotency_kee="7")
    assert answer.status_code == 422
    assert answer.json()["error"]["details"] == [
        {"field": "idempotency_kee", "message": "There is no such field; did you mean 'idempotency_key'?"}
    ]


@pytest.mark.parametrize(
    "fields",
    [{"name": "a\0"}, {"context": {"a": ["\0"]}}, {"context": {"\0": 1}}, {"tags": ["\0"]}, {"idempotency_key": "\0"}],
)
async def test_text_that_no_database_stores_is_refused(http: httpx.AsyncClient, fields: dict[str, Any]) -> None:
    answer = await create(http, **fields)
    assert answer.status_code == 422
    assert "NUL" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", JSON, 400, "JSON_ERROR"),
        (b"[" * 100_000, JSON, 400, "JSON_ERROR"),
        (b'{"name": "\xff"}', JSON, 400, "JSON_ERROR"),
        (b'{"context": {"n": NaN}}', JSON, 400, "JSON_ERROR"),
        (b'{"context": {"n": 1e999}}', JSON, 400, "JSON_ERROR"),
        (b'{"name": "\\ud800"}', JSON, 422, "VALIDATION_ERROR"),
        (b'{"name": "\\udc00 "}', JSON, 422, "VALIDATION_ERROR"),
        (b"[]", JSON, 422, "VALIDATION_ERROR"),
        (b"null", JSON, 422, "VALIDATION_ERROR"),
        (b"", JSON, 422, "VALIDATION_ERROR"),
        (b"{}", {}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        (b"name=graph", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        (b" " * (16 * 1024 * 1024 + 1), JSON, 413, "PAYLOAD_TOO_LARGE"),
    ],
    ids=lambda value: repr(value)[:30],
)
async def test_a_body_that_is_no_request_is_refused_in_the_envelope(
    http: httpx.AsyncClient, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    answer = await http.post("/v1/tasks", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def test_a_media_type_with_parameters_and_a_suffix_is_json(http: httpx.AsyncClient) -> None:
    for media_type in ("application/json; charset=utf-8", "application/vnd.tasker+json"):
        answer = await http.post("/v1/tasks", content=json.dumps(wanted()), headers={"Content-Type": media_type})
        assert answer.status_code == 200


_texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(context=st.dictionaries(_texts, _values, max_size=4))
async def test_a_context_is_kept_as_it_was_given(http: httpx.AsyncClient, context: dict[str, Any]) -> None:
    task = (await create(http, context=context)).json()
    assert task["context"] == context
    assert (await http.get(f"/v1/tasks/{task['task_uuid']}")).json()["context"] == context


async def test_a_request_that_was_made_before_is_a_conflict_unless_the_task_is_wanted(http: httpx.AsyncClient) -> None:
    first = (await create(http, idempotency_key="7")).json()
    again = await create(http, idempotency_key="7", context={"another": 1})
    assert again.status_code == 409
    assert again.json() == {"error": {"code": "CONFLICT", "message": "A task with this identity already exists"}}
    assert (await create(http, idempotency_key="7", return_existing=True)).json() == first


async def test_a_template_that_demands_a_key_gets_one(http: httpx.AsyncClient, engine: Engine) -> None:
    demanding = graph({"a": []}, name="demanding", identity_strategy=IdentityStrategy.CALLER_PROVIDED)
    await engine.templates.register(demanding, actor="test")
    answer = await create(http, name="demanding")
    assert answer.status_code == 400
    message = "idempotency_key is required when named task uses CallerProvided identity strategy"
    assert answer.json()["error"]["message"] == message


async def test_a_context_that_does_not_fit_the_schema_is_refused(http: httpx.AsyncClient, engine: Engine) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    await engine.templates.register(graph({"a": []}, name="typed", input_schema=schema), actor="test")
    answer = await create(http, name="typed", context={"n": "one"})
    assert answer.status_code == 422
    assert [detail["field"] for detail in answer.json()["error"]["details"]] == ["context/n"]


async def test_the_permission_is_checked_before_the_body(serve: Serve) -> None:
    nobody = Known(Caller("reader", frozenset()))
    async with serve(authenticator=nobody) as client:
        for path in ("/v1/tasks", "/v1/tasks/bulk"):
            answer = await client.post(path, content=b"{", headers=JSON)
            assert answer.status_code == 403
            assert answer.json()["error"]["message"] == "Missing required permission: tasks:create"


async def test_a_task_in_a_foreign_namespace_is_forbidden(serve: Serve, database_url: str) -> None:
    stranger = Known(Caller("shop", ALL_PERMISSIONS, frozenset({"shop"})))
    async with serve(authenticator=stranger) as client:
        answer = await client.post("/v1/tasks", json=wanted())
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "AUTHORIZATION_FAILED"
    assert not await fetch(database_url, "SELECT 1 FROM tasker.tasks")


# -- many at once


async def test_each_task_of_a_bulk_stands_for_itself(http: httpx.AsyncClient, engine: Engine) -> None:
    await engine.templates.register(chain(1, name="other"), actor="test")
    before = (await create(http, idempotency_key="before")).json()
    items = [
        wanted(context={"n": 0}),
        wanted(name="other"),
        wanted(name="nope"),
        wanted(reason=...),
        wanted(context={"a": "\0"}),
        wanted(context=DEEP),
        5,
        wanted(namespace=""),
        wanted(idempotency_key="before"),
        wanted(idempotency_key="twice"),
        wanted(idempotency_key="twice"),
        wanted(idempotency_key="twice", return_existing=True),
        wanted(context={"n": 1}),
    ]
    answer = await http.post("/v1/tasks/bulk", json={"tasks": items})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["created"], body["existing"], body["failed"]) == (4, 1, 8)
    assert [result["index"] for result in body["results"]] == list(range(13))
    outcomes = [result.get("error", {}).get("code") or result["status"] for result in body["results"]]
    assert outcomes == [
        "created",
        "created",
        "NOT_FOUND",
        "VALIDATION_ERROR",
        "VALIDATION_ERROR",
        "VALIDATION_ERROR",
        "VALIDATION_ERROR",
        "BAD_REQUEST",
        "CONFLICT",
        "created",
        "CONFLICT",
        "existing",
        "created",
    ]
    assert body["results"][3]["error"]["details"] == [{"field": "reason", "message": "Field required"}]
    assert body["results"][11]["task_uuid"] == body["results"][9]["task_uuid"]
    for index in (0, 12):
        task = (await http.get(f"/v1/tasks/{body['results'][index]['task_uuid']}")).json()
        assert task["context"] == items[index]["context"]
    again = await http.post("/v1/tasks/bulk", json={"tasks": [items[8]], "return_existing": True})
    assert again.json()["results"] == [{"index": 0, "status": "existing", "task_uuid": before["task_uuid"]}]


async def test_ten_thousand_tasks_are_created_by_one_request(http: httpx.AsyncClient, engine: Engine) -> None:
    answer = await http.post("/v1/tasks/bulk", json={"tasks": [wanted(context={"n": n}) for n in range(10_000)]})
    assert answer.json()["created"] == 10_000
    assert len({result["task_uuid"] for result in answer.json()["results"]}) == 10_000
    assert await engine.count_tasks() == 10_000


@pytest.mark.parametrize("tasks", [[], [1] * 10_001, {}, ...])
async def test_a_bulk_of_none_or_too_many_is_refused(http: httpx.AsyncClient, tasks: Any) -> None:
    answer = await http.post("/v1/tasks/bulk", json={} if tasks is ... else {"tasks": tasks})
    assert answer.status_code == 422
    assert [detail["field"] for detail in answer.json()["error"]["details"]] == ["tasks"]


async def test_in_a_bulk_tasks_of_foreign_namespaces_fail_alone(serve: Serve, engine: Engine) -> None:
    await engine.templates.register(chain(1, namespace_name="shop"), actor="test")
    shop = Known(Caller("shop", ALL_PERMISSIONS, frozenset({"shop"})))
    async with serve(authenticator=shop) as client:
        answer = await client.post("/v1/tasks/bulk", json={"tasks": [wanted(), wanted(namespace="shop")]})
    first, second = answer.json()["results"]
    assert first["error"]["code"] == "AUTHORIZATION_FAILED"
    assert second["status"] == "created"


async def test_bulks_of_the_same_requests_at_once_create_each_task_once(
    http: httpx.AsyncClient, engine: Engine
) -> None:
    items = [wanted(idempotency_key=str(n)) for n in range(300)]
    answers = await asyncio.gather(
        *(
            http.post("/v1/tasks/bulk", json={"tasks": part, "return_existing": True})
            for part in (items, items[::-1], items)
        )
    )
    assert sum(answer.json()["created"] for answer in answers) == 300
    assert sum(answer.json()["existing"] for answer in answers) == 600
    assert await engine.count_tasks() == 300
