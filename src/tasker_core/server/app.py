"""The HTTP application on an open engine."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from fastapi import FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware

import tasker_core
from tasker_core.access import ANONYMOUS, Caller
from tasker_core.orchestration import Engine
from tasker_core.server import errors, openapi
from tasker_core.server.admission import Admission, AdmissionLimits
from tasker_core.server.health import Health
from tasker_core.server.metrics import Metrics, SystemMetrics
from tasker_core.server.middleware import RequestMiddleware
from tasker_core.server.routes import ROUTERS
from tasker_core.server.routes.health import config_router
from tasker_core.server.routing import Authenticator
from tasker_core.server.streams import Streams
from tasker_core.server.worker_sessions import WorkerSessions
from tasker_core.store import StoreError

#: Largest request body, in bytes. A bulk creation of 10,000 tasks with contexts of 1.5 kB fits.
MAX_BODY_BYTES: Final = 16 * 1024 * 1024

#: Longest time until a response begins, in seconds.
REQUEST_TIMEOUT_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How an application serves.

    Attributes:
        max_body_bytes: largest request body.
        request_timeout_seconds: longest time until a response begins.
        cors_origins: origins of browsers that may call; none by default.
        config_endpoint_enabled: whether ``GET /config`` exists.
        environment: name of the environment, for display.
        name: this process's name in the history; ``hostname-pid`` by default.
        admission: when creation of tasks is refused for a while.
        log_requests: log a line for each request, at level info.
    """

    max_body_bytes: int = MAX_BODY_BYTES
    request_timeout_seconds: float = REQUEST_TIMEOUT_SECONDS
    cors_origins: Sequence[str] = ()
    config_endpoint_enabled: bool = False
    environment: str | None = None
    name: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}")
    admission: AdmissionLimits = field(default_factory=AdmissionLimits)
    log_requests: bool = False


class Open:
    """Lets everybody do everything, for servers that only the own machine can reach."""

    async def authenticate(self, request: Request) -> Caller:  # noqa: ARG002 - what every authenticator takes
        """Return the anonymous caller."""
        return ANONYMOUS


def create_app(
    engine: Engine, *, authenticator: Authenticator | None = None, options: ServerOptions | None = None
) -> FastAPI:
    """Return the application.

    Args:
        engine: an open engine; whoever opened it closes it after the application.
        authenticator: finds out who makes a request; by default everybody may do everything.
        options: how to serve.
    """
    options = options or ServerOptions()
    metrics, system_metrics = Metrics(), SystemMetrics(engine.backlog)
    metrics.registry.register(system_metrics)
    admission = Admission(engine, options.admission, metrics)
    stopping = asyncio.Event()
    health = Health(engine, admission, stopping, options.environment)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            if isinstance(app.state.authenticator, contextlib.AbstractAsyncContextManager):
                await stack.enter_async_context(app.state.authenticator)
            await stack.enter_async_context(engine.duties(f"{options.name}-server"))
            with contextlib.suppress(StoreError):
                await admission.look()
            watching = asyncio.create_task(admission.run())
            try:
                yield
            finally:
                watching.cancel()
                await asyncio.gather(watching, health.stop(), system_metrics.stop(), return_exceptions=True)

    app = FastAPI(
        lifespan=lifespan,
        title="Tasker Web API",
        version=tasker_core.__version__,
        description="Create tasks, look at them and act on them; workers lease steps and report them.",
        openapi_url="/api-docs/openapi.json",
        docs_url=None,
        redoc_url=None,
        license_info={"name": "MIT"},
    )
    app.state.engine = engine
    app.state.options = options
    app.state.authenticator = authenticator or Open()
    app.state.metrics = metrics
    app.state.system_metrics = system_metrics
    app.state.health = health
    # Set when the server is about to stop: whatever waits on purpose answers then.
    app.state.stopping = stopping
    app.state.streams = Streams(stopping)
    app.state.admission = admission
    app.state.worker_sessions = WorkerSessions(engine)
    for router in ROUTERS:
        app.include_router(router)
    if options.config_endpoint_enabled:
        app.include_router(config_router)
    openapi.install(app)
    errors.install(app)
    if options.cors_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(options.cors_origins), allow_methods=["*"], allow_headers=["*"]
        )
    app.add_middleware(
        RequestMiddleware,
        metrics=app.state.metrics,
        max_body_bytes=options.max_body_bytes,
        timeout_seconds=options.request_timeout_seconds,
        log_requests=options.log_requests,
    )
    return app
