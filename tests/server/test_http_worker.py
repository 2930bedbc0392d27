"""A worker in Python that reaches the engine through a server."""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from starlette.types import Message, Receive, Scope, Send
from tests.integration.dynamic import (
    NO_BRANCHES,
    batch_template,
    batches,
    choose,
    convergence,
    decision,
    step,
    template,
    yielded,
)
from tests.integration.support import chain, check_invariants, graph, results, states
from tests.server.conftest import serving

from tasker_core.access import ALL_PERMISSIONS, Caller
from tasker_core.handler import HandlerRegistry
from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.server.app import create_app
from tasker_core.server.errors import ApiError
from tasker_core.server.routing import forbidden
from tasker_core.states import TaskState
from tasker_core.step_handler.functional import step_handler
from tasker_core.step_source import SourceRefusedError, SourceUnavailableError, StepReport
from tasker_core.step_worker import StepWorker
from tasker_core.step_worker.http_source import HttpStepSource, http_source
from tasker_core.types import StepContext, StepHandlerResult


@step_handler("work")
async def work(context: StepContext) -> dict[str, Any]:
    return {"by": context.task_sequence_step.workflow_step.name}


@contextlib.asynccontextmanager
async def at_work(url: str, handlers: Mapping[str, Any], **options: Any) -> AsyncIterator[StepWorker]:
    """A worker that speaks to a server, running until the body ends."""
    registry = HandlerRegistry()
    for name, handler in handlers.items():
        registry.register(name, handler)
    of_source = {key: options.pop(key) for key in ("headers", "namespaces", "name") if key in options}
    async with http_source(url, callables=list(handlers), concurrency=10, **of_source) as source:
        worker = StepWorker(source, registry, **options)
        running = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            worker.stop()
            async with asyncio.timeout(20):
                await running


