"""Workers of their own: what one command creates they run, and whatever is stopped or killed, nothing is lost."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psutil
import pytest
from click.testing import Result
from typer.testing import CliRunner

from tasker_core.cli.app import app
from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.states import TaskState
from tasker_core.store import EmbeddedPostgres
from tasker_core.template import load_file

TEMPLATE = """
name: order
namespace_name: shop
version: 1.0.0
input_schema: {type: object, properties: {item: {type: string}}}
steps:
  - {name: pick, handler: {callable: pick}, retry: {backoff: none}}
  - {name: pack, handler: {callable: pack}, dependencies: [pick]}
"""

#: What `pick` does is up to the item.
HANDLERS = """
import os, pathlib, time
from tasker_core import PermanentError
from tasker_core.step_handler.functional import step_handler

@step_handler("pick")
def pick(context):
    item = context.get_input("item")
    while item == "heavy" and not pathlib.Path("may_end").exists():
        time.sleep(0.01)
    if item == "many":
        pathlib.Path(f"picking-{os.getpid()}").touch()
    while item == "many" and len(list(pathlib.Path().glob("picking-*"))) < 2:
        time.sleep(0.01)
    if item == "broken":
        raise PermanentError("it is broken")
    return {"item": item, "pid": os.getpid()}

@step_handler("pack")
def pack(context):
    return {"packed": context.get_dependency_result("pick")["item"]}
"""

LAST_STEP = "  - {name: pack, handler: {callable: pack}, dependencies: [pick]}\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "order.yaml").write_text(TEMPLATE)
    (tmp_path / "handlers.py").write_text(HANDLERS)
    return tmp_path


class WorkerCommand:
    """A ``tasker worker`` that runs; it and its processes end with the test."""

    def __init__(self, directory: Path, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tasker_core", "--verbose", "worker", *arguments],
            cwd=directory, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment},
        )  # fmt: skip
        self.seen = ""

    def read_until(self, text: str) -> str:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.seen += line
            if text in line:
                return line
        raise AssertionError(f"no {text!r} in:\n{self.seen}")

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def ended(self) -> int:
        """Wait for it and everything that it has started; return its exit code."""
        assert self.process.stderr is not None
        self.seen += self.process.stderr.read()
        assert "Traceback" not in self.seen
        return self.process.wait(timeout=60)

    def stop(self) -> None:
        self.send(signal.SIGTERM)
        assert self.ended() == 0, self.seen

    def kill(self) -> None:
        if self.process.poll() is None:
            processes = [*self.children(), psutil.Process(self.process.pid)]
            for process in processes:
                process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def worker(project: Path) -> Iterator[Callable[..., WorkerCommand]]:
    """Starts workers of the project's template, and waits until each is ready."""
    started: list[WorkerCommand] = []

    def start(*arguments: str, **environment: str) -> WorkerCommand:
        command = WorkerCommand(project, arguments or ("order.yaml",), environment)
        started.append(command)
        command.read_until(" at once; ")
        return command

    yield start
    for command in started:
        command.kill()


class Orders:
    """Creates tasks in the test's own process, and looks at them."""

    def __init__(self, project: Path, engine: Engine) -> None:
        self._template = load_file(project / "order.yaml")
        self._engine = engine

    async def create(self, item: str, number: int = 1) -> list[UUID]:
        requests = [TaskRequest(context={"item": item}, idempotency_key=str(uuid4())) for _ in range(number)]
        return await self._engine.create_tasks(self._template, requests)

    async def completed(self, task: UUID) -> list[dict[str, Any]]:
        """Wait for a task; return its steps."""
        assert await self._engine.wait(task, timeout=60) is TaskState.COMPLETE
        return await self.steps(task)

    async def steps(self, task: UUID) -> list[dict[str, Any]]:
        return await self._engine.steps(task)


@pytest.fixture
def orders(project: Path, engine: Engine) -> Orders:
    return Orders(project, engine)


def attempts(steps: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(step["current_state"], step["attempts"]) for step in steps]


# Creating and serving


