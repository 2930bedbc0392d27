"""An application on a port, until it is told to stop."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

#: Seconds that requests under way have to finish once the server is told to stop.
DEFAULT_SHUTDOWN_SECONDS: Final = 10.0

#: Seconds that an idle connection is kept; longer than the usual minute of a proxy in front, which should be the one
#: to close it.
_KEEP_ALIVE_SECONDS: Final = 75


class ServingError(OSError):
    """The server cannot be started; the message says why."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens.

    Attributes:
        host: a name or an IP address of this machine.
        port: 0 takes a free one.
        tls_certificate: PEM file of the certificate chain, for https; together with ``tls_key``.
        tls_key: PEM file of its private key.
        shared: whether other processes may listen on the same port; the kernel then divides connections among them.
    """

    host: str
    port: int
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    shared: bool = False

    def url(self, port: int) -> str:
        """Return the address as a URL; ``port`` is the one that it came to be."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.tls_certificate else ''}://{host}:{port}"


class HttpServer:
    """A server that listens.

    Attributes:
        url: where.
        running: ends when the server has ended.
    """

    def __init__(self, url: str, app: FastAPI, server: uvicorn.Server, running: "asyncio.Task[None]") -> None:
        self.url = url
        self.running = running
        self._app = app
        self._server = server

    def stop(self) -> None:
        """Take no more connections, and let requests under way finish; those that wait for something end now."""
        self._app.state.stopping.set()
        self._server.should_exit = True

    def leave(self) -> None:
        """End without waiting for requests under way."""
        self.stop()
        self._server.force_exit = True


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever runs the process."""
        yield


@contextlib.asynccontextmanager
async def listening(
    app: FastAPI, address: Address, *, shutdown_seconds: float = DEFAULT_SHUTDOWN_SECONDS
) -> AsyncIterator[HttpServer]:
    """Serve an application made by `create_app` until the body ends.

    Args:
        app: the application.
        address: where to listen.
        shutdown_seconds: how long requests under way may take to finish.

    Raises:
        ServingError: the address cannot be listened on, or the certificate cannot be used.
        Exception: whatever kept the application from starting.
    """
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # what matters of it becomes our errors and answers
    failures: list[Exception] = []
    config = uvicorn.Config(
        _noting(failures, app),
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        ssl_certfile=address.tls_certificate,
        ssl_keyfile=address.tls_key,
        timeout_graceful_shutdown=max(1, round(shutdown_seconds)),
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
    )
    try:
        config.load()
    except OSError as error:
        raise ServingError(f"the TLS certificate or its key cannot be used: {error.strerror or error}") from error
    listener = _listener(address)
    server = _Server(config)
    running = asyncio.create_task(_serve(server, listener))
    try:
        up = asyncio.create_task(server.up.wait())
        await asyncio.wait({up, running}, return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        if running.done():
            running.result()
            raise failures[0] if failures else ServingError("the application did not start")
        started = HttpServer(address.url(listener.getsockname()[1]), app, server, running)
        try:
            yield started
        finally:
            started.stop()
            await asyncio.gather(running, return_exceptions=True)
    finally:
        running.cancel()
        listener.close()


def _noting(failures: list[Exception], app: FastAPI) -> ASGIApp:
    """Return the application, which notes why it could not start; uvicorn only logs that."""

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        except Exception as error:
            if scope["type"] == "lifespan":
                failures.append(error)
            raise

    return noting


async def _serve(server: _Server, listener: socket.socket) -> None:
    with contextlib.suppress(SystemExit):  # how uvicorn says that it could not start
        await server.serve(sockets=[listener])


def _listener(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server(
            (address.host, address.port), family=family, backlog=2048, reuse_port=address.shared
        )
    except OSError as error:
        # asyncio and the socket module repeat the address in what the system says.
        reason = (error.strerror or str(error)).partition(" (while")[0]
        raise ServingError(f"cannot listen on {address.host}:{address.port}: {reason}") from error
