"""Options and helpers that several commands share."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.markup import escape

from tasker_core import serialization
from tasker_core.cli.output import ExitCode, Options, err, fail
from tasker_core.cli.remote_operator import Operator, RemoteOperator
from tasker_core.client import AsyncTaskerClient
from tasker_core.configuration.profiles import Connection, target
from tasker_core.orchestration import Engine
from tasker_core.runtime import Settings, open_database, open_engine

DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="URL",
        help="PostgreSQL to use, postgresql://…  Default: $DATABASE_URL, else the project's embedded PostgreSQL.",
    ),
]

_Result = TypeVar("_Result")


def run_async(work: Callable[[], Awaitable[_Result]]) -> _Result:
    """Run a command's coroutine on the fastest event loop there is."""

    async def main() -> _Result:
        return await work()

    if sys.platform == "win32":
        return asyncio.run(main())
    import uvloop  # there is none for Windows

    return uvloop.run(main())


@contextlib.asynccontextmanager
async def engine(
    database_url: str | None, *, may_migrate: bool = False, announce: bool = False
) -> AsyncIterator[Engine]:
    """Open the engine that a command works on, and close it and the embedded PostgreSQL afterwards."""
    settings = Settings.read(database_url=database_url)
    with open_database(settings) as database:
        if announce:
            err.print(f"[dim]Database: {escape(database.description)}[/]", soft_wrap=True)
        async with open_engine(settings, database, may_migrate=may_migrate) as opened:
            yield opened


@contextlib.asynccontextmanager
async def operator(database_url: str | None) -> AsyncIterator[Operator]:
    """Open what a command works with: the server that is chosen, or else the engine on the database."""
    connection = target(server=Options.server, database_url=database_url)
    if connection is None:
        async with engine(database_url) as opened:
            yield opened
        return
    async with client_of(connection) as client:
        yield RemoteOperator(client)


def require_no_server(command: str) -> None:
    """Refuse a server that is named on the command line, for commands that work on the database itself."""
    for option, value in (("--server", Options.server), ("--profile", Options.profile)):
        if value is not None:
            fail(f"{command} works on the database itself, not with a server: leave out {option}", ExitCode.USAGE)


def client_of(connection: Connection) -> AsyncTaskerClient:
    """Return a client of the server that is chosen."""
    return AsyncTaskerClient(
        initiator="tasker",
        source_system="cli",
        base_url=connection.base_url,
        token=connection.token,
        api_key=connection.api_key,
        api_key_header=connection.header,
        timeout=connection.timeout_seconds,
        max_retries=connection.max_retries,
    )


def read_context(text: str) -> dict[str, Any]:
    """Return the JSON object that ``--context`` gives; see `read_object`."""
    return read_object(text, "--context")


def read_object(text: str, option: str) -> dict[str, Any]:
    """Return the JSON object that an option gives directly, as ``@FILE``, or as ``-`` for standard input."""
    what, where = f"the {option.removeprefix('--')}", option
    try:
        if text == "-":
            where = "standard input"
            text = sys.stdin.buffer.read().decode()
        elif text.startswith("@"):
            where = text[1:]
            text = Path(where).read_text(encoding="utf-8")
    except OSError as error:
        fail(f"cannot read {what} from {where}: {error.strerror}", ExitCode.USAGE)
    except UnicodeDecodeError:
        fail(f"cannot read {what} from {where}: it is not UTF-8 text", ExitCode.USAGE)
    if not text.strip():
        fail(f"{where} is empty; {what} must be a JSON object, such as {{}}", ExitCode.USAGE)
    try:
        value = serialization.loads(text)
    except serialization.SerializationError as error:
        fail(f"{where} is {error}", ExitCode.USAGE)
    except RecursionError:
        fail(f"{where} is nested too deeply", ExitCode.USAGE)
    if not isinstance(value, dict):
        fail(f"{where} must be a JSON object, not {_JSON_NAMES.get(type(value), 'a number')}", ExitCode.USAGE)
    return value


_JSON_NAMES: dict[type, str] = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
