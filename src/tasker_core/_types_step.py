"""What one step execution is made of: its event, its result, and the words used for both."""

from enum import StrEnum
from typing import Any, ClassVar, Protocol, Self, overload
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class ResultStatus(StrEnum):
    """How a finished step execution is recorded."""

    SUCCESS = "completed"
    FAILURE = "error"
    RETRYABLE_ERROR = "retryable_error"
    PERMANENT_ERROR = "permanent_error"


class ErrorType(StrEnum):
    """The standard ``error_type`` values; a handler may use any other string as well."""

    PERMANENT_ERROR = "permanent_error"
    RETRYABLE_ERROR = "retryable_error"
    VALIDATION_ERROR = "validation_error"
    TIMEOUT = "timeout"
    HANDLER_ERROR = "handler_error"

    @classmethod
    def is_standard(cls, error_type: str) -> bool:
        """Whether ``error_type`` is one of the members' values."""
        return error_type in cls._value2member_map_

    @classmethod
    def is_typically_retryable(cls, error_type: str) -> bool:
        """Whether a failure of this type usually passes on a later attempt."""
        return error_type in (cls.RETRYABLE_ERROR, cls.TIMEOUT)


class FfiStepEvent(BaseModel):
    """One step handed to a worker, with everything the engine knows about it.

    Immutable: assigning to a field raises ``pydantic.ValidationError``.
    ``task_sequence_step`` is a JSON object with the keys ``task``, ``workflow_step``,
    ``dependency_results`` and ``step_definition``, each of which may be absent.
    """

    model_config = ConfigDict(frozen=True)

    event_id: str
    task_uuid: str
    step_uuid: str
    correlation_id: str
    task_sequence_step: dict[str, Any]
    task_correlation_id: str | None = None
    parent_correlation_id: str | None = None
    trace_id: str | None = None
    span_id: str | None = None


class _SuccessFactory(Protocol):
    def __call__(
        self, result: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> "StepHandlerResult": ...


class _Success:
    """Gives ``success`` its two meanings: a factory on the class, the outcome on a result.

    A plain classmethod would make ``if result.success`` true for every failure.
    """

    @overload
    def __get__(self, instance: None, owner: "type[StepHandlerResult]") -> _SuccessFactory: ...

    @overload
    def __get__(self, instance: "StepHandlerResult", owner: "type[StepHandlerResult]") -> bool: ...

    def __get__(self, instance: "StepHandlerResult | None", owner: "type[StepHandlerResult]") -> _SuccessFactory | bool:
        if instance is not None:
            return instance.is_success

        def success(
            result: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
        ) -> "StepHandlerResult":
            return owner(success=True, result={} if result is None else result, metadata=metadata or {})

        return success


class StepHandlerResult(BaseModel):
    """What a handler hands back: a JSON object on success, a classified error on failure.

    ``StepHandlerResult.success(result=None, metadata=None)`` builds a successful result; a
    ``result`` that is not a mapping raises ``pydantic.ValidationError``. On an instance,
    ``success`` is the outcome as a bool, the same as ``is_success``.

    ``retryable`` matters on failure only: False ends the step however many attempts are left.
    """

    model_config = ConfigDict(populate_by_name=True)

    is_success: bool = Field(alias="success")
    result: dict[str, Any] | None = None
    error_message: str | None = None
    error_type: str | None = None
    error_code: str | None = None
    retryable: bool = True
    metadata: dict[str, Any] = Field(default_factory=dict)

    success: ClassVar[_Success] = _Success()

    @classmethod
    def failure(
        cls,
        message: str,
        error_type: str = ErrorType.HANDLER_ERROR,
        retryable: bool = True,
        metadata: dict[str, Any] | None = None,
        error_code: str | None = None,
    ) -> Self:
        """Build a failure.

        ``error_type`` is an `ErrorType` or any string of your own; ``error_code`` is a code of
        the application's, kept for operators.
        """
        return cls(
            success=False,
            error_message=message,
            error_type=error_type,
            error_code=error_code,
            retryable=retryable,
            metadata=metadata or {},
        )

    def is_success_result(self) -> bool:
        """Whether the handler succeeded."""
        return self.is_success

    def is_failure_result(self) -> bool:
        """Whether the handler failed."""
        return not self.is_success


class StepHandlerCallResult(BaseModel):
    """The short result form of early handlers, kept for code that still names it."""

    success: bool
    result: dict[str, Any] = Field(default_factory=dict)
    error_message: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)


class StepError(BaseModel):
    """Why a step execution failed."""

    error_type: str
    message: str
    stack_trace: str | None = None
    retryable: bool = True
    metadata: dict[str, Any] = Field(default_factory=dict)


class StepExecutionResult(BaseModel):
    """One finished execution as a worker reports it; ``execution_time_ms`` is wall time."""

    step_uuid: UUID
    task_uuid: UUID
    success: bool
    status: str
    execution_time_ms: int
    result: dict[str, Any] | None = None
    error: StepError | None = None
    worker_id: str | None = None
    correlation_id: UUID | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def success_result(
        cls,
        step_uuid: UUID,
        task_uuid: UUID,
        result: dict[str, Any],
        execution_time_ms: int,
        worker_id: str,
        correlation_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Self:
        """Build the report of a successful execution, with status ``completed``."""
        return cls(
            step_uuid=step_uuid,
            task_uuid=task_uuid,
            success=True,
            status=ResultStatus.SUCCESS.value,
            execution_time_ms=execution_time_ms,
            result=result,
            worker_id=worker_id,
            correlation_id=correlation_id,
            metadata=metadata or {},
        )

    @classmethod
    def failure_result(
        cls,
        step_uuid: UUID,
        task_uuid: UUID,
        error: StepError,
        execution_time_ms: int,
        worker_id: str,
        correlation_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Self:
        """Build the report of a failed execution; its status says whether a retry makes sense."""
        status = ResultStatus.RETRYABLE_ERROR if error.retryable else ResultStatus.PERMANENT_ERROR
        return cls(
            step_uuid=step_uuid,
            task_uuid=task_uuid,
            success=False,
            status=status.value,
            execution_time_ms=execution_time_ms,
            error=error,
            worker_id=worker_id,
            correlation_id=correlation_id,
            metadata=metadata or {},
        )