class Gate:
    """An application in front of another: it counts requests and may answer, or lose answers, in its place."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self.paths: list[str] = []
        #: Answers that go out instead of calling the application, by the end of the path, oldest first.
        self.instead: dict[str, list[tuple[int, dict[str, str], bytes]]] = {}
        #: Ends of paths whose next answer is lost after the application did its part.
        self.losing: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        verb = scope["path"].rpartition("/")[2]
        self.paths.append(verb)
        if self.instead.get(verb):
            status, headers, body = self.instead[verb].pop(0)
            encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
            await send({"type": "http.response.start", "status": status, "headers": encoded})
            await send({"type": "http.response.body", "body": body})
            return
        if verb in self.losing:
            self.losing.remove(verb)
            lost = False

            async def spoil(message: Message) -> None:
                nonlocal lost
                if not lost:
                    lost = True
                    await send({"type": "http.response.start", "status": 502, "headers": []})
                    await send({"type": "http.response.body", "body": b"bad gateway"})

            await self._app(scope, receive, spoil)
            return
        await self._app(scope, receive, send)


@pytest.fixture
def gate(app: FastAPI) -> Gate:
    return Gate(app)


@pytest.fixture
async def server_url(gate: Gate) -> AsyncIterator[str]:
    async with serving(gate) as url:  # type: ignore[arg-type]
        yield url


# Work


async def test_a_chain_runs_and_its_steps_see_what_came_before(
    engine: Engine, server_url: str, database_url: str
) -> None:
    @step_handler("work")
    async def add(context: StepContext) -> dict[str, Any]:
        found = context.dependency_results
        return {"n": context.get_input("n") + len(found), "before": sorted(found)}

    async with at_work(server_url, {"work": add}):
        task = await engine.create_task(chain(3), TaskRequest({"n": 10}))
        assert await engine.wait(task, 10) is TaskState.COMPLETE
    assert await results(engine, task) == {
        "s0": {"n": 10, "before": []},
        "s1": {"n": 11, "before": ["s0"]},
        "s2": {"n": 12, "before": ["s0", "s1"]},
    }
    await check_invariants(database_url)


async def test_handlers_see_the_same_as_in_the_engines_own_process(engine: Engine, server_url: str) -> None:
    task = await engine.create_task(chain(2), TaskRequest({"a": [1, {"b": None}]}, tags=["x"], initiator="me"))
    async with http_source(server_url, callables=["work"], concurrency=1) as source:
        (first,) = await source.claim(1)
        (over_http,) = (await source.report([StepReport(first.key, True, '{"n":1}', {"m": 2})], 1)).leased
        row = await engine.store.worker(UUID(source._known.worker_id))
        assert row is not None
        (local,) = await engine.step_source(row["worker_id"], ["work"]).recover()
        assert over_http == local
        assert over_http.task_sequence_step() == local.task_sequence_step()
    assert await states(engine, task) == {"s0": "complete", "s1": "enqueued"}


async def test_many_tasks_run_on_two_workers_at_two_servers(engine: Engine, server_url: str, database_url: str) -> None:
    async with (
        Engine(database_url) as other,
        serving(create_app(other)) as other_url,
        at_work(server_url, {"work": work}),
        at_work(other_url, {"work": work}),
        asyncio.timeout(40),
    ):
        tasks = await engine.create_tasks(chain(4), [TaskRequest()] * 100)
        assert {await engine.wait(task) for task in tasks} == {TaskState.COMPLETE}
    await check_invariants(database_url)


async def test_a_decision_a_batch_and_checkpoints_work_over_http(
    engine: Engine, server_url: str, database_url: str
) -> None:
    @step_handler("route")
    async def route(context: StepContext) -> dict[str, Any]:
        return choose("left") if context.get_input("way") == "left" else NO_BRANCHES

    @step_handler("analyze")
    async def analyze() -> dict[str, Any]:
        return batches(20)

    @step_handler("part")
    async def part(context: StepContext) -> StepHandlerResult:
        cursor = context.step_inputs["cursor"]
        if not context.has_checkpoint():
            middle = cursor["start_cursor"] + 5
            return StepHandlerResult.success(yielded(middle, 5), metadata={"checkpoint_yield": True})
        return StepHandlerResult.success({"from": context.checkpoint_cursor, "to": cursor["end_cursor"]})

    @step_handler("gather")
    async def gather(context: StepContext) -> dict[str, int]:
        parts = [entry["result"] for name, entry in context.dependency_results.items() if name.startswith("part_")]
        return {"items": sum(part["to"] - part["from"] for part in parts)}

    deciding = template(
        decision("route", callable="route"),
        step("left", "route"),
        step("right", "route"),
        convergence("end", "left", "right"),
    )
    batch = batch_template()
    named = {"analyze": "analyze", "part": "part", "gather": "gather"}
    handlers = {"route": route, "analyze": analyze, "part": part, "gather": gather, "work": work}
    own = [
        one.__class__(**{**vars_of(one), "handler": one.handler.__class__(callable=named[one.name])})
        for one in batch.steps
    ]
    async with at_work(server_url, handlers):
        decided = await engine.create_task(deciding, TaskRequest({"way": "left"}))
        batched = await engine.create_task(template(*own, name="batched"), TaskRequest())
        assert await engine.wait(decided, 20) is TaskState.COMPLETE
        assert await engine.wait(batched, 20) is TaskState.COMPLETE
    assert set(await states(engine, decided)) == {"route", "left", "end"}
    assert (await results(engine, batched))["gather"] == {"items": 100}
    await check_invariants(database_url)


def vars_of(one: Any) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__dataclass_fields__}


async def test_large_results_are_fetched_when_a_handler_asks_for_them(
    engine: Engine, server_url: str, gate: Gate
) -> None:
    @step_handler("work")
    def large_then_lazy(context: StepContext) -> dict[str, Any]:
        name = context.task_sequence_step.workflow_step.name
        if name == "large":
            return {"rows": "x" * 100_000}
        if name == "uses":
            return {"length": len(context.get_dependency_result("large")["rows"])}
        return {"ignored": True}

    steps = template(step("large"), step("ignores", "large"), step("uses", "large"))
    async with at_work(server_url, {"work": large_then_lazy}):
        task = await engine.create_task(steps, TaskRequest())
        assert await engine.wait(task, 10) is TaskState.COMPLETE
    assert (await results(engine, task))["uses"] == {"length": 100_000}


async def test_large_results_that_nobody_asks_for_stay_where_they_are(
    engine: Engine, server_url: str, gate: Gate
) -> None:
    async with http_source(server_url, callables=["work"], concurrency=1) as source:
        await engine.create_task(chain(2), TaskRequest())
        (first,) = await source.claim(1)
        large = json.dumps({"rows": "x" * 100_000})
        (second,) = (await source.report([StepReport(first.key, True, large)], 1)).leased
        assert second.context() == {}
        assert "results" not in gate.paths
        found = await asyncio.to_thread(second.dependency_results)
        assert found["s0"]["result"]["rows"] == "x" * 100_000
        await asyncio.to_thread(second.dependency_result, "s0")
        assert gate.paths.count("results") == 1


async def test_a_failure_keeps_what_it_is(engine: Engine, server_url: str) -> None:
    @step_handler("work")
    async def fail() -> StepHandlerResult:
        return StepHandlerResult.failure("no funds", "payment_error", False, {"card": "4242"}, error_code="E42")

    async with at_work(server_url, {"work": fail}):
        task = await engine.create_task(graph({"only": []}), TaskRequest())
        assert await engine.wait(task, 10) is TaskState.BLOCKED_BY_FAILURES
    (failed,) = await engine.steps(task)
    assert failed["error"]["message"] == "no funds"
    assert (failed["error"]["error_type"], failed["error"]["error_code"]) == ("payment_error", "E42")
    assert failed["metadata"]["card"] == "4242"


# Cancellation and leases


@pytest.mark.parametrize("busy", [False, True])
async def test_cancelling_a_task_reaches_its_handler_within_two_seconds(
    engine: Engine, server_url: str, busy: bool
) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    @step_handler("work")
    async def forever() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with at_work(server_url, {"work": forever, "quick": work}):
        task = await engine.create_task(graph({"only": []}), TaskRequest())
        await started.wait()
        if busy:
            quick = graph({"only": []}, callables={"only": "quick"}, name="quick")
            await engine.create_tasks(quick, [TaskRequest()] * 200)
        begun = time.monotonic()
        await engine.cancel_task(task, actor="me", reason="enough")
        async with asyncio.timeout(10):
            await cancelled.wait()
        assert time.monotonic() - begun < 2


async def test_a_handler_may_run_longer_than_its_lease(database_url: str) -> None:
    @step_handler("work")
    def slow() -> None:
        time.sleep(3.5)

    async with Engine(database_url, lease_seconds=1.5) as engine, serving(create_app(engine)) as url:
        async with at_work(url, {"work": slow}):
            task = await engine.create_task(graph({"only": []}), TaskRequest())
            assert await engine.wait(task, 10) is TaskState.COMPLETE
        assert (await engine.steps(task))[0]["attempts"] == 1


# Stopping


async def test_a_waiting_worker_stops_at_once_and_keeps_nothing(engine: Engine, server_url: str, gate: Gate) -> None:
    async with at_work(server_url, {"work": work}):
        async with asyncio.timeout(5):
            while "lease" not in gate.paths:  # noqa: ASYNC110 - the server has no signal for it
                await asyncio.sleep(0.005)
        begun = time.monotonic()
    assert time.monotonic() - begun < 2
    assert gate.paths[-1] == "deregister"


async def test_a_grant_that_arrives_while_the_worker_stops_is_given_back(
    engine: Engine, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    granted, stopped = asyncio.Event(), asyncio.Event()
    claim_steps = engine.store.claim_steps

    async def claim_slowly(*arguments: Any) -> Any:
        found = await claim_steps(*arguments)
        if found:
            granted.set()
            await stopped.wait()
        return found

    monkeypatch.setattr(engine.store, "claim_steps", claim_slowly)
    async with at_work(server_url, {"work": work}) as worker:
        task = await engine.create_task(graph({"only": []}), TaskRequest())
        await granted.wait()
        worker.stop()
    assert await states(engine, task) == {"only": "enqueued"}
    stopped.set()


async def test_what_runs_is_finished_before_the_worker_ends(engine: Engine, server_url: str) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    @step_handler("work")
    async def wait() -> None:
        started.set()
        await release.wait()

    async with at_work(server_url, {"work": wait}) as worker:
        task = await engine.create_task(graph({"only": []}), TaskRequest())
        await started.wait()
        worker.stop()
        release.set()
    assert await states(engine, task) == {"only": "complete"}


# Outages


async def test_a_worker_goes_on_when_its_server_is_restarted_in_mid_step(engine: Engine, database_url: str) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    @step_handler("work")
    async def wait(context: StepContext) -> None:
        if context.task_sequence_step.workflow_step.name == "s1":
            started.set()
            await release.wait()

    server = _Restartable()
    await server.start(engine)
    async with at_work(server.url, {"work": wait}):
        task = await engine.create_task(chain(3), TaskRequest())
        await started.wait()
        await server.kill()
        release.set()
        async with Engine(database_url) as other:
            await server.start(other)
            assert await engine.wait(task, 20) is TaskState.COMPLETE
            await server.kill()
        await server.start(engine)
    await server.kill()
    assert [one["attempts"] for one in await engine.steps(task)] == [1, 1, 1]
    await check_invariants(database_url)


class _Restartable:
    """A server that can be killed without any goodbye to its clients."""

    def __init__(self) -> None:
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def start(self, engine: Engine) -> None:
        """Start a new one where the last one was."""
        config = uvicorn.Config(
            create_app(engine), host="127.0.0.1", port=self._port, log_level="critical", access_log=False
        )
        self._server = uvicorn.Server(config)
        self._server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]
        self._running = asyncio.create_task(self._server.serve())
        async with asyncio.timeout(10):
            while not self._server.started:  # noqa: ASYNC110 - uvicorn has no signal for it
                await asyncio.sleep(0.005)
        self._port = self._server.servers[0].sockets[0].getsockname()[1]

    async def kill(self) -> None:
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()
        self._server.should_exit = True
        await self._running


@pytest.mark.parametrize("verb", ["lease", "report"])
async def test_an_answer_that_gets_lost_costs_no_attempt(
    engine: Engine, server_url: str, gate: Gate, database_url: str, verb: str
) -> None:
    gate.losing += [verb]
    task = await engine.create_task(chain(3), TaskRequest())
    async with at_work(server_url, {"work": work}):
        assert await engine.wait(task, 10) is TaskState.COMPLETE
    assert gate.losing == []
    assert [one["attempts"] for one in await engine.steps(task)] == [1, 1, 1]
    await check_invariants(database_url)


async def test_the_time_that_a_server_asks_for_is_kept(engine: Engine, server_url: str, gate: Gate) -> None:
    gate.instead["lease"] = [(429, {"Retry-After": "1"}, b"")]
    task = await engine.create_task(chain(1), TaskRequest())
    begun = time.monotonic()
    async with at_work(server_url, {"work": work}):
        assert await engine.wait(task, 10) is TaskState.COMPLETE
    assert time.monotonic() - begun >= 1


async def test_an_answer_that_cannot_be_read_is_an_outage_and_no_end(
    engine: Engine, server_url: str, gate: Gate
) -> None:
    gate.instead["lease"] = [(200, {}, b"<html>"), (503, {}, b"<html>")]
    task = await engine.create_task(chain(1), TaskRequest())
    async with at_work(server_url, {"work": work}):
        assert await engine.wait(task, 10) is TaskState.COMPLETE


async def test_an_engine_that_answers_at_once_with_nothing_is_not_asked_without_pause(
    engine: Engine, app: FastAPI, server_url: str, gate: Gate
) -> None:
    app.state.stopping.set()
    async with at_work(server_url, {"work": work}, idle_poll=0.3):
        async with asyncio.timeout(10):
            while gate.paths.count("lease") < 3:  # noqa: ASYNC110 - the server has no signal for it
                await asyncio.sleep(0.01)
            begun = time.monotonic()
            while gate.paths.count("lease") < 5:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert time.monotonic() - begun >= 0.3


async def test_a_worker_that_was_forgotten_registers_again(
    engine: Engine, server_url: str, http: httpx.AsyncClient, gate: Gate
) -> None:
    async with http_source(server_url, callables=["work"], concurrency=1) as source:
        before = source._known.worker_id
        assert (await http.post(f"/v1/worker/{before}/deregister")).status_code == 200
        task = await engine.create_task(chain(1), TaskRequest())
        (found,) = await source.claim(1)
        assert found.task.task_uuid == task
        assert source._known.worker_id != before
    assert gate.paths.count("register") == 2


async def test_a_worker_that_was_forgotten_gives_up_what_it_runs(
    engine: Engine, server_url: str, http: httpx.AsyncClient
) -> None:
    runs: list[int] = []
    cancelled = asyncio.Event()

    @step_handler("work")
    async def first_forever() -> None:
        runs.append(1)
        if len(runs) == 1:
            source: HttpStepSource = worker._source  # type: ignore[assignment]
            await http.post(f"/v1/worker/{source._known.worker_id}/deregister")
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

    async with at_work(server_url, {"work": first_forever}) as worker:
        task = await engine.create_task(graph({"only": []}), TaskRequest())
        assert await engine.wait(task, 20) is TaskState.COMPLETE
        async with asyncio.timeout(5):
            await cancelled.wait()
    assert (await engine.steps(task))[0]["attempts"] == 1


async def test_a_result_that_the_server_does_not_take_fails_its_step_alone(
    engine: Engine, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_attempts = engine.store.record_attempts

    async def spoil(worker_id: int, ends: Any, **options: Any) -> Any:
        spoilt = [end._replace(result="{") if '"poison"' in (end.result or "") else end for end in ends]
        return await record_attempts(worker_id, spoilt, **options)

    monkeypatch.setattr(engine.store, "record_attempts", spoil)

    @step_handler("work")
    async def poison(context: StepContext) -> dict[str, Any]:
        return {"poison": 1} if context.get_input("bad") else {}

    requests = [TaskRequest({"bad": n == 1}) for n in range(3)]
    async with at_work(server_url, {"work": poison}):
        tasks = await engine.create_tasks(graph({"only": []}), requests)
        ends = [await engine.wait(task, 10) for task in tasks]
    assert ends == [TaskState.COMPLETE, TaskState.BLOCKED_BY_FAILURES, TaskState.COMPLETE]
    assert (await engine.steps(tasks[1]))[0]["error"]["error_type"] == "result_refused"


# Being refused


async def test_without_a_server_there_is_no_source() -> None:
    with pytest.raises(SourceUnavailableError, match=r"no answer from http://127\.0\.0\.1:9"):
        async with http_source("http://127.0.0.1:9", callables=["work"], concurrency=1):
            pass


async def test_at_something_that_is_no_server_of_ours_there_is_no_source(server_url: str) -> None:
    with pytest.raises(SourceRefusedError, match="404"):
        async with http_source(f"{server_url}/elsewhere", callables=["work"], concurrency=1):
            pass


class ByToken:
    """Knows one token, until it is withdrawn."""

    def __init__(self) -> None:
        self.token = "right"
        self.namespaces: frozenset[str] | None = None

    async def authenticate(self, request: Request) -> Caller:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            raise ApiError(401, "UNAUTHORIZED", "Token is not valid")
        if request.url.path.endswith("/forbidden"):
            raise forbidden("no")
        return Caller("ann", ALL_PERMISSIONS, self.namespaces)


async def test_wrong_credentials_and_foreign_namespaces_end_the_worker_with_a_clear_error(engine: Engine) -> None:
    authenticator = ByToken()
    async with serving(create_app(engine, authenticator=authenticator)) as url:
        with pytest.raises(SourceRefusedError, match="401 UNAUTHORIZED: Token is not valid"):
            async with http_source(url, callables=["work"], concurrency=1):
                pass
        authenticator.namespaces = frozenset(["shop"])
        headers = {"authorization": "Bearer right"}
        with pytest.raises(SourceRefusedError, match="403 AUTHORIZATION_FAILED: The namespace 'bank' is not open"):
            async with http_source(
                url, callables=["work"], namespaces=["bank"], concurrency=1, headers=lambda: headers
            ):
                pass


async def test_a_token_may_change_and_a_withdrawn_one_ends_the_worker(engine: Engine) -> None:
    authenticator, token = ByToken(), "right"

    def headers() -> dict[str, str]:
        return {"authorization": f"Bearer {token}"}

    async with (
        serving(create_app(engine, authenticator=authenticator)) as url,
        http_source(url, callables=["work"], concurrency=1, headers=headers) as source,
    ):
        authenticator.token = token = "other"
        await engine.create_task(chain(1), TaskRequest())
        assert len(await source.claim(1)) == 1
        registry = HandlerRegistry()
        registry.register("work", work)
        worker = StepWorker(source, registry)
        authenticator.token = "another"
        with pytest.raises(SourceRefusedError, match="401"):
            async with asyncio.timeout(10):
                await worker.run()


async def test_omitted_results_can_be_asked_for_on_many_threads(engine: Engine, server_url: str) -> None:
    async with http_source(server_url, callables=["work"], concurrency=8) as source:
        await engine.create_task(template(step("a"), *(step(f"b{n}", "a") for n in range(8))), TaskRequest())
        (first,) = await source.claim(1)
        large = json.dumps({"rows": "x" * 100_000})
        leased = (await source.report([StepReport(first.key, True, large)], 8)).leased
        assert len(leased) == 8
        together = threading.Barrier(8)

        def length(one: Any) -> int:
            together.wait()
            return len(one.dependency_result("a")["result"]["rows"])

        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(8) as threads:
            found = await asyncio.gather(*(loop.run_in_executor(threads, length, one) for one in leased))
        assert found == [100_000] * 8
