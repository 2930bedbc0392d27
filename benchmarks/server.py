"""The database server that all subjects of a run share."""

import contextlib
import tempfile
from collections.abc import Iterator

import asyncpg
import sqlalchemy
import uvloop

from tasker_core.store import EmbeddedPostgres


class Server:
    """A PostgreSQL server on which databases may be made and dropped."""

    def __init__(self, url: str) -> None:
        self._url = url

    @contextlib.contextmanager
    def database(self, name: str) -> Iterator[str]:
        """Make an empty database ``bench_NAME``, yield its URL and drop it afterwards.

        Each subject gets a new one in each round and a checkpoint before it, so nobody pays for what ran before.
        """
        name = f"bench_{name.replace('-', '_')}"
        drop = f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"
        uvloop.run(self._execute(drop, f"CREATE DATABASE {name}"))
        uvloop.run(self._checkpoint())
        try:
            yield sqlalchemy.make_url(self._url).set(database=name).render_as_string(hide_password=False)
        finally:
            uvloop.run(self._execute(drop))

    def settings(self) -> dict[str, str]:
        """Return the settings that decide what a commit costs."""
        return uvloop.run(self._settings())

    async def _execute(self, *statements: str) -> None:
        connection = await asyncpg.connect(self._url)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    async def _checkpoint(self) -> None:
        with contextlib.suppress(asyncpg.InsufficientPrivilegeError):
            await self._execute("CHECKPOINT")

    async def _settings(self) -> dict[str, str]:
        connection = await asyncpg.connect(self._url)
        try:
            names = ("server_version", "fsync", "synchronous_commit", "wal_level", "shared_buffers")
            return {name: await connection.fetchval(f"SHOW {name}") for name in names}
        finally:
            await connection.close()


@contextlib.contextmanager
def open_server(url: str | None) -> Iterator[Server]:
    """Yield the server at ``url``, or else an embedded one that leaves nothing behind."""
    if url is not None:
        yield Server(url)
        return
    with tempfile.TemporaryDirectory(prefix="tasker-bench-") as directory, EmbeddedPostgres(directory) as embedded:
        yield Server(embedded.url)
