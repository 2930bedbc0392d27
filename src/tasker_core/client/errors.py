"""What can go wrong with a request, as exceptions.

A request that is wrong in itself raises a ``ValueError``, everything else a ``RuntimeError``; all are
`TaskerClientError`, which carries what the server said.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tasker_core import serialization
from tasker_core.serialization import SerializationError


class TaskerClientError(RuntimeError):
    """A request did not succeed.

    Attributes:
        operation: the client's method.
        status: the HTTP status; None if there was no answer.
        code: the server's name for the kind of error, such as ``NOT_FOUND``; None if it gave none.
        message: what went wrong, for people.
        details: what is wrong with single fields, each ``{"field", "message"}``.
        request_id: finds the request in the server's log.
        retry_after: seconds after which the server would look at the request again; None if it did not say.
    """

    def __init__(
        self,
        operation: str,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        details: Sequence[Mapping[str, Any]] = (),
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(operation, message)
        self.operation = operation
        self.message = message
        self.status = status
        self.code = code
        self.details = [dict(detail) for detail in details]
        self.request_id = request_id
        self.retry_after = retry_after

    def __str__(self) -> str:
        fields = "; ".join(f"{detail.get('field')}: {detail.get('message')}" for detail in self.details)
        return f"{self.operation} failed: {self.message}" + (f" ({fields})" if fields else "")


class InvalidRequestError(TaskerClientError, ValueError):
    """The request cannot be carried out as it is: a malformed UUID, an unknown state, an empty name."""


class ValidationFailedError(InvalidRequestError):
    """The body has the right form and the wrong content; ``details`` names the fields."""


class ResourceNotFoundError(TaskerClientError, LookupError):
    """There is no such task, step, template or entry, or not for this caller."""


class ConflictError(TaskerClientError):
    """The request does not fit the state of things, such as cancelling a task that is over."""


class DuplicateTaskError(ConflictError):
    """A task with this idempotency key, or with this context if that counts as identity, exists already."""


class CredentialsRefusedError(TaskerClientError):
    """There is no credential, or it is not valid."""


class PermissionDeniedError(TaskerClientError):
    """The credential does not allow this."""


class ServerUnavailableError(TaskerClientError):
    """The server cannot serve the request just now: its database is away, or something before it answers instead."""


class BackpressureError(ServerUnavailableError):
    """The server takes no more work for now; ``retry_after`` says for how long."""


class ConnectionFailedError(TaskerClientError, ConnectionError):
    """No answer came. Unless the message says that there was no connection, the request may have been carried out."""


class WaitTimeoutError(TaskerClientError, TimeoutError):
    """A task was still under way when the time to wait for it was over. ``task`` is how it stood then."""

    def __init__(self, operation: str, message: str, task: Any = None) -> None:
        super().__init__(operation, message)
        self.task = task


_KINDS: Final[Mapping[int, type[TaskerClientError]]] = {
    400: InvalidRequestError,
    401: CredentialsRefusedError,
    403: PermissionDeniedError,
    404: ResourceNotFoundError,
    405: InvalidRequestError,
    408: ServerUnavailableError,
    409: ConflictError,
    413: InvalidRequestError,
    415: InvalidRequestError,
    422: ValidationFailedError,
    429: BackpressureError,
    502: ServerUnavailableError,
    503: ServerUnavailableError,
    504: ServerUnavailableError,
}

#: Most of a foreign body, such as a proxy's page, that goes into a message.
_MOST_FOREIGN_TEXT: Final = 200


def error_of(operation: str, status: int, body: bytes, headers: Mapping[str, str]) -> TaskerClientError:
    """Return the exception for an answer that is no success; ``headers`` has lower-case names."""
    envelope = _envelope(body)
    kind = _KINDS.get(status, TaskerClientError)
    code = envelope.get("code")
    if code == "BACKPRESSURE":
        kind = BackpressureError
    if kind is ConflictError and operation == "create_task":
        kind = DuplicateTaskError
    details = envelope.get("details")
    return kind(
        operation,
        str(envelope.get("message") or f"HTTP {status}"),
        status=status,
        code=code if isinstance(code, str) else None,
        details=[detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else (),
        request_id=headers.get("x-request-id"),
        retry_after=retry_after_of(headers),
    )


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a ``Retry-After`` header names; None without one, or if it names a date."""
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None


def _envelope(body: bytes) -> dict[str, Any]:
    """Return what an error's body says; whatever it is, something sensible."""
    try:
        decoded = serialization.loads(body)
    except SerializationError:
        decoded = None
    error = decoded.get("error") if isinstance(decoded, dict) else None
    if isinstance(error, dict):
        return error
    text = " ".join(body[: 4 * _MOST_FOREIGN_TEXT].decode(errors="replace").split())
    return {"message": text[:_MOST_FOREIGN_TEXT]}