def test_a_task_that_one_command_creates_is_run_by_a_worker_of_its_own(tasker, project, database_url, worker):
    serving = worker(DATABASE_URL=database_url)
    assert "2 handlers of 1 template, 10 at once; postgresql://" in serving.seen
    created = tasker("task", "create", "order.yaml", "-c", '{"item": "pen"}', DATABASE_URL=database_url)
    assert (created.returncode, created.stderr) == (0, "")
    task = str(UUID(created.stdout.strip()))
    serving.read_until("step=pack success=True")
    waited = tasker(
        "task",
        "create",
        "order.yaml",
        "-c",
        '{"item": "pen"}',
        "--return-existing",
        "--wait",
        DATABASE_URL=database_url,
    )
    assert waited.returncode == 0, waited.stderr
    assert 'pack {"packed":"pen"}' in waited.stdout
    assert f"✓ complete {task}" in waited.stdout
    history = json.loads(tasker("task", "history", task, "--json", DATABASE_URL=database_url).stdout)["history"]
    assert {change["worker"].rpartition("-")[2] for change in history if change["worker"]} == {str(serving.process.pid)}
    serving.stop()


def test_whoever_creates_a_task_may_wait_for_how_it_ends(tasker, project, database_url, worker):
    serving = worker(DATABASE_URL=database_url)
    create = ("task", "create", "order.yaml", "--wait", "-c")
    complete = tasker(*create, '{"item": "pen"}', "--json", DATABASE_URL=database_url)
    assert complete.returncode == 0, complete.stderr
    outcome = json.loads(complete.stdout)
    assert (outcome["status"], outcome["created"]) == ("complete", True)
    assert outcome["steps"][1]["result"] == {"packed": "pen"}
    failed = tasker(*create, '{"item": "broken"}', DATABASE_URL=database_url)
    assert failed.returncode == 6
    assert "pick error: it is broken" in failed.stderr
    assert "✗ blocked_by_failures" in failed.stdout
    late = tasker(*create, '{"item": "heavy"}', "--timeout", "0.1", DATABASE_URL=database_url)
    assert late.returncode == 1
    assert "the task is not over after 0.1 s" in late.stderr
    (project / "may_end").touch()
    serving.stop()


async def test_two_workers_share_the_work(database_url, worker, orders):
    both = [worker("order.yaml", "--concurrency", "1", DATABASE_URL=database_url) for _ in range(2)]
    tasks = await orders.create("many", 40)
    steps = [await orders.completed(task) for task in tasks]
    assert all(attempts(each) == [("complete", 1)] * 2 for each in steps)
    assert {each[0]["result"]["pid"] for each in steps} == {serving.process.pid for serving in both}
    for serving in both:
        serving.stop()


async def test_a_worker_may_leave_to_others_what_it_has_no_handler_for(project, database_url, worker, orders):
    picking, packing = HANDLERS.split('@step_handler("pack")')
    (project / "handlers.py").write_text(picking)
    elsewhere = project / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "packing.py").write_text(picking.split("@step_handler")[0] + '@step_handler("pack")' + packing)
    first = worker("order.yaml", "--allow-missing", DATABASE_URL=database_url)
    assert "step pack: pack (did you mean 'pick'?)" in first.seen
    assert "1 handler of 1 template" in first.seen
    (task,) = await orders.create("pen")
    first.read_until("step_ended")
    second = worker("order.yaml", "--handlers", "elsewhere", DATABASE_URL=database_url)
    steps = await orders.completed(task)
    assert steps[0]["result"]["pid"] == first.process.pid
    first.stop()
    second.stop()


def test_without_a_database_of_its_own_a_worker_uses_the_embedded_one(tasker, project, worker):
    serving = worker("order.yaml", "--processes", "2")
    assert f"embedded PostgreSQL, data in {project}/.tasker/postgres" in serving.seen
    assert tasker("task", "create", "order.yaml", "--wait", "-c", '{"item": "pen"}').returncode == 0
    serving.stop()
    assert not (project / ".tasker" / "postgres" / "postmaster.pid").exists()


# Dying


