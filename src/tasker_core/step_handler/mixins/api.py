"""HTTP for handlers: a client, and results that know which HTTP errors are worth a retry."""

import contextlib
from collections.abc import Mapping
from typing import Any, ClassVar

import httpx

from tasker_core.types import ErrorType, StepHandlerResult

CLIENT_ERROR_CODES = range(400, 500)
SERVER_ERROR_CODES = range(500, 600)
# The common answers by name. Every other 5xx is retryable too, every other 4xx is not.
NON_RETRYABLE_STATUS_CODES = frozenset({400, 401, 403, 404, 405, 406, 410, 422})
RETRYABLE_STATUS_CODES = frozenset({408, 429, 500, 502, 503, 504})

# Waited when a Retry-After header is there but is not a number of seconds.
_DEFAULT_RETRY_AFTER_SECONDS = 60

_STATUS_NAMES = {
    400: ("bad_request", "Bad Request"),
    401: ("unauthorized", "Unauthorized"),
    403: ("forbidden", "Forbidden"),
    404: ("not_found", "Not Found"),
    405: ("method_not_allowed", "Method Not Allowed"),
    408: ("request_timeout", "Request Timeout"),
    409: ("conflict", "Conflict"),
    410: ("gone", "Gone"),
    422: ("unprocessable_entity", "Unprocessable Entity"),
    429: ("rate_limited", "Too Many Requests"),
    500: ("internal_server_error", "Internal Server Error"),
    502: ("bad_gateway", "Bad Gateway"),
    503: ("service_unavailable", "Service Unavailable"),
    504: ("gateway_timeout", "Gateway Timeout"),
}

_BODY_MESSAGE_KEYS = ("error", "message", "detail", "error_message", "msg")


class ApiResponse:
    """An HTTP response with its body read.

    ``body`` is the parsed JSON if the response says it is JSON, else the text. If it is a JSON
    object, its members can be read off the response itself: ``response["email"]``.
    """

    def __init__(self, response: httpx.Response, body: Any = None) -> None:
        self.status_code: int = response.status_code
        self.headers: dict[str, str] = dict(response.headers)
        self.raw_response = response
        self.body: Any = self._read_body(response) if body is None else body

    def _read_body(self, response: httpx.Response) -> Any:
        if "application/json" in (self._header("content-type") or ""):
            with contextlib.suppress(ValueError):
                return response.json()
        return response.text

    def _header(self, name: str) -> str | None:
        return next((value for key, value in self.headers.items() if key.lower() == name), None)

    @property
    def ok(self) -> bool:
        """Whether the status is 200 to 299."""
        return 200 <= self.status_code < 300

    @property
    def is_client_error(self) -> bool:
        """Whether the status is 400 to 499."""
        return self.status_code in CLIENT_ERROR_CODES

    @property
    def is_server_error(self) -> bool:
        """Whether the status is 500 to 599."""
        return self.status_code in SERVER_ERROR_CODES

    @property
    def is_retryable(self) -> bool:
        """Whether the same request may succeed later: any 5xx, 429, and 408."""
        return self.is_server_error or self.status_code in RETRYABLE_STATUS_CODES

    @property
    def retry_after(self) -> int | None:
        """Seconds asked for by a Retry-After header; None without one, 60 if it is a date."""
        header = self._header("retry-after")
        if header is None:
            return None
        try:
            return max(0, int(header))
        except ValueError:
            return _DEFAULT_RETRY_AFTER_SECONDS

    def get(self, key: str, default: Any = None) -> Any:
        """A member of a JSON object body; ``default`` if absent or if the body is none."""
        return self.body.get(key, default) if isinstance(self.body, dict) else default

    def to_dict(self) -> dict[str, Any]:
        """The response as a JSON object: ``status_code``, ``headers``, ``body``."""
        return {"status_code": self.status_code, "headers": self.headers, "body": self.body}

    def __getitem__(self, key: str) -> Any:
        if not isinstance(self.body, dict):
            raise TypeError(f"the response body is not a JSON object but {type(self.body).__name__}")
        return self.body[key]

    def __contains__(self, key: object) -> bool:
        return isinstance(self.body, dict) and key in self.body

    def __repr__(self) -> str:
        return f"ApiResponse(status_code={self.status_code})"


