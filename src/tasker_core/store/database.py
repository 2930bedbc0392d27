"""Connections: one pool, one place where driver errors become ours, one place that retries lost races."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import structlog

from tasker_core.store.errors import StoreError, StoreUnavailableError

#: Oldest supported PostgreSQL.
MINIMUM_POSTGRESQL_MAJOR = 15

#: How often a statement that lost a deadlock is tried again. Statements take their locks in one order, so a
#: deadlock needs a foreign session that locks our rows.
_DEADLOCK_RETRIES = 5

_UNAVAILABLE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.IdleSessionTimeoutError,
    asyncpg.InterfaceError,
    # What the driver says of a connection that broke in the middle of a statement, before it has noticed.
    asyncpg.InternalClientError,
)

#: Longer than this for a connection counts as slow.
_SLOW_ACQUIRE_SECONDS = 0.1

_FIRST_RECONNECT_DELAY = 0.1
_LAST_RECONNECT_DELAY = 5.0

# The pool logs every failed reconnection with a traceback; what matters of it reaches the caller as an error.
logging.getLogger("asyncpg.pool").setLevel(logging.CRITICAL)

log = structlog.get_logger("tasker.store")


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn driver errors into :class:`StoreError` or :class:`StoreUnavailableError`."""
    try:
        yield
    except StoreError:
        raise
    except _UNAVAILABLE as error:
        raise StoreUnavailableError(f"the database cannot be reached: {describe(error)}") from error
    except asyncpg.PostgresError as error:
        raise StoreError(f"the database refused: {describe(error)}") from error


def describe(error: BaseException) -> str:
    """Return an error's text, or its kind where it has none."""
    return str(error) or type(error).__name__


def database_url(url: str) -> str:
    """Check a database URL and return it as the driver wants it.

    Raises:
        StoreError: the URL does not name a PostgreSQL database.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.partition("+")[0] not in {"postgres", "postgresql"}:
        raise StoreError(
            f"the database URL must start with postgresql://, as in postgresql://user:password@host/name; "
            f"got {redacted(url)!r}"
        )
    return f"postgresql://{rest}"


def redacted(url: str) -> str:
    """Return a database URL without its password, fit for messages."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":***@", 1)))


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """How a pool of connections is used. Times are in seconds.

    Attributes:
        active: connections that are in use.
        idle: connections that are open and free.
        maximum: how many there may be.
        acquires: how often a connection was asked for.
        slow_acquires: how often that took longer than a tenth of a second.
        failed_acquires: how often there was none to be had.
        total_wait: how long all of them waited together.
        longest_wait: how long the slowest waited.
        waiting_for: how long the longest of those waits that wait now.
    """

    active: int
    idle: int
    maximum: int
    acquires: int
    slow_acquires: int
    failed_acquires: int
    total_wait: float
    longest_wait: float
    waiting_for: float

    @property
    def utilization(self) -> float:
        """The share of the connections that is in use, between 0 and 1."""
        return self.active / self.maximum


async def _keep_session(_connection: object) -> None:
    """Undo nothing when a connection goes back to the pool.

    No statement of ours changes a session: advisory locks and settings end with their transaction, and listening has
    a connection of its own. The driver's own reset would be one more round trip for each of them.
    """


