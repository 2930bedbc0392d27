"""Fixtures for all tests: one embedded PostgreSQL a run, a fresh database a test, cloned from a template."""

import asyncio
import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tasker_core.handler import HandlerRegistry
from tasker_core.orchestration import Engine
from tasker_core.step_worker import StepWorker
from tasker_core.store import EmbeddedPostgres, migrate

TEMPLATE_DATABASE = "tasker_template"

#: Bytes that the databases and the log of a test run may take.
_ROOM_FOR_DATABASES = 4 * 1024**3

#: Settings of whoever runs the tests; `TASKER_EXAMPLES` and `TASKER_SKIP_SDKS` are for the tests themselves.
_SETTINGS = {name for name in os.environ if name.startswith("TASKER_")} | {"DATABASE_URL", "LOG_LEVEL", "RUST_LOG"}
for _variable in _SETTINGS - {"TASKER_EXAMPLES", "TASKER_SKIP_SDKS"}:
    os.environ.pop(_variable, None)

#: Languages other than Python whose SDKs are tested: all that are not left out on purpose.
SDK_LANGUAGES = [
    language
    for language in ("typescript", "ruby", "rust")
    if language not in os.environ.get("TASKER_SKIP_SDKS", "").replace(" ", ",").split(",")
]
if os.environ.get("CI") and os.environ.get("TASKER_SKIP_SDKS"):
    raise pytest.UsageError("TASKER_SKIP_SDKS is set, but CI leaves nothing out")


@pytest.fixture(scope="session")
def postgres(testrun_uid: str) -> Iterator[EmbeddedPostgres]:
    """The run's PostgreSQL server, shared by all test processes, with a migrated database to clone.

    It is not in pytest's own temporary directory, which later runs remove while this one may still be under way.
    """
    directory = _directory_for_databases() / f"tasker-tests-{testrun_uid}"
    with EmbeddedPostgres(directory) as server:
        with (directory / "template.lock").open("a+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            asyncio.run(_prepare_template(server.url))
        yield server
    if not (server.data_directory / "postmaster.pid").exists():
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
async def database_url(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """The URL of a fresh, migrated database that is dropped after the test."""
    name = f"test_{uuid.uuid4().hex}"
    await _administer(postgres.url, f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE_DATABASE}"')
    yield _named(postgres.url, name)
    await _administer(postgres.url, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[Engine]:
    """An engine on a fresh database."""
    async with Engine(database_url) as opened:
        yield opened


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL server of the test's own, to be stopped and killed."""
    with EmbeddedPostgres(tmp_path / "own") as server:
        asyncio.run(migrate(server.url))
        yield server


@pytest.fixture
def tasker(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the ``tasker`` command in a directory of the test's own; keyword arguments become environment variables."""

    def run(
        *arguments: str,
        input: str | None = None,  # noqa: A002 - subprocess calls it so
        cwd: Path = tmp_path,
        **env: str,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tasker_core", *arguments],
            cwd=cwd,
            input=input,
            capture_output=True,
            text=True,
            timeout=90,
            env={**os.environ, **env},
            check=False,
        )

    return run


@contextlib.asynccontextmanager
async def working(
    engine: Engine, handlers: Mapping[str, Any], *, callables: list[str] | None = None, **options: Any
) -> AsyncIterator[StepWorker]:
    """A worker with these handlers (classes or decorated functions by callable), running until the body ends."""
    registry = HandlerRegistry()
    for name, handler in handlers.items():
        registry.register(name, handler)
    source_options = {"name": options.pop("name")} if "name" in options else {}
    async with engine.worker_source(
        callables or list(handlers),
        on_ready=lambda: worker.wake(),
        on_cancelled=lambda: worker.check_leases(),
        **source_options,
    ) as source:
        worker = StepWorker(source, registry, **options)
        task = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            worker.stop()
            await task


def _directory_for_databases() -> Path:
    """Return a directory in memory if there is one with room: a database for each test keeps a disk busy."""
    memory = Path("/dev/shm")
    if memory.is_dir() and shutil.disk_usage(memory).free > _ROOM_FOR_DATABASES:
        return memory
    return Path(tempfile.gettempdir())


async def _prepare_template(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        if await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", TEMPLATE_DATABASE):
            return
        await connection.execute(f'CREATE DATABASE "{TEMPLATE_DATABASE}"')
    finally:
        await connection.close()
    await migrate(_named(url, TEMPLATE_DATABASE))


async def _administer(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _named(url: str, database: str) -> str:
    return url.replace("/postgres?", f"/{database}?", 1)