async def test_the_steps_of_a_worker_that_is_killed_are_taken_over(project, database_url, worker, orders):
    environment = {"DATABASE_URL": database_url, "TASKER_LEASE_SECONDS": "1"}
    killed = worker("order.yaml", **environment)
    (task,) = await orders.create("heavy")
    killed.read_until("step_started")
    killed.kill()
    (project / "may_end").touch()
    other = worker("order.yaml", **environment)
    assert attempts(await orders.completed(task)) == [("complete", 2), ("complete", 1)]
    other.stop()


async def test_a_process_that_dies_is_replaced_and_its_steps_are_taken_over(project, database_url, worker, orders):
    serving = worker("order.yaml", "--processes", "2", DATABASE_URL=database_url, TASKER_LEASE_SECONDS="1")
    before = {child.pid for child in serving.children()}
    assert len(before) == 2
    (task,) = await orders.create("heavy")
    pid = int(re.findall(r"worker=\S+-(\d+)", serving.read_until("step_started"))[0])
    assert pid in before
    os.kill(pid, signal.SIGKILL)
    assert f"worker process {pid} was ended by SIGKILL; another one takes its place" in serving.read_until("SIGKILL")
    (project / "may_end").touch()
    assert attempts(await orders.completed(task)) == [("complete", 2), ("complete", 1)]
    serving.read_until("worker_process_ready")
    assert len(serving.children()) == 2
    serving.stop()


async def test_processes_whose_supervisor_is_killed_finish_what_they_run(project, database_url, worker, orders):
    serving = worker("order.yaml", "--processes", "2", DATABASE_URL=database_url)
    children = serving.children()
    (task,) = await orders.create("heavy")
    serving.read_until("step_started")
    serving.send(signal.SIGKILL)
    serving.read_until("1 running handler(s) may finish")
    (project / "may_end").touch()
    serving.ended()
    gone, alive = psutil.wait_procs(children, timeout=30)
    assert (len(gone), alive) == (2, [])
    assert attempts(await orders.steps(task)) == [("complete", 1), ("enqueued", 0)]


async def test_a_worker_outlives_its_database(project, own_postgres: EmbeddedPostgres, worker):
    async with Engine(own_postgres.url) as engine:
        orders = Orders(project, engine)
        serving = worker(DATABASE_URL=own_postgres.url)
        (task,) = await orders.create("heavy")
        serving.read_until("step_started")
        await asyncio.to_thread(own_postgres.restart)
        (project / "may_end").touch()
        assert attempts(await orders.completed(task)) == [("complete", 1)] * 2
        (after,) = await orders.create("pen")
        assert attempts(await orders.completed(after)) == [("complete", 1)] * 2
        serving.stop()


# Stopping


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_lets_running_handlers_finish_and_starts_nothing(
    project, database_url, worker, orders, number, processes
):
    serving = worker("order.yaml", "--processes", processes, DATABASE_URL=database_url)
    (task,) = await orders.create("heavy")
    serving.read_until("step_started")
    serving.send(number)
    serving.read_until("1 running handler(s) may finish within 30 s")
    (waiting,) = await orders.create("pen")
    (project / "may_end").touch()
    assert serving.ended() == 0, serving.seen
    assert attempts(await orders.steps(task)) == [("complete", 1), ("enqueued", 0)]
    assert attempts(await orders.steps(waiting)) == [("enqueued", 0), ("pending", 0)]


async def test_what_does_not_finish_in_time_is_given_up_for_another_worker(project, database_url, worker, orders):
    serving = worker("order.yaml", "--shutdown-timeout", "0.1", DATABASE_URL=database_url)
    (task,) = await orders.create("heavy")
    serving.read_until("step_started")
    serving.stop()
    assert "drain_timeout" in serving.seen
    (project / "may_end").touch()
    other = worker(DATABASE_URL=database_url)
    assert attempts(await orders.completed(task)) == [("complete", 2), ("complete", 1)]
    other.stop()


