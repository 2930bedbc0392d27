"""One attempt: from a leased step to its report, without any waiting of its own."""

import asyncio
import copy
import inspect
import socket
import time
from collections.abc import Callable
from typing import Any

from tasker_core import serialization
from tasker_core.handler import HandlerRegistry
from tasker_core.registry import HandlerDefinition, ResolverNotFoundError
from tasker_core.step_handler.invocation import Handler, failure_from_exception, result_from_return_value
from tasker_core.step_source import LeasedStep, StepReport
from tasker_core.types import ErrorType, FfiStepEvent, StepContext, StepHandlerResult

#: Longest text of an error message that is kept, in characters.
_MESSAGE_LIMIT = 10_000

#: Error type of a step whose result the engine could not record.
RESULT_REFUSED = "result_refused"

#: The same for a value that has no JSON form.
_SERIALIZATION_MESSAGE_LIMIT = 500


def resolve(registry: HandlerRegistry, step: LeasedStep) -> Handler | StepHandlerResult:
    """Return the handler of a step, or the failure that tells why there is none."""
    reference = step.definition["handler"]
    name, method = reference["callable"], reference["method"]
    try:
        handler: Handler | None = registry.resolve(
            HandlerDefinition(name, method, reference["resolver"], _own(reference["initialization"]))
        )
    except ResolverNotFoundError as error:
        return _handler_not_found(f"Handler not found: {name} ({error})")
    if handler is not None:
        return handler
    return _handler_not_found(f"Handler not found: {name}" + (f" with method {method!r}" if method else ""))


def make_context(step: LeasedStep, handler: Handler, is_cancelled: Callable[[], bool]) -> StepContext:
    """Return the context that the handler is called with."""
    task = step.task
    return StepContext.for_execution(
        handler_name=getattr(handler, "name", step.name),
        task_uuid=task.task_uuid,
        step_uuid=step.step_uuid,
        correlation_id=task.correlation_id,
        input_data=step.context(),
        dependency_results=step.dependency_results,
        dependency_result=step.dependency_result,
        step_config=_own(step.definition["handler"]["initialization"]),
        step_inputs=step.step_inputs(),
        retry_count=step.attempt - 1,
        max_retries=step.definition["retry"]["max_attempts"],
        checkpoint=step.saved_checkpoint(),
        make_event=lambda: _event(step),
        is_cancelled=is_cancelled,
    )


async def run_async(step: LeasedStep, handler: Handler, context: StepContext) -> StepReport:
    """Run a handler on the event loop.

    Raises:
        asyncio.CancelledError: the attempt was cancelled from outside.
    """
    started = time.perf_counter()
    try:
        result = result_from_return_value(await _awaited(handler.call(context)))
    except asyncio.CancelledError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a handler raises is the step's failure, not ours
        result = failure_from_exception(error)
    return report(step, result, started)


def run_sync(step: LeasedStep, handler: Handler, context: StepContext) -> StepReport:
    """Run a handler on the calling thread."""
    started = time.perf_counter()
    try:
        value = handler.call(context)
        if inspect.isawaitable(value):
            value = asyncio.run(_awaited(value))
        result = result_from_return_value(value)
    except BaseException as error:  # noqa: BLE001 - even SystemExit in a handler must not end the worker
        result = failure_from_exception(error)
    return report(step, result, started)


def report(step: LeasedStep, result: StepHandlerResult, started: float | None = None) -> StepReport:
    """Return the report of an attempt that ended with ``result``; ``started`` is a ``time.perf_counter`` value."""
    elapsed = 0 if started is None else int((time.perf_counter() - started) * 1000)
    try:
        # Through JSON and back: what the engine stores is what later steps will see.
        metadata = serialization.loads(serialization.dumps(result.metadata)) if result.metadata else {}
        encoded = serialization.dumps(result.result or {}) if result.is_success else None
    except serialization.SerializationError as error:
        reason = str(error)[:_SERIALIZATION_MESSAGE_LIMIT]
        metadata, encoded = {"metadata_dropped": reason}, None
        if result.is_success:
            result, metadata = _failure("SERIALIZATION_ERROR", reason), {}
    if result.is_success:
        return StepReport(step.key, True, encoded, metadata, None, elapsed)
    error_object = {
        "error_type": _printable(result.error_type or "unknown"),
        "message": _printable(result.error_message or "Unknown error"),
        "retryable": result.retryable,
    }
    if result.error_code:
        error_object["error_code"] = _printable(result.error_code)
    return StepReport(step.key, False, None, metadata, error_object, elapsed)


def timed_out(step: LeasedStep, limit: float) -> StepReport:
    """Return the report of an attempt that ran into its time limit of ``limit`` seconds."""
    message = f"the handler ran longer than its limit of {limit * 1000:.0f} ms (timeout_seconds)"
    return _without_handler(step, "handler_timeout", message, retryable=True)


def cut_short(step: LeasedStep) -> StepReport:
    """Return the report of an attempt that a stopping worker could not wait for; it may start again at once."""
    message = f"the worker on {socket.gethostname()} stopped before the handler was done"
    return _without_handler(step, "worker_shutdown", message, retryable=True, metadata={"retry_after_seconds": 0})


def cancelled_itself(step: LeasedStep) -> StepReport:
    """Return the report of an attempt whose handler was cancelled by something within itself."""
    return _without_handler(step, "handler_error", "the handler was cancelled", retryable=True)


def refused(step: LeasedStep, error: Exception) -> StepReport:
    """Return the report to send instead of one that the engine cannot take."""
    message = f"the result cannot be recorded: {_printable(str(error))}"
    return _without_handler(step, RESULT_REFUSED, message, retryable=False)


def _without_handler(
    step: LeasedStep, error_type: str, message: str, *, retryable: bool, metadata: dict[str, Any] | None = None
) -> StepReport:
    error = {"error_type": error_type, "message": message, "retryable": retryable}
    return StepReport(step.key, success=False, metadata=metadata or {}, error=error)


def _own(settings: dict[str, Any]) -> dict[str, Any]:
    """Return a copy that a handler may change: the original belongs to all tasks of the template."""
    return copy.deepcopy(settings) if settings else {}


async def _awaited(value: object) -> object:
    return await value if inspect.isawaitable(value) else value


def _event(step: LeasedStep) -> FfiStepEvent:
    task = step.task
    return FfiStepEvent(
        event_id=f"{step.step_uuid}:{step.attempt}",
        task_uuid=str(task.task_uuid),
        step_uuid=str(step.step_uuid),
        correlation_id=str(task.correlation_id),
        task_correlation_id=str(task.correlation_id),
        parent_correlation_id=str(task.parent_correlation_id) if task.parent_correlation_id else None,
        task_sequence_step=step.task_sequence_step(),
    )


def _handler_not_found(message: str) -> StepHandlerResult:
    return _failure("handler_not_found", message)


def _failure(error_type: str, message: str) -> StepHandlerResult:
    return StepHandlerResult.failure(message, error_type, retryable=False)


def _printable(text: str | ErrorType) -> str:
    """Return text that can be stored: shortened, NUL and lone surrogates written as escapes."""
    shortened = str(text.value if isinstance(text, ErrorType) else text)[:_MESSAGE_LIMIT]
    return shortened.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")
