import http.server
import json
import threading
from unittest.mock import Mock

import httpx
import pytest

from tasker_core.step_handler import ApiHandler, StepHandler
from tasker_core.step_handler.api import ApiResponse
from tasker_core.step_handler.mixins import APIMixin


class Handler(ApiHandler):
    def call(self, context):
        return self.api_success(self.get("/"))


def response(status=200, **kwargs) -> ApiResponse:
    return ApiResponse(httpx.Response(status, **kwargs))


@pytest.fixture
def echo_server():
    """A real server that answers every request with what it received."""

    class Echo(http.server.BaseHTTPRequestHandler):
        def answer(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            seen = {
                "method": self.command,
                "path": self.path,
                "body": body,
                "token": self.headers.get("x-token"),
            }
            payload = json.dumps(seen).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json; charset=utf-8")
            self.send_header("content-length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def handler(echo_server):
    handler = Handler()
    handler.base_url = echo_server
    yield handler
    handler.close()


def test_requests_reach_a_real_server(handler):
    handler.default_headers = {"x-token": "t"}
    got = handler.get("/a", params={"q": 1})
    assert (got["method"], got["path"], got["token"]) == ("GET", "/a?q=1", "t")
    assert handler.post("/a", json={"k": 1})["body"] == '{"k":1}'
    assert handler.put("/a", data={"k": "v"})["body"] == "k=v"
    assert handler.patch("/a", json=[1])["method"] == "PATCH"
    assert handler.delete("/a", params={"q": 2})["path"] == "/a?q=2"
    assert handler.delete("/a", headers={"x-token": "other"})["token"] == "other"
    assert handler.request("OPTIONS", "/a")["method"] == "OPTIONS"


def test_the_client_is_opened_on_first_use_and_again_after_close(handler):
    assert handler._client is None
    first = handler.client
    assert handler.client is first
    handler.close()
    assert handler._client is None
    assert first.is_closed
    assert handler.get("/").ok


async def test_an_async_handler_uses_the_same_methods(echo_server):
    class AsyncHandler(APIMixin, StepHandler):
        base_url = echo_server

        async def call(self, context):
            return self.api_success(self.get("/async"))

    handler = AsyncHandler()
    result = await handler.call(None)
    handler.close()
    assert result.result["path"] == "/async"


def test_the_mixin_works_in_any_base_order_and_without_its_constructor():
    class Mixed(StepHandler, APIMixin):
        def __init__(self):
            pass

        def call(self, context):
            return self.success()

    handler = Mixed()
    assert handler._client is None
    assert handler.api_success(response(204)).success
    handler.close()


def test_capabilities_name_the_mixin():
    assert Handler().capabilities == ["process", "http", "api"]


@pytest.mark.parametrize(
    ("status", "error_type", "retryable", "phrase"),
    [
        (302, "http_error", False, "HTTP Error"),
        (400, "bad_request", False, "Bad Request"),
        (401, "unauthorized", False, "Unauthorized"),
        (403, "forbidden", False, "Forbidden"),
        (404, "not_found", False, "Not Found"),
        (405, "method_not_allowed", False, "Method Not Allowed"),
        (406, "client_error", False, "HTTP Error"),
        (408, "request_timeout", True, "Request Timeout"),
        (409, "conflict", False, "Conflict"),
        (410, "gone", False, "Gone"),
        (418, "client_error", False, "HTTP Error"),
        (422, "unprocessable_entity", False, "Unprocessable Entity"),
        (429, "rate_limited", True, "Too Many Requests"),
        (500, "internal_server_error", True, "Internal Server Error"),
        (501, "server_error", True, "HTTP Error"),
        (502, "bad_gateway", True, "Bad Gateway"),
        (503, "service_unavailable", True, "Service Unavailable"),
        (504, "gateway_timeout", True, "Gateway Timeout"),
        (507, "server_error", True, "HTTP Error"),
        (599, "server_error", True, "HTTP Error"),
    ],
)
def test_each_status_has_its_error_type_retryability_and_message(status, error_type, retryable, phrase):
    result = Handler().api_failure(response(status))
    assert (result.error_type, result.retryable) == (error_type, retryable)
    assert result.error_message == f"HTTP {status}: {phrase}"
    assert result.error_code is None
    assert result.metadata == {"status_code": status, "headers": {}}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"error": "e", "message": "m"}, "e"),
        ({"error": {"message": "inner"}}, "inner"),
        ({"error": {"code": 1}, "detail": "d"}, "d"),
        ({"error_message": "em"}, "em"),
        ({"msg": "short"}, "short"),
        ({"error": 5}, "Not Found"),
        (["error"], "Not Found"),
    ],
)
def test_the_failure_message_comes_from_the_body_if_it_has_one(body, text):
    result = Handler().api_failure(response(404, json=body))
    assert result.error_message == f"HTTP 404: {text}"
    assert result.metadata["response_body"] == body


