"""Requests as data: what is asked, whether asking twice is harmless, and what the answer means."""

import functools
import random
import ssl
import sys
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeAlias, TypeVar

import httpx

from tasker_core import serialization
from tasker_core.client.errors import (
    ConnectionFailedError,
    InvalidRequestError,
    TaskerClientError,
    error_of,
    retry_after_of,
)
from tasker_core.client.retries import Failure, RetryPolicy
from tasker_core.client.settings import ClientSettings
from tasker_core.serialization import SerializationError

T = TypeVar("T")

#: An idle connection is closed before the server, which waits five seconds, may close it under a request.
_KEEP_IDLE_SECONDS: Final = 3.0

#: Longest time to wait for a connection, in seconds.
_CONNECT_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked.

    Attributes:
        method: the HTTP method.
        path: below the server's URL.
        params: of the query; those that are None are left out.
        body: sent as JSON.
        text: sent as it is instead, with this content type.
        repeatable: whether carrying it out twice does no harm.
        repeat_body: sent instead of ``body`` once the answer to an earlier attempt was lost.
        extra_seconds: how much longer than usual the answer may take.
        patience: seconds for which an outage is sat out, however many repeats that takes; 0 for the usual few.
    """

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    text: tuple[str, str] | None = None
    repeatable: bool = False
    repeat_body: Any = None
    extra_seconds: float = 0.0
    patience: float = 0.0


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request of one of the client's methods, and what to make of the answer's JSON."""

    operation: str
    request: Request
    parse: Callable[[Any], T]

    def result(self, outcome: httpx.Response | httpx.HTTPError) -> T:
        """Return what the answer means.

        Raises:
            TaskerClientError: it is no success, or there is none.
        """
        if isinstance(outcome, httpx.HTTPError):
            raise lost(self.operation, outcome) from outcome
        if not outcome.is_success:
            raise error_of(self.operation, outcome.status_code, outcome.content, outcome.headers)
        try:
            return self.parse(serialization.loads(outcome.content) if outcome.content else None)
        except (SerializationError, TypeError, AttributeError, KeyError) as error:
            message = f"the answer is not one of a Tasker server: {outcome.text[:100]!r}"
            raise TaskerClientError(self.operation, message, status=outcome.status_code) from error


#: One call, or several, each of which follows from the answers before; it returns the result.
Plan: TypeAlias = Call[T] | Generator[Call[Any], Any, T]


def options(settings: ClientSettings) -> dict[str, Any]:
    """Return the arguments of httpx's clients."""
    return {
        "base_url": settings.base_url,
        "headers": dict(settings.headers),
        "limits": httpx.Limits(keepalive_expiry=_KEEP_IDLE_SECONDS),
        "verify": _trusted(),
    }


@functools.cache
def _trusted() -> ssl.SSLContext:
    """Return the certificates that are trusted; reading them takes longer than anything else about a new client."""
    return httpx.create_ssl_context()


def arguments(operation: str, request: Request, settings: ClientSettings, *, again: bool = False) -> dict[str, Any]:
    """Return the arguments of a request of httpx's clients.

    Raises:
        InvalidRequestError: the body cannot be written as JSON.
    """
    content, headers = None, dict[str, str]()
    body = request.repeat_body if again and request.repeat_body is not None else request.body
    if request.text is not None:
        content, headers["Content-Type"] = request.text
    elif body is not None:
        try:
            content = serialization.dumps(body)
        except SerializationError as error:
            raise InvalidRequestError(operation, str(error)) from error
        headers["Content-Type"] = "application/json"
    return {
        "method": request.method,
        "url": request.path,
        "params": {name: _parameter(value) for name, value in request.params.items() if value is not None},
        "content": content,
        "headers": headers,
        "timeout": httpx.Timeout(
            settings.timeout + request.extra_seconds, connect=min(settings.timeout, _CONNECT_SECONDS)
        ),
    }


def lost(operation: str, error: httpx.HTTPError) -> ConnectionFailedError:
    """Return the exception for a request that got no answer."""
    reason = str(error) or type(error).__name__
    if _unsent(error):
        return ConnectionFailedError(operation, f"no connection to the server: {reason}")
    return ConnectionFailedError(operation, f"no answer; the request may have been carried out: {reason}")


class Attempts:
    """The attempts of one request."""

    def __init__(self, call: Call[Any], settings: ClientSettings) -> None:
        self._call = call
        self._settings = settings
        self._policy = _policy(call.request, settings)
        self._began = time.monotonic()
        self._retries = 0
        self._maybe_done = False

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the next attempt."""
        return arguments(self._call.operation, self._call.request, self._settings, again=self._maybe_done)

    def pause_after(self, outcome: httpx.Response | httpx.HTTPError) -> float | None:
        """Return the seconds until the next attempt; None if the outcome is final."""
        if isinstance(outcome, httpx.Response):
            if outcome.is_success:
                return None
            failure = Failure(status=outcome.status_code, retry_after=retry_after_of(outcome.headers))
        else:
            failure = Failure(unsent=_unsent(outcome))
        pause = self._policy.pause(
            failure,
            repeatable=self._call.request.repeatable,
            retries=self._retries,
            elapsed=time.monotonic() - self._began,
            chance=random.random(),
        )
        self._retries += 1
        self._maybe_done = self._maybe_done or not failure.unsent
        return pause


def _policy(request: Request, settings: ClientSettings) -> RetryPolicy:
    if request.patience and settings.max_retries:
        return RetryPolicy(sys.maxsize, budget=request.extra_seconds + request.patience)
    # Two times the timeout, so that a request which timed out is tried once more.
    return RetryPolicy(settings.max_retries, budget=2 * (settings.timeout + request.extra_seconds))


def _unsent(error: httpx.HTTPError) -> bool:
    return isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.ProxyError)


def _parameter(value: Any) -> Any:
    if isinstance(value, list | tuple | set | frozenset):
        return [_parameter(each) for each in value]
    if isinstance(value, dict):
        return serialization.dumps(value)
    return value.isoformat() if hasattr(value, "isoformat") else str(value) if not isinstance(value, bool) else value
