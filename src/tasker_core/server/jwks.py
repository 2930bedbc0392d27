"""Public keys that somebody else publishes, as a JSON Web Key Set."""

import asyncio
import contextlib
import ipaddress
import socket
import time
from collections.abc import Collection, Mapping
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx
import jwt
import structlog

from tasker_core import serialization
from tasker_core.server.jwt_verification import KeysUnavailableError, VerificationKey, fitting_algorithms

#: Seconds that a fetch may take.
_TIMEOUT_SECONDS: Final = 10.0

#: Seconds between two fetches because of keys that are not known, and between attempts after a failed one.
RETRY_SECONDS: Final = 30.0

#: Largest key set, in bytes.
_MAX_BYTES: Final = 1024 * 1024

_INTERNAL_HOSTS: Final = {"localhost", "metadata.google.internal"}

log = structlog.get_logger("tasker.jwks")


class JwksFetchError(Exception):
    """A key set cannot be had; the message says why."""


class KeySet:
    """The keys at a URL, fetched at the start, at intervals, and when a token names a key that is not known.

    Use as an async context manager, for as long as tokens are verified.

    Args:
        url: where the key set is; see `check_url`.
        algorithms: those that are allowed.
        refresh_seconds: interval of fetches.
        max_stale_seconds: how long keys may be used beyond that while fetches fail.
        retry_seconds: least time between two fetches because of keys that are not known.
    """

    def __init__(
        self,
        url: str,
        *,
        algorithms: Collection[str],
        refresh_seconds: float = 3600.0,
        max_stale_seconds: float = 300.0,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._url = url
        self._algorithms = algorithms
        self._refresh_seconds = refresh_seconds
        self._max_stale_seconds = max_stale_seconds
        self._retry_seconds = retry_seconds
        self._keys: Mapping[str, VerificationKey] = {}
        self._fetched_at = -float("inf")
        self._asked_at = -float("inf")
        self._fetching: asyncio.Task[bool] | None = None
        self._refreshing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        fetched = await self._fetch()
        self._refreshing = asyncio.create_task(self._refresh(fetched=fetched))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        running = [task for task in (self._refreshing, self._fetching) if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def find(self, key_id: str | None) -> VerificationKey | None:
        """Return the key of an id, or None if there is none.

        Raises:
            KeysUnavailableError: there are no keys, or they have been stale for too long.
        """
        if key_id is None:
            return None
        if not self._usable or key_id not in self._keys:
            await self._ask()
        if not self._usable:
            raise KeysUnavailableError(f"no keys could be fetched from {self._url}")
        return self._keys.get(key_id)

    @property
    def _usable(self) -> bool:
        return time.monotonic() - self._fetched_at <= self._refresh_seconds + self._max_stale_seconds

    async def _ask(self) -> None:
        """Fetch now, unless it was done a short time ago. A flood of unknown keys so costs no flood of fetches."""
        now = time.monotonic()
        if self._fetching is None:
            if now - self._asked_at < self._retry_seconds:
                return
            self._asked_at = now
        await self._fetch()

    async def _refresh(self, *, fetched: bool) -> None:
        while True:
            interval = self._refresh_seconds if fetched else min(self._retry_seconds, self._refresh_seconds)
            await asyncio.sleep(interval)
            fetched = await self._fetch()

    async def _fetch(self) -> bool:
        """Fetch, or wait for the fetch that is under way; return whether it succeeded."""
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch_once())
            self._fetching.add_done_callback(self._fetch_over)
        return await asyncio.shield(self._fetching)

    def _fetch_over(self, _task: asyncio.Task[bool]) -> None:
        self._fetching = None

    async def _fetch_once(self) -> bool:
        started = time.monotonic()
        try:
            keys = usable_keys(await _download(self._url), self._algorithms)
        except JwksFetchError as error:
            log.warning("jwks_not_fetched", url=self._url, reason=str(error), keys_kept=len(self._keys))
            return False
        self._keys, self._fetched_at = keys, started
        return True


def check_url(url: str, *, allow_http: bool) -> None:
    """Check where a key set is to be fetched from.

    Args:
        url: an ``https://`` URL of a public host. Names of hosts are not resolved.
        allow_http: whether ``http://`` and hosts of the own network will do, too.

    Raises:
        ValueError: the URL is of another kind; the message says why.
    """
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"it is not a URL: {error}") from None
    if parts.scheme not in {"https", "http"} or not host:
        raise ValueError("it must be a URL such as https://login.example.com/jwks.json")
    if allow_http:
        return
    if parts.scheme != "https":
        raise ValueError("it must begin with https://")
    if _is_internal(host):
        raise ValueError(f"the host {host} is not a public one")


def usable_keys(document: Any, algorithms: Collection[str]) -> dict[str, VerificationKey]:
    """Return the keys of a key set by their ids, as far as they are public keys to verify allowed algorithms with.

    Raises:
        JwksFetchError: it is no key set, or none of its keys can be used.
    """
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise JwksFetchError("it is not a JSON Web Key Set")
    keys = dict[str, VerificationKey]()
    for entry in document["keys"]:
        found = _key(entry, algorithms) if isinstance(entry, dict) else None
        if found is not None:
            keys[entry["kid"]] = found
    if not keys:
        raise JwksFetchError("it has no keys that can be used")
    return keys


def _key(entry: dict[str, Any], algorithms: Collection[str]) -> VerificationKey | None:
    if not isinstance(entry.get("kid"), str) or entry.get("use", "sig") != "sig" or "d" in entry:
        return None
    declared = {key: value for key, value in entry.items() if key != "alg"}
    try:
        # Without its alg, which PyJWK would take for the only one even if it does not fit the kind of key.
        key = jwt.PyJWK(declared).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None
    own = entry.get("alg")
    fitting = tuple(name for name in fitting_algorithms(key) if name in algorithms and own in (None, name))
    return VerificationKey(key, fitting) if fitting else None


async def _download(url: str) -> Any:
    content = bytearray()
    try:
        async with (
            asyncio.timeout(_TIMEOUT_SECONDS),
            httpx.AsyncClient(follow_redirects=False, timeout=_TIMEOUT_SECONDS) as client,
            client.stream("GET", url, headers={"Accept": "application/json"}) as response,
        ):
            if response.status_code != httpx.codes.OK:
                raise JwksFetchError(f"the answer is HTTP {response.status_code}")
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > _MAX_BYTES:
                    raise JwksFetchError(f"it is larger than {_MAX_BYTES} bytes")
        return serialization.loads(bytes(content))
    except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
        raise JwksFetchError(f"it cannot be fetched: {error or type(error).__name__}") from error
    except serialization.SerializationError as error:
        raise JwksFetchError(f"it is {error}") from error


def _is_internal(host: str) -> bool:
    name = host.rstrip(".").lower()
    if name in _INTERNAL_HOSTS or name.endswith(".localhost"):
        return True
    address = _address(name)
    return address is not None and not address.is_global


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that a host is written as, also in the shorthand that resolvers take, such as ``127.1``."""
    with contextlib.suppress(OSError, UnicodeEncodeError):
        return ipaddress.IPv4Address(socket.inet_aton(host))
    with contextlib.suppress(ValueError):
        address = ipaddress.IPv6Address(host.partition("%")[0])
        return address.ipv4_mapped or address
    return None
