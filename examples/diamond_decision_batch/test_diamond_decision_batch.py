"""Branches, a decision and batches in one task, run by the real command on a real PostgreSQL."""

import json
from pathlib import Path

import pytest
from examples.diamond_decision_batch import handlers

HERE = Path(__file__).parent
DIAMOND = ["start", "count_evens", "count_odds", "choose_path"]


@pytest.fixture
def diamond(tasker, database_url):
    """Runs the template for some numbers; returns the exit code and the steps by name."""

    def run(numbers):
        process = tasker(
            "run", str(HERE / "template.yaml"), "-c", json.dumps({"numbers": numbers}), "--json",
            DATABASE_URL=database_url,
        )  # fmt: skip
        assert process.stdout, process.stderr
        return process.returncode, {step["name"]: step for step in json.loads(process.stdout)["steps"]}

    return run


@pytest.mark.parametrize(
    ("numbers", "path", "total", "workers"),
    [
        ([2, 4, 6, 8, 10, 12], "evens", 42, 3),
        ([1, 3, 5, 7, 9, 11, 2, 4], "odds", 36, 3),
        (list(range(1, 11)), "evens", 30, 3),
        ([7], "odds", 7, 1),
    ],
    ids=["even", "odd", "tie", "one"],
)
def test_only_the_chosen_path_exists_and_is_added_up_in_batches(diamond, numbers, path, total, workers):
    code, steps = diamond(numbers)
    expected = [f"divide_{path}", *(f"add_{path}_{number:03}" for number in range(1, workers + 1)), "aggregate"]

    assert code == 0
    assert sorted(steps) == sorted(DIAMOND + expected)
    assert {(step["current_state"], step["attempts"]) for step in steps.values()} == {("complete", 1)}
    assert steps["aggregate"]["result"] == {"path": path, "sum": total, "worker_count": workers}


def test_the_batches_share_the_numbers_out(diamond):
    _, steps = diamond(list(range(1, 11)))
    batches = [steps[f"add_evens_{number:03}"]["result"]["numbers"] for number in (1, 2, 3)]

    assert batches == [[2, 4], [6, 8], [10]]


def test_without_numbers_the_path_has_no_batches_and_the_sum_is_zero(diamond):
    code, steps = diamond([])

    assert code == 0
    assert sorted(steps) == sorted([*DIAMOND, "divide_evens", "aggregate"])
    assert steps["aggregate"]["result"] == {"path": "evens", "sum": 0, "worker_count": 0}


@pytest.mark.parametrize(("evens", "odds", "chosen"), [(2, 1, "evens"), (1, 2, "odds"), (1, 1, "evens")])
def test_a_decision_function_is_tested_by_calling_it(evens, odds, chosen):
    decision = handlers.choose_path({"count": evens}, {"count": odds})

    assert decision.outcome.next_step_names == [f"divide_{chosen}"]
    assert decision.outcome.routing_context == {"path": chosen, "evens": evens, "odds": odds}
