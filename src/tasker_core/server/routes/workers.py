"""The worker processes that there are."""

from typing import Annotated

from fastapi import Query, Response

from tasker_core.access import Permission
from tasker_core.orchestration.workers import DEFAULT_LIMIT
from tasker_core.server.replies import reply
from tasker_core.server.routing import CallerParameter, EngineParameter, requires
from tasker_core.server.routing import router as new_router
from tasker_core.server.schemas.errors import errors
from tasker_core.server.schemas.workers import WorkerList

router = new_router("workers", "/v1/workers")


@router.get(
    "",
    summary="List workers",
    openapi_extra=requires(Permission.SYSTEM_HANDLERS_READ),
    responses={200: {"model": WorkerList}, **errors()},
)
async def list_workers(
    engine: EngineParameter,
    caller: CallerParameter,
    include_gone: Annotated[
        bool, Query(description="Those, too, that stopped or have given no sign of life for a while.")
    ] = False,
    limit: Annotated[int, Query(ge=1, le=10_000)] = DEFAULT_LIMIT,
) -> Response:
    """List the worker processes, those seen last first: those whose namespaces are all open to whoever asks."""
    return reply({"workers": await engine.workers.list(caller.visible(), include_gone=include_gone, limit=limit)})
