"""The step source of a worker that reaches the engine through a server, over HTTP."""

import asyncio
import contextlib
import functools
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Self, TypeVar

import httpx
import msgspec
import structlog

import tasker_core
from tasker_core import wire
from tasker_core.errors import RetryableError
from tasker_core.step_source import (
    AncestorResult,
    LeasedStep,
    LeaseKey,
    Renew,
    ReportAnswer,
    SourceRefusedError,
    SourceUnavailableError,
    StepReport,
)

#: Seconds that a claim waits for work; shorter than most proxies wait for an answer.
CLAIM_SECONDS: Final = 20.0

#: Seconds until a call counts as failed, beyond the time that it asks the server to wait.
CALL_SECONDS: Final = 15.0

#: Seconds until a connection attempt counts as failed.
_CONNECT_SECONDS: Final = 5.0

#: Seconds for saying goodbye.
_DEREGISTER_SECONDS: Final = 5.0

#: Statuses that are worth another try.
_TEMPORARY: Final = {408, 425, 429}

#: Statuses of a request that is wrong by itself.
_WRONG: Final = {400, 409, 413, 422}

_JSON: Final = {"content-type": "application/json"}

log = structlog.get_logger("tasker.worker")

_Answer = TypeVar("_Answer")

#: Returns the headers to send with a request; called anew for each, so that tokens may change.
Headers = Callable[[], Mapping[str, str]]


class RequestRefusedError(ValueError):
    """The server does not take a request as it is."""


class _UnknownWorkerError(Exception):
    """The server does not know the worker, or not any more."""


@contextlib.asynccontextmanager
async def http_source(
    url: str,
    *,
    callables: Sequence[str],
    concurrency: int,
    namespaces: Sequence[str] | None = None,
    name: str | None = None,
    headers: Headers = dict,
) -> AsyncIterator["HttpStepSource"]:
    """Register a worker with a server and return its step source; deregisters at the end.

    Args:
        url: the server's base URL, such as ``http://localhost:8080``.
        callables: what the worker has handlers for.
        concurrency: steps that it runs at once, for display.
        namespaces: where it takes steps from; None is everywhere that its credentials let it in.
        name: the worker's name in history; ``hostname-pid`` by default.
        headers: returns the headers that carry the credentials.

    Raises:
        SourceUnavailableError: the server cannot be reached.
        SourceRefusedError: the server does not let the worker in, or is none.
    """
    hostname, pid = socket.gethostname(), os.getpid()
    registration = wire.Registration(
        callables=list(callables),
        name=name or f"{hostname}-{pid}",
        namespaces=None if namespaces is None else list(namespaces),
        concurrency=concurrency,
        sdk=f"python/{tasker_core.__version__}",
        hostname=hostname,
        pid=pid,
        lazy_results=True,
    )
    async with HttpStepSource(url, registration, headers) as source:
        yield source


