"""One value wins for each setting, everybody can see why, and whatever is wrong is said at once and without secrets."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from annotated_types import Ge, Gt, Le
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from tasker_core.configuration import (
    ConfigurationError,
    Finding,
    Key,
    Loaded,
    Settings,
    Source,
    check_server,
    masked,
    masked_url,
    settings_keys,
)
from tasker_core.configuration.keys import item_of, keys
from tasker_core.configuration.settings import ApiKeySettings
from tasker_core.configuration.writing import toml_value

SETTABLE = {key.name: key for key in settings_keys() if key.settable}

#: What else must be set, so that a setting may be.
COMPANIONS: dict[str, dict[str, Any]] = {
    "server.tls_cert": {"server.tls_key": "key.pem"},
    "server.tls_key": {"server.tls_cert": "cert.pem"},
    "server.auth.enabled": {"server.auth.api_keys_enabled": True},
}

WORDS = st.text(st.characters(exclude_characters="$\0,", exclude_categories=["Cs"]), min_size=1, max_size=12)
NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,10}", fullmatch=True)
URLS = st.builds("{}://{}:{}/{}".format, st.sampled_from(["http", "https"]), NAMES, st.integers(1, 65_535), NAMES)
SPECIAL: dict[str, st.SearchStrategy[Any]] = {
    "database.url": st.builds("postgresql://{}:{}@{}/{}".format, NAMES, NAMES, NAMES, NAMES),
    "server.bind": st.builds("{}:{}".format, NAMES | st.just("[::1]"), st.integers(0, 65_535)),
    "worker.health_bind": st.builds("{}:{}".format, NAMES, st.integers(0, 65_535)),
    "worker.server": URLS,
    "server.auth.jwks_url": URLS,
    "server.auth.api_key_header": NAMES,
    "server.auth.api_keys": st.lists(st.fixed_dictionaries({"key": WORDS, "permissions": st.lists(WORDS)}), max_size=2),
}


def values_of(key: Key) -> st.SearchStrategy[Any]:
    """Values, as TOML has them, that a setting may have and that are not empty."""
    if key.name in SPECIAL:
        return SPECIAL[key.name]
    words, item = key.expected, item_of(key.field)
    if item is not None:
        items = st.sampled_from(get_args(item)) if get_origin(item) is Literal else WORDS
        return st.lists(items, min_size=1, max_size=3)
    if words.startswith("one of "):
        return st.sampled_from(words.removeprefix("one of ").split(", "))
    if words == "true or false":
        return st.booleans()
    limits = {type(limit): limit for limit in key.field.metadata}
    least = limits[Ge].ge if Ge in limits else limits[Gt].gt if Gt in limits else 0
    most = limits[Le].le if Le in limits else 10_000
    if words.startswith("a whole number"):
        return st.integers(least, most)
    if words.startswith("a number"):
        return st.floats(least, most, exclude_min=Gt in limits).map(lambda number: round(number, 3) or 0.5)
    return WORDS


def as_variable(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def as_toml(values: Mapping[str, Any]) -> str:
    return "".join(f"{name} = {toml_table(value)}\n" for name, value in values.items())


def toml_table(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {toml_table(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml_table, value))}]"
    return toml_value(value)


def value_of(loaded: Loaded[Settings], name: str) -> Any:
    value: Any = loaded.settings
    for part in name.split("."):
        value = getattr(value, part)
    return value


def plain(value: Any) -> Any:
    """A setting's value as TOML would have it."""
    match value:
        case SecretStr():
            return value.get_secret_value()
        case ApiKeySettings():
            return {"key": plain(value.key), "permissions": plain(value.permissions)}
        case tuple():
            return [plain(item) for item in value]
        case Path():
            return str(value)
    return value


def same(key: Key, found: Any, wanted: Any) -> bool:
    if key.expected.endswith("paths"):
        return found == [str(Path(path)) for path in wanted]
    if key.expected == "a path":
        return found == str(Path(wanted))
    return found == wanted


def load(text: str = "", variables: Mapping[str, str] | None = None, **options: Any) -> Loaded[Settings]:
    Path("tasker.toml").write_text(text, encoding="utf-8")
    return Settings.load(variables or {}, **options)


