"""One envelope for every error: ``{"error": {"code", "message", ...}}``."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from tasker_core.orchestration import (
    DeadLetterNotFoundError,
    DuplicateTaskError,
    IllegalMoveError,
    InvalidTaskError,
    StepNotFoundError,
    TaskNotFoundError,
    TemplateConflictError,
    TemplateNotFoundError,
)
from tasker_core.server.replies import reply
from tasker_core.store import StoreError, StoreUnavailableError

#: Seconds after which a request that the database could not serve may be tried again.
OUTAGE_RETRY_SECONDS: Final = 5

#: Codes of errors that the framework raises before a route is reached.
_CODES: Final = {
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "TIMEOUT",
    413: "PAYLOAD_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
}
_MESSAGES: Final = {404: "Resource not found", 405: "This method is not allowed here"}

#: Parts of a request, as the framework names them, that are not part of a field's name.
_PLACES: Final = {"body", "query", "path", "header"}

_UNSENDABLE: Final = re.compile("[\\0\ud800-\udfff]")

log = structlog.get_logger("tasker.server")


class ApiError(Exception):
    """An answer other than success.

    Args:
        status: the HTTP status.
        code: the machine-readable kind of error, in capitals.
        message: what went wrong, for people. It never has a driver's text in it.
        details: what is wrong with single fields, each ``{"field", "message"}``.
        retry_after: seconds after which the request may be tried again; also sent as a header.
        headers: more headers.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: Sequence[Mapping[str, str]] = (),
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = list(details)
        self.retry_after = retry_after
        self.headers = dict(headers or {})

    def described(self) -> dict[str, Any]:
        """Return it as the content of the envelope; characters that no answer may hold are replaced."""
        error: dict[str, Any] = {"code": self.code, "message": _sendable(self.message)}
        if self.details:
            error["details"] = [{key: _sendable(text) for key, text in detail.items()} for detail in self.details]
        if self.retry_after is not None:
            error["retry_after_seconds"] = self.retry_after
        return error

    def response(self) -> Response:
        """Return it as a response."""
        retry = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return reply({"error": self.described()}, status=self.status, headers=self.headers | retry)


def bad_request(message: str) -> ApiError:
    """Return the error for a request that cannot be carried out as it is."""
    return ApiError(400, "BAD_REQUEST", message)


def not_found(message: str = "Resource not found") -> ApiError:
    """Return the error for something that does not exist, or not for this caller."""
    return ApiError(404, "NOT_FOUND", message)


def conflict(message: str) -> ApiError:
    """Return the error for a request that does not fit the state of things."""
    return ApiError(409, "CONFLICT", message)


def invalid(message: str, details: Sequence[Mapping[str, str]] = ()) -> ApiError:
    """Return the error for a body of the right syntax and the wrong content."""
    return ApiError(422, "VALIDATION_ERROR", message, details=details)


def translated(error: Exception) -> ApiError:
    """Return the answer to an error of the engine; what is not known becomes a plain 500."""
    match error:
        case ApiError():
            return error
        case TaskNotFoundError() | StepNotFoundError():
            return not_found()
        case DeadLetterNotFoundError() | TemplateNotFoundError():
            return not_found(str(error))
        case DuplicateTaskError():
            return conflict("A task with this identity already exists")
        case InvalidTaskError():
            return _invalid_task(error)
        case IllegalMoveError() | TemplateConflictError():
            return conflict(str(error))
        case StoreUnavailableError():
            log.warning("database_unavailable", reason=str(error))
            return ApiError(
                503,
                "SERVICE_UNAVAILABLE",
                "Service temporarily unavailable: the database cannot be reached",
                retry_after=OUTAGE_RETRY_SECONDS,
            )
        case StoreError():
            log.error("database_error", reason=str(error))
            return ApiError(500, "DATABASE_ERROR", "Database operation failed")
        case _:
            log.error("unexpected_error", exc_info=error)
            return ApiError(500, "INTERNAL_ERROR", "Internal server error")


def install(app: FastAPI) -> None:
    """Let an application answer every error in the envelope.

    A path with a slash at its end is one of them: a redirect would name the address that this server has behind a
    proxy.
    """
    app.router.redirect_slashes = False

    async def answer(_request: Request, error: Exception) -> Response:
        return translated(error).response()

    async def answer_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = _CODES.get(error.status_code, "BAD_REQUEST")
        message = _MESSAGES.get(error.status_code, str(error.detail))
        headers = {**(error.headers or {})}
        if error.status_code == 405:
            headers |= _allowed(request)
        return ApiError(error.status_code, code, message, headers=headers).response()

    async def answer_invalid(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return invalid_request(error.errors()).response()

    app.add_exception_handler(HTTPException, answer_http)
    app.add_exception_handler(RequestValidationError, answer_invalid)
    for kind in (
        ApiError,
        StoreError,
        InvalidTaskError,
        IllegalMoveError,
        DuplicateTaskError,
        TemplateConflictError,
        LookupError,
    ):
        app.add_exception_handler(kind, answer)


def invalid_request(errors: Sequence[Mapping[str, Any]]) -> ApiError:
    """Return the answer to a request that the framework could not read."""
    for error in errors:
        if error["type"] == "json_invalid":
            return ApiError(400, "JSON_ERROR", f"Invalid JSON format: {error['ctx']['error']}")
    details = [{"field": _field(error["loc"]), "message": error["msg"]} for error in errors]
    if all(error["loc"][0] in {"path", "query", "header"} for error in errors):
        first = details[0]
        return ApiError(400, "BAD_REQUEST", f"{first['field']}: {first['message']}", details=details)
    return invalid("Request body failed validation", details)


def _allowed(request: Request) -> dict[str, str]:
    """Return the header with the methods that the path has; the framework knows those of one route only."""
    path = getattr(request.scope.get("route"), "path", None)
    methods = request.app.openapi()["paths"].get(path, {})
    return {"Allow": ", ".join(sorted(method.upper() for method in methods))} if methods else {}


def _sendable(text: str) -> str:
    """Return a text without NUL and halves of surrogate pairs, which may be an echo of the request."""
    return _UNSENDABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def _field(location: Sequence[Any]) -> str:
    names = location[1:] if location and location[0] in _PLACES else location
    return ".".join(str(name) for name in names) or "body"


def _invalid_task(error: InvalidTaskError) -> ApiError:
    if not error.violations:
        return bad_request(str(error))
    details = [{"field": f"context{violation.pointer}", "message": violation.message} for violation in error.violations]
    return invalid("The context is not accepted", details)
