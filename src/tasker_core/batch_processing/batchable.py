"""The mixin for the three roles of a batch: analyzer, worker, aggregator."""

import dataclasses
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from pydantic import BaseModel, ValidationError

from tasker_core.models import unwrap_result
from tasker_core.types import (
    BatchAnalyzerOutcome,
    BatchWorkerContext,
    BatchWorkerOutcome,
    CursorConfig,
    RustBatchWorkerInputs,
    StepContext,
    StepHandlerResult,
    aggregate_batch_results,
)

# If the template has no step of this name, the engine takes the worker step it finds there.
DEFAULT_WORKER_TEMPLATE = "batch_worker"

BatchResults = dict[str, dict[str, Any]]


@dataclass
class BatchWorkerConfig:
    """One worker's share when a dataset is divided by the number of workers.

    ``cursor_end`` is exclusive, ``worker_index`` starts at 0, and ``total_workers`` is the number
    asked for, even if the items ran out before.
    """

    batch_id: str
    cursor_start: int
    cursor_end: int
    row_count: int
    worker_index: int
    total_workers: int

    def to_dict(self) -> dict[str, Any]:
        """The share as a JSON object."""
        return dataclasses.asdict(self)


@dataclass
class BatchAggregationScenario:
    """What an aggregator finds: either no batches at all, or every worker's result.

    ``batchable_result`` is the analyzer's result, ``batch_results`` those of the workers by step
    name.
    """

    is_no_batches: bool
    batchable_result: dict[str, Any]
    batch_results: BatchResults
    worker_count: int

    @classmethod
    def detect(cls, dependency_results: Mapping[str, Any], batchable_step_name: str, batch_worker_prefix: str) -> Self:
        """Find out whether batches ran, and collect the results of all steps with the prefix.

        Raises ``ValueError`` if the analyzer's result is missing, or if it made batches and no
        worker's result is there.
        """
        analyzer_result = unwrap_result(dependency_results.get(batchable_step_name))
        if analyzer_result is None:
            raise ValueError(f"Missing batchable step dependency: {batchable_step_name}")
        batchable_result = _as_object(analyzer_result)
        if _as_object(batchable_result.get("batch_processing_outcome")).get("type") == "no_batches":
            return cls(True, batchable_result, {}, 0)

        batch_results = {
            name: _as_object(unwrap_result(entry))
            for name, entry in dependency_results.items()
            if name.startswith(batch_worker_prefix)
        }
        if not batch_results:
            raise ValueError(f"No batch workers found with prefix: {batch_worker_prefix}")
        return cls(False, batchable_result, batch_results, len(batch_results))

    def no_batches(self) -> bool:
        """The same as ``is_no_batches``."""
        return self.is_no_batches


