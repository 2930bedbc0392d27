from dataclasses import dataclass
from datetime import datetime
from unittest.mock import MagicMock
from uuid import UUID

import pydantic
import pytest

from tasker_core.batch_processing import Batchable, BatchAggregationScenario
from tasker_core.step_handler import StepHandler
from tasker_core.types import (
    BatchWorkerContext,
    BatchWorkerOutcome,
    CursorConfig,
    RustCursorConfig,
    aggregate_batch_results,
    create_batches,
    no_batches,
)


class Handler(StepHandler, Batchable):
    def call(self, context):
        return self.success()


CURSOR = {"batch_id": "001", "start_cursor": 100, "end_cursor": 200, "batch_size": 50}
INPUTS = {
    "cursor": CURSOR,
    "batch_metadata": {"cursor_field": "id", "failure_strategy": "continue_on_failure"},
    "is_no_op": False,
}
NO_BATCHES = {"batch_processing_outcome": {"type": "no_batches"}, "reason": "empty"}


@pytest.fixture
def handler():
    return Handler()


def spans(cursors):
    return [(cursor.start_cursor, cursor.end_cursor) for cursor in cursors]


# Dividing


@pytest.mark.parametrize(
    ("total", "size", "most", "expected"),
    [
        (250, 100, None, [(0, 100), (100, 200), (200, 250)]),
        (250, 100, 2, [(0, 125), (125, 250)]),
        (250, 100, 0, [(0, 100), (100, 200), (200, 250)]),
        (200, 100, 2, [(0, 100), (100, 200)]),
        (0, 0, None, []),
        (-5, 10, None, []),
    ],
)
def test_ranges_are_consecutive_and_cover_everything(handler, total, size, most, expected):
    assert spans(handler.create_cursor_ranges(total, size, max_batches=most)) == expected


def test_a_batch_size_must_be_positive(handler):
    with pytest.raises(ValueError, match="batch_size must be > 0"):
        handler.create_cursor_ranges(10, 0)


@pytest.mark.parametrize(
    ("total", "workers", "expected"),
    [
        (250, 3, [("001", 0, 84), ("002", 84, 168), ("003", 168, 250)]),
        (3, 5, [("001", 0, 1), ("002", 1, 2), ("003", 2, 3)]),
        (10, 4, [("001", 0, 3), ("002", 3, 6), ("003", 6, 9), ("004", 9, 10)]),
        (0, 3, []),
    ],
)
def test_shares_by_worker_stop_when_the_items_run_out(handler, total, workers, expected):
    configs = handler.create_cursor_configs(total, workers)
    assert [(each.batch_id, each.cursor_start, each.cursor_end) for each in configs] == expected
    assert all(each.row_count == each.cursor_end - each.cursor_start for each in configs)
    assert all(each.total_workers == workers for each in configs)
    assert [each.to_dict()["worker_index"] for each in configs] == list(range(len(configs)))


def test_a_worker_count_must_be_positive(handler):
    with pytest.raises(ValueError, match="worker_count must be > 0"):
        handler.create_cursor_configs(0, 0)


def test_a_batch_context_gets_a_random_id(handler):
    context = handler.create_batch_context(handler.create_cursor_config(0, 5), 0, 1)
    assert UUID(context.batch_id)
    assert (context.batch_size, context.has_checkpoint()) == (5, False)


# Analyzing


def test_cursor_configs_win_over_an_outcome(handler):
    result = handler.batch_analyzer_success(
        handler.create_batch_outcome(10, 5),
        {"m": 1},
        "w",
        cursor_configs=[CursorConfig(start_cursor=0, end_cursor=3)],
        total_items=3,
        batch_metadata={"k": 1},
    )
    assert result.result["batch_processing_outcome"]["cursor_configs"] == [
        {"batch_id": "001", "start_cursor": 0, "end_cursor": 3, "batch_size": 3}
    ]
    assert result.result["batch_processing_outcome"]["worker_template_name"] == "w"
    assert (result.result["worker_count"], result.result["total_items"]) == (1, 3)
    assert result.result["batch_metadata"] == {"k": 1}
    assert result.metadata == {"m": 1, "batch_analyzer": True}


