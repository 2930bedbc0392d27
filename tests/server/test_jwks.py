"""Keys that an identity provider publishes: fetched, renewed, kept for a while, and not asked for too often."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from starlette.responses import Response
from structlog.testing import capture_logs

from tasker_core.server.auth_options import AuthOptions, AuthOptionsError
from tasker_core.server.authentication import authenticator_for
from tasker_core.server.jwks import JwksFetchError, KeySet, check_url, usable_keys
from tasker_core.server.jwt_verification import ALGORITHMS, KeysUnavailableError

FIRST, SECOND = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))


def jwk(key: Any, kid: str = "first", **fields: Any) -> dict[str, Any]:
    kind = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm}
    algorithm = next((found for base, found in kind.items() if isinstance(key, base)), OKPAlgorithm)
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, **fields}


def token(key: Any = FIRST, kid: str | None = "first", algorithm: str = "RS256") -> str:
    now = int(time.time())
    claims = {"sub": "wms", "iss": "tasker-core", "aud": "tasker-api", "iat": now, "exp": now + 600}
    return jwt.encode(claims, key, algorithm=algorithm, headers=None if kid is None else {"kid": kid})


class Provider:
    """An identity provider: a real HTTP server that publishes keys and counts how often it is asked."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = [jwk(FIRST)]
        self.status = 200
        self.headers: dict[str, str] = {}
        self.asked = 0
        self.url = ""
        self._answers = asyncio.Condition()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        async with self._answers:
            self.asked += 1
            self._answers.notify_all()
        await self.may_answer.wait()
        body = json.dumps({"keys": self.keys})
        await Response(body, self.status, self.headers)(scope, receive, send)

    async def was_asked(self, times: int) -> None:
        """Wait until it was asked so often."""
        async with self._answers:
            await self._answers.wait_for(lambda: self.asked >= times)


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    provider = Provider()
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(provider, log_level="warning", lifespan="off", access_log=False)
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]
    running = asyncio.create_task(server.serve([listening]))
    provider.url = f"http://127.0.0.1:{listening.getsockname()[1]}/jwks.json"
    yield provider
    provider.may_answer.set()
    server.should_exit = True
    await running
    listening.close()


def options(provider: Provider, **changes: Any) -> AuthOptions:
    fixed = {"jwt_verification_method": "jwks", "jwks_url": provider.url, "jwks_url_allow_http": True}
    return AuthOptions(**{"enabled": True, **fixed, **changes})


@pytest.fixture
def serve_provider(engine, serve, provider):
    """Serves with the provider's keys; yields a client."""
    return lambda **changes: serve(authenticator=authenticator_for(options(provider, **changes), engine))


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


async def status_of(http, text: str) -> int:
    return (await http.get("/v1/auth/me", headers=bearer(text))).status_code


# A server with a provider


async def test_a_token_is_verified_with_the_key_that_it_names(provider, serve_provider):
    provider.keys = [jwk(SECOND, "second"), jwk(FIRST)]
    async with serve_provider() as http:
        assert await status_of(http, token()) == 200
        assert await status_of(http, token(SECOND, "second")) == 200
        assert await status_of(http, token(SECOND, "first")) == 401
        assert await status_of(http, token(FIRST, None)) == 401
    assert provider.asked == 1


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP256R1()), "ES256"),
        (ec.generate_private_key(ec.SECP384R1()), "ES384"),
        (ed25519.Ed25519PrivateKey.generate(), "EdDSA"),
        (FIRST, "PS512"),
    ],
)
async def test_keys_of_every_kind_are_used(provider, serve_provider, key, algorithm):
    provider.keys = [jwk(key)]
    async with serve_provider(jwt_allowed_algorithms=[algorithm]) as http:
        assert await status_of(http, token(key, algorithm=algorithm)) == 200


async def test_a_new_key_is_fetched_when_the_first_token_names_it(provider, serve_provider):
    async with serve_provider() as http:
        assert await status_of(http, token()) == 200
        provider.keys = [jwk(SECOND, "second")]
        assert await status_of(http, token(SECOND, "second")) == 200
        assert await status_of(http, token()) == 401
    assert provider.asked == 2


