"""Callers show who they are: with a token, with a key of the configuration, with a key of the database."""

import base64
import contextlib
import hashlib
import hmac
import json
import time
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from fastapi import Request
from structlog.testing import capture_logs

from tasker_core.access import ALL_PERMISSIONS, ROLES, Caller
from tasker_core.orchestration import Engine
from tasker_core.server.auth_options import ApiKeyOptions, AuthOptions, AuthOptionsError
from tasker_core.server.authentication import CredentialAuthenticator, authenticator_for
from tasker_core.server.errors import ApiError

PRIVATE_KEYS = {
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
RSA_KEY = PRIVATE_KEYS["RS256"]
OTHER_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
STATIC_KEY = "a-key-of-the-configuration"


def pem(key: Any, public_format: PublicFormat = PublicFormat.SubjectPublicKeyInfo) -> str:
    return key.public_key().public_bytes(Encoding.PEM, public_format).decode()


def token(key: Any = RSA_KEY, algorithm: str = "RS256", /, **claims: Any) -> str:
    now = int(time.time())
    standard = {"sub": "wms", "iss": "tasker-core", "aud": "tasker-api", "iat": now, "exp": now + 600}
    merged = {**standard, "permissions": ["tasks:*"], **claims}
    return jwt.encode({name: value for name, value in merged.items() if value is not None}, key, algorithm=algorithm)


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def options(**changes: Any) -> AuthOptions:
    return AuthOptions(**{"enabled": True, "jwt_public_key": pem(RSA_KEY), **changes})


def unsigned(header: dict[str, Any], payload: dict[str, Any], signature: bytes = b"") -> str:
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def request(*headers: tuple[str, bytes | str], count: Any = lambda *_: None) -> Request:
    """A request as an authenticator sees it."""
    raw = [(name.lower().encode(), value.encode() if isinstance(value, str) else value) for name, value in headers]
    app = SimpleNamespace(state=SimpleNamespace(metrics=SimpleNamespace(authentication=count)))
    return Request({"type": "http", "headers": raw, "app": app})


async def known(text: str, **changes: Any) -> Caller:
    """Whom a token is taken for, without a server; the database is never asked."""
    nowhere = Engine("postgresql://nowhere/none").api_keys
    return await CredentialAuthenticator(options(**changes), nowhere).authenticate(
        request(("Authorization", f"Bearer {text}"))
    )


async def assert_unknown(text: str, **changes: Any) -> None:
    with pytest.raises(ApiError, match="Invalid or expired token") as refused:
        await known(text, **changes)
    assert refused.value.status == 401


@pytest.fixture
def serve_options(engine, serve):
    """Serves with options of authentication; yields a client."""
    return lambda **changes: serve(authenticator=authenticator_for(options(**changes), engine))


def assert_refused(response, message="Invalid or expired token", reason="invalid", severity="high"):
    assert response.status_code == 401, response.text
    assert response.json() == {"error": {"code": "AUTHENTICATION_FAILED", "message": message}}
    assert response.headers["X-Auth-Failure-Reason"] == reason
    assert response.headers["X-Auth-Failure-Severity"] == severity
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.headers.get("Retry-After") == (None if reason == "missing" else "60")


# Tokens


async def test_a_token_says_who_somebody_is_and_what_they_may_do(serve_options):
    async with serve_options() as http:
        response = await http.get("/v1/auth/me", headers=bearer(token(permissions=["tasks:read", "dlq:*"])))

    assert response.status_code == 200
    assert response.json() == {
        "subject": "wms",
        "permissions": ["dlq:read", "dlq:stats", "dlq:update", "tasks:read"],
        "namespaces": None,
    }


@pytest.mark.parametrize("algorithm", PRIVATE_KEYS)
async def test_tokens_are_verified_with_every_kind_of_key(algorithm):
    key = PRIVATE_KEYS[algorithm]

    assert await known(token(key, algorithm), jwt_public_key=pem(key), jwt_allowed_algorithms=[algorithm])


async def test_a_public_key_may_be_in_the_older_form_of_rsa_keys():
    assert await known(token(), jwt_public_key=pem(RSA_KEY, PublicFormat.PKCS1))


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer "])
async def test_the_scheme_may_be_written_in_any_case(serve_options, scheme):
    async with serve_options() as http:
        response = await http.get("/v1/auth/me", headers={"Authorization": f"{scheme} {token()}"})

    assert response.status_code == 200


HOUR = 3_600
NOW = int(time.time())
REFUSED_CLAIMS = {
    "expired": {"exp": NOW - 120},
    "not valid yet": {"nbf": NOW + HOUR},
    "issued in the future": {"iat": NOW + HOUR},
    "another issuer": {"iss": "somebody-else"},
    "for another audience": {"aud": "another-api"},
    "no subject": {"sub": None},
    "no expiry": {"exp": None},
    "no time of issue": {"iat": None},
    "no audience": {"aud": None},
    "an empty subject": {"sub": ""},
    "a subject of two lines": {"sub": "a\nb"},
    "a subject that cannot be stored": {"sub": "a\x00b"},
    "an infinite expiry": {"exp": float("inf")},
    "permissions that are a number": {"permissions": 7},
    "permissions that hold a number": {"permissions": ["tasks:read", 7]},
    "an unknown permission": {"permissions": ["tasks:read", "tasks:everything"]},
    "an unknown role": {"roles": ["king"]},
    "roles that are a text": {"roles": "admin"},
    "namespaces that are a text": {"namespaces": "shop"},
    "a namespace that cannot be stored": {"namespaces": ["shop\x00"]},
}


@pytest.mark.parametrize("claims", REFUSED_CLAIMS.values(), ids=REFUSED_CLAIMS)
async def test_a_token_with_wrong_claims_is_refused(claims):
    await assert_unknown(token(**claims))


async def test_a_token_is_refused_without_a_word_about_why(serve_options):
    async with serve_options() as http:
        assert_refused(await http.get("/v1/auth/me", headers=bearer(token(exp=NOW - 120))))


@pytest.mark.parametrize(("claim", "seconds"), [("exp", -30), ("nbf", 30), ("iat", 30)])
async def test_clocks_may_differ_by_a_minute(claim, seconds):
    assert await known(token(**{claim: int(time.time()) + seconds}))


async def test_a_token_may_be_for_several_audiences():
    assert await known(token(aud=["another-api", "tasker-api"]))


def forged() -> dict[str, str]:
    claims = jwt.decode(token(), options={"verify_signature": False})
    head, payload, signature = token().split(".")
    elevated = base64.urlsafe_b64encode(json.dumps({**claims, "sub": "root"}).encode()).rstrip(b"=").decode()
    public = pem(RSA_KEY).encode()
    hs256 = unsigned({"alg": "HS256", "typ": "JWT"}, claims).rsplit(".", 1)[0]
    mac = hmac.digest(public, hs256.encode(), "sha256")
    return {
        "signed by somebody else": token(OTHER_RSA_KEY),
        "of an algorithm that is not allowed": token(RSA_KEY, "RS512"),
        "not signed": unsigned({"alg": "none"}, claims),
        "not signed, in capitals": unsigned({"alg": "NONE"}, claims),
        "signed with the public key as a secret": unsigned({"alg": "HS256"}, claims, mac),
        "changed": f"{head}.{elevated}.{signature}",
        "cut": token()[:-8],
        "in two parts": f"{head}.{payload}",
        "no token": "no-token",
        "empty": " ",
        "a deep header": ".".join([base64.urlsafe_b64encode(b"[" * 3000).decode().rstrip("="), "e30", ""]),
        "a header that is a list": unsigned([], claims),  # type: ignore[arg-type]
        "of an algorithm that is a list": unsigned({"alg": ["RS256"]}, claims),
        "too long": token(padding="x" * 20_000),
    }


@pytest.mark.parametrize("name", forged())
async def test_a_forged_token_is_refused(name):
    await assert_unknown(forged()[name])


async def test_unknown_permissions_are_ignored_if_that_is_wanted_and_logged_once():
    authenticator = CredentialAuthenticator(
        options(strict_validation=False), Engine("postgresql://nowhere/none").api_keys
    )
    presented = request(
        ("Authorization", f"Bearer {token(permissions=['openid', 'tasks:read'], roles=['king', 'worker'])}")
    )
    with capture_logs() as logs:
        callers = [await authenticator.authenticate(presented) for _ in range(3)]

    assert {caller.permissions for caller in callers} == {ROLES["worker"] | {"tasks:read"}}
    assert [entry["unknown"] for entry in logs] == [["openid", "role:king"]]


async def test_permissions_may_be_in_another_claim_and_in_one_text():
    caller = await known(token(permissions=["*"], scope="tasks:read steps:read"), permissions_claim="scope")

    assert caller.permissions == {"steps:read", "tasks:read"}


async def test_a_token_without_permissions_is_somebody_who_may_do_nothing():
    assert await known(token(permissions=None)) == Caller("wms", frozenset())


@pytest.mark.parametrize(
    ("claims", "namespaces"),
    [
        ({}, None),
        ({"worker_namespaces": []}, None),
        ({"worker_namespaces": ["shop"]}, ["shop"]),
        ({"namespaces": ["shop", "books"]}, ["books", "shop"]),
        ({"namespaces": []}, []),
        ({"namespaces": ["shop"], "worker_namespaces": ["books"]}, ["shop"]),
        ({"namespaces": [], "worker_namespaces": ["books"]}, []),
    ],
)
async def test_a_token_may_be_limited_to_namespaces(claims, namespaces):
    caller = await known(token(**claims))

    assert caller.namespaces == (None if namespaces is None else set(namespaces))


# Keys of the configuration


def static(**changes: Any) -> dict[str, Any]:
    return {"api_keys": [ApiKeyOptions(**{"key": STATIC_KEY, "permissions": ["tasks:*"], **changes})]}


async def test_a_key_of_the_configuration_says_who_somebody_is(serve_options):
    configured = static(description="dashboard", roles=["worker"], namespaces=["shop"])
    async with serve_options(**configured) as http:
        response = await http.get("/v1/auth/me", headers={"X-API-Key": STATIC_KEY})
        assert_refused(
            await http.get("/v1/auth/me", headers={"X-API-Key": f"{STATIC_KEY}!"}), message="Invalid API key"
        )

    assert response.json()["subject"] == "dashboard"
    assert set(response.json()["permissions"]) > ROLES["worker"]
    assert response.json()["namespaces"] == ["shop"]


async def test_the_configuration_needs_only_the_hash_of_a_key(serve_options):
    hashed = hashlib.sha256(STATIC_KEY.encode()).hexdigest().upper()
    async with serve_options(**static(key=None, key_sha256=hashed, permissions=["*"])) as http:
        response = await http.get("/v1/auth/me", headers={"X-API-Key": STATIC_KEY})

    assert response.json()["permissions"] == sorted(ALL_PERMISSIONS)


async def test_keys_may_be_sent_in_another_header(serve_options):
    async with serve_options(**static(), api_key_header="X-Tasker-Key") as http:
        assert (await http.get("/v1/auth/me", headers={"X-Tasker-Key": STATIC_KEY})).status_code == 200
        assert (await http.get("/v1/auth/me", headers={"X-API-Key": STATIC_KEY})).status_code == 401


async def test_keys_count_for_nothing_where_they_are_not_enabled(serve_options):
    async with serve_options(**static(), api_keys_enabled=False) as http:
        assert_refused(
            await http.get("/v1/auth/me", headers={"X-API-Key": STATIC_KEY}),
            "Missing authentication credentials",
            "missing",
            "low",
        )


# Which credential counts


async def test_a_token_that_is_refused_is_final(serve_options):
    async with serve_options(**static()) as http:
        assert_refused(await http.get("/v1/auth/me", headers={**bearer("nonsense"), "X-API-Key": STATIC_KEY}))


async def test_a_token_goes_before_a_key(serve_options):
    async with serve_options(**static()) as http:
        response = await http.get("/v1/auth/me", headers={**bearer(token()), "X-API-Key": STATIC_KEY})

    assert response.json()["subject"] == "wms"


async def test_other_kinds_of_authorization_do_not_matter(serve_options):
    async with serve_options(**static()) as http:
        basic = {"Authorization": "Basic dXNlcjpwYXNz"}
        assert (await http.get("/v1/auth/me", headers={**basic, "X-API-Key": STATIC_KEY})).status_code == 200
        assert_refused(
            await http.get("/v1/auth/me", headers=basic), "Missing authentication credentials", "missing", "low"
        )


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": ""}, {"Authorization": ""}])
async def test_without_credentials_nobody_gets_in(serve_options, headers):
    async with serve_options() as http:
        assert_refused(
            await http.get("/v1/auth/me", headers=headers), "Missing authentication credentials", "missing", "low"
        )


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ([("Authorization", b"Bearer \xff")], "Malformed Authorization header"),
        ([("Authorization", b"Bearer a"), ("Authorization", b"Bearer b")], "Malformed Authorization header"),
        ([("X-API-Key", b"\xff")], "Malformed API key header"),
        ([("X-API-Key", b"a"), ("X-API-Key", b"b")], "Malformed API key header"),
    ],
)
async def test_a_header_that_cannot_be_read_is_refused(serve_options, headers, message):
    async with serve_options() as http:
        assert_refused(await http.get("/v1/auth/me", headers=headers), message, "malformed")