class Database:
    """A pool of connections to one PostgreSQL database.

    Args:
        url: ``postgresql://`` URL.
        max_connections: size of the pool.
        command_timeout: seconds after which a statement counts as failed.
        acquire_timeout: seconds to wait for a free connection.
    """

    def __init__(
        self, url: str, *, max_connections: int = 8, command_timeout: float = 60.0, acquire_timeout: float = 30.0
    ) -> None:
        self.url = database_url(url)
        self._max_connections = max_connections
        self._command_timeout = command_timeout
        self._acquire_timeout = acquire_timeout
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._listener: asyncpg.Connection[asyncpg.Record] | None = None
        self._waiting: dict[object, float] = {}
        self._acquires = self._slow_acquires = self._failed_acquires = 0
        self._total_wait = self._longest_wait = 0.0

    async def open(self) -> Self:
        """Connect.

        Raises:
            StoreUnavailableError: nobody answers at the URL.
            StoreError: the server refuses the connection or is older than PostgreSQL 15.
        """
        with translated():
            self._pool = await asyncpg.create_pool(
                self.url,
                min_size=1,
                max_size=self._max_connections,
                command_timeout=self._command_timeout,
                max_inactive_connection_lifetime=300.0,
                timeout=10.0,
                reset=_keep_session,
                server_settings={"application_name": "tasker", "jit": "off", "timezone": "UTC"},
            )
            async with self._pool.acquire() as connection:
                version = connection.get_server_version()
        if version.major < MINIMUM_POSTGRESQL_MAJOR:
            await self.close()
            raise StoreError(
                f"PostgreSQL {MINIMUM_POSTGRESQL_MAJOR} or later is needed; the server runs {version.major}"
            )
        return self

    async def close(self) -> None:
        """Close all connections; those in use are given five seconds."""
        if self._pool is None:
            return
        pool, self._pool = self._pool, None
        try:
            await asyncio.wait_for(pool.close(), timeout=5.0)
        except TimeoutError:
            pool.terminate()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def fetch(self, statement: str, *arguments: object) -> Sequence[asyncpg.Record]:
        """Run one statement as its own transaction and return its rows."""
        for attempt in range(_DEADLOCK_RETRIES + 1):
            with translated():
                try:
                    async with self._acquired() as connection:
                        rows: Sequence[asyncpg.Record] = await connection.fetch(statement, *arguments)
                        return rows
                except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError) as error:
                    if attempt == _DEADLOCK_RETRIES:
                        raise
                    log.warning("statement_retried", reason=describe(error), attempt=attempt + 1)
        raise AssertionError("unreachable")

    async def fetch_row(self, statement: str, *arguments: object) -> asyncpg.Record | None:
        """Run one statement and return its first row, or None."""
        rows = await self.fetch(statement, *arguments)
        return rows[0] if rows else None

    async def fetch_value(self, statement: str, *arguments: object) -> Any:
        """Run one statement and return the first column of its first row, or None."""
        row = await self.fetch_row(statement, *arguments)
        return row[0] if row else None

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator["asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"]:
        """Hold one connection in a transaction; an exception rolls it back."""
        with translated():
            async with (
                self._acquired() as connection,
                connection.transaction(),
            ):
                yield connection

    async def listen(self, channels: Sequence[str], heard: Callable[[str], None]) -> None:
        """Call ``heard(channel)`` for each notification from elsewhere, until cancelled; reconnects by itself.

        Also called once for each channel after every (re)connection, since notifications may have been missed.
        """
        delay = _FIRST_RECONNECT_DELAY
        while True:
            try:
                await self._listen_once(channels, heard)
                delay = _FIRST_RECONNECT_DELAY
            except StoreError as error:
                log.warning("listener_lost", reason=describe(error), retry_in=delay)
                delay = min(delay * 2, _LAST_RECONNECT_DELAY)
            await asyncio.sleep(delay)

    async def notify(self, statement: str, channels: Sequence[str]) -> None:
        """Run a statement that notifies listeners elsewhere.

        It runs on the listening connection, so that what comes back of it can be told from what others sent.
        """
        with translated():
            if self._listener is None:
                await self.fetch(statement, channels)
            else:
                await self._listener.fetch(statement, channels)

    async def _listen_once(self, channels: Sequence[str], heard: Callable[[str], None]) -> None:
        """Listen until the connection is lost."""
        with translated():
            connection = await asyncpg.connect(
                self.url, timeout=10.0, server_settings={"application_name": "tasker listener"}
            )
            own_pid = connection.get_server_pid()

            def pass_on(_connection: object, pid: int, channel: str, _payload: object) -> None:
                if pid != own_pid:
                    heard(channel)

            closed = asyncio.Event()
            connection.add_termination_listener(lambda _: closed.set())
            try:
                for channel in channels:
                    await connection.add_listener(channel, pass_on)
                    heard(channel)
                self._listener = connection
                await closed.wait()
            finally:
                self._listener = None
                connection.terminate()

    def pool_facts(self) -> PoolFacts:
        """Return how the pool is used."""
        pool = self._pool
        size, idle = (pool.get_size(), pool.get_idle_size()) if pool is not None else (0, 0)
        since = next(iter(self._waiting.values()), None)
        return PoolFacts(
            active=size - idle,
            idle=idle,
            maximum=self._max_connections,
            acquires=self._acquires,
            slow_acquires=self._slow_acquires,
            failed_acquires=self._failed_acquires,
            total_wait=self._total_wait,
            longest_wait=self._longest_wait,
            waiting_for=0.0 if since is None else time.monotonic() - since,
        )

    @contextlib.asynccontextmanager
    async def _acquired(self) -> AsyncIterator["asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"]:
        """Hold one connection; keep count of how long it took to get it."""
        waiter, since = object(), time.monotonic()
        pool, connection = self.pool, None
        self._waiting[waiter] = since
        try:
            connection = await pool.acquire(timeout=self._acquire_timeout)
        finally:
            del self._waiting[waiter]
            waited = time.monotonic() - since
            self._acquires += 1
            self._slow_acquires += waited > _SLOW_ACQUIRE_SECONDS
            self._failed_acquires += connection is None
            self._total_wait += waited
            self._longest_wait = max(self._longest_wait, waited)
        try:
            yield connection
        finally:
            await pool.release(connection)

    @property
    def pool(self) -> "asyncpg.Pool[asyncpg.Record]":
        """The pool.

        Raises:
            StoreUnavailableError: the database is not open, or not any more.
        """
        if self._pool is None:
            raise StoreUnavailableError("the database is not open")
        return self._pool
