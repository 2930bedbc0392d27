"""Every route lets in whoever has its permission, and nobody else, before it reads what they send."""

import re
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest

from tasker_core.access import Permission
from tasker_core.orchestration import Engine
from tasker_core.server.app import ServerOptions, create_app
from tasker_core.server.auth_options import ApiKeyOptions, AuthOptions
from tasker_core.server.authentication import authenticator_for

PUBLIC = re.compile(r"/(health(/\w+)?|metrics|api-docs/.*)")

OPTIONS = ServerOptions(config_endpoint_enabled=True, max_body_bytes=1_000)
MALFORMED = b'{"subject": '
TOO_LARGE = b"{" + b" " * 2_000


def key_of(permission: str, *, has: bool) -> str:
    return f"key-that-{'has' if has else 'lacks'}-{permission}"


AUTHENTICATION = AuthOptions(
    enabled=True,
    api_keys=[
        ApiKeyOptions(key=key_of(permission, has=has), permissions=[p for p in Permission if (p == permission) == has])
        for permission in Permission
        for has in (True, False)
    ],
)


class Operation(NamedTuple):
    """A method of a path, with the permission that its description names."""

    method: str
    path: str
    description: dict[str, Any]

    @property
    def permission(self) -> str | None:
        return self.description.get("x-required-permission")

    @property
    def guarded(self) -> bool:
        return "security" in self.description

    @property
    def url(self) -> str:
        """The path with parameters that fit; there is nothing by these names."""
        parameters = {parameter["name"]: parameter for parameter in self.description.get("parameters", [])}

        def value(match: re.Match[str]) -> str:
            is_uuid = parameters[match[1]]["schema"].get("format") == "uuid" or "uuid" in match[1]
            return str(uuid.uuid4()) if is_uuid else "nothing"

        return re.sub(r"\{(\w+)\}", value, self.path)

    @property
    def bodies(self) -> list[bytes]:
        return [b""] if self.method == "GET" else [MALFORMED, TOO_LARGE]


def operations() -> Iterator[Operation]:
    document = create_app(Engine("postgresql://nowhere/none"), options=OPTIONS).openapi()
    for path, methods in document["paths"].items():
        for method, description in methods.items():
            yield Operation(method.upper(), path, description)


GUARDED = [operation for operation in operations() if operation.guarded]


@pytest.fixture
async def http(engine, serve):
    async with serve(authenticator=authenticator_for(AUTHENTICATION, engine), options=OPTIONS) as client:
        yield client


async def answer(http: httpx.AsyncClient, operation: Operation, body: bytes, key: str | None) -> tuple[int, str]:
    """The status of a request and the beginning of its answer; streams are not read to their end."""
    headers = {"Content-Type": "application/json"} | ({"X-API-Key": key} if key else {})
    async with http.stream(operation.method, operation.url, content=body, headers=headers) as response:
        if response.is_success:
            return response.status_code, ""
        return response.status_code, (await response.aread()).decode()


def test_only_health_metrics_and_documentation_are_public():
    public = {operation.path for operation in operations() if not operation.guarded}

    assert public
    assert [path for path in public if not PUBLIC.fullmatch(path)] == []


def test_every_guarded_route_needs_a_permission_but_the_one_that_says_who_one_is():
    assert len(GUARDED) > 3
    assert [operation.path for operation in GUARDED if operation.permission is None] == ["/v1/auth/me"]


def test_every_guarded_route_documents_that_it_is():
    for operation in GUARDED:
        assert operation.description["security"] == [{"bearer_auth": []}, {"api_key_auth": []}], operation.path
        assert {"401", "403"} <= operation.description["responses"].keys(), operation.path


async def test_without_credentials_no_route_looks_at_a_request(http):
    wrong = []
    for operation in GUARDED:
        for body in operation.bodies:
            status, text = await answer(http, operation, body, None)
            if status != 401 or "Missing authentication credentials" not in text:
                wrong.append((operation.method, operation.path, body[:20], status, text))
    assert wrong == []


async def test_without_its_permission_no_route_looks_at_a_request(http):
    wrong = []
    for operation in GUARDED:
        if operation.permission is None:
            continue
        for body in operation.bodies:
            status, text = await answer(http, operation, body, key_of(operation.permission, has=False))
            if status != 403 or f"Missing required permission: {operation.permission}" not in text:
                wrong.append((operation.method, operation.path, body[:20], status, text))
    assert wrong == []


async def test_a_refusal_says_how_grave_it_is(http):
    response = await http.get("/v1/auth/keys", headers={"X-API-Key": key_of(Permission.SYSTEM_KEYS_MANAGE, has=False)})

    assert response.status_code == 403
    assert response.json() == {
        "error": {"code": "AUTHORIZATION_FAILED", "message": "Missing required permission: system:keys_manage"}
    }
    assert response.headers["X-Auth-Failure-Reason"] == "forbidden"
    assert response.headers["X-Auth-Failure-Severity"] == "medium"
    assert response.headers["Retry-After"] == "5"


async def test_its_permission_alone_is_enough_for_every_route(http):
    wrong = []
    for operation in GUARDED:
        for body in operation.bodies:
            key = key_of(operation.permission or Permission.DLQ_STATS, has=True)
            status, text = await answer(http, operation, body, key)
            if status in {401, 403, 500}:
                wrong.append((operation.method, operation.path, body[:20], status, text))
    assert wrong == []


async def test_what_is_public_asks_for_nothing_and_minds_nothing(http):
    for operation in operations():
        if not operation.guarded:
            status, _ = await answer(http, operation, b"", None)
            assert status not in {401, 403}, operation.path
            status, _ = await answer(http, operation, b"", "a-key-that-does-not-exist")
            assert status not in {401, 403}, operation.path


async def test_denials_are_counted(http):
    key = key_of(Permission.SYSTEM_KEYS_MANAGE, has=False)
    await http.get("/v1/auth/keys", headers={"X-API-Key": key})
    await http.get("/v1/auth/keys")
    metrics = (await http.get("/metrics")).text

    assert re.search(r'denials\w*\{permission="system:keys_manage"\} 1\.0', metrics)
    assert re.search(r'\{method="api_key",result="success"\} 1\.0', metrics)
    assert re.search(r'\{method="none",result="missing"\} 1\.0', metrics)
