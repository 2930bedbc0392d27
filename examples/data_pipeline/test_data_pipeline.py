"""The data pipeline, run by the real command on a real PostgreSQL."""

import json
from pathlib import Path

import pytest

HERE = Path(__file__).parent
INPUT = json.loads((HERE / "input.json").read_text(encoding="utf-8"))


@pytest.fixture
def pipeline(tasker, database_url):
    """Runs the template for a period; returns the exit code, the steps by name and stderr."""

    def run(first=INPUT["from"], last=INPUT["to"], **environment):
        context = json.dumps({"from": first, "to": last})
        process = tasker(
            "run", str(HERE / "template.yaml"), "-c", context, "--json", DATABASE_URL=database_url, **environment
        )  # fmt: skip
        steps = json.loads(process.stdout)["steps"] if process.stdout else []
        return process.returncode, {step["name"]: step for step in steps}, process.stderr

    return run


def test_three_extracts_become_insights(pipeline):
    code, steps, _ = pipeline()

    assert code == 0
    assert len(steps) == 8
    assert {step["attempts"] for step in steps.values()} == {1}
    metrics = steps["aggregate_metrics"]["result"]
    assert metrics["revenue_cents"] == sum(metrics["revenue_by_tier"].values()) == 135_450
    assert steps["generate_insights"]["result"]["insights"][0] == "BAG-CT sells out in 5.2 days"


def test_the_extracts_run_beside_each_other(pipeline, tasker, database_url):
    pipeline()
    listed = json.loads(tasker("task", "list", "--json", DATABASE_URL=database_url).stdout)
    task = listed["tasks"][0]["task_uuid"]
    history = json.loads(tasker("task", "history", task, "--json", DATABASE_URL=database_url).stdout)["history"]
    started = [c["step"] for c in history if c["to_state"] == "in_progress"]

    assert set(started[:3]) == {"extract_sales_data", "extract_inventory_data", "extract_customer_data"}


def test_the_test_environment_reads_a_sample_of_the_sales(pipeline):
    code, steps, _ = pipeline(TASKER_ENV="test")

    assert code == 0
    assert len(steps["extract_sales_data"]["result"]["rows"]) == 10
    assert len(steps["extract_inventory_data"]["result"]["rows"]) == 10
    assert steps["aggregate_metrics"]["result"]["revenue_cents"] == 39_150


def test_a_period_without_sales_stops_its_branch_and_what_joins_it(pipeline):
    code, steps, _ = pipeline("2020-01-01", "2020-01-31")
    extract = steps["extract_sales_data"]

    assert code == 6
    assert (extract["attempts"], extract["error"]["error_type"]) == (1, "permanent_error")
    assert extract["error"]["error_code"] == "no_sales"
    assert steps["transform_inventory"]["current_state"] == "complete"
    for name in ("transform_sales", "aggregate_metrics", "generate_insights"):
        assert (steps[name]["current_state"], steps[name]["attempts"]) == ("pending", 0)


def test_a_date_that_is_none_never_becomes_a_task(pipeline):
    code, steps, stderr = pipeline("soon")

    assert (code, steps) == (1, {})
    assert "/from: 'soon' is not a 'date'" in stderr
