"""Dead letters: look at, investigate, resolve; and which tasks may become some."""

from collections.abc import Mapping
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import Query, Request, Response
from pydantic import TypeAdapter

from tasker_core.access import Caller, Permission
from tasker_core.orchestration import DeadLetterNotFoundError, Engine, dead_letters, staleness
from tasker_core.server import bodies
from tasker_core.server.errors import not_found
from tasker_core.server.replies import reply
from tasker_core.server.routing import CallerParameter, EngineParameter, requires
from tasker_core.server.routing import router as new_router
from tasker_core.server.schemas.dlq import (
    DeadLetterStatus,
    DlqEntry,
    DlqInvestigationQueueEntry,
    DlqResolution,
    DlqStats,
    InvestigationUpdate,
    ReasonInput,
    ResolveRequest,
    StalenessMonitoring,
    StatusInput,
    UpdateInvestigationResponse,
)
from tasker_core.server.schemas.errors import errors

router = new_router("dlq", prefix="/v1/dlq")

_UPDATE: Final = TypeAdapter(InvestigationUpdate)
_RESOLVE: Final = TypeAdapter(ResolveRequest)

#: Largest number that PostgreSQL takes for OFFSET.
_MOST: Final = 2**63 - 1

_Limit = Annotated[int, Query(ge=1, le=1000)]


@router.get(
    "",
    openapi_extra=requires(Permission.DLQ_READ),
    responses={200: {"model": list[DlqEntry]}, **errors()},
    summary="List dead letters",
)
async def list_dead_letters(
    engine: EngineParameter,
    caller: CallerParameter,
    resolution_status: Annotated[StatusInput | None, Query()] = None,
    dlq_reason: Annotated[ReasonInput | None, Query()] = None,
    limit: _Limit = 50,
    offset: Annotated[int, Query(ge=0, le=_MOST)] = 0,
    cursor: Annotated[UUID | None, Query(description="The last `dlq_entry_uuid` of the page before.")] = None,
) -> Response:
    """List dead letters, newest first."""
    entries = await dead_letters.find_entries(
        engine.store,
        status=resolution_status,
        reason=dlq_reason,
        namespaces=caller.visible(),
        before=cursor,
        offset=offset,
        limit=limit,
    )
    return reply([_shown(entry) for entry in entries])


@router.get(
    "/task/{task_uuid}",
    openapi_extra=requires(Permission.DLQ_READ),
    responses={200: {"model": DlqEntry}, **errors(404)},
    summary="Look at a task's newest dead letter",
)
async def get_dead_letter_of_task(engine: EngineParameter, caller: CallerParameter, task_uuid: UUID) -> Response:
    """Show the newest dead letter of a task."""
    entry = await dead_letters.newest_entry(engine.store, task_uuid, caller.visible())
    if entry is None:
        raise not_found(f"DLQ entry not found for task {task_uuid}")
    return reply(_shown(entry))


@router.get(
    "/entry/{dlq_entry_uuid}",
    openapi_extra=requires(Permission.DLQ_READ),
    responses={200: {"model": DlqEntry}, **errors(404)},
    summary="Look at a dead letter",
)
async def get_dead_letter(engine: EngineParameter, caller: CallerParameter, dlq_entry_uuid: UUID) -> Response:
    """Show a dead letter."""
    return reply(_shown(await _entry(engine, caller, dlq_entry_uuid)))


@router.patch(
    "/entry/{dlq_entry_uuid}",
    openapi_extra=requires(Permission.DLQ_UPDATE) | bodies.described(InvestigationUpdate, required=False),
    responses={200: {"model": UpdateInvestigationResponse}, **errors(404, 409, 413, 415, 422)},
    summary="Note what is known about a dead letter",
)
async def update_dead_letter(
    request: Request, engine: EngineParameter, caller: CallerParameter, dlq_entry_uuid: UUID
) -> Response:
    """Note what was found out about a dead letter; its task is left alone. An entry that is closed stays closed."""
    update = await bodies.read(request, _UPDATE)
    await _entry(engine, caller, dlq_entry_uuid)
    closes = update.resolution_status not in {None, DeadLetterStatus.PENDING}
    await dead_letters.update_entry(
        engine.store,
        dlq_entry_uuid,
        status=update.resolution_status,
        actor=caller.acting_as(update.resolved_by) if closes or update.resolved_by else None,
        notes=update.resolution_notes,
        metadata=update.metadata,
    )
    return reply(
        {
            "success": True,
            "message": "Investigation status updated successfully",
            "dlq_entry_uuid": str(dlq_entry_uuid),
        }
    )


