"""Tell retryable exceptions from permanent ones, for handlers that want to decide themselves.

The worker does not ask the classifier. What becomes of an exception that leaves a handler is
decided by `tasker_core.step_handler.invocation.failure_from_exception`.
"""

from typing import ClassVar, Literal, TypedDict

from tasker_core.errors import handler_errors

_Reason = Literal["explicit_attribute", "permanent_class", "retryable_class", "default"]


class Classification(TypedDict):
    """An exception's class name, whether to retry it, and which rule said so."""

    error_type: str
    retryable: bool
    classification: _Reason


class ErrorClassifier:
    """Classifies by a ``retryable`` attribute, then by class, then by ``default_retryable``."""

    PERMANENT_ERROR_CLASSES: ClassVar[tuple[type[BaseException], ...]] = (
        handler_errors.PermanentError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        IndexError,
        AssertionError,
        SyntaxError,
        NameError,
        ImportError,
        NotImplementedError,
    )
    # OSError covers connections, builtin timeouts, and files that are missing or locked.
    RETRYABLE_ERROR_CLASSES: ClassVar[tuple[type[BaseException], ...]] = (
        handler_errors.RetryableError,
        OSError,
    )

    def __init__(self, *, default_retryable: bool = True) -> None:
        self.default_retryable = default_retryable

    def retryable(self, error: BaseException) -> bool:
        """Whether to try again."""
        return self._decide(error)[0]

    def permanent(self, error: BaseException) -> bool:
        """Whether trying again is pointless."""
        return not self.retryable(error)

    def classify(self, error: BaseException) -> Classification:
        """The decision together with its reason."""
        retryable, reason = self._decide(error)
        return {"error_type": type(error).__name__, "retryable": retryable, "classification": reason}

    def _decide(self, error: BaseException) -> tuple[bool, _Reason]:
        explicit = getattr(error, "retryable", None)
        if explicit is not None:
            return bool(explicit), "explicit_attribute"
        if isinstance(error, self.PERMANENT_ERROR_CLASSES):
            return False, "permanent_class"
        if isinstance(error, self.RETRYABLE_ERROR_CLASSES):
            return True, "retryable_class"
        return self.default_retryable, "default"


_default_classifier: ErrorClassifier | None = None


def get_classifier() -> ErrorClassifier:
    """The classifier shared by `is_retryable` and `is_permanent`, made on first use."""
    global _default_classifier
    if _default_classifier is None:
        _default_classifier = ErrorClassifier()
    return _default_classifier


def is_retryable(error: BaseException) -> bool:
    """Whether the shared classifier would try again."""
    return get_classifier().retryable(error)


def is_permanent(error: BaseException) -> bool:
    """Whether the shared classifier would not try again."""
    return get_classifier().permanent(error)
