"""The error classes a handler may raise."""

from collections.abc import Mapping
from typing import Any


class TaskerError(Exception):
    """The base of all handler errors.

    - ``retryable``: whether to try again; None takes the class's own answer, which is True here.
    - ``metadata``: kept with the failure. ``error_code``, ``retry_after`` and the items of
      ``context`` are merged into it.
    - ``error_code``: a code of the application's, for operators.
    - ``retry_after``: seconds to wait before the next attempt, instead of the step's own backoff.
    - ``error_type``: recorded instead of the type that follows from the class.
    """

    retryable: bool = True

    def __init__(
        self,
        message: str = "",
        *,
        retryable: bool | None = None,
        metadata: Mapping[str, Any] | None = None,
        error_code: str | None = None,
        retry_after: float | None = None,
        context: Mapping[str, Any] | None = None,
        error_type: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        if retryable is not None:
            self.retryable = retryable
        self.error_code = error_code
        self.retry_after = retry_after
        self.error_type = error_type
        self.metadata: dict[str, Any] = {**(metadata or {}), **(context or {})}
        if error_code is not None:
            self.metadata["error_code"] = error_code
        if retry_after is not None:
            self.metadata["retry_after"] = retry_after

    def to_dict(self) -> dict[str, Any]:
        """The error as a JSON object: ``error_type``, ``message``, ``retryable``, ``metadata``."""
        return {
            "error_type": self.error_type or type(self).__name__,
            "message": self.message,
            "retryable": self.retryable,
            "metadata": self.metadata,
        }


class RetryableError(TaskerError):
    """Something that may well work later. Always retried while attempts are left."""


class TimeoutError(RetryableError):  # noqa: A001 - handlers import it under this name
    """An operation took too long. Not the builtin of this name, nor derived from it."""


class NetworkError(RetryableError):
    """A connection failed."""


class RateLimitError(RetryableError):
    """Another service asked for fewer requests; its answer belongs in ``retry_after``."""


class ServiceUnavailableError(RetryableError):
    """Another service is down for the moment."""


class ResourceContentionError(RetryableError):
    """Something is locked or in use by somebody else."""


class PermanentError(TaskerError):
    """Something no retry can mend. Never retried, even if built with ``retryable=True``."""

    retryable = False


class ValidationError(PermanentError):
    """The step's input is invalid. Not pydantic's class of this name."""


class NotFoundError(PermanentError):
    """Something the step needs does not exist."""


class AuthenticationError(PermanentError):
    """Credentials are missing or wrong."""


class AuthorizationError(PermanentError):
    """The credentials do not allow what was asked."""


class ConfigurationError(PermanentError):
    """The application is set up wrongly."""


class BusinessLogicError(PermanentError):
    """A rule of the business forbids what was asked."""


class StepExecutionError(Exception):
    """A failure whose type and retryability are stated instead of following from a class."""

    def __init__(self, message: str, error_type: str = "step_execution_error", retryable: bool = True) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.retryable = retryable
