"""Puts a process together. Only this module and the command line read the environment."""

import contextlib
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tasker_core import store
from tasker_core.orchestration import Engine
from tasker_core.orchestration.service import LEASE_SECONDS
from tasker_core.store import EmbeddedPostgres, StoreError, migrate, migration_status
from tasker_core.store.database import redacted

#: Directory of the embedded PostgreSQL, in the project.
DATA_DIRECTORY = ".tasker"


class ConfigurationError(ValueError):
    """A setting has a value that cannot be used; the message names it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a process is told from outside.

    Attributes:
        database_url: ``DATABASE_URL``; without it the embedded PostgreSQL is used.
        data_directory: ``TASKER_DATA_DIR``; the nearest ``.tasker`` here or above, else a new one here.
        environment: ``TASKER_ENV``; names the overrides of templates that apply.
        lease_seconds: ``TASKER_LEASE_SECONDS``; how long a silent worker keeps its steps, 30 by default.
    """

    database_url: str | None
    data_directory: Path
    environment: str | None
    lease_seconds: float = LEASE_SECONDS

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None, *, database_url: str | None = None) -> "Settings":
        """Read the settings from environment variables; an explicit ``database_url`` wins.

        Raises:
            ConfigurationError: a variable has an unusable value.
        """
        variables = os.environ if environment is None else environment
        directory = variables.get("TASKER_DATA_DIR")
        return cls(
            database_url=_checked_url(database_url or variables.get("DATABASE_URL")),
            data_directory=Path(directory) if directory else _nearest_data_directory(Path.cwd()),
            environment=variables.get("TASKER_ENV") or None,
            lease_seconds=_positive(variables, "TASKER_LEASE_SECONDS", LEASE_SECONDS),
        )


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
    if settings.database_url is not None:
        yield OpenDatabase(settings.database_url, redacted(settings.database_url), embedded=False)
        return
    with EmbeddedPostgres(settings.data_directory) as server:
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
        raise StoreError(f"the schema in {database.description} is not up to date; run: tasker db migrate")
    async with Engine(database.url, environment=settings.environment, lease_seconds=settings.lease_seconds) as engine:
        yield engine


def _checked_url(url: str | None) -> str | None:
    if not url:
        return None
    try:
        store.database_url(url)
        urlsplit(url).port  # noqa: B018 - raises if it is no port
    except StoreError as error:
        raise ConfigurationError(str(error)) from None
    except ValueError:
        # Not Python's own message: a password that is not encoded may be what it takes for the port.
        raise ConfigurationError(
            "the database URL has no valid host and port; is every special character of the password written as %XX?"
        ) from None
    return url


def _nearest_data_directory(start: Path) -> Path:
    for directory in (start, *start.parents):
        if (directory / DATA_DIRECTORY).is_dir():
            return directory / DATA_DIRECTORY
    return start / DATA_DIRECTORY


def _positive(variables: Mapping[str, str], name: str, default: float) -> float:
    text = variables.get(name)
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ConfigurationError(f"{name} must be a number of seconds above 0, not {text!r}")
    return number
