"""Templates over HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest
from fastapi import Request

from tasker_core.access import ALL_PERMISSIONS, Caller, Permission
from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.template import load_text

YAML = """
name: order
namespace_name: shop
version: 1.0.0
description: sells something
steps:
  - name: pay
    handler: {callable: pay}
    retry: {max_attempts: 5}
    result_schema: {type: object}
  - name: ship
    type: standard
    description: by parcel
    handler: {callable: ship}
    dependencies: [pay]
    retry: {retryable: false}
    result_schema: {type: object}
"""
HEADERS = {"Content-Type": "application/yaml"}

Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


class Known:
    """Everybody is the one caller."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    async def authenticate(self, request: Request) -> Caller:
        return self.caller


@pytest.fixture
async def scoped(serve: Serve) -> AsyncIterator[httpx.AsyncClient]:
    """A client that may do everything, in the namespace ``shop``."""
    async with serve(authenticator=Known(Caller("ann", ALL_PERMISSIONS, frozenset({"shop"})))) as client:
        yield client


async def register(http: httpx.AsyncClient, text: str = YAML, **query: Any) -> httpx.Response:
    return await http.post("/v1/templates", content=text, headers=HEADERS, params=query)


async def test_a_template_that_is_registered_as_yaml_can_be_listed_and_looked_at(http: httpx.AsyncClient) -> None:
    answer = await register(http)
    assert answer.status_code == 200
    assert answer.json() == {
        "namespace": "shop",
        "name": "order",
        "version": "1.0.0",
        "outcome": "registered",
        "digest": load_text(YAML).digest,
        "handlers": [{"callable": name, "method": None, "resolver": None} for name in ("pay", "ship")],
        "warnings": [],
    }
    listed = (await http.get("/v1/templates")).json()
    assert listed["namespaces"] == [{"name": "shop", "description": None, "template_count": 1}]
    assert listed["total_count"] == 1
    (summary,) = listed["templates"]
    assert summary.pop("registered_at").endswith("Z")
    assert summary == {
        "name": "order",
        "namespace": "shop",
        "version": "1.0.0",
        "description": "sells something",
        "step_count": 2,
        "registered_by": "anonymous",
    }
    detail = (await http.get("/v1/templates/shop/order/1.0.0")).json()
    assert detail == {
        "name": "order",
        "namespace": "shop",
        "version": "1.0.0",
        "description": "sells something",
        "configuration": None,
        "steps": [
            {
                "name": "pay",
                "description": None,
                "type": "standard",
                "handler_callable": "pay",
                "dependencies": [],
                "default_retryable": True,
                "default_max_attempts": 5,
                "result_schema": {"type": "object"},
            },
            {
                "name": "ship",
                "description": "by parcel",
                "type": "standard",
                "handler_callable": "ship",
                "dependencies": ["pay"],
                "default_retryable": False,
                "default_max_attempts": 3,
                "result_schema": {"type": "object"},
            },
        ],
    }


@pytest.mark.parametrize("as_text", [True, False])
async def test_json_registers_the_same_content_as_yaml(http: httpx.AsyncClient, as_text: bool) -> None:
    template = load_text(YAML)
    body = {"template": YAML if as_text else template.to_dict()}
    assert (await http.post("/v1/templates", json=body)).json()["digest"] == template.digest
    assert (await register(http)).json()["outcome"] == "unchanged"


async def test_latest_is_the_newest_version_and_full_adds_the_definition(http: httpx.AsyncClient) -> None:
    for version in ("1.10.0", "1.9.0"):
        await register(http, YAML.replace("1.0.0", version))
    detail = (await http.get("/v1/templates/shop/order/latest", params={"full": True})).json()
    assert detail["version"] == "1.10.0"
    assert detail["template"] == load_text(YAML.replace("1.0.0", "1.10.0")).to_dict()


async def test_the_namespace_filters_the_templates_and_nothing_else(http: httpx.AsyncClient) -> None:
    await register(http)
    await register(http, YAML.replace("shop", "bank"))
    listed = (await http.get("/v1/templates", params={"namespace": "bank"})).json()
    assert [template["namespace"] for template in listed["templates"]] == ["bank"]
    assert [namespace["name"] for namespace in listed["namespaces"]] == ["bank", "shop"]
    assert listed["total_count"] == 2
    for unknown in ("none", "\0"):
        assert (await http.get("/v1/templates", params={"namespace": unknown})).json()["templates"] == []


