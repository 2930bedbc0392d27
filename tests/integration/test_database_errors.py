"""Databases that are away, empty, foreign or newer than the code."""

import asyncio
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.integration.support import fetch, graph

from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.store import (
    EmbeddedPostgres,
    StoreError,
    StoreUnavailableError,
    migrate,
    migration_status,
    upgrading,
)
from tasker_core.store.migrate import latest_migration

NOBODY_THERE = "postgresql://user:secret@127.0.0.1:1/tasker"

MIGRATE = """
import asyncio, sys
from tasker_core.store import migrate
sys.stdin.read(1)
print(*asyncio.run(migrate(sys.argv[1])))
"""


@pytest.fixture
async def empty_database(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """The URL of a database without a schema."""
    name = f"empty_{uuid.uuid4().hex}"
    connection = await asyncpg.connect(postgres.url)
    await connection.execute(f"CREATE DATABASE {name}")
    yield postgres.url.replace("/postgres?", f"/{name}?", 1)
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


async def test_a_database_that_nobody_answers_for_is_promptly_said_to_be_away() -> None:
    began = time.monotonic()
    with pytest.raises(StoreUnavailableError, match="cannot be reached"):
        async with Engine(NOBODY_THERE):
            pass
    with pytest.raises(StoreUnavailableError, match="cannot be reached"):
        await migrate(NOBODY_THERE)
    with pytest.raises(StoreUnavailableError, match="cannot be reached"):
        await migration_status(NOBODY_THERE)
    assert time.monotonic() - began < 2


async def test_no_error_tells_the_password() -> None:
    for attempt in (Engine(NOBODY_THERE).__aenter__(), migrate(NOBODY_THERE)):
        with pytest.raises(StoreUnavailableError) as away:
            await attempt
        assert "secret" not in str(away.value)


@pytest.mark.parametrize("url", ["mysql://localhost/x", "localhost/x", ""])
async def test_a_url_of_something_else_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(StoreError, match="must start with postgresql://") as refused:
        Engine(url)
    assert not isinstance(refused.value, StoreUnavailableError)


async def test_a_database_that_does_not_exist_is_no_outage(database_url: str) -> None:
    missing = database_url.replace("/test_", "/nonexistent_", 1)
    with pytest.raises(StoreError, match="does not exist") as refused:
        async with Engine(missing):
            pass
    assert not isinstance(refused.value, StoreUnavailableError)


async def test_a_database_without_a_schema_is_no_outage(empty_database: str) -> None:
    async with Engine(empty_database) as engine:
        with pytest.raises(StoreError) as refused:
            await engine.create_task(graph({"only": []}), TaskRequest())
    assert not isinstance(refused.value, StoreUnavailableError)


async def test_a_text_that_the_database_cannot_hold_is_no_outage(engine: Engine) -> None:
    with pytest.raises(StoreError) as refused:
        await engine.store.register_worker("\ud800", "host", 1, [])
    assert not isinstance(refused.value, StoreUnavailableError)


async def test_several_processes_may_migrate_at_once(empty_database: str) -> None:
    processes = [
        subprocess.Popen(  # noqa: ASYNC220 - starting them takes no time
            [sys.executable, "-c", MIGRATE, empty_database],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    outputs = await asyncio.gather(*(asyncio.to_thread(process.communicate, "\n", 60) for process in processes))
    assert [process.returncode for process in processes] == [0] * 3, outputs
    ran = sorted(out.strip() for out, _ in outputs)
    assert ran == ["", "", "0001 0002 0003"], "one of them migrates, the others find the work done"
    assert (await migration_status(empty_database)).up_to_date


async def test_migrating_again_does_nothing(empty_database: str) -> None:
    assert await migrate(empty_database) == ("0001", "0002", "0003")
    assert await migrate(empty_database) == ()


async def test_the_status_of_an_empty_database_names_what_is_pending_and_changes_nothing(empty_database: str) -> None:
    for _ in range(2):
        status = await migration_status(empty_database)
        assert (status.current, status.pending, status.up_to_date) == (None, ("0001", "0002", "0003"), False)
    assert await fetch(empty_database, "SELECT 1 FROM pg_namespace WHERE nspname = 'tasker'") == []


async def test_a_migration_that_fails_leaves_nothing_behind(empty_database: str) -> None:
    # The last object of the migration is in the way.
    await fetch(empty_database, "CREATE SCHEMA tasker")
    await fetch(empty_database, "CREATE TABLE tasker.workers ()")
    with pytest.raises(StoreError, match="workers"):
        await migrate(empty_database)
    assert (await migration_status(empty_database)).current is None
    assert len(await fetch(empty_database, "SELECT 1 FROM pg_tables WHERE schemaname = 'tasker'")) == 1


async def test_a_schema_newer_than_the_code_is_refused(empty_database: str) -> None:
    await migrate(empty_database)
    await fetch(empty_database, "UPDATE tasker_schema_version SET version_num = '9999'")
    for look in (migrate, migration_status):
        with pytest.raises(StoreError, match=r"9999.*upgrade Tasker"):
            await look(empty_database)


def test_the_newest_migration_is_known_without_alembic():
    assert latest_migration() == upgrading._scripts().get_current_head()
