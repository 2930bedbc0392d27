"""Following one task until it rests."""

import contextlib
from collections.abc import AsyncGenerator
from typing import Any
from uuid import UUID

from tasker_core import serialization
from tasker_core.cli.common import operator
from tasker_core.cli.output import out, styled_state
from tasker_core.cli.progress import change_line
from tasker_core.cli.remote_operator import Operator, RemoteOperator
from tasker_core.states import TaskState


async def watch(task_uuid: UUID, database_url: str | None, *, as_json: bool) -> TaskState:
    """Print the changes of a task and its steps until it is over or blocked by failures; return its state then.

    Args:
        task_uuid: the task.
        database_url: where to connect, if not to the configured database.
        as_json: print a JSON document a line.
    """
    async with operator(database_url) as opened:
        async with contextlib.aclosing(_changes(opened, task_uuid)) as changes:
            async for change in changes:
                _print(serialization.dumps(change) if as_json else change_line(change), as_json=as_json)
                blocked = change["step"] is None and change["to_state"] == TaskState.BLOCKED_BY_FAILURES
                # It may be one of long ago, after which the task went on.
                if blocked and await _state(opened, task_uuid) is TaskState.BLOCKED_BY_FAILURES:
                    break
        state = await _state(opened, task_uuid)
    end = {"task_uuid": str(task_uuid), "status": str(state)}
    _print(serialization.dumps(end) if as_json else f"{styled_state(state)} {task_uuid}", as_json=as_json)
    return state


async def _changes(opened: Operator, task_uuid: UUID) -> AsyncGenerator[dict[str, Any], None]:
    """Yield what happened to a task and what happens, until it is over."""
    await opened.task(task_uuid)  # says so if there is none
    if isinstance(opened, RemoteOperator):
        async for change in opened.changes(task_uuid):
            yield change
        return
    async for news in opened.feed.of_task(task_uuid):
        for told in news.changes:
            yield serialization.loads(told.text)


async def _state(opened: Operator, task_uuid: UUID) -> TaskState:
    return TaskState((await opened.task(task_uuid))["status"])


def _print(line: str, *, as_json: bool) -> None:
    out.print(line, markup=not as_json, soft_wrap=True)
    out.file.flush()
