import pytest

import tasker_core
from tasker_core import errors, exceptions
from tasker_core.errors import error_classifier


def test_code_wait_and_context_are_merged_into_the_metadata():
    error = errors.RetryableError(message="m", metadata={"a": 1}, context={"b": 2}, error_code="E", retry_after=5)
    assert error.metadata == {"a": 1, "b": 2, "error_code": "E", "retry_after": 5}
    assert (str(error), error.message, error.error_code, error.retry_after) == ("m", "m", "E", 5)
    assert error.to_dict() == {
        "error_type": "RetryableError",
        "message": "m",
        "retryable": True,
        "metadata": error.metadata,
    }


def test_callers_metadata_is_left_alone():
    metadata = {"a": 1}
    errors.PermanentError("m", metadata=metadata, error_code="E")
    assert metadata == {"a": 1}


@pytest.mark.parametrize(
    ("base", "names"),
    [
        (
            errors.RetryableError,
            "TimeoutError NetworkError RateLimitError ServiceUnavailableError ResourceContentionError",
        ),
        (
            errors.PermanentError,
            "ValidationError NotFoundError AuthenticationError AuthorizationError "
            "ConfigurationError BusinessLogicError",
        ),
    ],
)
def test_every_error_has_its_place_in_the_hierarchy(base, names):
    for name in names.split():
        error_class = getattr(errors, name)
        assert issubclass(error_class, base)
        assert error_class("m").retryable is base.retryable


def test_a_class_default_can_be_overridden():
    assert errors.TaskerError("m").retryable is True
    assert errors.TaskerError("m", retryable=False).retryable is False


def test_namesakes_of_other_libraries_stay_distinct():
    assert not issubclass(errors.TimeoutError, TimeoutError)
    assert not issubclass(errors.ValidationError, ValueError)
    assert tasker_core.TaskerError is exceptions.TaskerError is not errors.TaskerError
    assert tasker_core.StepTimeoutError is errors.TimeoutError
    assert tasker_core.StepValidationError is errors.ValidationError
    assert issubclass(exceptions.WorkerBootstrapError, RuntimeError)


@pytest.mark.parametrize(
    ("error", "retryable", "reason"),
    [
        (errors.PermanentError("m"), False, "explicit_attribute"),
        (errors.PermanentError("m", retryable=True), True, "explicit_attribute"),
        (ValueError("m"), False, "permanent_class"),
        (KeyError("m"), False, "permanent_class"),
        (NotImplementedError("m"), False, "permanent_class"),
        (ModuleNotFoundError("m"), False, "permanent_class"),
        (ConnectionResetError("m"), True, "retryable_class"),
        (TimeoutError("m"), True, "retryable_class"),
        (FileNotFoundError("m"), True, "retryable_class"),
        (RuntimeError("m"), True, "default"),
    ],
)
def test_classification_goes_by_attribute_then_class_then_default(error, retryable, reason):
    classifier = errors.ErrorClassifier()
    assert classifier.classify(error) == {
        "error_type": type(error).__name__,
        "retryable": retryable,
        "classification": reason,
    }
    assert errors.is_retryable(error) is retryable
    assert errors.is_permanent(error) is not retryable


def test_the_default_can_be_changed():
    assert errors.ErrorClassifier(default_retryable=False).permanent(RuntimeError())


def test_one_classifier_is_shared(monkeypatch):
    monkeypatch.setattr(error_classifier, "_default_classifier", None)
    assert errors.get_classifier() is errors.get_classifier()
