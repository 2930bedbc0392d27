"""The checkout, run by the real command on a real PostgreSQL."""

import json
from pathlib import Path

import pytest
from examples.checkout import handlers

from tasker_core.step_handler.functional import handler_class_of

HERE = Path(__file__).parent
INPUT = json.loads((HERE / "input.json").read_text(encoding="utf-8"))


@pytest.fixture
def checkout(tasker, database_url):
    """Runs the template with some keys of the input changed; returns the exit code, the outcome and stderr."""

    def run(**changes):
        process = tasker(
            "run", str(HERE / "template.yaml"), "--context", "-", "--json",
            input=json.dumps(INPUT | changes), DATABASE_URL=database_url,
        )  # fmt: skip
        outcome = json.loads(process.stdout) if process.stdout else None
        return process.returncode, outcome, process.stderr

    return run


def by_name(outcome):
    return {step["name"]: step for step in outcome["steps"]}


def test_a_cart_becomes_a_paid_and_confirmed_order(checkout):
    code, outcome, _ = checkout()
    steps = by_name(outcome)

    assert (code, outcome["status"]) == (0, "complete")
    assert steps["validate_cart"]["result"]["total_cents"] == 2 * 1_250 + 2_400 + 490
    assert steps["create_order"]["result"]["order_number"] == f"SO-{outcome['task_uuid']}"
    assert steps["send_confirmation"]["result"]["to"] == INPUT["email"]
    assert steps["update_loyalty_points"]["result"] == {"customer_id": "cus_4711", "points_earned": 53}


def test_only_the_busy_payment_gateway_needs_a_second_attempt(checkout):
    _, outcome, _ = checkout()
    attempts = {name: step["attempts"] for name, step in by_name(outcome).items()}

    assert attempts.pop("authorize_payment") == 2
    assert set(attempts.values()) == {1}


def test_a_declined_card_is_not_tried_again_and_makes_no_order(checkout):
    code, outcome, _ = checkout(payment_token="tok_declined")
    steps = by_name(outcome)
    payment = steps["authorize_payment"]

    assert (code, outcome["status"]) == (6, "blocked_by_failures")
    assert payment["current_state"] == "error"
    assert payment["error"]["error_type"] == "permanent_error"
    assert payment["error"]["error_code"] == "card_declined"
    assert payment["attempts"] == 2  # busy, then declined
    assert steps["reserve_inventory"]["current_state"] == "complete"
    for name in ("create_order", "send_confirmation", "update_loyalty_points"):
        assert (steps[name]["current_state"], steps[name]["attempts"]) == ("pending", 0)


@pytest.mark.parametrize(
    ("line", "error_code"),
    [({"sku": "SOCKS", "quantity": 1}, "unknown_sku"), ({"sku": "MUG-01", "quantity": 11}, "bad_quantity")],
)
def test_an_impossible_cart_fails_at_once_and_nothing_else_runs(checkout, line, error_code):
    code, outcome, _ = checkout(cart=[line])
    steps = by_name(outcome)
    cart = steps.pop("validate_cart")

    assert (code, outcome["status"]) == (6, "blocked_by_failures")
    assert (cart["attempts"], cart["error"]["error_type"]) == (1, "validation_error")
    assert cart["error"]["error_code"] == error_code
    assert {step["attempts"] for step in steps.values()} == {0}


def test_a_context_that_breaks_the_input_schema_never_becomes_a_task(checkout, tasker, database_url):
    code, outcome, stderr = checkout(cart=[])
    listed = tasker("task", "list", "--json", DATABASE_URL=database_url)

    assert (code, outcome) == (1, None)
    assert "/cart:" in stderr
    assert json.loads(listed.stdout) == {"tasks": []}


def test_a_repeated_attempt_authorizes_no_second_payment():
    gateway = handlers.PaymentGateway()
    with pytest.raises(handlers.GatewayBusyError):
        gateway.authorize(token="tok_visa", amount_cents=500, idempotency_key="step-1")
    first, second = (gateway.authorize(token="tok_visa", amount_cents=500, idempotency_key="step-1") for _ in range(2))

    assert first == second
    assert gateway.authorizations == {"step-1": 500}


def test_decorated_functions_are_tested_by_calling_them():
    order = handlers.Order(order_number="SO-1", total_cents=1_999, authorization_id="a", reservation_id="r")

    assert handlers.update_loyalty_points(order, "cus_1")["points_earned"] == 19
    assert handler_class_of(handlers.update_loyalty_points).handler_name == "update_loyalty_points"
