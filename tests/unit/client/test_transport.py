"""Both clients against a real server: what is asked again, what errors become, how streams go on."""

import threading
from types import SimpleNamespace

import httpx
import pytest
from tests.unit.client.conftest import Answer

from tasker_core.client import (
    BackpressureError,
    ConflictError,
    ConnectionFailedError,
    CredentialsRefusedError,
    DuplicateTaskError,
    InvalidRequestError,
    PermissionDeniedError,
    ResourceNotFoundError,
    ServerUnavailableError,
    TaskerClient,
    TaskerClientError,
    ValidationFailedError,
)
from tasker_core.client import calls as client_calls

TASK = "0194c8a2-6f31-7c0d-8e52-3b1f6a000000"
DROPPED = Answer(status=None)


def error(status, code, message="no", headers=None, **more):
    return Answer(status, {"error": {"code": code, "message": message, **more}}, headers or {})


# -- what is asked again


@pytest.mark.parametrize(
    "passing", [error(status, "X") for status in (408, 429, 502, 503, 504)], ids=lambda a: a.status
)
def test_reading_is_repeated_until_it_succeeds(ask, server, passing):
    server.script = [passing, passing, passing, Answer(body={"task_uuid": TASK})]

    assert ask("get_task", TASK).task_uuid == TASK
    assert len(server.asked) == 4


def test_reading_is_repeated_after_a_broken_connection(ask, server):
    server.script = [DROPPED, Answer(None, raw=b'{"task_uuid": '), Answer(body={"name": "n"})]

    assert ask("get_task", TASK).name == "n"


def test_repeats_have_an_end(ask, server):
    server.script = [error(503, "SERVICE_UNAVAILABLE")]
    ask.options = {"max_retries": 2}

    with pytest.raises(ServerUnavailableError):
        ask("get_task", TASK)
    assert len(server.asked) == 3


@pytest.mark.parametrize("call", [("create_task", "order"), ("cancel_task", TASK), ("retry_task", TASK)])
@pytest.mark.parametrize("failure", [DROPPED, error(503, "SERVICE_UNAVAILABLE"), error(429, "X")])
def test_what_must_not_happen_twice_is_asked_once(ask, server, call, failure):
    server.script = [failure]

    with pytest.raises(TaskerClientError):
        ask(*call)
    assert len(server.asked) == 1


def test_a_creation_with_a_key_is_repeated(ask, server):
    server.script = [error(503, "BACKPRESSURE"), Answer(body={"task_uuid": TASK})]

    assert ask("create_task", "order", idempotency_key="k").task_uuid == TASK


def test_a_creation_whose_answer_was_lost_finds_its_task(ask, server):
    """The first attempt created it, so the repeat must not be told that there is one already."""

    def second(asked):
        exists = asked.body.get("return_existing")
        return Answer(body={"task_uuid": TASK}) if exists else error(409, "CONFLICT")

    server.script = [DROPPED, second]

    assert ask("create_task", "order", idempotency_key="k").task_uuid == TASK
    assert "return_existing" not in server.asked[0].body


def test_a_connection_that_never_was_is_tried_again_whatever_was_asked(monkeypatch, server):
    """The server begins to listen after the first attempt."""
    server.script = [Answer(body={"task_uuid": TASK})]
    real, attempts = httpx.Client.request, []

    def request(client, **arguments):
        attempts.append(arguments)
        if len(attempts) == 1:
            raise httpx.ConnectError("refused")
        return real(client, **arguments)

    monkeypatch.setattr(httpx.Client, "request", request)
    with TaskerClient(base_url=server.url) as client:
        assert client.create_task("order").task_uuid == TASK
    assert len(attempts) == 2


def test_a_server_that_asks_for_more_patience_than_we_have_gets_no_repeat(ask, server):
    server.script = [error(503, "BACKPRESSURE", headers={"Retry-After": "120"})]

    with pytest.raises(BackpressureError) as raised:
        ask("get_task", TASK)
    assert raised.value.retry_after == 120
    assert len(server.asked) == 1