@pytest.mark.parametrize("processes", ["1", "2"])
async def test_a_second_signal_ends_everything_at_once(database_url, worker, orders, processes):
    serving = worker("order.yaml", "--processes", processes, DATABASE_URL=database_url)
    children = serving.children()
    await orders.create("heavy")
    serving.read_until("step_started")
    serving.send(signal.SIGINT)
    serving.read_until("1 running handler(s) may finish")
    serving.send(signal.SIGTERM)
    assert serving.ended() == 143
    assert not any(child.is_running() for child in children)


# What is refused


CLASS_HANDLER = """
from tasker_core import StepHandler

class Pick(StepHandler):
    def call(self, context):
        return self.success({})
"""


def test_directories_that_mean_different_handlers_by_one_name_are_refused(tasker, tmp_path):
    for name in ("one", "two"):
        directory = tmp_path / name
        directory.mkdir()
        text = TEMPLATE.replace(LAST_STEP, "").replace("callable: pick", "callable: handlers.Pick")
        (directory / "template.yaml").write_text(text.replace("name: order", f"name: {name}", 1))
        (directory / "handlers.py").write_text(CLASS_HANDLER)
    done = tasker("worker", "one", "two")
    assert done.returncode == 1
    assert "step pick of shop/two/1.0.0: handlers.Pick is another handler beside another" in done.stderr


def test_a_worker_that_lacks_handlers_says_which(tasker, tmp_path):
    (tmp_path / "order.yaml").write_text(TEMPLATE)
    for options in ((), ("--processes", "2")):
        done = tasker("worker", "order.yaml", *options)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.count("step pick: pick") == done.stderr.count("step pack: pack") == 1
        assert "--allow-missing" in done.stderr
    nothing = tasker("worker", "order.yaml", "--allow-missing")
    assert nothing.returncode == 1
    assert "no handler for:" in nothing.stderr


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_worker_starts_with_a_database_that_answers(tasker, project, processes):
    url = "postgresql://me:secret@127.0.0.1:1/x"
    done = tasker("worker", "order.yaml", "--processes", processes, "--database-url", url, "--wait-for", "0")
    assert done.returncode == 5, done.stderr
    assert done.stderr.count("the database cannot be reached") == 1
    assert "me:***@127.0.0.1:1/x" in done.stderr


NO_TIME = "is no time with a zone"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["worker"], 2, "Missing argument"),
        (["worker", "missing.yaml"], 3, "no file or directory missing.yaml"),
        (["worker", "empty"], 3, "there are no templates in empty"),
        (["worker", "order.yaml", "bad.yaml"], 1, "bad.yaml:"),
        (["worker", "order.yaml", "--processes", "0"], 2, "--processes"),
        (["worker", "order.yaml", "--concurrency", "many"], 2, "--concurrency"),
        (["worker", "order.yaml", "--shutdown-timeout", "-1"], 2, "--shutdown-timeout"),
        (["task", "create"], 2, "Missing argument"),
        (["task", "create", "missing.yaml"], 3, "no file or directory missing.yaml"),
        (["task", "create", "empty"], 3, "holds no template"),
        (["task", "create", "bad.yaml"], 1, "bad.yaml:"),
        (["task", "create", "order.yaml", "--task", "other"], 3, "holds the template order, not other"),
        (["task", "create", "order.yaml", "-c", "[]"], 2, "must be a JSON object, not an array"),
        (["task", "create", "order.yaml", "--priority", "101"], 2, "--priority"),
        (["task", "create", "order.yaml", "--priority", "high"], 2, "--priority"),
        (["task", "create", "order.yaml", "--requested-at", "tomorrow"], 2, f"'tomorrow' {NO_TIME}"),
        (["task", "create", "order.yaml", "--requested-at", "2030-01-31T08:00:00"], 2, NO_TIME),
        (["task", "create", "order.yaml", "--requested-at", "2030-02-31T08:00:00Z"], 2, NO_TIME),
        (["task", "create", "order.yaml", "--requested-at", "0001-01-01T00:00:00+01:00"], 2, NO_TIME),
        (["task", "create", "order.yaml", "--correlation-id", "seven"], 2, "--correlation-id"),
        (["task", "create", "order.yaml", "--tag", " "], 2, "--tag"),
        (["task", "create", "order.yaml", "--reason", ""], 2, "--reason"),
        (["task", "create", "order.yaml", "--initiator", " "], 2, "--initiator"),
        (["task", "create", "order.yaml", "--timeout", "5"], 2, "--timeout"),
    ],
)
def test_nonsense_is_answered_with_a_sentence(project, monkeypatch, arguments, code, message):
    (project / "bad.yaml").write_text(TEMPLATE.replace("[pick]", "[nobody]"))
    (project / "empty").mkdir()
    monkeypatch.chdir(project)
    done = CliRunner(env={"COLUMNS": "300", "NO_COLOR": "1"}).invoke(app, arguments)
    assert (done.exit_code, done.stdout) == (code, ""), done.stderr
    assert message in done.stderr
    assert not (project / ".tasker").exists()


