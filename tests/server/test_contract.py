"""The OpenAPI document against a running server: whatever it allows to be sent is answered as it says.

``TASKER_EXAMPLES`` is the number of random requests of each kind for each operation.
"""

import asyncio
import os
import re
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
import requests
import schemathesis
from conftest import TEMPLATE_DATABASE, working
from hypothesis import HealthCheck, Phase, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import (
    ignored_auth,
    negative_data_rejection,
    positive_data_acceptance,
    unsupported_method,
)
from tests.integration.dynamic import batch_template, batches
from tests.integration.support import chain, graph, until_state
from tests.server.conftest import serving

from tasker_core.access import ALL_PERMISSIONS, Caller
from tasker_core.errors import PermanentError, RetryableError
from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.server.app import ServerOptions, create_app
from tasker_core.server.auth_options import ApiKeyOptions, AuthOptions
from tasker_core.server.authentication import authenticator_for
from tasker_core.states import TaskState
from tasker_core.step_handler.functional import step_handler
from tasker_core.store import EmbeddedPostgres
from tasker_core.template import Backoff, RetryPolicy

EXAMPLES = int(os.environ.get("TASKER_EXAMPLES", "10"))
KEY = "the-key-of-the-contract-tests"
HEADERS = {"X-API-Key": KEY}
OPTIONS = ServerOptions(config_endpoint_enabled=True)
AUTH = AuthOptions(enabled=True, api_keys=[ApiKeyOptions(key=KEY, permissions=["*"], description="everything")])
ROOT = Caller("root", ALL_PERMISSIONS)


@step_handler("work")
async def work() -> dict[str, Any]:
    return {"done": True}


@step_handler("broken")
async def broken() -> None:
    raise PermanentError("the card was declined", error_code="E_CARD")


@step_handler("flaky")
async def flaky() -> None:
    raise RetryableError("the network is down")


@step_handler("split")
async def split() -> dict[str, Any]:
    return batches(3)


HANDLERS = {"work": work, "broken": broken, "flaky": flaky, "split": split}


