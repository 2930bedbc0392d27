"""The worker inside an application: started, watched and stopped by the application."""

import asyncio
import contextlib
import os
import subprocess
import sys
import textwrap
import threading
import uuid
from pathlib import Path

import pytest
import structlog
from tests.server.conftest import serving

from tasker_core import (
    BootstrapConfig,
    HandlerRegistry,
    TaskerClient,
    Worker,
    WorkerBootstrapError,
    WorkerNotInitializedError,
    bootstrap_worker,
    get_health_check,
    get_metrics,
    get_worker_config,
    get_worker_status,
    is_worker_running,
    observability,
    stop_worker,
    transition_to_graceful_shutdown,
)
from tasker_core.access import Caller, Permission
from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.server.app import create_app
from tasker_core.server.errors import ApiError
from tasker_core.states import TaskState
from tasker_core.step_handler.functional import step_handler
from tasker_core.template import load_text

TEMPLATE = """
name: parcel
namespace_name: depot
version: 1.0.0
identity_strategy: always_unique
steps:
  - {name: weigh, handler: {callable: weigh}}
  - {name: ship, handler: {callable: ship}, dependencies: [weigh], retry: {max_attempts: 1}}
"""
HANDLERS = """
from tasker_core.errors import PermanentError
from tasker_core.step_handler.functional import inputs, step_handler

@step_handler("weigh")
async def weigh(context):
    return {"grams": 500}

@step_handler("ship")
def ship(context):
    if context.get_input("address") is None:
        raise PermanentError("no address")
    return {"shipped": context.get_dependency_result("weigh")["grams"]}
"""


class Application:
    """An application's directory: a package with handlers, and templates."""

    def __init__(self, directory: Path) -> None:
        self.package = f"depot_{uuid.uuid4().hex}"
        self.templates = directory / "config" / "tasks"
        self.templates.mkdir(parents=True)
        self.write_template(TEMPLATE)
        (directory / self.package).mkdir()
        (directory / self.package / "__init__.py").touch()
        (directory / self.package / "handlers.py").write_text(HANDLERS)

    def write_template(self, text: str, name: str = "parcel.yaml") -> None:
        (self.templates / name).write_text(text)

    def start(self, **options) -> Worker:
        return Worker.start(handler_packages=[self.package], **options)


