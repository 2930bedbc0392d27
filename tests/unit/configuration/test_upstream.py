"""Files of the reference system load: what has a counterpart here takes effect, and the rest is told about."""

from pathlib import Path

import pytest

from tasker_core.configuration import ConfigurationError, Settings, settings_keys
from tasker_core.configuration.upstream import COUNTERPARTS, WITHOUT_EFFECT

COMMON = """
[common.database]
url = "${DATABASE_URL:-postgresql://localhost/tasker}"

[common.database.pool]
max_connections = 25
min_connections = 5

[common.execution]
environment = "development"

[common.queues]
backend = "pgmq"
default_visibility_timeout_seconds = 20

[common.queues.pgmq]
poll_interval_ms = 500

[common.task_templates]
search_paths = ["config/tasks/**/*.{yml,yaml}", "more/*.yaml", "config/tasks/*.yml"]

[common._docs]
anything = "goes"
"""
ORCHESTRATION = """
[orchestration]
shutdown_timeout_ms = 15000

[orchestration.web]
bind_address = "0.0.0.0:9000"

[orchestration.web.auth]
enabled = false
jwt_token_expiry_hours = 24
jwt_public_key = "${TASKER_JWT_PUBLIC_KEY:-}"

[orchestration.event_systems.orchestration]
deployment_mode = "Hybrid"
"""
WORKER = """
[worker.mpsc_channels.handler_dispatch]
max_concurrent_handlers = 12
handler_timeout_ms = 1500
dispatch_buffer_size = 1000
"""


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(text, variables=None):
    Path("tasker.toml").write_text(text, encoding="utf-8")
    return Settings.load(variables or {})


def test_a_merged_file_takes_effect_where_there_is_a_counterpart():
    loaded = load(COMMON + ORCHESTRATION + WORKER)
    settings = loaded.settings
    assert settings.database.url.get_secret_value() == "postgresql://localhost/tasker"
    assert (settings.database.max_connections, settings.engine.lease_seconds) == (25, 20.0)
    assert (settings.server.bind, settings.server.shutdown_timeout_seconds) == ("0.0.0.0:9000", 15.0)
    assert (settings.worker.concurrency, settings.worker.default_timeout_seconds) == (12, 1.5)
    assert settings.templates.paths == (Path("config/tasks"), Path("more"))
    assert settings.server.auth.jwt_public_key is None
    assert str(loaded.origins["database.max_connections"]) == "tasker.toml:6"


def test_what_has_no_effect_is_a_warning_for_each_table():
    warnings = sorted(map(str, load(COMMON + ORCHESTRATION + WORKER).warnings))
    assert warnings == sorted(
        [
            "tasker.toml:7: common.database.pool.min_connections has no effect",
            "tasker.toml:13: common.queues has no effect",
            "tasker.toml:33: orchestration.web.auth.jwt_token_expiry_hours has no effect",
            "tasker.toml:37: orchestration.event_systems has no effect",
            "tasker.toml:42: worker.mpsc_channels has no effect",
        ]
    )


def test_what_nobody_knows_is_an_error_with_a_suggestion():
    with pytest.raises(ConfigurationError) as caught:
        load(ORCHESTRATION.replace("bind_address", "bind_adress"))
    assert str(caught.value) == (
        "tasker.toml:6: orchestration.web.bind_adress is not a setting (did you mean 'orchestration.web.bind_address'?)"
    )


def test_a_wrong_value_is_an_error_that_names_our_key_and_its_place():
    with pytest.raises(ConfigurationError) as caught:
        load('[worker.mpsc_channels.handler_dispatch]\nhandler_timeout_ms = "soon"\n[common.database]\nurl = 5\n')
    assert str(caught.value).splitlines() == [
        "tasker.toml:4: database.url must be a URL that begins with postgresql://",
        "tasker.toml:2: worker.default_timeout_seconds must be a number of seconds above 0, not 'soon'",
    ]


def test_a_placeholder_stands_for_milliseconds_where_they_are_wanted():
    text = '[orchestration]\nshutdown_timeout_ms = "${TIMEOUT:-5000}"\n'
    assert load(text).settings.server.shutdown_timeout_seconds == 5.0
    assert load(text, {"TIMEOUT": "250"}).settings.server.shutdown_timeout_seconds == 0.25


def test_a_directory_is_its_base_and_the_overlay_of_the_environment(project):
    for name, text in (
        ("base/common.toml", COMMON),
        ("base/orchestration.toml", ORCHESTRATION),
        ("environments/production/common.toml", "[common.database.pool]\nmax_connections = 50\n"),
        ("environments/test/common.toml", "[common.database.pool]\nmax_connections = 3\n"),
    ):
        path = project / "config" / "tasker" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for environment, connections, origin in (
        ("production", 50, "config/tasker/environments/production/common.toml:2"),
        ("test", 3, "config/tasker/environments/test/common.toml:2"),
        ("", 25, "config/tasker/base/common.toml:6"),
    ):
        loaded = Settings.load({"TASKER_ENV": environment}, file=Path("config/tasker"))
        assert loaded.settings.database.max_connections == connections
        assert str(loaded.origins["database.max_connections"]) == origin
        assert loaded.settings.server.bind == "0.0.0.0:9000"


def test_our_own_worker_table_is_not_taken_for_theirs():
    assert load("[worker]\nconcurrency = 3\n").settings.worker.concurrency == 3


def test_counterparts_are_settings_and_nothing_both_has_and_lacks_an_effect():
    ours = {key.name for key in settings_keys()}
    assert {name for name, _ in COUNTERPARTS.values()} <= ours
    assert not set(WITHOUT_EFFECT) & COUNTERPARTS.keys()
