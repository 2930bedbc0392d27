"""Tasks: create, look at, act on."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import Path, Query, Request, Response
from pydantic import Field, TypeAdapter

from tasker_core import serialization
from tasker_core.access import Caller, Permission
from tasker_core.orchestration import (
    DuplicateTaskError,
    Engine,
    IllegalMoveError,
    InvalidTaskError,
    TaskFilter,
)
from tasker_core.orchestration.bulk import Creation, create_in_bulk
from tasker_core.orchestration.template_registry import LATEST, TemplateNotFoundError
from tasker_core.server import bodies
from tasker_core.server.errors import ApiError, bad_request, not_found, translated
from tasker_core.server.replies import reply
from tasker_core.server.routes.steps import named_step
from tasker_core.server.routing import CallerParameter, EngineParameter, forbidden, requires
from tasker_core.server.routing import router as new_router
from tasker_core.server.schemas import tasks as schemas
from tasker_core.server.schemas.errors import errors
from tasker_core.states import TaskState
from tasker_core.store import StoreError
from tasker_core.template import TaskTemplate

#: What a task that is cancelled without a reason has in its history.
_NO_REASON: Final = "cancelled on request"

#: Most seconds that somebody may wait for a task in one request.
_LONGEST_WAIT: Final = 60

#: Largest number of a page; beyond it the database cannot count.
_LAST_PAGE: Final = 2**32 - 1

_new_task: Final = TypeAdapter(schemas.NewTaskBody)
_bulk: Final = TypeAdapter(schemas.BulkBody)
_pause: Final = TypeAdapter(schemas.PauseBody)
_retry: Final = TypeAdapter(schemas.RetryBody)
_cancel: Final = TypeAdapter(schemas.CancelBody)
_rerun: Final = TypeAdapter(schemas.RerunBody)

TaskPath = Annotated[str, Path(alias="uuid", json_schema_extra={"format": "uuid"})]

router = new_router("tasks", "/v1/tasks")


@router.post(
    "",
    summary="Create a task",
    openapi_extra=requires(Permission.TASKS_CREATE) | bodies.described(schemas.NewTaskBody),
    responses={200: {"model": schemas.TaskResponse}, **errors(404, 409, 413, 415, 422)},
)
async def create_task(request: Request, engine: EngineParameter, caller: CallerParameter) -> Response:
    """Create a task of a registered template; its first steps are ready at once, or at ``requested_at``."""
    body = await bodies.read(request, _new_task)
    _require_names(body)
    _require_open(caller, body.namespace)
    request.app.state.admission.require(body.namespace)
    template = await _template(engine, body.namespace, body.name, body.version)
    (creation,) = await engine.create_each(template, [body.request()])
    task_uuid = _created(creation, return_existing=body.return_existing)
    if creation.new:
        request.app.state.metrics.tasks_created(template.namespace_name, template.name)
    details = engine.details
    return reply(await (details.created(*creation.new) if creation.new else details.task(task_uuid)))


@router.post(
    "/bulk",
    summary="Create many tasks",
    openapi_extra=requires(Permission.TASKS_CREATE) | bodies.described(schemas.BulkBody),
    responses={200: {"model": schemas.BulkAnswer}, **errors(413, 415, 422)},
)
async def create_tasks(request: Request, engine: EngineParameter, caller: CallerParameter) -> Response:
    """Create up to 10,000 tasks, each for itself: one that cannot be created does not keep the others from it."""
    value, has_nul = await bodies.read_json(request)
    bulk = bodies.checked(value, _bulk)
    items = [_item(item, caller, has_nul=has_nul) for item in bulk.tasks]
    for namespace in {item.namespace for item in items if not isinstance(item, ApiError)}:
        request.app.state.admission.require(namespace)
    found = await _with_templates(engine, items)
    wanted = [
        (template, body.request()) for template, body in (each for each in found if not isinstance(each, ApiError))
    ]
    creations = iter(await create_in_bulk(engine.create_each, wanted))
    results = [
        _failed(index, each)
        if isinstance(each, ApiError)
        else _result(index, next(creations), return_existing=bulk.return_existing or each[1].return_existing)
        for index, each in enumerate(found)
    ]
    counts = dict.fromkeys(("created", "existing", "failed"), 0)
    for result in results:
        counts[result["status"]] += 1
    for (namespace, name), number in _numbers_created(found, results).items():
        request.app.state.metrics.tasks_created(namespace, name, number)
    return reply({**counts, "results": results})


@router.get(
    "",
    summary="Search tasks",
    openapi_extra=requires(Permission.TASKS_LIST),
    responses={200: {"model": schemas.TaskList}, **errors()},
)
async def list_tasks(
    engine: EngineParameter,
    caller: CallerParameter,
    page: Annotated[int, Query(json_schema_extra={"minimum": 1, "maximum": _LAST_PAGE})] = 1,
    per_page: Annotated[int, Query(json_schema_extra={"minimum": 1, "maximum": 100})] = 25,
    cursor: Annotated[
        str | None,
        Query(
            description="`next_cursor` of the page before, instead of `page`; spares the counting of all tasks",
            json_schema_extra={"format": "uuid"},
        ),
    ] = None,
    namespace: Annotated[list[str] | None, Query(description="In one of these namespaces")] = None,
    name: Annotated[str | None, Query(description="Of templates of this name")] = None,
    version: Annotated[str | None, Query(description="Of templates of this version")] = None,
    status: Annotated[
        list[Annotated[str, Field(json_schema_extra={"enum": [*TaskState, "completed"]})]] | None,
        Query(description="In one of these states; `completed` stands for `complete`"),
    ] = None,
    tag: Annotated[list[str] | None, Query(description="With all of these tags")] = None,
    correlation_id: Annotated[str | None, Query(json_schema_extra={"format": "uuid"})] = None,
    initiator: Annotated[str | None, Query()] = None,
    source_system: Annotated[str | None, Query()] = None,
    created_after: Annotated[
        str | None, Query(description="Created then or later, RFC 3339", json_schema_extra=schemas.MOMENT)
    ] = None,
    created_before: Annotated[
        str | None, Query(description="Created earlier, RFC 3339", json_schema_extra=schemas.MOMENT)
    ] = None,
    context: Annotated[
        str | None, Query(description="A JSON object: all its keys are in the context, with these values")
    ] = None,
) -> Response:
    """Return tasks that all filters fit, newest first, a page at a time."""
    _require_page(page, per_page)
    wanted = TaskFilter(
        namespaces=caller.visible(None if namespace is None else [_text("namespace", each) for each in namespace]),
        name=name and _text("name", name),
        version=version and _text("version", version),
        states=None if status is None else [_state(each) for each in status],
        tags=None if tag is None else [_text("tag", each) for each in tag],
        correlation_id=_uuid("correlation_id", correlation_id),
        initiator=initiator and _text("initiator", initiator),
        source_system=source_system and _text("source_system", source_system),
        created_after=_moment("created_after", created_after),
        created_before=_moment("created_before", created_before),
        context=_context(context),
    )
    # One more than is wanted tells whether there is a next page.
    if cursor is not None:
        found = await engine.tasks(wanted, before=_uuid("cursor", cursor), limit=per_page + 1)
        counted = {}
    else:
        found = await engine.tasks(wanted, limit=per_page + 1, offset=(page - 1) * per_page)
        total = await engine.count_tasks(wanted)
        counted = {
            "page": page,
            "total_count": total,
            "total_pages": -(-total // per_page),
            "has_previous": page > 1,
        }
    rows, has_next = found[:per_page], len(found) > per_page
    pagination = {
        **counted,
        "per_page": per_page,
        "has_next": has_next,
        "next_cursor": rows[-1]["task_uuid"] if has_next else None,
    }
    return reply({"tasks": [{**row, "steps": []} for row in rows], "pagination": pagination})


@router.get(
    "/{uuid}",
    summary="Look at a task",
    openapi_extra=requires(Permission.TASKS_READ),
    responses={200: {"model": schemas.TaskResponse}, **errors(404)},
)
async def get_task(
    request: Request,
    engine: EngineParameter,
    caller: CallerParameter,
    uuid: TaskPath,
    wait: Annotated[
        float,
        Query(
            ge=0,
            le=_LONGEST_WAIT,
            allow_inf_nan=False,
            description="Seconds to wait until the task is over or blocked by failures; then it is answered as it is",
        ),
    ] = 0,
) -> Response:
    """Return a task with its steps."""
    task_uuid = await visible_task(engine, caller, uuid)
    if wait:
        request.scope["state"]["extend"](wait)
        await _wait(request, engine, task_uuid, wait)
    return reply(await engine.details.task(task_uuid))


@router.delete(
    "/{uuid}",
    summary="Cancel a task",
    openapi_extra=requires(Permission.TASKS_CANCEL),
    responses={200: {"model": schemas.TaskResponse}, **errors(404)},
)
async def delete_task(
    engine: EngineParameter,
    caller: CallerParameter,
    uuid: TaskPath,
    reason: Annotated[str, Query(min_length=1, max_length=500)] = _NO_REASON,
) -> Response:
    """Cancel a task and return it. Nothing is deleted."""
    task_uuid = await visible_task(engine, caller, uuid)
    try:
        change = await engine.cancel_task(task_uuid, actor=caller.subject, reason=_text("reason", reason))
    except IllegalMoveError:
        raise bad_request("Cannot cancel a completed task") from None
    if not change["changed"]:
        raise bad_request("Cannot cancel a completed task")
    return reply(await engine.details.task(task_uuid))


@router.get(
    "/{uuid}/summary",
    summary="Summarise a task",
    openapi_extra=requires(Permission.TASKS_READ),
    responses={200: {"model": schemas.TaskSummary}, **errors(404)},
)
async def get_task_summary(engine: EngineParameter, caller: CallerParameter, uuid: TaskPath) -> Response:
    """Return all that it takes to draw a task: its template's graph, its steps, whether it needs a person."""
    return reply(await engine.details.summary(await visible_task(engine, caller, uuid)))