def test_cursors_of_any_kind_travel_unchanged(handler):
    cursors = [
        CursorConfig(start_cursor="2025-01-01", end_cursor="2025-02-01", batch_size=7, batch_id="jan"),
        CursorConfig(start_cursor={"page": 1}, end_cursor={"page": 2}),
    ]
    result = handler.batch_analyzer_success(cursor_configs=cursors, total_items=9)
    assert result.result["batch_processing_outcome"]["cursor_configs"] == [
        {"batch_id": "jan", "start_cursor": "2025-01-01", "end_cursor": "2025-02-01", "batch_size": 7},
        {"batch_id": "002", "start_cursor": {"page": 1}, "end_cursor": {"page": 2}, "batch_size": 0},
    ]


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (None, {"reason": "empty_dataset"}),
        ({"reason": "closed", "day": 1}, {"reason": "closed", "day": 1}),
    ],
)
def test_without_items_there_are_no_batches(handler, metadata, expected):
    result = handler.batch_analyzer_success(handler.create_batch_outcome(0, 100, batch_metadata=metadata))
    assert result.result == {"batch_processing_outcome": {"type": "no_batches"}} | expected
    assert result.metadata == {"batch_analyzer": True, "no_batches": True}


def test_an_analyzer_that_says_nothing_has_no_batches(handler):
    assert handler.batch_analyzer_success().result["reason"] == "no_cursor_configs_provided"


def test_ranges_of_ones_own_become_an_outcome(handler):
    outcome = handler.create_batch_outcome_from_ranges([(0, 5), (5, 7)], step_size=2)
    assert spans(outcome.cursor_configs) == [(0, 5), (5, 7)]
    assert [cursor.step_size for cursor in outcome.cursor_configs] == [2, 2]
    assert outcome.total_items is None


# Working


def test_a_worker_reads_its_batch_from_its_inputs(handler, make_context):
    batch = handler.get_batch_worker_context(make_context(inputs=INPUTS, checkpoint={"cursor": 150}))
    assert batch == handler.get_batch_context(make_context(inputs=INPUTS, checkpoint={"cursor": 150}))
    assert batch.cursor is batch.cursor_config
    assert (batch.batch_id, batch.cursor.batch_id) == ("001", "001")
    assert (batch.start_cursor, batch.end_cursor, batch.batch_size, batch.step_size) == (100, 200, 50, 50)
    assert batch.batch_metadata == INPUTS["batch_metadata"]
    assert (batch.checkpoint_cursor, batch.has_checkpoint(), batch.is_no_op) == (150, True, False)
    assert (batch.checkpoint_items_processed, batch.accumulated_results) == (0, None)


@pytest.mark.parametrize("place", ["config", "input_data"])
def test_a_worker_reads_its_batch_from_config_or_task_else(handler, make_context, place):
    batch_context = {
        "batch_id": "b",
        "cursor_config": {"start_cursor": 1, "end_cursor": 4},
        "batch_index": 2,
        "total_batches": 3,
        "batch_metadata": {"k": 1},
    }
    batch = handler.get_batch_context(make_context(**{place: {"batch_context": batch_context}}))
    assert (batch.batch_id, batch.batch_index, batch.total_batches) == ("b", 2, 3)
    assert (batch.start_cursor, batch.end_cursor, batch.step_size, batch.batch_size) == (1, 4, 1, 3)


def test_a_step_without_batch_data_has_no_batch(handler, make_context):
    assert handler.get_batch_context(make_context({"a": 1})) is None
    assert BatchWorkerContext.from_step_context(MagicMock(step_inputs=None)) is None


