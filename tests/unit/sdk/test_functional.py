import inspect
from unittest.mock import MagicMock

import httpx
import pydantic
import pytest

from tasker_core.errors import PermanentError
from tasker_core.step_handler import (
    BatchConfig,
    Decision,
    FunctionalHandler,
    StepHandler,
    api_handler,
    batch_analyzer,
    batch_worker,
    decision_handler,
    depends_on,
    inputs,
    step_handler,
)
from tasker_core.types import (
    BatchAnalyzerOutcome,
    DecisionPointOutcome,
    StepHandlerResult,
)


class Order(pydantic.BaseModel):
    order_id: str
    express: bool = False
    note: str | None = None


def run(function, context):
    return function._handler_class().call(context)


def test_decorating_returns_the_function_itself():
    def function(order_id):
        """Doc."""
        return {"id": order_id}

    decorated = step_handler("named", version="2.0.0")(inputs("order_id")(function))
    assert decorated is function
    assert decorated(order_id=1) == {"id": 1}
    assert isinstance(decorated, FunctionalHandler)

    handler_class = decorated._handler_class
    assert issubclass(handler_class, StepHandler)
    assert (handler_class.__name__, handler_class.__qualname__, handler_class.__doc__) == (
        function.__name__,
        function.__qualname__,
        "Doc.",
    )
    assert handler_class.__module__ == __name__
    assert (handler_class().name, handler_class().version) == ("named", "2.0.0")


def test_dependencies_and_inputs_become_arguments(make_context):
    @step_handler("h")
    @depends_on(cart="validate", absent="nowhere")
    @inputs("order_id", "missing")
    def function(cart, absent, order_id, missing, context):
        return {"all": [cart, absent, order_id, missing], "h": context.handler_name}

    result = run(function, make_context({"order_id": 7}, results={"validate": {"n": 1}}))
    assert result.result == {"all": [{"n": 1}, None, 7, None], "h": "h"}


def test_decorators_stack_and_may_stand_in_any_order(make_context):
    @inputs("b")
    @depends_on(two="second")
    @step_handler("h")
    @depends_on(one="first")
    @inputs("a")
    def function(a, b, one, two):
        return {"all": [a, b, one, two]}

    result = run(function, make_context({"a": 1, "b": 2}, results={"first": 3, "second": 4}))
    assert result.result == {"all": [1, 2, 3, 4]}


def test_dependency_results_are_read_into_models(make_context):
    @step_handler("h")
    @depends_on(order=("validate", Order), plain=("validate", dict), validate=Order, scalar=("n", Order))
    def function(order, plain, validate, scalar):
        assert order == validate == Order(order_id="1")
        assert plain == {"order_id": "1"}
        return {"scalar": scalar}

    result = run(function, make_context(results={"validate": {"order_id": "1"}, "n": 5}))
    assert result.result == {"scalar": 5}


def test_an_input_model_keeps_its_defaults_for_absent_keys(make_context):
    @step_handler("h")
    @inputs("ignored")
    @inputs(Order)
    def function(inputs):
        return inputs

    assert run(function, make_context({"order_id": "1", "other": 2})).result == {
        "order_id": "1",
        "express": False,
        "note": None,
    }


@pytest.mark.parametrize("given", [{}, {"order_id": 5}, {"order_id": "1", "express": None}])
def test_invalid_input_fails_for_good(make_context, given):
    @step_handler("h")
    @inputs(Order)
    def function(inputs):
        return inputs

    result = run(function, make_context(given))
    assert (result.error_type, result.retryable) == ("permanent_error", False)
    assert result.metadata["exception_type"] == "ValidationError"


def test_a_permanent_error_raised_while_validating_passes_through(make_context):
    class Picky(pydantic.BaseModel):
        @pydantic.model_validator(mode="after")
        def refuse(self):
            raise PermanentError("no", metadata={"k": 1}, error_code="E1")

    @step_handler("h")
    @inputs(Picky)
    def function(inputs):
        return inputs

    result = run(function, make_context({}))
    assert (result.error_message, result.error_type, result.retryable) == ("no", "permanent_error", False)
    assert (result.metadata["k"], result.error_code) == (1, "E1")


def test_a_mock_may_stand_for_the_context():
    context = MagicMock()
    context.get_input.side_effect = {"order_id": "1", "express": True, "note": None}.get
    context.get_dependency_result.return_value = {"order_id": "2"}

    @step_handler("h")
    @depends_on(other=("validate", Order))
    @inputs(Order)
    def function(inputs, other, _context):
        assert _context is context
        return [inputs.order_id, other.order_id]

    assert run(function, context).result == {"result": ["1", "2"]}


def test_any_keywords_alone_do_not_ask_for_the_context(make_context):
    @step_handler("h")
    @inputs("a")
    def function(**everything):
        return everything

    assert run(function, make_context({"a": 1})).result == {"a": 1}


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ({"a": 1}, {"a": 1}),
        (None, {}),
        ([1, 2], {"result": [1, 2]}),
        (7, {"result": 7}),
        (Order(order_id="1"), {"order_id": "1", "express": False, "note": None}),
        (pydantic.RootModel[list[int]]([1]), {"result": [1]}),
        (StepHandlerResult.success({"b": 2}), {"b": 2}),
    ],
)
def test_whatever_is_returned_becomes_a_result(make_context, returned, expected):
    @step_handler("h")
    def function():
        return returned

    result = run(function, make_context())
    assert (result.success, result.result) == (True, expected)


