"""Real servers, and real workers of every language, as processes that tests start, stop and kill."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import httpx
import yaml
from tests.ports import free_port

from tasker_core.client import StepAuditResponse, StepResponse, TaskerClient, TaskResponse, WaitTimeoutError

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "sdks" / "conformance" / "live" / "templates"

#: How long a lease lasts at a server whose leases are to run out.
LEASE_SECONDS = 2.0

#: Until when something that must happen has to have happened.
DEADLINE_SECONDS = 120.0

_LOOK_SECONDS = 0.02

T = TypeVar("T")


@dataclass(frozen=True)
class Language:
    """A language that has a worker.

    Attributes:
        command: starts its worker of the live pack.
        build: what makes the file that the command runs, in the root of the project.
    """

    name: str
    command: tuple[str, ...]
    build: str

    @property
    def executable(self) -> Path:
        """The file that must exist."""
        return Path(self.command[-1])


LANGUAGES = {
    language.name: language
    for language in (
        Language("python", (sys.executable, str(ROOT / "sdks/conformance/live/python_worker.py")), ""),
        Language(
            "typescript",
            ("node", str(ROOT / "sdks/typescript/dist/live/worker.js")),
            "cd sdks/typescript && npm ci && npm run build",
        ),
        Language("ruby", ("ruby", str(ROOT / "sdks/ruby/live/worker.rb")), "install Ruby 3.1 or later"),
        Language(
            "rust",
            (str(ROOT / "sdks/rust/target/debug/live-worker"),),
            "cd sdks/rust && cargo build --package live-worker",
        ),
    )
}


def built(language: Language) -> Language:
    """Return a language whose worker is there; without one it is an error that says how to get it."""
    if not language.executable.exists():
        raise RuntimeError(f"{language.name}'s worker is not there: {language.build}")
    return language


def until(condition: Callable[[], T], what: str, seconds: float = DEADLINE_SECONDS) -> T:
    """Wait until something is true, and return what it is."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(_LOOK_SECONDS)
    return found


@contextlib.contextmanager
def database_of_a_template(postgres_url: str, template: str) -> Iterator[str]:
    """A database that is made from another one, and dropped afterwards; yields its URL."""
    name = f"sdks_{uuid.uuid4().hex}"
    asyncio.run(_administer(postgres_url, f'CREATE DATABASE "{name}" TEMPLATE "{template}"'))
    try:
        yield postgres_url.replace("/postgres?", f"/{name}?", 1)
    finally:
        asyncio.run(_administer(postgres_url, f'DROP DATABASE "{name}" WITH (FORCE)'))


async def _administer(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


class Process:
    """A process whose output goes to a file."""

    def __init__(self, command: tuple[str, ...], log: Path, environment: Mapping[str, str]) -> None:
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                command, cwd=log.parent, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env={**os.environ, **environment},
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    def output(self) -> str:
        """Return what it wrote so far."""
        return self.log.read_text(errors="replace")

    def check(self) -> None:
        """Fail if it ended."""
        if self._popen.poll() is not None:
            raise AssertionError(f"ended with exit code {self._popen.returncode}:\n{self.output()}")

    def send(self, number: int) -> None:
        """Send it a signal."""
        self._popen.send_signal(number)

    def ended(self) -> int:
        """Wait for its end and return its exit code."""
        try:
            return self._popen.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"does not end:\n{self.output()}") from error

    def kill(self) -> None:
        """End it, whatever it does."""
        if self._popen.poll() is None:
            self._popen.kill()
        self._popen.wait()


