"""``tasker profile``: the servers that commands can talk to."""

import os
from enum import StrEnum
from typing import Annotated, Any

import httpx
import typer
from rich.markup import escape

from tasker_core.cli.config import write_new
from tasker_core.cli.errors import errors_explained
from tasker_core.cli.output import (
    ExitCode,
    JsonOption,
    Options,
    complain,
    examples,
    fail,
    out,
    print_json,
    success,
    warn,
)
from tasker_core.configuration import ConfigurationError, masked_url
from tasker_core.configuration.profiles import (
    DEFAULT_PROFILE,
    PROFILE_FILE,
    STARTER,
    Connection,
    ProfileFile,
    connect,
    new_profile,
    read_profiles,
    resolve,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Look after connection profiles: the servers that commands can talk to.",
    epilog=examples(
        "tasker profile add staging --url https://tasker.staging.example",
        "tasker profile list",
        "tasker profile check staging",
        "tasker -p staging profile show",
    ),
)

#: Seconds that a server has to say how it is.
_PATIENCE = 5.0

NameArgument = Annotated[
    str | None, typer.Argument(metavar="[NAME]", help="A profile.  Default: the one that commands here would use.")
]


class State(StrEnum):
    """How a server is."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNREACHABLE = "unreachable"


@app.command(epilog=examples("tasker profile init"))
def init(
    force: Annotated[bool, typer.Option("--force", metavar="", help="Write over a file that exists.")] = False,
) -> None:
    """Write a file of profiles to start from."""
    with errors_explained():
        if force:
            PROFILE_FILE.parent.mkdir(exist_ok=True)
            PROFILE_FILE.write_text(STARTER, encoding="utf-8")
            success(f"wrote {PROFILE_FILE}")
        else:
            write_new({PROFILE_FILE: STARTER})


@app.command("list", epilog=examples("tasker profile list --json"))
def list_profiles(as_json: JsonOption = False) -> None:
    """List the profiles; the one that commands here use is marked."""
    with errors_explained():
        file = _read()
        active = os.environ.get("TASKER_CLIENT_PROFILE") or DEFAULT_PROFILE
        found = [_summary(file, name, active) for name in file.names]
        if as_json:
            print_json(found)
        elif not found:
            out.print("  none; to write some: tasker profile init")
        else:
            width = max(len(about["name"]) for about in found)
            for about in found:
                mark = "[green]*[/]" if about["active"] else " "
                where = about["base_url"] or "the database"
                what = f"  [dim]{escape(about['description'])}[/]" if about["description"] else ""
                line = f"{mark} [bold]{escape(about['name'].ljust(width))}[/]  {escape(where)}{what}"
                out.print(line, soft_wrap=True)


@app.command(epilog=examples("tasker profile show staging", "tasker profile show --json"))
def show(name: NameArgument = None, as_json: JsonOption = False) -> None:
    """Print what a profile and the environment make together, and where each value comes from."""
    with errors_explained():
        connection = connect(name, server=Options.server, file=_read())
        shown = _shown(connection)
        if as_json:
            print_json({"profile": connection.profile, **shown})
            return
        out.print(f"  [bold]Profile:[/] {escape(connection.profile or DEFAULT_PROFILE)}")
        for label, about in shown.items():
            value = about["value"]
            text = ", ".join(value) if isinstance(value, list) else str(value if value is not None else "none")
            origin = f"  [dim]# {escape(about['origin'])}[/]"
            out.print(f"  [bold]{label}[/] = {escape(text or 'all')}{origin}", soft_wrap=True)


@app.command(epilog=examples("tasker profile add staging --url https://tasker.staging.example --namespace shop"))
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits, - and _.")],
    url: Annotated[
        str | None, typer.Option("--url", "--orchestration-url", metavar="URL", help="Where the server is.")
    ] = None,
    description: Annotated[str | None, typer.Option("-d", "--description", help="What it is for.")] = None,
    namespaces: Annotated[
        list[str] | None, typer.Option("--namespace", help="Namespace to look at; may be repeated.")
    ] = None,
    worker_url: Annotated[
        str | None, typer.Option("--worker-url", metavar="URL", help="Where a worker's health checks are.")
    ] = None,
    tools: Annotated[
        str | None, typer.Option("--tools", metavar="TIERS", help="Tools of the MCP server: tier1,tier2,tier3.")
    ] = None,
) -> None:
    """Add a profile to the file of profiles.

    Credentials are not written: set TASKER_AUTH_TOKEN or TASKER_API_KEY, or put a ${VARIABLE} in the file.
    """
    with errors_explained():
        text = new_profile(
            name, read_profiles(), server=url, description=description, namespaces=namespaces or (),
            worker_url=worker_url, tools=tools,
        )  # fmt: skip
        path = read_profiles().path or PROFILE_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as stream:
            stream.write(text)
        success(f"added {name} to {path}")


@app.command(epilog=examples("tasker profile validate"))
def validate(as_json: JsonOption = False) -> None:
    """Check all profiles; exits with 1 if one of them cannot be used."""
    with errors_explained():
        problems: dict[str, None] = {}
        names: tuple[str, ...] = ()
        try:
            file = _read(quiet=as_json)
            names = file.names
        except ConfigurationError as error:
            problems |= dict.fromkeys(map(str, error.findings))
        for name in names:
            try:
                resolve(file, name)
            except ConfigurationError as error:
                problems |= dict.fromkeys(map(str, error.findings))
        if as_json:
            print_json({"valid": not problems, "profiles": list(names), "errors": list(problems)})
        else:
            for problem in problems:
                complain(problem)
            if not problems:
                success(f"{len(names)} profile{'s' if len(names) != 1 else ''}, no errors")
        if problems:
            raise typer.Exit(ExitCode.FAILED)


@app.command(epilog=examples("tasker profile check staging", "tasker profile check --all --json"))
def check(
    name: NameArgument = None,
    every: Annotated[bool, typer.Option("--all", metavar="", help="Check the servers of all profiles.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Ask servers whether they are ready; exits with 5 if one is not."""
    with errors_explained():
        file = _read()
        names: list[str | None] = [*file.names] if every else [name]
        if every:
            connections = {profile: connect(profile, file=file) for profile in names}
        else:
            connections = {name: connect(name, server=Options.server, file=file)}
        states = [
            {"profile": connection.profile or DEFAULT_PROFILE, **_probed(connection.base_url)}
            for connection in connections.values()
            if connection.base_url is not None
        ]
        if not states:
            fail("no server is chosen, so there is nothing to check", ExitCode.USAGE)
        if as_json:
            print_json(states)
        for state in states if not as_json else ():
            line = f"{state['profile']}: {state['base_url']} is {state['state']}{state['detail']}"
            (success if state["state"] == State.HEALTHY else complain)(line)
        if any(state["state"] != State.HEALTHY for state in states):
            raise typer.Exit(ExitCode.UNREACHABLE)


