"""The embedded PostgreSQL comes when it is needed, is shared, goes with the last one, and survives being killed."""

import asyncio
import os
import pwd
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tasker_core.store import EmbeddedPostgres, EmbeddedPostgresError

#: A process that uses the server until it is told to end.
USER = """
import sys
from tasker_core.store import EmbeddedPostgres
with EmbeddedPostgres(sys.argv[1]) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory outside pytest's own, which other users may not enter."""
    with tempfile.TemporaryDirectory(prefix="tasker test ") as path:
        yield Path(path) / "data"


def user_of(directory: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", USER, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def url_of(user: "subprocess.Popen[str]") -> str:
    assert user.stdout is not None
    return user.stdout.readline().strip()


def value(url: str, query: str, *arguments: object) -> object:
    async def fetch() -> object:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(query, *arguments)
        finally:
            await connection.close()

    return asyncio.run(fetch())


def pid_of(server: EmbeddedPostgres) -> int:
    return int((server.data_directory / "postmaster.pid").read_text().splitlines()[0])


def is_running(server: EmbeddedPostgres) -> bool:
    return (server.data_directory / "postmaster.pid").exists()


def test_several_processes_share_one_server_and_the_last_one_stops_it(directory):
    server = EmbeddedPostgres(directory)
    users = [user_of(directory) for _ in range(3)]
    assert len({url_of(user) for user in users}) == 1
    pid = pid_of(server)
    for user in users[:2]:
        user.communicate("")
        assert pid_of(server) == pid
    with server:
        users[2].communicate("")
        assert value(server.url, "SELECT 1") == 1
    assert not is_running(server)
    server.release()  # once more does no harm
    with pytest.raises(EmbeddedPostgresError, match="no PostgreSQL runs"):
        _ = server.url


def test_a_killed_user_leaves_the_server_to_the_next_one_who_stops_it(directory):
    server = EmbeddedPostgres(directory)
    user = user_of(directory)
    url_of(user)
    pid = pid_of(server)
    user.kill()
    user.communicate()
    with server:
        assert pid_of(server) == pid
        assert value(server.url, "SELECT 1") == 1
    assert not is_running(server)


def test_a_killed_server_recovers_at_the_next_start_with_its_data(directory):
    with EmbeddedPostgres(directory) as server:
        asyncio.run(execute(server.url, "CREATE TABLE kept AS SELECT 42 AS number"))
        os.kill(pid_of(server), signal.SIGKILL)
        while server._running():
            time.sleep(0.01)
        with EmbeddedPostgres(directory) as again:
            assert value(again.url, "SELECT number FROM kept") == 42
    assert not is_running(server)


def test_a_process_id_that_now_belongs_to_another_program_does_not_block_the_start(directory):
    with EmbeddedPostgres(directory) as server:
        pid_file = server.data_directory / "postmaster.pid"
        stale = pid_file.read_text().replace(str(pid_of(server)), str(os.getpid()), 1)
    pid_file.write_text(stale)
    with EmbeddedPostgres(directory) as server:
        assert value(server.url, "SELECT 1") == 1


def test_a_start_that_was_killed_while_it_made_the_data_directory_is_made_up_for(directory):
    (directory / "postgres.new").mkdir(parents=True)
    (directory / "postgres.new" / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(directory) as server:
        assert value(server.url, "SELECT 1") == 1


@pytest.mark.parametrize("name", ["x" * 150, 'a\'b "$HOME" & 100%, é'])
def test_any_path_will_do(directory, name):
    with EmbeddedPostgres(directory / name) as server:
        assert value(server.url, "SHOW data_directory") == str(server.data_directory)
        sockets = str(value(server.url, "SHOW unix_socket_directories"))
        assert Path(sockets).stat().st_mode & 0o077 == 0  # nobody else may connect


def test_the_environment_of_the_process_does_not_matter(directory, monkeypatch):
    for name, text in {"LANG": "xx_YY.UTF-8", "LC_ALL": "xx", "PGPORT": "7777", "PGHOST": "nowhere"}.items():
        monkeypatch.setenv(name, text)
    with EmbeddedPostgres(directory) as server:
        assert value(server.url, "SHOW server_encoding") == "UTF8"


def test_a_place_that_cannot_be_used_is_explained(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedPostgresError) as caught:
        EmbeddedPostgres(tmp_path / "file").start()
    assert str(tmp_path / "file") in str(caught.value)
    assert "Set TASKER_DATA_DIR" in str(caught.value)
    assert "--database-url" in str(caught.value)


def test_the_data_stays_out_of_version_control(directory):
    with EmbeddedPostgres(directory):
        assert (directory / ".gitignore").read_text() == "*\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs all of these tests")
def test_an_ordinary_user_needs_nothing_from_root(directory):
    """Root used an embedded PostgreSQL first; then an ordinary user has one elsewhere, and root's is closed to them."""
    with EmbeddedPostgres(directory):
        nobody = pwd.getpwnam("nobody")
        with tempfile.TemporaryDirectory() as own:
            os.chown(own, nobody.pw_uid, nobody.pw_gid)
            done = subprocess.run(
                [sys.executable, "-c", ORDINARY_USER, str(nobody.pw_uid), str(nobody.pw_gid), own, str(directory)],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["short", "long", "denied"]


# Everything is imported before root's rights are given up: an ordinary user may not be able to read this checkout.
ORDINARY_USER = """
import asyncio, os, sys
import encodings.idna, asyncpg
from tasker_core.store import EmbeddedPostgres, EmbeddedPostgresError

uid, gid, own, of_root = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
os.setgroups([])
os.setgid(gid)
os.setuid(uid)
os.environ["HOME"] = own
for name in ("short", "long" * 40):
    with EmbeddedPostgres(os.path.join(own, name)) as server:
        async def query():
            connection = await asyncpg.connect(server.url)
            assert await connection.fetchval("SELECT 1") == 1
            await connection.close()
        asyncio.run(query())
    print(name[:5].removesuffix('l'))
try:
    EmbeddedPostgres(of_root).start()
except EmbeddedPostgresError as error:
    assert isinstance(error.__cause__, PermissionError), error
    assert "Permission denied" in str(error)
    print("denied")
"""


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
