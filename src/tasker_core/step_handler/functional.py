"""Handlers from plain functions.

    @step_handler("charge_card")
    @depends_on(cart=("validate_cart", Cart))
    @inputs("payment_token")
    def charge_card(cart, payment_token, context):
        return {"charge_id": ...}

A handler decorator returns the function itself, so tests call it directly, and attaches a
`StepHandler` class that fills its parameters from the step's context, wraps what it returns
(`invocation.result_from_return_value`) and turns an exception into a failure
(`invocation.failure_from_exception`). Functions may be ``async def``.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeAlias, TypeVar, runtime_checkable

from tasker_core.batch_processing.batchable import DEFAULT_WORKER_TEMPLATE, Batchable
from tasker_core.step_handler.base import StepHandler, StepHandlerCallResult
from tasker_core.step_handler.invocation import failure_from_exception, result_from_return_value
from tasker_core.step_handler.mixins.api import APIMixin
from tasker_core.step_handler.mixins.decision import Decision, DecisionMixin
from tasker_core.types import BatchAnalyzerOutcome, DecisionPointOutcome, StepContext, StepHandlerResult

__all__ = [
    "BatchConfig",
    "Decision",
    "FunctionalHandler",
    "HandlerDecorator",
    "api_handler",
    "batch_analyzer",
    "batch_worker",
    "decision_handler",
    "declared_handler_class",
    "depends_on",
    "handler_class_of",
    "inputs",
    "step_handler",
]

F = TypeVar("F", bound=Callable[..., Any])

HandlerDecorator: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]

# Decorated functions by handler name; the last one declared wins.
_declared: dict[str, type[StepHandler]] = {}


@runtime_checkable
class FunctionalHandler(Protocol):
    """A function that a handler decorator has been applied to."""

    __name__: str
    _handler_class: type[StepHandler]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function as it was written."""


@dataclass
class BatchConfig:
    """What a `batch_analyzer` function returns: split ``total_items`` into batches.

    ``metadata`` is kept with the outcome; its ``reason`` explains an empty one.
    """

    total_items: int
    batch_size: int
    metadata: dict[str, Any] = field(default_factory=dict)


def step_handler(name: str, version: str = "1.0.0") -> Callable[[F], F]:
    """Make a function the handler that templates call ``name``.

    It is called with its declared dependencies and inputs as keywords, and with the
    `StepContext` if it has a parameter ``context`` or ``_context``.
    """
    return _handler_decorator(_FunctionHandler, name, version)


def decision_handler(name: str, version: str = "1.0.0") -> Callable[[F], F]:
    """Make a function a decision step's handler.

    It returns a `Decision`, a `DecisionPointOutcome`, or the names of the steps to go on with.
    """
    return _handler_decorator(_DecisionFunctionHandler, name, version)


def batch_analyzer(name: str, worker_template: str | None = None, version: str = "1.0.0") -> Callable[[F], F]:
    """Make a function the handler that divides a batch.

    It returns a `BatchConfig` or a `BatchAnalyzerOutcome`. ``worker_template`` names the
    template's batch worker step; without it the engine finds the one that depends on this step.
    """
    return _handler_decorator(
        _BatchAnalyzerFunctionHandler,
        name,
        version,
        {"worker_template": worker_template or DEFAULT_WORKER_TEMPLATE},
    )


def batch_worker(
    name: str,
    version: str = "1.0.0",
    *,
    analyzer_step: str | None = None,  # noqa: ARG001 - says in code what the template already says
) -> Callable[[F], F]:
    """Make a function the handler of one batch.

    It must have a parameter ``batch_context``: a `BatchWorkerContext`, or None if the step has
    no batch data. ``analyzer_step`` is for readers only.
    """
    return _handler_decorator(_BatchWorkerFunctionHandler, name, version)


def api_handler(
    name: str,
    base_url: str,
    version: str = "1.0.0",
    timeout: float = 30.0,
    default_headers: dict[str, str] | None = None,
) -> Callable[[F], F]:
    """Make a function a handler that calls an HTTP API.

    It must have a parameter ``api``, which has the methods of `APIMixin`. ``timeout`` is in
    seconds.
    """
    return _handler_decorator(
        _ApiFunctionHandler,
        name,
        version,
        {"base_url": base_url, "default_timeout": timeout, "default_headers": default_headers or {}},
    )


def depends_on(**steps: Any) -> Callable[[F], F]:
    """Fill parameters with earlier steps' results.

    Each keyword is a parameter. Its value is a step name, a pair of a step name and a pydantic
    model to read the result into, or only a model if step and parameter have the same name. A
    missing result is None.

    Raises ``TypeError`` for a value of any other form.
    """
    names: dict[str, str] = {}
    models: dict[str, type] = {}
    for parameter, source in steps.items():
        match source:
            case str(step):
                names[parameter] = step
            case (str(step), type() as model):
                names[parameter], models[parameter] = step, model
            case type():
                names[parameter], models[parameter] = parameter, source
            case _:
                raise TypeError(f'depends_on({parameter}=...) takes "step", ("step", Model) or Model, got {source!r}')

    def decorate(function: F) -> F:
        declared = vars(function)
        declared["_depends_on"] = {**declared.get("_depends_on", {}), **names}
        declared["_dep_models"] = {**declared.get("_dep_models", {}), **models}
        return function

    return decorate


