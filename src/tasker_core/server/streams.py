"""Server-sent events: answers that go on until there is nothing more to tell."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator
from typing import Final

import structlog
from fastapi import Response
from starlette.types import Receive, Scope, Send

from tasker_core import serialization
from tasker_core.orchestration.feed import News
from tasker_core.server.errors import ApiError

#: Streams of one process.
MAX_STREAMS: Final = 200

#: Seconds after which a quiet stream shows that it is alive.
KEEP_ALIVE_SECONDS: Final = 15.0

#: Milliseconds after which a client that lost its stream connects again.
_RETRY_MILLISECONDS: Final = 2000

#: Seconds that a client may take to accept what is sent.
_SEND_SECONDS: Final = 30.0

_HEADERS: Final = {
    "Cache-Control": "no-store",
    # Proxies should pass events on as they come.
    "X-Accel-Buffering": "no",
}


log = structlog.get_logger("tasker.server")


class Streams:
    """The streams of one application.

    Args:
        stopping: set when the server is about to stop; then all streams end.
        maximum: how many there may be.
    """

    def __init__(self, stopping: asyncio.Event, maximum: int = MAX_STREAMS) -> None:
        self.stopping = stopping
        self._maximum = maximum
        self._open = 0

    def enter(self) -> None:
        """Count one more.

        Raises:
            ApiError: there are too many (503).
        """
        if self._open >= self._maximum:
            message = f"This server has {self._maximum} event streams already"
            raise ApiError(503, "SERVICE_UNAVAILABLE", message, retry_after=5)
        self._open += 1

    def leave(self) -> None:
        """Count one less."""
        self._open -= 1


class EventStream(Response):
    """Sends news as server-sent events until they end, the client leaves or the server stops.

    A client that does not accept what is sent for half a minute is disconnected. Whenever a stream ends before its
    end event, the client may connect again with the id of the last event that it has seen.

    Args:
        news: what to tell.
        streams: where it is counted.
    """

    media_type = "text/event-stream"

    def __init__(self, news: AsyncGenerator[News, None], streams: Streams) -> None:
        super().__init__(headers=_HEADERS)
        # The length of the body is not known.
        del self.headers["content-length"]
        self._news = news
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as every response
        """Send everything."""
        self._streams.enter()
        telling = asyncio.create_task(self._tell(send))
        others = [asyncio.create_task(_disconnected(receive)), asyncio.create_task(self._streams.stopping.wait())]
        try:
            await asyncio.wait({telling, *others}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._streams.leave()
            told = telling.done()
            for task in (telling, *others):
                task.cancel()
            await asyncio.gather(telling, *others, return_exceptions=True)
        try:
            if told:
                telling.result()
            elif self._streams.stopping.is_set():
                await _send(send, b"", more=False)
        except TimeoutError:
            log.info("slow_listener_disconnected")

    async def _tell(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await _send(send, f"retry: {_RETRY_MILLISECONDS}\n\n".encode())
        async with contextlib.aclosing(self._news):
            async for news in self._news:
                await _send(send, "".join(_events(news)).encode())
        await _send(send, b"", more=False)


def _events(news: News) -> Iterator[str]:
    for change in news.changes:
        kind = "step" if change.is_of_step else "task"
        yield f"id: {change.position}\nevent: {kind}\ndata: {change.text}\n\n"
    if news.over is not None:
        yield f"id: {news.position}\nevent: end\ndata: {serialization.dumps({'status': news.over})}\n\n"
    elif not news.changes:
        # An event without data is none, but its id counts: with a filter, the last event may be long ago.
        yield f"id: {news.position}\n: keep-alive\n\n"


async def _send(send: Send, body: bytes, *, more: bool = True) -> None:
    async with asyncio.timeout(_SEND_SECONDS):
        await send({"type": "http.response.body", "body": body, "more_body": more})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