@router.get(
    "/{uuid}/why",
    summary="Explain a task",
    openapi_extra=requires(Permission.TASKS_READ),
    responses={200: {"model": schemas.Explanations}, **errors(404)},
)
async def explain_task(
    engine: EngineParameter,
    caller: CallerParameter,
    uuid: TaskPath,
    step: Annotated[str | None, Query(description="Name of the only step that is of interest")] = None,
) -> Response:
    """Return what each step of a task waits for."""
    task_uuid = await visible_task(engine, caller, uuid)
    return reply({"task_uuid": str(task_uuid), "steps": await engine.why(task_uuid, step)})


@router.get(
    "/{uuid}/history",
    summary="Tell what happened to a task",
    openapi_extra=requires(Permission.TASKS_READ),
    responses={200: {"model": schemas.TaskHistory}, **errors(404)},
)
async def get_task_history(engine: EngineParameter, caller: CallerParameter, uuid: TaskPath) -> Response:
    """Return every state change of a task and its steps, oldest first."""
    task_uuid = await visible_task(engine, caller, uuid)
    return reply({"task_uuid": str(task_uuid), "history": await engine.history(task_uuid)})


@router.post(
    "/{uuid}/pause",
    summary="Pause a task",
    openapi_extra=requires(Permission.TASKS_OPERATE) | bodies.described(schemas.PauseBody, required=False),
    responses={200: {"model": schemas.TaskChange}, **errors(404, 409, 413, 415, 422)},
)
async def pause_task(request: Request, engine: EngineParameter, caller: CallerParameter, uuid: TaskPath) -> Response:
    """Let no further step of a task start; what runs goes on to its end."""
    body = await bodies.read(request, _pause)
    task_uuid = await visible_task(engine, caller, uuid)
    return reply(await engine.pause_task(task_uuid, actor=caller.acting_as(body.actor), reason=body.reason))