def problems(text: str = "", variables: Mapping[str, str] | None = None, **options: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(text, variables, **options)
    assert len(str(caught.value).splitlines()) == len(caught.value.findings)
    return str(caught.value).splitlines()


def refused(attempt: Callable[[], object]) -> Sequence[Finding]:
    """What a configuration error found; nothing if there was none."""
    try:
        attempt()
    except ConfigurationError as error:
        assert error.findings, "an error without a reason"  # noqa: PT017 - most attempts are fine
        return error.findings
    return ()


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Who wins


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(st.data(), st.sampled_from(sorted(SETTABLE)))
def test_every_setting_comes_from_the_flag_else_the_environment_else_the_file_else_the_default(data, name):
    key = SETTABLE[name]
    places = data.draw(st.sets(st.sampled_from(["file", "environment", "flag"])), label="places")
    values = {place: data.draw(values_of(key), label=place) for place in sorted(places)}
    variable = data.draw(st.sampled_from(key.variables), label="variable")
    loaded = load(
        as_toml({name: values["file"]} if "file" in places else {}),
        {variable: as_variable(values["environment"])} if "environment" in places else {},
        flags=({name: values["flag"]} if "flag" in places else {}) | (COMPANIONS.get(name, {}) if places else {}),
    )

    winner = next((place for place in ("flag", "environment", "file") if place in places), "default")
    assert loaded.origins.keys() == SETTABLE.keys()
    shown = {"flag": "command line", "environment": variable, "file": "tasker.toml:1", "default": "default"}
    assert str(loaded.origins[name]) == shown[winner]
    assert loaded.origins[name].source == winner
    if winner == "default":
        assert value_of(loaded, name) == key.default
    else:
        assert same(key, plain(value_of(loaded, name)), values[winner])


def test_a_friendly_variable_gives_way_to_the_exact_one_and_the_first_of_two_friendly_ones_wins():
    loaded = load("", {"TASKER__WORKER__WORKER_ID": "a", "TASKER_WORKER_ID": "b", "TASKER_INSTANCE_ID": "c"})
    assert (loaded.settings.worker.worker_id, str(loaded.origins["worker.worker_id"])) == (
        "a",
        "TASKER__WORKER__WORKER_ID",
    )
    loaded = load("", {"TASKER_WORKER_ID": "b", "TASKER_INSTANCE_ID": "c"})
    assert loaded.settings.worker.worker_id == "b"
    assert load("", {"LOG_LEVEL": "", "RUST_LOG": "debug"}).settings.log.level == "debug"


@pytest.mark.parametrize(
    ("rust_log", "level"),
    [("info,sqlx=warn", "info"), ("WARN", "warning"), ("tasker=trace", "debug"), ("off", "critical")],
)
def test_a_level_in_rust_s_words_is_understood(rust_log, level):
    assert load("", {"RUST_LOG": rust_log}).settings.log.level == level


def test_lists_in_the_environment_are_json_or_texts_with_commas_between():
    assert load("", {"TASKER_NAMESPACE": "shop, bank,"}).settings.worker.namespaces == ("shop", "bank")
    assert load("", {"TASKER_NAMESPACE": '["a,b"]'}).settings.worker.namespaces == ("a,b",)
    keys_given = '[{"key": "0123456789abcdef", "permissions": ["tasks:*"], "namespaces": []}]'
    (key,) = load("", {"TASKER__SERVER__AUTH__API_KEYS": keys_given}).settings.server.auth.api_keys
    assert (key.permissions, key.namespaces) == (("tasks:*",), ())


def test_a_placeholder_may_stand_for_a_number_a_boolean_or_a_list_but_a_text_may_not():
    text = '[worker]\nconcurrency = "${N:-7}"\nnamespaces = "${WHERE}"\n[server]\nconfig_endpoint_enabled = "${ON}"\n'
    loaded = load(text, {"ON": "true", "WHERE": "a,b"})
    assert (loaded.settings.worker.concurrency, loaded.settings.worker.namespaces) == (7, ("a", "b"))
    assert loaded.settings.server.config_endpoint_enabled is True
    assert problems('[worker]\nconcurrency = "7"\n') == [
        "tasker.toml:2: worker.concurrency must be a whole number from 1 to 10000, not '7'"
    ]


def test_what_is_empty_is_not_set():
    loaded = load('[database]\nurl = "${DATABASE_URL:-}"\ndata_directory = ""\n[worker]\nworker_id = ""\n')
    assert loaded.settings == Settings()
    assert set(loaded.origins.values()) == {loaded.origins["server.bind"]}


def test_a_placeholder_that_something_else_overrides_needs_no_variable():
    loaded = load('[database]\nurl = "${NOPE}"\n', {"DATABASE_URL": "postgresql://h/d"})
    assert str(loaded.origins["database.url"]) == "DATABASE_URL"


def test_the_file_is_named_or_in_one_of_two_places(project):
    assert Settings.load({}).file is None
    (project / "config").mkdir()
    for path in ("config/tasker.toml", "tasker.toml", "elsewhere.toml", "flag.toml"):
        (project / path).write_text("", encoding="utf-8")
        variables = {"TASKER_CONFIG_PATH": "elsewhere.toml"} if path in ("elsewhere.toml", "flag.toml") else {}
        file = Path(path) if path == "flag.toml" else None
        assert Settings.load(variables, file=file).file == Path(path)


# What is wrong


def test_everything_wrong_is_said_at_once_with_its_place_and_what_would_be_right():
    found = problems(
        """
[databse]
url = 1
[server]
bind = "localhost"
request_timeout_ms = true
cors_origins = "*"
[server.auth]
jwt_allowed_algorithms = ["HS256"]
api_keys = [{key = "topsecret", permisions = []}, {description = "nothing"}, 5]
[log]
level = "${LEVEL}"
""",
        {"TASKER__SERVER__BINDD": "topsecret", "TASKER_LEASE_SECONDS": "soon"},
        flags={"worker.concurrency": 0, "worker.concurency": 1},
    )
    assert sorted(found) == sorted(
        [
            "tasker.toml:2: databse is not a setting (did you mean 'database'?)",
            "tasker.toml:5: server.bind must be an address with a port, such as 127.0.0.1:8080, not 'localhost'",
            "tasker.toml:6: server.request_timeout_ms must be a whole number of milliseconds from 1 to 3600000, "
            "not true",
            "tasker.toml:7: server.cors_origins must be a list of texts, not '*'",
            "tasker.toml:9: server.auth.jwt_allowed_algorithms[0] must be one of RS256, RS384, RS512, PS256, PS384, "
            "PS512, ES256, ES384, EdDSA, not 'HS256'",
            "tasker.toml:10: server.auth.api_keys[0].permisions is not a setting (did you mean 'permissions'?)",
            "tasker.toml:10: server.auth.api_keys[1] needs either key or key_sha256",
            "tasker.toml:10: server.auth.api_keys[2] must be a table",
            "tasker.toml:12: log.level needs the environment variable LEVEL, which is not set; set it, or write "
            "${LEVEL:-default}",
            "TASKER__SERVER__BINDD is not a setting (did you mean 'TASKER__SERVER__BIND'?)",
            "TASKER_LEASE_SECONDS must be a number of seconds above 0, not 'soon' [engine.lease_seconds]",
            "worker.concurrency on the command line must be a whole number from 1 to 10000, not 0",
            "worker.concurency on the command line is not a setting (did you mean 'worker.concurrency'?)",
        ]
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[server]\ntls_cert = "c"\n', "tasker.toml:2: server.tls_cert needs tls_key, too"),
        ('[server]\ntls_key = "c"\n', "tasker.toml:2: server.tls_key needs tls_cert, too"),
        (
            "[server.auth]\nenabled = true\n",
            "tasker.toml:2: server.auth.enabled is true, which needs jwt_public_key_path, jwt_public_key, jwks_url or "
            "api_keys_enabled",
        ),
        (
            '[server.auth]\nenabled = true\njwt_verification_method = "jwks"\n',
            "tasker.toml:3: server.auth.jwt_verification_method is jwks, which needs jwks_url",
        ),
        (
            '[server.auth]\nenabled = true\njwks_url = "https://h/jwks"\n',
            "tasker.toml:3: server.auth.jwks_url has no effect unless jwt_verification_method is jwks",
        ),
        (
            '[server.auth]\nenabled = true\njwt_verification_method = "jwks"\njwks_url = "http://h/jwks"\n',
            "tasker.toml:4: server.auth.jwks_url must begin with https:// unless jwks_url_allow_http is true",
        ),
        (
            '[server.auth]\nenabled = true\njwt_public_key = "k"\n[[server.auth.api_keys]]\nkey = "0123456789abcdef"\n',
            "tasker.toml:4: server.auth.api_keys has no effect unless api_keys_enabled is true",
        ),
        (
            '[server]\ntls_cert = "c"\ntls_kye = "k"\n',
            "tasker.toml:3: server.tls_kye is not a setting (did you mean 'server.tls_key'?)",
        ),
        (
            '[server]\ntls_cert = "c"\ntls_key = "${NOPE}"\n',
            "tasker.toml:3: server.tls_key needs the environment variable NOPE, which is not set; set it, or write "
            "${NOPE:-default}",
        ),
        ("server = 5\n", "tasker.toml:1: server must be a table"),
        (
            "[worker.concurrency]\n",
            "tasker.toml:1: worker.concurrency must be a whole number from 1 to 10000, not a table",
        ),
        ("lease_seconds = 5\n", "tasker.toml:1: lease_seconds is not a setting (did you mean 'engine.lease_seconds'?)"),
    ],
)
def test_what_does_not_go_together_or_belong_there_is_one_error(text, message):
    assert problems(text) == [message]


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"a = ", b"a = 1\na = 2", b"a = [" * 3000, b"a = 1" + b"0" * 5000, b"\0"]
)
def test_a_file_that_is_not_toml_is_one_error_that_names_it(project, content):
    (project / "broken.toml").write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        Settings.load({}, file=Path("broken.toml"))
    (finding,) = caught.value.findings
    assert str(finding).startswith("broken.toml ")


