"""Where a step that yields goes on: what is kept of a checkpoint, and which checkpoints are refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasker_core.engine.checkpoint import HISTORY_LIMIT, InvalidCheckpointError, advance, is_yield

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TIME = "2026-03-01T12:00:00.000000Z"


def yielded(cursor: Any, items: Any = 0, **fields: Any) -> dict[str, Any]:
    return {"type": "checkpoint_yield", "cursor": cursor, "items_processed": items, **fields}


def test_the_first_checkpoint_holds_what_was_yielded_and_when() -> None:
    assert advance(None, yielded(25, 20, accumulated_results={"sum": 3}), now=NOW) == {
        "cursor": 25,
        "items_processed": 20,
        "timestamp": TIME,
        "accumulated_results": {"sum": 3},
        "history": [{"cursor": 25, "timestamp": TIME}],
    }


def test_a_later_checkpoint_adds_to_the_history_the_newest_last() -> None:
    first = advance(None, yielded(25), now=NOW)
    second = advance(first, yielded(50), now=NOW + timedelta(seconds=1))
    assert [entry["cursor"] for entry in second["history"]] == [25, 50]
    assert second["history"][1]["timestamp"] == second["timestamp"] == "2026-03-01T12:00:01.000000Z"


def test_the_history_keeps_the_last_fifty() -> None:
    checkpoint: dict[str, Any] | None = None
    for cursor in range(60):
        checkpoint = advance(checkpoint, yielded(cursor), now=NOW)
    assert checkpoint is not None
    assert [entry["cursor"] for entry in checkpoint["history"]] == list(range(10, 60))
    assert HISTORY_LIMIT == 50


def test_accumulated_results_stay_until_others_are_given() -> None:
    first = advance(None, yielded(1, accumulated_results=[1]), now=NOW)
    second = advance(first, yielded(2), now=NOW)
    third = advance(second, yielded(3, accumulated_results=[2]), now=NOW)
    assert [c["accumulated_results"] for c in (first, second, third)] == [[1], [1], [2]]


def test_what_came_before_is_left_as_it_was() -> None:
    first = advance(None, yielded(1), now=NOW)
    advance(first, yielded(2), now=NOW)
    assert first["history"] == [{"cursor": 1, "timestamp": TIME}]


@pytest.mark.parametrize(
    ("before", "after"),
    [(5, 5), (5, 6), (5, 5.5), (1.5, 2), ("b", "a"), ([2], [1]), ({"k": 2}, {"k": 1}), (5, "4"), (5, None), (None, 0)],
)
def test_a_cursor_may_stay_move_on_or_be_of_a_kind_that_has_no_order(before: Any, after: Any) -> None:
    previous = advance(None, yielded(before), now=NOW)
    assert advance(previous, yielded(after), now=NOW)["cursor"] == after


@pytest.mark.parametrize(("before", "after"), [(5, 4), (5, 4.9), (0, -1)])
def test_a_cursor_that_moves_back_is_refused(before: Any, after: Any) -> None:
    previous = advance(None, yielded(before), now=NOW)
    with pytest.raises(InvalidCheckpointError, match=rf"^the cursor moved back from {before} to {after}$"):
        advance(previous, yielded(after), now=NOW)


def test_a_falling_number_of_items_is_refused() -> None:
    previous = advance(None, yielded(5, 50), now=NOW)
    with pytest.raises(InvalidCheckpointError) as refused:
        advance(previous, yielded(6, 25), now=NOW)
    assert str(refused.value) == "items_processed fell from 50 to 25; it counts from the step's beginning"


@pytest.mark.parametrize("items", [-1, 1.5, "3", None, True])
def test_a_number_of_items_that_is_none_is_refused(items: object) -> None:
    with pytest.raises(InvalidCheckpointError, match=r"^items_processed must be a whole number of 0 or more, not "):
        advance(None, yielded(1, items), now=NOW)


@pytest.mark.parametrize("result", [None, "text", {}, {"type": "other", "cursor": 1, "items_processed": 1}])
def test_a_result_that_is_no_checkpoint_is_refused(result: object) -> None:
    with pytest.raises(InvalidCheckpointError, match=r"must come from checkpoint_yield\(\.\.\.\)$"):
        advance(None, result, now=NOW)


@pytest.mark.parametrize(
    ("success", "metadata", "expected"),
    [
        (True, {"checkpoint_yield": True}, True),
        (False, {"checkpoint_yield": True}, False),
        (True, {"checkpoint_yield": 1}, False),
        (True, {}, False),
    ],
)
def test_only_a_success_that_says_so_is_a_yield(success: bool, metadata: dict[str, Any], expected: bool) -> None:
    assert is_yield(success, metadata) is expected