@dataclass(repr=False)
class World:
    """What there is, so that requests can name it."""

    tasks: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    steps: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    entries: list[dict[str, Any]] = field(default_factory=list)
    templates: list[tuple[str, str, str]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    workers: list[str] = field(default_factory=list)
    #: A worker that is never deregistered, and its leases; the first of them is only looked at.
    holder: str = ""
    leases: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""


async def populate(engine: Engine, http: httpx.AsyncClient) -> World:
    """Fill a database with everything that there may be, enough of it to be changed by many requests."""
    world = World()
    for number in range(40):
        order = chain(2, namespace_name="shop", name="order", version=f"1.{number}.0")
        await engine.templates.register(order, actor="ann")
        world.templates.append(("shop", "order", f"1.{number}.0"))
    later = RetryPolicy(backoff=Backoff.LINEAR, backoff_base_ms=3_600_000, max_backoff_ms=3_600_000)
    every = {
        "complete": chain(2),
        "blocked": graph({"a": [], "b": ["a"], "c": ["b"]}, callables={"b": "broken"}),
        "waiting": graph({"a": []}, callables={"a": "flaky"}, step={"retry": later}),
        "batch": batch_template(),
        "unserved": graph({"a": [], "b": ["a"]}, callables={"a": "remote"}),
    }
    request = TaskRequest({"n": 1}, initiator="ui", source_system="shop", reason="a test", tags=["a", "b"])
    made = {kind: await engine.create_tasks(template, [request] * 20) for kind, template in every.items()}
    later_still = TaskRequest(requested_at=datetime.now(UTC) + timedelta(days=1))
    due = await engine.create_tasks(chain(1), [later_still] * 5)
    async with working(engine, HANDLERS):
        for task in [*made["complete"], *made["blocked"], *made["batch"]]:
            await engine.wait(task, 30)
        for task in made["waiting"]:
            await until_state(engine, task, TaskState.WAITING_FOR_RETRY)
    for task in made["unserved"][:5]:
        await engine.pause_task(task, actor="ann", reason="a pause")
    for task in made["unserved"][5:10]:
        await engine.cancel_task(task, actor="ann", reason="not wanted")
    for number in range(20):
        key = await engine.api_keys.create(f"somebody {number}", ALL_PERMISSIONS, by=ROOT)
        world.keys.append(str(key["key_uuid"]))
    for number in range(20):
        answer = await http.post("/v1/worker/register", json={"callables": ["remote"], "name": f"w{number}"})
        world.workers.append(answer.json()["worker_id"])
    # Steps of tasks that no request names, so that their leases are lost only by what the worker does itself.
    await engine.create_tasks(graph({"a": [], "b": ["a"]}, callables={"a": "leased"}), [request] * 20)
    answer = await http.post("/v1/worker/register", json={"callables": ["leased"], "name": "holder"})
    world.holder = answer.json()["worker_id"]
    answer = await http.post(f"/v1/worker/{world.holder}/lease", json={"limit": 20})
    world.leases = [{key: each[key] for key in ("step_uuid", "lease_id")} for each in answer.json()["leases"]]
    world.ended = [str(task) for task in [*made["complete"], *made["unserved"][5:10]]]
    world.tasks = [str(task) for tasks in [*made.values(), due] for task in tasks]
    world.steps = {task: await engine.steps(UUID(task)) for task in world.tasks}
    world.entries = await engine.dlq_entries(limit=100)
    return world


async def serve(url: str, ready: Future[World], stop: asyncio.Event) -> None:
    # No lease ends before the tests do.
    async with Engine(url, lease_seconds=3_600) as engine:
        app = create_app(engine, authenticator=authenticator_for(AUTH, engine), options=OPTIONS)
        async with serving(app) as address:
            async with httpx.AsyncClient(base_url=address, headers=HEADERS, timeout=20) as http:
                world = await populate(engine, http)
            world.url = address
            ready.set_result(world)
            await stop.wait()


@pytest.fixture(scope="module")
def world(postgres: EmbeddedPostgres) -> Iterator[World]:
    """A server in a thread of its own, since the requests are made without an event loop, and what it has."""
    name, ready = f"contract_{uuid4().hex}", Future[World]()
    asyncio.run(administer(postgres.url, f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE_DATABASE}"'))
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    def run() -> None:
        try:
            loop.run_until_complete(serve(postgres.url.replace("/postgres?", f"/{name}?", 1), ready, stop))
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield ready.result(60)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
        asyncio.run(administer(postgres.url, f'DROP DATABASE "{name}" WITH (FORCE)'))


async def administer(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


#: Answers to requests that are right: a worker may be deregistered by now.
ACCEPTABLE = ["2xx", "401", "403", "404", "409", "410"]

#: Operations that answer 400 to what the state of a task does not allow, as the reference system does.
STATE_DECIDES = ["delete_task", "act_on_step"]


def document() -> dict[str, Any]:
    """The document that the server hands out; it depends on no database."""
    engine = Engine("postgresql://localhost/nowhere")
    return create_app(engine, options=OPTIONS).openapi()


DOCUMENT = document()

schema = schemathesis.openapi.from_dict(
    DOCUMENT,
    config=SchemathesisConfig.from_dict(
        {
            "seed": 1,
            "warnings": False,
            "generation": {"max-examples": EXAMPLES, "with-security-parameters": False, "deterministic": True},
            "checks": {"positive_data_acceptance": {"expected-statuses": ACCEPTABLE}},
            "operations": [
                {
                    "include-operation-id": operation,
                    "checks": {"positive_data_acceptance": {"expected-statuses": [*ACCEPTABLE, "400"]}},
                }
                for operation in STATE_DECIDES
            ],
        }
    ),
)


IDS = {operation["operationId"] for path in DOCUMENT["paths"].values() for operation in path.values()}


class Chooser:
    """Makes choices that depend on nothing but a request."""

    def __init__(self, case: schemathesis.Case) -> None:
        self._state = zlib.crc32(repr((case.path_parameters, case.query, case.body)).encode("utf-8", "replace"))

    def of(self, things: list[Any]) -> Any:
        self._state = zlib.crc32(self._state.to_bytes(4, "big"))
        return things[self._state % len(things)]


def name_real_things(case: schemathesis.Case, world: World, *, always: bool) -> None:
    """Let a request be about things that exist, always or most of the time; what is wrong on purpose stays so."""
    choose = Chooser(case)
    operation = case.operation.definition.raw["operationId"]
    task = choose.of(world.ended if operation == "follow_task" else world.tasks)
    if not is_wrong(case, ParameterLocation.PATH) and (always or choose.of([True, True, True, False])):
        step, entry, template = choose.of(world.steps[task]), choose.of(world.entries), choose.of(world.templates)
        real = {
            "uuid": task,
            "step_uuid": step["step_uuid"],
            "step": choose.of([step["name"], step["step_uuid"]]),
            "task_uuid": entry["task_uuid"],
            "dlq_entry_uuid": entry["dlq_entry_uuid"],
            **dict(zip(("namespace", "name", "version"), template, strict=True)),
            "worker_id": choose.of(
                world.workers if operation == "deregister_worker" else [world.holder, *world.workers[:1]]
            ),
            "key_uuid": choose.of(world.keys),
        }
        for parameter in case.path_parameters:
            case.path_parameters[parameter] = real.get(parameter, case.path_parameters[parameter])
    if is_seconds(case.query.get("wait")):
        case.query["wait"] = 0.01
    if not is_wrong(case, ParameterLocation.QUERY):
        real_values = {"context": choose.of(['{"n": 1}', "{}"]), "cursor": task}
        case.query.update({name: value for name, value in real_values.items() if name in case.query})
    if not is_wrong(case, ParameterLocation.BODY) and isinstance(case.body, dict):
        case.body = with_real_things(operation, dict(case.body), task, choose, world)


def is_seconds(value: Any) -> bool:
    """Return whether the server would wait for so long, whatever else is wrong with the request."""
    try:
        return 0 <= float(value[0] if isinstance(value, list) and value else value) <= 60
    except (TypeError, ValueError):
        return False


def is_wrong(case: schemathesis.Case, location: ParameterLocation) -> bool:
    return case.meta is not None and case.meta.is_negative_at(location)


def with_real_things(operation: str, body: dict[str, Any], task: str, choose: Chooser, world: World) -> dict[str, Any]:
    """Return a body that names what exists, holds what no schema can describe, and makes nobody wait."""
    template = chain(choose.of([1, 2, 3]), namespace_name="shop", name=f"t{choose.of(list(range(20)))}").to_dict()
    if operation in {"register_template", "validate_template"}:
        return body | {"template": template} if "template" in body else template
    lease = choose.of(world.leases[1:])
    done = {"success": True, "status": "completed", "result": {"n": 1}}
    leases = {"leases": [*body.get("leases", ()), lease]}
    key = {
        "permissions": ["tasks:read"],
        "subject": "ann",
        "namespaces": ["shop"],
        "expires_at": "2999-01-01T00:00:00Z",
    }
    real = {
        "create_task": dict(zip(("namespace", "name", "version"), choose.of(world.templates), strict=True)),
        "create_tasks": {"tasks": [as_order(each) for each in body.get("tasks", ())]},
        "rerun_task": {"step": choose.of(world.steps[task])["name"]},
        "create_api_key": {name: value for name, value in key.items() if body.get(name)},
        "report_results": {"results": [*body.get("results", ()), lease | done]},
        "report_checkpoint": lease,
        "renew_leases": leases,
        "release_leases": leases,
        "get_dependency_results": world.leases[0],
    }
    assert real.keys() <= IDS
    waits = {"wait_seconds": 0.01} if "wait_seconds" in body else {}
    return body | waits | real.get(operation, {})


def as_order(request: Any) -> Any:
    return request | {"namespace": "shop", "name": "order"} if isinstance(request, dict) else request


#: A time in a zone other than UTC, in one that is spelled out, or in none.
FOREIGN_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?!.*Z$)")

#: What users say themselves.
THEIRS = {"context", "result", "results", "metadata", "inputs", "template"}


def foreign_times(value: Any, place: str = "$") -> Iterator[str]:
    """Find times that do not end in Z, other than those that users gave."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key not in THEIRS:
                yield from foreign_times(item, f"{place}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from foreign_times(item, f"{place}[{index}]")
    elif isinstance(value, str) and FOREIGN_TIME.match(value):
        yield f"{place}: {value}"


@pytest.fixture
def statuses() -> Iterator[list[int]]:
    """Collects the statuses of an operation's answers; it must have succeeded now and then."""
    collected: list[int] = []
    yield collected
    assert 200 in collected


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as opened:
        yield opened


# The stream of all events has no end.
@schema.exclude(path="/v1/events").parametrize()
# It does not: the server does, in its thread.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_answers_are_as_documented(
    case: schemathesis.Case, world: World, session: requests.Session, statuses: list[int]
) -> None:
    name_real_things(case, world, always=200 not in statuses)
    response = case.call_and_validate(
        base_url=world.url,
        session=session,
        headers=HEADERS,
        timeout=30,
        excluded_checks=list(checks_without_sense(case)),
    )
    statuses.append(response.status_code)
    if "application/json" in response.headers["content-type"]:
        assert list(foreign_times(response.json())) == []


def checks_without_sense(case: schemathesis.Case) -> Iterator[Any]:
    """Return the checks that do not apply to a request."""
    operation = case.operation.definition.raw["operationId"]
    # It would make each request four times; test_openapi.py asks every operation once.
    yield ignored_auth
    if cannot_be_described(case.body) or cannot_be_described(case.query):
        yield positive_data_acceptance
    if operation == "create_tasks":
        # GET /v1/tasks/bulk is GET /v1/tasks/{uuid} with something that is no UUID.
        yield unsupported_method
    if operation == "validate_template" and case.media_type == "application/yaml":
        # Whatever the text is, the answer says what is wrong with it.
        yield negative_data_rejection


def cannot_be_described(value: Any) -> bool:
    """Return whether a value is refused for something that JSON Schema cannot say of values at any depth.

    That is a NUL character, which PostgreSQL does not store, and ``1.0`` for a whole number.
    """
    if isinstance(value, dict):
        return any(cannot_be_described(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return any(map(cannot_be_described, value))
    return "\0" in value if isinstance(value, str) else isinstance(value, float) and value.is_integer()