# -- what errors become


@pytest.mark.parametrize(
    ("answer", "kinds"),
    [
        (error(400, "BAD_REQUEST"), (InvalidRequestError, ValueError)),
        (error(401, "AUTHENTICATION_FAILED"), (CredentialsRefusedError,)),
        (error(403, "AUTHORIZATION_FAILED"), (PermissionDeniedError,)),
        (error(404, "NOT_FOUND"), (ResourceNotFoundError, LookupError)),
        (error(409, "CONFLICT"), (ConflictError,)),
        (error(422, "VALIDATION_ERROR"), (ValidationFailedError, ValueError)),
        (error(500, "INTERNAL_ERROR"), (TaskerClientError,)),
        (error(503, "BACKPRESSURE"), (BackpressureError, ServerUnavailableError)),
    ],
    ids=lambda value: getattr(value, "status", None),
)
def test_each_status_has_its_exception(ask, server, answer, kinds):
    server.script = [answer]
    ask.options = {"max_retries": 0}

    with pytest.raises(RuntimeError, match=r"^get_task failed: no$") as raised:
        ask("get_task", TASK)
    assert type(raised.value) is kinds[0]
    assert all(isinstance(raised.value, kind) for kind in kinds)
    assert (raised.value.status, raised.value.code) == (answer.status, answer.body["error"]["code"])


def test_a_second_creation_is_a_duplicate(ask, server):
    server.script = [error(409, "CONFLICT")]
    with pytest.raises(DuplicateTaskError):
        ask("create_task", "order", idempotency_key="k")


def test_an_error_says_which_fields_are_wrong_and_which_request_it_was(ask, server):
    details = [{"field": "context/total", "message": "must be a number"}]
    server.script = [error(422, "VALIDATION_ERROR", "wrong", {"X-Request-ID": "r-1"}, details=details)]

    with pytest.raises(ValidationFailedError) as raised:
        ask("create_task", "order")
    assert str(raised.value) == "create_task failed: wrong (context/total: must be a number)"
    assert (raised.value.details, raised.value.request_id) == (details, "r-1")


@pytest.mark.parametrize("body", [b"<html><h1>Bad   Gateway</h1></html>", b"", b'{"error": "x"}', b"\xff\xfe", b"[1]"])
def test_an_error_of_something_else_on_the_way_is_still_an_error(ask, server, body):
    server.script = [Answer(502, raw=body)]
    ask.options = {"max_retries": 0}

    with pytest.raises(ServerUnavailableError) as raised:
        ask("get_task", TASK)
    assert (raised.value.status, raised.value.code) == (502, None)


@pytest.mark.parametrize("body", [b"<html>Welcome</html>", b"[]", b"null", b"3", b"{"])
def test_an_answer_that_is_none_of_ours_is_an_error(ask, server, body):
    server.script = [Answer(200, raw=body)]

    with pytest.raises(TaskerClientError, match="not one of a Tasker server"):
        ask("get_task", TASK)


def test_nobody_there_is_a_connection_error(ask, server):
    server.close()
    with pytest.raises(ConnectionFailedError, match="no connection") as raised:
        ask("get_task", TASK)
    assert isinstance(raised.value, ConnectionError)
    assert raised.value.status is None


def test_a_lost_answer_says_that_the_request_may_have_been_carried_out(ask, server):
    server.script = [DROPPED]
    with pytest.raises(ConnectionFailedError, match="may have been carried out"):
        ask("create_task", "order")


@pytest.mark.parametrize("wrong", ["abc", "", "../templates", f"{TASK}/cancel"])
def test_what_is_no_uuid_is_never_sent(ask, server, wrong):
    for call in (("get_task", wrong), ("get_step", TASK, wrong), ("dlq_entry", wrong)):
        with pytest.raises(ValueError, match="is not a UUID"):
            ask(*call)
    assert server.asked == []


def test_a_context_that_is_no_json_is_never_sent(ask, server):
    with pytest.raises(ValueError, match="not JSON-serialisable"):
        ask("create_task", "order", context={"total": float("nan")})
    assert server.asked == []


