"""A fleet under fire: two servers and four workers on one PostgreSQL, most of which is killed while tasks run.

As a program it does so with as many tasks as one likes, and prints what it saw:

    python -m tests.acceptance.fleet --tasks 20000
"""

import argparse
import asyncio
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from tests.ports import free_port

from tasker_core.client import AsyncTaskerClient, TaskerClientError
from tasker_core.store import EmbeddedPostgres, migrate

TEMPLATE = """
name: transfer
namespace_name: bank
version: 1.0.0
steps:
  - {name: check, handler: {callable: work}}
  - {name: debit, handler: {callable: flaky}, dependencies: [check], retry: {backoff_base_ms: 50, max_attempts: 10}}
  - {name: credit, handler: {callable: work}, dependencies: [debit], retry: {max_attempts: 10}}
  - {name: confirm, handler: {callable: work}, dependencies: [credit], retry: {max_attempts: 10}}
"""

HANDLERS = """
import os
from tasker_core.errors import RetryableError
from tasker_core.step_handler.functional import step_handler

# One small write in append mode is atomic, so processes can share the file.
executions = os.open(os.environ["EXECUTIONS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def note(context):
    os.write(executions, f"{context.step_uuid} {context.retry_count + 1}\\n".encode())

@step_handler("work")
async def work(context):
    note(context)
    return {"attempt": context.retry_count + 1}

@step_handler("flaky")
async def flaky(context):
    note(context)
    if context.retry_count == 0 and context.get_input("number") % 10 == 0:
        raise RetryableError("the bank is busy")
    return {"attempt": context.retry_count + 1}
"""

LEASE_SECONDS = 3
BATCH = 100

#: Waits for a moment that has no signal of its own.
_LOOK_SECONDS = 0.05


@dataclass
class Report:
    """What was seen.

    Attributes:
        acknowledged: tasks that a server said it has, by idempotency key.
        lies: answers that contradict what was answered before, or that are no answers as documented.
        statuses: numbers of answers to readers by HTTP status; 0 for none.
        ended: how often the stream of events told that a task is complete.
        seconds: how long all of it took.
    """

    acknowledged: dict[str, str] = field(default_factory=dict)
    lies: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    events: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def happened(self, what: str) -> None:
        """Note an event, and tell it."""
        self.events.append(what)
        print(what, file=sys.stderr, flush=True)


class Fleet:
    """Servers and workers as processes of their own."""

    def __init__(self, directory: Path, database_url: str) -> None:
        self._directory = directory
        self._environment = {
            **os.environ,
            "DATABASE_URL": database_url,
            "TASKER_LEASE_SECONDS": str(LEASE_SECONDS),
            "EXECUTIONS": str(directory / "executions"),
        }
        self._ports = [free_port(), free_port()]
        self.servers: list[Process] = []
        self.workers: list[Process] = []
        (directory / "transfer.yaml").write_text(TEMPLATE)
        (directory / "handlers.py").write_text(HANDLERS)

    @property
    def urls(self) -> list[str]:
        """Where the servers listen."""
        return [f"http://127.0.0.1:{port}" for port in self._ports]

    async def start(self) -> None:
        """Start two servers and four workers, two for each server."""
        self.servers = [await self.start_server(number) for number in (0, 1)]
        for url in self.urls:
            await until_ready(url)
        self.workers = [await self.start_worker(number % 2) for number in range(4)]

    async def start_server(self, number: int) -> Process:
        """Start a server at its port."""
        return await self._start("server", f"--bind=127.0.0.1:{self._ports[number]}", log=f"server-{number}")

    async def start_worker(self, server: int) -> Process:
        """Start a worker for a server."""
        return await self._start(
            f"--server={self.urls[server]}", "worker", "transfer.yaml", "--concurrency=50", log="workers"
        )

    async def stop(self) -> None:
        """End all processes."""
        for process in (*self.workers, *self.servers):
            if process.returncode is None:
                process.terminate()
        for process in (*self.workers, *self.servers):
            try:
                await asyncio.wait_for(process.wait(), 30)
            except TimeoutError:
                process.kill()
                await process.wait()

    async def _start(self, *arguments: str, log: str) -> Process:
        with (self._directory / f"{log}.log").open("a") as output:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tasker_core", *arguments,
                cwd=self._directory, env=self._environment, stdout=output, stderr=output,
            )  # fmt: skip


