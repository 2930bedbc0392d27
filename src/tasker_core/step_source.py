"""The one small interface between workers and the engine: claim, report, heartbeat.

An in-process engine implements it directly; deployed workers reach it over a network. Both move the same facts.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, runtime_checkable
from uuid import UUID, uuid5

from tasker_core import identifiers, serialization


class SourceUnavailableError(Exception):
    """The engine cannot be reached just now; trying again later may help.

    Args:
        message: what happened.
        retry_after: seconds that the engine asks to be left alone; None if it did not say.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class SourceRefusedError(Exception):
    """The engine does not let this worker in; trying again does not help."""


class LeaseKey(NamedTuple):
    """Names one lease: a step, and a number that no other lease ever has."""

    task_uuid: UUID
    ordinal: int
    lease_id: int


@dataclass(frozen=True, slots=True)
class AncestorResult:
    """What an earlier step of the task left behind. ``result`` and ``metadata`` are JSON text or None."""

    name: str
    step_uuid: str
    result: str | None
    metadata: str | None

    def envelope(self) -> dict[str, Any]:
        """Return it as handlers expect it."""
        return {
            "step_uuid": self.step_uuid,
            "success": True,
            "status": "completed",
            "result": serialization.loads(self.result) if self.result else None,
            "metadata": serialization.loads(self.metadata) if self.metadata else {},
            "error": None,
            "orchestration_metadata": None,
        }


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """The facts of a task that its steps see.

    ``context`` and ``tags`` are JSON text; ``reruns`` is how often the task was re-run: only that changes the result of
    a step that is complete.
    """

    task_uuid: UUID
    name: str
    namespace: str
    version: str
    named_task_uuid: UUID
    context: str
    correlation_id: UUID
    parent_correlation_id: UUID | None
    priority: int
    initiator: str | None
    source_system: str | None
    reason: str | None
    tags: str | None
    reruns: int = 0


@dataclass(frozen=True, slots=True)
class LeasedStep:
    """A step that the holder may run now, with everything its handler may ask for.

    The JSON texts are decoded anew for each step, so handlers cannot disturb each other through shared objects.

    Attributes:
        task: the facts of its task.
        key: the lease.
        attempt: number of the attempt, from 1.
        name: the step's name; a batch worker's differs from that of its definition.
        definition: the step as the template declares it.
        ancestors: the results of all steps before it.
        inputs: JSON text of what was given to this step alone, such as a batch worker's cursor; or None.
        checkpoint: JSON text of where the step said it could go on; or None.
    """

    task: TaskFacts
    key: LeaseKey
    attempt: int
    name: str
    definition: Mapping[str, Any]
    ancestors: Sequence[AncestorResult]
    inputs: str | None = None
    checkpoint: str | None = None

    @property
    def step_uuid(self) -> UUID:
        """The step's UUID, the same on every attempt: a good idempotency key for calls to other systems."""
        return identifiers.step_uuid(self.key.task_uuid, self.key.ordinal)

    def context(self) -> dict[str, Any]:
        """Return the task's context."""
        context: dict[str, Any] = serialization.loads(self.task.context)
        return context

    def dependency_results(self) -> dict[str, dict[str, Any]]:
        """Return the results of all ancestors by step name, each in the envelope that handlers expect."""
        return {ancestor.name: ancestor.envelope() for ancestor in self.ancestors}

    def dependency_result(self, name: str) -> dict[str, Any] | None:
        """Return the result of one ancestor in its envelope; None if it left none."""
        return next((ancestor.envelope() for ancestor in self.ancestors if ancestor.name == name), None)

    def step_inputs(self) -> dict[str, Any]:
        """Return what was given to this step alone; nothing for most."""
        inputs: dict[str, Any] = serialization.loads(self.inputs) if self.inputs else {}
        return inputs

    def saved_checkpoint(self) -> dict[str, Any] | None:
        """Return the step's checkpoint, if it has one."""
        checkpoint: dict[str, Any] | None = serialization.loads(self.checkpoint) if self.checkpoint else None
        return checkpoint

    def task_sequence_step(self) -> dict[str, Any]:
        """Return the step in the shape that handlers of every language receive."""
        return {
            **self.task_and_step(serialization.loads),
            "dependency_results": self.dependency_results(),
            "step_definition": dict(self.definition),
        }

    def task_and_step(self, json: Callable[[str], Any]) -> dict[str, Any]:
        """Return ``task`` and ``workflow_step`` of that shape; ``json`` makes a value of JSON text.

        What only a look into the database could tell is null.
        """
        task = self.task
        retry = self.definition["retry"]
        created_at = serialization.rfc3339(identifiers.created_at(task.task_uuid))
        return {
            "task": {
                "task": {
                    "task_uuid": str(task.task_uuid),
                    "named_task_uuid": str(task.named_task_uuid),
                    "complete": False,
                    "requested_at": created_at,
                    "initiator": task.initiator,
                    "source_system": task.source_system,
                    "reason": task.reason,
                    "tags": json(task.tags) if task.tags else None,
                    "context": json(task.context),
                    "identity_hash": None,
                    "priority": task.priority,
                    "created_at": created_at,
                    "updated_at": created_at,
                    "correlation_id": str(task.correlation_id),
                    "parent_correlation_id": (str(task.parent_correlation_id) if task.parent_correlation_id else None),
                },
                "task_name": task.name,
                "task_version": task.version,
                "namespace_name": task.namespace,
            },
            "workflow_step": {
                "workflow_step_uuid": str(self.step_uuid),
                "task_uuid": str(task.task_uuid),
                "named_step_uuid": _named_step_uuid(task.named_task_uuid, self.definition["name"]),
                "name": self.name,
                "template_step_name": self.definition["name"],
                "retryable": retry["retryable"],
                "max_attempts": retry["max_attempts"],
                "in_process": True,
                "processed": False,
                "processed_at": None,
                "attempts": self.attempt - 1,
                "last_attempted_at": None,
                "backoff_request_seconds": None,
                "inputs": json(self.inputs) if self.inputs else None,
                "results": None,
                "checkpoint": json(self.checkpoint) if self.checkpoint else None,
                "created_at": created_at,
                "updated_at": created_at,
            },
        }


