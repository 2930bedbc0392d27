"""The fixture handlers of the conformance vectors, see sdks/conformance/README.md."""

from typing import Any

from tasker_core import StepContext, StepHandler, StepHandlerResult
from tasker_core.batch_processing import Batchable
from tasker_core.errors import PermanentError, RetryableError, ValidationError
from tasker_core.handler import HandlerRegistry
from tasker_core.step_handler.functional import (
    BatchConfig,
    Decision,
    batch_analyzer,
    decision_handler,
    depends_on,
    inputs,
    step_handler,
)
from tasker_core.step_handler.mixins import DecisionMixin


class Echo(StepHandler):
    def call(self, context: StepContext) -> StepHandlerResult:
        return self.success(context.input_data)


class ProcessOrderHandler(StepHandler):
    handler_name = "process_order"
    handler_version = "1.0.0"

    def call(self, context: StepContext) -> StepHandlerResult:
        # Access input data from the task context
        input_data = context.input_data  # noqa: F841 - the chapter's handler as it is

        # Access results from upstream dependency steps
        prev_result = context.get_dependency_result("previous_step_name")  # noqa: F841 - likewise

        result = {
            "processed": True,
            "handler": "process_order",
        }

        return StepHandlerResult.success(result=result)


class Passthrough(StepHandler):
    def call(self, context: StepContext) -> StepHandlerResult:
        given = dict(context.step_config)
        return self.success(**given) if given.pop("success") else self.failure(**given)


class ThrowPermanent(StepHandler):
    def call(self, context: StepContext) -> StepHandlerResult:
        raise PermanentError("no", metadata={"k": 1})


class ThrowRetryable(StepHandler):
    def call(self, context: StepContext) -> StepHandlerResult:
        raise RetryableError("later")


class ThrowValidation(StepHandler):
    def call(self, context: StepContext) -> StepHandlerResult:
        raise ValidationError("invalid")


class ThrowGeneric(StepHandler):
    def call(self, context: StepContext) -> StepHandlerResult:
        raise RuntimeError((context.get_config("message") or "boom") * (context.get_config("repeat") or 1))


class MultiMethod(StepHandler):
    def call(self, context: StepContext) -> StepHandlerResult:
        return self.success({"method": "call"})

    def refund(self, context: StepContext) -> StepHandlerResult:
        return self.success({"method": "refund"})


class BadJson(StepHandler):
    def call(self, context: StepContext) -> StepHandlerResult:
        return self.success({"value": object()})


class DecisionPoint(DecisionMixin, StepHandler):
    def call(self, context: StepContext) -> StepHandlerResult:
        config = context.step_config
        if "fail" in config:
            return self.decision_failure(config["fail"])
        if "skip" in config:
            return self.skip_branches(config["skip"])
        return self.decision_success(config["steps"], config.get("routing_context"))


class Analyzer(Batchable, StepHandler):
    def call(self, context: StepContext) -> StepHandlerResult:
        outcome = self.create_batch_outcome(context.get_config("total"), context.get_config("batch_size"))
        return self.batch_analyzer_success(outcome, worker_template_name="w")


class BatchWorker(Batchable, StepHandler):
    def call(self, context: StepContext) -> StepHandlerResult:
        return self.batch_worker_success(**{f"items_{name}": count for name, count in context.step_config.items()})


class NoOp(Batchable, StepHandler):
    def call(self, context: StepContext) -> StepHandlerResult:
        return self.handle_no_op_worker(context) or self.success({"no_op": False})


class Checkpoint(Batchable, StepHandler):
    def call(self, context: StepContext) -> StepHandlerResult:
        config = context.step_config
        return self.checkpoint_yield(config["cursor"], config["items_processed"], config.get("accumulated"))


@step_handler("dsl_returns")
def dsl_returns(context: StepContext) -> Any:
    return context.get_config("value")


@step_handler("dsl_returns_result")
def dsl_returns_result() -> StepHandlerResult:
    return StepHandlerResult.success({"made": "by hand"}, {"m": 1})


@step_handler("dsl_throw_permanent")
def dsl_throw_permanent() -> None:
    raise PermanentError("no", metadata={"k": 1})


@step_handler("dsl_throw_retryable")
def dsl_throw_retryable() -> None:
    raise RetryableError("later")


@step_handler("dsl_throw_generic")
def dsl_throw_generic() -> None:
    raise RuntimeError("boom")


@step_handler("dsl_inject")
@depends_on(cart="validate", gone="absent")
@inputs("order_id", "missing")
def dsl_inject(cart: Any, gone: Any, order_id: Any, missing: Any) -> dict[str, Any]:
    return {"cart": cart, "gone": gone, "order_id": order_id, "missing": missing}


@decision_handler("dsl_decision")
def dsl_decision(context: StepContext) -> Decision:
    config = context.step_config
    if "skip" in config:
        return Decision.skip(config["skip"])
    return Decision.route(config["steps"], **config.get("routing_context", {}))


@batch_analyzer("dsl_analyzer", worker_template="w")
def dsl_analyzer(context: StepContext) -> BatchConfig:
    return BatchConfig(context.get_config("total"), context.get_config("batch_size"))


def fixture_handlers() -> HandlerRegistry:
    """A registry with all of them."""
    registry = HandlerRegistry()
    for name, handler in {
        "echo": Echo,
        "seed_process_order": ProcessOrderHandler,
        "passthrough": Passthrough,
        "throw_permanent": ThrowPermanent,
        "throw_retryable": ThrowRetryable,
        "throw_validation": ThrowValidation,
        "throw_generic": ThrowGeneric,
        "multi_method": MultiMethod,
        "bad_json": BadJson,
        "decision": DecisionPoint,
        "analyzer": Analyzer,
        "batch_worker": BatchWorker,
        "no_op": NoOp,
        "checkpoint": Checkpoint,
        "dsl_returns": dsl_returns,
        "dsl_returns_result": dsl_returns_result,
        "dsl_throw_permanent": dsl_throw_permanent,
        "dsl_throw_retryable": dsl_throw_retryable,
        "dsl_throw_generic": dsl_throw_generic,
        "dsl_inject": dsl_inject,
        "dsl_decision": dsl_decision,
        "dsl_analyzer": dsl_analyzer,
    }.items():
        registry.register(name, handler)
    return registry