async def test_where_authentication_is_off_everybody_may_do_everything(engine, serve):
    async with serve(authenticator=authenticator_for(AuthOptions(), engine)) as http:
        response = await http.get("/v1/auth/me")

    assert response.json() == {"subject": "anonymous", "permissions": sorted(ALL_PERMISSIONS), "namespaces": None}


# Keys of the database


async def make_key(engine, **options: Any) -> dict[str, Any]:
    return await engine.api_keys.create("checkout", ROLES["submitter"], by=Caller("root", ALL_PERMISSIONS), **options)


async def test_a_key_of_the_database_says_who_somebody_is(engine, serve_options):
    made = await make_key(engine, namespaces=frozenset({"shop"}))
    async with serve_options() as http:
        response = await http.get("/v1/auth/me", headers={"X-API-Key": made["key"]})

    assert response.json() == {
        "subject": "checkout",
        "permissions": sorted(ROLES["submitter"]),
        "namespaces": ["shop"],
    }


async def test_without_the_database_keys_cannot_be_told_and_tokens_can(engine, serve_options):
    made = await make_key(engine)
    async with serve_options(**static()) as http:
        await engine.store.database.close()
        by_key = await http.get("/v1/auth/me", headers={"X-API-Key": made["key"]})
        by_static_key = await http.get("/v1/auth/me", headers={"X-API-Key": STATIC_KEY})
        by_token = await http.get("/v1/auth/me", headers=bearer(token()))

    assert by_key.status_code == 503
    assert by_key.json()["error"]["code"] == "SERVICE_UNAVAILABLE"
    assert by_key.headers["Retry-After"] == "5"
    assert (by_static_key.status_code, by_token.status_code) == (200, 200)


