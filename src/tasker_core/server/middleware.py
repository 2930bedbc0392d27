"""What happens to every request, whatever its route: an id, a limit of size and of time, a count."""

import asyncio
import re
import time
import uuid
from typing import Any, Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tasker_core.server.errors import ApiError, translated
from tasker_core.server.metrics import Metrics

#: An id that a client gives its request is kept if it looks like one.
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:-]{1,128}")

log = structlog.get_logger("tasker.server")


class RequestMiddleware:
    """Gives each request an id, bounds it, and counts it.

    Args:
        app: the application.
        metrics: where requests are counted.
        max_body_bytes: largest body that is read; larger ones are answered with 413.
        timeout_seconds: longest time until a response begins; then 408. Routes that wait on purpose add their own
            waiting time by ``scope["state"]["extra_seconds"]``.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, max_body_bytes: int, timeout_seconds: float) -> None:
        self._app = app
        self._metrics = metrics
        self._max_body_bytes = max_body_bytes
        self._timeout_seconds = timeout_seconds

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
            structlog.contextvars.unbind_contextvars("request_id")
            route = getattr(scope.get("route"), "path", "unmatched")
            self._metrics.request(scope["method"], route, exchange.status or 499, time.perf_counter() - started)

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
        except TimeoutError:
            if not limit.expired():
                raise
            if exchange.status is None:
                await self._answer(scope, exchange, ApiError(408, "TIMEOUT", "Request timeout"))
        except _BodyTooLargeError:
            if exchange.status is None:
                message = f"The request body is larger than {self._max_body_bytes} bytes"
                await self._answer(scope, exchange, ApiError(413, "PAYLOAD_TOO_LARGE", message))
        except Exception as error:
            if exchange.status is not None:
                raise
            await self._answer(scope, exchange, translated(error))

    @staticmethod
    async def _answer(scope: Scope, exchange: "_Exchange", error: ApiError) -> None:
        await error.response()(scope, exchange.receive, exchange.send)


class _BodyTooLargeError(Exception):
    """The body of a request exceeds the limit."""


class _Exchange:
    """One request and its response."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, max_body_bytes: int) -> None:
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4()).encode()
        self.status: int | None = None
        self.on_start: Any = None
        self._receive = receive
        self._send = send
        self._max_body_bytes = max_body_bytes
        self._received = 0
        self._declared = int(headers.get(b"content-length", b"0") or 0)

    async def receive(self) -> Message:
        if self._declared > self._max_body_bytes:
            raise _BodyTooLargeError
        message = await self._receive()
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            if self._received > self._max_body_bytes:
                raise _BodyTooLargeError
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message.setdefault("headers", []).append((b"x-request-id", self.request_id))
            if self.on_start is not None:
                self.on_start()
        await self._send(message)
