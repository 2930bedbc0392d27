import httpx
import pydantic
import pytest

from tasker_core.step_handler import Decision, DecisionHandler, StepHandler
from tasker_core.step_handler.api import ApiResponse
from tasker_core.step_handler.mixins import DecisionMixin
from tasker_core.types import DecisionPointOutcome


class Router(DecisionHandler):
    handler_name = "router"

    def call(self, context):
        return self.decision_success(["a"])


SIGNATURE = {"decision_handler": "router", "decision_version": "1.0.0"}


@pytest.fixture
def router():
    return Router()


def created(*steps):
    return {"decision_point_outcome": {"type": "create_steps", "step_names": list(steps)}}


def test_routing_names_the_steps_and_signs_the_metadata(router):
    result = router.decision_success(["a", "b"], {"tier": 1}, {"m": 1})
    assert result.result == created("a", "b") | {"routing_context": {"tier": 1}}
    assert result.metadata == {"m": 1, **SIGNATURE}
    assert router.route_to_steps(["a"]).result == created("a")


def test_an_empty_list_still_creates_steps(router):
    assert router.decision_success([]).result == created()


@pytest.mark.parametrize("steps", ["abc", [1], {"a": 1}])
def test_anything_but_step_names_is_rejected(router, steps):
    with pytest.raises(pydantic.ValidationError):
        router.decision_success(steps)


def test_an_outcome_or_a_decision_may_stand_for_the_steps(router):
    outcome = DecisionPointOutcome.create_steps(["a"], [{"name": "x"}], {"k": 1})
    expected = created("a") | {"dynamic_steps": [{"name": "x"}], "routing_context": {"k": 1}}
    assert router.decision_success(outcome).result == expected
    assert router.decision_success_with_outcome(outcome).result == expected
    assert router.decision_success(Decision.route(["a"], k=1), {"j": 2}).result == created("a") | {
        "routing_context": {"k": 1, "j": 2}
    }


def test_skipping_states_the_reason(router):
    expected = {"decision_point_outcome": {"type": "no_branches"}, "reason": "none needed"}
    assert router.skip_branches("none needed").result == expected
    assert router.decision_success(Decision.skip("none needed")).result == expected
    assert router.decision_no_branches({"reason": "none needed"}).result == expected
    outcome = DecisionPointOutcome.no_branches("none needed", {"k": 1})
    assert router.decision_no_branches(outcome).result == expected | {"routing_context": {"k": 1}}


def test_reporting_an_outcome_without_branches_as_it_is_drops_the_reason(router):
    result = router.decision_success_with_outcome(DecisionPointOutcome.no_branches("r"))
    assert result.result == {"decision_point_outcome": {"type": "no_branches", "step_names": []}}


def test_a_response_may_be_the_routing_context(router):
    response = ApiResponse(httpx.Response(200, text="t"))
    assert router.decision_success(["a"], response).result["routing_context"] == response.to_dict()


def test_a_failed_decision_is_permanent_unless_said_otherwise(router):
    result = router.decision_failure("cannot")
    assert (result.error_type, result.retryable, result.metadata) == ("decision_error", False, SIGNATURE)
    assert router.decision_failure("cannot", retryable=True).retryable


def test_the_mixin_works_in_any_base_order():
    class Mixed(StepHandler, DecisionMixin):
        def call(self, context):
            return self.skip_branches("r")

    assert Mixed().call(None).metadata["decision_handler"] == "Mixed"


def test_capabilities_name_the_mixin(router):
    assert router.capabilities == ["process", "decision", "routing"]
