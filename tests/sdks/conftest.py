"""Servers and workers for the live pack; each process of a test run has its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import SDK_LANGUAGES, TEMPLATE_DATABASE
from tests.sdks.live_pack import (
    LANGUAGES,
    LEASE_SECONDS,
    Language,
    Pack,
    Server,
    Worker,
    built,
    database_of_a_template,
)

from tasker_core.store import EmbeddedPostgres


def available(name: str) -> Language:
    """Return a language whose worker is built; skip the test if it need not be."""
    if name not in {"python", *SDK_LANGUAGES}:
        pytest.skip(f"TASKER_SKIP_SDKS has {name}")
    return built(LANGUAGES[name])


@pytest.fixture(params=LANGUAGES, scope="module")
def language(request: pytest.FixtureRequest) -> Language:
    """Each language."""
    return available(request.param)


@pytest.fixture(scope="module")
def languages() -> dict[str, Language]:
    """All languages."""
    return {name: available(name) for name in LANGUAGES}


@pytest.fixture(scope="module")
def live_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database of the module's own."""
    with database_of_a_template(postgres.url, TEMPLATE_DATABASE) as url:
        yield url


@pytest.fixture(scope="module")
def pack(live_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pack]:
    """A server with short leases."""
    yield from _pack(live_database, LEASE_SECONDS, tmp_path_factory.mktemp("live"))


@pytest.fixture(scope="module")
def closed_pack(live_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pack]:
    """A server that wants credentials, and whose leases outlast a restart of it."""
    make = ("-m", "tasker_core", "auth", "create-key", "--subject", "tests", "--permission", "*")
    environment = {**os.environ, "DATABASE_URL": live_database}
    made = subprocess.run([sys.executable, *make], env=environment, capture_output=True, text=True, check=True)
    auth = {"TASKER__SERVER__AUTH__ENABLED": "true", "TASKER__SERVER__AUTH__API_KEYS_ENABLED": "true"}
    yield from _pack(live_database, 30.0, tmp_path_factory.mktemp("closed"), made.stdout.strip(), **auth)


@pytest.fixture(scope="module")
def worker_of(pack: Pack) -> Callable[[Language], Worker]:
    """Returns a language's worker that is kept for the module, in a namespace of its own."""
    kept: dict[str, Worker] = {}

    def worker(language: Language) -> Worker:
        if language.name not in kept:
            kept[language.name] = pack.launch_worker(language, f"live_{language.name}")
        pack.wait_for(kept[language.name])
        return kept[language.name]

    return worker


def _pack(
    database_url: str, lease_seconds: float, directory: Path, api_key: str | None = None, **settings: str
) -> Iterator[Pack]:
    server = Server(database_url, lease_seconds, directory, **settings)
    try:
        pack = Pack(server, directory, api_key)
        try:
            yield pack
        finally:
            pack.close()
    finally:
        server.kill()
