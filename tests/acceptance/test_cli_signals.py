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
    pathlib.Path("started").touch()
    time.sleep(context.get_input("seconds"))
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


def start(project: Path, database_url: str, seconds: float, *arguments: str) -> "subprocess.Popen[str]":
    context = json.dumps({"seconds": seconds})
    process = subprocess.Popen(
        [sys.executable, "-m", "tasker_core", "run", "slow.yaml", "--context", context, *arguments],
        cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "DATABASE_URL": database_url},
    )  # fmt: skip
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "first in_progress" in line:
            return process
    raise AssertionError(f"the step never started:\n{''.join(lines)}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_running_step_finish_and_the_task_goes_on_later(tasker, project, database_url, number):
    process = start(project, database_url, 1.0)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "interrupted; 1 running handler(s) may finish" in stderr
    assert 'first {"done":true}' in stdout
    task_uuid = stderr.split("--resume ")[1].split()[0]
    resumed = tasker("run", "slow.yaml", "--json", "--resume", task_uuid, DATABASE_URL=database_url)
    assert resumed.returncode == 0, resumed.stderr
    outcome = json.loads(resumed.stdout)
    assert [(step["current_state"], step["attempts"]) for step in outcome["steps"]] == [("complete", 1)] * 2


def test_a_second_signal_ends_the_process_at_once(project, database_url):
    process = start(project, database_url, 60)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert "interrupted" in next(line for line in process.stderr if "interrupted" in line)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "--resume" in stderr
    assert "Traceback" not in stderr


def test_the_time_limit_ends_the_wait_not_the_task(tasker, project, database_url):
    run = tasker(
        "run", "slow.yaml", "--context", '{"seconds": 0.5}', "--timeout", "0.1", "--json", DATABASE_URL=database_url
    )
    assert run.returncode == 1
    assert "not over after 0.1 s" in run.stderr
    outcome = json.loads(run.stdout)
    assert outcome["steps"][0]["current_state"] == "complete"
    assert outcome["steps"][1]["current_state"] == "enqueued"
