"""People see what is set and why, find their mistakes, and start from files that are right."""

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tasker_core.cli.app import app

SECRET = "hunter2-and-more"


class Shell:
    """Commands run in this process; keyword arguments become environment variables."""

    def __call__(self, *arguments: str, code: int = 0, **env: str) -> str:
        self.result = CliRunner(env={"NO_COLOR": "1", **env}).invoke(app, arguments)
        assert self.result.exit_code == code, self.result.output
        assert self.result.exception is None or isinstance(self.result.exception, SystemExit)
        return self.result.stdout

    @property
    def errors(self) -> list[str]:
        return self.result.stderr.splitlines()


@pytest.fixture
def shell(tmp_path, monkeypatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    # Set by the options of the root; so the end of the test takes them away again.
    for name in ("TASKER_CONFIG_PATH", "TASKER_CLIENT_PROFILE"):
        monkeypatch.setenv(name, "")
    return Shell()


def write(text: str, path: str = "tasker.toml") -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")


# config


def test_show_tells_values_and_where_they_come_from_without_secrets(shell):
    write(
        f'[database]\nurl = "postgresql://me:{SECRET}@host/name"\n'
        f'[[server.auth.api_keys]]\nkey = "{SECRET}"\n[engine]\nlease_seconds = 45\n'
    )
    shown = shell("config", "show", "--origin", LOG_LEVEL="debug")
    assert SECRET not in shown
    for line in (
        'database.url = "postgresql://me:***@host/name"  # tasker.toml:2',
        "engine.lease_seconds = 45.0  # tasker.toml:6",
        'log.level = "debug"  # LOG_LEVEL',
        "worker.concurrency = 10  # default",
    ):
        assert line in shown.splitlines()
    document = json.loads(shell("config", "show", "--json", "--origin", TASKER_LEASE_SECONDS="7"))
    assert document["engine.lease_seconds"] == {"value": 7.0, "origin": "TASKER_LEASE_SECONDS"}
    assert document["server.auth.api_keys"]["value"][0]["key"] == "***"
    assert json.loads(shell("config", "show", "--json"))["engine.lease_seconds"] == 45.0


def test_show_and_explain_take_a_setting_or_a_table(shell):
    assert shell("config", "show", "server.bind") == 'server.bind = "127.0.0.1:8080"\n'
    assert json.loads(shell("config", "show", "log", "--json")) == {"log.level": "info", "log.format": "auto"}
    assert [about["key"] for about in json.loads(shell("config", "explain", "engine", "--json"))] == [
        "engine.environment",
        "engine.lease_seconds",
    ]
    explained = shell("config", "explain", "server.auth.api_keys[].key_sha256")
    assert "64 hexadecimal digits" in explained
    assert "TASKER__" not in explained
    assert "TASKER__ENGINE__LEASE_SECONDS, TASKER_LEASE_SECONDS" in shell("config", "explain", "engine.lease_seconds")
    for command in ("show", "explain"):
        assert shell("config", command, "server.bnid", code=3) == ""
        assert shell.errors == ["✗ there is no setting 'server.bnid' (did you mean 'server.bind'?)"]


def test_validate_tells_all_errors_and_exits_with_1(shell):
    write('[databse]\n[server]\nbind = "x"\n')
    shell("config", "validate", code=1, TASKER__SERVER__X="1")
    assert [line[:2] for line in shell.errors] == ["✗ "] * 3
    document = json.loads(shell("config", "validate", "--json", code=1))
    assert (document["valid"], document["file"]) == (False, None)
    assert document["errors"][1] == {
        "key": "server.bind",
        "origin": "tasker.toml:3",
        "message": "must be an address with a port, such as 127.0.0.1:8080, not 'x'",
        "hint": None,
    }
    write('[server]\nbind = "0.0.0.0:80"\n', "other.toml")
    shell("config", "validate", "other.toml", code=1)
    assert "other.toml:2: server.bind is 0.0.0.0:80, which other machines can reach" in shell.errors[0]
    write("[common.queues]\nbackend = 'pgmq'\n", "theirs.toml")
    assert shell("config", "validate", "theirs.toml") == "✓ theirs.toml: no errors\n"
    assert shell.errors == ["! theirs.toml:2: common.queues has no effect"]
    write(f'[server.auth]\nenabled = true\njwt_public_key = "{SECRET}"\n', "key.toml")
    shell("config", "validate", "key.toml", code=1)
    assert shell.errors[0].startswith("✗ server.auth cannot be used: jwt_public_key")
    assert SECRET not in shell.errors[0]
    shell("config", "validate", "missing.toml", code=1)
    assert "there is no configuration file 'missing.toml'" in shell.errors[0]


def test_other_commands_tell_the_same_errors_as_wrong_usage(shell):
    write("[server]\nbnid = 1\n")
    for command in (["config", "show"], ["task", "list"], ["db", "status"]):
        shell(*command, code=2)
        assert shell.errors == ["✗ tasker.toml:2: server.bnid is not a setting (did you mean 'server.bind'?)"]


def test_generate_writes_a_valid_file_and_never_over_another(shell):
    printed = shell("config", "generate")
    assert shell("config", "generate", "-o", "new/tasker.toml") == "✓ wrote new/tasker.toml\n"
    assert Path("new/tasker.toml").read_text(encoding="utf-8") == printed
    assert shell("config", "validate", "new/tasker.toml") == "✓ new/tasker.toml: no errors\n"
    write("mine = true\n")
    shell("config", "generate", "-o", "tasker.toml", code=1)
    assert shell.errors == ["✗ tasker.toml exists already; it is left as it is"]
    assert Path("tasker.toml").read_text(encoding="utf-8") == "mine = true\n"


def test_the_configuration_is_chosen_before_or_behind_the_command(tasker, tmp_path):
    (tmp_path / "mine.toml").write_text("[worker]\nconcurrency = 3\n", encoding="utf-8")
    for arguments in (
        ["-c", "mine.toml", "config", "show", "worker.concurrency"],
        ["config", "show", "--config", "mine.toml", "worker.concurrency"],
        ["config", "show", "worker.concurrency", "--config=mine.toml"],
    ):
        assert tasker(*arguments).stdout == "worker.concurrency = 3\n"
    missing = tasker("-c", "missing.toml", "task", "list")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert missing.stderr == (
        "✗ there is no configuration file 'missing.toml', which --config or TASKER_CONFIG_PATH names\n"
    )


def test_commands_use_the_database_that_the_file_names_and_tell_what_has_no_effect(tasker, tmp_path, database_url):
    text = f"[common.database]\nurl = '{database_url}'\n[common.cache]\nenabled = true\n"
    (tmp_path / "tasker.toml").write_text(text, encoding="utf-8")
    done = tasker("task", "list", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"tasks": []})
    assert "tasker.toml:4: common.cache has no effect" in done.stderr
    assert not (tmp_path / ".tasker").exists()


