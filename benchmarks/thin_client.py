"""An HTTP client that costs next to nothing, so that it is the server that is measured."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import msgspec

from benchmarks.measure import MeasurementError

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class Connection:
    """One connection that is kept: a request is one write, its answer two reads.

    It understands what Tasker's server sends, which is always of a known length.
    """

    def __init__(self, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._host = host
        self._reader = reader
        self._writer = writer

    async def post(self, path: str, body: bytes, content_type: str = "application/json") -> bytes:
        """Return the body of the answer.

        Raises:
            MeasurementError: the answer is no success.
        """
        return await self._exchange(
            f"POST {path} HTTP/1.1\r\nhost: {self._host}\r\ncontent-type: {content_type}\r\n"
            f"content-length: {len(body)}\r\n\r\n".encode()
            + body
        )

    async def get(self, path: str) -> Any:
        """Return the decoded body of the answer.

        Raises:
            MeasurementError: the answer is no success.
        """
        return msgspec.json.decode(await self._exchange(f"GET {path} HTTP/1.1\r\nhost: {self._host}\r\n\r\n".encode()))

    async def _exchange(self, request: bytes) -> bytes:
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        body = await self._reader.readexactly(int(length[1])) if length else b""
        if head[9:10] != b"2":
            raise MeasurementError(f"{request[:80]!r} was answered {head[9:12].decode()}: {body[:500]!r}")
        return body


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    """Yield a connection to the server at ``url``."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        yield Connection(address.netloc, reader, writer)
    finally:
        writer.close()
