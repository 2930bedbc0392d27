"""The operator that a server is: the same verbs and views, over HTTP."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from uuid import UUID

from tasker_core.client import AsyncTaskerClient, ConflictError, PermissionDeniedError
from tasker_core.client.calls import Call, Request
from tasker_core.client.errors import ResourceNotFoundError
from tasker_core.orchestration import (
    DuplicateTaskError,
    Engine,
    IllegalMoveError,
    TaskFilter,
    TaskNotFoundError,
    TaskRequest,
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

    async def create_task(self, template: TaskTemplate, request: TaskRequest, *, return_existing: bool = False) -> UUID:
        """Create a task, and register its template first if the credential allows it."""
        try:
            await self._client.register_template(template.to_dict())
        except PermissionDeniedError:
            pass  # then the server's own text of the template counts
        except ConflictError as error:
            raise IllegalMoveError(
                f"{template.identity} is registered with other content; change its version, or: "
                "tasker template register --force"
            ) from error
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
        call = Call("create_task", Request("POST", "/v1/tasks", body=body), _json)
        return UUID((await self._client.follow(call))["task_uuid"])

    async def wait(self, task_uuid: UUID, timeout: float | None = None) -> TaskState:
        """Wait until a task is over or blocked by failures."""
        return TaskState((await self._client.wait(task_uuid, timeout)).status)

    async def task(self, task_uuid: UUID) -> Json:
        """Return a task."""
        task = await self._get(f"/v1/tasks/{task_uuid}", _json, missing=task_uuid)
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
        steps = await self._get(f"/v1/tasks/{task_uuid}/workflow_steps", list, missing=task_uuid)
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
        return await self._get(f"/v1/tasks/{task_uuid}/history", lambda body: list(body["history"]), missing=task_uuid)

    async def why(self, task_uuid: UUID, step: str | None = None) -> list[Json]:
        """Return what each step of a task waits for."""
        return await self._get(f"/v1/tasks/{task_uuid}/why", lambda body: list(body["steps"]), {"step": step})

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
        return await self._verb(task_uuid, f"workflow_steps/{step}/reset", actor=actor, reason=reason)

    async def resolve_step(self, task_uuid: UUID, step: str, *, actor: str, reason: str) -> Json:
        """Take a step for done without a result."""
        return await self._verb(task_uuid, f"workflow_steps/{step}/resolve", actor=actor, reason=reason)

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
        return await self._verb(
            task_uuid,
            f"workflow_steps/{step}/complete",
            actor=actor,
            reason=reason,
            result=result,
            metadata=metadata,
        )

    async def dlq_entries(
        self, *, status: str | None = None, reason: str | None = None, before: UUID | None = None, limit: int = 50
    ) -> list[Json]:
        """Return dead letters, newest first."""
        cursor = None if before is None else str(before)
        return await self._get(
            "/v1/dlq", list, {"resolution_status": status, "dlq_reason": reason, "cursor": cursor, "limit": limit}
        )

    async def dlq_entry(self, entry_uuid: UUID) -> Json:
        """Return one dead letter."""
        return await self._get(f"/v1/dlq/entry/{entry_uuid}", _json)

    async def dlq_stats(self) -> list[Json]:
        """Return the numbers of dead letters by reason."""
        return await self._get("/v1/dlq/stats", list)

    async def resolve_dlq_entry(
        self, entry_uuid: UUID, *, action: str, actor: str, notes: str | None = None, dry_run: bool = False
    ) -> Json:
        """Close a dead letter, and do what it takes."""
        body = _given({"action": action, "actor": actor, "notes": notes, "dry_run": dry_run})
        request = Request("POST", f"/v1/dlq/entry/{entry_uuid}/resolve", body=body)
        return await self._client.follow(Call("resolve", request, _json))

    async def _verb(self, task_uuid: UUID, verb: str, **body: Any) -> Json:
        request = Request("POST", f"/v1/tasks/{task_uuid}/{verb}", body=_given(body))
        return await self._client.follow(Call(verb.rpartition("/")[2], request, _json))

    async def _get(
        self,
        path: str,
        parse: Callable[[Any], T],
        query: Mapping[str, Any] | None = None,
        *,
        missing: UUID | None = None,
    ) -> T:
        try:
            return await self._client.follow(Call("get", Request("GET", path, query or {}, repeatable=True), parse))
        except ResourceNotFoundError as error:
            if missing is None:
                raise
            raise TaskNotFoundError(missing) from error


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
            "reason": request.reason or "Task requested",
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


def _taken_apart(step: Json) -> Json:
    """Return a step with its result, metadata and error each by itself, as the engine shows it."""
    results = step.pop("results") or {}
    step["result"] = results.get("result") if results.get("success") else None
    step["metadata"] = results.get("metadata")
    step["error"] = results.get("error")
    return step


#: What commands ask for: the engine itself, or a server that has it.
Operator = Engine | RemoteOperator
