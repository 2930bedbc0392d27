"""The operations of the conformance vectors in Python, see sdks/conformance/README.md."""

import contextlib
import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import msgspec
from tests.sdks.vector_handlers import fixture_handlers

from tasker_core import StepContext, StepHandler, StepHandlerResult, wire
from tasker_core.batch_processing import Batchable
from tasker_core.client import TaskerClient
from tasker_core.handler import HandlerRegistry
from tasker_core.registry import BaseResolver, HandlerDefinition, ResolverChain
from tasker_core.step_handler.mixins import APIMixin
from tasker_core.step_source import LeasedStep, StepReport
from tasker_core.step_worker import execution
from tasker_core.types import FfiStepEvent, RustCursorConfig, aggregate_batch_results, create_batches

Lease = dict[str, Any]


# What is sent


def leased(lease: Lease) -> LeasedStep:
    """Read a lease as the worker does."""
    return wire.leased_step(msgspec.json.decode(json.dumps(lease), type=wire.LeaseItem))


def sent(report: StepReport) -> Any:
    """Return a report as the server gets it.

    Python's worker sends a checkpoint as a result that its metadata tells, which the protocol allows.
    """
    message = json.loads(wire.encode(wire.completion(report)))
    if message["metadata"]["custom"].get("checkpoint_yield") is True:
        checkpoint = {key: value for key, value in message["result"].items() if key != "type"}
        return {"step_uuid": message["step_uuid"], "lease_id": message["lease_id"], "checkpoint": checkpoint}
    return message


def run(lease: Lease, registry: HandlerRegistry) -> Any:
    """Execute a lease as the worker does."""
    step = leased(lease)
    handler = execution.resolve(registry, step)
    if isinstance(handler, StepHandlerResult):
        return sent(execution.report(step, handler))
    return sent(execution.run_sync(step, handler, execution.make_context(step, handler, lambda: False)))


def execute(lease: Lease) -> Any:
    return run(lease, fixture_handlers())


def handler_timeout(lease: Lease, limit: int) -> Any:
    return sent(execution.timed_out(leased(lease), limit / 1000))


def worker_shutdown(lease: Lease) -> Any:
    return sent(execution.cut_short(leased(lease)))


# Contexts


def contexts(lease: Lease) -> list[StepContext]:
    """Contexts as both their makers make them: for a worker, and from an event."""
    step = leased(lease)
    event = FfiStepEvent(**{name: lease[name] for name in FfiStepEvent.model_fields})
    handler: Any = StepHandler
    return [execution.make_context(step, handler, lambda: False), StepContext.from_ffi_event(event, "handler")]


def of_context(ask: Callable[..., Any]) -> Callable[..., Any]:
    """Make an operation of a question to a context; all contexts give the same answer."""

    def operation(lease: Lease, *args: Any) -> Any:
        answer, other = (ask(context, *args) for context in contexts(lease))
        assert answer == other
        return answer

    return operation


def retry_state(context: StepContext) -> Any:
    return {
        "retry_count": context.retry_count,
        "max_retries": context.max_retries,
        "is_retry": context.is_retry(),
        "is_last_retry": context.is_last_retry(),
    }


def checkpoint_state(context: StepContext) -> Any:
    return {
        "has_checkpoint": context.has_checkpoint(),
        "cursor": context.checkpoint_cursor,
        "items_processed": context.checkpoint_items_processed,
        "accumulated_results": context.accumulated_results,
    }


def batch_context(context: StepContext) -> Any:
    batch = Batchable().get_batch_context(context)
    assert batch is not None
    return {
        name: getattr(batch, name)
        for name in ("batch_id", "start_cursor", "end_cursor", "batch_size", "checkpoint_cursor")
    }


def detect_aggregation_scenario(context: StepContext, analyzer: str, prefix: str) -> Any:
    scenario = Batchable().detect_aggregation_scenario(context.dependency_results, analyzer, prefix)
    return {
        name: getattr(scenario, name) for name in ("is_no_batches", "worker_count", "batchable_result", "batch_results")
    }


# Batches


def cursor_ranges(_: Lease, total: int, batch_size: int, max_batches: int | None = None) -> Any:
    ranges = Batchable().create_cursor_ranges(total, batch_size, max_batches=max_batches)
    return [[each.start_cursor, each.end_cursor] for each in ranges]


def cursor_configs(_: Lease, total: int, workers: int) -> Any:
    return [
        {
            "batch_id": each.batch_id,
            "start_cursor": each.cursor_start,
            "end_cursor": each.cursor_end,
            "batch_size": each.row_count,
        }
        for each in Batchable().create_cursor_configs(total, workers)
    ]


