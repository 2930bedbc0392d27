"""One meaning for every outcome, whether the handler is a class or a decorated function."""

import functools

import pydantic
import pytest

from tasker_core import errors, exceptions
from tasker_core.registry import MethodDispatchWrapper
from tasker_core.step_handler import StepHandler, step_handler
from tasker_core.step_handler.invocation import (
    failure_from_exception,
    is_async,
    result_from_return_value,
)
from tasker_core.types import StepHandlerResult


class Unpaid(errors.TaskerError):
    pass


class Vendor(Exception):
    retryable = False
    error_type = "vendor_error"
    error_code = "V1"
    retry_after = 2.5
    metadata = {"k": 1}  # noqa: RUF012 - as third-party exceptions do


class Misleading(Exception):
    retryable = "yes"
    error_type = 5
    error_code = 7
    retry_after = True
    metadata = "text"


class Model(pydantic.BaseModel):
    n: int


def pydantic_error():
    try:
        Model(n="x")
    except pydantic.ValidationError as error:
        return error


OUTCOMES = [
    (errors.PermanentError("m"), "permanent_error", False),
    (errors.PermanentError("m", retryable=True), "permanent_error", False),
    (errors.NotFoundError("m"), "permanent_error", False),
    (errors.ConfigurationError("m"), "permanent_error", False),
    (errors.ValidationError("m"), "validation_error", False),
    (errors.RetryableError("m"), "retryable_error", True),
    (errors.RetryableError("m", retryable=False), "retryable_error", True),
    (errors.NetworkError("m"), "retryable_error", True),
    (errors.TimeoutError("m"), "timeout", True),
    (errors.RetryableError("m", error_type="quota"), "quota", True),
    (errors.PermanentError("m", error_type="timeout"), "timeout", False),
    (Unpaid("m"), "handler_error", True),
    (Unpaid("m", retryable=False), "handler_error", False),
    (errors.StepExecutionError("m"), "step_execution_error", True),
    (errors.StepExecutionError("m", "custom", retryable=False), "custom", False),
    (exceptions.TaskerError("m"), "handler_error", True),
    (Vendor("m"), "vendor_error", False),
    (Misleading("m"), "handler_error", True),
    (ValueError("m"), "handler_error", True),
    (TimeoutError("m"), "handler_error", True),
    (pydantic_error(), "permanent_error", False),
]


@pytest.mark.parametrize(("error", "error_type", "retryable"), OUTCOMES, ids=lambda v: type(v).__name__)
def test_an_exception_means_the_same_for_functions_and_classes(make_context, error, error_type, retryable):
    @step_handler("h")
    def function():
        raise error

    class Handler(StepHandler):
        def call(self, context):
            raise error

    from_function = function._handler_class().call(make_context())
    with pytest.raises(type(error)) as escaped:
        Handler().call(make_context())
    from_class = failure_from_exception(escaped.value)

    for result in (from_function, from_class):
        assert (result.success, result.error_type, result.retryable) == (False, error_type, retryable)
        assert result.error_message == str(error)
        assert result.metadata["exception_class"] == type(error).__name__


def test_what_an_error_says_of_itself_is_kept():
    error = errors.RateLimitError("m", metadata={"a": 1}, context={"b": 2}, error_code="E7", retry_after=30)
    result = failure_from_exception(error)
    assert result.error_code == "E7"
    assert result.metadata == {
        "exception_class": "RateLimitError",
        "a": 1,
        "b": 2,
        "error_code": "E7",
        "retry_after": 30,
        "retry_after_seconds": 30,
    }


def test_any_exception_may_carry_the_same_attributes():
    result = failure_from_exception(Vendor("m"))
    assert result.error_code == "V1"
    assert result.metadata == {"exception_class": "Vendor", "k": 1, "retry_after_seconds": 2.5}


def test_attributes_of_the_wrong_type_are_ignored():
    result = failure_from_exception(Misleading("m"))
    assert result.error_code is None
    assert set(result.metadata) == {"exception_class", "exception_type", "traceback"}


def test_an_unexpected_exception_brings_its_traceback():
    try:
        {}["missing"]
    except KeyError as error:
        result = failure_from_exception(error)
    assert result.metadata["exception_type"] == "KeyError"
    assert '{}["missing"]' in result.metadata["traceback"]


def test_an_exception_without_a_message_is_named_by_its_class():
    assert failure_from_exception(RuntimeError()).error_message == "RuntimeError"


def test_an_exception_that_cannot_be_printed_is_named_by_its_class():
    class Unprintable(Exception):
        def __str__(self):
            raise RuntimeError("cannot be printed")

    result = failure_from_exception(Unprintable())
    assert (result.error_message, result.retryable) == ("Unprintable", True)
    assert "Unprintable" in result.metadata["traceback"]


def test_a_result_object_is_passed_on_unchanged():
    result = StepHandlerResult.failure("m")
    assert result_from_return_value(result) is result


def test_keys_that_are_no_strings_are_rejected():
    with pytest.raises(pydantic.ValidationError):
        result_from_return_value({1: "a"})


class Both(StepHandler):
    def call(self, context):
        return self.success()

    async def later(self, context):
        return self.success()


class Later(StepHandler):
    async def call(self, context):
        return self.success()


def test_async_is_recognised_through_method_dispatch():
    assert not is_async(Both())
    assert is_async(Later())
    assert is_async(MethodDispatchWrapper(Both(), "later"))
    assert not is_async(MethodDispatchWrapper(Later(), "config_schema"))


def test_async_is_recognised_in_decorated_functions():
    @step_handler("h")
    async def later():
        return None

    @step_handler("h")
    def now():
        return None

    assert is_async(later._handler_class())
    assert not is_async(now._handler_class())


def test_a_plain_wrapper_around_an_async_call_is_not_async():
    class Wrapped(Later):
        @functools.wraps(Later.call)
        def call(self, context):
            return super().call(context)

    assert not is_async(Wrapped())