def test_an_own_message_replaces_the_one_of_the_body():
    assert Handler().api_failure(response(404, json={"error": "e"}), "mine").error_message == "mine"


@pytest.mark.parametrize(("header", "seconds"), [("7", 7), ("Wed, 21 Oct 2015 07:28:00 GMT", 60), ("-1", 0)])
def test_retry_after_becomes_seconds_in_the_metadata(header, seconds):
    limited = response(429, headers={"Retry-After": header})
    assert limited.retry_after == seconds
    assert Handler().api_failure(limited).metadata["retry_after_seconds"] == seconds


def test_without_retry_after_the_metadata_has_none():
    assert response(429).retry_after is None
    assert "retry_after_seconds" not in Handler().api_failure(response(429)).metadata


def test_success_takes_the_body_or_a_result_of_its_own():
    handler = Handler()
    assert handler.api_success(response(json={"a": 1})).result == {"a": 1}
    assert handler.api_success(response(json=[1])).result == {"data": [1]}
    assert handler.api_success(response(text="plain")).result == {"data": "plain"}
    own = handler.api_success(response(json={"a": 1}), result={"b": 2}, include_response=False)
    assert (own.result, own.metadata) == ({"b": 2}, {})
    bare = handler.api_success(result={"c": 3})
    assert (bare.result, bare.metadata) == ({"c": 3}, {})


def test_transport_errors_are_retryable_with_and_without_context():
    handler = Handler()
    error = httpx.ConnectError("refused")
    assert handler.connection_error(error).error_message == "Connection error: refused"
    assert handler.timeout_error(httpx.ReadTimeout("slow")).error_message == "Request timeout: slow"
    result = handler.timeout_error(error, "fetching")
    assert (result.error_type, result.retryable, result.metadata) == (
        "timeout",
        True,
        {"exception_type": "ConnectError"},
    )


def test_httpx_errors_leave_the_request_methods_as_they_are():
    def refuse(request):
        raise httpx.ConnectError("refused")

    handler = Handler()
    handler._client = httpx.Client(base_url="http://x", transport=httpx.MockTransport(refuse))
    with pytest.raises(httpx.ConnectError):
        handler.get("/")
    handler.close()


def test_a_response_reads_json_only_if_it_is_labelled_and_well_formed():
    assert response(json={"a": 1}).body == {"a": 1}
    assert response(text='{"a": 1}').body == '{"a": 1}'
    assert response(content=b"{oops", headers={"content-type": "application/json"}).body == "{oops"
    assert ApiResponse(httpx.Response(200, text="t"), body={"given": 1}).body == {"given": 1}


def test_a_response_gives_access_to_a_json_object():
    body = response(json={"email": "a@b"})
    assert (body["email"], body.get("email"), body.get("x", 1), "email" in body) == ("a@b", "a@b", 1, True)
    text = response(text="t")
    assert (text.get("email"), "t" in text) == (None, False)
    with pytest.raises(TypeError, match="not a JSON object"):
        text["email"]


def test_a_response_can_wrap_a_mock():
    mock = Mock(spec=["status_code", "headers", "text", "json"])
    mock.status_code = 503
    mock.headers = {"Content-Type": "application/json"}
    mock.json.return_value = {"a": 1}
    wrapped = ApiResponse(mock)
    assert wrapped.to_dict() == {"status_code": 503, "headers": mock.headers, "body": {"a": 1}}
    assert (wrapped.ok, wrapped.is_client_error, wrapped.is_server_error) == (False, False, True)
