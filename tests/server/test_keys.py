"""API keys: made once, listed without themselves, refused once revoked; nobody grants more than they have."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pydantic
import pytest

from tasker_core.access import ALL_PERMISSIONS, ROLES, Caller, Permission
from tasker_core.orchestration import Engine
from tasker_core.orchestration import api_keys as orchestration
from tasker_core.server.auth_options import ApiKeyOptions, AuthOptions
from tasker_core.server.authentication import authenticator_for
from tasker_core.server.schemas.keys import KeyRequest

ROOT = Caller("root", ALL_PERMISSIONS)
ADMIN_KEY = "the-key-of-the-administrator"
SHOP_KEY = "the-key-of-the-manager-of-shop"
READER_KEY = "the-key-of-a-mere-reader"
OPTIONS = AuthOptions(
    enabled=True,
    api_keys=[
        ApiKeyOptions(key=ADMIN_KEY, permissions=["*"], description="admin"),
        ApiKeyOptions(
            key=SHOP_KEY,
            permissions=["tasks:*", "system:keys_manage"],
            namespaces=["shop", "books"],
            description="shop manager",
        ),
        ApiKeyOptions(key=READER_KEY, roles=["reader"], description="reader"),
    ],
)


def with_key(key: str) -> dict[str, str]:
    return {"X-API-Key": key}


ADMIN, SHOP, READER = with_key(ADMIN_KEY), with_key(SHOP_KEY), with_key(READER_KEY)


@pytest.fixture
async def http(engine, serve):
    async with serve(authenticator=authenticator_for(OPTIONS, engine)) as client:
        yield client


async def make(http, headers=ADMIN, **body: Any) -> Any:
    response = await http.post(
        "/v1/auth/keys", headers=headers, json={"subject": "checkout", "permissions": ["tasks:read"], **body}
    )
    assert response.status_code == 200, response.text
    return response.json()


async def whoami(http, key: str) -> Any:
    return await http.get("/v1/auth/me", headers=with_key(key))


async def test_a_key_can_be_used_as_soon_as_it_is_made(http):
    made = await make(http, permissions=["dlq:*"], roles=["worker"], namespaces=["shop"])

    assert made["key"].startswith(made["hint"])
    assert len(made["key"]) == len("tk_") + 43
    assert (made["status"], made["created_by"], made["expires_at"]) == ("active", "admin", None)
    assert (await whoami(http, made["key"])).json() == {
        "subject": "checkout",
        "permissions": sorted({"dlq:read", "dlq:stats", "dlq:update", *ROLES["worker"]}),
        "namespaces": ["shop"],
    }


async def test_a_key_itself_is_shown_once_and_stored_nowhere(http, engine):
    response = await http.post("/v1/auth/keys", headers=ADMIN, json={"subject": "checkout", "roles": ["reader"]})
    key = response.json()["key"]
    listed = await http.get("/v1/auth/keys", headers=ADMIN)
    stored = await engine.store.database.fetch_value("SELECT row_to_json(k)::text FROM tasker.api_keys k")

    assert response.headers["Cache-Control"] == "no-store"
    assert [entry["key_uuid"] for entry in listed.json()["keys"]] == [response.json()["key_uuid"]]
    assert key not in listed.text
    assert key[8:] not in stored


async def test_no_two_keys_are_the_same():
    assert len({orchestration.new_key() for _ in range(1_000)}) == 1_000


async def test_a_revoked_key_is_refused_at_once(http):
    made = await make(http)
    assert (await whoami(http, made["key"])).status_code == 200

    revoked = await http.delete(f"/v1/auth/keys/{made['key_uuid']}", headers=ADMIN)
    refused = await whoami(http, made["key"])

    assert (revoked.json()["status"], revoked.json()["revoked_by"]) == ("revoked", "admin")
    assert refused.status_code == 401
    assert refused.json()["error"]["message"] == "Invalid API key"


async def test_a_key_that_is_revoked_twice_stays_as_it_was(http):
    made = await make(http)
    first = await http.delete(f"/v1/auth/keys/{made['key_uuid']}", headers=ADMIN)
    second = await http.delete(f"/v1/auth/keys/{made['key_uuid']}", headers=ADMIN)

    assert (second.status_code, second.json()) == (200, first.json())


async def test_keys_that_are_not_valid_any_more_are_listed_on_demand(http, engine):
    valid, revoked, expired = [(await make(http, subject=name))["key_uuid"] for name in ("a", "b", "c")]
    await http.delete(f"/v1/auth/keys/{revoked}", headers=ADMIN)
    await expire(engine, expired)

    current = (await http.get("/v1/auth/keys", headers=ADMIN)).json()["keys"]
    everything = (await http.get("/v1/auth/keys", headers=ADMIN, params={"include_inactive": True})).json()["keys"]

    assert [key["key_uuid"] for key in current] == [valid]
    assert [(key["key_uuid"], key["status"]) for key in everything] == [
        (expired, "expired"),
        (revoked, "revoked"),
        (valid, "active"),
    ]


async def expire(engine, key_uuid: str) -> None:
    await engine.store.database.fetch(
        "UPDATE tasker.api_keys SET expires_at = clock_timestamp() WHERE key_uuid = $1", key_uuid
    )


async def test_an_expired_key_is_refused(http, engine):
    made = await make(http)
    await expire(engine, made["key_uuid"])

    assert (await whoami(http, made["key"])).status_code == 401


async def test_a_key_is_not_remembered_beyond_its_end(http):
    soon = datetime.now(UTC) + timedelta(seconds=1)
    made = await make(http, expires_at=soon.isoformat())
    answers = {(await whoami(http, made["key"])).status_code}
    while datetime.now(UTC) < soon + timedelta(seconds=0.5):
        answers.add((await whoami(http, made["key"])).status_code)

    assert (await whoami(http, made["key"])).status_code == 401
    assert answers == {200, 401}


async def test_a_time_without_a_zone_is_utc(http):
    assert (await make(http, expires_at="2999-01-02T03:04:05"))["expires_at"] == "2999-01-02T03:04:05.000000Z"


# Who may grant what


@pytest.mark.parametrize("body", [{"permissions": ["dlq:read"]}, {"permissions": ["*"]}, {"roles": ["admin"]}])
async def test_nobody_grants_permissions_that_they_do_not_have(http, body):
    response = await http.post("/v1/auth/keys", headers=SHOP, json={"subject": "more", "namespaces": ["shop"], **body})

    assert response.status_code == 403
    assert response.json()["error"]["code"] == "AUTHORIZATION_FAILED"
    assert "dlq:read" in response.json()["error"]["message"]
    assert (await http.get("/v1/auth/keys", headers=ADMIN)).json() == {"keys": []}


@pytest.mark.parametrize("namespaces", [None, ["cellar"], ["shop", "cellar"]])
async def test_nobody_grants_access_to_namespaces_that_they_cannot_enter(http, namespaces):
    body = {"subject": "more", "permissions": ["tasks:read"], "namespaces": namespaces}
    response = await http.post("/v1/auth/keys", headers=SHOP, json=body)

    assert response.status_code == 403
    assert (await http.get("/v1/auth/keys", headers=ADMIN)).json() == {"keys": []}


async def test_whoever_has_all_that_a_key_grants_makes_it(http):
    made = await make(http, SHOP, permissions=["tasks:*", "system:keys_manage"], namespaces=["shop"])
    further = await make(http, with_key(made["key"]), namespaces=["shop"], subject="further")

    assert (made["created_by"], further["created_by"]) == ("shop manager", "checkout")


async def test_whoever_is_limited_to_namespaces_sees_and_revokes_only_their_keys(http):
    everywhere, elsewhere, mixed, own = [
        (await make(http, namespaces=namespaces))["key_uuid"]
        for namespaces in (None, ["cellar"], ["shop", "cellar"], ["shop", "books"])
    ]

    assert [key["key_uuid"] for key in (await http.get("/v1/auth/keys", headers=SHOP)).json()["keys"]] == [own]
    for key_uuid in (everywhere, elsewhere, mixed):
        answer = await http.delete(f"/v1/auth/keys/{key_uuid}", headers=SHOP)
        assert answer.status_code == 404
        assert answer.json()["error"]["message"] == f"There is no API key {key_uuid}"
    assert (await http.delete(f"/v1/auth/keys/{own}", headers=SHOP)).status_code == 200
    assert len((await http.get("/v1/auth/keys", headers=ADMIN)).json()["keys"]) == 3


async def test_keys_are_no_business_of_others(http):
    made = await make(http)
    for method, path in (("GET", ""), ("POST", ""), ("DELETE", f"/{made['key_uuid']}")):
        response = await http.request(method, f"/v1/auth/keys{path}", headers=READER)
        assert response.status_code == 403
        assert response.json()["error"]["message"] == f"Missing required permission: {Permission.SYSTEM_KEYS_MANAGE}"


async def test_a_key_that_does_not_exist_is_not_found(http):
    answer = await http.delete("/v1/auth/keys/4b3c3a5e-52d4-4a8f-9f0e-3a1f5d1e7c11", headers=ADMIN)
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "subject"),
        ({"subject": "", "permissions": ["*"]}, "subject"),
        ({"subject": "a\nb", "permissions": ["*"]}, "subject"),
        ({"subject": "a\x00b", "permissions": ["*"]}, "subject"),
        ({"subject": "a" * 201, "permissions": ["*"]}, "subject"),
        ({"subject": "a"}, ""),
        ({"subject": "a", "permissions": [], "roles": []}, ""),
        ({"subject": "a", "permissions": ["tasks:read", "tasks:everything"]}, "permissions.1"),
        ({"subject": "a", "permissions": "*"}, "permissions"),
        ({"subject": "a", "roles": ["king"]}, "roles.0"),
        ({"subject": "a", "permissions": ["*"], "namespaces": []}, "namespaces"),
        ({"subject": "a", "permissions": ["*"], "namespaces": [""]}, "namespaces.0"),
        ({"subject": "a", "permissions": ["*"], "namespaces": ["a\x00"]}, "namespaces.0"),
        ({"subject": "a", "permissions": ["*"], "expires_at": "yesterday"}, "expires_at"),
        ({"subject": "a", "permissions": ["*"], "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"subject": "a", "permissions": ["*"], "expires_at": "9999-12-31T23:59:59-23:00"}, "expires_at"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused(body, field):
    with pytest.raises(pydantic.ValidationError) as refused:
        KeyRequest.model_validate_json(json.dumps(body))
    assert [".".join(map(str, error["loc"])) for error in refused.value.errors()] == [field]


async def test_what_is_wrong_with_a_key_is_told(http):
    response = await http.post("/v1/auth/keys", headers=ADMIN, json={"subject": "a", "permissions": ["tasks:fly"]})

    assert response.status_code == 422
    assert response.json()["error"]["code"] == "VALIDATION_ERROR"
    assert response.json()["error"]["details"] == [{"field": "permissions.0", "message": "there is no such permission"}]


# What a lookup costs


class CountingDatabase:
    """Counts how often keys are searched."""

    def __init__(self, monkeypatch) -> None:
        self.searches = 0
        self.used = 0
        self.found = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        search, note = orchestration.store.valid_key, orchestration.store.key_used

        async def counted_search(database, key_hash):
            self.searches += 1
            row = await search(database, key_hash)
            self.found.set()
            await self.may_answer.wait()
            return row

        async def counted_note(database, key_uuid):
            await note(database, key_uuid)
            self.used += 1

        monkeypatch.setattr(orchestration.store, "valid_key", counted_search)
        monkeypatch.setattr(orchestration.store, "key_used", counted_note)


@pytest.fixture
def counting(monkeypatch) -> CountingDatabase:
    return CountingDatabase(monkeypatch)


async def new_key(engine: Engine) -> dict[str, Any]:
    return await engine.api_keys.create("checkout", ROLES["reader"], by=ROOT)


async def test_a_key_that_is_used_all_the_time_is_searched_once(engine, counting):
    made = await new_key(engine)

    callers = {await engine.api_keys.caller(made["key"]) for _ in range(50)}

    assert {caller.subject for caller in callers} == {"checkout"}
    assert counting.searches == 1


async def test_those_who_come_at_once_with_a_key_share_one_search(engine, counting):
    made = await new_key(engine)

    callers = await asyncio.gather(*(engine.api_keys.caller(made["key"]) for _ in range(20)))

    assert {caller.subject for caller in callers} == {"checkout"}
    assert counting.searches == 1


async def test_a_key_that_is_not_valid_is_not_searched_again_and_again(engine, counting):
    key = orchestration.new_key()

    assert {await engine.api_keys.caller(key) for _ in range(50)} == {None}
    assert counting.searches == 1


async def test_a_revocation_elsewhere_takes_effect_when_the_key_is_searched_again(
    engine, database_url, counting, monkeypatch
):
    now = 0.0
    monkeypatch.setattr(orchestration.time, "monotonic", lambda: now)
    made = await new_key(engine)
    assert await engine.api_keys.caller(made["key"])
    async with Engine(database_url) as elsewhere:
        await elsewhere.api_keys.revoke(made["key_uuid"], by=ROOT)

    now = orchestration.VALID_SECONDS - 0.1
    assert await engine.api_keys.caller(made["key"])
    now = orchestration.VALID_SECONDS
    assert await engine.api_keys.caller(made["key"]) is None


async def test_a_search_that_a_revocation_overtakes_is_not_believed_afterwards(engine, counting):
    made = await new_key(engine)
    counting.may_answer.clear()
    overtaken = asyncio.create_task(engine.api_keys.caller(made["key"]))
    await counting.found.wait()
    await engine.api_keys.revoke(made["key_uuid"], by=ROOT)
    after = asyncio.create_task(engine.api_keys.caller(made["key"]))
    counting.may_answer.set()
    await overtaken

    assert await after is None
    assert await engine.api_keys.caller(made["key"]) is None


async def test_whoever_gives_up_does_not_end_the_search_of_others(engine, counting):
    made = await new_key(engine)
    counting.may_answer.clear()
    first, second = [asyncio.create_task(engine.api_keys.caller(made["key"])) for _ in range(2)]
    await counting.found.wait()
    first.cancel()
    counting.may_answer.set()

    assert await second is not None


async def test_the_last_use_is_noted_once_a_minute(engine, counting):
    made = await new_key(engine)

    await engine.api_keys.caller(made["key"])
    await engine.api_keys.settle()
    (listed,) = await engine.api_keys.list(by=ROOT)
    engine.api_keys._valid.forget()
    await engine.api_keys.caller(made["key"])
    await engine.api_keys.settle()

    assert listed["last_used_at"] is not None
    assert await engine.api_keys.list(by=ROOT) == [listed]
    assert (counting.searches, counting.used) == (2, 1)


async def test_the_number_of_keys_that_are_remembered_is_bounded(engine, monkeypatch):
    monkeypatch.setattr(orchestration, "_MOST_REMEMBERED", 3)
    for _ in range(10):
        await engine.api_keys.caller(orchestration.new_key())

    assert len(engine.api_keys._invalid._kept) == 3


async def test_permissions_that_a_later_version_brings_are_not_granted(engine):
    made = await new_key(engine)
    await engine.store.database.fetch("UPDATE tasker.api_keys SET permissions = ARRAY['tasks:read', 'moon:land']")

    caller = await engine.api_keys.caller(made["key"])

    assert caller.permissions == {Permission.TASKS_READ}