@pytest.fixture
def application(tmp_path, monkeypatch, database_url):
    """An application whose worker would work on the test's database; whatever it starts is stopped."""
    made = Application(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("TASKER_TEMPLATE_PATH", str(made.templates))
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.delenv("TASKER_ORCHESTRATION_URL", raising=False)
    HandlerRegistry.reset_instance()
    yield made
    Worker.reset_instance()
    stop_worker()
    HandlerRegistry.reset_instance()
    structlog.reset_defaults()


async def created(engine: Engine, text: str = TEMPLATE, **context):
    return await engine.create_task(load_text(text), TaskRequest(context=context))


async def started(application: Application, **options) -> Worker:
    """Starting waits until the worker is ready, so it is done beside the test's own event loop."""
    return await asyncio.to_thread(application.start, **options)


@contextlib.contextmanager
def held_handler(name: str):
    """A handler that runs until it is told to end: what to wait for, and what ends it."""
    entered, release = threading.Event(), threading.Event()

    @step_handler(name)
    def hold(context):
        entered.set()
        release.wait(60)
        return {}

    HandlerRegistry.instance(skip_bootstrap=True).register(name, hold)
    try:
        yield entered, release
    finally:
        release.set()


HELD = TEMPLATE.replace("parcel", "held").replace("callable: weigh", "callable: hold")


async def test_an_application_s_worker_runs_its_steps_on_the_database(application, engine):
    worker = await started(application)
    task = await created(engine, address="Road 1")

    assert await engine.wait(task, 30) is TaskState.COMPLETE
    assert {change["worker"] for change in await engine.history(task) if change["attempt"]} == {worker.worker_id}
    assert (await engine.templates.find("depot", "parcel")).version == "1.0.0"


async def test_an_application_s_worker_runs_its_steps_over_http(application, engine, monkeypatch):
    monkeypatch.delenv("DATABASE_URL")

    def use(client):
        task = client.create_task("parcel", namespace="depot", context={"address": "Road 1"})
        return client.wait(task.task_uuid, timeout=30).status

    async with serving(create_app(engine)) as url:
        monkeypatch.setenv("TASKER_ORCHESTRATION_URL", url)
        await started(application)
        with TaskerClient() as client:
            assert await asyncio.to_thread(use, client) == "complete"
        health = get_health_check()
        assert (health.status, health.components["server"].name) == ("healthy", url)
        await asyncio.to_thread(stop_worker)


async def test_it_counts_what_it_has_done(application, engine):
    await started(application, config=BootstrapConfig(worker_id="depot-1"), concurrency=3)
    for context in ({"address": "Road 1"}, {}):
        await engine.wait(await created(engine, **context), 30)

    metrics = get_metrics()
    assert (metrics.steps_processed, metrics.steps_succeeded, metrics.steps_failed) == (4, 3, 1)
    assert metrics.steps_in_progress == 0
    assert get_health_check().status == "healthy"
    assert get_health_check().python["handler_count"] >= 2
    assert get_worker_config().max_concurrent_handlers == 3
    assert get_worker_config().supported_namespaces == ["depot"]
    status = get_worker_status()
    assert (status.running, status.worker_core_status, status.supported_namespaces) == (True, "running", ["depot"])


async def test_there_is_one_worker_in_a_process(application):
    worker = await started(application)

    assert await started(application, config=BootstrapConfig(worker_id="another")) is worker
    assert Worker.instance() is worker
    second = bootstrap_worker()
    assert (second.success, second.status, second.worker_id) == (False, "already_running", "")
    assert worker.bootstrap_result.status == "started"
    assert worker.worker_id.startswith("python-worker-")


def test_starting_and_stopping_is_told_in_words(application):
    assert not is_worker_running()
    assert get_worker_status().error == "Worker system not initialized"
    assert stop_worker() == "Worker system not running"
    result = bootstrap_worker()
    assert (result.success, result.message) == (True, "Python worker system started successfully")
    assert is_worker_running()
    assert stop_worker() == "Worker system stopped"
    assert not is_worker_running()
    assert stop_worker() == "Worker system not running"


def test_a_worker_may_be_started_again(application):
    first = application.start()
    first.stop()
    first.stop()
    assert (first.is_running, first.worker_id, Worker.instance()) == (False, "", None)
    second = application.start()
    assert second.is_running


def test_a_worker_that_was_not_started_says_so(application):
    worker = Worker()
    assert (worker.worker_id, worker.is_running) == ("", False)
    with pytest.raises(RuntimeError, match="Worker has not been started"):
        _ = worker.bootstrap_result
    for ask in (get_health_check, get_metrics, get_worker_config):
        with pytest.raises(WorkerNotInitializedError, match="Worker is not running"):
            ask()
    with pytest.raises(RuntimeError, match="not initialized"):
        transition_to_graceful_shutdown()


def test_other_errors_of_observation_pass(monkeypatch):
    def fail():
        raise RuntimeError("out of memory")

    monkeypatch.setattr(observability, "_get_metrics", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        get_metrics()


def test_leaving_the_block_stops_it_and_hides_no_error(application):
    with pytest.raises(KeyError), application.start():
        raise KeyError("of the application")
    assert not is_worker_running()


async def test_stopping_waits_for_running_handlers(application, engine):
    with held_handler("hold") as (entered, release):
        application.write_template(HELD, "held.yaml")
        await started(application)
        task = await created(engine, HELD, address="Road 1")
        assert await asyncio.to_thread(entered.wait, 30)
        assert get_metrics().steps_in_progress == 1
        stopping = asyncio.create_task(asyncio.to_thread(stop_worker))
        release.set()
        assert await stopping == "Worker system stopped"

    assert (await engine.steps(task))[0]["current_state"] == "complete"


async def test_a_graceful_shutdown_lets_handlers_end_without_waiting(application, engine):
    with held_handler("hold") as (entered, release):
        application.write_template(HELD, "held.yaml")
        await started(application)
        task = await created(engine, HELD)
        assert await asyncio.to_thread(entered.wait, 30)
        assert transition_to_graceful_shutdown() == "Worker system transitioned to graceful shutdown"
        assert get_worker_status().worker_core_status == "shutting_down"
        assert is_worker_running()
        release.set()
        await asyncio.to_thread(stop_worker)
    assert not is_worker_running()
    assert [step["current_state"] for step in await engine.steps(task)] == ["complete", "enqueued"]


async def test_a_handler_that_does_not_end_in_time_is_left_to_another_attempt(application, engine):
    with held_handler("hold") as (entered, _):
        application.write_template(HELD, "held.yaml")
        await started(application, shutdown_timeout=0.1)
        task = await created(engine, HELD)
        assert await asyncio.to_thread(entered.wait, 30)
        await asyncio.to_thread(stop_worker)

    assert (await engine.steps(task))[0]["current_state"] == "waiting_for_retry"


async def test_steps_of_other_namespaces_are_left_alone(application, engine):
    """Another application may have handlers of the same name."""
    foreign = await created(engine, TEMPLATE.replace("depot", "elsewhere"), address="Road 1")
    await started(application)
    own = await created(engine, address="Road 1")

    assert await engine.wait(own, 30) is TaskState.COMPLETE
    assert (await engine.task(foreign))["status"] == "pending"


async def test_steps_without_a_handler_are_left_to_other_workers(application, engine):
    application.write_template(
        TEMPLATE.replace("parcel", "fragile").replace("callable: weigh", "callable: wrap"), "f.yaml"
    )
    await started(application)
    other = await created(engine, TEMPLATE.replace("parcel", "fragile").replace("callable: weigh", "callable: wrap"))
    own = await created(engine, address="Road 1")

    assert await engine.wait(own, 30) is TaskState.COMPLETE
    assert (await engine.task(other))["status"] == "pending"


def refused(application, reason):
    with pytest.raises(WorkerBootstrapError, match=reason) as raised:
        application.start()
    assert isinstance(raised.value, RuntimeError)
    assert str(raised.value).startswith("Bootstrap failed: ")
    assert not is_worker_running()
    assert Worker.instance() is None


def test_a_server_that_is_not_there_is_an_error(application, monkeypatch):
    monkeypatch.setenv("TASKER_ORCHESTRATION_URL", "http://127.0.0.1:9")
    refused(application, "no connection to the server")


def test_a_server_that_is_no_url_is_an_error(application, monkeypatch):
    monkeypatch.setenv("TASKER_ORCHESTRATION_URL", "tasker:8080")
    refused(application, "must begin with http")


def test_a_database_that_is_not_there_is_an_error(application, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/nothing")
    refused(application, "127.0.0.1")


def test_a_template_that_is_not_valid_is_an_error(application):
    application.write_template("name: parcel\nsteps: []\n")
    refused(application, r"parcel\.yaml:1: Required key 'version' is missing")


async def test_a_template_of_the_same_version_and_other_content_is_an_error(application, engine):
    await engine.templates.register(load_text(TEMPLATE.replace("max_attempts: 1", "max_attempts: 5")))
    await asyncio.to_thread(refused, application, r"parcel\.yaml: .*registered with other content")


async def test_the_same_over_http(application, engine, monkeypatch):
    await engine.templates.register(load_text(TEMPLATE.replace("max_attempts: 1", "max_attempts: 5")))
    async with serving(create_app(engine)) as url:
        monkeypatch.setenv("TASKER_ORCHESTRATION_URL", url)
        await asyncio.to_thread(refused, application, r"parcel\.yaml: .*registered with other content")


class Known:
    """Takes everybody for a caller with some permissions, or for nobody."""

    def __init__(self, *permissions: Permission) -> None:
        self.caller = Caller("depot", frozenset(permissions))

    async def authenticate(self, request):
        if not self.caller.permissions:
            raise ApiError(401, "AUTHENTICATION_FAILED", "Missing authentication credentials")
        return self.caller


async def test_a_server_that_does_not_know_the_worker_is_an_error(application, engine, monkeypatch):
    async with serving(create_app(engine, authenticator=Known())) as url:
        monkeypatch.setenv("TASKER_ORCHESTRATION_URL", url)
        await asyncio.to_thread(refused, application, "Missing authentication credentials")


async def test_a_worker_that_may_not_run_steps_is_refused(application, engine, monkeypatch):
    async with serving(create_app(engine, authenticator=Known(Permission.TEMPLATES_REGISTER))) as url:
        monkeypatch.setenv("TASKER_ORCHESTRATION_URL", url)
        await asyncio.to_thread(refused, application, "worker:execute")


async def test_a_worker_that_may_not_register_templates_runs_steps_of_those_that_are(application, engine, monkeypatch):
    async with serving(create_app(engine, authenticator=Known(Permission.WORKER_EXECUTE))) as url:
        monkeypatch.setenv("TASKER_ORCHESTRATION_URL", url)
        await started(application)
        task = await created(engine, address="Road 1")
        assert await engine.wait(task, 30) is TaskState.COMPLETE
        await asyncio.to_thread(stop_worker)


def test_a_forked_process_has_no_worker_and_may_start_its_own(application):
    code = f"""
        import os, sys
        from tasker_core import Worker, is_worker_running
        worker = Worker.start(handler_packages=["{application.package}"])
        child = os.fork()
        if child == 0:
            assert not is_worker_running()
            assert Worker.instance() is None
            with Worker.start(handler_packages=["{application.package}"]) as own:
                assert own.worker_id != worker.worker_id
            sys.stdout.flush()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert is_worker_running()
        worker.stop()
    """
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
        env=os.environ | {"PYTHONPATH": str(Path.cwd())}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout + process.stderr
