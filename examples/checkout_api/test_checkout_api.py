"""The class-based checkout against a real HTTP server, run by the real command on a real PostgreSQL."""

import json
from collections import Counter
from pathlib import Path

import pytest
from examples.checkout_api import payment_server

HERE = Path(__file__).parent
INPUT = json.loads((HERE / "input.json").read_text(encoding="utf-8"))


@pytest.fixture
def shop():
    with payment_server.running() as server:
        yield server


@pytest.fixture
def checkout(tasker, database_url, shop):
    """Runs the template with some keys of the input changed; returns the exit code, the steps by name and stderr."""

    def run(*options, url=shop.url, **changes):
        process = tasker(
            "run", str(HERE / "template.yaml"), "-c", json.dumps(INPUT | changes), "--json", *options,
            DATABASE_URL=database_url, SHOP_API_URL=url,
        )  # fmt: skip
        steps = json.loads(process.stdout)["steps"] if process.stdout else []
        return process.returncode, {step["name"]: step for step in steps}, process.stderr

    return run


def test_the_services_are_called_and_their_answers_joined(checkout):
    code, steps, _ = checkout()
    order = steps["create_order"]["result"]

    assert code == 0
    assert order["total_cents"] == 2 * 1_250 + 2_400
    assert order["authorization_id"] == steps["authorize_payment"]["result"]["authorization_id"]
    assert order["reservation_id"] == steps["reserve_inventory"]["result"]["reservation_id"]
    assert steps["send_confirmation"]["current_state"] == "complete"


def test_a_busy_service_is_asked_again_with_the_same_key(checkout, shop):
    _, steps, _ = checkout()
    requests = [(key, status) for path, key, status in shop.requests if path == "/authorizations"]

    assert {name: step["attempts"] for name, step in steps.items() if step["attempts"] != 1} == {"authorize_payment": 2}
    assert [status for _, status in requests] == [503, 201]
    assert len({key for key, _ in requests}) == 1
    assert Counter(path for path, _ in shop.done) == {"/authorizations": 1, "/reservations": 1, "/emails": 1}


def test_a_declined_card_is_final_and_makes_no_order(checkout):
    code, steps, _ = checkout(payment_token="tok_declined")
    payment = steps["authorize_payment"]

    assert code == 6
    assert (payment["current_state"], payment["attempts"]) == ("error", 2)  # busy, then declined
    assert payment["error"]["error_type"] == "card_declined"
    assert payment["error"]["error_code"] == "insufficient_funds"
    assert (steps["create_order"]["current_state"], steps["create_order"]["attempts"]) == ("pending", 0)
    assert steps["send_confirmation"]["attempts"] == 0


def test_sold_out_goods_are_a_conflict_that_no_retry_mends(checkout):
    code, steps, _ = checkout(cart=[{"sku": "CAP-RD", "quantity": 1}])
    reservation = steps["reserve_inventory"]

    assert code == 6
    assert (reservation["attempts"], reservation["error"]["error_type"]) == (1, "conflict")
    assert reservation["error"]["message"] == "HTTP 409: sold out: CAP-RD"
    assert steps["authorize_payment"]["current_state"] == "complete"
    assert steps["create_order"]["attempts"] == 0


def test_an_unknown_sku_fails_before_any_service_is_called(checkout, shop):
    code, steps, _ = checkout(cart=[{"sku": "SOCKS", "quantity": 1}])

    assert code == 6
    assert steps["validate_cart"]["error"]["error_type"] == "validation_error"
    assert shop.requests == []


def test_a_context_that_breaks_the_input_schema_never_becomes_a_task(checkout, shop):
    code, steps, stderr = checkout(payment_token="4111 1111 1111 1111")

    assert (code, steps, shop.requests) == (1, {}, [])
    assert "/payment_token:" in stderr


def test_a_service_that_is_down_is_worth_a_retry(checkout):
    code, steps, _ = checkout("--timeout", "2", url="http://127.0.0.1:9")
    payment = steps["authorize_payment"]

    assert code == 1  # the time was up; the task itself goes on
    assert payment["current_state"] == "waiting_for_retry"
    assert payment["error"]["error_type"] == "connection_error"
