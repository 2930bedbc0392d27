"""The health checks of a worker process, over HTTP."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from fastapi import FastAPI, Response

import tasker_core
from tasker_core.serialization import rfc3339
from tasker_core.server.replies import reply
from tasker_core.server.serving import Address, listening
from tasker_core.step_worker import StepWorker


@contextlib.asynccontextmanager
async def health_endpoint(bind: str, worker: StepWorker, name: str) -> AsyncIterator[str]:
    """Answer health checks at ``host:port`` while the body runs, and yield the URL."""
    host, _, port = bind.rpartition(":")
    address = Address(host.strip("[]"), int(port))
    async with listening(health_app(worker, name), address, shutdown_seconds=1) as started:
        yield started.url


def health_app(worker: StepWorker, name: str) -> FastAPI:
    """Return an application with ``/health``, ``/health/live``, ``/health/ready`` and ``/metrics`` of a worker."""
    app = FastAPI(title="Tasker Worker API", openapi_url=None)
    app.state.stopping = asyncio.Event()  # every application that is served has one
    started = time.monotonic()

    def answer(status: str, **more: object) -> dict[str, object]:
        return {"status": status, "timestamp": rfc3339(datetime.now(UTC)), "worker_id": name, **more}

    @app.get("/health")
    async def health() -> Response:
        return reply(answer("healthy"))

    @app.get("/health/live")
    async def live() -> Response:
        return reply(answer("alive"))

    @app.get("/health/ready")
    async def ready() -> Response:
        """Say whether it takes steps: 200, or 503 while it has lost its engine or is stopping."""
        checks = {
            "engine": {"status": "healthy" if worker.in_contact else "unhealthy"},
            "worker": {"status": "unhealthy" if worker.is_stopping else "healthy"},
        }
        fit = worker.in_contact and not worker.is_stopping
        system_info = {"version": tasker_core.__version__, "uptime_seconds": round(time.monotonic() - started, 3)}
        body = answer("ready" if fit else "not_ready", checks=checks, system_info=system_info)
        return reply(body, status=200 if fit else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        lines = {
            "tasker_worker_uptime_seconds": time.monotonic() - started,
            'tasker_worker_slots{state="busy"}': worker.running,
            'tasker_worker_slots{state="free"}': max(0, worker.concurrency - worker.running),
            "tasker_worker_in_contact": int(worker.in_contact),
        }
        text = "".join(f"{series} {value}\n" for series, value in lines.items())
        return Response(text, media_type="text/plain; version=0.0.4")

    return app
