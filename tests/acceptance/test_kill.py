"""A run that is killed in the middle of a step, with or without its database, is completed by the next one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TEMPLATE = """
name: transfer
namespace_name: bank
version: 1.0.0
steps:
  - {name: prepare, handler: {callable: prepare}}
  - {name: transfer, handler: {callable: transfer}, dependencies: [prepare], retry: {backoff: none}}
  - {name: confirm, handler: {callable: confirm}, dependencies: [transfer]}
"""

HANDLERS = """
import time
from tasker_core.step_handler.functional import step_handler

@step_handler("prepare")
def prepare(context):
    return {"prepared": True}

@step_handler("transfer")
def transfer(context):
    with open("attempts", "a") as attempts:
        print(context.retry_count, file=attempts)
    if context.retry_count == 0:
        time.sleep(600)
    return {"attempt": context.retry_count + 1}

@step_handler("confirm")
def confirm(context):
    return {"confirmed": context.get_dependency_result("transfer")["attempt"]}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "transfer.yaml").write_text(TEMPLATE)
    (tmp_path / "handlers.py").write_text(HANDLERS)
    return tmp_path


@pytest.mark.parametrize("database_too", [False, True], ids=["the run", "the run and PostgreSQL"])
def test_after_a_kill_the_task_completes_with_one_result_for_each_step(tasker, project, database_too):
    environment = {"TASKER_LEASE_SECONDS": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "tasker_core", "run", "transfer.yaml"],
        cwd=project, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment},
    ) as process:  # fmt: skip
        assert process.stderr is not None
        seen = ""
        while "transfer in_progress" not in seen:
            line = process.stderr.readline()
            assert line, seen
            seen += line
        process.send_signal(signal.SIGKILL)
    task_uuid = seen.split("\nTask ")[1].split()[0]
    server = int((project / ".tasker" / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    if database_too:
        os.kill(server, signal.SIGKILL)
    else:
        os.kill(server, 0)  # it waits for the next process

    resumed = tasker("run", "transfer.yaml", "--resume", task_uuid, "--json", **environment)
    assert resumed.returncode == 0, resumed.stderr
    outcome = json.loads(resumed.stdout)
    assert outcome["status"] == "complete"
    assert [(step["name"], step["attempts"], step["result"]) for step in outcome["steps"]] == [
        ("prepare", 1, {"prepared": True}),
        ("transfer", 2, {"attempt": 2}),
        ("confirm", 1, {"confirmed": 2}),
    ]
    assert (project / "attempts").read_text() == "0\n1\n"
    assert not (project / ".tasker" / "postgres" / "postmaster.pid").exists()

    history = json.loads(tasker("task", "history", task_uuid, "--json").stdout)["history"]
    transfers = [(change["attempt"], change["to_state"]) for change in history if change["step"] == "transfer"]
    assert transfers.count((2, "complete")) == 1
    assert (1, "complete") not in transfers
