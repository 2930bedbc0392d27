"""The base class of handlers."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable
from typing import Any, TypeAlias

from tasker_core.types import ErrorType, StepContext, StepHandlerResult

StepHandlerCallResult: TypeAlias = StepHandlerResult | Awaitable[StepHandlerResult]


class StepHandler(ABC):
    """Does the work of one kind of step.

    Subclasses implement `call`, as ``def`` or ``async def``. ``handler_name`` is what a template's
    ``handler.callable`` refers to; without one the handler is found by its dotted class path.

    An exception may leave `call`; the worker turns it into a failure (see `tasker_core.errors`
    for how to say whether it is worth a retry).
    """

    handler_name: str = ""
    handler_version: str = "1.0.0"

    @abstractmethod
    def call(self, context: StepContext) -> StepHandlerCallResult:
        """Execute the step."""

    @property
    def name(self) -> str:
        """``handler_name``, or the class's name if that is empty."""
        return self.handler_name or type(self).__name__

    @property
    def version(self) -> str:
        """``handler_version``."""
        return self.handler_version

    @property
    def capabilities(self) -> list[str]:
        """What the handler can do, for people and tools; the engine does not read it."""
        return ["process"]

    def config_schema(self) -> dict[str, Any] | None:
        """The JSON schema of ``handler.initialization``, for people and tools; None if there is none."""
        return None

    def success(
        self, result: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> StepHandlerResult:
        """Build a successful result; without ``result`` it is empty."""
        return StepHandlerResult.success(result or {}, metadata)

    def failure(
        self,
        message: str,
        error_type: str = ErrorType.HANDLER_ERROR,
        retryable: bool = True,
        metadata: dict[str, Any] | None = None,
        error_code: str | None = None,
    ) -> StepHandlerResult:
        """Build a failure; see `StepHandlerResult.failure`."""
        return StepHandlerResult.failure(message, error_type, retryable, metadata, error_code)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, version={self.version!r})"