class HttpStepSource:
    """Claims from and reports to a server. See :func:`http_source`."""

    def __init__(self, url: str, registration: wire.Registration, headers: Headers) -> None:
        self._url = url.rstrip("/")
        self._registration = wire.encode(registration)
        self._headers = headers
        self._registered: wire.Registered | None = None
        self._registering = asyncio.Lock()
        self._client: httpx.AsyncClient | None = None
        # Reading the certificates takes a while, so it is done once.
        self._tls = httpx.create_ssl_context()
        self._fetcher: httpx.Client | None = None
        self._opening = threading.Lock()

    async def __aenter__(self) -> Self:
        self._client = self._new_client()
        try:
            await self._register()
        except BaseException:
            await self._client.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._client is not None
        try:
            await self._post(self._client, self._path("deregister"), b"", timeout=_DEREGISTER_SECONDS)
        except (SourceUnavailableError, SourceRefusedError, _UnknownWorkerError) as error:
            log.warning("deregistration_failed", reason=str(error))
        finally:
            await self._client.aclose()
            if self._fetcher is not None:
                self._fetcher.close()

    @property
    def lease_seconds(self) -> float:
        """How long a lease lasts unless a heartbeat renews it."""
        return self._known.lease_seconds

    @property
    def wait_seconds(self) -> float:
        """How long a claim waits at most."""
        return min(CLAIM_SECONDS, self._known.max_wait_seconds)

    async def claim(self, limit: int) -> Sequence[LeasedStep]:
        """Lease up to ``limit`` steps, as soon as there are any."""
        wait = self.wait_seconds
        body = {"limit": min(limit, wire.MAX_LEASES), "wait_seconds": wait}
        return self._steps((await self._call("lease", body, wire.Leases, wait)).leases)

    async def report(self, reports: Sequence[StepReport], want: int) -> ReportAnswer:
        """Record the ends of attempts and lease up to ``want`` of the steps that they freed."""
        results = [wire.completion(report) for report in reports]
        reply = await self._call("report", {"results": results, "lease": min(want, wire.MAX_LEASES)}, wire.ReportReply)
        refused, rejected = set(), {}
        for refusal in reply.refused:
            if refusal.step_uuid is None or refusal.lease_id is None:
                continue
            lease = wire.lease_key(refusal.step_uuid, refusal.lease_id)
            if refusal.reason in {wire.MALFORMED, wire.NOT_RECORDABLE}:
                rejected[lease] = refusal.detail or refusal.reason
            else:
                refused.add(lease)
        return ReportAnswer(frozenset(refused), self._steps(reply.leases), reply.more_ready, rejected=rejected)

    async def recover(self) -> Sequence[LeasedStep]:
        """Return every step that the engine holds leased to this worker."""
        return self._steps((await self._call("recover", {}, wire.Leases)).leases)

    async def next_due(self) -> float | None:
        """Return None: a claim returns as soon as a waiting retry is due."""
        return None

    async def release(self, leases: Sequence[LeaseKey]) -> None:
        """Give leases back unused."""
        if leases:
            await self._call("release", {"leases": [wire.lease_name(lease) for lease in leases]}, object)

    @contextlib.asynccontextmanager
    async def heartbeats(self) -> AsyncIterator[Renew]:
        """Return a context whose value renews leases, over a connection of its own."""
        async with self._new_client() as client:

            async def renew(leases: Sequence[LeaseKey]) -> frozenset[LeaseKey]:
                wait = min(self.lease_seconds / 3, self._known.max_wait_seconds)
                body = {"leases": [wire.lease_name(lease) for lease in leases], "wait_seconds": wait}
                try:
                    text = await self._post(client, self._path("heartbeat"), wire.encode(body), wait=wait)
                except _UnknownWorkerError:
                    return frozenset(leases)  # the next claim registers again
                reply = _decoded(text, wire.HeartbeatReply)
                return frozenset(name.key for name in (*reply.lost, *reply.cancelled))

            yield renew

    @property
    def _known(self) -> wire.Registered:
        assert self._registered is not None
        return self._registered

    def _path(self, verb: str) -> str:
        return f"/v1/worker/{self._known.worker_id}/{verb}"

    def _steps(self, items: Sequence[wire.LeaseItem]) -> list[LeasedStep]:
        return [
            wire.leased_step(item, {name: self._stand_in(item.key, name) for name in item.omitted_results})
            for item in items
        ]

    def _stand_in(self, lease: LeaseKey, name: str) -> AncestorResult:
        return _OmittedResult(name, "", None, None, functools.cache(lambda: self._fetch_result(lease, name)))

    def _fetch_result(self, lease: LeaseKey, name: str) -> dict[str, Any]:
        """Return the envelope of a result that a lease left out; blocks, and may be called from any thread.

        Raises:
            RetryableError: the server cannot give it just now.
        """
        with self._opening:
            if self._fetcher is None:
                self._fetcher = httpx.Client(base_url=self._url, headers=_JSON, verify=self._tls)
        body = wire.encode({**wire.lease_name(lease), "names": [name]})
        try:
            response = self._fetcher.post(
                self._path("results"), content=body, headers=self._headers(), timeout=_timeout(CALL_SECONDS)
            )
            found = _decoded(_checked(response), wire.ResultsReply).results[name]
        except (httpx.TransportError, SourceUnavailableError, RequestRefusedError, _UnknownWorkerError) as error:
            raise RetryableError(f"the result of step {name!r} cannot be fetched: {error}") from error
        if found is None:
            raise RetryableError(f"the result of step {name!r} is not there any more")
        return found.ancestor(name).envelope()

    async def _register(self) -> None:
        assert self._client is not None
        self._registered = _decoded(
            await self._post(self._client, "/v1/worker/register", self._registration), wire.Registered
        )
        log.info("worker_registered", server=self._url, worker_id=self._registered.worker_id)

    async def _call(self, verb: str, body: dict[str, Any], answer: type[_Answer], wait: float = 0.0) -> _Answer:
        assert self._client is not None
        text = wire.encode(body)
        known = self._registered
        try:
            return _decoded(await self._post(self._client, self._path(verb), text, wait=wait), answer)
        except _UnknownWorkerError:
            async with self._registering:
                if self._registered is known:
                    await self._register()
        try:
            return _decoded(await self._post(self._client, self._path(verb), text, wait=wait), answer)
        except _UnknownWorkerError as error:
            raise SourceUnavailableError("the server forgot the worker right after it was registered") from error

    async def _post(
        self, client: httpx.AsyncClient, path: str, body: bytes, *, wait: float = 0.0, timeout: float = CALL_SECONDS
    ) -> bytes:
        try:
            response = await client.post(path, content=body, headers=self._headers(), timeout=_timeout(timeout + wait))
        except httpx.TransportError as error:
            raise _unreachable(self._url, error) from error
        return _checked(response)

    def _new_client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self._url, headers=_JSON, verify=self._tls)


