"""Whatever is typed, the answer is a sentence and the right exit code, never a traceback."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

TEMPLATE = "name: t\nnamespace_name: n\nversion: 1.0.0\nsteps:\n  - {name: s, handler: {callable: work}}\n"
HANDLERS = """
from tasker_core.step_handler.functional import step_handler

@step_handler("work")
def work(context):
    return {}
"""
UNKNOWN = "01a20bd2-12f6-7c21-8159-f3ff32000001"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "t.yaml").write_text(TEMPLATE)
    (tmp_path / "handlers.py").write_text(HANDLERS)
    (tmp_path / "binary.yaml").write_bytes(bytes(range(256)))
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "missing.yaml"], 3, "no file or directory missing.yaml"),
        (["run", "empty"], 3, "holds no template"),
        (["run", "binary.yaml"], 1, "not UTF-8"),
        (["run", "t.yaml", "--task", "other"], 3, "holds the template t, not other"),
        (["run", "t.yaml", "--context", "{x"], 2, "--context is not valid JSON"),
        (["run", "t.yaml", "--context", "[1]"], 2, "must be a JSON object, not an array"),
        (["run", "t.yaml", "--context", "@missing"], 2, "from missing: No such file"),
        (["run", "t.yaml", "--context", "-"], 2, "standard input is empty"),
        (["run", "t.yaml", "--context", "{}", "--resume", UNKNOWN], 2, "has its context already"),
        (["run", "t.yaml", "--handlers", "no.such.module"], 1, "there is no module no.such.module"),
        (["run", "t.yaml", "--handlers", "no/such/file.py"], 1, "there is no file or directory 'no/such/file.py'"),
        (["run", "t.yaml", "--database-url", "mysql://me:secret@host/name"], 2, "must start with postgresql://"),
        (["run", "t.yaml", "--database-url", "postgresql://me:sec#ret@host/name"], 2, "no valid host and port"),
        (["run", "t.yaml", "--database-url", "postgresql://me:secret@127.0.0.1:1/x"], 5, "me:***@127.0.0.1:1/x"),
        (["task", "get", "not-a-uuid"], 2, "TASK"),
        (["template", "show", "missing.yaml"], 3, "missing.yaml"),
        (["template", "validate", "empty"], 3, "no .yaml or .yml files"),
    ],
)
def test_nonsense_is_answered_with_a_sentence(tasker, project, arguments, code, message):
    done = tasker(*arguments)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "sec#ret" not in done.stderr
    assert "secret" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def work(:", "SyntaxError: invalid syntax (line 1)"),
        ("\nraise RuntimeError('boom')", "RuntimeError: boom"),
        ("import sys; sys.exit('bye')", "SystemExit: bye"),
        (HANDLERS.replace("work", "wrok"), "step s: work (did you mean 'wrok'?)"),
    ],
)
def test_broken_handler_code_is_named(tasker, project, code, message):
    (project / "handlers.py").write_text(code)
    done = tasker("run", "t.yaml")
    assert done.returncode == 1
    assert message in done.stderr
    assert str(project / "handlers.py") in done.stderr
    assert "Traceback" not in done.stderr


def test_two_handlers_of_one_name_are_refused(tasker, project):
    (project / "more").mkdir()
    (project / "more" / "handlers.py").write_text(HANDLERS)
    done = tasker("run", "t.yaml", "--handlers", "more")
    assert done.returncode == 1
    assert "two handlers have the name 'work'" in done.stderr
    assert "more/handlers.py" in done.stderr


def test_tracebacks_are_shown_on_demand(tasker, project):
    (project / "handlers.py").write_text("raise RuntimeError('boom')")
    assert "Traceback" in tasker("-vv", "run", "t.yaml").stderr


def test_a_template_is_validated_with_all_its_errors(tasker, project):
    (project / "bad.yaml").write_text(TEMPLATE.replace("}}", "}, dependencies: [nobody]}") + "colour: red\n")
    done = tasker("template", "validate", "bad.yaml", "t.yaml")
    assert done.returncode == 1
    assert "bad.yaml:5" in done.stderr
    assert "✓ t.yaml: 1 steps, no errors" in done.stdout
    report = json.loads(tasker("template", "validate", "bad.yaml", "--json").stdout)
    assert report["valid"] is False
    assert {finding["severity"] for finding in report["files"][0]["findings"]} >= {"error", "warning"}
    listed = tasker("template", "list", ".")
    assert listed.returncode == 1
    assert "n/t" in listed.stdout


def test_a_template_is_shown_in_three_forms(tasker, project):
    assert "1   s" in tasker("template", "show", "t.yaml").stdout
    assert tasker("template", "show", "t.yaml", "--format", "mermaid").stdout.startswith("graph TD")
    assert json.loads(tasker("template", "show", "t.yaml", "--json").stdout)["name"] == "t"


def test_what_the_database_lacks_or_refuses_has_its_exit_code(tasker, project, database_url):
    for arguments in (["task", "get", UNKNOWN], ["task", "history", UNKNOWN], ["run", "t.yaml", "--resume", UNKNOWN]):
        done = tasker(*arguments, DATABASE_URL=database_url)
        assert (done.returncode, done.stdout) == (3, ""), done.stderr
        assert f"there is no task {UNKNOWN}" in done.stderr
    name = urlsplit(database_url).path.strip("/")
    elsewhere = tasker("task", "list", DATABASE_URL=database_url.replace(name, "no_such_database"))
    assert elsewhere.returncode == 3
    assert "no_such_database" in elsewhere.stderr
    nobody = tasker("task", "list", DATABASE_URL=database_url.replace("postgres:@", "nobody:@"))
    assert nobody.returncode == 4
    assert "nobody" in nobody.stderr


def test_a_foreign_database_is_migrated_on_request_only(tasker, postgres):
    url = postgres.url.replace("/postgres?", "/template1?")
    assert tasker("db", "status", DATABASE_URL=url).returncode == 1
    refused = tasker("task", "list", DATABASE_URL=url)
    assert refused.returncode == 1
    assert "tasker db migrate" in refused.stderr


def test_a_task_is_resumed_with_its_own_template_only(tasker, project, database_url):
    run = tasker("run", "t.yaml", "--json", DATABASE_URL=database_url)
    task_uuid = json.loads(run.stdout)["task_uuid"]
    again = tasker("run", "t.yaml", "--json", "--resume", task_uuid, DATABASE_URL=database_url)
    assert (again.returncode, json.loads(again.stdout)["status"]) == (0, "complete")
    (project / "t.yaml").write_text(TEMPLATE.replace("name: t", "name: other", 1))
    other = tasker("run", "t.yaml", "--resume", task_uuid, DATABASE_URL=database_url)
    assert other.returncode == 2
    assert "is of the template n/t, not n/other" in other.stderr


def test_a_reader_that_leaves_early_is_no_error(project):
    done = subprocess.run(
        f"{shlex.quote(sys.executable)} -m tasker_core template show t.yaml --json | true",
        shell=True, cwd=project, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
