"""The methods that both clients have. Each says what to ask and what the answer means; see `endpoint`."""

import time
from collections.abc import Generator, Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

from tasker_core.client.base import Client, endpoint
from tasker_core.client.calls import Call, Request
from tasker_core.client.errors import InvalidRequestError, WaitTimeoutError
from tasker_core.client.responses import (
    BulkCreateResponse,
    HealthResponse,
    PaginationInfo,
    StepAuditResponse,
    StepResponse,
    TaskListResponse,
    TaskResponse,
)

Json = dict[str, Any]
Id = str | UUID

#: Longest time that one request waits for a task, in seconds. Proxies often give up after 30.
LONGEST_POLL: Final = 20.0

#: How long an outage of the server may last while something is waited for, in seconds.
PATIENCE_SECONDS: Final = 60.0

#: How much longer than an answer a stream of events may be silent, in seconds; the server breaks the silence earlier.
SILENCE_SECONDS: Final = 30.0

#: Most tasks of a page.
PAGE_SIZE: Final = 100


class Endpoints(Client):
    """Everything that a client can ask."""

    # -- tasks

    @endpoint
    def create_task(
        self,
        /,
        name: str,
        *,
        namespace: str = "default",
        context: Mapping[str, Any] | None = None,
        version: str = "1.0.0",
        reason: str = "Task requested",
        **kwargs: Any,
    ) -> Call[TaskResponse]:
        """Create a task of a registered template.

        Args:
            name: the template's name.
            namespace: the template's namespace.
            context: what the task is about.
            version: the template's version.
            reason: why the task is created.
            kwargs: more of the request: ``tags``, ``priority``, ``correlation_id``, ``parent_correlation_id``,
                ``idempotency_key`` (a second creation with the same key is refused), ``return_existing`` (it returns
                the task that exists instead), ``initiator``, ``source_system``.

        Raises:
            DuplicateTaskError: the task exists already.
            ResourceNotFoundError: there is no such template.
            ValidationFailedError: the context does not fit the template.
        """
        body = self._task_request(
            {"name": name, "namespace": namespace, "version": version, "context": context, "reason": reason, **kwargs}
        )
        keyed = body.get("idempotency_key") is not None
        # If only the answer was lost, the task exists, and the repeat must find it instead of being refused.
        repeat_body = {**body, "return_existing": True} if keyed else None
        request = Request("POST", "/v1/tasks", body=body, repeatable=keyed, repeat_body=repeat_body)
        return Call("create_task", request, TaskResponse.from_dict)

    @endpoint
    def create_tasks(
        self, tasks: Iterable[Mapping[str, Any]], *, return_existing: bool = False
    ) -> Call[BulkCreateResponse]:
        """Create many tasks with one request.

        One that cannot be created does not stop the others; its entry of ``results`` says why.

        Args:
            tasks: the arguments of `create_task` for each.
            return_existing: whether a task that exists already counts as found instead of failed.
        """
        requests = [self._task_request(task) for task in tasks]
        keyed = return_existing and all(request.get("idempotency_key") is not None for request in requests)
        body = {"tasks": requests, "return_existing": return_existing}
        request = Request("POST", "/v1/tasks/bulk", body=body, repeatable=keyed)
        return Call("create_tasks", request, BulkCreateResponse.from_dict)

    @endpoint
    def get_task(self, task_uuid: Id) -> Call[TaskResponse]:
        """Return a task with the state of its steps."""
        return Call("get_task", _get(_task_path("get_task", task_uuid)), TaskResponse.from_dict)

    @endpoint
    def wait(self, task_uuid: Id, timeout: float | None = None) -> Generator[Call[Any], Any, TaskResponse]:
        """Wait until a task is over or blocked by failures, and return it. Outages of a minute are sat out.

        Args:
            task_uuid: the task.
            timeout: seconds to wait at most; without end if None.

        Raises:
            WaitTimeoutError: it was still under way when the time was up; also a ``TimeoutError``.
        """
        path = _task_path("wait", task_uuid)
        deadline = None if timeout is None else time.monotonic() + timeout
        patience = 0.0  # until the first answer: a server that was never there is no outage
        while True:
            left = PATIENCE_SECONDS if deadline is None else max(0.0, deadline - time.monotonic())
            seconds = round(min(left, LONGEST_POLL), 3)
            request = Request(
                "GET",
                path,
                {"wait": seconds},
                repeatable=True,
                extra_seconds=seconds,
                patience=min(left, patience),
            )
            task: TaskResponse = yield Call("wait", request, TaskResponse.from_dict)
            patience = PATIENCE_SECONDS
            if task.is_resting:
                return task
            if deadline is not None and time.monotonic() >= deadline:
                raise WaitTimeoutError("wait", f"the task was still {task.status} after {timeout:g} s", task)

    @endpoint
    def list_tasks(
        self,
        /,
        *,
        limit: int = 50,
        offset: int = 0,
        namespace: str | None = None,
        status: str | None = None,
        **filters: Any,
    ) -> Generator[Call[Any], Any, TaskListResponse]:
        """Return tasks, newest first, without their steps.

        Args:
            limit: most tasks; more than 100 take several requests.
            offset: how many to leave out.
            namespace: only those of this namespace.
            status: only those in this state.
            filters: ``name``, ``version``, ``tag``, ``correlation_id``, ``initiator``, ``source_system``,
                ``created_after``, ``created_before`` (times), ``context`` (what it contains).
        """
        if limit < 1 or offset < 0:
            raise InvalidRequestError("list_tasks", "limit must be at least 1, and offset at least 0")
        # Pages are of one size, so those that cover the range are read and their ends cut off.
        size = min(limit, PAGE_SIZE)
        first, last = offset // size, (offset + limit - 1) // size
        tasks: list[TaskResponse] = []
        total = 0
        for page in range(first, last + 1):
            query = {"page": page + 1, "per_page": size, "namespace": namespace, "status": status, **filters}
            answer = yield Call("list_tasks", _get("/v1/tasks", query), TaskListResponse.from_dict)
            tasks += answer.tasks
            total = answer.pagination.total_count
            if not answer.pagination.has_next:
                break
        skipped = offset - first * size
        pagination = PaginationInfo(
            page=offset // limit + 1,
            per_page=limit,
            total_count=total,
            total_pages=-(-total // limit),
            has_next=offset + limit < total,
            has_previous=offset > 0,
        )
        return TaskListResponse(tasks[skipped : skipped + limit], pagination)

    @endpoint
    def task_summary(self, task_uuid: Id) -> Call[Json]:
        """Return a task, its template, its steps and its dead letter in short, as for a picture of it."""
        return _json("task_summary", _get(_task_path("task_summary", task_uuid, "summary")))

    @endpoint
    def cancel_task(self, task_uuid: Id, *, reason: str = "Cancelled by a client") -> Call[Json]:
        """End a task and all its steps that are not done; returns ``{"cancelled": True}``.

        Raises:
            ConflictError: it is over already.
        """
        request = Request("POST", _task_path("cancel_task", task_uuid, "cancel"), body={"reason": reason})
        return Call("cancel_task", request, lambda _: {"cancelled": True})

    @endpoint
    def pause_task(self, task_uuid: Id, *, reason: str | None = None) -> Call[Json]:
        """Let no further step of a task start; what runs goes on to its end. Returns what changed."""
        return _verb("pause_task", task_uuid, "pause", {"reason": reason})

    @endpoint
    def resume_task(self, task_uuid: Id, *, reason: str | None = None) -> Call[Json]:
        """Let a paused task go on. Returns what changed."""
        return _verb("resume_task", task_uuid, "resume", {"reason": reason})

    @endpoint
    def retry_task(self, task_uuid: Id, *, reason: str | None = None, dry_run: bool = False) -> Call[Json]:
        """Let all failed steps of a task start afresh. Returns what changed, or would change."""
        return _verb("retry_task", task_uuid, "retry", {"reason": reason, "dry_run": dry_run})

    @endpoint
    def rerun_task(self, task_uuid: Id, step: str, *, reason: str, dry_run: bool = False) -> Call[Json]:
        """Run a task again from the step of this name on. Returns what changed, or would change."""
        return _verb("rerun_task", task_uuid, "rerun", {"step": step, "reason": reason, "dry_run": dry_run})

    @endpoint
    def why(self, task_uuid: Id, step: str | None = None) -> Call[list[Json]]:
        """Return what each step of a task waits for, or the step of this name."""
        request = _get(_task_path("why", task_uuid, "why"), {"step": step})
        return Call("why", request, lambda data: list(data["steps"]))

    @endpoint
    def history(self, task_uuid: Id) -> Call[list[Json]]:
        """Return every state change of a task and its steps, oldest first."""
        request = _get(_task_path("history", task_uuid, "history"))
        return Call("history", request, lambda data: list(data["history"]))

    # -- steps

    @endpoint
    def list_task_steps(self, task_uuid: Id) -> Call[list[StepResponse]]:
        """Return all steps of a task."""
        path = _task_path("list_task_steps", task_uuid, "workflow_steps")
        return Call("list_task_steps", _get(path), lambda steps: [StepResponse.from_dict(step) for step in steps])

    @endpoint
    def get_step(self, task_uuid: Id, step_uuid: Id) -> Call[StepResponse]:
        """Return one step of a task."""
        return Call("get_step", _get(_step_path("get_step", task_uuid, step_uuid)), StepResponse.from_dict)

    @endpoint
    def get_step_audit_history(self, task_uuid: Id, step_uuid: Id) -> Call[list[StepAuditResponse]]:
        """Return how each attempt of a step ended and what people did to it, newest first."""
        request = _get(_step_path("get_step_audit_history", task_uuid, step_uuid) + "/audit")
        return Call(
            "get_step_audit_history", request, lambda entries: [StepAuditResponse.from_dict(each) for each in entries]
        )

    @endpoint
    def reset_step(
        self, task_uuid: Id, step_uuid: Id, *, reason: str, reset_by: str | None = None
    ) -> Call[StepResponse]:
        """Let a failed step start afresh, with all its attempts."""
        action = {"action_type": "reset_for_retry", "reset_by": reset_by or self.initiator}
        return _manual_action("reset_step", task_uuid, step_uuid, action, reason)

    @endpoint
    def resolve_step(
        self, task_uuid: Id, step_uuid: Id, *, reason: str, resolved_by: str | None = None
    ) -> Call[StepResponse]:
        """Take a step for done without a result."""
        action = {"action_type": "resolve_manually", "resolved_by": resolved_by or self.initiator}
        return _manual_action("resolve_step", task_uuid, step_uuid, action, reason)

    @endpoint
    def complete_step(
        self,
        task_uuid: Id,
        step_uuid: Id,
        result: Any,
        *,
        reason: str,
        completed_by: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Call[StepResponse]:
        """Give a step its result by hand."""
        data = {"result": result} if metadata is None else {"result": result, "metadata": metadata}
        action = {
            "action_type": "complete_manually",
            "completion_data": data,
            "completed_by": completed_by or self.initiator,
        }
        return _manual_action("complete_step", task_uuid, step_uuid, action, reason)

    # -- templates

    @endpoint
    def list_templates(self, *, namespace: str | None = None) -> Call[Json]:
        """Return the registered templates and their namespaces."""
        return _json("list_templates", _get("/v1/templates", {"namespace": namespace}))

    @endpoint
    def get_template(self, namespace: str, name: str, version: str = "latest", *, full: bool = False) -> Call[Json]:
        """Return a registered template, the newest version by default; with its whole definition if ``full``."""
        return _json("get_template", _get(_template_path(namespace, name, version), {"full": full or None}))

    @endpoint
    def register_template(
        self, template: str | PathLike[str] | Mapping[str, Any], *, force: bool = False
    ) -> Call[Json]:
        """Make a template known to the server.

        Args:
            template: its YAML text, the path of its file, or its content as a mapping.
            force: whether it may take the place of other content of the same version.

        Raises:
            ConflictError: the version is registered with other content.
            ValidationFailedError: the template is not valid.
        """
        content = template if isinstance(template, Mapping) else _text_of(template)
        body = {"template": content, "force": force}
        # Registering the same content again changes nothing.
        return _json("register_template", Request("POST", "/v1/templates", body=body, repeatable=True))

    @endpoint
    def delete_template(self, namespace: str, name: str, version: str) -> Call[Json]:
        """Let no more tasks be created from a version of a template; those that exist go on."""
        return _json("delete_template", Request("DELETE", _template_path(namespace, name, version)))

    # -- dead letters

    @endpoint
    def dlq_entries(
        self, *, status: str | None = None, reason: str | None = None, limit: int = 50, offset: int = 0
    ) -> Call[list[Json]]:
        """Return what needs a person, or once did, newest first."""
        query = {"resolution_status": status, "dlq_reason": reason, "limit": limit, "offset": offset}
        return Call("dlq_entries", _get("/v1/dlq", query), list)

    @endpoint
    def dlq_entry(self, entry_uuid: Id) -> Call[Json]:
        """Return one dead letter."""
        return _json("dlq_entry", _get(f"/v1/dlq/entry/{_uuid('dlq_entry', entry_uuid)}"))

    @endpoint
    def dlq_entry_of_task(self, task_uuid: Id) -> Call[Json]:
        """Return the newest dead letter of a task."""
        return _json("dlq_entry_of_task", _get(f"/v1/dlq/task/{_uuid('dlq_entry_of_task', task_uuid)}"))

    @endpoint
    def dlq_stats(self) -> Call[list[Json]]:
        """Return the numbers of dead letters by reason."""
        return Call("dlq_stats", _get("/v1/dlq/stats"), list)

    @endpoint
    def dlq_queue(self, *, limit: int = 100) -> Call[list[Json]]:
        """Return the open dead letters, the most urgent first."""
        return Call("dlq_queue", _get("/v1/dlq/investigation-queue", {"limit": limit}), list)

    @endpoint
    def dlq_staleness(self, *, limit: int = 100) -> Call[list[Json]]:
        """Return how long tasks have been in their state, compared with what their templates allow."""
        return Call("dlq_staleness", _get("/v1/dlq/staleness", {"limit": limit}), list)

    @endpoint
    def update_dlq_entry(
        self,
        entry_uuid: Id,
        *,
        status: str | None = None,
        notes: str | None = None,
        resolved_by: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Call[Json]:
        """Write down what an investigation found; the task stays as it is."""
        given = {
            "resolution_status": status,
            "resolution_notes": notes,
            "resolved_by": resolved_by,
            "metadata": metadata,
        }
        path = f"/v1/dlq/entry/{_uuid('update_dlq_entry', entry_uuid)}"
        return _json("update_dlq_entry", Request("PATCH", path, body=_without_none(given)))

    @endpoint
    def resolve_dlq_entry(
        self, entry_uuid: Id, *, action: str, notes: str | None = None, dry_run: bool = False
    ) -> Call[Json]:
        """Close a dead letter, and do what it takes.

        Args:
            entry_uuid: the entry.
            action: ``retry``, ``resolve``, ``discard``, ``cancel`` or ``none``.
            notes: what to remember.
            dry_run: change nothing, and return what would happen.
        """
        path = f"/v1/dlq/entry/{_uuid('resolve_dlq_entry', entry_uuid)}/resolve"
        body = _without_none({"action": action, "notes": notes, "dry_run": dry_run})
        return _json("resolve_dlq_entry", Request("POST", path, body=body))

    # -- the server

    @endpoint
    def health_check(self) -> Call[HealthResponse]:
        """Return whether the server is up. An exception means that it is not, or cannot be reached."""
        return Call("health_check", _get("/health"), lambda data: HealthResponse.from_dict({"healthy": True} | data))

    @endpoint
    def me(self) -> Call[Json]:
        """Return who the server takes this client for, and what it may do."""
        return _json("me", _get("/v1/auth/me"))

    def _task_request(self, given: Mapping[str, Any]) -> Json:
        defaults = {
            "namespace": "default",
            "version": "1.0.0",
            "reason": "Task requested",
            "initiator": self.initiator,
            "source_system": self.source_system,
        }
        return {**defaults, **given, "context": given.get("context") or {}}


def task_page(filters: Mapping[str, Any], cursor: str) -> Call[tuple[list[TaskResponse], str | None]]:
    """Return the request for the tasks after a cursor, which yields them and the next cursor.

    An empty cursor stands for the beginning, None for the end.
    """

    def parse(data: Json) -> tuple[list[TaskResponse], str | None]:
        return TaskListResponse.from_dict(data).tasks, data["pagination"]["next_cursor"]

    query = {**filters, "per_page": PAGE_SIZE, "cursor": cursor or None}
    return Call("iterate_tasks", _get("/v1/tasks", query), parse)


def task_events_call(task_uuid: Id) -> Call[Any]:
    """Return the request for the stream of a task's events."""
    return _stream("events", _task_path("events", task_uuid, "events"))


def namespace_events_call(namespace: str) -> Call[Any]:
    """Return the request for the stream of a namespace's events."""
    return _stream("namespace_events", "/v1/events", {"namespace": namespace})


def _stream(operation: str, path: str, params: Mapping[str, Any] | None = None) -> Call[Any]:
    request = Request("GET", path, params or {}, repeatable=True, extra_seconds=SILENCE_SECONDS)
    return _json(operation, request)


def _get(path: str, params: Mapping[str, Any] | None = None) -> Request:
    return Request("GET", path, params or {}, repeatable=True)


def _json(operation: str, request: Request) -> Call[Any]:
    return Call(operation, request, lambda data: data)


def _verb(operation: str, task_uuid: Id, verb: str, body: Json) -> Call[Json]:
    return _json(operation, Request("POST", _task_path(operation, task_uuid, verb), body=_without_none(body)))


def _manual_action(operation: str, task_uuid: Id, step_uuid: Id, action: Json, reason: str) -> Call[StepResponse]:
    request = Request("PATCH", _step_path(operation, task_uuid, step_uuid), body={**action, "reason": reason})
    return Call(operation, request, StepResponse.from_dict)


def _task_path(operation: str, task_uuid: Id, part: str = "") -> str:
    path = f"/v1/tasks/{_uuid(operation, task_uuid)}"
    return f"{path}/{part}" if part else path


def _step_path(operation: str, task_uuid: Id, step_uuid: Id) -> str:
    return _task_path(operation, task_uuid, f"workflow_steps/{_uuid(operation, step_uuid)}")


def _uuid(operation: str, value: Id) -> str:
    """Return an id as text; whatever is no UUID never becomes part of a path."""
    try:
        return str(UUID(str(value)))
    except ValueError:
        raise InvalidRequestError(operation, f"{value!r} is not a UUID", code="INVALID_UUID") from None


def _template_path(*identity: str) -> str:
    return "/v1/templates/" + "/".join(quote(part, safe="") for part in identity)


def _text_of(template: str | PathLike[str]) -> str:
    """Return a template's text: a path's content, and a text of one line is a path."""
    if isinstance(template, str) and "\n" in template:
        return template
    return Path(template).read_text(encoding="utf-8")


def _without_none(body: Json) -> Json:
    return {name: value for name, value in body.items() if value is not None}