async def test_a_flood_of_unknown_keys_is_one_question(provider, serve_provider):
    async with serve_provider() as http:
        flood = [status_of(http, token(SECOND, f"unknown-{number}")) for number in range(50)]
        assert set(await asyncio.gather(*flood)) == {401}
        assert await status_of(http, token(SECOND, "another")) == 401
        assert await status_of(http, token()) == 200
    assert provider.asked == 2


async def test_those_who_wait_for_the_same_new_key_ask_once(provider, serve_provider):
    async with serve_provider() as http:
        provider.keys = [jwk(SECOND, "second")]
        provider.may_answer.clear()
        waiting = [asyncio.create_task(status_of(http, token(SECOND, "second"))) for _ in range(10)]
        await provider.was_asked(2)
        provider.may_answer.set()
        assert set(await asyncio.gather(*waiting)) == {200}
    assert provider.asked == 2


async def test_a_token_of_an_algorithm_that_is_not_allowed_asks_nobody(provider, serve_provider):
    async with serve_provider() as http:
        assert await status_of(http, token(FIRST, "unknown", "RS512")) == 401
    assert provider.asked == 1


async def test_a_server_starts_without_its_provider_and_says_so(provider, serve_provider):
    provider.status = 500
    with capture_logs() as logs:
        async with serve_provider() as http:
            answer = await http.get("/v1/auth/me", headers=bearer(token()))
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "SERVICE_UNAVAILABLE"
            assert answer.headers["Retry-After"] == "30"
            assert await status_of(http, "nonsense") == 401
    assert {"event": "jwks_not_fetched", "reason": "the answer is HTTP 500"}.items() <= logs[0].items()


async def test_a_server_recovers_when_its_provider_does(provider, serve_provider):
    provider.status = 500
    async with serve_provider() as http:
        provider.status = 200
        assert await status_of(http, token()) == 200


async def test_the_url_is_checked_at_the_start(provider):
    with pytest.raises(AuthOptionsError, match=r"^jwks_url: it must begin with https://"):
        options(provider, jwks_url_allow_http=False)


# A key set


def key_set(provider: Provider, **options: Any) -> KeySet:
    return KeySet(provider.url, algorithms=["RS256"], **{"refresh_seconds": 3600.0, "retry_seconds": 3600.0, **options})


async def found_for_ever(keys: KeySet, provider: Provider) -> None:
    while True:
        await keys.find("first")
        await provider.was_asked(provider.asked + 1)


async def found_again(keys: KeySet, provider: Provider) -> object:
    while True:
        try:
            return await keys.find("first")
        except KeysUnavailableError:
            await provider.was_asked(provider.asked + 1)


async def test_keys_are_renewed_at_intervals(provider):
    async with key_set(provider, refresh_seconds=0.05) as keys:
        provider.keys = [jwk(SECOND, "second")]
        await provider.was_asked(4)
        assert await keys.find("first") is None
        assert await keys.find("second") is not None


async def test_old_keys_serve_for_a_while_when_the_provider_is_away(provider):
    async with key_set(provider, refresh_seconds=0.05, max_stale_seconds=3600.0) as keys:
        provider.status = 503
        await provider.was_asked(4)
        assert await keys.find("first") is not None


async def test_old_keys_are_refused_in_the_end(provider):
    async with key_set(provider, refresh_seconds=0.05, max_stale_seconds=0.0, retry_seconds=0.01) as keys:
        provider.status = 503
        await provider.was_asked(6)
        with pytest.raises(KeysUnavailableError):
            await found_for_ever(keys, provider)
        provider.status = 200
        assert await found_again(keys, provider) is not None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"status": 404}, "HTTP 404"),
        ({"status": 302, "headers": {"Location": "/elsewhere"}}, "HTTP 302"),
        ({"keys": []}, "no keys that can be used"),
        ({"keys": "none"}, "not a JSON Web Key Set"),
        ({"keys": [{"padding": "x" * 2_000_000}]}, "larger than"),
    ],
)
async def test_what_is_no_key_set_is_not_taken_for_one(provider, answer, reason):
    async with key_set(provider, retry_seconds=0.0) as keys:
        for name, value in answer.items():
            setattr(provider, name, value)
        with capture_logs() as logs:
            assert await keys.find("unknown") is None
        assert reason in logs[0]["reason"]
        assert await keys.find("first") is not None


