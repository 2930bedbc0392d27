"""The Python snippets of the book's chapter on class-based handlers, run as they are printed."""

from pathlib import Path

import httpx
import pytest

CHAPTER = Path(__file__).parents[2] / "seed" / "class-based-handlers.txt"

# How each snippet begins, and the first line after it.
SNIPPETS = {
    "step": ("from tasker_core import StepContext, StepHandler", "Ruby"),
    "api": ("import httpx", "The APIMixin provides:"),
    "decision": (
        "from tasker_core.step_handler import StepHandler\nfrom tasker_core.step_handler.mixins import DecisionMixin",
        "The DecisionMixin provides:",
    ),
    "analyzer": (
        "from tasker_core.step_handler import StepHandler\nfrom tasker_core.batch_processing import Batchable",
        "Worker\n",
    ),
    "worker": ("class CsvBatchProcessorHandler", "Aggregator\n"),
    "aggregator": (
        "from tasker_core.batch_processing import Batchable, BatchAggregationScenario",
        "The Batchable mixin provides:",
    ),
}


def snippet(name: str) -> str:
    chapter = CHAPTER.read_text(encoding="utf-8")
    beginning, following = SNIPPETS[name]
    assert chapter.count("\n" + beginning) == 1
    begin = chapter.index("\n" + beginning)
    return chapter[begin : chapter.index("\n" + following, begin)]


@pytest.fixture
def book():
    """Everything the chapter defines; like its reader, a later snippet knows the earlier ones."""
    namespace: dict = {}
    for name in SNIPPETS:
        exec(compile(snippet(name), f"{CHAPTER.name}:{name}", "exec"), namespace)
    return namespace


def api_handler(book, respond):
    handler = book["FetchOrderHandler"]()
    handler._client = httpx.Client(base_url=handler.base_url, transport=httpx.MockTransport(respond))
    return handler


def test_the_step_handler_returns_its_result(book, make_context):
    handler = book["ProcessOrderHandler"]()
    result = handler.call(make_context({"order_id": 1}))
    assert result.success is True
    assert result.result == {"processed": True, "handler": "process_order"}
    assert (handler.name, handler.version) == ("process_order", "1.0.0")


def test_the_api_handler_returns_the_response_body(book, make_context):
    def respond(request: httpx.Request) -> httpx.Response:
        assert str(request.url) == "https://api.example.com/orders/ORD-1"
        return httpx.Response(200, json={"total": 5})

    result = api_handler(book, respond).call(make_context({"order_id": "ORD-1"}))
    assert result.result == {"total": 5}
    assert result.metadata["status_code"] == 200


@pytest.mark.parametrize(
    ("status", "error_type", "retryable"),
    [
        (404, "not_found", False),
        (429, "rate_limited", True),
        (501, "server_error", True),
        (503, "service_unavailable", True),
    ],
)
def test_the_api_handler_classifies_error_responses(book, make_context, status, error_type, retryable):
    handler = api_handler(book, lambda request: httpx.Response(status))
    result = handler.call(make_context({"order_id": "1"}))
    assert (result.success, result.error_type, result.retryable) == (False, error_type, retryable)


@pytest.mark.parametrize(
    ("exception", "error_type", "message"),
    [
        (httpx.ConnectError("refused"), "connection_error", "Connection error while fetching order: refused"),
        (httpx.ReadTimeout("slow"), "timeout", "Request timeout while fetching order: slow"),
    ],
)
def test_the_api_handler_retries_transport_errors(book, make_context, exception, error_type, message):
    def respond(request):
        raise exception

    result = api_handler(book, respond).call(make_context({"order_id": "1"}))
    assert (result.error_type, result.error_message, result.retryable) == (error_type, message, True)


@pytest.mark.parametrize(
    ("order_type", "steps"),
    [
        ("premium", ["validate_premium", "process_premium"]),
        ("review_required", ["manual_review", "approval_gate"]),
    ],
)
def test_the_decision_handler_routes_with_its_context(book, make_context, order_type, steps):
    result = book["OrderRoutingHandler"]().call(make_context({"order_type": order_type}))
    assert result.result == {
        "decision_point_outcome": {"type": "create_steps", "step_names": steps},
        "routing_context": {"order_type": order_type},
    }


def test_the_decision_handler_routes_without_context(book, make_context):
    result = book["OrderRoutingHandler"]().call(make_context({}))
    assert result.result == {"decision_point_outcome": {"type": "create_steps", "step_names": ["standard_processing"]}}
    assert result.metadata == {"decision_handler": "order_routing", "decision_version": "1.0.0"}


def test_the_analyzer_divides_the_rows(book, make_context):
    result = book["CsvAnalyzerHandler"]().call(make_context({"total_rows": "250"}))
    assert result.result == {
        "batch_processing_outcome": {
            "type": "create_batches",
            "worker_template_name": "batch_worker",
            "worker_count": 3,
            "cursor_configs": [
                {"batch_id": "001", "start_cursor": 0, "end_cursor": 100, "batch_size": 100},
                {"batch_id": "002", "start_cursor": 100, "end_cursor": 200, "batch_size": 100},
                {"batch_id": "003", "start_cursor": 200, "end_cursor": 250, "batch_size": 50},
            ],
            "total_items": 250,
        },
        "worker_count": 3,
        "total_items": 250,
    }
    assert result.metadata == {"batch_analyzer": True}


def test_the_batch_worker_reports_its_own_result(book, make_context):
    cursor = {"batch_id": "003", "start_cursor": 200, "end_cursor": 250, "batch_size": 50}
    result = book["CsvBatchProcessorHandler"]().call(make_context(inputs={"cursor": cursor}))
    assert result.result == {"rows_processed": 50}
    assert result.metadata == {
        "batch_worker": True,
        "batch_id": "003",
        "start_cursor": 200,
        "end_cursor": 250,
    }


def test_the_aggregator_adds_up_the_workers(book, make_context):
    context = make_context(
        results={
            "analyze_csv": {"batch_processing_outcome": {"type": "create_batches"}},
            "process_csv_batch_001": {"rows_processed": 100},
            "process_csv_batch_002": {"rows_processed": 50},
        }
    )
    result = book["CsvResultsAggregatorHandler"]().call(context)
    assert result.result == {"total_rows": 150, "worker_count": 2}


def test_the_aggregator_knows_that_no_batches_ran(book, make_context):
    context = make_context(
        results={"analyze_csv": {"batch_processing_outcome": {"type": "no_batches"}, "reason": "empty"}}
    )
    result = book["CsvResultsAggregatorHandler"]().call(context)
    assert result.result == {"total_rows": 0, "skipped": True}
