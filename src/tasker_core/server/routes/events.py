"""Server-sent events of state changes."""

import contextlib
from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import Depends, Header, Query, Request, Response

from tasker_core.access import Permission
from tasker_core.orchestration.feed import Change, News, Position
from tasker_core.server.errors import bad_request
from tasker_core.server.routes.tasks import TaskPath, visible_task
from tasker_core.server.routing import CallerParameter, EngineParameter, requires
from tasker_core.server.routing import router as new_router
from tasker_core.server.schemas.errors import errors
from tasker_core.server.schemas.events import StreamedEvent
from tasker_core.server.streams import KEEP_ALIVE_SECONDS, EventStream, Streams

router = new_router("events")

_TYPES = frozenset({"task", "step"})

_DESCRIPTION = """Each event has an `id`; a client that connects again with the last one that it has seen, as the
header `Last-Event-ID` or the parameter `last_event_id`, misses nothing and sees nothing twice, whichever server it
reaches. The event is `task` or `step`, its data one line of JSON (ChangeEvent)."""

_ANSWER: dict[str, Any] = {
    "description": "Events until the stream ends",
    # Before OpenAPI 3.2 the schema of such an answer is that of one event.
    "content": {"text/event-stream": {"schema": StreamedEvent.model_json_schema()}},
}


_EVENT_ID: dict[str, Any] = {"pattern": "^([0-9]{1,17}-[0-3]-[0-9]{1,18})?$"}


def _last_seen(
    header: Annotated[
        str, Header(alias="Last-Event-ID", description="The last event that was seen.", json_schema_extra=_EVENT_ID)
    ] = "",
    parameter: Annotated[
        str,
        Query(
            alias="last_event_id",
            description="The same, for clients that cannot set headers.",
            json_schema_extra=_EVENT_ID,
        ),
    ] = "",
) -> Position | None:
    text = header or parameter
    if not text:
        return None
    try:
        return Position.parse(text)
    except ValueError as error:
        raise bad_request(f"Last-Event-ID: {error}") from error


def _streams(request: Request) -> Streams:
    streams: Streams = request.app.state.streams
    return streams


_LastSeen = Annotated[Position | None, Depends(_last_seen)]
_StreamsParameter = Annotated[Streams, Depends(_streams)]


@router.get(
    "/v1/tasks/{uuid}/events",
    summary="Follow one task until it is over",
    description=f"Without an id it begins with the whole history. {_DESCRIPTION} After the last change comes the event "
    "`end` (EndEvent).",
    openapi_extra=requires(Permission.TASKS_READ),
    response_class=EventStream,
    status_code=200,
    responses={**errors(404), 200: _ANSWER},
)
async def follow_task(
    uuid: TaskPath, caller: CallerParameter, engine: EngineParameter, streams: _StreamsParameter, after: _LastSeen
) -> Response:
    """Tell the changes of one task."""
    task_uuid = await visible_task(engine, caller, uuid)
    # Whether it exists has to be known before the answer begins.
    await engine.feed.identity(task_uuid)
    return EventStream(engine.feed.of_task(task_uuid, after, patience=KEEP_ALIVE_SECONDS), streams)


@router.get(
    "/v1/events",
    summary="Follow all tasks",
    description="The ends of attempts and the changes of tasks' states, as far as the caller may see the tasks. "
    f"Without an id it begins now. {_DESCRIPTION}",
    openapi_extra=requires(Permission.TASKS_LIST),
    response_class=EventStream,
    status_code=200,
    responses={**errors(), 200: _ANSWER},
)
async def follow_tasks(
    caller: CallerParameter,
    engine: EngineParameter,
    streams: _StreamsParameter,
    after: _LastSeen,
    namespace: Annotated[str | None, Query(description="Only tasks of this namespace.")] = None,
    name: Annotated[str | None, Query(description="Only tasks of templates of this name.")] = None,
    types: Annotated[str | None, Query(description="Which events, separated by commas: `task`, `step`.")] = None,
) -> Response:
    """Tell the changes of all tasks."""
    kinds = frozenset(map(str.strip, types.split(","))) if types else _TYPES
    if not kinds <= _TYPES:
        raise bad_request("types: only 'task' and 'step' are known")
    visible = caller.visible(None if namespace is None else [namespace])
    namespaces = None if visible is None else frozenset(visible)

    def wanted(change: Change) -> bool:
        return (
            (namespaces is None or change.namespace in namespaces)
            and (name is None or change.name == name)
            and ("step" if change.is_of_step else "task") in kinds
        )

    start = after or await engine.feed.now()
    return EventStream(_from(start, engine.feed.of_all(start, wanted, patience=KEEP_ALIVE_SECONDS)), streams)


async def _from(start: Position, news: AsyncGenerator[News, None]) -> AsyncGenerator[News, None]:
    """Tell where a stream begins before anything happens, so that a client that is cut off at once can resume."""
    yield News([], start)
    async with contextlib.aclosing(news):
        async for one in news:
            yield one
