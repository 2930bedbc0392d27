"""The approval, run by the real command on a real PostgreSQL."""

import json
from pathlib import Path
from uuid import uuid4

import pytest
from examples.approval import handlers

from tasker_core.types import FfiStepEvent, StepContext

HERE = Path(__file__).parent
INPUT = json.loads((HERE / "input.json").read_text(encoding="utf-8"))
THRESHOLDS = {"manager_from": 1000, "finance_from": 5000}

ROUTES = {
    0.01: ["auto_approve"],
    500: ["auto_approve"],
    1000: ["manager_approval"],
    2500: ["manager_approval"],
    3000: ["manager_approval"],
    5000: ["manager_approval", "finance_review"],
    10000: ["manager_approval", "finance_review"],
}


@pytest.fixture
def approval(tasker, database_url):
    """Runs the template for an expense; returns the exit code, the steps by name and stderr."""

    def run(**expense):
        context = json.dumps(expense)
        process = tasker("run", str(HERE / "template.yaml"), "-c", context, "--json", DATABASE_URL=database_url)
        steps = json.loads(process.stdout)["steps"] if process.stdout else []
        return process.returncode, {step["name"]: step for step in steps}, process.stderr

    return run


@pytest.mark.parametrize(("amount", "approvals"), ROUTES.items())
def test_the_amount_decides_which_approvals_exist(approval, amount, approvals):
    code, steps, _ = approval(**INPUT | {"amount": amount})

    assert code == 0
    assert set(steps) == {"validate_request", "routing_decision", *approvals, "finalize"}
    assert {(step["current_state"], step["attempts"]) for step in steps.values()} == {("complete", 1)}
    assert list(steps["finalize"]["result"]["approvals"]) == approvals
    assert steps["finalize"]["result"]["amount"] == amount


def test_the_decision_and_its_reason_stay_on_record(approval):
    _, steps, _ = approval(**INPUT)

    assert steps["routing_decision"]["result"] == {
        "decision_point_outcome": {"type": "create_steps", "step_names": ["manager_approval", "finance_review"]},
        "routing_context": {"amount": INPUT["amount"]},
    }


@pytest.mark.parametrize(
    ("expense", "error_code"),
    [
        ({"employee": "ada", "purpose": "tea"}, "no_amount"),
        ({"employee": "ada", "purpose": "tea", "amount": -1000}, "bad_amount"),
    ],
    ids=["missing", "negative"],
)
def test_an_impossible_amount_fails_for_good_and_nothing_is_decided(approval, expense, error_code):
    code, steps, _ = approval(**expense)
    request, decision = steps["validate_request"], steps["routing_decision"]

    assert code == 6
    assert (request["current_state"], request["attempts"]) == ("error", 1)
    assert (request["error"]["error_type"], request["error"]["error_code"]) == ("validation_error", error_code)
    assert (decision["current_state"], decision["attempts"]) == ("pending", 0)
    assert set(steps) == {"validate_request", "routing_decision"}


def test_a_context_that_breaks_the_input_schema_never_becomes_a_task(approval):
    code, steps, stderr = approval(**INPUT | {"amount": "much"})

    assert (code, steps) == (1, {})
    assert "/amount:" in stderr


@pytest.mark.parametrize(("amount", "approvals"), ROUTES.items())
def test_a_decision_handler_is_tested_with_a_context_of_keywords(amount, approvals):
    identity = {name: str(uuid4()) for name in ("task_uuid", "step_uuid", "correlation_id")}
    context = StepContext(
        event=FfiStepEvent(event_id="test", task_sequence_step={}, **identity),
        **identity,
        handler_name="expenses.route",
        dependency_results={"validate_request": {"amount": amount}},
        step_config=THRESHOLDS,
    )
    decided = handlers.RouteExpenseHandler().call(context)

    assert decided.result["decision_point_outcome"] == {"type": "create_steps", "step_names": approvals}


def test_a_convergence_handler_is_given_none_for_what_was_not_chosen():
    gathered = handlers.finalize(
        {"amount": 500}, auto_approve={"approved_by": "policy"}, manager_approval=None, finance_review=None
    )

    assert gathered == {"amount": 500, "approvals": {"auto_approve": "policy"}}