# Creating in detail


@pytest.fixture
def create(project, database_url, monkeypatch) -> Callable[..., Result]:
    """Runs ``tasker task create`` with the project's template."""
    monkeypatch.chdir(project)

    def run(*arguments: str, standard_input: str | None = None) -> Result:
        runner = CliRunner(env={"COLUMNS": "300", "NO_COLOR": "1", "DATABASE_URL": database_url})
        return runner.invoke(app, ["task", "create", "order.yaml", *arguments], input=standard_input)

    return run


def test_a_request_that_was_made_before_is_refused_and_names_its_task(project, create):
    pen = ("-c", '{"item": "pen"}')
    task = create(*pen).stdout.strip()
    again = create(*pen)
    assert (again.exit_code, again.stdout) == (1, "")
    assert f"such a task exists already: {task}" in again.stderr
    taken = create(*pen, "--return-existing")
    assert (taken.exit_code, taken.stdout.strip()) == (0, task)


def test_a_key_names_a_request_whatever_its_context(create):
    first = json.loads(create("--idempotency-key", "k", "--json").stdout)
    assert first["created"] is True
    options = ("--idempotency-key", "k", "-c", '{"item": "pen"}')
    assert json.loads(create(*options, "--return-existing", "--json").stdout) == {**first, "created": False}
    refused = create(*options)
    assert refused.exit_code == 1
    assert first["task_uuid"] in refused.stderr


def test_the_template_says_what_makes_a_request_the_same(project, create):
    (project / "order.yaml").write_text(TEMPLATE + "identity_strategy: always_unique\n")
    assert len({create().stdout for _ in range(2)}) == 2
    (project / "order.yaml").write_text(TEMPLATE + "identity_strategy: caller_provided\n")
    nameless = create()
    assert (nameless.exit_code, nameless.stdout) == (1, "")
    assert "idempotency_key is required" in nameless.stderr


async def test_what_a_request_says_of_itself_is_kept(create, engine):
    correlation = str(uuid4())
    at = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    created = await asyncio.to_thread(
        create, "--context", "-", "--priority", "-7", "--requested-at", at.isoformat(),
        "--tag", "blue", "--tag", "big", "--correlation-id", correlation, "--initiator", "Ada", "--reason", "a test",
        standard_input='{"item": "pen"}',
    )  # fmt: skip
    assert created.exit_code == 0, created.stderr
    task = await engine.task(UUID(created.stdout.strip()))
    assert (task["priority"], task["correlation_id"], task["tags"]) == (-7, correlation, ["blue", "big"])
    assert (task["initiator"], task["source_system"], task["reason"]) == ("Ada", "cli", "a test")
    assert datetime.fromisoformat(task["requested_at"]) == at
    assert task["context"] == {"item": "pen"}


async def test_a_context_that_does_not_fit_creates_nothing(create, engine):
    refused = await asyncio.to_thread(create, "-c", '{"item": 7}')
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "/item" in refused.stderr
    assert await engine.tasks() == []


async def test_a_start_in_the_past_is_at_once_and_said_to_be(create, orders, worker, database_url):
    created = await asyncio.to_thread(create, "--requested-at", "2020-01-01T00:00:00Z")
    assert created.exit_code == 0, created.stderr
    assert "--requested-at is in the past: the task starts at once" in created.stderr
    serving = worker(DATABASE_URL=database_url)
    await orders.completed(UUID(created.stdout.strip()))
    serving.stop()