def _read(*, quiet: bool = False) -> ProfileFile:
    file = read_profiles()
    for warning in () if quiet else file.warnings:
        warn(warning)
    return file


def _summary(file: ProfileFile, name: str, active: str) -> dict[str, Any]:
    profile, _ = resolve(file, name)
    url = profile.orchestration.base_url
    return {
        "name": name,
        "active": name == active,
        "base_url": masked_url(url) if url else None,
        "description": profile.description,
        "namespaces": list(profile.namespaces),
    }


def _shown(connection: Connection) -> dict[str, dict[str, Any]]:
    if connection.token is not None:
        credential = "bearer token ***"
    else:
        credential = f"API key *** in {connection.header}" if connection.api_key is not None else "none"
    values = {
        "base_url": masked_url(connection.base_url) if connection.base_url else None,
        "timeout_seconds": connection.timeout_seconds,
        "max_retries": connection.max_retries,
        "credential": credential,
        "namespaces": list(connection.namespaces),
    }
    return {name: {"value": value, "origin": str(connection.origins[name])} for name, value in values.items()}


def _probed(base_url: str) -> dict[str, Any]:
    state, detail = State.HEALTHY, ""
    try:
        answer = httpx.get(f"{base_url}/health/ready", timeout=_PATIENCE)
        if not answer.is_success:
            state, detail = State.UNHEALTHY, f" (HTTP {answer.status_code})"
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        state, detail = State.UNREACHABLE, f" ({error or type(error).__name__})"
    return {"base_url": masked_url(base_url), "state": state.value, "detail": detail}
