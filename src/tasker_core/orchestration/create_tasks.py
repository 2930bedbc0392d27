"""From requests to tasks."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from tasker_core import identifiers, serialization
from tasker_core.engine.planner import Plan
from tasker_core.store import NewTask
from tasker_core.template import IdentityStrategy, SchemaViolation, context_violations

#: Widest priority either way. A point is worth ten hours of waiting.
MAX_PRIORITY = 100


class InvalidTaskError(ValueError):
    """A task request breaks a rule; ``violations`` names each place in the context as a JSON pointer."""

    def __init__(self, message: str, violations: Sequence[SchemaViolation] = ()) -> None:
        super().__init__(message)
        self.violations = tuple(violations)


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """A task to create.

    Attributes:
        context: the input, a JSON object; checked against the template's ``input_schema``.
        priority: -100 to 100, default 0. Higher is claimed first; a point outweighs ten hours of waiting.
        correlation_id: ties the task to what caused it; a new one by default.
        parent_correlation_id: correlation id of the task or request that this one belongs to.
        initiator: who asks.
        source_system: from where.
        reason: why.
        tags: labels to find the task by.
        requested_at: when the task is to start; at once by default. Without a time zone it is taken as UTC.
        idempotency_key: names the request. Two requests with the same key for one template are the same request,
            whatever the template's ``identity_strategy`` and their contexts say.
    """

    context: dict[str, Any] = field(default_factory=dict)
    priority: int = 0
    correlation_id: UUID | None = None
    parent_correlation_id: UUID | None = None
    initiator: str | None = None
    source_system: str | None = None
    reason: str | None = None
    tags: Sequence[str] = ()
    requested_at: datetime | None = None
    idempotency_key: str | None = None


class DuplicateTaskError(ValueError):
    """A task of the same identity exists; nothing was created.

    Attributes:
        existing: the task that exists, for the first of the requests that have one; None if two of the requests
            are the same.
    """

    def __init__(self, message: str, existing: UUID | None) -> None:
        super().__init__(message)
        self.existing = existing


def prepare(request: TaskRequest, plan: Plan) -> NewTask:
    """Check a request against its template and return the task to store.

    Raises:
        InvalidTaskError: the context does not fit the template, or a value is out of range.
    """
    if not -MAX_PRIORITY <= request.priority <= MAX_PRIORITY:
        raise InvalidTaskError(f"priority must be from -{MAX_PRIORITY} to {MAX_PRIORITY}, not {request.priority}")
    violations = context_violations(plan.template, request.context)
    if violations:
        lines = "".join(f"\n  {v.pointer or '/'}: {v.message}" for v in violations)
        raise InvalidTaskError(f"the context does not fit {plan.template.identity}:{lines}", violations)
    context = _encoded("context", request.context)
    tags = _encoded("tags", list(request.tags)) if request.tags else None
    for name in ("initiator", "source_system", "reason"):
        _encoded(name, getattr(request, name))
    task_uuid = identifiers.new_task_uuid()
    return NewTask(
        task_uuid=task_uuid,
        context=context,
        correlation_id=request.correlation_id or task_uuid,
        parent_correlation_id=request.parent_correlation_id,
        priority=request.priority,
        initiator=request.initiator,
        source_system=request.source_system,
        reason=request.reason,
        tags=tags,
        requested_at=_start(request.requested_at),
        identity_hash=identity_hash(request, plan),
    )


def identity_hash(request: TaskRequest, plan: Plan) -> bytes | None:
    """Return what makes a request the same as another: a SHA-256, or None if it is always its own.

    An idempotency key counts first, together with the template's namespace, name and version. Without one the
    template's strategy decides: ``strict`` takes the context, the order of its keys aside; ``caller_provided``
    demands a key; ``always_unique`` makes every request its own.

    Raises:
        InvalidTaskError: the template demands a key and there is none, or the key is empty.
    """
    strategy = plan.template.identity_strategy
    if request.idempotency_key is not None:
        if not request.idempotency_key.strip():
            raise InvalidTaskError("idempotency_key cannot be empty")
        kind, content = b"key", _encoded("idempotency_key", request.idempotency_key).encode()
    elif strategy is IdentityStrategy.ALWAYS_UNIQUE:
        return None
    elif strategy is IdentityStrategy.CALLER_PROVIDED:
        raise InvalidTaskError("idempotency_key is required when named task uses CallerProvided identity strategy")
    else:
        kind, content = b"context", serialization.canonical(request.context)
    return hashlib.sha256(b"\0".join((kind, plan.named_task_uuid.bytes, content))).digest()


def _start(moment: datetime | None) -> datetime | None:
    """Return when a task is to start, with a zone."""
    if moment is None:
        return None
    if not 2 <= moment.year <= 9998:  # in other zones, or as what PostgreSQL takes for minus infinity, they end
        raise InvalidTaskError(f"requested_at must be in the years 2 to 9998, not {moment.year}")
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _encoded(name: str, value: object) -> str:
    """Return a part of a request as JSON text; what passes can be stored."""
    try:
        return serialization.dumps(value)
    except serialization.SerializationError as error:
        raise InvalidTaskError(f"{name} is {error}") from error
