"""Analytics: how things went, and what took longest."""

from typing import Annotated

from fastapi import Query, Response

from tasker_core.access import Permission
from tasker_core.server.replies import reply
from tasker_core.server.routing import CallerParameter, EngineParameter, requires
from tasker_core.server.routing import router as new_router
from tasker_core.server.schemas.analytics import BottleneckAnalysis, PerformanceMetrics
from tasker_core.server.schemas.errors import errors

router = new_router("analytics", prefix="/v1/analytics")


@router.get(
    "/performance",
    openapi_extra=requires(Permission.SYSTEM_ANALYTICS_READ),
    responses={200: {"model": PerformanceMetrics}, **errors()},
    summary="See how the last hours went",
)
async def get_performance(
    engine: EngineParameter, caller: CallerParameter, hours: Annotated[int, Query(ge=1, le=8760)] = 24
) -> Response:
    """Count what the last hours brought; an answer is up to a minute old."""
    return reply(await engine.analytics.performance(hours=hours, namespaces=caller.visible()))


@router.get(
    "/bottlenecks",
    openapi_extra=requires(Permission.SYSTEM_ANALYTICS_READ),
    responses={200: {"model": BottleneckAnalysis}, **errors()},
    summary="See what took longest",
)
async def get_bottlenecks(
    engine: EngineParameter,
    caller: CallerParameter,
    limit: Annotated[int, Query(ge=1, le=1000)] = 10,
    min_executions: Annotated[int, Query(ge=1, le=2**31 - 1)] = 5,
) -> Response:
    """List the steps and templates that took longest in the last 24 hours; an answer is up to a minute old."""
    return reply(
        await engine.analytics.bottlenecks(limit=limit, min_executions=min_executions, namespaces=caller.visible())
    )
