from enum import Enum
from uuid import uuid4

import pydantic
import pytest

from tasker_core.types import (
    BootstrapConfig,
    ErrorType,
    StepError,
    StepExecutionResult,
    StepHandlerResult,
)


def test_success_is_a_factory_on_the_class_and_a_bool_on_an_instance():
    assert StepHandlerResult.success({"a": 1}).success is True
    assert StepHandlerResult.failure("no").success is False


@pytest.mark.parametrize("build", [StepHandlerResult.success, lambda: StepHandlerResult.success(None)])
def test_success_without_a_result_is_empty(build):
    assert build().result == {}


def test_success_takes_its_result_by_position_or_keyword():
    assert StepHandlerResult.success({"a": 1}, {"m": 2}) == StepHandlerResult.success(
        result={"a": 1}, metadata={"m": 2}
    )


def test_a_result_that_is_no_mapping_is_rejected():
    with pytest.raises(pydantic.ValidationError):
        StepHandlerResult.success([1, 2])


def test_failure_defaults_to_a_retryable_handler_error():
    result = StepHandlerResult.failure("bad")
    assert (result.error_type, result.retryable, result.result, result.error_code) == (
        "handler_error",
        True,
        None,
        None,
    )


class OldStyle(str, Enum):  # noqa: UP042 - applications still write enums this way
    OWN = "own"


def test_enum_error_types_are_stored_as_plain_strings():
    assert type(StepHandlerResult.failure("bad", OldStyle.OWN).error_type) is str
    assert StepHandlerResult.failure("bad", OldStyle.OWN).error_type == "own"
    result = StepHandlerResult.failure("bad", ErrorType.TIMEOUT, False, {"f": 1}, "E42")
    assert type(result.error_type) is str
    assert (result.error_type, result.metadata, result.error_code) == ("timeout", {"f": 1}, "E42")
    assert StepHandlerResult.failure("bad", "my_own").error_type == "my_own"


def test_the_outcome_may_be_given_and_dumped_under_either_name():
    assert StepHandlerResult(success=True) == StepHandlerResult(is_success=True)
    result = StepHandlerResult(success=True)
    assert result.model_dump()["is_success"] is True
    assert result.model_dump(by_alias=True)["success"] is True
    assert result.is_success_result()
    assert not result.is_failure_result()


def test_a_subclass_builds_its_own_kind():
    class Special(StepHandlerResult):
        pass

    assert type(Special.success({})) is Special
    assert type(Special.failure("m")) is Special


def test_error_types_know_the_standard_and_the_usually_retryable_ones():
    assert ErrorType.is_standard("validation_error")
    assert not ErrorType.is_standard("VALIDATION_ERROR")
    assert [each for each in ErrorType if ErrorType.is_typically_retryable(each)] == [
        ErrorType.RETRYABLE_ERROR,
        ErrorType.TIMEOUT,
    ]


@pytest.mark.parametrize(("retryable", "status"), [(True, "retryable_error"), (False, "permanent_error")])
def test_a_failed_executions_status_says_whether_to_retry(retryable, status):
    error = StepError(error_type="x", message="m", retryable=retryable)
    result = StepExecutionResult.failure_result(uuid4(), uuid4(), error, 5, "w")
    assert (result.success, result.status, result.result, result.error) == (False, status, None, error)


def test_a_successful_execution_is_completed():
    result = StepExecutionResult.success_result(uuid4(), uuid4(), {"a": 1}, 5, "w")
    assert (result.success, result.status, result.result) == (True, "completed", {"a": 1})


@pytest.mark.parametrize("wrong", [{"unknown": 1}, {"log_level": "loud"}])
def test_a_wrong_worker_setting_is_rejected(wrong):
    with pytest.raises(pydantic.ValidationError):
        BootstrapConfig(**wrong)
