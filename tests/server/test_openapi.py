"""The OpenAPI document says everything that a generated client needs, and is what is enforced."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import uuid4

import httpx
import jsonschema
import pytest
import schemathesis
from fastapi.routing import iter_route_contexts

from tasker_core.access import Permission
from tasker_core.orchestration import Engine
from tasker_core.server.app import ServerOptions, create_app
from tasker_core.server.auth_options import ApiKeyOptions, AuthOptions
from tasker_core.server.authentication import authenticator_for

Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

# Neither needs a database.
APP = create_app(Engine("postgresql://localhost/nowhere"), options=ServerOptions(config_endpoint_enabled=True))
DOCUMENT = APP.openapi()
OPERATIONS: dict[str, dict[str, Any]] = {
    f"{method.upper()} {path}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}
GUARDED = [name for name, operation in OPERATIONS.items() if "security" in operation]

#: The reference system's routes, each with what a caller has to be allowed.
REFERENCE = {
    "POST /v1/tasks": "tasks:create",
    "GET /v1/tasks": "tasks:list",
    "GET /v1/tasks/{uuid}": "tasks:read",
    "DELETE /v1/tasks/{uuid}": "tasks:cancel",
    "GET /v1/tasks/{uuid}/summary": "tasks:read",
    "GET /v1/tasks/{uuid}/workflow_steps": "steps:read",
    "GET /v1/tasks/{uuid}/workflow_steps/{step_uuid}": "steps:read",
    "PATCH /v1/tasks/{uuid}/workflow_steps/{step_uuid}": "steps:resolve",
    "GET /v1/tasks/{uuid}/workflow_steps/{step_uuid}/audit": "steps:read",
    "GET /v1/templates": "templates:read",
    "GET /v1/templates/{namespace}/{name}/{version}": "templates:read",
    "GET /v1/analytics/performance": "system:analytics_read",
    "GET /v1/analytics/bottlenecks": "system:analytics_read",
    "GET /v1/dlq": "dlq:read",
    "GET /v1/dlq/task/{task_uuid}": "dlq:read",
    "PATCH /v1/dlq/entry/{dlq_entry_uuid}": "dlq:update",
    "GET /v1/dlq/stats": "dlq:stats",
    "GET /v1/dlq/investigation-queue": "dlq:read",
    "GET /v1/dlq/staleness": "dlq:read",
    "GET /health": None,
    "GET /health/ready": None,
    "GET /health/live": None,
    "GET /health/detailed": None,
    "GET /metrics": None,
    "GET /config": "system:config_read",
}


@pytest.mark.parametrize(("name", "permission"), REFERENCE.items())
def test_every_route_of_the_reference_system_is_there_with_its_permission(name: str, permission: str | None) -> None:
    assert OPERATIONS[name].get("x-required-permission") == permission


@pytest.mark.parametrize("path", ["/api-docs/openapi.json", "/api-docs/ui"])
async def test_the_document_and_the_page_that_shows_it_are_public(serve: Serve, engine: Engine, path: str) -> None:
    async with serve(authenticator=authenticator_for(AuthOptions(enabled=True), engine)) as client:
        assert (await client.get(path)).status_code == 200


def test_every_route_is_in_the_document_but_for_the_document_itself() -> None:
    routes = {
        f"{method} {context.path}" for context in iter_route_contexts(APP.routes) for method in context.methods or ()
    }
    hidden = {name for name in routes if name.split(" ")[1].startswith("/api-docs/")}
    assert routes - hidden == OPERATIONS.keys()


def test_the_document_is_valid_and_so_is_every_schema_in_it() -> None:
    schemathesis.openapi.from_dict(DOCUMENT).validate()
    schemas = list(schemas_in(DOCUMENT))
    assert len(schemas) > 200
    for schema in schemas:
        jsonschema.Draft202012Validator.check_schema(schema)


def schemas_in(value: Any) -> Iterator[Any]:
    """Find the schemas of bodies, parameters and components."""
    if isinstance(value, dict):
        yield from value.get("schemas", {}).values()
        for key, item in value.items():
            if key == "schema":
                yield item
            else:
                yield from schemas_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from schemas_in(item)


def test_no_schema_bears_the_name_of_a_python_module() -> None:
    assert [name for name in DOCUMENT["components"]["schemas"] if "__" in name] == []


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_described(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["summary"]
    assert operation["description"]
    assert len(operation["tags"]) == 1
    assert not operation["summary"].endswith(".")


def test_ids_of_operations_are_the_names_of_their_functions_and_each_is_there_once() -> None:
    ids = Counter(operation["operationId"] for operation in OPERATIONS.values())
    assert ids.most_common(1)[0][1] == 1
    assert [each for each in ids if not re.fullmatch("[a-z]+(_[a-z]+)*", each)] == []


@pytest.mark.parametrize("name", [name for name, operation in OPERATIONS.items() if "requestBody" in operation])
def test_errors_of_a_body_are_documented(name: str) -> None:
    assert {"400", "413", "422"} <= OPERATIONS[name]["responses"].keys()


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_error_is_the_same_envelope(name: str) -> None:
    for status, answer in OPERATIONS[name]["responses"].items():
        if status >= "400" and (name, status) != ("GET /health/ready", "503"):
            assert answer["content"] == {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}}
            assert answer["description"]


def test_a_server_that_is_not_ready_answers_the_envelope_and_more() -> None:
    assert "error" in DOCUMENT["components"]["schemas"]["NotReadyResponse"]["required"]


@pytest.mark.parametrize(
    "name",
    [
        "POST /v1/tasks",
        "POST /v1/tasks/bulk",
        "POST /v1/tasks/{uuid}/cancel",
        "POST /v1/tasks/{uuid}/rerun",
        "PATCH /v1/tasks/{uuid}/workflow_steps/{step_uuid}",
        "POST /v1/tasks/{uuid}/workflow_steps/{step}/complete",
        "POST /v1/templates",
        "PATCH /v1/dlq/entry/{dlq_entry_uuid}",
        "POST /v1/dlq/entry/{dlq_entry_uuid}/resolve",
        "POST /v1/auth/keys",
    ],
)
def test_bodies_have_examples_that_fit_them(name: str) -> None:
    schema = resolved(OPERATIONS[name]["requestBody"]["content"]["application/json"]["schema"])
    variants = schema.get("oneOf", [schema])
    examples = [(variant, example) for variant in variants for example in variant["examples"]]
    assert len(examples) >= len(variants)
    for variant, example in examples:
        jsonschema.validate(example, variant)


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    found: dict[str, Any] = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


@pytest.mark.parametrize("name", GUARDED)
def test_a_guarded_operation_names_its_permission_and_both_ways_to_show_who_one_is(name: str) -> None:
    operation = OPERATIONS[name]
    if name != "GET /v1/auth/me":
        assert operation["x-required-permission"] in set(Permission)
    assert operation["security"] == [{"bearer_auth": []}, {"api_key_auth": []}]
    assert {"401", "403"} <= operation["responses"].keys()


async def test_what_is_documented_as_guarded_is_guarded_and_nothing_else_is(serve: Serve, engine: Engine) -> None:
    key = "the-key-of-somebody-who-may-do-nothing-here"
    options = AuthOptions(enabled=True, api_keys=[ApiKeyOptions(key=key, permissions=["worker:config_read"])])
    async with serve(
        authenticator=authenticator_for(options, engine), options=ServerOptions(config_endpoint_enabled=True)
    ) as client:
        for name, operation in OPERATIONS.items():
            method, path = name.split(" ")
            url = re.sub(r"\{\w+\}", str(uuid4()), path)
            statuses = [
                (await client.request(method, url, headers=headers, content=b"no JSON")).status_code
                for headers in ({}, {"X-API-Key": "wrong"}, {"Authorization": "Bearer wrong"}, {"X-API-Key": key})
            ]
            if name not in GUARDED:
                assert statuses == [200] * 4, name
            else:
                allowed = 403 if "x-required-permission" in operation else 200
                assert statuses == [401, 401, 401, allowed], name


def test_the_header_that_keys_are_expected_in_is_documented() -> None:
    engine = Engine("postgresql://localhost/nowhere")
    options = AuthOptions(enabled=True, api_key_header="X-Shop-Key")
    document = create_app(engine, authenticator=authenticator_for(options, engine)).openapi()
    assert document["components"]["securitySchemes"]["api_key_auth"]["name"] == "X-Shop-Key"
    assert DOCUMENT["components"]["securitySchemes"]["api_key_auth"]["name"] == "X-API-Key"
