"""The worker protocol as a client without an SDK sees it: plain requests, plain answers."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI, Request
from tests.integration.dynamic import batch_template, batches, template
from tests.integration.dynamic import step as step_template
from tests.integration.support import check_invariants, graph, results, states
from tests.server.conftest import serving

from tasker_core.access import ALL_PERMISSIONS, Caller, Permission
from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.server.app import create_app
from tasker_core.states import TaskState
from tasker_core.template import Backoff, RetryPolicy

NOBODY = "00000000-0000-4000-8000-000000000000"
Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


class Worker:
    """A worker by hand."""

    def __init__(self, http: httpx.AsyncClient, worker_id: str, headers: dict[str, str] | None = None) -> None:
        self.http = http
        self.id = worker_id
        self.headers = headers or {}

    async def post(self, verb: str, **body: Any) -> httpx.Response:
        return await self.http.post(f"/v1/worker/{self.id}/{verb}", json=body, headers=self.headers)

    async def call(self, verb: str, **body: Any) -> dict[str, Any]:
        answer = await self.post(verb, **body)
        assert answer.status_code == 200, answer.text
        reply: dict[str, Any] = answer.json()
        return reply

    async def lease(self, limit: int = 100, wait: float = 0) -> list[dict[str, Any]]:
        leases: list[dict[str, Any]] = (await self.call("lease", limit=limit, wait_seconds=wait))["leases"]
        return leases

    async def report(self, *results: dict[str, Any], lease: int = 0) -> dict[str, Any]:
        return await self.call("report", results=list(results), lease=lease)


async def register(
    http: httpx.AsyncClient, *callables: str, headers: dict[str, str] | None = None, **fields: Any
) -> Worker:
    answer = await http.post(
        "/v1/worker/register", json={"callables": list(callables or ["work"]), **fields}, headers=headers
    )
    assert answer.status_code == 200, answer.text
    return Worker(http, answer.json()["worker_id"], headers)


def named(lease: dict[str, Any]) -> dict[str, Any]:
    return {"step_uuid": lease["step_uuid"], "lease_id": lease["lease_id"]}


def done(lease: dict[str, Any], **result: Any) -> dict[str, Any]:
    return {**named(lease), "success": True, "result": result, "status": "completed"}


def failed(lease: dict[str, Any], *, retryable: bool = True) -> dict[str, Any]:
    error = {"message": "no", "error_type": "handler_error", "retryable": retryable}
    return {**named(lease), "success": False, "status": "failed", "error": error, "metadata": {"retryable": retryable}}


def step_name(lease: dict[str, Any]) -> str:
    name: str = lease["task_sequence_step"]["workflow_step"]["name"]
    return name


def chain(length: int, **options: Any) -> Any:
    return graph({f"s{n}": [f"s{n - 1}"] if n else [] for n in range(length)}, **options)


@contextlib.asynccontextmanager
async def one_more_server(database_url: str) -> AsyncIterator[tuple[Engine, httpx.AsyncClient]]:
    async with (
        Engine(database_url) as engine,
        serving(create_app(engine)) as url,
        httpx.AsyncClient(base_url=url) as http,
    ):
        yield engine, http


# Registration


async def test_a_worker_learns_its_id_and_how_long_leases_last(http: httpx.AsyncClient) -> None:
    answer = (await http.post("/v1/worker/register", json={"callables": ["work"], "sdk": "x/1"})).json()
    UUID(answer.pop("worker_id"))
    assert answer == {
        "lease_seconds": 30.0, "heartbeat_seconds": 10.0, "max_wait_seconds": 30.0, "namespaces": None,
    }  # fmt: skip


async def test_what_a_worker_says_of_itself_is_kept(http: httpx.AsyncClient, engine: Engine) -> None:
    worker = await register(
        http, "a", "b", name="n", namespaces=["shop"], concurrency=7, sdk="ruby/1", hostname="h", pid=9
    )
    row = await engine.store.worker(UUID(worker.id))
    assert row is not None
    kept = {key: row[key] for key in ("name", "callables", "namespaces", "concurrency", "sdk", "hostname", "pid")}
    assert kept == {
        "name": "n", "callables": ["a", "b"], "namespaces": ["shop"], "concurrency": 7, "sdk": "ruby/1",
        "hostname": "h", "pid": 9,
    }  # fmt: skip


async def test_a_worker_gets_steps_of_its_namespaces_and_callables_only(
    http: httpx.AsyncClient, engine: Engine
) -> None:
    for namespace in ("shop", "bank"):
        for name in ("work", "other"):
            work = graph({"only": []}, callables={"only": name}, namespace_name=namespace, name=f"{namespace}{name}")
            await engine.create_task(work, TaskRequest())
    worker = await register(http, "work", namespaces=["shop"])
    assert [lease["task_sequence_step"]["task"]["task_name"] for lease in await worker.lease()] == ["shopwork"]


class ByHeader:
    """Takes the caller from a header: ``name``, or ``name@namespace``."""

    async def authenticate(self, request: Request) -> Caller:
        name, _, namespace = request.headers["x-caller"].partition("@")
        permissions = frozenset[Permission]() if name == "reader" else ALL_PERMISSIONS
        return Caller(name, permissions, frozenset([namespace]) if namespace else None)


async def test_without_permission_to_execute_there_is_no_worker(serve: Serve) -> None:
    async with serve(authenticator=ByHeader()) as http:
        body = {"callables": ["work"]}
        answer = await http.post("/v1/worker/register", json=body, headers={"x-caller": "reader"})
        assert answer.status_code == 403


async def test_a_namespace_outside_of_the_credential_is_refused_and_null_is_all_inside(serve: Serve) -> None:
    async with serve(authenticator=ByHeader()) as http:
        headers = {"x-caller": "ann@shop"}
        body = {"callables": ["work"], "namespaces": ["shop", "bank"]}
        refused = await http.post("/v1/worker/register", json=body, headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "AUTHORIZATION_FAILED")
        taken = await http.post("/v1/worker/register", json={"callables": ["work"]}, headers=headers)
        assert taken.json()["namespaces"] == ["shop"]


async def test_a_worker_is_unknown_to_every_other_credential(serve: Serve) -> None:
    async with serve(authenticator=ByHeader()) as http:
        worker = await register(http, headers={"x-caller": "ann"})
        assert (await worker.post("recover")).status_code == 200
        # The last one is the same subject with fewer rights than it had when it registered.
        for other in ("bob", "ann@shop"):
            worker.headers = {"x-caller": other}
            answer = await worker.post("lease", limit=1)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "WORKER_UNKNOWN")


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("lease", {"limit": 1}),
        ("report", {"results": []}),
        ("heartbeat", {"leases": []}),
        ("checkpoint", {"step_uuid": NOBODY, "lease_id": 1, "items_processed": 1}),
        ("results", {"step_uuid": NOBODY, "lease_id": 1, "names": []}),
        ("release", {"leases": []}),
        ("recover", {}),
        ("deregister", {}),
    ],
)
async def test_an_unknown_worker_is_told_to_register(http: httpx.AsyncClient, verb: str, body: dict[str, Any]) -> None:
    unknown = await Worker(http, NOBODY).post(verb, **body)
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "WORKER_UNKNOWN")
    gone = await register(http)
    await gone.call("deregister")
    answer = await gone.post(verb, **body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (410, "WORKER_UNKNOWN")


async def test_workers_inside_of_servers_cannot_be_impersonated(http: httpx.AsyncClient, engine: Engine) -> None:
    inside = uuid4()
    await engine.store.register_worker("inside", "host", 1, ["work"], worker_uuid=inside)
    assert (await Worker(http, str(inside)).post("recover")).status_code == 404


# Leasing


async def test_a_lease_carries_what_a_handler_may_ask_for(http: httpx.AsyncClient, engine: Engine) -> None:
    task = await engine.create_task(chain(2, initialization={"n": 1}), TaskRequest({"order": "A-1"}, priority=4))
    worker = await register(http)
    (first,) = await worker.lease()
    (second,) = (await worker.report(done(first, total=3), lease=1))["leases"]
    assert second["task_uuid"] == str(task)
    assert (second["attempt"], second["lease_seconds"], second["omitted_results"]) == (1, 30.0, [])
    sequence = second["task_sequence_step"]
    assert sequence["task"]["task"]["context"] == {"order": "A-1"}
    assert sequence["workflow_step"]["name"] == "s1"
    assert sequence["workflow_step"]["attempts"] == 0
    assert sequence["step_definition"]["handler"] == {
        "callable": "work", "method": None, "resolver": None, "initialization": {"n": 1},
    }  # fmt: skip
    assert sequence["dependency_results"]["s0"]["result"] == {"total": 3}


async def test_without_work_a_lease_that_does_not_wait_is_answered_at_once(http: httpx.AsyncClient) -> None:
    worker = await register(http)
    assert await worker.lease() == []


async def test_a_waiting_lease_ends_when_work_appears(http: httpx.AsyncClient, engine: Engine) -> None:
    worker = await register(http)
    waiting = asyncio.create_task(worker.lease(wait=20))
    await worker.call("recover")  # so that the other request has arrived
    created = time.monotonic()
    await engine.create_task(chain(1), TaskRequest())
    assert [step_name(lease) for lease in await waiting] == ["s0"]
    assert time.monotonic() - created < 0.8, "the backstop is a second"


async def test_a_waiting_lease_ends_when_a_retry_is_due(http: httpx.AsyncClient, engine: Engine) -> None:
    policy = RetryPolicy(max_attempts=2, backoff=Backoff.LINEAR, backoff_base_ms=300)
    await engine.create_task(graph({"only": []}, step={"retry": policy}), TaskRequest())
    worker = await register(http)
    (first,) = await worker.lease()
    await worker.report(failed(first))
    (again,) = await worker.lease(wait=20)
    assert again["attempt"] == 2
    assert again["task_sequence_step"]["workflow_step"]["attempts"] == 1


async def test_a_waiting_lease_gets_a_retry_that_somebody_causes_meanwhile(
    http: httpx.AsyncClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasker_core.server.worker_sessions._IDLE_POLL_SECONDS", 60)
    retry = RetryPolicy(backoff=Backoff.LINEAR, backoff_base_ms=20)
    await engine.create_task(graph({"only": []}, step={"retry": retry}), TaskRequest())
    failing, waiting = await register(http), await register(http)
    (lease,) = await failing.lease()
    next_lease = asyncio.create_task(waiting.lease(wait=20))
    await failing.call("recover")  # by now the other one waits
    await failing.report(failed(lease))
    async with asyncio.timeout(10):
        assert [lease["attempt"] for lease in await next_lease] == [2]


async def test_a_waiting_lease_ends_when_its_time_is_up(http: httpx.AsyncClient) -> None:
    worker = await register(http)
    started = time.monotonic()
    assert await worker.lease(wait=0.3) == []
    assert 0.3 <= time.monotonic() - started < 2


async def test_waiting_workers_hold_no_connection_to_the_database(database_url: str) -> None:
    async with (
        Engine(database_url, max_connections=1) as engine,
        serving(create_app(engine)) as url,
        httpx.AsyncClient(base_url=url) as http,
    ):
        workers = [await register(http) for _ in range(5)]
        waiting = [asyncio.create_task(worker.lease(limit=1, wait=20)) for worker in workers]
        async with asyncio.timeout(5):
            await workers[0].call("recover")
            tasks = await engine.create_tasks(chain(1), [TaskRequest()] * 5)
            leases = [lease for found in await asyncio.gather(*waiting) for lease in found]
        assert {lease["task_uuid"] for lease in leases} == {str(task) for task in tasks}


async def test_who_hangs_up_while_waiting_gets_no_lease(
    http: httpx.AsyncClient, engine: Engine, server_url: str
) -> None:
    worker = await register(http)
    async with httpx.AsyncClient(base_url=server_url) as other:
        waiting = asyncio.create_task(Worker(other, worker.id).lease(wait=20))
        await worker.call("recover")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    await engine.create_task(chain(1), TaskRequest())
    (lease,) = await worker.lease(wait=5)
    assert lease["attempt"] == 1
    assert len((await worker.call("recover"))["leases"]) == 1


async def test_who_hangs_up_while_steps_are_being_leased_leaves_them_to_others(
    http: httpx.AsyncClient, engine: Engine, app: FastAPI, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, other = await register(http), await register(http)
    claiming, hung_up = asyncio.Event(), asyncio.Event()
    claim_steps = engine.store.claim_steps

    async def claim_slowly(*arguments: Any) -> Any:
        granted = await claim_steps(*arguments)
        claiming.set()
        await hung_up.wait()
        return granted

    await engine.create_task(chain(1), TaskRequest())
    monkeypatch.setattr(engine.store, "claim_steps", claim_slowly)
    async with httpx.AsyncClient(base_url=server_url) as client:
        waiting = asyncio.create_task(Worker(client, worker.id).lease(wait=20))
        await claiming.wait()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    await worker.call("recover")  # by then the server has seen the end of the other connection
    monkeypatch.undo()
    hung_up.set()
    (lease,) = await other.lease(wait=5)
    assert lease["attempt"] == 1
    assert (await worker.call("recover"))["leases"] == []


async def test_a_server_that_stops_lets_nobody_wait(http: httpx.AsyncClient, app: FastAPI) -> None:
    worker = await register(http)
    waiting = [
        asyncio.create_task(worker.call("lease", limit=1, wait_seconds=30)),
        asyncio.create_task(worker.call("heartbeat", leases=[], wait_seconds=30)),
    ]
    await worker.call("recover")
    app.state.stopping.set()
    async with asyncio.timeout(5):
        assert await asyncio.gather(*waiting) == [{"leases": []}, {"renewed": 0, "lost": [], "cancelled": []}]


# Reporting


async def test_a_chain_costs_one_call_a_step(http: httpx.AsyncClient, engine: Engine) -> None:
    task = await engine.create_task(chain(4), TaskRequest())
    worker = await register(http)
    leases = await worker.lease()
    for n in range(4):
        answer = await worker.report(done(leases[0], n=n), lease=1)
        assert answer["accepted"] == [named(leases[0])]
        assert answer["refused"] == []
        leases = answer["leases"]
    assert await engine.wait(task, 5) is TaskState.COMPLETE
    assert await results(engine, task) == {f"s{n}": {"n": n} for n in range(4)}


async def test_freed_steps_that_nobody_asked_for_are_announced(http: httpx.AsyncClient, engine: Engine) -> None:
    await engine.create_task(graph({"a": [], "b": ["a"], "c": ["a"]}), TaskRequest())
    worker = await register(http)
    (first,) = await worker.lease()
    answer = await worker.report(done(first), lease=1)
    assert (len(answer["leases"]), answer["more_ready"]) == (1, True)


async def test_a_result_reported_again_is_refused_and_changes_nothing(http: httpx.AsyncClient, engine: Engine) -> None:
    task = await engine.create_task(chain(1), TaskRequest())
    worker = await register(http)
    (lease,) = await worker.lease()
    await worker.report(done(lease, n=1))
    again = await worker.report(done(lease, n=2))
    assert again["accepted"] == []
    assert again["refused"] == [{**named(lease), "reason": "lease_lost", "detail": None}]
    assert await results(engine, task) == {"s0": {"n": 1}}


async def test_nobody_can_report_the_lease_of_another_worker(http: httpx.AsyncClient, engine: Engine) -> None:
    task = await engine.create_task(chain(1), TaskRequest())
    worker, other = await register(http), await register(http)
    (lease,) = await worker.lease()
    assert [refusal["reason"] for refusal in (await other.report(done(lease)))["refused"]] == ["lease_lost"]
    assert (await other.call("heartbeat", leases=[named(lease)]))["lost"] == [named(lease)]
    await other.call("release", leases=[named(lease)])
    assert await states(engine, task) == {"s0": "in_progress"}


async def test_malformed_results_are_refused_alone(http: httpx.AsyncClient, engine: Engine) -> None:
    await engine.create_tasks(chain(1), [TaskRequest()] * 3)
    worker = await register(http)
    first, second, third = await worker.lease()
    answer = await worker.report(done(first), {**done(second), "success": 1}, done(third), done(third), "nonsense")
    assert answer["accepted"] == [named(first), named(third)]
    assert [(refusal["lease_id"], refusal["reason"]) for refusal in answer["refused"]] == [
        (second["lease_id"], "malformed"),
        (third["lease_id"], "duplicate"),
        (None, "malformed"),
    ]
    assert answer["refused"][0]["detail"] == "Expected `bool | null`, got `int` - at `$.success`"
    assert (await worker.report(done(second)))["accepted"] == [named(second)], "its lease still holds"


async def test_a_result_that_the_database_refuses_is_refused_alone(
    http: httpx.AsyncClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await engine.create_tasks(chain(1), [TaskRequest()] * 2)
    worker = await register(http)
    good, bad = await worker.lease()
    record_attempts = engine.store.record_attempts

    async def spoil(worker_id: int, ends: Any, **options: Any) -> Any:
        spoilt = [end._replace(result="{") if '"poison"' in (end.result or "") else end for end in ends]
        return await record_attempts(worker_id, spoilt, **options)

    monkeypatch.setattr(engine.store, "record_attempts", spoil)
    answer = await worker.report(done(bad, poison=1), done(good))
    assert answer["accepted"] == [named(good)]
    assert answer["refused"] == [{**named(bad), "reason": "not_recordable", "detail": "The database cannot store it"}]


async def test_a_permanent_failure_ends_the_step_and_a_retryable_one_does_not(
    http: httpx.AsyncClient, engine: Engine
) -> None:
    one = graph({"only": []}, step={"retry": RetryPolicy(max_attempts=3, backoff=Backoff.LINEAR)})
    tasks = [await engine.create_task(one, TaskRequest()) for _ in range(2)]
    worker = await register(http)
    first, second = await worker.lease()
    await worker.report(failed(first, retryable=False), failed(second))
    assert [await states(engine, task) for task in tasks] == [{"only": "error"}, {"only": "waiting_for_retry"}]


async def test_a_checkpoint_keeps_the_attempt_and_comes_back_with_the_next_lease(
    http: httpx.AsyncClient, engine: Engine
) -> None:
    task = await engine.create_task(graph({"only": []}), TaskRequest())
    worker = await register(http)
    (lease,) = await worker.lease()
    checkpoint = {"cursor": 50, "items_processed": 50, "accumulated_results": {"sum": 1}}
    (second,) = (await worker.report({**named(lease), "checkpoint": checkpoint}, lease=1))["leases"]
    (third,) = (await worker.call("checkpoint", **named(second), cursor=80, items_processed=80))["leases"]
    kept = third["task_sequence_step"]["workflow_step"]["checkpoint"]
    assert third["attempt"] == 1
    assert (kept["cursor"], kept["items_processed"], kept["accumulated_results"]) == (80, 80, {"sum": 1})
    assert [entry["cursor"] for entry in kept["history"]] == [50, 80]
    await worker.report(done(third))
    assert await engine.wait(task, 5) is TaskState.COMPLETE


async def test_ten_thousand_results_can_be_reported_at_once(
    http: httpx.AsyncClient, engine: Engine, database_url: str
) -> None:
    await engine.create_tasks(chain(1), [TaskRequest()] * 2_000)
    worker = await register(http)
    leases = [*await worker.lease(1_000), *await worker.lease(1_000)]
    assert len(leases) == 2_000
    nonsense = [{"step_uuid": NOBODY, "lease_id": n + 1, "success": True} for n in range(8_000)]
    answer = await worker.report(*(done(lease) for lease in leases), *nonsense)
    assert (len(answer["accepted"]), len(answer["refused"])) == (2_000, 8_000)
    too_many = await worker.post("report", results=[{}] * 10_001)
    assert too_many.status_code == 422
    await check_invariants(database_url)


async def test_large_results_go_out_only_to_those_who_ask(http: httpx.AsyncClient, engine: Engine) -> None:
    work = template(step_template("large"), step_template("small", "large"), step_template("last", "small"))
    await engine.create_task(work, TaskRequest())
    worker = await register(http, lazy_results=True)
    (large,) = await worker.lease()
    rows = "x" * 100_000
    (small,) = (await worker.report(done(large, rows=rows), lease=1))["leases"]
    (last,) = (await worker.report(done(small, n=1), lease=1))["leases"]
    assert last["omitted_results"] == ["large"]
    given = last["task_sequence_step"]["dependency_results"]
    assert (list(given), given["large"], given["small"]["result"]) == (["large", "small"], None, {"n": 1})
    found = (await worker.call("results", **named(last), names=["large", "small", "nowhere"]))["results"]
    assert found["large"]["result"] == {"rows": rows}
    assert found["small"]["result"] == {"n": 1}
    assert found["nowhere"] is None
    lost = await worker.post("results", **named(large), names=["large"])
    assert (lost.status_code, lost.json()["error"]["code"]) == (409, "CONFLICT")


async def test_a_lease_says_how_often_its_task_was_re_run_since_results_are_others_then(
    http: httpx.AsyncClient, engine: Engine
) -> None:
    task = await engine.create_task(chain(2), TaskRequest())
    worker = await register(http)
    for reruns in range(3):
        if reruns:
            await engine.rerun_task(task, "s0", actor="me", reason="again")
        (first,) = await worker.lease(wait=20)
        (second,) = (await worker.report(done(first, n=reruns), lease=1))["leases"]
        assert (first["reruns"], second["reruns"]) == (reruns, reruns)
        assert second["task_sequence_step"]["dependency_results"]["s0"]["result"] == {"n": reruns}
        await worker.report(done(second))


# Keeping leases


async def test_a_heartbeat_renews_what_holds_and_names_what_is_lost(http: httpx.AsyncClient, engine: Engine) -> None:
    await engine.create_tasks(chain(1), [TaskRequest()] * 2)
    worker = await register(http)
    first, second = await worker.lease()
    await worker.report(done(second))
    answer = await worker.call("heartbeat", leases=[named(first), named(second)])
    assert answer == {"renewed": 1, "lost": [named(second)], "cancelled": []}


async def test_a_waiting_heartbeat_tells_of_a_cancelled_task_at_once(http: httpx.AsyncClient, engine: Engine) -> None:
    task = await engine.create_task(chain(1), TaskRequest())
    worker = await register(http)
    (lease,) = await worker.lease()
    waiting = asyncio.create_task(worker.call("heartbeat", leases=[named(lease)], wait_seconds=20))
    await worker.call("recover")
    cancelled = time.monotonic()
    await engine.cancel_task(task, actor="me", reason="changed my mind")
    assert await waiting == {"renewed": 0, "lost": [], "cancelled": [named(lease)]}
    assert time.monotonic() - cancelled < 1


async def test_a_waiting_heartbeat_ends_when_its_time_is_up(http: httpx.AsyncClient, engine: Engine) -> None:
    await engine.create_task(chain(1), TaskRequest())
    worker = await register(http)
    (lease,) = await worker.lease()
    answer = await worker.call("heartbeat", leases=[named(lease)], wait_seconds=0.2)
    assert answer == {"renewed": 1, "lost": [], "cancelled": []}


async def test_a_released_step_is_free_for_others_at_once_and_counts_no_attempt(
    http: httpx.AsyncClient, engine: Engine
) -> None:
    await engine.create_task(chain(1), TaskRequest())
    worker, other = await register(http), await register(http)
    (lease,) = await worker.lease()
    waiting = asyncio.create_task(other.lease(wait=20))
    await other.call("recover")
    released = time.monotonic()
    await worker.call("release", leases=[named(lease)])
    (again,) = await waiting
    assert time.monotonic() - released < 0.8
    assert again["attempt"] == 1


async def test_recover_returns_what_is_held_as_it_was_leased(http: httpx.AsyncClient, engine: Engine) -> None:
    await engine.create_tasks(chain(1), [TaskRequest()] * 3)
    worker = await register(http)
    leases = await worker.lease()
    recovered = (await worker.call("recover"))["leases"]
    assert sorted(recovered, key=lambda lease: lease["lease_id"]) == sorted(leases, key=lambda lease: lease["lease_id"])


async def test_a_worker_that_deregisters_leaves_nothing_behind(http: httpx.AsyncClient, engine: Engine) -> None:
    task = await engine.create_task(chain(1), TaskRequest())
    worker = await register(http)
    await worker.lease()
    await worker.call("deregister")
    assert await states(engine, task) == {"s0": "enqueued"}


async def test_a_worker_that_falls_silent_loses_its_leases_and_nothing_else(database_url: str) -> None:
    async with (
        Engine(database_url, lease_seconds=0.5) as engine,
        serving(create_app(engine)) as url,
        httpx.AsyncClient(base_url=url) as http,
    ):
        task = await engine.create_task(chain(1), TaskRequest())
        silent, other = await register(http), await register(http)
        (lease,) = await silent.lease()
        (again,) = await other.lease(wait=20)
        assert again["attempt"] == 2
        late = await silent.report(done(lease, by="silent"))
        assert [refusal["reason"] for refusal in late["refused"]] == ["lease_lost"]
        assert (await other.report(done(again, by="other")))["accepted"] == [named(again)]
        assert await results(engine, task) == {"s0": {"by": "other"}}


# Many servers


async def test_a_worker_may_speak_to_another_server_with_every_call(
    http: httpx.AsyncClient, engine: Engine, database_url: str
) -> None:
    async with one_more_server(database_url) as (_, other_http):
        task = await engine.create_task(chain(6), TaskRequest())
        here = await register(http, lazy_results=True)
        there = Worker(other_http, here.id)
        leases = await here.lease()
        for n in range(6):
            speaker = (there, here)[n % 2]
            assert (await speaker.call("heartbeat", leases=[named(leases[0])]))["renewed"] == 1
            answer = await speaker.report(done(leases[0], text="x" * 70_000), lease=1)
            assert answer["refused"] == []
            leases = answer["leases"]
            if leases:
                assert leases[0]["omitted_results"] == [f"s{before}" for before in range(n + 1)]
        assert await engine.wait(task, 5) is TaskState.COMPLETE
    await check_invariants(database_url)


async def test_work_and_cancellation_on_one_server_wake_those_who_wait_on_another(
    http: httpx.AsyncClient, engine: Engine, database_url: str
) -> None:
    async with one_more_server(database_url) as (other_engine, _):
        worker = await register(http)
        waiting = asyncio.create_task(worker.lease(wait=20))
        await worker.call("recover")
        task = await other_engine.create_task(chain(1), TaskRequest())
        (lease,) = await waiting
        beating = asyncio.create_task(worker.call("heartbeat", leases=[named(lease)], wait_seconds=20))
        await worker.call("recover")
        await other_engine.cancel_task(task, actor="me", reason="no")
        async with asyncio.timeout(2):
            assert (await beating)["cancelled"] == [named(lease)]


async def test_deregistration_on_one_server_reaches_the_others(database_url: str) -> None:
    async with Engine(database_url, lease_seconds=0.3) as engine, contextlib.AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(serving(create_app(engine))) for _ in range(2)]
        here, there = [await stack.enter_async_context(httpx.AsyncClient(base_url=url)) for url in urls]
        worker = await register(here)
        elsewhere = Worker(there, worker.id)
        await elsewhere.call("recover")
        await worker.call("deregister")
        async with asyncio.timeout(5):
            while (answer := await elsewhere.post("recover")).status_code == 200:
                pass
        assert answer.status_code == 410


async def test_a_worker_that_registers_again_with_its_id_takes_other_steps_and_keeps_its_leases(
    database_url: str,
) -> None:
    async with Engine(database_url, lease_seconds=2) as engine, contextlib.AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(serving(create_app(engine))) for _ in range(2)]
        here, there = [await stack.enter_async_context(httpx.AsyncClient(base_url=url)) for url in urls]
        for name in ("early", "late"):
            await engine.create_task(graph({"only": []}, callables={"only": name}, name=name), TaskRequest())
        worker = await register(here, "early")
        elsewhere = Worker(there, worker.id)
        (lease,) = await worker.lease()
        assert await elsewhere.lease() == []
        again = await register(here, "early", "late", worker_id=worker.id)
        assert again.id == worker.id
        async with asyncio.timeout(5):
            while not (found := await elsewhere.lease()):
                pass
        assert [lease["task_sequence_step"]["task"]["task_name"] for lease in found] == ["late"]
        assert (await worker.report(done(lease), done(found[0])))["refused"] == []


async def test_a_change_of_namespaces_reaches_the_other_servers(database_url: str) -> None:
    async with Engine(database_url, lease_seconds=2) as engine, contextlib.AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(serving(create_app(engine))) for _ in range(2)]
        here, there = [await stack.enter_async_context(httpx.AsyncClient(base_url=url)) for url in urls]
        await engine.create_task(graph({"only": []}, namespace_name="bank"), TaskRequest())
        worker = await register(here, namespaces=["shop"])
        elsewhere = Worker(there, worker.id)
        assert await elsewhere.lease() == []
        await register(here, namespaces=["bank"], worker_id=worker.id)
        async with asyncio.timeout(5):
            while not await elsewhere.lease():
                pass


async def test_an_unknown_worker_cannot_register_again(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/worker/register", json={"callables": ["work"], "worker_id": NOBODY})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "WORKER_UNKNOWN")


async def test_batch_workers_and_their_gathering_step_go_over_the_wire(
    http: httpx.AsyncClient, engine: Engine, database_url: str
) -> None:
    task = await engine.create_task(batch_template(parallelism=4), TaskRequest())
    worker = await register(http)
    (analyze,) = await worker.lease()
    leases = (await worker.report(done(analyze, **batches(12)), lease=100))["leases"]
    seen: list[str] = []
    while leases:
        assert len(leases) <= 4
        seen += [step_name(lease) for lease in leases]
        last = leases[-1]["task_sequence_step"]
        leases = (await worker.report(*(done(lease, items_processed=10) for lease in leases), lease=100))["leases"]
    assert seen == [*(f"part_{n:03d}" for n in range(1, 13)), "gather"]
    assert last["dependency_results"].keys() == {"analyze", *(f"part_{n:03d}" for n in range(1, 13))}
    assert await engine.wait(task, 5) is TaskState.COMPLETE
    await check_invariants(database_url)


# Nonsense

LEASES: list[Any] = [None, {}, "x", [None], [[]], [{}], [{"step_uuid": NOBODY}], [{"step_uuid": 1, "lease_id": 1}],
                     [{"step_uuid": NOBODY, "lease_id": -1}], [{"step_uuid": NOBODY, "lease_id": 2**64}]]  # fmt: skip
NUMBERS: list[Any] = [None, "1", 1.5, -1, 1001, [], {}]
WAITS: list[Any] = [None, "1", -1, 31, 1e300, [], {}]
TEXTS: list[Any] = [1, "", "\x00", "x" * 256, [], {}]
LEASE: dict[str, Any] = {"step_uuid": NOBODY, "lease_id": 1}

NONSENSE = [
    *[("register", "callables", {}, value) for value in [None, [], "work", {}, [1], [""], ["\x00"], ["x"] * 1_001]],
    *[("register", "namespaces", {"callables": ["a"]}, value) for value in [[], "a", {}, [None], ["\x00"]]],
    *[("register", field, {"callables": ["a"]}, value) for field in ("name", "sdk", "hostname") for value in TEXTS],
    *[("register", "concurrency", {"callables": ["a"]}, value) for value in [0, -1, "1", 1.5, 2**31, []]],
    *[("register", "pid", {"callables": ["a"]}, value) for value in [-1, "1", 1.5, 2**31, []]],
    *[("register", "lazy_results", {"callables": ["a"]}, value) for value in [None, 1, "true"]],
    *[("lease", "limit", {}, value) for value in [*NUMBERS, 0]],
    *[("lease", "wait_seconds", {"limit": 1}, value) for value in WAITS],
    *[("report", "results", {}, value) for value in [None, {}, "x"]],
    *[("report", "lease", {"results": []}, value) for value in NUMBERS],
    *[("heartbeat", "leases", {}, value) for value in LEASES],
    *[("heartbeat", "wait_seconds", {"leases": []}, value) for value in WAITS],
    *[("release", "leases", {}, value) for value in LEASES],
    *[("results", "names", LEASE, value) for value in [None, "x", [1]]],
    *[("results", "lease_id", {**LEASE, "names": []}, value) for value in [None, 0, "1", 2**63]],
    *[("checkpoint", "step_uuid", {**LEASE, "items_processed": 1}, value) for value in [None, 1, "no"]],
    *[("checkpoint", "items_processed", LEASE, value) for value in [None, "1", 1.5, -1]],
    *[("checkpoint", "lease", {**LEASE, "items_processed": 1}, value) for value in [None, 2, -1]],
]  # fmt: skip


async def test_a_wrong_field_is_named_and_nothing_happens(http: httpx.AsyncClient) -> None:
    worker = await register(http)
    for verb, field, others, value in NONSENSE:
        path = "/v1/worker/register" if verb == "register" else f"/v1/worker/{worker.id}/{verb}"
        answer = await http.post(path, json={**others, field: value})
        assert answer.status_code == 422, (verb, field, value, answer.text)
        error = answer.json()["error"]
        assert error["code"] == "VALIDATION_ERROR"
        assert error["details"][0]["field"].startswith(field), (verb, field, value, error)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "JSON_ERROR"),
        (b"{", 400, "JSON_ERROR"),
        (b'{"limit": 1}}', 400, "JSON_ERROR"),
        (b'{"limit": nan}', 400, "JSON_ERROR"),
        (b"\xff\xfe", 400, "JSON_ERROR"),
        (b'{"limit": 1, "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "JSON_ERROR"),
        (b"[]", 422, "VALIDATION_ERROR"),
        (b"null", 422, "VALIDATION_ERROR"),
        (b"{}", 422, "VALIDATION_ERROR"),
        (b'{"limit": 1, "limit": 2, "unknown": "x"}', 200, None),
    ],
)
async def test_a_body_that_is_none_is_refused(
    http: httpx.AsyncClient, body: bytes, status: int, code: str | None
) -> None:
    worker = await register(http)
    answer = await http.post(f"/v1/worker/{worker.id}/lease", content=body)
    assert answer.status_code == status, answer.text
    assert answer.json().get("error", {}).get("code") == code


async def test_a_checkpoint_that_cannot_be_stored_is_refused(http: httpx.AsyncClient) -> None:
    worker = await register(http)
    answer = await worker.post("checkpoint", **LEASE, items_processed=1, cursor="\x00")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "VALIDATION_ERROR")


async def test_an_id_that_is_none_is_refused(http: httpx.AsyncClient) -> None:
    assert (await http.post("/v1/worker/nobody/recover")).status_code == 400


async def test_the_openapi_document_says_what_is_taken(http: httpx.AsyncClient) -> None:
    document = (await http.get("/api-docs/openapi.json")).json()
    operation = document["paths"]["/v1/worker/{worker_id}/heartbeat"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["leases"]
    assert schema["properties"]["leases"]["items"]["required"] == ["step_uuid", "lease_id"]
    assert operation["x-required-permission"] == "worker:execute"
    assert {"200", "400", "401", "403", "404", "408", "410", "413", "422", "500", "503"} <= operation[
        "responses"
    ].keys()
