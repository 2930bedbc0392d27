"""The two state vocabularies. SQL, API, CLI and documentation use exactly these words."""

from enum import StrEnum


class TaskState(StrEnum):
    """State of a task, derived from its steps (see ``derive_task_state`` in the schema).

    ``INITIALIZING``, ``ENQUEUING_STEPS``, ``EVALUATING_RESULTS`` and ``WAITING_FOR_DEPENDENCIES`` belong to the
    public vocabulary but no task rests in them: the work they name is done inside one transaction.
    """

    PENDING = "pending"
    INITIALIZING = "initializing"
    ENQUEUING_STEPS = "enqueuing_steps"
    STEPS_IN_PROCESS = "steps_in_process"
    EVALUATING_RESULTS = "evaluating_results"
    WAITING_FOR_DEPENDENCIES = "waiting_for_dependencies"
    WAITING_FOR_RETRY = "waiting_for_retry"
    BLOCKED_BY_FAILURES = "blocked_by_failures"
    COMPLETE = "complete"
    ERROR = "error"
    CANCELLED = "cancelled"
    RESOLVED_MANUALLY = "resolved_manually"

    @property
    def is_terminal(self) -> bool:
        """Whether a task in this state is over for good."""
        return self in _TERMINAL_TASK_STATES

    @property
    def is_resting(self) -> bool:
        """Whether a task in this state goes on only if somebody acts on it."""
        return self is TaskState.BLOCKED_BY_FAILURES or self.is_terminal


class StepState(StrEnum):
    """State of a step.

    ``ENQUEUED_FOR_ORCHESTRATION`` and ``ENQUEUED_AS_ERROR_FOR_ORCHESTRATION`` belong to the public vocabulary
    but no step rests in them: a reported result is evaluated in the transaction that records it.
    """

    PENDING = "pending"
    ENQUEUED = "enqueued"
    IN_PROGRESS = "in_progress"
    ENQUEUED_FOR_ORCHESTRATION = "enqueued_for_orchestration"
    ENQUEUED_AS_ERROR_FOR_ORCHESTRATION = "enqueued_as_error_for_orchestration"
    WAITING_FOR_RETRY = "waiting_for_retry"
    COMPLETE = "complete"
    ERROR = "error"
    CANCELLED = "cancelled"
    RESOLVED_MANUALLY = "resolved_manually"


_TERMINAL_TASK_STATES = frozenset(
    {TaskState.COMPLETE, TaskState.ERROR, TaskState.CANCELLED, TaskState.RESOLVED_MANUALLY}
)