def test_batch_inputs_are_none_unless_they_are_exactly_the_engines(handler, make_context):
    assert handler.get_batch_worker_inputs(make_context(inputs=INPUTS)).cursor.batch_id == "001"
    misspelt = INPUTS | {"batch_metadata": {"cursor_field": "id", "failure_strategy": "ContinueOnFailure"}}
    assert handler.get_batch_worker_inputs(make_context(inputs=misspelt)) is None
    for empty in ({}, None):
        assert handler.get_batch_worker_inputs(MagicMock(step_inputs=empty)) is None
        assert handler.handle_no_op_worker(MagicMock(step_inputs=empty)) is None


def test_a_placeholder_worker_is_answered_at_once(handler, make_context):
    assert handler.handle_no_op_worker(make_context(inputs=INPUTS)) is None
    result = handler.handle_no_op_worker(make_context(inputs=INPUTS | {"is_no_op": True}))
    assert datetime.fromisoformat(result.result.pop("processed_at")).utcoffset().total_seconds() == 0
    assert result.result == {
        "batch_id": "001",
        "no_op": True,
        "processed_count": 0,
        "message": "No batches to process",
    }
    assert result.metadata == {}


COUNTS = {
    "items_processed": 10,
    "items_succeeded": 8,
    "items_failed": 2,
    "items_skipped": 0,
    "last_cursor": 9,
    "batch_metadata": {},
}


def test_counts_may_be_given_as_keywords_or_as_an_outcome(handler):
    keywords = {"items_processed": 10, "items_succeeded": 8, "items_failed": 2, "last_cursor": 9}
    for result in (
        handler.batch_worker_success(**keywords),
        handler.batch_worker_success(BatchWorkerOutcome(**keywords)),
        handler.batch_worker_success(handler.create_worker_outcome(**keywords)),
    ):
        assert result.result == COUNTS
        assert result.metadata == {"batch_worker": True}


def test_details_are_reported_only_if_there_are_any(handler):
    result = handler.batch_worker_success(items_processed=1, results=[{"id": 1}], errors=[{"e": 1}])
    assert (result.result["results"], result.result["errors"]) == ([{"id": 1}], [{"e": 1}])
    assert result.result["items_succeeded"] == 1


@pytest.mark.parametrize(
    ("counts", "succeeded"),
    [
        ({}, 10),
        ({"items_failed": 10}, 0),
        ({"items_failed": 2, "items_skipped": 1}, 7),
        ({"items_succeeded": 0}, 0),
    ],
)
def test_an_outcome_counts_as_succeeded_what_neither_failed_nor_was_skipped(handler, counts, succeeded):
    assert handler.create_worker_outcome(10, **counts).items_succeeded == succeeded


class Rows(pydantic.BaseModel):
    rows: int


@dataclass
class RowsData:
    rows: int


@pytest.mark.parametrize("own", [{"rows": 5}, Rows(rows=5), RowsData(5)])
def test_a_result_of_ones_own_is_kept_as_it_is(handler, make_context, own):
    batch = handler.get_batch_context(make_context(inputs=INPUTS))
    marks = {"batch_worker": True, "batch_id": "001", "start_cursor": 100, "end_cursor": 200}
    for result in (handler.batch_worker_success(batch, result=own), handler.batch_worker_success(batch, own)):
        assert result.result == {"rows": 5}
        assert result.metadata == marks
    both = handler.batch_worker_success(batch, result=own, metadata={"m": 1, "batch_id": "mine"})
    assert both.metadata == {"m": 1} | marks
    without_context = handler.batch_worker_success(result=own)
    assert (without_context.result, without_context.metadata) == ({"rows": 5}, {"batch_worker": True})


def test_an_own_result_is_copied(handler):
    own = {"rows": 5}
    assert handler.batch_worker_success(result=own).result is not own


def test_reporting_nothing_is_a_permanent_failure(handler):
    result = handler.batch_worker_success()
    assert (result.error_type, result.retryable) == ("invalid_args", False)
    assert "outcome" in result.error_message
    assert "items_processed" in result.error_message


