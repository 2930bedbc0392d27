"""Tasker as a service: ``tasker server`` and workers in processes of their own, and this process as their client."""

import asyncio
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from benchmarks.measure import MeasurementError, ServiceRound, Sizes, Stopwatch, Subject
from benchmarks.processes import Member, Processes, WorkerProcess, processes, recorded_by
from benchmarks.thin_client import Connection, connected
from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.template import load_file

_TEMPLATES = Path(__file__).parent / "templates"
_SDKS = Path(__file__).parents[1] / "sdks"

_RUST_WORKERS = [_SDKS / "rust" / "target" / profile / "live-worker" for profile in ("release", "debug")]

#: The worker of each language; Rust's is the debug build only if there is no other.
SDK_WORKERS: Mapping[str, Sequence[str]] = {
    "python": (sys.executable, str(_SDKS / "conformance" / "live" / "python_worker.py")),
    "typescript": ("node", str(_SDKS / "typescript" / "dist" / "live" / "worker.js")),
    "ruby": ("ruby", str(_SDKS / "ruby" / "live" / "worker.rb")),
    "rust": (str(next(filter(Path.exists, _RUST_WORKERS), _RUST_WORKERS[0])),),
}

#: Most tasks that one request creates.
_BULK = 10_000

#: Times the tasks of the bulk measurements that `HttpCreate` creates, since it does nothing else with them.
_MORE_TO_CREATE = 4

#: Single tasks of the warm-up.
_WARM_UP = 10

#: The part of the single tasks that is created for each kind of idle worker.
_IDLE_SHARE = 2

#: Seconds that a worker has nothing to do before it gets a task, at least and at most: longer than notifications are
#: held back after others, and not always the same, so that nothing falls into step.
_IDLE_SECONDS = 0.03, 0.05

#: Seconds between looks at how many tasks are complete: they cost the server little, and add little to what they time.
_LOOK_SECONDS = 0.05

#: Seconds after which a measurement has gone wrong.
_LIMIT = 600.0


class _ServiceBenchmark:
    """What all of them have in common: a template, and tasks of it that no two of are the same."""

    def __init__(self, template: str) -> None:
        self._path = _TEMPLATES / f"{template}.yaml"
        self._template = load_file(self._path)
        # Each context is another, since the same context is the same task.
        self._numbers = count()

    def measure(self, database_url: str, sizes: Sizes) -> ServiceRound:
        """Warm up and measure one round on an empty database."""
        return uvloop.run(self._limited(database_url, sizes))

    async def _limited(self, database_url: str, sizes: Sizes) -> ServiceRound:
        measuring = asyncio.current_task()
        assert measuring is not None
        # Else a process that is terminated would leave its servers and workers behind.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, measuring.cancel)
        async with asyncio.timeout(_LIMIT), processes(database_url) as started:
            return await self._measure(started, database_url, sizes)

    async def _measure(self, started: Processes, database_url: str, sizes: Sizes) -> ServiceRound:
        raise NotImplementedError

    async def _register(self, http: Connection) -> None:
        await http.post("/v1/templates", self._path.read_bytes(), "application/yaml")

    def _single_body(self) -> bytes:
        return msgspec.json.encode(self._request())

    def _bulk_bodies(self, tasks: int) -> list[bytes]:
        return [
            msgspec.json.encode({"tasks": [self._request() for _ in range(min(_BULK, tasks - start))]})
            for start in range(0, tasks, _BULK)
        ]

    def _request(self) -> dict[str, Any]:
        return {
            "name": self._template.name,
            "namespace": self._template.namespace_name,
            "version": self._template.version,
            "context": {"n": next(self._numbers)},
            "initiator": "benchmarks",
            "source_system": "benchmarks",
            "reason": "measure",
        }

    async def _run_singles(self, http: Connection, tasks: int) -> list[float]:
        """Run tasks one after the other, and some before to warm up; return how many milliseconds each took."""
        for _ in range(_WARM_UP):
            await self._run_one(http)
        with Stopwatch():
            return [await self._run_one(http) for _ in range(tasks)]

    async def _run_one(self, http: Connection) -> float:
        """Run one task and return how many milliseconds that took."""
        body = self._single_body()
        started = time.perf_counter()
        created = msgspec.json.decode(await http.post("/v1/tasks", body))
        task = await http.get(f"/v1/tasks/{created['task_uuid']}?wait=30")
        elapsed = time.perf_counter() - started
        if task["status"] != "complete":
            raise MeasurementError(f"a task ended as {task['status']}")
        return elapsed * 1000

    async def _create(self, http: Connection, tasks: int) -> None:
        for body in self._bulk_bodies(tasks):
            await http.post("/v1/tasks/bulk", body)

    async def _require_tasks(self, http: Connection, state: str, tasks: int) -> None:
        found = await self._count(http, state)
        if found != tasks:
            raise MeasurementError(f"{found} tasks are {state} instead of {tasks}")

    async def _count(self, http: Connection, state: str) -> int:
        found = await http.get(f"/v1/tasks?namespace={self._template.namespace_name}&status={state}&per_page=1")
        return int(found["pagination"]["total_count"])