def inputs(*keys: Any) -> Callable[[F], F]:
    """Fill parameters from the task's context.

    ``inputs("a", "b")`` fills the parameters ``a`` and ``b``, with None for what is absent.
    ``inputs(Model)`` fills one parameter ``inputs`` with a pydantic model made of the keys that
    the model has fields for; invalid input fails the step for good.

    Raises ``TypeError`` for arguments of any other form.
    """
    model = keys[0] if len(keys) == 1 and isinstance(keys[0], type) else None
    if model is None and not all(isinstance(key, str) for key in keys):
        raise TypeError(f'inputs(...) takes "key", ... or one Model, got {keys!r}')

    def decorate(function: F) -> F:
        declared = vars(function)
        if model is not None:
            declared["_input_model"] = model
        else:
            declared["_inputs"] = [*declared.get("_inputs", []), *keys]
        return function

    return decorate


def handler_class_of(candidate: object) -> type[StepHandler] | None:
    """The handler class a decorator attached to a function; None for anything else."""
    if isinstance(candidate, type) or not callable(candidate):
        return None
    # Discovery shows this every object of a module; getattr could run code of the object's.
    handler_class = inspect.getattr_static(candidate, "_handler_class", None)
    if isinstance(handler_class, type) and issubclass(handler_class, StepHandler):
        return handler_class
    return None


def declared_handler_class(name: str) -> type[StepHandler] | None:
    """The handler class of the decorated function of that name, in any module imported so far."""
    return _declared.get(name)


class _FunctionHandler(StepHandler):
    """Calls the function it was made from."""

    function: ClassVar[Callable[..., Any]]
    context_parameter: ClassVar[str | None]

    def call(self, context: StepContext) -> StepHandlerCallResult:
        try:
            value = type(self).function(**self.arguments(context))
            # Another decorator may hide an async function behind a plain one.
            return self._awaited(value) if inspect.isawaitable(value) else self.wrap(value)
        except Exception as error:  # noqa: BLE001 - any exception is an outcome of the step
            return failure_from_exception(error)

    async def call_async(self, context: StepContext) -> StepHandlerResult:
        try:
            return self.wrap(await type(self).function(**self.arguments(context)))
        except Exception as error:  # noqa: BLE001 - any exception is an outcome of the step
            return failure_from_exception(error)

    async def _awaited(self, value: Awaitable[Any]) -> StepHandlerResult:
        try:
            return self.wrap(await value)
        except Exception as error:  # noqa: BLE001 - any exception is an outcome of the step
            return failure_from_exception(error)

    def arguments(self, context: StepContext) -> dict[str, Any]:
        # Read on every call, so that depends_on and inputs may also stand above the handler decorator.
        declared = vars(type(self).function)
        arguments = _dependency_arguments(declared, context) | _input_arguments(declared, context)
        if self.context_parameter is not None:
            arguments[self.context_parameter] = context
        return arguments

    def wrap(self, value: Any) -> StepHandlerResult:
        return result_from_return_value(value)


class _DecisionFunctionHandler(DecisionMixin, _FunctionHandler):
    def wrap(self, value: Any) -> StepHandlerResult:
        if isinstance(value, Decision | DecisionPointOutcome):
            return self.decision_success(value)
        if isinstance(value, list | tuple) and all(isinstance(step, str) for step in value):
            return self.decision_success(list(value))
        return super().wrap(value)


class _BatchAnalyzerFunctionHandler(_FunctionHandler, Batchable):
    worker_template: ClassVar[str]

    def wrap(self, value: Any) -> StepHandlerResult:
        if isinstance(value, BatchConfig):
            value = self.create_batch_outcome(value.total_items, value.batch_size, batch_metadata=value.metadata)
        if isinstance(value, BatchAnalyzerOutcome):
            return self.batch_analyzer_success(value, worker_template_name=self.worker_template)
        return super().wrap(value)


class _BatchWorkerFunctionHandler(_FunctionHandler, Batchable):
    def arguments(self, context: StepContext) -> dict[str, Any]:
        return super().arguments(context) | {"batch_context": self.get_batch_context(context)}


class _ApiFunctionHandler(APIMixin, _FunctionHandler):
    def arguments(self, context: StepContext) -> dict[str, Any]:
        return super().arguments(context) | {"api": self}


def _handler_decorator(
    base: type[_FunctionHandler], name: str, version: str, attributes: Mapping[str, Any] | None = None
) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        parameters = inspect.signature(function).parameters
        namespace: dict[str, Any] = {
            "__module__": function.__module__,
            "__qualname__": function.__qualname__,
            "__doc__": function.__doc__,
            "handler_name": name,
            "handler_version": version,
            # Without staticmethod an attribute access would turn the function into a method.
            "function": staticmethod(function),
            "context_parameter": next((p for p in ("context", "_context") if p in parameters), None),
            **(attributes or {}),
        }
        if inspect.iscoroutinefunction(function):
            namespace["call"] = base.call_async
        handler_class = type(function.__name__, (base,), namespace)
        vars(function)["_handler_class"] = handler_class
        _declared[name] = handler_class
        return function

    return decorate


def _dependency_arguments(declared: Mapping[str, Any], context: StepContext) -> dict[str, Any]:
    models = declared.get("_dep_models", {})
    arguments: dict[str, Any] = {}
    for parameter, step in declared.get("_depends_on", {}).items():
        result = context.get_dependency_result(step)
        # A model such as plain dict has nothing to validate with: the result is passed as it is.
        validate = getattr(models.get(parameter), "model_validate", None)
        arguments[parameter] = validate(result) if validate and isinstance(result, dict) else result
    return arguments


def _input_arguments(declared: Mapping[str, Any], context: StepContext) -> dict[str, Any]:
    model = declared.get("_input_model")
    if model is None:
        return {key: context.get_input(key) for key in declared.get("_inputs", [])}
    # Absent and null differ for a field with a default, and get_input cannot tell them apart.
    given = context.input_data
    values = {
        name: context.get_input(name)
        for name, model_field in model.model_fields.items()
        if model_field.is_required() or not isinstance(given, dict) or name in given
    }
    return {"inputs": model(**values)}