# init and profile


def test_init_writes_both_files_or_none(shell):
    assert shell("init") == "✓ wrote tasker.toml\n✓ wrote .config/tasker.toml\n"
    assert shell("config", "validate") == "✓ tasker.toml: no errors\n"
    assert shell("profile", "validate") == "✓ 1 profile, no errors\n"
    Path("tasker.toml").unlink()
    shell("init", code=1)
    assert shell.errors == ["✗ .config/tasker.toml exists already; it is left as it is"]
    assert not Path("tasker.toml").exists()


def test_profiles_are_added_listed_and_shown(shell):
    assert "tasker profile init" in shell("profile", "list")
    shell("profile", "init")
    shell("profile", "init", code=1)
    shell("profile", "init", "--force")
    shell("profile", "add", "staging", "--url", "https://h.example", "-d", "trying", "--namespace", "shop")
    shell("profile", "add", "staging", code=2)
    shell("profile", "add", "a b", code=2)
    shell("profile", "add", "bad", "--url", "h.example", code=2)
    listed = shell("profile", "list", TASKER_CLIENT_PROFILE="staging").splitlines()
    assert listed == ["  default  the database", "* staging  https://h.example  trying"]
    assert [profile["active"] for profile in json.loads(shell("profile", "list", "--json"))] == [True, False]
    shown = json.loads(shell("-p", "staging", "profile", "show", "--json", TASKER_AUTH_TOKEN=SECRET))
    assert shown["base_url"]["value"] == "https://h.example"
    assert shown["credential"] == {"value": "bearer token ***", "origin": "TASKER_AUTH_TOKEN"}
    assert shown["namespaces"]["value"] == ["shop"]
    shell("profile", "show", "stagin", code=2)
    assert "did you mean 'staging'?" in shell.errors[0]


def test_profiles_are_validated_all_at_once(shell):
    write(
        f'[profile.a.orchestration]\nbase_url = "x"\nauth = {{token = "{SECRET}"}}\n[profile.b]\nnamespace = []\n',
        ".config/tasker.toml",
    )
    shell("profile", "validate", code=1)
    assert len(shell.errors) == 3
    assert SECRET not in shell.result.output
    assert len(json.loads(shell("profile", "validate", "--json", code=1))["errors"]) == 3


@contextlib.contextmanager
def answering(status: int) -> Iterator[str]:
    """A server that answers every request with this status; its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status if self.path == "/health/ready" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_check_asks_the_server_and_exits_with_5_unless_it_is_ready(shell):
    with answering(200) as good, answering(503) as bad:
        shell("profile", "add", "good", "--url", good)
        shell("profile", "add", "bad", "--url", bad)
        assert shell("profile", "check", "good") == f"✓ good: {good} is healthy\n"
        shell("profile", "check", "bad", code=5)
        assert shell.errors == [f"✗ bad: {bad} is unhealthy (HTTP 503)"]
        states = json.loads(shell("profile", "check", "--all", "--json", code=5))
        assert [state["state"] for state in states] == ["healthy", "unhealthy"]
    shell("profile", "check", "good", code=5)
    assert "is unreachable" in shell.errors[0]
    shell("profile", "check", code=2)
    assert shell.errors == ["✗ no server is chosen, so there is nothing to check"]
