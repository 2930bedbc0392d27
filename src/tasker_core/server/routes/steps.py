"""Steps of a task: look at, put right by hand."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, assert_never
from uuid import UUID

from fastapi import Path, Request, Response
from pydantic import TypeAdapter

from tasker_core import identifiers
from tasker_core.access import Caller, Permission
from tasker_core.orchestration import Engine
from tasker_core.server import bodies
from tasker_core.server.errors import bad_request, conflict, not_found
from tasker_core.server.replies import reply
from tasker_core.server.routing import CallerParameter, EngineParameter, requires
from tasker_core.server.routing import router as new_router
from tasker_core.server.schemas import steps as schemas
from tasker_core.server.schemas.errors import errors
from tasker_core.server.schemas.tasks import TaskChange
from tasker_core.states import StepState

_action: Final[TypeAdapter[schemas.ResetForRetry | schemas.ResolveManually | schemas.CompleteManually]] = TypeAdapter(
    schemas.StepManualAction
)
_step_action: Final = TypeAdapter(schemas.StepActionBody)
_complete: Final = TypeAdapter(schemas.CompleteBody)

TaskPath = Annotated[str, Path(alias="uuid", json_schema_extra={"format": "uuid"})]
NamedStepPath = Annotated[str, Path(alias="step", min_length=1, max_length=255, description="Name or UUID of the step")]
StepPath = Annotated[str, Path(alias="step_uuid", json_schema_extra={"format": "uuid"})]

router = new_router("workflow_steps", "/v1/tasks/{uuid}/workflow_steps")


@router.get(
    "",
    summary="List the steps of a task",
    openapi_extra=requires(Permission.STEPS_READ),
    responses={200: {"model": list[schemas.Step]}, **errors(404)},
)
async def list_steps(engine: EngineParameter, caller: CallerParameter, uuid: TaskPath) -> Response:
    """Return all steps of a task, in the order of its template."""
    return reply(await engine.details.steps(await _visible_task(engine, caller, uuid)))


@router.get(
    "/{step_uuid}",
    summary="Look at a step",
    openapi_extra=requires(Permission.STEPS_READ),
    responses={200: {"model": schemas.Step}, **errors(404)},
)
async def get_step(engine: EngineParameter, caller: CallerParameter, uuid: TaskPath, step_uuid: StepPath) -> Response:
    """Return a step, with how its last attempt ended."""
    return reply(await engine.details.step(*await _visible_step(engine, caller, uuid, step_uuid)))


@router.patch(
    "/{step_uuid}",
    summary="Put a step right by hand",
    openapi_extra=requires(Permission.STEPS_RESOLVE) | bodies.described(schemas.StepManualAction),
    responses={200: {"model": schemas.Step}, **errors(404, 409, 413, 415, 422)},
)
async def act_on_step(
    request: Request, engine: EngineParameter, caller: CallerParameter, uuid: TaskPath, step_uuid: StepPath
) -> Response:
    """Let a failed step start afresh, take a step for done, or give it its result; the task goes on from there."""
    action = await bodies.read(request, _action)
    task, step = await _visible_step(engine, caller, uuid, step_uuid)
    await _act(engine, caller, task, await engine.step(task, step), action)
    return reply(await engine.details.step(task, step))


@router.post(
    "/{step}/reset",
    summary="Let a failed step start afresh",
    openapi_extra=requires(Permission.STEPS_RESOLVE) | bodies.described(schemas.StepActionBody),
    responses={200: {"model": TaskChange}, **errors(404, 409, 413, 415, 422)},
)
async def reset_step(
    request: Request, engine: EngineParameter, caller: CallerParameter, uuid: TaskPath, step: NamedStepPath
) -> Response:
    """Let a failed step, given by name or UUID, run again with all its attempts; answer what changed."""
    body = await bodies.read(request, _step_action)
    task_uuid = await _visible_task(engine, caller, uuid)
    name = await named_step(engine, task_uuid, step)
    return reply(await engine.reset_step(task_uuid, name, actor=caller.acting_as(body.actor), reason=body.reason))


@router.post(
    "/{step}/resolve",
    summary="Take a step for done",
    openapi_extra=requires(Permission.STEPS_RESOLVE) | bodies.described(schemas.StepActionBody),
    responses={200: {"model": TaskChange}, **errors(404, 409, 413, 415, 422)},
)
async def resolve_step(
    request: Request, engine: EngineParameter, caller: CallerParameter, uuid: TaskPath, step: NamedStepPath
) -> Response:
    """Take a step, given by name or UUID, for done without a result; answer what changed."""
    body = await bodies.read(request, _step_action)
    task_uuid = await _visible_task(engine, caller, uuid)
    name = await named_step(engine, task_uuid, step)
    return reply(await engine.resolve_step(task_uuid, name, actor=caller.acting_as(body.actor), reason=body.reason))


@router.post(
    "/{step}/complete",
    summary="Give a step its result",
    openapi_extra=requires(Permission.STEPS_RESOLVE) | bodies.described(schemas.CompleteBody),
    responses={200: {"model": TaskChange}, **errors(404, 409, 413, 415, 422)},
)
async def complete_step(
    request: Request, engine: EngineParameter, caller: CallerParameter, uuid: TaskPath, step: NamedStepPath
) -> Response:
    """Give a step, given by name or UUID, its result by hand; answer what changed."""
    body = await bodies.read(request, _complete)
    task_uuid = await _visible_task(engine, caller, uuid)
    change = await engine.complete_step(
        task_uuid,
        await named_step(engine, task_uuid, step),
        body.result,
        actor=caller.acting_as(body.actor),
        reason=body.reason,
        metadata=_as_object(body.metadata),
    )
    return reply(change)


@router.get(
    "/{step_uuid}/audit",
    summary="Tell what happened to a step",
    openapi_extra=requires(Permission.STEPS_READ),
    responses={200: {"model": list[schemas.StepAudit]}, **errors(404)},
)
async def get_step_audit(
    engine: EngineParameter, caller: CallerParameter, uuid: TaskPath, step_uuid: StepPath
) -> Response:
    """Return every ended attempt of a step and everything that was done to it by hand, newest first."""
    return reply(await engine.details.audit(*await _visible_step(engine, caller, uuid, step_uuid)))


async def _act(
    engine: Engine,
    caller: Caller,
    task: UUID,
    step: Mapping[str, Any],
    action: schemas.ResetForRetry | schemas.ResolveManually | schemas.CompleteManually,
) -> None:
    name, reason = step["name"], action.reason
    match action:
        case schemas.ResetForRetry():
            if step["current_state"] != StepState.ERROR:
                raise bad_request(
                    f"Cannot manually resolve step: invalid transition from {step['current_state']} to ResetForRetry"
                )
            change = await engine.reset_step(task, name, actor=caller.acting_as(action.reset_by), reason=reason)
        case schemas.ResolveManually():
            change = await engine.resolve_step(task, name, actor=caller.acting_as(action.resolved_by), reason=reason)
        case schemas.CompleteManually():
            change = await engine.complete_step(
                task,
                name,
                action.completion_data.result,
                actor=caller.acting_as(action.completed_by),
                reason=reason,
                metadata=_as_object(action.completion_data.metadata),
            )
        case _:
            assert_never(action)
    if not change["changed"]:
        raise conflict(f"Cannot manually resolve step: it is {step['current_state']} already")


def _as_object(metadata: Any) -> dict[str, Any]:
    if metadata is None:
        return {}
    return metadata if isinstance(metadata, dict) else {"operator_metadata": metadata}


async def named_step(engine: Engine, task_uuid: UUID, step: str) -> str:
    """Return the name of a step that is given by its name or its UUID."""
    try:
        step_uuid = UUID(step)
    except ValueError:
        return step
    found = await engine.step(task_uuid, step_uuid)
    return str(found["name"])


async def _visible_task(engine: Engine, caller: Caller, text: str) -> UUID:
    task_uuid = _uuid(text, "Invalid task UUID format")
    await engine.details.require_within(task_uuid, caller.namespaces)
    return task_uuid


async def _visible_step(engine: Engine, caller: Caller, task_text: str, step_text: str) -> tuple[UUID, UUID]:
    task_uuid, step_uuid = _uuid(task_text, "Invalid task UUID format"), _uuid(step_text, "Invalid step UUID format")
    await engine.details.require_within(task_uuid, caller.namespaces)
    if identifiers.task_uuid_of(step_uuid) != task_uuid:
        await engine.details.require_within(identifiers.task_uuid_of(step_uuid), caller.namespaces)
        await engine.details.step(identifiers.task_uuid_of(step_uuid), step_uuid)
        raise not_found("Step does not belong to the specified task")
    return task_uuid, step_uuid


def _uuid(text: str, complaint: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise bad_request(complaint) from None