class APIMixin:
    """Calls HTTP APIs through an ``httpx.Client`` that is opened on first use.

    The request methods raise httpx's own exceptions, notably ``httpx.ConnectError`` and
    ``httpx.TimeoutException``; an error status does not raise. Extra keywords go to httpx.
    """

    base_url: str = ""
    default_timeout: float = 30.0
    """Seconds."""
    default_headers: ClassVar[dict[str, str]] = {}

    # On the class, so that a subclass's __init__ need not call ours.
    _client: httpx.Client | None = None

    @property
    def api_capabilities(self) -> list[str]:
        """What the mixin adds to a handler's capabilities."""
        return ["http", "api"]

    @property
    def client(self) -> httpx.Client:
        """The handler's HTTP client, opened if need be."""
        if self._client is None:
            self._client = httpx.Client(
                base_url=self.base_url, timeout=self.default_timeout, headers=self.default_headers
            )
        return self._client

    def close(self) -> None:
        """Close the client; the next request opens a new one."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def __del__(self) -> None:
        # Modules may be half gone when the interpreter exits.
        with contextlib.suppress(Exception):
            self.close()

    def get(
        self,
        path: str,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> ApiResponse:
        """Send a GET request."""
        return ApiResponse(self.client.get(path, params=params, headers=headers, **kwargs))

    def post(
        self,
        path: str,
        json: Any = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> ApiResponse:
        """Send a POST request with a JSON body or form ``data``."""
        return ApiResponse(self.client.post(path, json=json, data=data, headers=headers, **kwargs))

    def put(
        self,
        path: str,
        json: Any = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> ApiResponse:
        """Send a PUT request with a JSON body or form ``data``."""
        return ApiResponse(self.client.put(path, json=json, data=data, headers=headers, **kwargs))

    def patch(
        self,
        path: str,
        json: Any = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> ApiResponse:
        """Send a PATCH request with a JSON body or form ``data``."""
        return ApiResponse(self.client.patch(path, json=json, data=data, headers=headers, **kwargs))

    def delete(self, path: str, headers: Mapping[str, str] | None = None, **kwargs: Any) -> ApiResponse:
        """Send a DELETE request."""
        return ApiResponse(self.client.delete(path, headers=headers, **kwargs))

    def request(self, method: str, path: str, **kwargs: Any) -> ApiResponse:
        """Send a request with any method."""
        return ApiResponse(self.client.request(method, path, **kwargs))

    def api_success(
        self,
        response: ApiResponse | None = None,
        result: dict[str, Any] | None = None,
        include_response: bool = True,
    ) -> StepHandlerResult:
        """Build a success from a response, a ``result`` of your own, or both.

        Without ``result`` it is the response's body, under the key ``data`` unless it is a JSON
        object. The response's status and headers go into the metadata if ``include_response``.
        """
        metadata: dict[str, Any] = {}
        if response is not None:
            if result is None:
                result = response.body if isinstance(response.body, dict) else {"data": response.body}
            if include_response:
                metadata = {"status_code": response.status_code, "headers": response.headers}
        return StepHandlerResult.success(result, metadata)

    def api_failure(self, response: ApiResponse, message: str | None = None) -> StepHandlerResult:
        """Build a failure from an error response; 408, 429 and 5xx are retryable.

        The metadata holds ``status_code``, ``headers`` and ``response_body``, and a Retry-After
        header as ``retry_after_seconds``, which then replaces the step's backoff. ``message``
        replaces the one found in the body.
        """
        metadata: dict[str, Any] = {"status_code": response.status_code, "headers": response.headers}
        if response.retry_after is not None:
            metadata["retry_after_seconds"] = response.retry_after
        if response.body:
            metadata["response_body"] = response.body
        return StepHandlerResult.failure(
            message or self._format_error_message(response),
            self._classify_error(response),
            response.is_retryable,
            metadata,
        )

    def connection_error(self, error: Exception, context: str | None = None) -> StepHandlerResult:
        """Build a retryable failure; ``context`` says what was being done, as in "fetching order"."""
        return _transport_failure("Connection error", "connection_error", error, context)

    def timeout_error(self, error: Exception, context: str | None = None) -> StepHandlerResult:
        """Build a retryable failure; ``context`` says what was being done, as in "fetching order"."""
        return _transport_failure("Request timeout", ErrorType.TIMEOUT, error, context)

    def _classify_error(self, response: ApiResponse) -> str:
        if response.status_code in _STATUS_NAMES:
            return _STATUS_NAMES[response.status_code][0]
        if response.is_client_error:
            return "client_error"
        return "server_error" if response.is_server_error else "http_error"

    def _format_error_message(self, response: ApiResponse) -> str:
        _, phrase = _STATUS_NAMES.get(response.status_code, ("", "HTTP Error"))
        return f"HTTP {response.status_code}: {_body_message(response.body) or phrase}"


def _transport_failure(kind: str, error_type: str, error: Exception, context: str | None) -> StepHandlerResult:
    doing = f" while {context}" if context else ""
    return StepHandlerResult.failure(
        f"{kind}{doing}: {error}", error_type, metadata={"exception_type": type(error).__name__}
    )


def _body_message(body: Any) -> str | None:
    if not isinstance(body, dict):
        return None
    for key in _BODY_MESSAGE_KEYS:
        value = body.get(key)
        if isinstance(value, str):
            return value
        if isinstance(value, dict) and "message" in value:
            return str(value["message"])
    return None
