"""Commands against a server: they say what they say on the database itself, and what a server does not allow."""

import contextlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tasker_core.cli.app import app
from tasker_core.store import EmbeddedPostgres

TEMPLATE = """
name: order
namespace_name: shop
version: 1.0.0
steps:
  - {name: pick, handler: {callable: pick}}
  - {name: pack, handler: {callable: pack}, dependencies: [pick]}
"""

HANDLERS = """
from tasker_core import PermanentError
from tasker_core.step_handler.functional import step_handler

@step_handler("pick")
def pick(context):
    if context.get_input("item") == "broken":
        raise PermanentError("it is broken")
    return {"item": context.get_input("item")}

@step_handler("pack")
def pack(context):
    return {"packed": context.get_dependency_result("pick")["item"]}
"""

NOTHING = "01a20c15-0908-7605-958c-f47c06000000"

Command = Callable[..., Result]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "order.yaml").write_text(TEMPLATE)
    (tmp_path / "handlers.py").write_text(HANDLERS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands(environment: Mapping[str, str]) -> Command:
    """Return what runs a command in this process, with these environment variables."""

    def command(*arguments: str) -> Result:
        return CliRunner().invoke(app, arguments, env=dict(environment), catch_exceptions=False)

    return command


#: What differs from run to run, and what stands for it.
VOLATILE = [
    (re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?"), "<time>"),
    (re.compile(r"^\d\d:\d\d:\d\d\.\d{3}", re.MULTILINE), "<time>"),
    (re.compile(r"\btk_[A-Za-z0-9_-]+"), "<key>"),
    (
        re.compile(r'"(\w+_ms|\w*duration_seconds|database_pool_utilization|avg_resolution_time_minutes)": ?[\d.]+'),
        r'"\1": <number>',
    ),
]


Told = tuple[int, Any, str]


def told(result: Result) -> Told:
    """Return what a command came to, without what differs from run to run."""
    stdout, stderr = result.stdout, result.stderr
    for pattern, stands_for in VOLATILE:
        stdout, stderr = pattern.sub(stands_for, stdout), pattern.sub(stands_for, stderr)
    with contextlib.suppress(json.JSONDecodeError):
        return result.exit_code, json.loads(stdout.replace("<number>", "0")), stderr
    return result.exit_code, stdout, stderr


def played(command: Command) -> dict[str, Told]:
    """Return what each command of an operator's day came to, in the order in which they are given."""
    results: dict[str, Told] = {}

    def play(*arguments: str, as_json: bool = True) -> Any:
        result = command(*arguments, *["--json"] * as_json)
        line = f"{len(results)} " + re.sub(VOLATILE[0][0], "<uuid>", " ".join(arguments))
        results[line] = told(result)
        lines = result.stdout.strip().splitlines()
        return json.loads(result.stdout) if as_json and lines and lines[-1] in "}]" else result.stdout

    play("template", "register", "order.yaml", "--actor", "anonymous")
    play("template", "register", "order.yaml", "--actor", "anonymous")
    play("template", "registered", "-n", "shop")
    create = ("task", "create", "order.yaml", "--initiator", "ann", "-c")
    good = play(*create, '{"item": "pen"}', "--wait", "--tag", "urgent", "--quiet")["task_uuid"]
    named = ("task", "create", "shop/order", "--initiator", "ann", "-c")
    bad = play(*named, '{"item": "broken"}', "--wait", "--quiet")["task_uuid"]
    play(*named, '{"item": "broken"}')
    play(*named, '{"item": "broken"}', "--return-existing")
    play("task", "create", "shop/none")
    play("task", "create", "shop/order", "--version", "9.9.9")
    play("task", "list")
    play("task", "list", "--status", "complete")
    play("task", "list", "-n", "elsewhere")
    play("task", "list", "--limit", "1")
    play("task", "list", "--before", bad)
    for look in ("get", "steps", "history", "why", "watch"):
        for task in (good, bad, NOTHING):
            play("task", look, task)
        play("task", look, bad, as_json=False)
    pick = next(step for step in play("task", "steps", bad)["steps"] if step["name"] == "pick")["step_uuid"]
    play("task", "why", bad, "pick")
    play("task", "why", bad, "pack it")
    why = ("--reason", "because", "--actor", "ann")
    play("task", "retry", bad, "--dry-run", *why)
    play("task", "retry", good, *why)
    play("task", "pause", bad, *why)
    play("task", "pause", bad, *why)
    play("task", "resume", bad, *why)
    play("task", "pause", NOTHING, *why)
    play("task", "rerun", good, "--from", "pack", "--dry-run", *why)
    play("task", "rerun", good, "--from", "pakc", *why)
    entry = play("dlq", "list")["entries"][0]["dlq_entry_uuid"]
    play("dlq", "list", "--status", "cancelled")
    play("dlq", "get", entry)
    play("dlq", "get", NOTHING)
    play("dlq", "stats")
    play("dlq", "resolve", entry, "--action", "retry", "--dry-run", "--actor", "ann")
    play("step", "reset", bad, "pakc", *why)
    play("step", "reset", bad, "pack", *why)
    play("step", "resolve", NOTHING, "pick", *why)
    play("step", "complete", bad, pick, "--result", '{"item": "mended"}', "--metadata", '{"by": "hand"}', *why)
    play("task", "watch", bad)
    play("task", "get", bad)
    play("dlq", "resolve", entry, "--action", "none", "--notes", "done by hand", "--actor", "ann")
    play("task", "cancel", bad, *why)
    play("analytics", "performance")
    play("analytics", "bottlenecks", "--min-executions", "1")
    play("template", "unregister", "shop/order", "1.0.0")
    play("template", "unregister", "shop/order", "1.0.0")
    key = play("auth", "create-key", "--subject", "bob", "--role", "reader", "--actor", "anonymous")["key_uuid"]
    play("auth", "list-keys")
    play("auth", "revoke-key", key, "--actor", "anonymous")
    play("auth", "revoke-key", NOTHING)
    return results


def test_a_server_tells_the_same_as_the_database_itself(project, service, database_url, own_postgres: EmbeddedPostgres):
    on_database = {"DATABASE_URL": database_url}
    server = service("server", "--bind", "127.0.0.1:0", DATABASE_URL=own_postgres.url)
    at_server = {"TASKER_ORCHESTRATION_URL": server.url}
    for environment in (on_database, at_server):
        service("worker", "order.yaml", TASKER_WORKER_ID="picker", **environment).read_until(" at once; ")
        assert commands(environment)("template", "unregister", "shop/order", "1.0.0").exit_code == 0
    here, there = (played(commands(environment)) for environment in (on_database, at_server))
    assert list(here) == list(there)
    for line, result in here.items():
        assert there[line] == result, line
    codes = {code for code, _, _ in here.values()}
    assert codes == {0, 1, 3, 6}


# Refusals


def test_what_needs_the_database_refuses_a_server_that_is_named(project, database_url, monkeypatch):
    monkeypatch.setenv("TASKER_CLIENT_PROFILE", "")  # --profile sets it for the whole process
    command = commands({})
    for arguments in (("run", "order.yaml"), ("db", "status"), ("db", "migrate")):
        for option in ("--server", "--profile"):
            refused = command(*arguments, option, "http://127.0.0.1:9")
            assert refused.exit_code == 2, arguments
            assert f"leave out {option}" in refused.stderr
    # A server that is only in the environment is for other commands.
    elsewhere = {"TASKER_ORCHESTRATION_URL": "http://127.0.0.1:9", "DATABASE_URL": database_url}
    assert commands(elsewhere)("db", "status").exit_code == 0


def test_a_server_that_is_not_there_is_said_in_one_line(project):
    done = commands({})("task", "list", "--server", "http://127.0.0.1:9")
    assert done.exit_code == 5
    assert len(done.stderr.splitlines()) == 1
    health = commands({})("system", "health", "--server", "http://127.0.0.1:9", "--json")
    assert health.exit_code == 5
    assert json.loads(health.stdout)["status"] == "unreachable"


@pytest.fixture
def guarded(project, service, database_url) -> tuple[str, Callable[..., Command]]:
    """A server with authentication, and what returns commands with a new key of these options."""
    options = {"AUTH__ENABLED": "true", "AUTH__API_KEYS_ENABLED": "true"}
    environment = {f"TASKER__SERVER__{name}": value for name, value in options.items()}
    server = service("server", "--bind", "127.0.0.1:0", DATABASE_URL=database_url, **environment)

    def with_key(*options: str) -> Command:
        made = commands({"DATABASE_URL": database_url})("auth", "create-key", "-s", "bob", *options, "--json")
        assert made.exit_code == 0, made.stderr
        key = json.loads(made.stdout)["key"]
        return commands({"TASKER_ORCHESTRATION_URL": server.url, "TASKER_API_KEY": key})

    return server.url, with_key


def test_who_may_not_is_told_what_it_takes(guarded):
    url, with_key = guarded
    anonymous = commands({"TASKER_ORCHESTRATION_URL": url})("task", "list")
    assert anonymous.exit_code == 4
    assert "TASKER_API_KEY" in anonymous.stderr
    wrong = commands({"TASKER_ORCHESTRATION_URL": url, "TASKER_API_KEY": "wrong"})("task", "list")
    assert wrong.exit_code == 4
    submitter = with_key("--role", "submitter")
    retried = submitter("task", "retry", NOTHING)
    assert (retried.exit_code, retried.stdout) == (4, "")
    assert "permission denied: retry task needs the permission tasks:operate" in retried.stderr
    assert "the roles operator, admin" in retried.stderr
    reset = submitter("step", "reset", NOTHING, "pick", "-r", "because")
    assert reset.exit_code == 4
    assert "needs the permission steps:resolve" in reset.stderr


def test_who_may_not_register_creates_tasks_of_what_is_registered(guarded):
    _, with_key = guarded
    submitter, admin = with_key("--role", "submitter"), with_key("--role", "admin")
    early = submitter("task", "create", "order.yaml")
    assert early.exit_code == 4
    assert "templates:register" in early.stderr
    assert admin("template", "register", "order.yaml").exit_code == 0
    assert submitter("task", "create", "order.yaml").exit_code == 0
    made = admin("task", "list", "--json")
    (task,) = json.loads(made.stdout)["tasks"]
    assert admin("task", "pause", task["task_uuid"], "-r", "because", "--actor", "somebody else").exit_code == 0
    history = json.loads(admin("task", "history", task["task_uuid"], "--json").stdout)["history"]
    assert [change["actor"] for change in history if change["verb"] == "pause"] == ["bob"]


def test_keys_are_made_at_a_server_by_who_may(guarded):
    _, with_key = guarded
    admin, reader = with_key("--role", "admin"), with_key("--role", "reader")
    refused = reader("auth", "list-keys")
    assert refused.exit_code == 4
    assert "system:keys_manage" in refused.stderr
    made = json.loads(admin("auth", "create-key", "-s", "eve", "--role", "reader", "--json").stdout)
    assert made["created_by"] == "bob"
    assert admin("auth", "revoke-key", made["key_uuid"]).exit_code == 0
    assert made["key_uuid"] not in admin("auth", "list-keys", "--json").stdout


def test_workers_are_listed_wherever_they_work(guarded, service, database_url):
    url, with_key = guarded
    worker = with_key("--role", "worker", "--namespace", "shop")
    assert worker("workers").exit_code == 4
    key = json.loads(
        commands({"DATABASE_URL": database_url})("auth", "create-key", "-s", "w", "--role", "worker", "--json").stdout
    )["key"]
    remote = service("worker", "order.yaml", TASKER_ORCHESTRATION_URL=url, TASKER_API_KEY=key, TASKER_WORKER_ID="far")
    remote.read_until(" at once; ")
    local = service("worker", "order.yaml", DATABASE_URL=database_url, TASKER_WORKER_ID="near")
    local.read_until(" at once; ")
    listed = json.loads(with_key("--role", "reader")("workers", "--json").stdout)["workers"]
    assert {row["name"]: (row["subject"], row["live"], row["in_flight"]) for row in listed} == {
        "far": ("w", True, 0),
        "near": (None, True, 0),
    }
    assert all((row["namespaces"], row["callables"]) == (["shop"], ["pack", "pick"]) for row in listed)
    elsewhere = with_key("--role", "reader", "--namespace", "elsewhere")
    assert json.loads(elsewhere("workers", "--json").stdout)["workers"] == []
    remote.stop()
    after = with_key("--role", "reader")
    assert [row["name"] for row in json.loads(after("workers", "--json").stdout)["workers"]] == ["near"]
    everybody = json.loads(after("workers", "--all", "--json").stdout)["workers"]
    assert {row["name"]: row["live"] for row in everybody} == {"near": True, "far": False}
    assert "stopped" in after("workers", "--all").stdout