@router.post(
    "/{uuid}/resume",
    summary="Resume a task",
    openapi_extra=requires(Permission.TASKS_OPERATE) | bodies.described(schemas.PauseBody, required=False),
    responses={200: {"model": schemas.TaskChange}, **errors(404, 409, 413, 415, 422)},
)
async def resume_task(request: Request, engine: EngineParameter, caller: CallerParameter, uuid: TaskPath) -> Response:
    """Let a paused task go on."""
    body = await bodies.read(request, _pause)
    task_uuid = await visible_task(engine, caller, uuid)
    return reply(await engine.resume_task(task_uuid, actor=caller.acting_as(body.actor), reason=body.reason))


@router.post(
    "/{uuid}/retry",
    summary="Retry a task",
    openapi_extra=requires(Permission.TASKS_OPERATE) | bodies.described(schemas.RetryBody, required=False),
    responses={200: {"model": schemas.TaskChange}, **errors(404, 409, 413, 415, 422)},
)
async def retry_task(request: Request, engine: EngineParameter, caller: CallerParameter, uuid: TaskPath) -> Response:
    """Let all failed steps of a task start afresh, with all their attempts."""
    body = await bodies.read(request, _retry)
    task_uuid = await visible_task(engine, caller, uuid)
    change = await engine.retry_task(
        task_uuid, actor=caller.acting_as(body.actor), reason=body.reason, dry_run=body.dry_run
    )
    return reply(change)


