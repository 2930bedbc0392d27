"""API keys, and whoever asks."""

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from tasker_core.access import Permission
from tasker_core.orchestration.api_keys import BeyondOwnRightsError
from tasker_core.server.errors import not_found
from tasker_core.server.replies import reply
from tasker_core.server.routing import CallerParameter, EngineParameter, forbidden, requires, requires_credentials
from tasker_core.server.routing import router as new_router
from tasker_core.server.schemas.errors import errors
from tasker_core.server.schemas.keys import ApiKey, ApiKeyList, Identity, KeyRequest, NewApiKey

router = new_router("auth", prefix="/v1/auth")

_MANAGE = requires(Permission.SYSTEM_KEYS_MANAGE)


@router.get(
    "/me",
    openapi_extra=requires_credentials(),
    responses={200: {"model": Identity}, **errors()},
    summary="Ask who one is taken for",
)
async def get_identity(caller: CallerParameter) -> Response:
    """Tell whoever asks who they are taken for, and what they may do."""
    return reply(
        {
            "subject": caller.subject,
            "permissions": sorted(caller.permissions),
            "namespaces": None if caller.namespaces is None else sorted(caller.namespaces),
        }
    )


@router.post(
    "/keys",
    openapi_extra=_MANAGE,
    responses={200: {"model": NewApiKey}, **errors(413, 415, 422)},
    summary="Make an API key",
)
async def create_api_key(body: KeyRequest, caller: CallerParameter, engine: EngineParameter) -> Response:
    """Make an API key. The answer is the only place where the key itself is ever seen."""
    try:
        made = await engine.api_keys.create(
            body.subject,
            body.granted,
            by=caller,
            namespaces=None if body.namespaces is None else frozenset(body.namespaces),
            expires_at=body.expires_at,
        )
    except BeyondOwnRightsError as error:
        raise forbidden(str(error)) from None
    return reply(made, headers={"Cache-Control": "no-store"})


@router.get("/keys", openapi_extra=_MANAGE, responses={200: {"model": ApiKeyList}, **errors()}, summary="List API keys")
async def list_api_keys(
    caller: CallerParameter,
    engine: EngineParameter,
    include_inactive: Annotated[bool, Query(description="Those, too, that are revoked or expired.")] = False,
) -> Response:
    """List API keys, newest first: those whose namespaces are all open to whoever asks."""
    return reply({"keys": await engine.api_keys.list(by=caller, include_inactive=include_inactive)})


@router.delete(
    "/keys/{key_uuid}",
    openapi_extra=_MANAGE,
    responses={200: {"model": ApiKey}, **errors(404)},
    summary="Revoke an API key",
)
async def revoke_api_key(key_uuid: UUID, caller: CallerParameter, engine: EngineParameter) -> Response:
    """Revoke an API key: at once on this server, within ten seconds on others."""
    revoked = await engine.api_keys.revoke(key_uuid, by=caller)
    if revoked is None:
        raise not_found(f"There is no API key {key_uuid}")
    return reply(revoked)
