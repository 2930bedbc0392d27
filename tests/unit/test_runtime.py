"""Settings come from the environment, are checked at once and never shown with a password."""

import asyncio
from pathlib import Path

import pytest

from tasker_core.orchestration.service import LEASE_SECONDS
from tasker_core.runtime import ConfigurationError, OpenDatabase, Settings, open_database, open_engine
from tasker_core.store import StoreUnavailableError


def url_of(settings: Settings) -> str | None:
    return settings.database.url.get_secret_value() if settings.database.url else None


def test_without_any_variable_a_project_has_its_own_database(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = Settings.read({})
    assert settings == Settings()
    assert (settings.database.url, settings.database.data_directory) == (None, tmp_path / ".tasker")
    assert (settings.engine.environment, settings.engine.lease_seconds) == (None, LEASE_SECONDS)


def test_the_nearest_data_directory_above_is_the_project_s(tmp_path, monkeypatch):
    (tmp_path / ".tasker").mkdir()
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    assert Settings.read({}).database.data_directory == tmp_path / ".tasker"
    assert Settings.read({"TASKER_DATA_DIR": "/else/where"}).database.data_directory == Path("/else/where")


def test_an_explicit_url_wins_and_empty_variables_count_as_missing():
    variables = {"DATABASE_URL": "postgresql://a/b", "TASKER_ENV": "", "TASKER_LEASE_SECONDS": ""}
    settings = Settings.read(variables)
    assert url_of(settings) == "postgresql://a/b"
    assert (settings.engine.environment, settings.engine.lease_seconds) == (None, LEASE_SECONDS)
    assert url_of(Settings.read(variables, database_url="postgresql://c/d")) == "postgresql://c/d"
    assert url_of(Settings.read({"DATABASE_URL": ""})) is None


@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan", "inf"])
def test_a_lease_is_a_number_of_seconds_above_zero(text):
    with pytest.raises(ConfigurationError, match="TASKER_LEASE_SECONDS must be a number of seconds"):
        Settings.read({"TASKER_LEASE_SECONDS": text})
    assert Settings.read({"TASKER_LEASE_SECONDS": "1.5"}).engine.lease_seconds == 1.5


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me:secret@host/name",
        "secret",
        "postgresql://me:secret@host:99999/name",
        "postgresql://me:sec#ret@host/name",
        "postgresql://me:secret@[::1/name",
    ],
)
def test_an_unusable_url_is_refused_without_showing_the_password(url):
    with pytest.raises(ConfigurationError) as caught:
        Settings.read({"DATABASE_URL": url})
    assert "me:sec" not in str(caught.value)


def test_a_database_is_described_without_its_password():
    with open_database(Settings.read({"DATABASE_URL": "postgresql://me:secret@host/name"})) as database:
        assert database == OpenDatabase("postgresql://me:secret@host/name", "postgresql://me:***@host/name", False)


async def test_an_unreachable_database_is_named_without_its_password():
    settings = Settings.read({"DATABASE_URL": "postgresql://me:secret@127.0.0.1:1/name"})
    with open_database(settings) as database, pytest.raises(StoreUnavailableError) as caught:
        async with asyncio.timeout(10), open_engine(settings, database, may_migrate=False):
            pass
    assert "me:***@127.0.0.1:1/name" in str(caught.value)
