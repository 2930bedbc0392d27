"""Who makes a request: by a JSON Web Token, or by an API key."""

import hashlib
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Self

import structlog
from fastapi import Request

from tasker_core.access import Caller, granted, usable_name
from tasker_core.orchestration import Engine
from tasker_core.orchestration.api_keys import ApiKeys
from tasker_core.server.auth_options import AuthOptions, callers_of_keys
from tasker_core.server.errors import ApiError
from tasker_core.server.jwks import KeySet
from tasker_core.server.jwt_verification import (
    InvalidTokenError,
    KeySource,
    KeysUnavailableError,
    OneKey,
    TokenVerifier,
    key_of_pem,
)

#: Seconds after which somebody whose credentials were refused may try again, and when keys may be there again.
_RETRY_REFUSED_SECONDS: Final = 60
_RETRY_KEYS_SECONDS: Final = 30

#: Unknown permissions that are remembered, so that each is logged once.
_MOST_NOTED: Final = 1_000

log = structlog.get_logger("tasker.authentication")


def authenticator_for(options: AuthOptions, engine: Engine) -> "CredentialAuthenticator | None":
    """Return what `create_app` takes as ``authenticator``; None if authentication is off."""
    return CredentialAuthenticator(options, engine.api_keys) if options.enabled else None


class CredentialAuthenticator:
    """Knows callers by a token or by an API key.

    As an async context manager it keeps the keys fresh that tokens are verified with; the application enters it.

    Args:
        options: how.
        keys: the API keys that are in the database.
    """

    def __init__(self, options: AuthOptions, keys: ApiKeys) -> None:
        self._options = options
        self._key_header = options.api_key_header.lower().encode()
        self._keys = keys
        self._static_keys = callers_of_keys(options.api_keys)
        self._key_set = _key_set(options)
        source: KeySource | None = self._key_set
        if options.jwt_verification_method == "public_key" and options.jwt_public_key:
            source = OneKey(key_of_pem(options.jwt_public_key))
        self._verifier = (
            None
            if source is None
            else TokenVerifier(
                source,
                issuer=options.jwt_issuer,
                audience=options.jwt_audience,
                algorithms=frozenset(options.jwt_allowed_algorithms),
            )
        )
        self._noted: set[str] = set()

    @property
    def options(self) -> AuthOptions:
        """How callers are known."""
        return self._options

    async def __aenter__(self) -> Self:
        if self._key_set is not None:
            await self._key_set.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._key_set is not None:
            await self._key_set.__aexit__(kind, error, trace)
        await self._keys.settle()

    async def authenticate(self, request: Request) -> Caller:
        """Return who makes a request.

        A token is looked at first, and is final: if it is refused, a key beside it does not help.

        Raises:
            ApiError: there are no credentials, or they are not valid (401), or it cannot be told now (503).
            StoreUnavailableError: the database cannot be asked whose a key is.
        """
        method, credential = self._credential(request)
        try:
            if method == "jwt":
                caller = await self._by_token(credential)
            elif method == "api_key":
                caller = await self._by_key(credential)
            else:
                raise _refusal("missing", "Missing authentication credentials")
        except ApiError as error:
            _count(request, method, error.headers.get("X-Auth-Failure-Reason", "unavailable"))
            raise
        _count(request, method, "success")
        return caller

    def _credential(self, request: Request) -> tuple[str, str]:
        """Return how a request is authenticated, and the token or key."""
        authorization = _header(request, b"authorization")
        if authorization is None:
            _count(request, "jwt", "malformed")
            raise _refusal("malformed", "Malformed Authorization header")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return "jwt", token.strip()
        if not self._options.api_keys_enabled:
            return "none", ""
        key = _header(request, self._key_header)
        if key is None:
            _count(request, "api_key", "malformed")
            raise _refusal("malformed", "Malformed API key header")
        return ("api_key", key) if key else ("none", "")

    async def _by_key(self, key: str) -> Caller:
        # Found by hash: how long it takes says nothing about the key.
        caller = self._static_keys.get(hashlib.sha256(key.encode()).digest()) or await self._keys.caller(key)
        if caller is None:
            raise _refusal("invalid", "Invalid API key")
        return caller

    async def _by_token(self, token: str) -> Caller:
        if self._verifier is None:
            raise _invalid_token()
        try:
            claims = await self._verifier.claims(token)
            return self._caller(claims)
        except InvalidTokenError as error:
            log.info("token_refused", reason=str(error))
            raise _invalid_token() from error
        except KeysUnavailableError as error:
            log.warning("token_not_verified", reason=str(error))
            message = "Service temporarily unavailable: the keys that tokens are verified with cannot be fetched"
            raise ApiError(503, "SERVICE_UNAVAILABLE", message, retry_after=_RETRY_KEYS_SECONDS) from error

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        caller, unknown = read_claims(claims, self._options.permissions_claim)
        if unknown:
            self._note_unknown(caller.subject, unknown)
            if self._options.strict_validation:
                raise InvalidTokenError(f"unknown permissions: {', '.join(unknown)}")
        return caller

    def _note_unknown(self, subject: str, unknown: Iterable[str]) -> None:
        if not self._options.log_unknown_permissions:
            return
        new = [name for name in unknown if name not in self._noted]
        if new and len(self._noted) < _MOST_NOTED:
            self._noted.update(new)
            log.warning("unknown_permissions", subject=subject, unknown=new)