class HttpCreate(_ServiceBenchmark):
    """How long does it take to create a task over HTTP, and how many a second can one server create in bulk?

    A ``tasker server``, no worker. The client has one connection, which is kept, and is no library: a request costs it
    some 40 µs, where httpx spends more than a millisecond.

    * **Latency.** From before ``POST /v1/tasks`` is written until its answer is read, one after the other.
    * **Bulk.** From before the first ``POST /v1/tasks/bulk`` is written until the last one's answer is read, 10,000
      tasks a request, one request after the other; four times as many tasks as the other subjects run.

    Not in any region: starting the server, migrations, connecting, registering the template, encoding the bodies,
    decoding the answers, and the warm-up (ten single tasks, one small bulk).
    """

    def __init__(self) -> None:
        super().__init__("chain")

    async def _measure(self, started: Processes, database_url: str, sizes: Sizes) -> ServiceRound:  # noqa: ARG002
        server = await started.server()
        async with connected(await server.url()) as http:
            await self._register(http)
            await self._one_at_a_time(http, [self._single_body() for _ in range(_WARM_UP)])
            await self._bulk(http, self._bulk_bodies(sizes.concurrency))
            single, bodies = _Cost(server=[server]), [self._single_body() for _ in range(sizes.single_tasks)]
            with single, Stopwatch():
                latencies = await self._one_at_a_time(http, bodies)
            tasks = sizes.tasks * _MORE_TO_CREATE
            bulk, bodies = _Cost(server=[server]), self._bulk_bodies(tasks)
            with bulk, Stopwatch() as creating:
                await self._bulk(http, bodies)
            await self._require_tasks(http, "pending", _WARM_UP + sizes.concurrency + sizes.single_tasks + tasks)
        return ServiceRound(
            {"create": latencies},
            {"created": tasks / creating.seconds},
            {"create_server": single.us(sizes.single_tasks)["server"], **bulk.us(tasks)},
        )

    async def _one_at_a_time(self, http: Connection, bodies: Sequence[bytes]) -> list[float]:
        latencies = []
        for body in bodies:
            started = time.perf_counter()
            await http.post("/v1/tasks", body)
            latencies.append((time.perf_counter() - started) * 1000)
        return latencies

    async def _bulk(self, http: Connection, bodies: Sequence[bytes]) -> None:
        for body in bodies:
            await http.post("/v1/tasks/bulk", body)