# -- streams


def stream(text):
    return Answer(200, raw=text.encode(), headers={"Content-Type": "text/event-stream"})


def test_events_of_a_task_end_with_the_last(ask, server):
    server.script = [stream("id: 1\nevent: task\ndata: {}\n\nevent: end\ndata: {}\n\n")]

    assert [event.event for event in ask.every("events", TASK)] == ["task", "end"]
    assert server.asked[0].path == f"/v1/tasks/{TASK}/events"
    assert server.asked[0].headers["accept"] == "text/event-stream"


def test_a_stream_that_breaks_goes_on_after_the_last_event(ask, server):
    server.script = [
        stream("retry: 0\nid: 1\nevent: step\ndata: 1\n\n"),
        Answer(None, raw=b"id: 2\nevent: step\ndata: 2\n\nid: 3\ndata: ha"),
        DROPPED,
        error(503, "SERVICE_UNAVAILABLE"),
        stream("id: 3\nevent: step\ndata: 3\n\nevent: end\ndata: null\n\n"),
    ]

    assert [event.data for event in ask.every("events", TASK)] == [1, 2, 3, None]
    assert [asked.headers.get("last-event-id") for asked in server.asked] == [None, "1", "2", "2", "2"]


def test_a_stream_that_was_open_sits_an_outage_out(ask, server):
    server.script = [
        stream("retry: 0\nid: 1\nevent: step\ndata: 1\n\n"),
        *[DROPPED, error(503, "SERVICE_UNAVAILABLE")] * 5,
        stream("event: end\ndata: null\n\n"),
    ]

    assert [event.data for event in ask.every("events", TASK)] == [1, None]


def test_an_outage_begins_when_the_stream_breaks_however_long_it_was_open(ask, server, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(client_calls, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def two_hours_later(asked):
        now[0] += 7200
        return Answer(None, raw=b"data: 1\n\n")

    server.script = [two_hours_later, stream("event: end\ndata: 2\n\n")]

    assert [event.data for event in ask.every("events", TASK)] == [1, 2]


def test_a_stream_may_begin_after_an_event(ask, server):
    server.script = [stream("event: end\ndata: {}\n\n")]
    ask.every("namespace_events", "shop", last_event_id="9")

    assert (server.asked[0].path, server.asked[0].query) == ("/v1/events", {"namespace": ["shop"]})
    assert server.asked[0].headers["last-event-id"] == "9"


def test_a_stream_that_is_refused_is_an_error(ask, server):
    server.script = [error(404, "NOT_FOUND")]
    with pytest.raises(ResourceNotFoundError):
        ask.every("events", TASK)


# -- outages


def test_waiting_sits_an_outage_out(ask, server):
    pending = Answer(body={"status": "pending"})
    server.script = [pending, *[DROPPED, error(503, "X")] * 5, pending, Answer(body={"status": "complete"})]

    assert ask("wait", TASK).status == "complete"


def test_waiting_for_a_server_that_was_never_there_ends_soon(ask, server):
    server.script = [DROPPED]

    with pytest.raises(ConnectionFailedError):
        ask("wait", TASK)
    assert len(server.asked) == 4


def test_whoever_wants_no_repeats_gets_none(ask, server):
    server.script = [Answer(body={"status": "pending"}), DROPPED]
    ask.options = {"max_retries": 0}

    with pytest.raises(ConnectionFailedError):
        ask("wait", TASK)
    assert len(server.asked) == 2


# -- threads


def test_one_client_serves_many_threads(server):
    server.script = [lambda asked: Answer(body={"task_uuid": asked.path.rpartition("/")[2]})]
    answers = {}
    with TaskerClient(base_url=server.url) as client:

        def work(number):
            task = TASK[:-1] + str(number)
            answers[task] = [client.get_task(task).task_uuid for _ in range(5)]

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(answers) == 8
    assert all(found == [task] * 5 for task, found in answers.items())
