"""The errors a handler raises to say how its step failed.

- A `RetryableError` is tried again until the step's attempts are used up.
- A `PermanentError` fails the step at once.
- Any other exception counts as retryable, since the engine cannot know better.
"""

from tasker_core.errors.error_classifier import (
    ErrorClassifier,
    get_classifier,
    is_permanent,
    is_retryable,
)
from tasker_core.errors.handler_errors import (
    AuthenticationError,
    AuthorizationError,
    BusinessLogicError,
    ConfigurationError,
    NetworkError,
    NotFoundError,
    PermanentError,
    RateLimitError,
    ResourceContentionError,
    RetryableError,
    ServiceUnavailableError,
    StepExecutionError,
    TaskerError,
    TimeoutError,  # noqa: A004 - handlers import it under this name
    ValidationError,
)

__all__ = [
    "AuthenticationError",
    "AuthorizationError",
    "BusinessLogicError",
    "ConfigurationError",
    "ErrorClassifier",
    "NetworkError",
    "NotFoundError",
    "PermanentError",
    "RateLimitError",
    "ResourceContentionError",
    "RetryableError",
    "ServiceUnavailableError",
    "StepExecutionError",
    "TaskerError",
    "TimeoutError",
    "ValidationError",
    "get_classifier",
    "is_permanent",
    "is_retryable",
]
