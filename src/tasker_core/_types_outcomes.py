"""What decision and batch steps tell the engine, and what a batch worker is given."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from tasker_core._types_context import StepContext


class DecisionType(StrEnum):
    """Whether a decision creates steps or ends its branch."""

    CREATE_STEPS = "create_steps"
    NO_BRANCHES = "no_branches"


class FailureStrategy(StrEnum):
    """What a failed item means for the rest of its batch."""

    CONTINUE_ON_FAILURE = "continue_on_failure"
    FAIL_FAST = "fail_fast"
    ISOLATE = "isolate"


class DecisionPointOutcome(BaseModel):
    """Where a decision step sends the task next.

    ``next_step_names`` must be steps of the task's template. ``routing_context`` is free data
    about the decision, kept with the result.
    """

    decision_type: DecisionType
    next_step_names: list[str] = Field(default_factory=list)
    dynamic_steps: list[dict[str, Any]] | None = None
    reason: str | None = None
    routing_context: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def create_steps(
        cls,
        step_names: list[str],
        dynamic_steps: list[dict[str, Any]] | None = None,
        routing_context: dict[str, Any] | None = None,
    ) -> Self:
        """Go on with the named steps."""
        return cls(
            decision_type=DecisionType.CREATE_STEPS,
            next_step_names=step_names,
            dynamic_steps=dynamic_steps,
            routing_context=routing_context or {},
        )

    @classmethod
    def no_branches(cls, reason: str, routing_context: dict[str, Any] | None = None) -> Self:
        """Go on with none of the decision's steps."""
        return cls(decision_type=DecisionType.NO_BRANCHES, reason=reason, routing_context=routing_context or {})


class CursorConfig(BaseModel):
    """The part of the data one batch worker has to process.

    ``end_cursor`` is exclusive. Cursors are integers as long as the helpers make them; your own
    may be any JSON value. ``batch_size`` counts items and is worth setting when the cursors are
    not integers. ``batch_id`` is numbered by the engine's rules when None.
    """

    start_cursor: Any
    end_cursor: Any
    step_size: int = 1
    metadata: dict[str, Any] = Field(default_factory=dict)
    batch_id: str | None = None
    batch_size: int | None = None

    @property
    def span(self) -> int | None:
        """The distance between integer cursors; None for cursors of another kind."""
        if isinstance(self.start_cursor, int) and isinstance(self.end_cursor, int):
            return self.end_cursor - self.start_cursor
        return None


class BatchAnalyzerOutcome(BaseModel):
    """How an analyzer step divided its work."""

    cursor_configs: list[CursorConfig] = Field(default_factory=list)
    total_items: int | None = None
    batch_metadata: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def from_ranges(
        cls,
        ranges: Sequence[tuple[int, int]],
        step_size: int = 1,
        total_items: int | None = None,
        batch_metadata: dict[str, Any] | None = None,
    ) -> Self:
        """Build an outcome from ``(start, end)`` pairs, one a worker; the end is exclusive."""
        return cls(
            cursor_configs=[
                CursorConfig(start_cursor=start, end_cursor=end, step_size=step_size) for start, end in ranges
            ],
            total_items=total_items,
            batch_metadata=batch_metadata or {},
        )


class BatchWorkerContext(BaseModel):
    """What one batch worker has to do, and how far an earlier execution got.

    ``is_no_op`` is True for the placeholder worker of an empty batch.
    """

    batch_id: str
    cursor_config: CursorConfig
    batch_index: int
    total_batches: int
    batch_metadata: dict[str, Any] = Field(default_factory=dict)
    checkpoint: dict[str, Any] = Field(default_factory=dict)
    is_no_op: bool = False

    @classmethod
    def from_step_context(cls, step_context: "StepContext") -> Self | None:
        """Read the batch from a step's inputs, else from a ``batch_context`` in its config or task.

        None if the step is not a batch worker. Raises ``pydantic.ValidationError`` if the batch
        data is malformed.
        """
        checkpoint = _object(step_context.checkpoint)
        inputs = _object(step_context.step_inputs)
        cursor = inputs.get("cursor")
        if isinstance(cursor, dict):
            return cls(
                batch_id=cursor.get("batch_id") or "",
                cursor_config=_read_cursor(cursor, step_size=cursor.get("batch_size")),
                batch_index=0,
                total_batches=1,
                batch_metadata=inputs.get("batch_metadata") or {},
                checkpoint=checkpoint,
                is_no_op=inputs.get("is_no_op") or False,
            )

        for source in (step_context.step_config, step_context.input_data):
            batch = _object(source).get("batch_context")
            if isinstance(batch, dict):
                return cls(
                    batch_id=batch.get("batch_id") or "",
                    cursor_config=_read_cursor(batch.get("cursor_config") or {}),
                    batch_index=batch.get("batch_index") or 0,
                    total_batches=batch.get("total_batches") or 1,
                    batch_metadata=batch.get("batch_metadata") or {},
                    checkpoint=checkpoint,
                )
        return None

    @property
    def cursor(self) -> CursorConfig:
        """The same as ``cursor_config``."""
        return self.cursor_config

    @property
    def start_cursor(self) -> Any:
        """Where the batch begins."""
        return self.cursor_config.start_cursor

    @property
    def end_cursor(self) -> Any:
        """Where the batch ends, exclusive."""
        return self.cursor_config.end_cursor

    @property
    def step_size(self) -> int:
        """How many items to process at a time."""
        return self.cursor_config.step_size

    @property
    def batch_size(self) -> int:
        """How many items the batch has; 0 if its cursors do not tell."""
        declared = self.cursor_config.batch_size
        return declared if declared is not None else self.cursor_config.span or 0

    @property
    def checkpoint_cursor(self) -> Any:
        """Where the checkpoint says to go on; None without one."""
        return self.checkpoint.get("cursor")

    @property
    def accumulated_results(self) -> Any:
        """The partial results kept in the checkpoint; None without one."""
        return self.checkpoint.get("accumulated_results")

    @property
    def checkpoint_items_processed(self) -> int:
        """How many items were done when the checkpoint was saved; 0 without one."""
        items_processed: int = self.checkpoint.get("items_processed") or 0
        return items_processed

    def has_checkpoint(self) -> bool:
        """Whether there is a cursor to go on from; 0 and "" are cursors too."""
        return self.checkpoint_cursor is not None