@lru_cache(maxsize=10_000)
def _named_step_uuid(named_task_uuid: UUID, name: str) -> str:
    """Return a stable UUID for a step of a template."""
    return str(uuid5(named_task_uuid, name))


@dataclass(frozen=True, slots=True)
class StepReport:
    """The end of one attempt.

    Attributes:
        lease: the lease that the attempt ran under.
        success: whether the handler succeeded; a ``checkpoint_yield`` is a success, too, that its metadata tells.
        result: the handler's result as JSON text; None on failure.
        metadata: the handler's metadata, JSON-serialisable.
        error: on failure ``message``, ``error_type``, ``retryable`` and, if known, ``error_code`` and
            ``backtrace``.
        execution_time_ms: how long the handler ran.
    """

    lease: LeaseKey
    success: bool
    result: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    execution_time_ms: int = 0

    @property
    def retryable(self) -> bool:
        """Whether the failure may go away by itself."""
        return self.error is not None and bool(self.error["retryable"])


@dataclass(frozen=True, slots=True)
class ReportAnswer:
    """What became of a batch of reports.

    Attributes:
        refused: leases that were lost before the report arrived; nothing was recorded for them.
        leased: freed steps that the worker holds now, so that a chain costs one round trip a step.
        more_ready: whether other steps became ready that any worker may claim.
        retry_in: seconds until the earliest retry that this batch scheduled, if any.
        rejected: reports that can never be recorded, with the reason; their leases still hold.
    """

    refused: frozenset[LeaseKey] = frozenset()
    leased: Sequence[LeasedStep] = ()
    more_ready: bool = False
    retry_in: float | None = None
    rejected: Mapping[LeaseKey, str] = field(default_factory=dict)


#: Renews leases; returns those that are lost.
Renew = Callable[[Sequence[LeaseKey]], Awaitable[frozenset[LeaseKey]]]


class StepSource(Protocol):
    """Where a worker gets steps from and brings results to."""

    @property
    def lease_seconds(self) -> float:
        """How long a lease lasts unless a heartbeat renews it."""

    async def claim(self, limit: int) -> Sequence[LeasedStep]:
        """Lease up to ``limit`` steps that are ready."""

    async def report(self, reports: Sequence[StepReport], want: int) -> ReportAnswer:
        """Record the ends of attempts and lease up to ``want`` of the steps that they freed."""

    async def recover(self) -> Sequence[LeasedStep]:
        """Return every step that the engine holds leased to this worker.

        After a lost connection this finds leases whose grant never arrived.
        """

    async def next_due(self) -> float | None:
        """Return the seconds until the earliest waiting retry is due; None if none waits."""

    async def release(self, leases: Sequence[LeaseKey]) -> None:
        """Give leases back unused, so that another worker starts the steps at once."""

    def heartbeats(self) -> AbstractAsyncContextManager[Renew]:
        """Return a context whose value renews leases.

        It is entered in a thread and event loop of its own, so that leases are kept while a handler blocks.
        """


@runtime_checkable
class WaitingStepSource(StepSource, Protocol):
    """A source that waits on the engine's side, so that its worker need not ask again and again.

    Its ``claim`` returns when there is something, or after a while; cancelling it may leave leases behind, which
    ``recover`` finds. Its renewals return as soon as a lease is lost, or after a while, and keep the leases meanwhile.
    """

    @property
    def wait_seconds(self) -> float:
        """How long a claim waits at most."""