async def test_an_async_function_makes_an_async_handler(make_context):
    @step_handler("h")
    @inputs("a")
    async def function(a):
        if a is None:
            raise PermanentError("no a")
        return {"a": a}

    handler = function._handler_class()
    assert inspect.iscoroutinefunction(handler.call)
    assert (await handler.call(make_context({"a": 1}))).result == {"a": 1}
    assert (await handler.call(make_context())).error_type == "permanent_error"


@pytest.mark.parametrize(
    "returned",
    [
        Decision.route(["a"], k=1),
        DecisionPointOutcome.create_steps(["a"], routing_context={"k": 1}),
    ],
)
def test_a_decision_routes(make_context, returned):
    @decision_handler("router")
    def function():
        return returned

    result = run(function, make_context())
    assert result.result == {
        "decision_point_outcome": {"type": "create_steps", "step_names": ["a"]},
        "routing_context": {"k": 1},
    }
    assert result.metadata == {"decision_handler": "router", "decision_version": "1.0.0"}


@pytest.mark.parametrize("returned", [["a", "b"], ("a", "b")])
def test_a_decision_may_be_plain_step_names(make_context, returned):
    @decision_handler("router")
    def function():
        return returned

    assert run(function, make_context()).result["decision_point_outcome"]["step_names"] == ["a", "b"]


def test_a_decision_skips_with_a_reason(make_context):
    @decision_handler("router")
    @inputs("reason")
    def function(reason):
        return Decision.skip(reason)

    assert run(function, make_context({"reason": "none"})).result["reason"] == "none"
    assert run(function, make_context({"reason": ""})).result == {
        "decision_point_outcome": {"type": "no_branches"},
        "reason": "No branches",
    }


def test_a_decision_handler_may_return_a_result_of_its_own(make_context):
    @decision_handler("router")
    def function():
        return {"plain": 1}

    assert run(function, make_context()).result == {"plain": 1}


def test_an_analyzer_divides_by_batch_size(make_context):
    @batch_analyzer("analyze", worker_template="w")
    @inputs("total")
    def function(total):
        return BatchConfig(total_items=total, batch_size=100, metadata={"k": 1})

    result = run(function, make_context({"total": 250}))
    outcome = result.result["batch_processing_outcome"]
    assert [each["batch_size"] for each in outcome["cursor_configs"]] == [100, 100, 50]
    assert (outcome["worker_template_name"], result.result["batch_metadata"]) == ("w", {"k": 1})
    assert run(function, make_context({"total": 0})).result == {
        "batch_processing_outcome": {"type": "no_batches"},
        "reason": "empty_dataset",
        "k": 1,
    }


def test_an_analyzer_may_return_an_outcome_and_leave_the_template_to_the_engine(make_context):
    @batch_analyzer("analyze")
    def function():
        return BatchAnalyzerOutcome.from_ranges([(0, 5)], total_items=5)

    outcome = run(function, make_context()).result["batch_processing_outcome"]
    assert (outcome["worker_template_name"], outcome["worker_count"]) == ("batch_worker", 1)


def test_a_batch_worker_is_given_its_batch(make_context):
    @batch_worker("work", analyzer_step="analyze")
    def function(batch_context):
        return {"size": batch_context.batch_size if batch_context else None}

    cursor = {"batch_id": "001", "start_cursor": 0, "end_cursor": 5, "batch_size": 5}
    assert run(function, make_context(inputs={"cursor": cursor})).result == {"size": 5}
    assert run(function, make_context()).result == {"size": None}


def test_an_api_handler_is_given_its_http_methods(make_context):
    @api_handler("fetch", base_url="https://x.test/", timeout=5.0, default_headers={"x-token": "t"})
    @inputs("order_id")
    def function(order_id, api):
        return api.api_success(api.get(f"orders/{order_id}"))

    def respond(request):
        return httpx.Response(200, json={"url": str(request.url)})

    handler = function._handler_class()
    assert handler.client.timeout == httpx.Timeout(5.0)
    assert handler.client.headers["x-token"] == "t"
    handler.close()
    handler._client = httpx.Client(base_url=handler.base_url, transport=httpx.MockTransport(respond))
    assert handler.call(make_context({"order_id": 1})).result == {"url": "https://x.test/orders/1"}
    handler.close()


@pytest.mark.parametrize("wrong", [5, ("step",), ("step", "model"), None])
def test_a_dependency_of_another_form_is_refused_with_the_valid_forms(wrong):
    with pytest.raises(TypeError, match=r'"step", \("step", Model\) or Model'):
        depends_on(p=wrong)


@pytest.mark.parametrize("wrong", [(5,), ("a", Order)])
def test_inputs_of_another_form_are_refused_with_the_valid_forms(wrong):
    with pytest.raises(TypeError, match='takes "key"'):
        inputs(*wrong)