def batches(_: Lease, template: str, count: int, configs: list[Any], total: int) -> Any:
    cursors = [RustCursorConfig.model_validate(config) for config in configs]
    return create_batches(template, count, cursors, total).model_dump()


def aggregated(_: Lease, results: list[Any], *max_errors: int) -> Any:
    return aggregate_batch_results(results, *max_errors).model_dump()


# HTTP


@contextlib.contextmanager
def answering(status: int, headers: dict[str, str], body: str) -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers everything with that; yields its URL and the bodies that it got."""
    received: list[bytes] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            received.append(self.rfile.read(int(self.headers.get("content-length") or 0)))
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(body.encode()))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST = answer

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", received
        finally:
            server.shutdown()


class GetOrder(APIMixin, StepHandler):
    def call(self, context: StepContext) -> StepHandlerResult:
        try:
            response = self.get("/order")
        except httpx.TimeoutException as error:
            return self.timeout_error(error, "fetching order")
        except httpx.ConnectError as error:
            return self.connection_error(error, "fetching order")
        finally:
            self.close()
        return self.api_success(response) if response.ok else self.api_failure(response)


def get_order(lease: Lease, url: str, **settings: Any) -> Any:
    registry = HandlerRegistry()
    registry.register("echo", type("GetOrderThere", (GetOrder,), {"base_url": url, **settings}))
    return run(lease, registry)


def api_call(lease: Lease, answer: dict[str, Any]) -> Any:
    with answering(**answer) as (url, _):
        return get_order(lease, url)


def api_connection_error(lease: Lease) -> Any:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        return get_order(lease, f"http://127.0.0.1:{nobody.getsockname()[1]}")


def api_timeout(lease: Lease) -> Any:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        return get_order(lease, f"http://127.0.0.1:{silent.getsockname()[1]}", default_timeout=0.2)


def task_request(_: Lease, name: str) -> Any:
    with (
        answering(500, {"content-type": "application/json"}, "{}") as (url, received),
        TaskerClient(base_url=url, max_retries=0) as client,
        contextlib.suppress(Exception),
    ):
        client.create_task(name)
    return json.loads(received[0])


# Registries


def resolver_order(_: Lease, resolvers: list[tuple[str, int]]) -> Any:
    asked: list[str] = []

    def resolver(name: str, priority: int) -> BaseResolver:
        def resolve(self: BaseResolver, definition: HandlerDefinition, config: Any = None) -> None:
            asked.append(name)

        members = {"name": name, "priority": priority, "can_resolve": lambda *_: True, "resolve": resolve}
        return type("Resolver", (BaseResolver,), members)()

    chain = ResolverChain(resolver(name, priority) for name, priority in resolvers)
    assert chain.resolve(HandlerDefinition("x")) is None
    return asked


def _which(word: str) -> type[StepHandler]:
    return type("Which", (StepHandler,), {"call": lambda self, context: self.success({"which": word})})


def registered_twice(_: Lease) -> Any:
    registry = HandlerRegistry()
    registry.register("name", _which("first"))
    registry.register("name", _which("second"))
    return registry.resolve("name").call(None).result["which"]


def unregistered(_: Lease) -> Any:
    registry = HandlerRegistry()
    registry.register("name", _which("first"))
    assert registry.unregister("name")
    return registry.resolve("name")


OPERATIONS: dict[str, Callable[..., Any]] = {
    "get_input": of_context(StepContext.get_input),
    "get_input_or": of_context(StepContext.get_input_or),
    "input_data": of_context(lambda context: context.input_data),
    "step_inputs": of_context(lambda context: context.step_inputs),
    "get_config": of_context(StepContext.get_config),
    "get_dependency_result": of_context(StepContext.get_dependency_result),
    "get_dependency_field": of_context(StepContext.get_dependency_field),
    "get_dependency_result_keys": of_context(lambda context: sorted(context.get_dependency_result_keys())),
    "get_all_dependency_results": of_context(StepContext.get_all_dependency_results),
    "retry_state": of_context(retry_state),
    "checkpoint_state": of_context(checkpoint_state),
    "batch_context": of_context(batch_context),
    "detect_aggregation_scenario": of_context(detect_aggregation_scenario),
    "execute": execute,
    "handler_timeout": handler_timeout,
    "worker_shutdown": worker_shutdown,
    "api_call": api_call,
    "api_connection_error": api_connection_error,
    "api_timeout": api_timeout,
    "cursor_ranges": cursor_ranges,
    "cursor_configs": cursor_configs,
    "create_batches": batches,
    "aggregate_batch_results": aggregated,
    "resolver_order": resolver_order,
    "registered_twice": registered_twice,
    "unregistered": unregistered,
    "task_request": task_request,
}
