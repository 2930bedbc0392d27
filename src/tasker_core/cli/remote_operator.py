"""The operator that a server is: the same verbs and views, over HTTP."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import UUID

from tasker_core.cli.remote_parts import (
    RemoteAnalytics,
    RemoteKeys,
    RemoteTemplates,
    RemoteWorkers,
    changes_at_server,
    get,
    send,
)
from tasker_core.client import AsyncTaskerClient, ConflictError, PermissionDeniedError
from tasker_core.client.errors import ResourceNotFoundError
from tasker_core.orchestration import (
    DeadLetterNotFoundError,
    DuplicateTaskError,
    Engine,
    IllegalMoveError,
    StepNotFoundError,
    TaskFilter,
    TaskNotFoundError,
    TaskRequest,
    TemplateConflictError,
)
from tasker_core.serialization import rfc3339
from tasker_core.states import TaskState
from tasker_core.template import TaskTemplate

Json = dict[str, Any]

T = TypeVar("T")

#: Tasks that one request returns.
_PAGE = 100


class RemoteOperator:
    """Lets a server do what a command wants.

    Args:
        client: speaks to the server; whoever made it closes it.
    """

    def __init__(self, client: AsyncTaskerClient) -> None:
        self._client = client
        self.templates = RemoteTemplates(client)
        self.workers = RemoteWorkers(client)
        self.analytics = RemoteAnalytics(client)
        self.api_keys = RemoteKeys(client)

    async def create_from_file(self, template: TaskTemplate, request: TaskRequest) -> UUID:
        """Create a task of a template that may not be registered yet; then it is, if the credential allows it."""
        try:
            await self.templates.register(template)
        except TemplateConflictError as error:
            raise IllegalMoveError(
                f"{template.identity} is registered with other content; change its version, or: "
                "tasker template register --force"
            ) from error
        except PermissionDeniedError as denied:
            # Then the server's own text of the template counts, if it has one.
            try:
                return await self.create_task(template, request)
            except ResourceNotFoundError:
                raise denied from None
        return await self.create_task(template, request)

    async def create_task(self, template: TaskTemplate, request: TaskRequest, *, return_existing: bool = False) -> UUID:
        """Create a task of a registered template."""
        body = {
            "name": template.name,
            "namespace": template.namespace_name,
            "version": template.version,
            "return_existing": return_existing,
            **_written(request),
        }
        try:
            return await self._create(body)
        except ConflictError as error:
            raise DuplicateTaskError(error.message, await self._create({**body, "return_existing": True})) from error

    async def _create(self, body: Json) -> UUID:
        return UUID((await send(self._client, "create_task", "POST", "/v1/tasks", body))["task_uuid"])

    def changes(self, task_uuid: UUID) -> AsyncIterator[Json]:
        """Yield the changes of a task and its steps from its beginning, until it is over."""
        return changes_at_server(self._client, task_uuid)

    async def wait(self, task_uuid: UUID, timeout: float | None = None) -> TaskState:
        """Wait until a task is over or blocked by failures."""
        return TaskState((await self._client.wait(task_uuid, timeout)).status)

    async def task(self, task_uuid: UUID) -> Json:
        """Return a task."""
        task = await self._get(f"/v1/tasks/{task_uuid}", _json, missing=TaskNotFoundError(task_uuid))
        return {key: value for key, value in task.items() if key != "steps"}

    async def tasks(
        self, wanted: TaskFilter | None = None, *, before: UUID | None = None, limit: int = 50, offset: int = 0
    ) -> list[Json]:
        """Return tasks, newest first."""
        found: list[Json] = []
        cursor = None if before is None else str(before)
        while len(found) < offset + limit:
            query = {**_query(wanted or TaskFilter()), "cursor": cursor, "per_page": _PAGE}
            page = await self._get("/v1/tasks", _json, query)
            found += page["tasks"]
            cursor = page["pagination"]["next_cursor"]
            if cursor is None:
                break
        return [
            {key: value for key, value in task.items() if key != "steps"} for task in found[offset : offset + limit]
        ]

    async def steps(self, task_uuid: UUID) -> list[Json]:
        """Return all steps of a task, in template order."""
        steps = await self._get(f"/v1/tasks/{task_uuid}/workflow_steps", list, missing=TaskNotFoundError(task_uuid))
        return [_taken_apart(step) for step in steps]

    async def step_states(self, task_uuid: UUID) -> list[Json]:
        """Return the states of a task's steps."""
        return [
            {
                "name": step["name"],
                "template_step": step["template_step"],
                "state": step["current_state"],
                "attempts": step["attempts"],
                "error": (step["error"] or {}).get("message"),
            }
            for step in await self.steps(task_uuid)
        ]

    async def history(self, task_uuid: UUID) -> list[Json]:
        """Return every state change of a task and its steps, oldest first."""
        return await self._get(
            f"/v1/tasks/{task_uuid}/history", lambda body: list(body["history"]), missing=TaskNotFoundError(task_uuid)
        )

    async def why(self, task_uuid: UUID, step: str | None = None) -> list[Json]:
        """Return what each step of a task waits for."""
        path = f"/v1/tasks/{task_uuid}/why"
        try:
            return await get(self._client, "why", path, lambda body: list(body["steps"]), {"step": step})
        except ResourceNotFoundError as error:
            raise await self._missing(task_uuid, step) from error

    async def cancel_task(self, task_uuid: UUID, *, actor: str, reason: str, dry_run: bool = False) -> Json:
        """End a task and all its steps that are not done."""
        return await self._verb(task_uuid, "cancel", actor=actor, reason=reason, dry_run=dry_run)

    async def pause_task(self, task_uuid: UUID, *, actor: str, reason: str | None = None) -> Json:
        """Let no further step of a task be claimed."""
        return await self._verb(task_uuid, "pause", actor=actor, reason=reason)

    async def resume_task(self, task_uuid: UUID, *, actor: str, reason: str | None = None) -> Json:
        """Let a paused task go on."""
        return await self._verb(task_uuid, "resume", actor=actor, reason=reason)

    async def retry_task(
        self, task_uuid: UUID, *, actor: str, reason: str | None = None, dry_run: bool = False
    ) -> Json:
        """Let all failed steps of a task start afresh."""
        return await self._verb(task_uuid, "retry", actor=actor, reason=reason, dry_run=dry_run)

    async def rerun_task(self, task_uuid: UUID, step: str, *, actor: str, reason: str, dry_run: bool = False) -> Json:
        """Run a task again from a step on."""
        return await self._verb(task_uuid, "rerun", actor=actor, reason=reason, step=step, dry_run=dry_run)

    async def reset_step(self, task_uuid: UUID, step: str, *, actor: str, reason: str) -> Json:
        """Let a failed step start afresh."""
        return await self._step_verb(task_uuid, step, "reset", actor=actor, reason=reason)

    async def resolve_step(self, task_uuid: UUID, step: str, *, actor: str, reason: str) -> Json:
        """Take a step for done without a result."""
        return await self._step_verb(task_uuid, step, "resolve", actor=actor, reason=reason)

    async def complete_step(
        self,
        task_uuid: UUID,
        step: str,
        result: Json,
        *,
        actor: str,
        reason: str,
        metadata: Mapping[str, Any] | None = None,
    ) -> Json:
        """Give a step its result by hand."""
        return await self._step_verb(
            task_uuid, step, "complete", actor=actor, reason=reason, result=result, metadata=metadata
        )

    async def dlq_entries(
        self, *, status: str | None = None, reason: str | None = None, before: UUID | None = None, limit: int = 50
    ) -> list[Json]:
        """Return dead letters, newest first."""
        cursor = None if before is None else str(before)
        return await self._get(
            "/v1/dlq",
            lambda body: [_as_engine_shows(entry) for entry in body],
            {"resolution_status": status, "dlq_reason": reason, "cursor": cursor, "limit": limit},
        )

    async def dlq_entry(self, entry_uuid: UUID) -> Json:
        """Return one dead letter."""
        return await self._get(
            f"/v1/dlq/entry/{entry_uuid}", _as_engine_shows, missing=DeadLetterNotFoundError(entry_uuid)
        )

    async def dlq_stats(self) -> list[Json]:
        """Return the numbers of dead letters by reason."""
        return await self._get("/v1/dlq/stats", list)

    async def resolve_dlq_entry(
        self, entry_uuid: UUID, *, action: str, actor: str, notes: str | None = None, dry_run: bool = False
    ) -> Json:
        """Close a dead letter, and do what it takes."""
        body = _given({"action": action, "actor": actor, "notes": notes, "dry_run": dry_run})
        path = f"/v1/dlq/entry/{entry_uuid}/resolve"
        try:
            return _as_engine_shows(await send(self._client, "resolve_dlq_entry", "POST", path, body))
        except ResourceNotFoundError as error:
            raise DeadLetterNotFoundError(entry_uuid) from error

    async def _verb(self, task_uuid: UUID, verb: str, **body: Any) -> Json:
        try:
            answer = await send(self._client, f"{verb}_task", "POST", f"/v1/tasks/{task_uuid}/{verb}", _given(body))
        except ResourceNotFoundError as error:
            raise await self._missing(task_uuid, body.get("step")) from error
        return dict(answer)

    async def _step_verb(self, task_uuid: UUID, step: str, verb: str, **body: Any) -> Json:
        path = f"/v1/tasks/{task_uuid}/workflow_steps/{quote(step, safe='')}/{verb}"
        try:
            return dict(await send(self._client, f"{verb}_step", "POST", path, _given(body)))
        except ResourceNotFoundError as error:
            raise await self._missing(task_uuid, step) from error

    async def _missing(self, task_uuid: UUID, step: str | None) -> LookupError:
        """Return what is missing: the task, or only its step."""
        try:
            known = [found["name"] for found in await self.steps(task_uuid)]
        except TaskNotFoundError as error:
            return error
        return StepNotFoundError(task_uuid, step or "", known)

    async def _get(
        self,
        path: str,
        parse: Callable[[Any], T],
        query: Mapping[str, Any] | None = None,
        *,
        missing: LookupError | None = None,
    ) -> T:
        try:
            return await get(self._client, "read", path, parse, query)
        except ResourceNotFoundError as error:
            raise missing or error from error


