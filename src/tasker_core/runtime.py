"""Puts a process together: its settings, its database, its engine."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from tasker_core.configuration import DATA_DIRECTORY, ConfigurationError, Settings, masked_url
from tasker_core.orchestration import Engine
from tasker_core.store import EmbeddedPostgres, StoreError, migrate, migration_status

__all__ = ["DATA_DIRECTORY", "ConfigurationError", "OpenDatabase", "Settings", "open_database", "open_engine"]


@dataclass(frozen=True, slots=True)
class OpenDatabase:
    """A database that is reachable. ``description`` says in words where it is."""

    url: str
    description: str
    embedded: bool


@contextlib.contextmanager
def open_database(settings: Settings) -> Iterator[OpenDatabase]:
    """Make the configured database reachable, starting the embedded PostgreSQL if that is the one.

    Raises:
        EmbeddedPostgresError: the embedded PostgreSQL cannot be started.
    """
    if settings.database.url is not None:
        url = settings.database.url.get_secret_value()
        yield OpenDatabase(url, masked_url(url), embedded=False)
        return
    with EmbeddedPostgres(settings.database.data_directory) as server:
        yield OpenDatabase(server.url, f"embedded PostgreSQL, data in {server.data_directory}", embedded=True)


@contextlib.asynccontextmanager
async def open_engine(settings: Settings, database: OpenDatabase, *, may_migrate: bool) -> AsyncIterator[Engine]:
    """Open the engine on a database whose schema is up to date.

    Args:
        settings: the process's settings.
        database: where to connect.
        may_migrate: whether to bring the schema up to date first; the embedded database always is.

    Raises:
        StoreUnavailableError: the database cannot be reached.
        StoreError: the schema is not up to date and may not be changed.
    """
    if may_migrate or database.embedded:
        await migrate(database.url)
    elif not (await migration_status(database.url)).up_to_date:
        raise StoreError(
            f"the schema in {database.description} is not up to date; run: tasker db migrate (a server: --migrate)"
        )
    async with Engine(
        database.url,
        environment=settings.engine.environment,
        lease_seconds=settings.engine.lease_seconds,
        max_connections=settings.database.max_connections,
        acquire_timeout=settings.database.acquire_timeout_seconds,
    ) as engine:
        yield engine