class HttpRun(_ServiceBenchmark):
    """How long does a task of four steps take over HTTP, and how many such steps a second do servers and workers run?

    One ``tasker server`` and one worker (``http-chain``), or two servers on one database and four workers, two for each
    server (``http-fleet``). Each is a process of its own; each worker runs as many no-op handlers at once as Tasker's
    in-process worker, and is what ``tasker worker --server`` runs.

    * **Latency**, with one worker only. From before ``POST /v1/tasks`` is written until the answer to
      ``GET /v1/tasks/{uuid}?wait=`` is read, which says that the task is complete; one task at a time.
    * **Run.** From telling the workers to take steps until they have been answered that the last step is recorded. It
      holds the workers' first claims. They find all tasks in the database.

    Not in any region: starting processes, migrations, connecting, registering, creating the tasks of the run, the
    warm-up (one bulk as wide as the workers, then ten single tasks), and the check afterwards that every task is
    complete.
    """

    def __init__(self, servers: int, workers: int) -> None:
        super().__init__("chain")
        self._servers = servers
        self._workers = workers

    async def _measure(self, started: Processes, database_url: str, sizes: Sizes) -> ServiceRound:  # noqa: ARG002
        servers = [await started.server() for _ in range(self._servers)]
        async with connected(await servers[0].url()) as http:
            await self._register(http)
            workers = [
                await started.worker(self._path, sizes.concurrency, server=servers[number % self._servers])
                for number in range(self._workers)
            ]
            warm_up = sizes.concurrency * self._workers
            await self._create(http, warm_up)
            await self._run(workers, warm_up)
            latencies = {} if len(workers) > 1 else {"complete": await self._one_at_a_time(http, workers[0], sizes)}
            await self._create(http, sizes.tasks)
            cost = _Cost(server=servers, worker=workers)
            with cost:
                seconds = await self._run(workers, sizes.tasks)
            singles = _WARM_UP + sizes.single_tasks if latencies else 0
            await self._require_tasks(http, "complete", warm_up + singles + sizes.tasks)
        steps = sizes.tasks * len(self._template.steps)
        return ServiceRound(latencies, {"steps": steps / seconds}, cost.us(steps))

    async def _one_at_a_time(self, http: Connection, worker: WorkerProcess, sizes: Sizes) -> list[float]:
        worker.run()
        latencies = await self._run_singles(http, sizes.single_tasks)
        await worker.pause()
        return latencies

    async def _run(self, workers: Sequence[WorkerProcess], tasks: int) -> float:
        """Run tasks that are there, and return how many seconds that took."""
        goal = sum(worker.recorded for worker in workers) + tasks * len(self._template.steps)
        with Stopwatch() as running:
            for worker in workers:
                worker.run()
            await recorded_by(workers, goal)
        for worker in workers:
            await worker.pause()
        return running.seconds