class BatchWorkerOutcome(BaseModel):
    """What one batch worker did with its items."""

    items_processed: int = 0
    items_succeeded: int = 0
    items_failed: int = 0
    items_skipped: int = 0
    results: list[dict[str, Any]] = Field(default_factory=list)
    errors: list[dict[str, Any]] = Field(default_factory=list)
    last_cursor: Any = None
    batch_metadata: dict[str, Any] = Field(default_factory=dict)


class RustCursorConfig(BaseModel):
    """A cursor as it travels between the engine and its workers."""

    batch_id: str
    start_cursor: Any
    end_cursor: Any
    batch_size: int


class BatchMetadata(BaseModel):
    """What the template says about processing a batch."""

    cursor_field: str
    failure_strategy: FailureStrategy


class RustBatchWorkerInputs(BaseModel):
    """The inputs the engine gives a batch worker step."""

    cursor: RustCursorConfig
    batch_metadata: BatchMetadata
    is_no_op: bool


class NoBatchesOutcome(BaseModel):
    """An analyzer found nothing to process."""

    type: str = "no_batches"


class CreateBatchesOutcome(BaseModel):
    """An analyzer asks for one worker step a cursor."""

    type: str = "create_batches"
    worker_template_name: str
    worker_count: int
    cursor_configs: list[RustCursorConfig]
    total_items: int


BatchProcessingOutcome: TypeAlias = NoBatchesOutcome | CreateBatchesOutcome


class BatchAggregationResult(BaseModel):
    """The sums over all batch workers.

    ``success_rate`` is between 0 and 1; ``error_count`` also counts the errors left out of
    ``errors``.
    """

    total_processed: int
    total_succeeded: int
    total_failed: int
    total_skipped: int
    batch_count: int
    success_rate: float
    errors: list[dict[str, Any]] = Field(default_factory=list)
    error_count: int


def no_batches() -> NoBatchesOutcome:
    """Build the outcome of an analyzer that found nothing to process."""
    return NoBatchesOutcome()


def create_batches(
    worker_template_name: str,
    worker_count: int,
    cursor_configs: list[RustCursorConfig],
    total_items: int,
) -> CreateBatchesOutcome:
    """Build the outcome of an analyzer that wants ``worker_count`` workers.

    Raises ``ValueError`` unless there is exactly one cursor a worker.
    """
    if len(cursor_configs) != worker_count:
        raise ValueError(f"cursor_configs has {len(cursor_configs)} entries, worker_count is {worker_count}")
    return CreateBatchesOutcome(
        worker_template_name=worker_template_name,
        worker_count=worker_count,
        cursor_configs=cursor_configs,
        total_items=total_items,
    )


def aggregate_batch_results(
    worker_results: Sequence[Mapping[str, Any] | None], max_errors: int = 100
) -> BatchAggregationResult:
    """Add up the ``items_*`` counts and the ``errors`` of batch workers' results.

    A None result is left out. At most ``max_errors`` errors are kept.
    """
    results = [result for result in worker_results if result is not None]
    errors = [error for result in results if isinstance(result.get("errors"), list) for error in result["errors"]]

    def total(key: str) -> int:
        return sum(result.get(key) or 0 for result in results)

    processed, succeeded = total("items_processed"), total("items_succeeded")
    return BatchAggregationResult(
        total_processed=processed,
        total_succeeded=succeeded,
        total_failed=total("items_failed"),
        total_skipped=total("items_skipped"),
        batch_count=len(results),
        success_rate=succeeded / processed if processed else 0.0,
        errors=errors[:max_errors],
        error_count=len(errors),
    )


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _read_cursor(cursor: dict[str, Any], step_size: int | None = None) -> CursorConfig:
    return CursorConfig(
        start_cursor=cursor.get("start_cursor", 0),
        end_cursor=cursor.get("end_cursor", 0),
        step_size=cursor.get("step_size") or step_size or 1,
        metadata=cursor.get("metadata") or {},
        batch_id=cursor.get("batch_id"),
        batch_size=cursor.get("batch_size"),
    )