async def test_what_cannot_be_a_key_is_refused_without_asking_the_database(engine, serve_options):
    async with serve_options() as http:
        await engine.store.database.close()
        for text in ("tk_", "nonsense", "tk_" + "x" * 44, "tk_" + "!" * 43):
            assert_refused(await http.get("/v1/auth/me", headers={"X-API-Key": text}), message="Invalid API key")


# What is counted


async def test_the_outcome_of_every_authentication_is_counted():
    authenticator = CredentialAuthenticator(options(**static()), Engine("postgresql://nowhere/none").api_keys)
    counted = list[tuple[str, str]]()
    for headers in (
        [("Authorization", f"Bearer {token()}")],
        [("Authorization", "Bearer nonsense")],
        [("Authorization", b"\xff")],
        [("X-API-Key", STATIC_KEY)],
        [("X-API-Key", "nonsense")],
        [("X-API-Key", b"\xff")],
        [],
    ):
        with contextlib.suppress(ApiError):
            await authenticator.authenticate(request(*headers, count=lambda *outcome: counted.append(outcome)))

    assert counted == [
        ("jwt", "success"),
        ("jwt", "invalid"),
        ("jwt", "malformed"),
        ("api_key", "success"),
        ("api_key", "invalid"),
        ("api_key", "malformed"),
        ("none", "missing"),
    ]


