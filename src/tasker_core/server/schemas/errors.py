"""The body of every answer that is no success."""

from typing import Any

from pydantic import BaseModel


class ErrorDetail(BaseModel):
    """What is wrong with one field."""

    field: str
    message: str


class ErrorObject(BaseModel):
    """An error: its kind for programs, and what it means for people."""

    code: str
    message: str
    details: list[ErrorDetail] | None = None
    retry_after_seconds: int | None = None


class ErrorBody(BaseModel):
    """The envelope of an error."""

    error: ErrorObject


_MEANINGS = {
    400: "The request cannot be carried out as it is",
    401: "Credentials are missing or not valid",
    403: "The caller may not do this",
    404: "There is no such thing, or not for this caller",
    405: "This method is not allowed here",
    408: "The request took too long",
    409: "The request does not fit the state of things",
    410: "It was there and is not any more",
    413: "The body is too large",
    415: "The body is not JSON",
    422: "The body has the wrong content",
    429: "Too many requests",
    500: "Something that should not happen",
    503: "Not now; try again after the time that Retry-After names",
}

#: Any guarded route may answer with these.
_ALWAYS = (400, 401, 403, 408, 500, 503)


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the entries of ``responses`` for these statuses and for those that any route may answer with."""
    return {status: {"model": ErrorBody, "description": _MEANINGS[status]} for status in sorted({*statuses, *_ALWAYS})}
