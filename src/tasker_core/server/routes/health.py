"""Health, metrics, configuration."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

import prometheus_client
from fastapi import Request, Response

import tasker_core
from tasker_core.access import Permission
from tasker_core.serialization import rfc3339
from tasker_core.server.auth_options import AuthOptions
from tasker_core.server.health import Health, all_healthy
from tasker_core.server.replies import reply
from tasker_core.server.routing import EngineParameter, requires
from tasker_core.server.routing import router as new_router
from tasker_core.server.schemas.errors import ErrorBody, errors
from tasker_core.server.schemas.health import (
    ConfigResponse,
    DetailedHealthResponse,
    HealthResponse,
    NotReadyResponse,
    ReadinessResponse,
)
from tasker_core.server.streams import MAX_STREAMS

router = new_router("health")

#: Added to an application whose options say so.
config_router = new_router("config")

#: Seconds after which a server that is not ready may be looked at again.
_RETRY_SECONDS = 5

_TIMEOUT: dict[int | str, dict[str, Any]] = {408: {"model": ErrorBody, "description": "The request took too long"}}


@router.get("/health", summary="Whether the process answers", responses={200: {"model": HealthResponse}, **_TIMEOUT})
async def get_health() -> Response:
    """Answer."""
    return reply({"status": "healthy", "timestamp": _now()})


@router.get(
    "/health/live", summary="Whether the process answers", responses={200: {"model": HealthResponse}, **_TIMEOUT}
)
async def get_liveness() -> Response:
    """Answer."""
    return reply({"status": "alive", "timestamp": _now()})


@router.get(
    "/health/ready",
    summary="Whether requests can be served",
    responses={200: {"model": ReadinessResponse}, 503: {"model": NotReadyResponse}, **_TIMEOUT},
)
async def get_readiness(request: Request) -> Response:
    """Check what requests need."""
    health = _health(request)
    checks = await health.readiness()
    body = {"status": "ready", "timestamp": _now(), "checks": checks, "info": health.info()}
    if all_healthy(checks):
        return reply(body)
    error = {
        "code": "SERVICE_UNAVAILABLE",
        "message": "Service temporarily unavailable: not all checks passed",
        "retry_after_seconds": _RETRY_SECONDS,
    }
    body = {"error": error, **body, "status": "not_ready"}
    return reply(body, status=503, headers={"Retry-After": str(_RETRY_SECONDS)})


@router.get("/health/detailed", summary="All checks", responses={200: {"model": DetailedHealthResponse}, **_TIMEOUT})
async def get_detailed_health(request: Request) -> Response:
    """Check everything."""
    health = _health(request)
    checks = await health.details()
    status = "healthy" if all_healthy(checks) else "degraded"
    return reply({"status": status, "timestamp": _now(), "checks": checks, "info": health.info()})


@router.get(
    "/metrics",
    summary="Numbers for Prometheus",
    description="Counters are this process's; gauges of tasks, steps, workers and dead letters are the whole system's, "
    "seen at most five seconds ago, and left out while the database is away.",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **_TIMEOUT},
)
async def get_metrics(request: Request) -> Response:
    """Return all numbers."""
    await request.app.state.system_metrics.refresh()
    headers = {"Content-Type": prometheus_client.CONTENT_TYPE_PLAIN_0_0_4}
    return Response(request.app.state.metrics.exposition(), headers=headers)


@config_router.get(
    "/config",
    summary="The configuration, without secrets",
    openapi_extra=requires(Permission.SYSTEM_CONFIG_READ),
    responses={**errors(), 200: {"model": ConfigResponse}},
)
async def get_config(request: Request, engine: EngineParameter) -> Response:
    """Return the configuration."""
    # Only what is named here is told, so no secret can slip in.
    options, pool = request.app.state.options, engine.backlog.pool()
    return reply(
        {
            "metadata": {
                "timestamp": _now(),
                "environment": options.environment,
                "version": tasker_core.__version__,
            },
            "auth": _auth(getattr(request.app.state.authenticator, "options", None)),
            "database_pools": {"web_api_pool_size": pool.maximum, "web_api_max_connections": pool.maximum},
            "limits": {
                "max_body_bytes": options.max_body_bytes,
                "request_timeout_seconds": options.request_timeout_seconds,
                "max_event_streams": MAX_STREAMS,
            },
            "admission": dataclasses.asdict(options.admission),
            "lease_seconds": engine.lease_seconds,
            "messaging": {"backend": "postgresql"},
        }
    )


def _auth(options: AuthOptions | None) -> dict[str, Any]:
    options = options or AuthOptions()
    return {
        "enabled": options.enabled,
        "verification_method": options.jwt_verification_method if options.enabled else "none",
        "jwt_issuer": options.jwt_issuer,
        "jwt_audience": options.jwt_audience,
        "api_key_header": options.api_key_header,
        "api_key_count": len(options.api_keys),
        "strict_validation": options.strict_validation,
        "allowed_algorithms": list(options.jwt_allowed_algorithms),
    }


def _health(request: Request) -> Health:
    health: Health = request.app.state.health
    return health


def _now() -> str:
    return rfc3339(datetime.now(UTC))