# Options that cannot be used

P384 = pem(PRIVATE_KEYS["ES384"])
SMALL = pem(rsa.generate_private_key(public_exponent=65537, key_size=1024))
PRIVATE = RSA_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
P521 = pem(ec.generate_private_key(ec.SECP521R1()))
JWKS = {"jwt_public_key": None, "jwt_verification_method": "jwks"}
URL = "https://login.example.com/jwks.json"
UNUSABLE = [
    ("jwt_issuer", {"jwt_issuer": ""}),
    ("jwt_audience", {"jwt_audience": ""}),
    ("permissions_claim", {"permissions_claim": ""}),
    ("permissions_claim", {"permissions_claim": "roles"}),
    ("api_key_header", {"api_key_header": ""}),
    ("api_key_header", {"api_key_header": "X Key"}),
    ("api_key_header", {"api_key_header": "Authorization"}),
    ("jwt_verification_method", {"jwt_verification_method": "secret"}),
    ("jwt_allowed_algorithms", {"jwt_allowed_algorithms": []}),
    ("jwt_allowed_algorithms", {"jwt_allowed_algorithms": ["RS256", "HS256"]}),
    ("jwt_allowed_algorithms", {"jwt_allowed_algorithms": ["none"]}),
    ("jwt_allowed_algorithms", {"jwt_public_key": P384}),
    ("jwt_public_key", {"jwt_public_key": "not a key"}),
    ("jwt_public_key", {"jwt_public_key": PRIVATE}),
    ("jwt_public_key", {"jwt_public_key": SMALL}),
    ("jwt_public_key", {"jwt_public_key": P521}),
    ("jwt_public_key", {"jwt_verification_method": "jwks", "jwks_url": URL}),
    ("jwks_url", {"jwks_url": URL}),
    ("jwks_url", JWKS),
    ("jwks_refresh_interval_seconds", {**JWKS, "jwks_url": URL, "jwks_refresh_interval_seconds": 0}),
    ("jwks_max_stale_seconds", {**JWKS, "jwks_url": URL, "jwks_max_stale_seconds": -1}),
    ("enabled", {"jwt_public_key": None, "api_keys_enabled": False}),
    ("api_keys[0]", static(key=None)),
    ("api_keys[0]", static(key_sha256="ab" * 32)),
    ("api_keys[0].key", static(key="short")),
    ("api_keys[0].key_sha256", static(key=None, key_sha256="ab" * 31)),
    ("api_keys[0].key_sha256", static(key=None, key_sha256="no digits")),
    ("api_keys[0]", static(permissions=[])),
    ("api_keys[0]", static(permissions=["tasks:everything"])),
    ("api_keys[0]", static(roles=["king"])),
    ("api_keys[0].namespaces", static(namespaces=[])),
    ("api_keys[0].description", static(description="two\nlines")),
    ("api_keys[1]", {"api_keys": static()["api_keys"] * 2}),
]


@pytest.mark.parametrize(("name", "changes"), UNUSABLE)
def test_an_option_that_cannot_be_used_is_named(name, changes):
    with pytest.raises(AuthOptionsError) as refused:
        options(**changes)
    assert str(refused.value).startswith(f"{name} ") or str(refused.value).startswith(f"{name}:")
    assert STATIC_KEY not in str(refused.value)


@pytest.mark.parametrize(("name", "changes"), UNUSABLE)
def test_options_do_not_matter_where_authentication_is_off(name, changes):
    assert not options(**{**changes, "enabled": False}).enabled


def test_keys_of_the_database_are_enough_to_enable_authentication():
    assert options(jwt_public_key=None).enabled


def test_options_do_not_show_their_keys():
    assert STATIC_KEY not in repr(options(**static()))