@pytest.mark.parametrize("path", ["missing.toml", "x\0y", "a" * 5000, "."])
def test_a_file_that_cannot_be_read_is_one_error(path):
    with pytest.raises(ConfigurationError) as caught:
        Settings.load({}, file=Path(path))
    assert len(caught.value.findings) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("${A}") | st.just("${"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["key", "x"]), inner, max_size=2),
    max_leaves=4,
)
NAMES_GIVEN = st.sampled_from([*SETTABLE, "server", "server.auth", "nonsense", "server.nonsense"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(st.dictionaries(NAMES_GIVEN, JSON, max_size=4), st.sampled_from([*SETTABLE]), st.text())
def test_nonsense_is_never_anything_but_a_configuration_error(flags, name, text):
    found = refused(lambda: load("", {SETTABLE[name].variables[-1]: text}, flags=flags))
    places = {str(finding.origin) for finding in found}
    assert places <= {"command line", SETTABLE[name].variables[-1]} | ({"default"} if flags else set())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(st.text() | st.builds("[server]\nbind = {}\n".format, st.text()))
def test_any_text_in_the_file_is_used_or_refused_as_a_configuration_error(text):
    Path("any.toml").write_bytes(text.encode("utf-8", "surrogatepass"))
    assert all("any.toml" in str(finding) for finding in refused(lambda: Settings.load({}, file=Path("any.toml"))))


# Secrets

SECRET = "hunter2-and-more"


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("", {"DATABASE_URL": SECRET}),
        ("", {"DATABASE_URL": f"mysql://me:{SECRET}@host/name"}),
        ("", {"DATABASE_URL": f"postgresql://me:{SECRET}@host:99999/name"}),
        ("", {"DATABASE_URL": f"postgresql://me:12#{SECRET}@host/name"}),
        ("", {"DATABASE_URL": f"postgresql://me:12?{SECRET}@host/name"}),
        ("", {"DATABASE_URL": f"postgresql://me:12/{SECRET}@host/name"}),
        ("", {"TASKER__DATABASE__URI": SECRET}),
        ("", {"TASKER_ORCHESTRATION_URL": f"ftp://me:{SECRET}@host"}),
        ("", {"TASKER__SERVER__AUTH__API_KEYS": f'[{{"key": "{SECRET}"'}),
        ("", {"TASKER__SERVER__AUTH__API_KEYS": f'[{{"kei": "{SECRET}"}}]'}),
        ("", {"TASKER__SERVER__AUTH__API_KEYS": f'["{SECRET}"]'}),
        ("", {"TASKER__SERVER__AUTH__API_KEYS": SECRET}),
        ('[worker]\nconcurrency = "${TOKEN}"\n', {"TOKEN": SECRET}),
        ('[worker]\nconcurrency = "${TOKEN}"\nnamespaces = ["${TOKEN}${"]\n', {"TOKEN": SECRET}),
        ('[server]\nbind = "${TOKEN}"\n', {"TOKEN": SECRET}),
        (f'database = "{SECRET}"\n', {}),
        (f'[database]\npassword = "{SECRET}"\n', {}),
        (f'[server.auth]\napi_keys = "{SECRET}"\n', {}),
        (f'[server.auth]\napi_keys = [{{key = ["{SECRET}"]}}]\n', {}),
        (f'[server.auth]\napi_keys = [{{key = "{SECRET}", key_sha256 = "{"0" * 64}"}}]\n', {}),
        (f'[server.auth]\napi_keys = ["{SECRET}"]\n', {}),
    ],
)
def test_no_error_shows_a_secret(text, variables):
    found = problems(text, variables)
    assert SECRET not in "\n".join(found)


