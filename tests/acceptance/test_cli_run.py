"""`tasker run`: from a template and a Python file to results."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tasker_core.store import EmbeddedPostgres

TEMPLATE = """
name: order
namespace_name: shop
version: 1.0.0
steps:
  - {name: reserve, handler: {callable: reserve}}
  - {name: charge, handler: {callable: charge}, dependencies: [reserve]}
  - {name: pack, handler: {callable: handlers.Pack}, dependencies: [reserve]}
  - {name: ship, handler: {callable: ship}, dependencies: [charge, pack]}
environments:
  staging:
    steps:
      - {name: charge, handler: {initialization: {currency: EUR}}}
"""

HANDLERS = """
import os
from tasker_core import PermanentError, StepHandler
from tasker_core.step_handler.functional import step_handler

print("printed at import")

@step_handler("reserve")
def reserve(context):
    print("printed by a handler")
    os.system("echo printed by a program")
    return {"item": context.get_input("item")}

@step_handler("charge")
async def charge(context):
    if context.get_input("item") == "gold":
        raise PermanentError("the card [was] declined\\nfor good")
    return {"currency": context.step_config.get("currency")}

class Pack(StepHandler):
    def call(self, context):
        return self.success({"packed": context.get_dependency_result("reserve")["item"]})

@step_handler("ship")
def ship(context):
    return {"shipped": True}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "order.yaml").write_text(TEMPLATE)
    (tmp_path / "handlers.py").write_text(HANDLERS)
    return tmp_path


def test_a_new_project_needs_nothing_but_a_template_and_handlers(tasker, project):
    run = tasker("run", "order.yaml", "--context", '{"item": "book"}')
    assert run.returncode == 0, run.stderr
    assert f"embedded PostgreSQL, data in {project}/.tasker/postgres" in run.stderr
    assert "charge in_progress" in run.stderr
    assert 'pack {"packed":"book"}' in run.stdout
    assert "✓ complete" in run.stdout
    assert not (project / ".tasker" / "postgres" / "postmaster.pid").exists()

    with EmbeddedPostgres(project / ".tasker"):  # saves the commands below from starting it again
        listed = json.loads(tasker("task", "list", "--json").stdout)["tasks"]
        assert [(task["name"], task["status"], task["completed_steps"]) for task in listed] == [
            ("order", "complete", 4)
        ]
        task_uuid = listed[0]["task_uuid"]
        below = project / "deep" / "below"
        below.mkdir(parents=True)
        got = tasker("task", "get", task_uuid, cwd=below)
        assert "shop/order" in got.stdout
        assert '"item": "book"' in got.stdout
        steps = json.loads(tasker("task", "steps", task_uuid, "--json").stdout)["steps"]
        assert [step["name"] for step in steps] == ["reserve", "charge", "pack", "ship"]
        assert "in_progress" in tasker("task", "history", task_uuid).stdout
        status = tasker("db", "status", "--json")
        assert (status.returncode, json.loads(status.stdout)["up_to_date"]) == (0, True)


def test_json_is_one_object_on_stdout_whatever_handlers_print(tasker, project, database_url):
    run = tasker("run", "order.yaml", "--json", "--context", "-", input='{"item": "pen"}', DATABASE_URL=database_url)
    assert run.returncode == 0, run.stderr
    outcome = json.loads(run.stdout)
    assert set(outcome) == {"task_uuid", "status", "steps", "duration_ms"}
    assert outcome["status"] == "complete"
    assert outcome["duration_ms"] > 0
    assert outcome["steps"][2] == {
        "name": "pack",
        "template_step": "pack",
        "current_state": "complete",
        "attempts": 1,
        "result": {"packed": "pen"},
        "error": None,
    }
    for source in ("at import", "by a handler", "by a program"):
        assert f"printed {source}" in run.stderr


def test_a_task_that_fails_exits_with_6_and_says_why(tasker, project, database_url):
    (project / "gold.json").write_text('{"item": "gold"}')
    run = tasker("--quiet", "run", "order.yaml", "--context", "@gold.json", DATABASE_URL=database_url)
    assert run.returncode == 6
    assert "✗ charge: the card [was] declined" in run.stderr
    assert "in_progress" not in run.stderr
    assert "✗ blocked_by_failures" in run.stdout

    as_json = tasker("run", "order.yaml", "--json", "--context", "@gold.json", DATABASE_URL=database_url)
    assert as_json.returncode == 6
    step = json.loads(as_json.stdout)["steps"][1]
    assert step["current_state"] == "error"
    assert step["error"]["retryable"] is False


def test_the_environment_overrides_what_the_template_says(tasker, project, database_url):
    run = tasker("run", "order.yaml", "--json", DATABASE_URL=database_url, TASKER_ENV="staging")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["steps"][1]["result"] == {"currency": "EUR"}


def test_handlers_may_be_anywhere_and_one_template_of_many_is_chosen_by_name(tasker, project, database_url):
    (project / "templates").mkdir()
    (project / "order.yaml").rename(project / "templates" / "order.yaml")
    (project / "templates" / "other.yaml").write_text(TEMPLATE.replace("name: order", "name: other", 1))
    (project / "shop").mkdir()
    (project / "handlers.py").rename(project / "shop" / "handlers.py")
    several = tasker("run", "templates", "--handlers", "shop")
    assert several.returncode == 2
    assert "--task: order, other" in several.stderr
    for place in ("shop/handlers.py", "shop"):
        run = tasker("-q", "run", "templates", "--task", "order", "--handlers", place, DATABASE_URL=database_url)
        assert run.returncode == 0, run.stderr


def test_a_large_task_is_reported_in_numbers(tasker, project, database_url):
    wide = ["name: wide", "namespace_name: shop", "version: 1.0.0", "steps:"]
    wide += [f"  - {{name: s{n}, handler: {{callable: ship}}}}" for n in range(300)]
    (project / "wide.yaml").write_text("\n".join(wide))
    run = tasker("run", "wide.yaml", DATABASE_URL=database_url)
    assert run.returncode == 0, run.stderr
    assert "300/300 steps done" in run.stderr
    assert len(run.stderr.splitlines()) < 20
    assert "and 250 more: tasker task steps" in run.stdout


@pytest.mark.parametrize(("columns", "rows"), [(100, 30), (30, 5)])
def test_a_terminal_shows_the_graph(project, database_url, columns, rows):
    output = run_on_terminal(["run", "order.yaml"], project, columns, rows, DATABASE_URL=database_url)
    assert "4/4 steps done" in output
    assert "✓ complete" in output
    if columns == 100:
        assert "ship" in output
        assert "← charge, pack" in output
        assert "printed by a handler" in output


def run_on_terminal(arguments: list[str], cwd: Path, columns: int, rows: int, **env: str) -> str:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    sized = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    with subprocess.Popen(
        [sys.executable, "-m", "tasker_core", *arguments],
        cwd=cwd, stdin=theirs, stdout=theirs, stderr=theirs, env={**sized, "TERM": "xterm", **env},
    ) as process:  # fmt: skip
        os.close(theirs)
        output = b""
        while chunk := read(ours):
            output += chunk
    os.close(ours)
    assert process.returncode == 0, output.decode()
    return output.decode()


def read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # what Linux says at the end of a terminal
        return b""