def test_a_partial_failure_succeeds_and_says_so(handler):
    outcome = handler.create_worker_outcome(10, items_failed=2, last_cursor=9)
    result = handler.batch_worker_partial_failure(outcome, "two broke", {"m": 1})
    assert result.success
    assert result.result == COUNTS | {"partial_failure": True, "partial_failure_message": "two broke"}
    assert result.metadata == {"m": 1, "batch_worker": True, "had_failures": True}


@pytest.mark.parametrize("cursor", [50, "2025-01-01T00:00:00Z", {"page": 1}, None])
def test_a_checkpoint_takes_any_cursor(handler, cursor):
    result = handler.checkpoint_yield(cursor, 50)
    assert result.result == {"type": "checkpoint_yield", "cursor": cursor, "items_processed": 50}
    assert result.metadata == {"checkpoint_yield": True, "batch_worker": True}
    assert handler.checkpoint_yield(cursor, 50, {"sum": 1}).result["accumulated_results"] == {"sum": 1}


# Aggregating


def detect(results):
    return BatchAggregationScenario.detect(results, "analyze", "work_")


def test_workers_are_found_by_prefix_and_unwrapped():
    scenario = detect(
        {"analyze": {"n": 1}, "work_001": {"result": {"a": 1}}, "work_002": {"result": 5}, "other": {"x": 1}}
    )
    assert scenario.batch_results == {"work_001": {"a": 1}, "work_002": {}}
    assert (scenario.is_no_batches, scenario.worker_count, scenario.batchable_result) == (False, 2, {"n": 1})


def test_without_batches_workers_are_ignored(handler):
    scenario = handler.detect_aggregation_scenario(
        {"analyze": {"result": NO_BATCHES}, "work_001": {"result": {}}}, "analyze", "work_"
    )
    assert scenario.is_no_batches is True
    assert scenario.no_batches()
    assert (scenario.worker_count, scenario.batch_results) == (0, {})


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ({}, "Missing batchable step dependency"),
        ({"analyze": {"result": None}}, "Missing batchable step dependency"),
        ({"analyze": {"result": 5}}, "No batch workers found"),
    ],
)
def test_incomplete_dependencies_are_an_error(results, message):
    with pytest.raises(ValueError, match=message):
        detect(results)


def test_aggregation_applies_the_function_or_passes_the_results_on(handler):
    scenario = detect({"analyze": {}, "work_001": {"result": {"a": 1}}})
    summed = handler.aggregate_batch_worker_results(scenario, aggregation_fn=lambda results: {"n": len(results)})
    assert summed.result == {"n": 1, "worker_count": 1, "scenario": "with_batches"}
    plain = handler.aggregate_batch_worker_results(scenario)
    assert plain.result["batch_results"] == {"work_001": {"a": 1}}
    empty = handler.aggregate_batch_worker_results(detect({"analyze": NO_BATCHES}), {"n": 0})
    assert empty.result == {"worker_count": 0, "scenario": "no_batches", "n": 0}


def test_sums_leave_out_missing_results_and_bound_the_errors():
    results = [
        {"items_processed": 10, "items_succeeded": 8, "items_failed": 2, "errors": [{"e": 1}] * 80},
        None,
        {"items_processed": 10, "items_succeeded": 7, "items_skipped": 3, "errors": [{"e": 2}] * 80},
        {"errors": "not a list"},
    ]
    total = aggregate_batch_results(results)
    assert (total.total_processed, total.total_succeeded, total.total_failed, total.total_skipped) == (
        20,
        15,
        2,
        3,
    )
    assert (total.batch_count, total.success_rate) == (3, 0.75)
    assert (len(total.errors), total.error_count) == (100, 160)
    assert Batchable.aggregate_worker_results(results)["batch_count"] == 4
    assert aggregate_batch_results([]).success_rate == 0.0


def test_worker_count_and_cursors_must_agree():
    cursor = RustCursorConfig(**CURSOR)
    assert create_batches("w", 1, [cursor], 10).type == "create_batches"
    assert no_batches().type == "no_batches"
    with pytest.raises(ValueError, match="worker_count is 2"):
        create_batches("w", 2, [cursor], 10)