def test_nothing_shown_has_a_secret():
    loaded = load(
        f'[database]\nurl = "postgresql://me:{SECRET}@host/name?sslpassword={SECRET}"\n'
        f'[[server.auth.api_keys]]\nkey = "{SECRET}"\n[worker]\nserver = "https://me:{SECRET}@host"\n'
    )
    shown = json.dumps({name: masked(value_of(loaded, name)) for name in SETTABLE})
    assert SECRET not in shown
    assert "postgresql://me:***@host/name?sslpassword=***" in shown
    assert "https://me:***@host" in shown
    assert SECRET not in repr(loaded.settings.database) + repr(loaded.settings.server)


@settings(deadline=None)
@given(st.text(st.characters(exclude_characters=" \n/?"), min_size=6))
def test_a_password_is_masked_however_badly_it_is_encoded(password):
    url = f"postgresql://me:#{password}@host/name"
    assert masked_url(url) == "postgresql://me:***@host/name"


# What only a server needs


def test_a_server_that_others_can_reach_needs_authentication_or_consent():
    for bind in ("127.0.0.1:80", "localhost:80", "[::1]:80", "127.8.8.8:0"):
        check_server(load("", {"TASKER_WEB_BIND_ADDRESS": bind}))
    for bind in ("0.0.0.0:80", "[::]:80", "10.0.0.1:80", "shop.example:80"):
        open_to_all = load("", {"TASKER_WEB_BIND_ADDRESS": bind})
        with pytest.raises(ConfigurationError, match=r"TASKER_WEB_BIND_ADDRESS is .*which other machines can reach"):
            check_server(open_to_all)
        check_server(load("[server]\nallow_unauthenticated = true\n", {"TASKER_WEB_BIND_ADDRESS": bind}))
        check_server(
            load("[server.auth]\nenabled = true\napi_keys_enabled = true\n", {"TASKER_WEB_BIND_ADDRESS": bind})
        )


