"""Routes that are guarded: the permission is checked before the body is read."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute

from tasker_core.access import Caller, Permission
from tasker_core.orchestration import Engine
from tasker_core.server.errors import ApiError, translated

_REQUIRED = "x-required-permission"


class Authenticator(Protocol):
    """Finds out who makes a request."""

    async def authenticate(self, request: Request) -> Caller:
        """Return the caller.

        Raises:
            ApiError: there are no credentials, or they are not valid (401).
        """


class GuardedRoute(APIRoute):
    """A route that lets only callers in who have its permission.

    The permission stands in the route's OpenAPI description, so what is documented is what is enforced.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, with the check before it."""
        handle = super().get_route_handler()
        extra = self.openapi_extra or {}
        if "security" not in extra:
            return handle
        permission = Permission(extra[_REQUIRED]) if _REQUIRED in extra else None

        async def guarded(request: Request) -> Response:
            authenticator: Authenticator = request.app.state.authenticator
            caller = await authenticator.authenticate(request)
            if permission is not None and not caller.may(permission):
                request.app.state.metrics.denial(permission)
                raise forbidden(f"Missing required permission: {permission}")
            request.state.caller = caller
            return await handle(request)

        return guarded


def forbidden(message: str) -> ApiError:
    """Return the error for something that the caller may not do."""
    headers = {"X-Auth-Failure-Reason": "forbidden", "X-Auth-Failure-Severity": "medium", "Retry-After": "5"}
    return ApiError(403, "AUTHORIZATION_FAILED", message, headers=headers)


def requires(permission: Permission) -> dict[str, Any]:
    """Return what a route takes as ``openapi_extra`` to be guarded by a permission."""
    return {_REQUIRED: str(permission), **requires_credentials()}


def requires_credentials() -> dict[str, Any]:
    """Return what a route takes as ``openapi_extra`` to be open to everybody who shows who they are."""
    return {"security": [{"bearer_auth": []}, {"api_key_auth": []}]}


def router(tag: str, prefix: str = "") -> APIRouter:
    """Return a router of guarded routes, whose functions' names are the operations' ids."""
    return APIRouter(
        prefix=prefix, tags=[tag], route_class=GuardedRoute, generate_unique_id_function=lambda route: route.name
    )


# Coroutines, since the framework runs plain functions on threads, which takes longer than all that they do.


async def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


async def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


#: Parameters of routes.
CallerParameter = Annotated[Caller, Depends(_caller)]
EngineParameter = Annotated[Engine, Depends(_engine)]

__all__ = [
    "ApiError",
    "Authenticator",
    "CallerParameter",
    "EngineParameter",
    "GuardedRoute",
    "forbidden",
    "requires",
    "requires_credentials",
    "router",
    "translated",
]
