"""Splitting a large step into batches, processing them, and adding up the results."""

from tasker_core.batch_processing.batchable import (
    Batchable,
    BatchAggregationScenario,
    BatchWorkerConfig,
)

__all__ = ["BatchAggregationScenario", "BatchWorkerConfig", "Batchable"]
