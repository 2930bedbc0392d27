"""``tasker system``: how a server is."""

import dataclasses
from typing import Any

import typer
from rich.markup import escape

from tasker_core.cli.common import client_of, run_async
from tasker_core.cli.errors import errors_explained
from tasker_core.cli.output import ExitCode, JsonOption, Options, examples, out, print_json
from tasker_core.cli.remote_parts import get
from tasker_core.client import TaskerClientError
from tasker_core.configuration.profiles import DEFAULT_SERVER, connect

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="See how a server is.",
    epilog=examples("tasker system health", "tasker system health --server https://tasker.example --json"),
)

_ICONS = {"healthy": "[green]✓[/]", "degraded": "[yellow]![/]"}


@app.callback()
def system() -> None:
    """See how a server is."""


@app.command(epilog=examples("tasker system health", "tasker system health -p staging --json"))
def health(as_json: JsonOption = False) -> None:
    """Show the health checks of a server: the chosen one, or else http://localhost:8080.

    Exit codes: 0 it can serve, though perhaps not at its best, 5 it cannot, or cannot be reached.
    """

    async def work() -> dict[str, Any]:
        chosen = connect(server=Options.server)
        # Nobody who asks how it is wants to wait until it is better.
        connection = dataclasses.replace(chosen, base_url=chosen.base_url or DEFAULT_SERVER, max_retries=0)
        async with client_of(connection) as client:
            found: dict[str, Any] = {
                "server": client.base_url,
                "status": "unreachable",
                "error": None,
                "checks": {},
                "info": {},
            }
            try:
                return found | await get(client, "health", "/health/detailed", dict)
            except TaskerClientError as error:
                return found | {"error": error.message}

    with errors_explained():
        found = run_async(work)
        statuses = {check["status"] for check in found["checks"].values()}
        if as_json:
            print_json(found)
        else:
            _print_health(found)
        if found["error"] is not None or "unhealthy" in statuses:
            raise typer.Exit(ExitCode.UNREACHABLE)


def _print_health(found: dict[str, Any]) -> None:
    mark = _ICONS.get(found["status"], "[bold red]✗[/]")
    why = f": {escape(found['error'])}" if found["error"] else ""
    version = f" (version {escape(str(found['info'].get('version')))})" if found["info"] else ""
    out.print(f"{mark} {escape(found['server'])} is {found['status']}{version}{why}", soft_wrap=True)
    for name, check in found["checks"].items():
        message = f": {escape(check['message'])}" if check.get("message") else ""
        out.print(f"  {_ICONS.get(check['status'], '[bold red]✗[/]')} {escape(name)}{message}", soft_wrap=True)