@router.post(
    "/{uuid}/rerun",
    summary="Run a task again from a step on",
    openapi_extra=requires(Permission.TASKS_OPERATE) | bodies.described(schemas.RerunBody),
    responses={200: {"model": schemas.TaskChange}, **errors(404, 409, 413, 415, 422)},
)
async def rerun_task(request: Request, engine: EngineParameter, caller: CallerParameter, uuid: TaskPath) -> Response:
    """Run a finished or failed task again from a step on; what is not downstream of it is kept."""
    body = await bodies.read(request, _rerun)
    task_uuid = await visible_task(engine, caller, uuid)
    step = await named_step(engine, task_uuid, body.step)
    change = await engine.rerun_task(
        task_uuid, step, actor=caller.acting_as(body.actor), reason=body.reason, dry_run=body.dry_run
    )
    return reply(change)


@router.post(
    "/{uuid}/cancel",
    summary="Cancel a task, with a reason",
    openapi_extra=requires(Permission.TASKS_CANCEL) | bodies.described(schemas.CancelBody),
    responses={200: {"model": schemas.TaskChange}, **errors(404, 409, 413, 415, 422)},
)
async def cancel_task(request: Request, engine: EngineParameter, caller: CallerParameter, uuid: TaskPath) -> Response:
    """End a task and all its steps that are not done."""
    body = await bodies.read(request, _cancel)
    task_uuid = await visible_task(engine, caller, uuid)
    change = await engine.cancel_task(
        task_uuid, actor=caller.acting_as(body.actor), reason=body.reason, dry_run=body.dry_run
    )
    return reply(change)


async def _wait(request: Request, engine: Engine, task_uuid: UUID, seconds: float) -> None:
    """Wait until a task rests, the time is up or the server is about to stop."""
    waiting = asyncio.create_task(engine.wait(task_uuid, seconds))
    stopping = asyncio.create_task(request.app.state.stopping.wait())
    try:
        await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            with contextlib.suppress(TimeoutError):
                waiting.result()
    finally:
        for each in (waiting, stopping):
            each.cancel()
        await asyncio.gather(waiting, stopping, return_exceptions=True)


async def visible_task(engine: Engine, caller: Caller, text: str) -> UUID:
    """Return the UUID of a task that the caller may see.

    Raises:
        ApiError: it is no UUID (400).
        TaskNotFoundError: there is no such task, or the caller may not see it.
    """
    try:
        task_uuid = UUID(text)
    except ValueError:
        raise ApiError(400, "INVALID_UUID", text) from None
    await engine.details.require_within(task_uuid, caller.namespaces)
    return task_uuid


# -- creation


def _numbers_created(
    found: Sequence[ApiError | tuple[TaskTemplate, schemas.NewTaskBody]], results: Sequence[Mapping[str, Any]]
) -> Counter[tuple[str, str]]:
    return Counter(
        (each[0].namespace_name, each[0].name)
        for each, result in zip(found, results, strict=True)
        if not isinstance(each, ApiError) and result["status"] == "created"
    )


def _require_names(body: schemas.NewTaskBody) -> None:
    for value, label in ((body.name, "Task name"), (body.namespace, "Namespace"), (body.version, "Version")):
        if value == "":
            raise bad_request(f"{label} cannot be empty")