@pytest.mark.parametrize("path", ["shop/order/1.0.1", "shop/orders/latest", "bank/order/1.0.0", "shop/%00/latest"])
async def test_a_template_that_does_not_exist_is_not_found_by_its_name(http: httpx.AsyncClient, path: str) -> None:
    await register(http)
    name = path.replace("%00", "\N{REPLACEMENT CHARACTER}")
    for answer in (await http.get(f"/v1/templates/{path}"), await http.delete(f"/v1/templates/{path}")):
        assert answer.status_code == 404
        assert answer.json() == {"error": {"code": "NOT_FOUND", "message": f"Template not found: {name}"}}


async def test_other_content_of_a_version_is_a_conflict_unless_it_is_forced(http: httpx.AsyncClient) -> None:
    changed = YAML.replace("callable: pay", "callable: charge")
    await register(http)
    answer = await register(http, changed)
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "CONFLICT"
    assert "change its version" in answer.json()["error"]["message"]
    assert (await register(http, changed, force=True)).json()["outcome"] == "replaced"
    answer = await http.post("/v1/templates", json={"template": YAML, "force": True})
    assert answer.json()["outcome"] == "replaced"


async def test_an_invalid_template_is_refused_with_every_finding_and_its_line(http: httpx.AsyncClient) -> None:
    broken = YAML.replace("1.0.0", "one").replace("[pay]", "[pai]")
    answer = await register(http, broken)
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert (error["code"], error["message"]) == ("VALIDATION_ERROR", "The template has 2 errors")
    assert [detail["field"] for detail in error["details"]] == ["version", "steps[1].dependencies[0]"]
    assert error["details"][0]["message"].startswith("line 4: Version must be")
    assert error["details"][1]["message"].startswith("line 15: Step 'ship' depends on non-existent step 'pai'")
    assert (await http.get("/v1/templates")).json()["total_count"] == 0