@router.post(
    "/entry/{dlq_entry_uuid}/resolve",
    openapi_extra=requires(Permission.DLQ_UPDATE) | bodies.described(ResolveRequest),
    responses={200: {"model": DlqResolution}, **errors(404, 409, 413, 415, 422)},
    summary="Resolve a dead letter",
)
async def resolve_dead_letter(
    request: Request, engine: EngineParameter, caller: CallerParameter, dlq_entry_uuid: UUID
) -> Response:
    """Close a dead letter and do what it takes about its task."""
    wanted = await bodies.read(request, _RESOLVE)
    await _entry(engine, caller, dlq_entry_uuid)
    entry = await engine.resolve_dlq_entry(
        dlq_entry_uuid,
        action=wanted.action,
        actor=caller.acting_as(wanted.actor),
        notes=wanted.notes,
        dry_run=wanted.dry_run,
    )
    return reply(_shown(entry))


@router.get(
    "/stats",
    openapi_extra=requires(Permission.DLQ_STATS),
    responses={200: {"model": list[DlqStats]}, **errors()},
    summary="Count dead letters",
)
async def count_dead_letters(engine: EngineParameter, caller: CallerParameter) -> Response:
    """Count dead letters by reason; reasons without any are left out."""
    return reply(await dead_letters.numbers(engine.store, caller.visible()))


@router.get(
    "/investigation-queue",
    openapi_extra=requires(Permission.DLQ_READ),
    responses={200: {"model": list[DlqInvestigationQueueEntry]}, **errors()},
    summary="List open dead letters by urgency",
)
async def list_dead_letters_to_investigate(
    engine: EngineParameter, caller: CallerParameter, limit: _Limit = 100
) -> Response:
    """List open dead letters, the most pressing ones first."""
    return reply(await dead_letters.to_investigate(engine.store, namespaces=caller.visible(), limit=limit))


@router.get(
    "/staleness",
    openapi_extra=requires(Permission.DLQ_READ),
    responses={200: {"model": list[StalenessMonitoring]}, **errors()},
    summary="List tasks by how near they are to being stale",
)
async def list_stale_tasks(engine: EngineParameter, caller: CallerParameter, limit: _Limit = 100) -> Response:
    """List tasks under way: those that are stale, those that soon will be (from 80 % of the limit on), then others.

    The time in a state counts while nobody is there who could go on with the task.
    """
    return reply(
        await staleness.monitor(
            engine.store, lease_seconds=engine.lease_seconds, namespaces=caller.visible(), limit=limit
        )
    )


async def _entry(engine: Engine, caller: Caller, entry_uuid: UUID) -> dict[str, Any]:
    try:
        return await dead_letters.find_entry(engine.store, entry_uuid, caller.visible())
    except DeadLetterNotFoundError:
        raise not_found(f"DLQ entry not found: {entry_uuid}") from None


def _shown(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry with all that belongs to it here, its snapshot's times spelled like the others."""
    snapshot = entry["task_snapshot"]
    return {
        **entry,
        "task_snapshot": snapshot
        | {"snapshot_timestamp": _zulu(snapshot.get("snapshot_timestamp"))}
        | {"task_details": {key: _zulu(value) for key, value in snapshot.get("task_details", {}).items()}},
        "created_at": entry["dlq_timestamp"],
    }


def _zulu(value: Any) -> Any:
    return value.removesuffix("+00:00") + "Z" if isinstance(value, str) and value.endswith("+00:00") else value
