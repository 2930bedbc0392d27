"""A run that is told to stop finishes what runs, says how to go on, and goes on."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TEMPLATE = """
name: slow
namespace_name: shop
version: 1.0.0
steps:
  - {name: first, handler: {callable: slow}}
  - {name: second, handler: {callable: quick}, dependencies: [first]}
"""

HANDLERS = """
import pathlib, time
from tasker_core.step_handler.functional import step_handler

@step_handler("slow")
def slow(context):
    while not pathlib.Path("may_end").exists():
        time.sleep(0.01)
    return {"done": True}

@step_handler("quick")
def quick(context):
    return {}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "slow.yaml").write_text(TEMPLATE)
    (tmp_path / "handlers.py").write_text(HANDLERS)
    return tmp_path


def start(project: Path, database_url: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tasker_core", "run", "slow.yaml", *arguments],
        cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "DATABASE_URL": database_url},
    )  # fmt: skip


def read_until(process: "subprocess.Popen[str]", text: str) -> None:
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if text in line:
            return
    raise AssertionError(f"no {text!r} in:\n{''.join(lines)}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_running_step_finish_and_the_task_goes_on_later(tasker, project, database_url, number):
    process = start(project, database_url)
    read_until(process, "first in_progress")
    process.send_signal(number)
    read_until(process, "interrupted; 1 running handler(s) may finish")
    (project / "may_end").touch()
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert 'first {"done":true}' in stdout
    task_uuid = stderr.split("--resume ")[1].split()[0]
    resumed = tasker("run", "slow.yaml", "--json", "--resume", task_uuid, DATABASE_URL=database_url)
    assert resumed.returncode == 0, resumed.stderr
    outcome = json.loads(resumed.stdout)
    assert [(step["current_state"], step["attempts"]) for step in outcome["steps"]] == [("complete", 1)] * 2


def test_a_second_signal_ends_the_process_at_once(project, database_url):
    process = start(project, database_url)
    read_until(process, "first in_progress")
    process.send_signal(signal.SIGINT)
    read_until(process, "interrupted")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=9)
    assert process.returncode == 1
    assert "--resume" in stderr
    assert "Traceback" not in stderr


def test_the_time_limit_ends_the_wait_not_the_task(project, database_url):
    process = start(project, database_url, "--timeout", "0.1", "--json")
    read_until(process, "not over after 0.1 s")
    (project / "may_end").touch()
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert [step["current_state"] for step in json.loads(stdout)["steps"]] == ["complete", "enqueued"]
