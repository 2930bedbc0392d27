import pytest

from tasker_core.step_handler import StepHandler
from tasker_core.types import ErrorType


class Named(StepHandler):
    handler_name = "named"
    handler_version = "2.1.0"

    def call(self, context):
        return self.success()


class Unnamed(StepHandler):
    def call(self, context):
        return self.success()


def test_a_handler_is_known_by_its_name_or_else_its_class():
    assert (Named().name, Named().version) == ("named", "2.1.0")
    assert (Unnamed().name, Unnamed().version) == ("Unnamed", "1.0.0")
    assert repr(Named()) == "Named(name='named', version='2.1.0')"
    assert (Named().capabilities, Named().config_schema()) == (["process"], None)


def test_a_handler_must_implement_call():
    with pytest.raises(TypeError, match="call"):
        StepHandler()


@pytest.mark.parametrize("empty", [None, {}, []])
def test_an_empty_success_has_an_empty_result(empty):
    assert Named().success(empty).result == {}


def test_success_and_failure_pass_everything_on():
    assert Named().success({"a": 1}, {"m": 1}).metadata == {"m": 1}
    failure = Named().failure("m", ErrorType.VALIDATION_ERROR, False, {"k": 1}, "E")
    assert (failure.error_type, failure.retryable, failure.metadata, failure.error_code) == (
        "validation_error",
        False,
        {"k": 1},
        "E",
    )