@dataclass(frozen=True, slots=True)
class _OmittedResult(AncestorResult):
    """A large result, fetched when a handler asks for it, on that handler's thread."""

    fetch: Callable[[], dict[str, Any]]

    def envelope(self) -> dict[str, Any]:
        """Return it as handlers expect it."""
        return self.fetch()


def _timeout(seconds: float) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=_CONNECT_SECONDS)


def _unreachable(url: str, error: httpx.TransportError) -> SourceUnavailableError:
    return SourceUnavailableError(f"no answer from {url}: {error or type(error).__name__}")


def _checked(response: httpx.Response) -> bytes:
    """Return the body of a good answer.

    Raises:
        SourceUnavailableError: another try may help.
        SourceRefusedError: the credentials are refused, or this is no server of ours.
        RequestRefusedError: the request is wrong.
        _UnknownWorkerError: the worker must register again.
    """
    status = response.status_code
    if status == httpx.codes.OK:
        return response.content
    code, message = _error_in(response)
    told = f"{response.request.url} answered {status} {code}: {message}"
    if code == wire.WORKER_UNKNOWN:
        raise _UnknownWorkerError(told)
    if status in _TEMPORARY or status >= 500:
        raise SourceUnavailableError(told, _retry_after(response))
    if status in _WRONG:
        raise RequestRefusedError(told)
    raise SourceRefusedError(told)


def _error_in(response: httpx.Response) -> tuple[str, str]:
    try:
        error = msgspec.json.decode(response.content)["error"]
        return str(error["code"]), str(error["message"])
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError):
        return response.reason_phrase, response.text[:200]


def _retry_after(response: httpx.Response) -> float | None:
    value = response.headers.get("retry-after")
    if value is None:
        return None
    with contextlib.suppress(ValueError):
        return max(0.0, float(value))
    with contextlib.suppress(ValueError):
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    return None


def _decoded(text: bytes, kind: type[_Answer]) -> _Answer:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SourceUnavailableError(f"the answer cannot be read: {error}") from error