def test_files_that_a_server_needs_must_be_readable(project):
    text = '[server]\ntls_cert = "cert.pem"\ntls_key = "key.pem"\n'
    text += '[server.auth]\nenabled = true\njwt_public_key_path = "."\n'
    (project / "key.pem").write_text("", encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        check_server(load(text))
    assert str(caught.value).splitlines() == [
        "tasker.toml:2: server.tls_cert names 'cert.pem', which cannot be read: No such file or directory",
        "tasker.toml:6: server.auth.jwt_public_key_path names '.', which cannot be read: Is a directory",
    ]


# What everybody may rely on


def test_every_setting_says_what_it_is():
    for key in settings_keys():
        assert key.description.endswith("."), key.name
        assert key.expected, key.name
        assert key.default is not None or key.default_words or key.optional, key.name


def test_names_of_environment_variables_are_unique():
    names = [name for key in keys(Settings) for name in key.variables]
    assert len(names) == len(set(names))


def test_settings_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        Settings().server.bind = "x:1"
    assert {source.value for source in Source} == {"default", "file", "environment", "flag"}


def test_neither_the_package_nor_the_handler_sdk_loads_the_configuration():
    code = (
        "import sys, tasker_core, tasker_core.step_handler\n"
        "sys.exit(any(name.startswith('tasker_core.configuration') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
