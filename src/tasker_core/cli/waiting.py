"""Services that start before what they need: they wait for it a while."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Final, TypeVar

import structlog
import typer

from tasker_core.client.errors import ConnectionFailedError, ServerUnavailableError
from tasker_core.step_source import SourceUnavailableError

#: Seconds that a service waits for its database or its server when it starts.
PATIENCE_SECONDS: Final = 60.0

_PAUSE_SECONDS: Final = 0.5

PatienceOption = Annotated[
    float,
    typer.Option(
        "--wait-for",
        min=0.0,
        metavar="SECONDS",
        help="How long to wait at the start for the database, or for the server, if it is not there yet.",
    ),
]

log = structlog.get_logger("tasker")

T = TypeVar("T")


@contextlib.asynccontextmanager
async def entered(
    make: Callable[[], AbstractAsyncContextManager[T]], stop: asyncio.Event, *, patience: float
) -> AsyncIterator[T | None]:
    """Enter a context, again and again while what it needs cannot be reached.

    Args:
        make: returns the context.
        patience: seconds after which it counts as failed.
        stop: ends the waiting; then the value is None.

    Raises:
        SourceUnavailableError, TaskerClientError: it could not be reached in that time.
    """
    deadline = time.monotonic() + patience
    told = False
    async with contextlib.AsyncExitStack() as stack:
        value: T | None = None
        while not stop.is_set():
            try:
                value = await stack.enter_async_context(make())
                break
            except (SourceUnavailableError, ConnectionFailedError, ServerUnavailableError) as error:
                if time.monotonic() >= deadline:
                    raise
                if not told:
                    log.warning("waiting", seconds=patience, reason=str(error))
                    told = True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _PAUSE_SECONDS)
        yield value
