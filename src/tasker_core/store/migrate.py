"""Schema migrations. A database that is up to date, as nearly every one is, costs one look and no Alembic."""

import re
from dataclasses import dataclass
from importlib import resources
from typing import Final

import asyncpg

from tasker_core.store import queries
from tasker_core.store.database import Database, database_url, translated
from tasker_core.store.errors import StoreError

#: Seconds for the look; whatever hinders it is told by the thorough way.
_LOOK_SECONDS: Final = 10.0

_MIGRATION: Final = re.compile(r"(?P<revision>\d{4})_\w+\.py")
_QUERIES: Final = queries.load("migrations")


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """Where a database's schema stands. ``current`` is None before the first migration."""

    current: str | None
    latest: str
    pending: tuple[str, ...]

    @property
    def up_to_date(self) -> bool:
        """Whether no migration is pending."""
        return not self.pending


async def migrate(url: str) -> tuple[str, ...]:
    """Bring a database's schema up to date; return the migrations that ran.

    Raises:
        StoreUnavailableError: the database cannot be reached.
        StoreError: the schema is newer than this code, or a migration failed.
    """
    if await _is_current(url):
        return ()
    from tasker_core.store import upgrading

    return await upgrading.upgrade(url)


async def migration_status(url: str) -> MigrationStatus:
    """Return where a database's schema stands, changing nothing."""
    if await _is_current(url):
        return MigrationStatus(latest_migration(), latest_migration(), ())
    from tasker_core.store import upgrading

    return await upgrading.status(url)


def latest_migration() -> str:
    """Return the newest migration that there is."""
    files = (resources.files("tasker_core.store") / "migrations" / "versions").iterdir()
    return max(found["revision"] for file in files if (found := _MIGRATION.fullmatch(file.name)))


async def schema_version(database: Database) -> str | None:
    """Return the newest migration that ran in a database."""
    version: str | None = await database.fetch_value(_QUERIES["schema_version"])
    return version


async def _is_current(url: str) -> bool:
    try:
        with translated():
            connection = await asyncpg.connect(database_url(url), timeout=_LOOK_SECONDS)
            try:
                found = await connection.fetchval(_QUERIES["schema_version"], timeout=_LOOK_SECONDS)
            finally:
                await connection.close(timeout=_LOOK_SECONDS)
    except StoreError:
        return False
    return bool(found == latest_migration())
