"""Which server a command talks to, and with which credential."""

from pathlib import Path

import pytest

from tasker_core.configuration import ConfigurationError
from tasker_core.configuration.profiles import STARTER, connect, new_profile, read_profiles, resolve, target

SECRET = "hunter2-and-more"
FILE = f"""
[profile.default]
namespaces = ["shop"]

[profile.default.orchestration]
timeout_ms = 5000

[profile.default.orchestration.auth]
method = {{type = "BearerToken", value = "{SECRET}"}}

[profile.staging.orchestration]
base_url = "https://staging.example/"
max_retries = 1
auth = {{method = {{type = "ApiKey", value = {{key = "${{KEY:-nothing}}", header_name = "X-Staging"}}}}}}

[profile.plain]
description = "no server"

[cli]
default-language = "python"
"""


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def write(text, place=".config/tasker.toml"):
    path = Path(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


DEFAULT_SERVER = '[profile.default.orchestration]\nbase_url = "http://default.example"\n'
STAGING_SERVER = '[profile.staging.orchestration]\nbase_url = "http://staging.example"\n'
PLAIN = '[profile.plain]\ndescription = "no server"\n'


@pytest.mark.parametrize("with_default_server", [False, True])
@pytest.mark.parametrize(
    ("options", "variables", "decides"),
    [
        ({}, {}, "default"),
        ({}, {"DATABASE_URL": "postgresql://h/d"}, "default"),
        ({"database_url": "postgresql://h/d"}, {}, None),
        ({"database_url": "postgresql://h/d", "profile": "staging"}, {}, None),
        ({"database_url": "postgresql://h/d"}, {"TASKER_ORCHESTRATION_URL": "http://variable.example"}, None),
        ({"server": "http://option.example/"}, {}, "option"),
        ({"server": "http://option.example", "database_url": "postgresql://h/d"}, {}, "option"),
        ({"server": "http://option.example", "profile": "staging"}, {"TASKER_ORCHESTRATION_URL": "x"}, "option"),
        ({"profile": "staging"}, {}, "staging"),
        ({"profile": "staging"}, {"TASKER_ORCHESTRATION_URL": "http://variable.example"}, "staging"),
        ({"profile": "staging"}, {"TASKER_CLIENT_PROFILE": "plain"}, "staging"),
        ({"profile": "plain"}, {"TASKER_CLIENT_PROFILE": "staging"}, "default"),
        ({}, {"TASKER_CLIENT_PROFILE": "staging", "DATABASE_URL": "postgresql://h/d"}, "staging"),
        ({}, {"TASKER_CLIENT_PROFILE": ""}, "default"),
        ({}, {"TASKER_ORCHESTRATION_URL": "http://variable.example"}, "variable"),
        ({}, {"TASKER_ORCHESTRATION_URL": ""}, "default"),
        ({}, {"TASKER_ORCHESTRATION_URL": "http://variable.example", "DATABASE_URL": "postgresql://h/d"}, "variable"),
    ],
)
def test_the_first_explicit_choice_decides(options, variables, decides, with_default_server):
    write((DEFAULT_SERVER if with_default_server else "") + STAGING_SERVER + PLAIN)
    if decides == "default" and not with_default_server:
        decides = None
    connection = target(environment=variables, **options)
    assert (connection and connection.base_url) == (decides and f"http://{decides}.example")


def test_a_profile_without_a_server_has_that_of_the_default_profile_before_the_environment_s():
    write(DEFAULT_SERVER + PLAIN)
    variables = {"TASKER_ORCHESTRATION_URL": "http://variable.example"}
    assert target(profile="plain", environment=variables).base_url == "http://default.example"


def test_values_come_from_the_chosen_profile_else_the_default_profile_else_the_defaults():
    write(FILE)
    staging = connect("staging", environment={})
    assert (staging.base_url, staging.timeout_seconds, staging.max_retries) == ("https://staging.example", 5.0, 1)
    assert (staging.api_key, staging.header, staging.token) == ("nothing", "X-Staging", None)
    assert (staging.namespaces, staging.profile) == (("shop",), "staging")
    assert {name: str(origin) for name, origin in staging.origins.items()} == {
        "base_url": ".config/tasker.toml:12",
        "timeout_seconds": ".config/tasker.toml:6",
        "max_retries": ".config/tasker.toml:13",
        "namespaces": ".config/tasker.toml:3",
        "credential": ".config/tasker.toml:14",
    }
    default = connect(environment={})
    assert (default.base_url, default.timeout_seconds, default.max_retries) == (None, 5.0, 3)
    assert (default.token, default.api_key, default.profile) == (SECRET, None, None)


def test_without_any_file_there_are_defaults_and_the_environment():
    connection = connect(environment={"TASKER_ORCHESTRATION_TIMEOUT_MS": "250"})
    assert (connection.base_url, connection.timeout_seconds, connection.token) == (None, 0.25, None)
    assert str(connection.origins["timeout_seconds"]) == "TASKER_ORCHESTRATION_TIMEOUT_MS"


CREDENTIALS = {
    "TASKER_ORCHESTRATION_AUTH_TOKEN": ("endpoint", None),
    "TASKER_AUTH_TOKEN": ("general", None),
    "TASKER_API_KEY": (None, "key"),
}


@pytest.mark.parametrize("weightiest", [*CREDENTIALS, None])
def test_credentials_of_the_environment_win_over_the_file_in_their_order(weightiest):
    write(FILE)
    names = [*CREDENTIALS]
    present = names[names.index(weightiest) :] if weightiest else []
    variables = {name: next(filter(None, CREDENTIALS[name])) for name in present}
    connection = connect("plain", environment={**variables, "TASKER_API_KEY_HEADER": "X-Mine"})
    expected = CREDENTIALS[weightiest] if weightiest else (SECRET, None)
    assert (connection.token, connection.api_key) == expected
    assert connection.header == ("X-Mine" if connection.api_key else "X-API-Key")
    assert str(connection.origins["credential"]) == (weightiest or ".config/tasker.toml:8")
    assert "endpoint" not in repr(connection)
    assert SECRET not in repr(connection)


@pytest.mark.parametrize(
    ("auth", "token", "api_key", "header"),
    [
        ('{method = {type = "BearerToken", value = "t"}}', "t", None, "X-API-Key"),
        ('{method = {type = "Bearer", token = "t"}}', "t", None, "X-API-Key"),
        ('{type = "bearer", token = "t"}', "t", None, "X-API-Key"),
        ('{method = {type = "ApiKey", value = {key = "k"}}}', None, "k", "X-API-Key"),
        ('{method = {type = "ApiKey", value = {key = "k", header_name = "H"}}}', None, "k", "H"),
        ('{type = "api_key", key = "k", header = "H"}', None, "k", "H"),
        ('{method = {type = "BearerToken", value = "${EMPTY:-}"}}', None, None, "X-API-Key"),
    ],
)
def test_credentials_are_read_in_all_their_spellings(auth, token, api_key, header):
    write(f"[profile.default.orchestration]\nauth = {auth}\n")
    connection = connect(environment={})
    assert (connection.token, connection.api_key, connection.header) == (token, api_key, header)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", ".config/tasker.toml:1: x is not a table of a profile file"),
        ("profile = 1\n", ".config/tasker.toml:1: profile must be a table"),
        ("[profile]\na = 1\n", ".config/tasker.toml:2: profile.a must be a table"),
        (
            "[profile.default]\nnamspaces = []\n",
            ".config/tasker.toml:2: profile.default.namspaces is not a setting "
            "(did you mean 'profile.default.namespaces'?)",
        ),
        (
            '[profile.default.orchestration]\nbase_url = "localhost:80"\n',
            ".config/tasker.toml:2: profile.default.orchestration.base_url must be a URL that begins with http:// or "
            "https://, not 'localhost:80'",
        ),
        (
            '[profile.default.orchestration]\ntimeout_ms = "5"\n',
            ".config/tasker.toml:2: profile.default.orchestration.timeout_ms must be a whole number of milliseconds "
            "from 1 to 3600000, not '5'",
        ),
        (
            f'[profile.default.orchestration]\nauth = {{method = {{type = "Bearerr", value = "{SECRET}"}}}}\n',
            ".config/tasker.toml:2: profile.default.orchestration.auth must be {method = "
            '{type = "BearerToken", value = "…"}} or '
            '{method = {type = "ApiKey", value = {key = "…", header_name = "X-API-Key"}}}',
        ),
        (
            '[profile.default]\ntransport = "carrier pigeon"\n',
            ".config/tasker.toml:2: profile.default.transport must be one of rest, grpc, not 'carrier pigeon'",
        ),
        (
            '[profile.default]\ntransport = "grpc"\n',
            ".config/tasker.toml:2: profile.default.transport is grpc, which is not spoken here; "
            "give orchestration.base_url of HTTP",
        ),
        (
            '[profile.default]\nnamespaces = ["${NOPE}"]\n',
            ".config/tasker.toml:2: profile.default.namespaces needs the environment variable NOPE, which is not set; "
            "set it, or write ${NOPE:-default}",
        ),
        ("[profile.default", ".config/tasker.toml is not valid TOML"),
    ],
)
def test_what_is_wrong_with_a_profile_is_one_error_without_secrets(text, message):
    write(text)
    with pytest.raises(ConfigurationError) as caught:
        connect(environment={})
    assert len(caught.value.findings) == 1
    assert str(caught.value).startswith(message)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "variables", "message"),
    [
        ({"profile": "stagin"}, {}, "no profile 'stagin'; there are default, staging, plain in .config/tasker.toml"),
        ({}, {"TASKER_CLIENT_PROFILE": "stagin"}, "(did you mean 'staging'?)"),
        ({"server": "ftp://x"}, {}, "on the command line must be a URL"),
        ({}, {"TASKER_ORCHESTRATION_URL": "x y"}, "TASKER_ORCHESTRATION_URL must be a URL"),
        ({}, {"TASKER_ORCHESTRATION_TIMEOUT_MS": "soon"}, "TASKER_ORCHESTRATION_TIMEOUT_MS must be a whole number"),
    ],
)
def test_what_is_wrong_around_profiles_is_named(options, variables, message):
    write(FILE)
    with pytest.raises(ConfigurationError) as caught:
        connect(environment=variables, **options)
    assert message in str(caught.value)


