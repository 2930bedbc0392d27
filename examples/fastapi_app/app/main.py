"""The application: ``uvicorn app.main:app`` in the directory above this package."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool

from app.orders import router
from tasker_core import Worker, is_worker_running
from tasker_core.client import AsyncTaskerClient

os.environ.setdefault("TASKER_TEMPLATE_PATH", str(Path(__file__).parent / "config" / "tasks"))


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Run a worker, and keep a client, for as long as the application runs."""
    # Starting and stopping wait for the server, so they are done beside the event loop.
    worker = None if is_worker_running() else await run_in_threadpool(Worker.start, handler_packages=["app.handlers"])
    async with AsyncTaskerClient(initiator="web", source_system="florist") as client:
        app.state.tasker = client
        yield
    if worker is not None:
        await run_in_threadpool(worker.stop)


app = FastAPI(title="Florist", lifespan=lifespan)
app.include_router(router)