class Server:
    """A server on a port of its own, which can be killed and started again.

    Args:
        database_url: its database.
        lease_seconds: how long leases last.
        directory: where its output goes.
        settings: more of its environment.
    """

    def __init__(self, database_url: str, lease_seconds: float, directory: Path, **settings: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = directory / f"server-{self.port}.log"
        self._environment = {"DATABASE_URL": database_url, "TASKER_LEASE_SECONDS": str(lease_seconds), **settings}
        self.start()

    def start(self) -> None:
        """Start it, and return once it is ready."""
        command = (sys.executable, "-m", "tasker_core", "server", f"--bind=127.0.0.1:{self.port}")
        self._process = Process(command, self._log, self._environment)

        def ready() -> bool:
            self._process.check()
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(f"{self.url}/health/ready", timeout=5.0).is_success
            return False

        until(ready, "the server is ready")

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._process.kill()


class Worker(Process):
    """A worker of the live pack, named in the history by `name`."""

    def __init__(
        self, language: Language, server_url: str, namespace: str, log: Path, slots: int, api_key: str | None
    ) -> None:
        self.namespace = namespace
        self.name = f"{namespace}-{uuid.uuid4().hex[:8]}"
        self._address = f"127.0.0.1:{free_port()}"
        environment = {
            "TASKER_ORCHESTRATION_URL": server_url,
            "TASKER_WORKER_ID": self.name,
            "TASKER_NAMESPACE": namespace,
            "TASKER_MAX_CONCURRENT": str(slots),
            "TASKER_SHUTDOWN_TIMEOUT": "20",
            "TASKER_WORKER_HEALTH_BIND": self._address,
            **({"TASKER_API_KEY": api_key} if api_key else {}),
        }
        super().__init__(language.command, log, environment)

    def get(self, path: str) -> httpx.Response:
        """Ask it how it is, once it listens for that."""

        def answer() -> httpx.Response | None:
            self.check()
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(f"http://{self._address}{path}", timeout=5.0)
            return None

        # An answer that says no is an answer, too, but not true.
        return until(lambda: [found] if (found := answer()) is not None else [], f"an answer to {path}")[0]


class Pack:
    """A server, and what tests do with it.

    Args:
        server: the server.
        directory: a directory for files.
        api_key: what tests and workers show to it.

    Attributes:
        server: the server.
        client: a client of it.
        directory: a directory for files that handlers and tests share.
    """

    def __init__(self, server: Server, directory: Path, api_key: str | None = None) -> None:
        self.server = server
        self.directory = directory
        self.client = TaskerClient(base_url=server.url, api_key=api_key)
        self._api_key = api_key
        self._registered: set[tuple[str, str]] = set()
        self._workers: list[Worker] = []

    # -- workers

    def launch_worker(
        self, language: Language, namespace: str, *, slots: int = 10, api_key: str | None = None
    ) -> Worker:
        """Start a worker, and do not wait for anything."""
        log = self.directory / f"worker-{len(self._workers)}-{language.name}.log"
        worker = Worker(language, self.server.url, namespace, log, slots, api_key or self._api_key)
        self._workers.append(worker)
        return worker

    def start_worker(self, language: Language, namespace: str, *, slots: int = 10) -> Worker:
        """Start a worker, and return it once the server knows it."""
        worker = self.launch_worker(language, namespace, slots=slots)
        self.wait_for(worker)
        return worker

    def wait_for(self, worker: Worker) -> None:
        """Wait until the server knows a worker."""

        def registered() -> bool:
            worker.check()
            return self.knows(worker)

        until(registered, f"{worker.name} is registered")

    def get(self, path: str) -> Any:
        """Ask the server for something."""
        headers = {"X-API-Key": self._api_key} if self._api_key else {}
        return httpx.get(f"{self.server.url}{path}", headers=headers, timeout=10.0).raise_for_status().json()

    def knows(self, worker: Worker) -> bool:
        """Whether the server knows a worker that runs."""
        return any(each["name"] == worker.name for each in self.get("/v1/workers")["workers"])

    def close(self) -> None:
        """End all workers, and the client."""
        for worker in self._workers:
            worker.kill()
        self.client.close()

    # -- tasks

    def file(self, name: str) -> Path:
        """Return the path of a file that no other test has."""
        return self.directory / f"{name}-{uuid.uuid4().hex}"

    def register(self, template: str, namespace: str) -> None:
        """Register a template of the pack in a namespace."""
        if (template, namespace) not in self._registered:
            document = yaml.safe_load((TEMPLATES / f"{template}.yaml").read_text(encoding="utf-8"))
            self.client.register_template(yaml.safe_dump({**document, "namespace_name": namespace}))
            self._registered.add((template, namespace))

    def create(self, template: str, namespace: str, **context: Any) -> str:
        """Create a task of a template of the pack in a namespace; paths in the context become texts."""
        self.register(template, namespace)
        given = {name: str(value) if isinstance(value, Path) else value for name, value in context.items()}
        key = uuid.uuid4().hex
        return self.client.create_task(template, namespace=namespace, context=given, idempotency_key=key).task_uuid

    def create_many(self, number: int, template: str, namespace: str) -> list[str]:
        """Create tasks at once."""
        self.register(template, namespace)
        keys = (uuid.uuid4().hex for _ in range(number))
        wanted = [{"name": template, "namespace": namespace, "idempotency_key": key} for key in keys]
        return [each["task_uuid"] for each in self.client.create_tasks(wanted).results]

    def wait(self, task: str) -> TaskResponse:
        """Wait until a task is over or blocked."""
        try:
            return self.client.wait(task, DEADLINE_SECONDS)
        except WaitTimeoutError as error:
            logs = "\n".join(f"{worker.name}:\n{worker.output()[-2000:]}" for worker in self._workers)
            raise AssertionError(f"{error}\n{logs}") from error

    def steps(self, task: str) -> dict[str, StepResponse]:
        """Return a task's steps by name."""
        return {step.name: step for step in self.client.list_task_steps(task)}

    def completed(self, task: str) -> dict[str, Any]:
        """Wait until a task is complete, and return its steps' results by name."""
        found = self.wait(task)
        steps = self.steps(task)
        assert found.status == "complete", (found.status, {name: step.results for name, step in steps.items()})
        return {name: step.results["result"] for name, step in steps.items()}

    def audit(self, task: str, step: str) -> list[StepAuditResponse]:
        """Return the ends of a step's attempts, the first one first."""
        history = self.client.get_step_audit_history(task, self.steps(task)[step].step_uuid)
        return sorted(history, key=lambda each: each.recorded_at)


def until_line(path: Path, text: str) -> str:
    """Wait until a file has a line that begins with this text, and return the last one of them."""

    def found() -> str:
        lines = path.read_text().splitlines() if path.exists() else []
        return next((line for line in reversed(lines) if line.startswith(text)), "")

    return until(found, f"{text!r} in {path.name}")


def log_events(worker: Process) -> list[dict[str, Any]]:
    """Return a worker's log, each line of which must be a JSON object."""
    return [json.loads(line) for line in worker.output().splitlines()]


def terminated(worker: Process) -> int:
    """Tell a worker to stop, and return its exit code."""
    worker.send(signal.SIGTERM)
    return worker.ended()