async def test_validation_stores_nothing_and_says_which_handlers_are_needed(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/templates/validate", content=YAML, headers=HEADERS)
    assert answer.status_code == 200
    assert answer.json() == {
        "valid": True,
        "errors": [],
        "warnings": [],
        "required_capabilities": [],
        "step_handlers": ["pay", "ship"],
    }
    assert (await http.get("/v1/templates")).json()["total_count"] == 0


async def test_validation_of_an_invalid_template_succeeds_and_says_so(http: httpx.AsyncClient) -> None:
    text = YAML.replace("[pay]", "[pai]").replace("description: sells", "descripton: sells")
    answer = await http.post("/v1/templates/validate", json={"template": text})
    assert answer.status_code == 200
    verdict = answer.json()
    assert verdict["valid"] is False
    assert verdict["errors"] == ["line 15: Step 'ship' depends on non-existent step 'pai' (did you mean 'pay'?)"]
    assert any(warning.startswith("line 5: Unknown key 'descripton'") for warning in verdict["warnings"])


async def test_findings_about_json_name_their_place(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/templates/validate", json={"template": {"name": "x", "steps": [{"name": "a"}]}})
    assert "steps[0].handler: Required key 'handler' is missing" in answer.json()["errors"]


async def test_a_deleted_template_is_gone_and_its_tasks_stay(http: httpx.AsyncClient, engine: Engine) -> None:
    await register(http)
    task = await engine.create_task(await engine.templates.find("shop", "order"), TaskRequest())
    assert (await http.delete("/v1/templates/shop/order/1.0.0")).status_code == 200
    assert (await http.get("/v1/templates/shop/order/1.0.0")).status_code == 404
    assert (await engine.task(task))["status"] == "pending"


HEAD = "name: t\nnamespace_name: ns\nversion: 1.0.0\n"
HOSTILE = {
    "nothing": "",
    "aliases": "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)),
    "an endless alias": "a: &a [*a]",
    "depth": HEAD + "steps: " + "[" * 400_000,
    "a list": HEAD + "steps: [" + "1," * 100_000 + "1]",
    "keys that are no text": HEAD + "steps: []\n? [1, 2]\n: 3",
    "a tag": HEAD + "steps: !!python/object/apply:os.system ['true']",
    "a number": HEAD + "steps: []\nlifecycle: {max_duration_minutes: " + "9" * 400_000 + "}",
    "two documents": YAML + "---\n" + YAML,
    "a NUL": HEAD.replace("ns", '"n\\0s"'),
    "no template": "just text",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
async def test_hostile_yaml_is_refused_with_a_reason_in_bounded_time(http: httpx.AsyncClient, text: str) -> None:
    started = time.monotonic()
    answer = await register(http, text)
    assert answer.status_code == 422
    assert 1 <= len(answer.json()["error"]["details"]) <= 200
    assert len(answer.content) < 100_000
    assert time.monotonic() - started < 15


async def test_the_server_answers_others_while_it_reads_a_large_template(http: httpx.AsyncClient) -> None:
    large = asyncio.create_task(register(http, HEAD + "steps: [" + "1," * 100_000 + "1]"))
    answered = 0
    while not large.done():
        assert (await http.get("/v1/templates")).status_code == 200
        answered += 1
    assert (await large).status_code == 422
    assert answered >= 5


@pytest.mark.parametrize(
    ("content", "kind", "status", "code"),
    [
        (b"x" * (512 * 1024 + 1), "application/yaml", 413, "PAYLOAD_TOO_LARGE"),
        (b"\xff\xfe\x00", "text/yaml", 400, "BAD_REQUEST"),
        (b"{", "application/json", 400, "JSON_ERROR"),
        (b'{"template": ' + b"[" * 100_000, "application/json", 400, "JSON_ERROR"),
        (b"{}", "application/json", 422, "VALIDATION_ERROR"),
        (b"", "application/json", 422, "VALIDATION_ERROR"),
        (b'{"template": 7}', "application/json", 422, "VALIDATION_ERROR"),
        (b'{"template": {"name": "a\\u0000"}}', "application/json", 422, "VALIDATION_ERROR"),
        (b'{"template": {}, "force": "yes"}', "application/json", 422, "VALIDATION_ERROR"),
        (b'{"template": {}}', "application/json", 422, "VALIDATION_ERROR"),
        (b"name: x", "text/plain", 415, "UNSUPPORTED_MEDIA_TYPE"),
    ],
)
async def test_a_body_of_the_wrong_kind_is_refused_in_the_envelope(
    http: httpx.AsyncClient, content: bytes, kind: str, status: int, code: str
) -> None:
    answer = await http.post("/v1/templates", content=content, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def test_whoever_is_limited_to_a_namespace_sees_no_other(scoped: httpx.AsyncClient, engine: Engine) -> None:
    await engine.templates.register(load_text(YAML))
    await engine.templates.register(load_text(YAML.replace("shop", "bank")))
    listed = (await scoped.get("/v1/templates")).json()
    assert [template["namespace"] for template in listed["templates"]] == ["shop"]
    assert [namespace["name"] for namespace in listed["namespaces"]] == ["shop"]
    assert listed["total_count"] == 1
    assert (await scoped.get("/v1/templates", params={"namespace": "bank"})).json()["templates"] == []
    foreign = await scoped.get("/v1/templates/bank/order/1.0.0")
    missing = await scoped.get("/v1/templates/shop/order/1.0.1")
    assert (foreign.status_code, missing.status_code) == (404, 404)
    assert foreign.json()["error"]["message"] == "Template not found: bank/order/1.0.0"


async def test_whoever_is_limited_to_a_namespace_registers_and_deletes_only_there(
    scoped: httpx.AsyncClient, engine: Engine
) -> None:
    await engine.templates.register(load_text(YAML.replace("shop", "bank")))
    for answer in (
        await register(scoped, YAML.replace("shop", "bank"), force=True),
        await scoped.delete("/v1/templates/bank/order/1.0.0"),
        await scoped.delete("/v1/templates/bank/nothing/1.0.0"),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "AUTHORIZATION_FAILED")
    assert await engine.templates.counts() == {"bank": 1}
    assert (await register(scoped)).status_code == 200
    (summary,) = await engine.templates.list(["shop"])
    assert summary["registered_by"] == "ann"
    assert (await scoped.delete("/v1/templates/shop/order/1.0.0")).status_code == 200


async def test_each_route_needs_its_permission(serve: Serve) -> None:
    reader = Known(Caller("ann", frozenset({Permission.TEMPLATES_READ})))
    async with serve(authenticator=reader) as client:
        assert (await client.get("/v1/templates")).status_code == 200
        for method, path, permission in (
            ("POST", "/v1/templates", "templates:register"),
            ("DELETE", "/v1/templates/a/b/1.0.0", "templates:register"),
            ("POST", "/v1/templates/validate", "templates:validate"),
        ):
            answer = await client.request(method, path, content="nonsense")
            assert answer.status_code == 403
            assert answer.json()["error"]["message"] == f"Missing required permission: {permission}"