# For a server


@pytest.fixture
def server(service, database_url):
    """A server on the test's database, and what starts another one in its place."""

    def start(bind: str = "127.0.0.1:0", **environment: str):
        started = service("server", "--bind", bind, DATABASE_URL=database_url, **environment)
        assert started.url
        return started

    return start


async def test_a_worker_needs_no_database_of_its_own(server, worker, orders, tasker, project):
    serving = worker("order.yaml", "--server", server().url, "--processes", "2", "--concurrency", "1")
    assert "2 worker processes: 2 handlers of 1 template, 1 at once; http://127.0.0.1:" in serving.seen
    tasks = await orders.create("many", 2)
    steps = [await orders.completed(task) for task in tasks]
    assert len({each[0]["result"]["pid"] for each in steps}) == 2
    serving.stop()
    assert not (project / ".tasker").exists()


async def test_a_worker_outlives_its_server(server, worker, orders, project):
    first = await asyncio.to_thread(server)
    bind = first.url.removeprefix("http://")
    serving = worker("order.yaml", "--server", first.url, "--health-bind", "127.0.0.1:0")
    health = re.findall(r"health checks at (\S+)", serving.seen)[0]
    assert (await asyncio.to_thread(httpx.get, f"{health}/health/ready")).status_code == 200
    (heavy,) = await orders.create("heavy")
    await asyncio.to_thread(serving.read_until, "step_started")
    tasks = await orders.create("pen", 50)
    first.send(signal.SIGKILL)
    await _answers(f"{health}/health/ready", 503)
    (project / "may_end").touch()
    assert (await asyncio.to_thread(httpx.get, f"{health}/health")).status_code == 200
    await asyncio.to_thread(server, bind)
    await _answers(f"{health}/health/ready", 200)
    for task in [heavy, *tasks]:
        assert [state for state, _ in attempts(await orders.completed(task))] == ["complete"] * 2
    assert attempts(await orders.steps(heavy)) == [("complete", 1)] * 2
    serving.stop()


async def _answers(url: str, status: int) -> None:
    async with httpx.AsyncClient() as http:
        while (await http.get(url)).status_code != status:
            pass


async def test_a_worker_for_a_server_finishes_what_it_runs_when_it_is_stopped(server, worker, orders, project):
    serving = worker("order.yaml", "--server", server().url)
    (task,) = await orders.create("heavy")
    serving.read_until("step_started")
    serving.send(signal.SIGTERM)
    serving.read_until("1 running handler(s) may finish")
    (project / "may_end").touch()
    assert serving.ended() == 0, serving.seen
    assert attempts(await orders.steps(task)) == [("complete", 1), ("enqueued", 0)]


def test_a_worker_whose_credentials_are_refused_says_so_and_ends(server, tasker, project, database_url):
    options = {"TASKER__SERVER__AUTH__ENABLED": "true", "TASKER__SERVER__AUTH__API_KEYS_ENABLED": "true"}
    url = server(**options).url
    for processes in ("1", "2"):
        wrong = tasker(
            "worker", "order.yaml", "--processes", processes, "--server", url, TASKER_API_KEY="wrong", cwd=project
        )
        assert wrong.returncode == 4, wrong.stderr
        assert wrong.stderr.count("✗") == 1
        assert "TASKER_API_KEY" in wrong.stderr
    make = ("auth", "create-key", "-s", "elsewhere", "--role", "worker", "--namespace", "elsewhere")
    key = tasker(*make, DATABASE_URL=database_url).stdout.strip()
    foreign = tasker("worker", "order.yaml", "--server", url, TASKER_API_KEY=key, cwd=project)
    assert foreign.returncode == 4, foreign.stderr
    assert "The namespace 'shop' is not open to this caller" in foreign.stderr


def test_a_worker_whose_server_is_not_there_says_so_and_ends(tasker, project):
    done = tasker("worker", "order.yaml", "--server", "http://127.0.0.1:9", "--wait-for", "0", cwd=project)
    assert done.returncode == 5
    assert len(done.stderr.splitlines()) == 1