def _json(body: Any) -> Any:
    return body


def _given(body: Mapping[str, Any]) -> Json:
    return {name: value for name, value in body.items() if value is not None and value is not False}


def _written(request: TaskRequest) -> Json:
    """Return a request as the server takes it."""
    return _given(
        {
            "context": request.context,
            "priority": request.priority,
            "correlation_id": request.correlation_id and str(request.correlation_id),
            "parent_correlation_id": request.parent_correlation_id and str(request.parent_correlation_id),
            "initiator": request.initiator or "tasker",
            "source_system": request.source_system or "cli",
            "reason": request.reason,
            "tags": list(request.tags),
            "requested_at": request.requested_at and rfc3339(request.requested_at),
            "idempotency_key": request.idempotency_key,
        }
    )


def _query(wanted: TaskFilter) -> Json:
    return {
        "namespace": None if wanted.namespaces is None else list(wanted.namespaces),
        "name": wanted.name,
        "version": wanted.version,
        "status": None if wanted.states is None else [str(state) for state in wanted.states],
        "tag": None if wanted.tags is None else list(wanted.tags),
        "correlation_id": wanted.correlation_id and str(wanted.correlation_id),
    }


def _as_engine_shows(entry: Json) -> Json:
    """Return a dead letter without the other name that a server has for its time."""
    return {key: value for key, value in entry.items() if key != "created_at"}


def _taken_apart(step: Json) -> Json:
    """Return a step with its result, metadata and error each by itself, as the engine shows it."""
    results = step["results"] or {}
    parts = {
        "result": results.get("result") if results.get("success") else None,
        "metadata": (results.get("metadata") or {}).get("custom") or None,
        "error": results.get("error"),
    }
    return {**{key: value for key, value in step.items() if key != "results"}, **parts}


#: What commands ask for: the engine itself, or a server that has it.
Operator = Engine | RemoteOperator