async def test_a_provider_that_is_not_there_is_reported():
    with capture_logs() as logs:
        async with KeySet("http://127.0.0.1:1/jwks.json", algorithms=["RS256"]) as keys:
            with pytest.raises(KeysUnavailableError):
                await keys.find("first")
    assert logs[0]["event"] == "jwks_not_fetched"


async def test_a_key_set_ends_while_it_waits_for_an_answer(provider):
    async with key_set(provider, retry_seconds=0.0) as keys:
        provider.may_answer.clear()
        waiting = asyncio.create_task(keys.find("unknown"))
        await provider.was_asked(2)
    with pytest.raises(asyncio.CancelledError):
        await waiting


# Which keys are used

EC = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    "entry",
    [
        {key: value for key, value in jwk(FIRST).items() if key != "kid"},
        jwk(FIRST, use="enc"),
        jwk(FIRST, alg="HS256"),
        jwk(FIRST, alg="RSA-OAEP"),
        jwk(FIRST, alg="ES256"),
        jwk(FIRST, n="!"),
        jwk(FIRST, n=7),
        jwk(FIRST, kid=7),
        jwk(FIRST, kty="unknown"),
        jwk(rsa.generate_private_key(public_exponent=65537, key_size=1024)),
        jwk(ec.generate_private_key(ec.SECP521R1())),
        jwk(EC, x="AAAA"),
        {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "first"},
        {**RSAAlgorithm.to_jwk(FIRST, as_dict=True), "kid": "first"},
        {},
        None,
    ],
)
def test_a_key_that_is_not_for_this_is_left_out(entry):
    keys = usable_keys({"keys": [entry, jwk(SECOND, "second")]}, ALGORITHMS)
    assert list(keys) == ["second"]


@pytest.mark.parametrize(
    ("entry", "algorithms", "fitting"),
    [
        (jwk(FIRST), ALGORITHMS, ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
        (jwk(FIRST, use="sig", alg="RS512"), ALGORITHMS, ("RS512",)),
        (jwk(FIRST), ["PS256", "ES256"], ("PS256",)),
        (jwk(EC), ALGORITHMS, ("ES256",)),
    ],
)
def test_a_key_verifies_what_it_is_for_and_what_is_allowed(entry, algorithms, fitting):
    assert usable_keys({"keys": [entry]}, algorithms)["first"].algorithms == fitting


@pytest.mark.parametrize("document", [None, [], {}, {"keys": []}, {"keys": {}}, {"keys": [jwk(FIRST, use="enc")]}])
def test_a_document_without_keys_is_refused(document):
    with pytest.raises(JwksFetchError):
        usable_keys(document, ALGORITHMS)


# Where it is fetched from


@pytest.mark.parametrize(
    "url",
    [
        "http://login.example.com/jwks.json",
        "ftp://login.example.com/jwks.json",
        "login.example.com/jwks.json",
        "https:///jwks.json",
        "https://[::1/jwks.json",
        "https://login.example.com:x/",
        "https://localhost/",
        "https://LOCALHOST./",
        "https://api.localhost/",
        "https://metadata.google.internal/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0.0.0.0/",
        "https://10.1.2.3/",
        "https://172.16.0.1/",
        "https://192.168.1.1/",
        "https://169.254.169.254/latest/",
        "https://[::1]/",
        "https://[::]/",
        "https://[fe80::1]/",
        "https://[fe80::1%25eth0]/",
        "https://[fd00::1]/",
        "https://[::ffff:127.0.0.1]/",
    ],
)
def test_a_url_of_the_own_network_is_refused(url):
    with pytest.raises(ValueError, match=r"it is not a URL|it must|is not a public one"):
        check_url(url, allow_http=False)


@pytest.mark.parametrize(
    "url", ["https://login.example.com/jwks.json", "https://8.8.8.8:8443/", "https://[2606:4700::1]/"]
)
def test_a_public_url_is_accepted(url):
    check_url(url, allow_http=False)


def test_a_test_may_use_the_own_network():
    check_url("http://localhost:8000/jwks.json", allow_http=True)