class HttpIdle(_ServiceBenchmark):
    """How soon does a worker that has nothing to do start the handler of a task that is created?

    A worker that waits for a ``tasker server`` to answer its claim, with tasks that this process creates on the
    database, and then with tasks that it creates over HTTP; at last, for comparison, a worker that is connected to the
    database, with tasks of the first kind. Tasks have one step.

    * **Latency.** From when the creation is acknowledged to its caller until the handler starts, one task at a time,
      each after a pause. The clock is the machine's, so two processes can read it. A handler may start before the
      answer to the creation has reached this process; the time is negative then.

    Not in the region: the creation itself, starting processes, and the warm-up (ten tasks of each kind).
    """

    def __init__(self) -> None:
        super().__init__("single")

    async def _measure(self, started: Processes, database_url: str, sizes: Sizes) -> ServiceRound:
        tasks = max(1, sizes.single_tasks // _IDLE_SHARE)
        server = await started.server()
        async with AsyncExitStack() as opened:
            http = await opened.enter_async_context(connected(await server.url()))
            engine = await opened.enter_async_context(Engine(database_url))
            await self._register(http)

            async def by_engine() -> None:
                await engine.create_task(self._template, TaskRequest({"n": next(self._numbers)}))

            async def over_http() -> None:
                await http.post("/v1/tasks", self._single_body())

            latencies = {}
            remote = await started.worker(self._path, sizes.concurrency, server=server, tells_starts=True)
            latencies["http_worker_by_engine"] = await _starts(remote, by_engine, tasks)
            latencies["http_worker_over_http"] = await _starts(remote, over_http, tasks)
            local = await started.worker(self._path, sizes.concurrency, server=None, tells_starts=True)
            latencies["database_worker_by_engine"] = await _starts(local, by_engine, tasks)
            await self._require_tasks(http, "complete", 3 * (_WARM_UP + tasks))
        return ServiceRound(latencies)


async def _starts(worker: WorkerProcess, create: Callable[[], Awaitable[None]], tasks: int) -> list[float]:
    """Create tasks, one at a time, and return how many milliseconds later the handler of each started."""
    worker.run()
    latencies = []
    for _ in range(_WARM_UP + tasks):
        await asyncio.sleep(random.uniform(*_IDLE_SECONDS))
        recorded = worker.recorded
        await create()
        created = time.monotonic()
        latencies.append((await worker.starts.get() - created) * 1000)
        await recorded_by([worker], recorded + 1)
    await worker.pause()
    return latencies[_WARM_UP:]


class SdkRun(_ServiceBenchmark):
    """What does a step cost in the worker of each language?

    One ``tasker server`` and one worker: the one that the SDK's live tests use, with a handler that does nothing. It
    runs as many handlers at once as the other subjects' workers.

    * **Latency.** As for ``http-chain``.
    * **Run.** From letting the worker go on, which was held still while the tasks were created, until the server says
      that all are complete. What it had leased without knowing when it was held is in the region, too.

    Not in any region: building the worker (``make sdks``), starting processes, registering, and the warm-up.
    """

    def __init__(self, language: str) -> None:
        super().__init__("sdk_chain")
        self._language = language

    async def _measure(self, started: Processes, database_url: str, sizes: Sizes) -> ServiceRound:  # noqa: ARG002
        server = await started.server()
        url = await server.url()
        async with connected(url) as http:
            await self._register(http)
            worker = await started.sdk_worker(
                SDK_WORKERS[self._language],
                {
                    "TASKER_ORCHESTRATION_URL": url,
                    "TASKER_NAMESPACE": self._template.namespace_name,
                    "TASKER_MAX_CONCURRENT": str(sizes.concurrency),
                    "RUST_LOG": "warn",
                },
            )
            await self._create(http, sizes.concurrency)
            await self._completed(http, sizes.concurrency)
            latencies = await self._run_singles(http, sizes.single_tasks)
            before = sizes.concurrency + _WARM_UP + sizes.single_tasks
            cost = _Cost(server=[server], worker=[worker])
            with worker.held():
                await self._create(http, sizes.tasks)
            with cost, Stopwatch() as running:
                await self._completed(http, before + sizes.tasks)
        steps = sizes.tasks * len(self._template.steps)
        return ServiceRound({"complete": latencies}, {"steps": steps / running.seconds}, cost.us(steps))

    async def _completed(self, http: Connection, tasks: int) -> None:
        """Wait until so many tasks are complete."""
        while await self._count(http, "complete") < tasks:  # noqa: ASYNC110 - the server is another process
            await asyncio.sleep(_LOOK_SECONDS)


class _Cost:
    """Processor time of processes, by their kind, while a ``with`` block runs."""

    def __init__(self, **processes: Sequence[Member]) -> None:
        self._processes = processes
        self._before: dict[str, float] = {}
        self._seconds: dict[str, float] = {}

    def __enter__(self) -> None:
        self._before = self._read()

    def __exit__(self, *_: object) -> None:
        self._seconds = {kind: after - self._before[kind] for kind, after in self._read().items()}

    def us(self, number: int) -> dict[str, float]:
        """Return the microseconds that each of so many things took."""
        return {kind: seconds / number * 1e6 for kind, seconds in self._seconds.items()}

    def _read(self) -> dict[str, float]:
        return {kind: sum(one.cpu_seconds() for one in members) for kind, members in self._processes.items()}


#: The variants, by name.
BENCHMARKS: dict[str, Callable[[], Subject]] = {
    "http-create": HttpCreate,
    "http-chain": lambda: HttpRun(servers=1, workers=1),
    "http-fleet": lambda: HttpRun(servers=2, workers=4),
    "http-idle": HttpIdle,
    **{f"sdk-{language}": partial(SdkRun, language) for language in SDK_WORKERS},
}
