"""`tasker dev`: what is saved runs, mistakes are shown and mended by the next save, and nothing is left behind."""

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tasker_core.client import TaskerClient

TEMPLATE = """
name: greet
namespace_name: docs
version: 1.0.0
steps:
  - {name: hello, handler: {callable: hello}, retry: {max_attempts: 1}}
"""

HANDLERS = """
from tasker_core.step_handler.functional import step_handler

@step_handler("hello")
def hello(context):
    return {"said": "GREETING"}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "project"
    directory.mkdir()
    (directory / "greet.yaml").write_text(TEMPLATE)
    (directory / "handlers.py").write_text(HANDLERS.replace("GREETING", "hello"))
    return directory


@pytest.fixture
def dev(service, project: Path, database_url):
    """``tasker dev`` on the project, with its worker ready."""
    running = service("dev", "--bind", "127.0.0.1:0", cwd=project, DATABASE_URL=database_url)
    running.read_until("1 handler of 1 template")
    return running


@pytest.fixture
def client(dev) -> Iterator[TaskerClient]:
    with TaskerClient(base_url=dev.seen.split()[0]) as opened:
        yield opened


def said(client: TaskerClient, number: int) -> tuple[str, str]:
    """Create a task, and return its step and what that said."""
    task = client.create_task("greet", namespace="docs", context={"number": number})
    assert client.wait(task.task_uuid, 60).status == "complete"
    (step,) = client.list_task_steps(task.task_uuid)
    return step.name, step.results["result"]["said"]


def test_what_is_saved_runs(dev, client, project):
    assert said(client, 1) == ("hello", "hello")
    (project / "handlers.py").write_text(HANDLERS.replace("GREETING", "good morning"))
    dev.read_until("changed: handlers.py")
    dev.read_until("1 handler of 1 template")
    assert said(client, 2) == ("hello", "good morning")
    (project / "greet.yaml").write_text(TEMPLATE.replace("name: hello", "name: say_hello"))
    dev.read_until("replaced docs/greet/1.0.0")
    dev.read_until("1 handler of 1 template")
    assert said(client, 3) == ("say_hello", "good morning")


def test_what_steps_do_is_told(dev, client, project):
    assert said(client, 4) == ("hello", "hello")
    line = dev.read_until("step_ended")
    assert "step=hello" in line
    assert "success=True" in line
    (project / "handlers.py").write_text(HANDLERS.replace('return {"said": "GREETING"}', "raise ValueError('too shy')"))
    dev.read_until("1 handler of 1 template")
    task = client.create_task("greet", namespace="docs", context={"shy": True})
    assert client.wait(task.task_uuid, 60).status == "blocked_by_failures"
    dev.read_until("too shy")


def test_mistakes_are_shown_and_the_next_save_mends_them(dev, client, project):
    (project / "handlers.py").write_text("def hello(:\n")
    dev.read_until("changed: handlers.py")
    assert "handlers.py" in dev.read_until("SyntaxError")
    (project / "handlers.py").write_text(HANDLERS.replace("GREETING", "mended"))
    dev.read_until("1 handler of 1 template")
    assert said(client, 5) == ("hello", "mended")
    (project / "greet.yaml").write_text("steps: [}")
    assert "greet.yaml" in dev.read_until("✗ ")
    (project / "greet.yaml").write_text(TEMPLATE)
    dev.read_until("1 handler of 1 template")
    assert said(client, 6) == ("hello", "mended")


def test_a_handler_that_is_missing_is_named(dev, project):
    second = "  - {name: wave, handler: {callable: wave}, dependencies: [hello]}\n"
    (project / "greet.yaml").write_text(TEMPLATE + second)
    assert "wave" in dev.read_until("step wave")
    (project / "handlers.py").write_text("")
    dev.read_until("changed: handlers.py")
    dev.read_until("step hello")


def test_the_first_template_is_noticed_when_it_is_written(service, tmp_path, database_url):
    empty = tmp_path / "empty"
    empty.mkdir()
    dev = service("dev", "--bind", "127.0.0.1:0", cwd=empty, DATABASE_URL=database_url)
    dev.read_until("no templates yet")
    (empty / "handlers.py").write_text(HANDLERS)
    (empty / "greet.yaml").write_text(TEMPLATE)
    dev.read_until("registered docs/greet/1.0.0")
    dev.read_until("1 handler of 1 template")


def test_a_port_that_is_taken_is_named(dev, tasker, project, database_url):
    address = dev.seen.split()[0].removeprefix("http://")
    second = tasker("dev", "--bind", address, cwd=project, DATABASE_URL=database_url)
    assert second.returncode == 1
    assert f"cannot listen on {address}: Address already in use" in second.stderr


def test_ctrl_c_ends_everything(service, project):
    dev = service("dev", "--bind", "127.0.0.1:0", cwd=project)
    dev.read_until("1 handler of 1 template")
    family = dev.family()
    dev.send(signal.SIGINT)
    assert dev.ended() == 0
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []
    assert not (project / ".tasker" / "postgres" / "postmaster.pid").exists()