def _require_open(caller: Caller, namespace: str) -> None:
    if not caller.may_enter(namespace):
        raise forbidden(f"Namespace not allowed: {namespace}")


async def _template(engine: Engine, namespace: str, name: str, version: str | None) -> TaskTemplate:
    try:
        return await engine.templates.find(namespace, name, version)
    except TemplateNotFoundError:
        message = (
            f"Task template not found: Failed to load task template for task: {name}, namespace: {namespace}, "
            f"version: {version or LATEST}, error: not registered"
        )
        raise not_found(message) from None


def _created(creation: Creation, *, return_existing: bool) -> UUID:
    """Return the UUID of a task that was created, or that existed and is as good.

    Raises:
        InvalidTaskError: the request was wrong.
        StoreError: the database failed.
        DuplicateTaskError: the task existed, and that is not as good.
    """
    if creation.error is not None:
        raise creation.error
    assert creation.task_uuid is not None
    if creation.existed and not return_existing:
        raise DuplicateTaskError("A task with this identity already exists", creation.task_uuid)
    return creation.task_uuid


def _item(item: Any, caller: Caller, *, has_nul: bool) -> schemas.NewTaskBody | ApiError:
    try:
        body = bodies.checked(item, _new_task, has_nul=has_nul)
        _require_names(body)
        _require_open(caller, body.namespace)
    except ApiError as error:
        return error
    return body


async def _with_templates(
    engine: Engine, items: Sequence[schemas.NewTaskBody | ApiError]
) -> list[tuple[TaskTemplate, schemas.NewTaskBody] | ApiError]:
    """Return each request with its template, or what is wrong with it; a template is looked up once."""
    templates: dict[tuple[str, str, str | None], TaskTemplate | ApiError] = {}
    found: list[tuple[TaskTemplate, schemas.NewTaskBody] | ApiError] = []
    for item in items:
        if isinstance(item, ApiError):
            found.append(item)
            continue
        identity = item.namespace, item.name, item.version
        if identity not in templates:
            try:
                templates[identity] = await _template(engine, *identity)
            except ApiError as error:
                templates[identity] = error
        template = templates[identity]
        found.append(template if isinstance(template, ApiError) else (template, item))
    return found


def _result(index: int, creation: Creation, *, return_existing: bool) -> dict[str, Any]:
    try:
        task_uuid = _created(creation, return_existing=return_existing)
    except (InvalidTaskError, DuplicateTaskError, StoreError) as error:
        return _failed(index, translated(error))
    return {"index": index, "task_uuid": task_uuid, "status": "existing" if creation.existed else "created"}


def _failed(index: int, error: ApiError) -> dict[str, Any]:
    return {"index": index, "status": "failed", "error": error.described()}


# -- search


def _require_page(page: int, per_page: int) -> None:
    if page < 1:
        raise bad_request("page must be >= 1")
    if page > _LAST_PAGE:
        raise bad_request(f"page must be <= {_LAST_PAGE}")
    if not 1 <= per_page <= 100:
        raise bad_request("per_page must be between 1 and 100")


def _text(name: str, text: str) -> str:
    if "\0" in text:
        raise bad_request(f"{name} must not contain NUL characters")
    return text


def _state(text: str) -> TaskState:
    try:
        return TaskState.COMPLETE if text == "completed" else TaskState(text)
    except ValueError:
        raise bad_request(f"status must be one of: {', '.join(TaskState)}, completed") from None


def _uuid(name: str, text: str | None) -> UUID | None:
    try:
        return None if text is None else UUID(text)
    except ValueError:
        raise bad_request(f"{name} must be a UUID") from None


def _moment(name: str, text: str | None) -> datetime | None:
    try:
        return None if text is None else schemas.parse_moment(text)
    except ValueError as error:
        raise bad_request(f"{name} must be an RFC 3339 time: {error}") from None


def _context(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        context = serialization.loads(text)
        serialization.dumps(context)
    except serialization.SerializationError as error:
        raise bad_request(f"context must be a JSON object: {error}") from None
    if not isinstance(context, dict):
        raise bad_request("context must be a JSON object")
    return context
