"""From requests to tasks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from tasker_core import identifiers, serialization
from tasker_core.engine.planner import Plan
from tasker_core.store import NewTask
from tasker_core.template import SchemaViolation, StepType, context_violations

#: Widest priority either way. A point is worth ten hours of waiting.
MAX_PRIORITY = 100

_DYNAMIC_TYPES = frozenset({StepType.DECISION, StepType.BATCHABLE, StepType.BATCH_WORKER})


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
    """

    context: dict[str, Any] = field(default_factory=dict)
    priority: int = 0
    correlation_id: UUID | None = None
    parent_correlation_id: UUID | None = None
    initiator: str | None = None
    source_system: str | None = None
    reason: str | None = None
    tags: Sequence[str] = ()


def require_runnable(plan: Plan) -> None:
    """Refuse a template that needs what the engine does not do yet.

    Raises:
        InvalidTaskError: a step decides or multiplies at run time; run without that, its task would end early.
    """
    dynamic = [f"{step.step.name} ({step.step.type})" for step in plan.steps if step.step.type in _DYNAMIC_TYPES]
    if dynamic:
        raise InvalidTaskError(
            f"{plan.template.identity} cannot be run by this version of Tasker: it has steps that create steps at run "
            f"time: {', '.join(dynamic)}"
        )


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
    )


def _encoded(name: str, value: object) -> str:
    """Return a part of a request as JSON text; what passes can be stored."""
    try:
        return serialization.dumps(value)
    except serialization.SerializationError as error:
        raise InvalidTaskError(f"{name} is {error}") from error