class Batchable:
    """Helpers for batch steps.

    The analyzer divides the work (`create_batch_outcome`, `batch_analyzer_success`). The engine
    then runs one worker step a cursor (`get_batch_context`, `batch_worker_success`, and
    `checkpoint_yield` to save progress). An optional aggregator adds up (`detect_aggregation_scenario`,
    `aggregate_batch_worker_results`).
    """

    # Analyzer

    def create_cursor_config(
        self, start: int, end: int, step_size: int = 1, metadata: dict[str, Any] | None = None
    ) -> CursorConfig:
        """Build one cursor; ``end`` is exclusive."""
        return CursorConfig(start_cursor=start, end_cursor=end, step_size=step_size, metadata=metadata or {})

    def create_cursor_ranges(
        self, total_items: int, batch_size: int, step_size: int = 1, max_batches: int | None = None
    ) -> list[CursorConfig]:
        """Divide ``total_items`` into batches of ``batch_size``, the last one perhaps shorter.

        If that makes more than ``max_batches``, the batches get larger. Raises ``ValueError`` if
        ``batch_size`` is not positive.
        """
        if total_items == 0:
            return []
        if batch_size <= 0:
            raise ValueError("batch_size must be > 0")
        if max_batches is not None and 0 < max_batches < _ceil_div(total_items, batch_size):
            batch_size = _ceil_div(total_items, max_batches)
        return [
            self.create_cursor_config(start, min(start + batch_size, total_items), step_size)
            for start in range(0, total_items, batch_size)
        ]

    def create_cursor_configs(self, total_items: int, worker_count: int) -> list[BatchWorkerConfig]:
        """Divide ``total_items`` among at most ``worker_count`` workers.

        Raises ``ValueError`` if ``worker_count`` is not positive.
        """
        if worker_count <= 0:
            raise ValueError("worker_count must be > 0")
        if total_items <= 0:
            return []
        share = _ceil_div(total_items, worker_count)
        return [
            BatchWorkerConfig(
                batch_id=_batch_id(index),
                cursor_start=start,
                cursor_end=min(start + share, total_items),
                row_count=min(share, total_items - start),
                worker_index=index,
                total_workers=worker_count,
            )
            for index, start in enumerate(range(0, total_items, share))
        ]

    def create_batch_outcome(
        self,
        total_items: int,
        batch_size: int,
        step_size: int = 1,
        batch_metadata: dict[str, Any] | None = None,
    ) -> BatchAnalyzerOutcome:
        """Divide ``total_items`` as `create_cursor_ranges` does, for `batch_analyzer_success`."""
        return BatchAnalyzerOutcome(
            cursor_configs=self.create_cursor_ranges(total_items, batch_size, step_size),
            total_items=total_items,
            batch_metadata=batch_metadata or {},
        )

    def create_batch_outcome_from_ranges(
        self,
        ranges: Sequence[tuple[int, int]],
        step_size: int = 1,
        total_items: int | None = None,
        batch_metadata: dict[str, Any] | None = None,
    ) -> BatchAnalyzerOutcome:
        """Build an outcome from ``(start, end)`` pairs of your own."""
        return BatchAnalyzerOutcome.from_ranges(ranges, step_size, total_items, batch_metadata)

    def batch_analyzer_success(
        self,
        outcome: BatchAnalyzerOutcome | None = None,
        metadata: Mapping[str, Any] | None = None,
        worker_template_name: str = DEFAULT_WORKER_TEMPLATE,
        cursor_configs: Sequence[CursorConfig] | None = None,
        total_items: int | None = None,
        batch_metadata: Mapping[str, Any] | None = None,
    ) -> StepHandlerResult:
        """Ask the engine for one worker step a cursor; none if there are no cursors.

        ``cursor_configs``, ``total_items`` and ``batch_metadata`` stand for an outcome, and win
        over one. ``worker_template_name`` is the template's batch worker step.
        """
        if cursor_configs is not None:
            outcome = BatchAnalyzerOutcome(
                cursor_configs=list(cursor_configs),
                total_items=total_items,
                batch_metadata=dict(batch_metadata or {}),
            )
        if outcome is None:
            return self.no_batches_outcome("no_cursor_configs_provided")
        if not outcome.cursor_configs:
            reason = outcome.batch_metadata.get("reason", "empty_dataset")
            return self.no_batches_outcome(reason, outcome.batch_metadata)

        counts = {"worker_count": len(outcome.cursor_configs), "total_items": outcome.total_items}
        result: dict[str, Any] = {
            "batch_processing_outcome": {
                "type": "create_batches",
                "worker_template_name": worker_template_name,
                "cursor_configs": [_cursor_json(index, cursor) for index, cursor in enumerate(outcome.cursor_configs)],
                **counts,
            },
            **counts,
        }
        if outcome.batch_metadata:
            result["batch_metadata"] = outcome.batch_metadata
        return StepHandlerResult.success(result, {**(metadata or {}), "batch_analyzer": True})

    def no_batches_outcome(self, reason: str, metadata: Mapping[str, Any] | None = None) -> StepHandlerResult:
        """Succeed without any worker step; ``metadata`` becomes part of the result."""
        return StepHandlerResult.success(
            {"batch_processing_outcome": {"type": "no_batches"}, "reason": reason, **(metadata or {})},
            {"batch_analyzer": True, "no_batches": True},
        )

    # Worker

    def create_batch_context(
        self,
        cursor_config: CursorConfig,
        batch_index: int,
        total_batches: int,
        batch_metadata: dict[str, Any] | None = None,
    ) -> BatchWorkerContext:
        """Build a batch's context with a random ``batch_id``."""
        return BatchWorkerContext(
            batch_id=str(uuid.uuid4()),
            cursor_config=cursor_config,
            batch_index=batch_index,
            total_batches=total_batches,
            batch_metadata=batch_metadata or {},
        )

    def get_batch_context(self, context: StepContext) -> BatchWorkerContext | None:
        """The batch this step has to process; None if it is not a batch worker."""
        return BatchWorkerContext.from_step_context(context)

    def get_batch_worker_context(self, context: StepContext) -> BatchWorkerContext | None:
        """The same as `get_batch_context`."""
        return self.get_batch_context(context)

    def get_batch_worker_inputs(self, context: StepContext) -> RustBatchWorkerInputs | None:
        """The step's inputs as the engine wrote them; None if they are not a batch worker's."""
        if not context.step_inputs:
            return None
        try:
            return RustBatchWorkerInputs.model_validate(context.step_inputs)
        except ValidationError:
            return None

    def handle_no_op_worker(self, context: StepContext) -> StepHandlerResult | None:
        """The result of the placeholder worker of an empty batch; None for a worker with work to do."""
        inputs = self.get_batch_worker_inputs(context)
        if inputs is None or not inputs.is_no_op:
            return None
        return StepHandlerResult.success(
            {
                "batch_id": inputs.cursor.batch_id,
                "no_op": True,
                "processed_count": 0,
                "message": "No batches to process",
                "processed_at": datetime.now(UTC).isoformat(),
            }
        )

    def create_worker_outcome(
        self,
        items_processed: int,
        items_succeeded: int | None = None,
        items_failed: int = 0,
        items_skipped: int = 0,
        results: list[dict[str, Any]] | None = None,
        errors: list[dict[str, Any]] | None = None,
        last_cursor: Any = None,
        batch_metadata: dict[str, Any] | None = None,
    ) -> BatchWorkerOutcome:
        """Build a worker's outcome; items neither failed nor skipped succeeded unless you say otherwise."""
        if items_succeeded is None:
            items_succeeded = max(0, items_processed - items_failed - items_skipped)
        return BatchWorkerOutcome(
            items_processed=items_processed,
            items_succeeded=items_succeeded,
            items_failed=items_failed,
            items_skipped=items_skipped,
            results=results or [],
            errors=errors or [],
            last_cursor=last_cursor,
            batch_metadata=batch_metadata or {},
        )

    def batch_worker_success(
        self,
        outcome: BatchWorkerOutcome | BatchWorkerContext | None = None,
        metadata: Any = None,
        items_processed: int | None = None,
        items_succeeded: int | None = None,
        items_failed: int = 0,
        items_skipped: int = 0,
        results: list[dict[str, Any]] | None = None,
        errors: list[dict[str, Any]] | None = None,
        last_cursor: Any = None,
        batch_metadata: dict[str, Any] | None = None,
        result: Any = None,
    ) -> StepHandlerResult:
        """Report a processed batch, in one of three forms.

        - ``batch_worker_success(batch_context, result={...})``: a result of your own (a dict, a
          pydantic model or a dataclass), found as it is by the aggregator. ``result`` may also
          stand second, and ``batch_context`` may be left out.
        - ``batch_worker_success(outcome)``: counts, as a `BatchWorkerOutcome`.
        - ``batch_worker_success(items_processed=10, items_failed=1)``: counts, as keywords;
          ``items_succeeded`` is by default all of them.

        Without any of these it is a failure of type ``invalid_args``.
        """
        if items_processed is not None:
            outcome = BatchWorkerOutcome(
                items_processed=items_processed,
                items_succeeded=items_processed if items_succeeded is None else items_succeeded,
                items_failed=items_failed,
                items_skipped=items_skipped,
                results=results or [],
                errors=errors or [],
                last_cursor=last_cursor,
                batch_metadata=batch_metadata or {},
            )
        if isinstance(outcome, BatchWorkerOutcome):
            return StepHandlerResult.success(_worker_outcome_json(outcome), {**(metadata or {}), "batch_worker": True})
        if isinstance(outcome, BatchWorkerContext):
            if result is None:
                result, metadata = metadata, None
            return _own_worker_result(result, metadata, outcome)
        if result is not None:
            return _own_worker_result(result, metadata, None)
        return StepHandlerResult.failure(
            "batch_worker_success needs an outcome, items_processed, or a result",
            error_type="invalid_args",
            retryable=False,
        )

    def batch_worker_partial_failure(
        self,
        outcome: BatchWorkerOutcome,
        message: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> StepHandlerResult:
        """Report a batch that went on past failed items; the step itself succeeds."""
        result = {**_worker_outcome_json(outcome), "partial_failure": True}
        if message:
            result["partial_failure_message"] = message
        return StepHandlerResult.success(result, {**(metadata or {}), "batch_worker": True, "had_failures": True})

    def checkpoint_yield(self, cursor: Any, items_processed: int, accumulated_results: Any = None) -> StepHandlerResult:
        """Save how far the step got and have it executed again from there.

        The handler must return this. ``cursor`` is any JSON value; ``items_processed`` counts
        from the start of the batch, not from the last checkpoint. The new execution is not a new
        attempt and finds all three in its context's ``checkpoint``.
        """
        result: dict[str, Any] = {
            "type": "checkpoint_yield",
            "cursor": cursor,
            "items_processed": items_processed,
        }
        if accumulated_results is not None:
            result["accumulated_results"] = accumulated_results
        return StepHandlerResult.success(result, {"checkpoint_yield": True, "batch_worker": True})

    # Aggregator

    def detect_aggregation_scenario(
        self, dependency_results: Mapping[str, Any], batchable_step_name: str, batch_worker_prefix: str
    ) -> BatchAggregationScenario:
        """Find out what to add up; see `BatchAggregationScenario.detect`."""
        return BatchAggregationScenario.detect(dependency_results, batchable_step_name, batch_worker_prefix)

    def no_batches_aggregation_result(self, zero_metrics: Mapping[str, Any] | None = None) -> StepHandlerResult:
        """The aggregator's result if no batches ran; ``zero_metrics`` are its sums in that case."""
        return StepHandlerResult.success({"worker_count": 0, "scenario": "no_batches", **(zero_metrics or {})})

    def aggregate_batch_worker_results(
        self,
        scenario: BatchAggregationScenario,
        zero_metrics: Mapping[str, Any] | None = None,
        aggregation_fn: Callable[[BatchResults], Mapping[str, Any]] | None = None,
    ) -> StepHandlerResult:
        """The aggregator's result: what ``aggregation_fn`` makes of the workers' results.

        Without a function it is the results themselves, under ``batch_results``.
        """
        if scenario.is_no_batches:
            return self.no_batches_aggregation_result(zero_metrics)
        aggregated = (
            aggregation_fn(scenario.batch_results)
            if aggregation_fn is not None
            else {"batch_results": scenario.batch_results}
        )
        return StepHandlerResult.success(
            {**aggregated, "worker_count": scenario.worker_count, "scenario": "with_batches"}
        )

    @staticmethod
    def aggregate_worker_results(worker_results: Sequence[Mapping[str, Any] | None]) -> dict[str, Any]:
        """Add up workers' results as `aggregate_batch_results` does; ``batch_count`` counts None too."""
        return {**aggregate_batch_results(worker_results).model_dump(), "batch_count": len(worker_results)}


def _ceil_div(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)


def _batch_id(index: int) -> str:
    return f"{index + 1:03d}"


def _as_object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _cursor_json(index: int, cursor: CursorConfig) -> dict[str, Any]:
    span = cursor.span
    return {
        "batch_id": cursor.batch_id or _batch_id(index),
        "start_cursor": cursor.start_cursor,
        "end_cursor": cursor.end_cursor,
        "batch_size": span if span is not None else cursor.batch_size or 0,
    }


def _worker_outcome_json(outcome: BatchWorkerOutcome) -> dict[str, Any]:
    result = outcome.model_dump()
    for key in ("results", "errors"):
        if not result[key]:
            del result[key]
    return result


def _own_worker_result(
    result: Any, metadata: Mapping[str, Any] | None, batch: BatchWorkerContext | None
) -> StepHandlerResult:
    if isinstance(result, BaseModel):
        result = result.model_dump(mode="json")
    elif dataclasses.is_dataclass(result) and not isinstance(result, type):
        result = dataclasses.asdict(result)
    marks: dict[str, Any] = {"batch_worker": True}
    if batch is not None:
        marks |= {
            "batch_id": batch.batch_id,
            "start_cursor": batch.start_cursor,
            "end_cursor": batch.end_cursor,
        }
    return StepHandlerResult.success(dict(result or {}), {**(metadata or {}), **marks})