async def run(tasks: int, postgres: EmbeddedPostgres, directory: Path) -> Report:
    """Push tasks through a fleet, kill most of it on the way, and return what was seen once all tasks are over."""
    fleet, report = Fleet(directory, postgres.url), Report()
    started = time.monotonic()
    await fleet.start()
    try:
        async with _clients(fleet) as clients, asyncio.TaskGroup() as group:
            await clients[0].register_template(TEMPLATE)
            watching = [group.create_task(_watch(url, report)) for url in fleet.urls]
            watching.append(group.create_task(_listen(clients[0], report)))
            pushing = group.create_task(_push(clients, tasks, report))
            await _fire(fleet, postgres, tasks, report)
            await pushing
            await _until_complete(postgres.url, tasks)
            await _until_told(report, tasks)
            for task in watching:
                task.cancel()
    finally:
        await fleet.stop()
    report.seconds = time.monotonic() - started
    return report


async def _fire(fleet: Fleet, postgres: EmbeddedPostgres, tasks: int, report: Report) -> None:
    """Kill a server, two workers and the database, and restart the servers in turn, as tasks complete."""
    await _until_complete(postgres.url, tasks // 5)
    report.happened("kill -9 of a server")
    fleet.servers[0].kill()
    await fleet.servers[0].wait()
    fleet.servers[0] = await fleet.start_server(0)
    await _until_complete(postgres.url, tasks * 2 // 5)
    report.happened("kill -9 of two workers")
    for number in (0, 1):
        fleet.workers[number].kill()
        await fleet.workers[number].wait()
        fleet.workers[number] = await fleet.start_worker(number)
    await _until_complete(postgres.url, tasks * 3 // 5)
    report.happened("crash and restart of PostgreSQL")
    await asyncio.to_thread(postgres.restart)
    await _until_complete(postgres.url, tasks * 4 // 5)
    report.happened("rolling restart of both servers")
    for number in (0, 1):
        await until_ready(fleet.urls[number])
        fleet.servers[number].send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(fleet.servers[number].wait(), 60)
        if code != 0:
            report.lies.append(f"a server that was told to stop ended with {code}")
        fleet.servers[number] = await fleet.start_server(number)
        await until_ready(fleet.urls[number])


async def _push(clients: Sequence[AsyncTaskerClient], tasks: int, report: Report) -> None:
    """Create all tasks in batches, each until a server has acknowledged all of it; a key names each task."""
    for start in range(0, tasks, BATCH):
        wanted = [
            {"name": "transfer", "namespace": "bank", "context": {"number": n}, "idempotency_key": f"transfer-{n}"}
            for n in range(start, min(start + BATCH, tasks))
        ]
        answer = await _insist(clients, wanted)
        for request, result in zip(wanted, answer.results, strict=True):
            if result["status"] == "failed":
                raise AssertionError(f"a good request was refused: {result}")
            report.acknowledged[request["idempotency_key"]] = result["task_uuid"]


async def _insist(clients: Sequence[AsyncTaskerClient], wanted: list[dict[str, Any]]) -> Any:
    while True:
        for client in random.sample(clients, len(clients)):
            with contextlib.suppress(TaskerClientError):
                return await client.create_tasks(wanted, return_existing=True)
        await asyncio.sleep(_LOOK_SECONDS)


async def _watch(url: str, report: Report) -> None:
    """Read tasks that were acknowledged, one after the other: each is there, and never less far than it was."""
    furthest: Counter[str] = Counter()
    async with httpx.AsyncClient(base_url=url, timeout=15.0) as client:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if not report.acknowledged:
                continue
            task = random.choice(list(report.acknowledged.values()))
            try:
                answer = await client.get(f"/v1/tasks/{task}")
            except httpx.HTTPError:
                report.statuses[0] += 1
                continue
            report.statuses[answer.status_code] += 1
            report.lies += _lies_in(answer, task, furthest)


def _lies_in(answer: httpx.Response, task: str, furthest: Counter[str]) -> Iterator[str]:
    body = answer.json()
    if answer.status_code == 503:
        if body["error"]["code"] not in {"SERVICE_UNAVAILABLE", "BACKPRESSURE"} or "retry-after" not in answer.headers:
            yield f"503 not as documented: {answer.text}"
    elif answer.status_code != 200:
        yield f"{answer.status_code} for a task that was acknowledged: {answer.text[:300]}"
    else:
        done = body["completed_steps"]
        if done < furthest[task] or (body["status"] == "complete") != (done == body["total_steps"]):
            yield f"task {task} was at {furthest[task]} steps and is {body['status']} with {done}"
        furthest[task] = done


async def _listen(client: AsyncTaskerClient, report: Report) -> None:
    """Follow all events, over all that is killed, and count how often each task is told to be complete."""
    last = f"{time.time_ns() // 1000}-0-0"
    while True:
        with contextlib.suppress(TaskerClientError):
            async for event in client.namespace_events("bank", last_event_id=last):
                last = event.id or last
                report.ended[""] += 1
                if event.event == "task" and event.data["to_state"] == "complete":
                    report.ended[event.data["task_uuid"]] += 1
        await asyncio.sleep(_LOOK_SECONDS)


async def _until_complete(url: str, tasks: int) -> None:
    """Wait until so many tasks are complete, whatever happens to the database meanwhile."""
    while True:
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            connection = await asyncpg.connect(url, timeout=5.0)
            try:
                while True:
                    done = await connection.fetchval("SELECT count(*) FROM tasker.tasks WHERE state = 'complete'")
                    if done >= tasks:
                        return
                    await asyncio.sleep(_LOOK_SECONDS)
            finally:
                with contextlib.suppress(Exception):
                    await asyncio.wait_for(connection.close(), 5.0)
        await asyncio.sleep(_LOOK_SECONDS)


async def _until_told(report: Report, tasks: int) -> None:
    """Wait for the last events; they come within a second."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(20):
            while len(report.ended) - 1 < tasks:  # noqa: ASYNC110 - the stream itself is what is waited for
                await asyncio.sleep(_LOOK_SECONDS)


async def until_ready(url: str) -> None:
    """Wait until a server is ready."""
    async with asyncio.timeout(60), httpx.AsyncClient(timeout=5.0) as client:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get(f"{url}/health/ready")).status_code == 200:
                    return
            await asyncio.sleep(_LOOK_SECONDS)


@contextlib.asynccontextmanager
async def _clients(fleet: Fleet) -> AsyncIterator[list[AsyncTaskerClient]]:
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(AsyncTaskerClient(base_url=url)) for url in fleet.urls]


async def audit(url: str, directory: Path) -> dict[str, int]:
    """Count what the database has, and what contradicts it."""
    executed = Counter((directory / "executions").read_text().splitlines())
    connection = await asyncpg.connect(url)
    try:
        recorded = await connection.fetch(
            "SELECT task_uuid, ordinal, attempt, to_state::text FROM tasker.step_transitions"
        )
        counted = Counter((row["task_uuid"], row["ordinal"], row["attempt"]) for row in recorded)
        completed = Counter((row["task_uuid"], row["ordinal"]) for row in recorded if row["to_state"] == "complete")
        return {
            "tasks": await connection.fetchval("SELECT count(*) FROM tasker.tasks"),
            "complete": await connection.fetchval("SELECT count(*) FROM tasker.tasks WHERE state = 'complete'"),
            "attempts_recorded": len(recorded),
            "attempts_recorded_twice": sum(1 for number in counted.values() if number > 1),
            "steps_completed": len(completed),
            "steps_completed_twice": sum(1 for number in completed.values() if number > 1),
            "executions": executed.total(),
            "executed_twice": sum(number - 1 for number in executed.values()),
        }
    finally:
        await connection.close()


@contextlib.contextmanager
def _directory(given: Path | None) -> Iterator[Path]:
    if given is not None:
        given.mkdir(parents=True)
        yield given
    else:
        with tempfile.TemporaryDirectory() as made:
            yield Path(made)


def main() -> int:
    """Do it, print what was seen, and return 1 if something was lost, doubled or untrue."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--logs", type=Path, help="where the logs of all processes go; by default they are not kept")
    arguments = parser.parse_args()
    with _directory(arguments.logs) as place, EmbeddedPostgres(place / "postgres") as postgres:
        asyncio.run(migrate(postgres.url))
        report = asyncio.run(run(arguments.tasks, postgres, place))
        counts = asyncio.run(audit(postgres.url, place))
    told = {task: number for task, number in report.ended.items() if task}
    print(f"{report.seconds:.0f} s; on the way: {', '.join(report.events)}")
    for name, number in counts.items():
        print(f"  {name.replace('_', ' ')}: {number}")
    print(f"  acknowledged: {len(report.acknowledged)}, different tasks: {len(set(report.acknowledged.values()))}")
    print(f"  told as complete: {len(told)}, told twice: {sum(number > 1 for number in told.values())}")
    print(f"  answers to readers: {dict(report.statuses)}")
    print(f"  untrue answers: {len(report.lies)}", *report.lies[:5], sep="\n    ")
    good = (
        counts["complete"] == counts["tasks"] == len(set(report.acknowledged.values())) == arguments.tasks
        and set(told) == set(report.acknowledged.values())
        and max(told.values()) == 1
        and not (counts["attempts_recorded_twice"] or counts["steps_completed_twice"] or report.lies)
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
