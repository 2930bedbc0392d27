"""What a worker needs to know about calling a handler: how, and what its outcome means.

Nothing here does I/O or calls the handler. The rules are the same for handler classes and for
decorated functions.
"""

import inspect
import traceback
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Protocol

import pydantic

from tasker_core import errors
from tasker_core.types import ErrorType, StepContext, StepHandlerResult


class Handler(Protocol):
    """Anything with a ``call``: a `StepHandler`, or a wrapper that dispatches to a method."""

    @property
    def call(self) -> Callable[[StepContext], object]:
        """The method that executes a step."""


def is_async(handler: Handler) -> bool:
    """Whether ``handler.call`` is an ``async def`` and so belongs on the event loop.

    Sees through method dispatch. False does not promise a plain value: a ``def`` may still
    return an awaitable, so await what can be awaited.
    """
    call = handler.call
    return _is_coroutine_function(getattr(call, "__func__", call))


@lru_cache(maxsize=1024)
def _is_coroutine_function(function: Callable[..., object]) -> bool:
    """Ask once for each function; workers ask for every step."""
    return inspect.iscoroutinefunction(function)


def result_from_return_value(value: object) -> StepHandlerResult:
    """Turn what a handler returned (and, if it was awaitable, awaited) into its result.

    A `StepHandlerResult` is taken as it is. A dict is the result of a success, a pydantic model
    is dumped to one, None means an empty one, and any other value goes under the key ``result``.

    Raises ``pydantic.ValidationError`` for a dict with keys that are not strings.
    """
    if isinstance(value, StepHandlerResult):
        return value
    if value is None:
        return StepHandlerResult.success()
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        value = dump(mode="json")
    return StepHandlerResult.success(value if isinstance(value, dict) else {"result": value})


def failure_from_exception(error: BaseException) -> StepHandlerResult:
    """Turn an exception that left a handler into the step's failure.

    | Exception | ``error_type`` | ``retryable`` |
    |---|---|---|
    | `errors.ValidationError` | ``validation_error`` | False |
    | other `errors.PermanentError`, pydantic's ``ValidationError`` | ``permanent_error`` | False |
    | `errors.TimeoutError` | ``timeout`` | True |
    | other `errors.RetryableError` | ``retryable_error`` | True |
    | anything else with a boolean ``retryable`` attribute | ``handler_error`` | that |
    | anything else | ``handler_error`` | True |

    A non-empty string attribute ``error_type`` of the exception replaces the one above, and its
    ``error_code`` is kept. The failure's metadata holds the exception's own ``metadata``, its
    class name as ``exception_class``, and ``retry_after`` as ``retry_after_seconds``. An exception
    that nobody raised to report a failure (pydantic's and the last row) is likely a defect, so
    the metadata then has ``exception_type`` and ``traceback`` as well.
    """
    error_type, retryable, deliberate = _classify(error)
    explicit_type = getattr(error, "error_type", None)
    if isinstance(explicit_type, str) and explicit_type:
        error_type = explicit_type
    error_code = getattr(error, "error_code", None)
    return StepHandlerResult.failure(
        _message(error),
        error_type,
        retryable,
        _failure_metadata(error, deliberate),
        error_code if isinstance(error_code, str) else None,
    )


def _classify(error: BaseException) -> tuple[str, bool, bool]:
    """The error type, whether to retry, and whether it was raised to report a failure."""
    match error:
        case errors.ValidationError():
            return ErrorType.VALIDATION_ERROR, False, True
        case errors.PermanentError():
            return ErrorType.PERMANENT_ERROR, False, True
        case errors.TimeoutError():
            return ErrorType.TIMEOUT, True, True
        case errors.RetryableError():
            return ErrorType.RETRYABLE_ERROR, True, True
        case pydantic.ValidationError():
            # The same input is invalid again at the next attempt.
            return ErrorType.PERMANENT_ERROR, False, False
    retryable = getattr(error, "retryable", None)
    if isinstance(retryable, bool):
        return ErrorType.HANDLER_ERROR, retryable, True
    return ErrorType.HANDLER_ERROR, True, False


def _message(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a broken __str__ must not hide that the step failed
        text = ""
    return text or type(error).__name__


def _failure_metadata(error: BaseException, deliberate: bool) -> dict[str, Any]:
    name = type(error).__name__
    metadata: dict[str, Any] = {"exception_class": name}
    if not deliberate:
        metadata["exception_type"] = name
        metadata["traceback"] = "".join(traceback.format_exception(error))
    own_metadata = getattr(error, "metadata", None)
    if isinstance(own_metadata, Mapping):
        metadata.update((str(key), value) for key, value in own_metadata.items())
    retry_after = getattr(error, "retry_after", None)
    if isinstance(retry_after, int | float) and not isinstance(retry_after, bool):
        metadata["retry_after_seconds"] = retry_after
    return metadata