def read_claims(claims: Mapping[str, Any], permissions_claim: str = "permissions") -> tuple[Caller, tuple[str, ...]]:
    """Return whom the claims of a verified token are about, and the permissions and roles in it that are unknown.

    Raises:
        InvalidTokenError: a claim is not of the kind that it must be.
    """
    subject = claims["sub"]
    if not usable_name(subject):
        raise InvalidTokenError("the claim sub is not a usable name")
    names = _texts(claims, permissions_claim, separated=True) or ()
    permissions, unknown = granted(names, _texts(claims, "roles") or ())
    return Caller(subject, permissions, _namespaces(claims)), unknown


def _count(request: Request, method: str, result: str) -> None:
    request.app.state.metrics.authentication(method, result)


def _invalid_token() -> ApiError:
    # Why is for the log alone: it would help whoever tries tokens out.
    return _refusal("invalid", "Invalid or expired token")


def _refusal(reason: str, message: str) -> ApiError:
    headers = {
        "WWW-Authenticate": "Bearer",
        "X-Auth-Failure-Reason": reason,
        "X-Auth-Failure-Severity": "low" if reason == "missing" else "high",
    }
    if reason != "missing":
        headers["Retry-After"] = str(_RETRY_REFUSED_SECONDS)
    return ApiError(401, "AUTHENTICATION_FAILED", message, headers=headers)


def _header(request: Request, name: bytes) -> str | None:
    """Return a header's value, empty if it is not there; None if it is not UTF-8 text, or there more than once."""
    values = [value for key, value in request.scope["headers"] if key == name]
    if len(values) > 1:
        return None
    try:
        return values[0].decode().strip() if values else ""
    except UnicodeDecodeError:
        return None


def _texts(claims: Mapping[str, Any], name: str, *, separated: bool = False) -> list[str] | None:
    """Return a claim that lists texts, or None if it is not there."""
    value = claims.get(name)
    if value is None:
        return None
    if separated and isinstance(value, str):
        return value.split()
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise InvalidTokenError(f"the claim {name} is not a list of texts")
    return value


def _namespaces(claims: Mapping[str, Any]) -> frozenset[str] | None:
    """Return the namespaces of a token; None means all.

    ``namespaces`` counts as it is: an empty list opens none. ``worker_namespaces``, which the reference system's tokens
    always have and leave empty where there is no limit, counts where ``namespaces`` is missing and if it has entries.
    """
    namespaces = _texts(claims, "namespaces")
    if namespaces is None:
        namespaces = _texts(claims, "worker_namespaces") or None
    if namespaces is None:
        return None
    if not all(usable_name(name) for name in namespaces):
        raise InvalidTokenError("a namespace is not a usable name")
    return frozenset(namespaces)


def _key_set(options: AuthOptions) -> KeySet | None:
    if options.jwt_verification_method != "jwks":
        return None
    return KeySet(
        options.jwks_url or "",
        algorithms=frozenset(options.jwt_allowed_algorithms),
        refresh_seconds=options.jwks_refresh_interval_seconds,
        max_stale_seconds=options.jwks_max_stale_seconds,
    )
