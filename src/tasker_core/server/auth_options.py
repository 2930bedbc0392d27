"""How callers are known: what an operator chooses, and that it can be used."""

import hashlib
import string
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from tasker_core.access import Caller, Permission, granted, usable_name
from tasker_core.server.jwks import check_url
from tasker_core.server.jwt_verification import ALGORITHMS, key_of_pem

#: Shortest API key that may stand in the configuration, in characters.
MINIMUM_KEY_LENGTH: Final = 16

_TOKEN_CHARACTERS: Final = frozenset(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~")


class AuthOptionsError(ValueError):
    """An option of authentication cannot be used; the message begins with its name."""


@dataclass(frozen=True, slots=True)
class ApiKeyOptions:
    """An API key that stands in the configuration.

    Attributes:
        key: the key itself, of at least 16 characters; or
        key_sha256: its SHA-256 in hexadecimal digits.
        permissions: what it allows: permissions, ``resource:*`` or ``*``.
        roles: names of roles whose permissions it has, too.
        namespaces: where it allows that; everywhere if None.
        description: whom it is for; the actor of what is done with it.
    """

    key: str | None = field(default=None, repr=False)
    key_sha256: str | None = field(default=None, repr=False)
    permissions: Sequence[str] = ()
    roles: Sequence[str] = ()
    namespaces: Sequence[str] | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class AuthOptions:
    """How callers are known.

    Attributes:
        enabled: whether callers must show who they are; else everybody may do everything.
        jwt_issuer: the ``iss`` that tokens must have.
        jwt_audience: the ``aud`` that tokens must have.
        jwt_verification_method: where the key is that tokens are verified with: ``public_key`` or ``jwks``.
        jwt_public_key: the public key, PEM text. Without it, and without ``jwks_url``, no token is valid.
        jwks_url: where keys are published, with ``jwks``.
        jwks_refresh_interval_seconds: how often they are fetched.
        jwks_max_stale_seconds: how long they may be used beyond that while they cannot be fetched; 0 for never.
        jwks_url_allow_http: whether ``jwks_url`` may begin with ``http://`` and be in the own network.
        jwt_allowed_algorithms: what tokens may be signed with; of `ALGORITHMS`.
        permissions_claim: the claim of a token that lists its permissions, as an array or separated by spaces.
        strict_validation: whether a token that names unknown permissions or roles is refused; else they are ignored.
        log_unknown_permissions: whether to log them, each once.
        api_key_header: the header that API keys are sent in.
        api_keys: keys of the configuration; others are in the database.
        api_keys_enabled: whether API keys are accepted at all.

    Raises:
        AuthOptionsError: authentication is enabled, and an option cannot be used.
    """

    enabled: bool = False
    jwt_issuer: str = "tasker-core"
    jwt_audience: str = "tasker-api"
    jwt_verification_method: str = "public_key"
    jwt_public_key: str | None = None
    jwks_url: str | None = None
    jwks_refresh_interval_seconds: float = 3600
    jwks_max_stale_seconds: float = 300
    jwks_url_allow_http: bool = False
    jwt_allowed_algorithms: Sequence[str] = ("RS256",)
    permissions_claim: str = "permissions"
    strict_validation: bool = True
    log_unknown_permissions: bool = True
    api_key_header: str = "X-API-Key"
    api_keys: Sequence[ApiKeyOptions] = ()
    api_keys_enabled: bool = True

    def __post_init__(self) -> None:
        if self.enabled:
            _check(self)


def _check(options: AuthOptions) -> None:
    """Raise `AuthOptionsError` for what cannot be used."""
    for name in ("jwt_issuer", "jwt_audience", "permissions_claim"):
        if not getattr(options, name):
            raise AuthOptionsError(f"{name} must not be empty")
    if options.permissions_claim in {"roles", "namespaces", "worker_namespaces"}:
        raise AuthOptionsError(f"permissions_claim cannot be {options.permissions_claim}, which has a meaning already")
    if not options.api_key_header or not _TOKEN_CHARACTERS.issuperset(options.api_key_header):
        raise AuthOptionsError(f"api_key_header {options.api_key_header!r} is not the name of a header")
    if options.api_key_header.lower() == "authorization":
        raise AuthOptionsError("api_key_header cannot be Authorization, which is for tokens")
    _check_algorithms(options.jwt_allowed_algorithms)
    match options.jwt_verification_method:
        case "public_key":
            _check_public_key(options)
        case "jwks":
            _check_jwks(options)
        case other:
            raise AuthOptionsError(f"jwt_verification_method must be public_key or jwks, not {other!r}")
    callers_of_keys(options.api_keys)


def _check_algorithms(algorithms: Collection[str]) -> None:
    if not algorithms:
        raise AuthOptionsError("jwt_allowed_algorithms must not be empty")
    for name in algorithms:
        if name not in ALGORITHMS:
            raise AuthOptionsError(
                f"jwt_allowed_algorithms: {name!r} cannot be used; there are {', '.join(ALGORITHMS)}"
            )


def _check_public_key(options: AuthOptions) -> None:
    if options.jwks_url:
        raise AuthOptionsError("jwks_url is set, but jwt_verification_method is public_key; it must be jwks")
    if not options.jwt_public_key:
        if not options.api_keys_enabled:
            raise AuthOptionsError("enabled is true, but nobody could get in: set jwt_public_key or api_keys_enabled")
        return
    try:
        key = key_of_pem(options.jwt_public_key)
    except ValueError as error:
        raise AuthOptionsError(f"jwt_public_key: {error}") from None
    if not set(key.algorithms) & set(options.jwt_allowed_algorithms):
        fitting = " or ".join(key.algorithms)
        raise AuthOptionsError(f"jwt_allowed_algorithms has none that fits jwt_public_key, which is for {fitting}")


def _check_jwks(options: AuthOptions) -> None:
    if options.jwt_public_key:
        raise AuthOptionsError("jwt_public_key is set, but jwt_verification_method is jwks; it must be public_key")
    if not options.jwks_url:
        raise AuthOptionsError("jwks_url must be set, since jwt_verification_method is jwks")
    try:
        check_url(options.jwks_url, allow_http=options.jwks_url_allow_http)
    except ValueError as error:
        raise AuthOptionsError(f"jwks_url: {error}") from None
    if not 0 < options.jwks_refresh_interval_seconds < float("inf"):
        raise AuthOptionsError("jwks_refresh_interval_seconds must be above 0")
    if not 0 <= options.jwks_max_stale_seconds < float("inf"):
        raise AuthOptionsError("jwks_max_stale_seconds must not be below 0")


def callers_of_keys(entries: Iterable[ApiKeyOptions]) -> dict[bytes, Caller]:
    """Return the callers of the keys that stand in the configuration, by the keys' hashes."""
    callers = dict[bytes, Caller]()
    for index, entry in enumerate(entries):
        where = f"api_keys[{index}]"
        key_hash = _static_hash(entry, where)
        if key_hash in callers:
            raise AuthOptionsError(f"{where} has the same key as one before it")
        callers[key_hash] = Caller(
            _static_subject(entry, where, index), _static_permissions(entry, where), _static_namespaces(entry, where)
        )
    return callers


def _static_hash(entry: ApiKeyOptions, where: str) -> bytes:
    if bool(entry.key) == bool(entry.key_sha256):
        raise AuthOptionsError(f"{where} must have either key or key_sha256")
    if entry.key:
        if len(entry.key) < MINIMUM_KEY_LENGTH or entry.key != entry.key.strip():
            raise AuthOptionsError(
                f"{where}.key must have at least {MINIMUM_KEY_LENGTH} characters, no space around it"
            )
        return hashlib.sha256(entry.key.encode()).digest()
    try:
        key_hash = bytes.fromhex(entry.key_sha256 or "")
    except ValueError:
        key_hash = b""
    if len(key_hash) != hashlib.sha256().digest_size:
        raise AuthOptionsError(f"{where}.key_sha256 must be 64 hexadecimal digits")
    return key_hash


def _static_subject(entry: ApiKeyOptions, where: str, index: int) -> str:
    subject = entry.description.strip() or f"api-key-{index + 1}"
    if not usable_name(subject):
        raise AuthOptionsError(f"{where}.description must be one line of at most 200 characters")
    return subject


def _static_permissions(entry: ApiKeyOptions, where: str) -> frozenset[Permission]:
    permissions, unknown = granted(entry.permissions, entry.roles)
    if unknown:
        raise AuthOptionsError(
            f"{where}: there is no permission {', '.join(unknown)}; see tasker auth show-permissions"
        )
    if not permissions:
        raise AuthOptionsError(f"{where} must have permissions or roles")
    return permissions


def _static_namespaces(entry: ApiKeyOptions, where: str) -> frozenset[str] | None:
    if entry.namespaces is None:
        return None
    if not entry.namespaces:
        raise AuthOptionsError(f"{where}.namespaces is empty; without it, the key is for all namespaces")
    return frozenset(entry.namespaces)
