"""What happens to every request, whatever its route: an id, a limit of size and of time, a count."""

import asyncio
import re
import time
import uuid
from typing import Any, Final

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tasker_core.server.errors import ApiError, translated
from tasker_core.server.metrics import Metrics

#: An id that a client gives its request is kept if it looks like one.
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:-]{1,128}")

#: What a request counts as whose client left before it was answered.
_NO_ANSWER: Final = 499

log = structlog.get_logger("tasker.server")


class RequestMiddleware:
    """Gives each request an id, bounds it, and counts it.

    Args:
        app: the application.
        metrics: where requests are counted.
        max_body_bytes: largest body that is read; larger ones are answered with 413.
        timeout_seconds: longest time until a response begins; then 408. A route that waits on purpose adds its own
            waiting time by ``scope["state"]["extend"](seconds)``.
        log_requests: log a line for each request, once it is answered.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: Metrics,
        max_body_bytes: int,
        timeout_seconds: float,
        log_requests: bool = False,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._max_body_bytes = max_body_bytes
        self._timeout_seconds = timeout_seconds
        self._log_requests = log_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        exchange = _Exchange(scope, receive, send, self._max_body_bytes)
        structlog.contextvars.bind_contextvars(request_id=exchange.request_id.decode())
        try:
            await self._within_time(scope, exchange)
        finally:
            answered = exchange.answered_at or time.perf_counter()
            if self._log_requests:
                _log_request(scope, exchange.status or _NO_ANSWER, answered - started)
            structlog.contextvars.unbind_contextvars("request_id")
            route = getattr(scope.get("route"), "path", "unmatched")
            self._metrics.request(scope["method"], route, exchange.status or _NO_ANSWER, answered - started)

    async def _within_time(self, scope: Scope, exchange: "_Exchange") -> None:
        try:
            async with asyncio.timeout(None) as limit:
                loop = asyncio.get_running_loop()
                start = loop.time()

                def extend(seconds: float) -> None:
                    limit.reschedule(start + self._timeout_seconds + seconds)

                extend(0.0)
                scope.setdefault("state", {})["extend"] = extend
                exchange.on_start = lambda: limit.reschedule(None)
                await self._app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            log.debug("client_disconnected")
        except Exception as error:
            if exchange.status is not None:
                raise
            expired = isinstance(error, TimeoutError) and limit.expired()
            await self._answer(
                scope, exchange, ApiError(408, "TIMEOUT", "Request timeout") if expired else _as_api_error(error)
            )

    @staticmethod
    async def _answer(scope: Scope, exchange: "_Exchange", error: ApiError) -> None:
        # The limit of time is over and done with.
        exchange.on_start = None
        await error.response()(scope, exchange.receive, exchange.send)


def _log_request(scope: Scope, status: int, seconds: float) -> None:
    caller = scope.get("state", {}).get("caller")
    log.info(
        "request",
        method=scope["method"],
        path=scope["path"],
        status=status,
        milliseconds=round(1000 * seconds, 1),
        subject=None if caller is None else caller.subject,
    )


class _BodyTooLargeError(HTTPException):
    """The body of a request exceeds the limit.

    The framework passes on no other exceptions than this kind from where it reads a body.
    """

    def __init__(self, max_body_bytes: int) -> None:
        super().__init__(413, f"The request body is larger than {max_body_bytes} bytes")


def _as_api_error(error: Exception) -> ApiError:
    if isinstance(error, _BodyTooLargeError):
        return ApiError(413, "PAYLOAD_TOO_LARGE", error.detail)
    return translated(error)


class _Exchange:
    """One request and its response."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, max_body_bytes: int) -> None:
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4()).encode()
        self.status: int | None = None
        self.answered_at: float | None = None
        self.on_start: Any = None
        self._receive = receive
        self._send = send
        self._max_body_bytes = max_body_bytes
        self._received = 0
        declared = headers.get(b"content-length", b"")
        # What is no number was refused by the server, or will be by whoever reads the body.
        self._declared = int(declared) if declared.isdigit() else 0

    async def receive(self) -> Message:
        if self._declared > self._max_body_bytes:
            raise _BodyTooLargeError(self._max_body_bytes)
        message = await self._receive()
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            if self._received > self._max_body_bytes:
                raise _BodyTooLargeError(self._max_body_bytes)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.answered_at = time.perf_counter()
            message.setdefault("headers", []).append((b"x-request-id", self.request_id))
            if self.on_start is not None:
                self.on_start()
        await self._send(message)
