"""Many tasks in one go, each for itself."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from tasker_core.engine.planner import Plan
from tasker_core.orchestration.create_tasks import InvalidTaskError, TaskRequest, prepare
from tasker_core.store import NewTask, StoreError
from tasker_core.template import TaskTemplate

#: Tasks that one statement creates.
_CHUNK: Final = 1_000


@dataclass(frozen=True, slots=True)
class Creation:
    """What became of a request.

    Attributes:
        task_uuid: the task; None if there is none.
        existed: whether the task was there before, because the request had been made before.
        error: why there is no task.
        new: the task as it was stored, with the plan that it follows, unless it existed before.
    """

    task_uuid: UUID | None = None
    existed: bool = False
    error: InvalidTaskError | StoreError | None = None
    new: tuple[NewTask, Plan] | None = None


#: Creates tasks of one template; see ``Engine.create_each``.
CreateEach = Callable[[TaskTemplate, Sequence[TaskRequest]], Awaitable[Sequence[Creation]]]


def prepared(request: TaskRequest, plan: Plan) -> NewTask | InvalidTaskError:
    """Return the task to store, or what is wrong with its request."""
    try:
        return prepare(request, plan)
    except InvalidTaskError as error:
        return error


def creations(tasks: Sequence[NewTask | InvalidTaskError], twins: Mapping[UUID, UUID], plan: Plan) -> list[Creation]:
    """Return what became of requests, from which of their tasks have a twin that existed before."""
    return [
        Creation(error=task)
        if isinstance(task, InvalidTaskError)
        else Creation(twins[task.task_uuid], existed=True)
        if task.task_uuid in twins
        else Creation(task.task_uuid, new=(task, plan))
        for task in tasks
    ]


async def create_in_bulk(
    create_each: CreateEach, requests: Sequence[tuple[TaskTemplate, TaskRequest]]
) -> list[Creation]:
    """Create tasks of any templates, each for itself, and return what became of each, in order.

    If the database fails on the way, what it created stays, and the rest has that error.

    Raises:
        StoreError: the database failed before anything was created.
    """
    by_template: defaultdict[str, list[int]] = defaultdict(list)
    templates = {id(template): template for template, _ in requests}
    digests = {key: template.digest for key, template in templates.items()}
    for position, (template, _) in enumerate(requests):
        by_template[digests[id(template)]].append(position)
    answers: list[Creation] = [Creation()] * len(requests)
    failure: StoreError | None = None
    for positions in by_template.values():
        for start in range(0, len(positions), _CHUNK):
            chunk = positions[start : start + _CHUNK]
            created, failure = await _create_chunk(create_each, [requests[position] for position in chunk], failure)
            for position, creation in zip(chunk, created, strict=True):
                answers[position] = creation
    if failure is not None and all(answer.task_uuid is None for answer in answers):
        raise failure
    return answers


async def _create_chunk(
    create_each: CreateEach, chunk: Sequence[tuple[TaskTemplate, TaskRequest]], failure: StoreError | None
) -> tuple[Sequence[Creation], StoreError | None]:
    if failure is None:
        try:
            return await create_each(chunk[0][0], [request for _, request in chunk]), None
        except StoreError as error:
            failure = error
    return [Creation(error=failure)] * len(chunk), failure