def test_only_the_first_place_is_used_without_a_warning(project):
    environment = {"HOME": str(project / "home")}
    for place in (
        str(project / "home/.tasker/client.toml"),
        str(project / "home/.config/tasker/client.toml"),
        "tasker-client.toml",
        ".config/tasker-client.toml",
    ):
        write("[profile.default]\n", place)
        found = read_profiles(environment)
        assert str(found.path) == place
        assert found.warnings == (f"{place} is an old place for profiles; move it to .config/tasker.toml",)
    write("[profile.default]\n")
    assert (read_profiles(environment).path, read_profiles(environment).warnings) == (Path(".config/tasker.toml"), ())


def test_the_starter_file_is_valid_and_chooses_no_server():
    write(STARTER)
    assert target(environment={}) is None
    uncommented = "\n".join(
        line.removeprefix("# ") for line in STARTER.splitlines() if " = " in line or "[profile" in line
    )
    write(uncommented.replace("or: auth", "#").replace("[profile.default] always", "# "))
    assert connect("staging", environment={"STAGING_TOKEN": "t"}).token == "t"


def test_a_new_profile_means_what_was_asked_for():
    write(STARTER)
    text = new_profile(
        "mine", read_profiles({}), server="https://h/x", description='a "b" ${C}\n', namespaces=["n"], tools="tier1"
    )
    write(STARTER + text)
    profile, _ = resolve(read_profiles({}), "mine", {})
    assert (profile.description, profile.namespaces, profile.tools) == ('a "b" ${C}\n', ("n",), ("tier1",))
    assert profile.orchestration.base_url == "https://h/x"
