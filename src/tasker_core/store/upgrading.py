"""The migrations themselves, run by Alembic, which takes a third of a second to import: see :mod:`.migrate`.

Any number of processes may start at once: each takes an advisory lock first, and all but one find the work done.
The whole upgrade is one transaction.
"""

import asyncio
from collections.abc import Callable
from importlib import resources
from typing import TypeVar, cast

import sqlalchemy
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tasker_core.store.database import database_url, redacted, translated
from tasker_core.store.errors import StoreError, StoreUnavailableError
from tasker_core.store.migrate import MigrationStatus
from tasker_core.store.migrations import install_functions

#: Advisory lock of migrations: the bytes of "tasker" as a number.
_LOCK = int.from_bytes(b"tasker", "big")
_VERSION_TABLE = "tasker_schema_version"

_Result = TypeVar("_Result")


async def upgrade(url: str) -> tuple[str, ...]:
    """Run the pending migrations of a database; return them."""
    return await _with_connection(url, _upgrade)


async def status(url: str) -> MigrationStatus:
    """Return where a database's schema stands."""
    return await _with_connection(url, _status)


def _scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(resources.files("tasker_core.store") / "migrations"))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def _status(connection: Connection) -> MigrationStatus:
    scripts = _scripts()
    context = MigrationContext.configure(connection, opts={"version_table": _VERSION_TABLE})
    current, latest = context.get_current_revision(), cast("str", scripts.get_current_head())
    revisions = [script.revision for script in scripts.walk_revisions()]
    if current is not None and current not in revisions:
        raise StoreError(
            f"the database's schema is at {current}, which this version of Tasker does not know (it knows up to "
            f"{latest}); upgrade Tasker"
        )
    pending = revisions[: revisions.index(current)] if current is not None else revisions
    return MigrationStatus(current, latest, tuple(reversed(pending)))


def _upgrade(connection: Connection) -> tuple[str, ...]:
    connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    before = _status(connection)
    if before.up_to_date:
        return ()
    scripts = _scripts()

    def steps(current: str, _context: MigrationContext) -> list[RevisionStep]:
        return scripts._upgrade_revs("head", current)  # noqa: SLF001 - as Alembic's own `upgrade` command does

    with EnvironmentContext(Config(), scripts, fn=steps) as environment:
        environment.configure(connection=connection, version_table=_VERSION_TABLE)
        environment.run_migrations()
    install_functions(connection)
    return before.pending


async def _with_connection(url: str, work: Callable[[Connection], _Result]) -> _Result:
    engine = create_async_engine(
        database_url(url).replace("postgresql://", "postgresql+asyncpg://", 1), poolclass=NullPool
    )
    try:
        with translated():
            try:
                async with asyncio.timeout(120), engine.begin() as connection:
                    return await connection.run_sync(work)
            except sqlalchemy.exc.DBAPIError as error:
                # SQLAlchemy wraps the driver's error twice; the innermost is the one we translate.
                cause = error.orig.__cause__ if error.orig is not None else None
                raise cause or error from error
    except StoreUnavailableError as error:
        # The first words with a database: tell which one does not answer.
        raise StoreUnavailableError(f"{error} (at {redacted(url)})") from error.__cause__
    finally:
        await engine.dispose()
