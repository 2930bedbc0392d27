"""``tasker template``: look at templates before they run."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from tasker_core.cli.common import DatabaseOption, operator, run_async
from tasker_core.cli.errors import errors_explained
from tasker_core.cli.operations import ActorOption
from tasker_core.cli.output import ExitCode, JsonOption, complain, err, examples, fail, out, print_json, success
from tasker_core.cli.template_registration import register_files
from tasker_core.cli.templates import identity, require_paths
from tasker_core.template import Report, Severity, TaskTemplate, discover, inspect_file, load_file, mermaid, tree

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Check, draw and register task templates.",
    epilog=examples(
        "tasker template validate workflows/",
        "tasker template show order.yaml --format mermaid",
        "tasker template register workflows/ --server https://tasker.example",
        "tasker template registered",
    ),
)

Paths = Annotated[list[Path], typer.Argument(metavar="PATH...", help="Template files, or directories to search.")]

_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.INFO: "dim"}


class Format(StrEnum):
    """Ways to show a template."""

    TREE = "tree"
    MERMAID = "mermaid"
    JSON = "json"


@app.command(epilog=examples("tasker template validate order.yaml", "tasker template validate workflows/ --strict"))
def validate(
    paths: Paths,
    strict: Annotated[
        bool, typer.Option("--strict", metavar="", help="Unknown keys are errors, not warnings.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check templates; exits with 1 if one has errors."""
    with errors_explained():
        files = _files(paths)
        reports = {file: inspect_file(file, strict)[1] for file in files}
        valid = all(report.valid for report in reports.values())
        if as_json:
            print_json(
                {
                    "valid": valid,
                    "files": [{"file": str(file), **report.to_dict()} for file, report in reports.items()],
                }
            )
        else:
            for file, report in reports.items():
                _print_report(file, report)
        if not valid:
            raise typer.Exit(ExitCode.FAILED)


@app.command("list", epilog=examples("tasker template list workflows/ --json"))
def list_templates(paths: Paths, as_json: JsonOption = False) -> None:
    """List the templates in files and directories; exits with 1 if one cannot be loaded."""
    with errors_explained():
        require_paths(paths)
        found = discover(paths)
        if as_json:
            print_json(
                {
                    "templates": [_summary(entry.path, entry.template) for entry in found.templates],
                    "failures": [
                        {"file": str(failure.path), **Report(failure.findings, 0, has_cycles=False).to_dict()}
                        for failure in found.failures
                    ],
                }
            )
        else:
            table = Table("Template", "Version", "Steps", "File", box=None, header_style="bold")
            for entry in found.templates:
                template = entry.template
                table.add_row(
                    escape(f"{template.namespace_name}/{template.name}"),
                    escape(template.version),
                    str(len(template.steps)),
                    escape(str(entry.path)),
                )
            out.print(table)
            for failure in found.failures:
                for finding in failure.findings:
                    complain(str(finding))
        if found.failures:
            raise typer.Exit(ExitCode.FAILED)


@app.command(
    epilog=examples("tasker template show order.yaml", "tasker template show order.yaml -f mermaid > order.mmd")
)
def show(
    paths: Paths,
    form: Annotated[Format, typer.Option("--format", "-f", help="tree, mermaid (a diagram's source) or json.")] = (
        Format.TREE
    ),
    as_json: JsonOption = False,
) -> None:
    """Show templates as a tree, as a Mermaid diagram or in canonical JSON."""
    with errors_explained():
        templates = [load_file(file) for file in _files(paths)]
        if as_json or form is Format.JSON:
            shown = [template.to_dict() for template in templates]
            print_json(shown[0] if len(shown) == 1 else shown)
            return
        for template in templates:
            text = (mermaid if form is Format.MERMAID else tree)(template)
            out.print(text.rstrip("\n"), markup=False, soft_wrap=True)


@app.command(
    epilog=examples(
        "tasker template register order.yaml",
        "tasker template register workflows/ --server https://tasker.example",
        "tasker template register order.yaml --force",
    )
)
def register(
    paths: Paths,
    force: Annotated[
        bool,
        typer.Option("--force", metavar="", help="Replace other content of the same version; tasks keep theirs."),
    ] = False,
    actor: ActorOption = "",
    database_url: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register templates, so that tasks can be created from them by name.

    One that cannot be registered does not stop the others. Tasks that exist keep the content they were created with.

    Exit codes: 0 all are registered, 1 one is not valid, or its version is registered with other content.
    """

    async def work() -> list[dict[str, Any]]:
        async with operator(database_url) as opened:
            return await register_files(opened.templates, paths, actor=actor, force=force)

    with errors_explained():
        require_paths(paths)
        rows = run_async(work)
        if as_json:
            print_json({"templates": rows})
        else:
            for row in rows:
                if row["error"] is None:
                    success(f"{row['outcome']}: {row['namespace']}/{row['name']}/{row['version']}")
                else:
                    for line in row["error"].splitlines():
                        complain(line)
        if not rows:
            fail(f"there are no templates in {', '.join(map(str, paths))}", ExitCode.NOT_FOUND)
        if any(row["error"] is not None for row in rows):
            raise typer.Exit(ExitCode.FAILED)


@app.command(epilog=examples("tasker template registered", "tasker template registered -n shop --json"))
def registered(
    namespaces: Annotated[
        list[str] | None, typer.Option("-n", "--namespace", metavar="NAME", help="Only this one; may be repeated.")
    ] = None,
    database_url: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the templates that are registered, the newest version of each first."""

    async def work() -> list[dict[str, Any]]:
        async with operator(database_url) as opened:
            return await opened.templates.list(namespaces or None)

    with errors_explained():
        found = run_async(work)
        if as_json:
            print_json({"templates": found})
        elif not found:
            err.print("no registered templates")
        else:
            table = Table("Template", "Version", "Steps", "Registered", "By", box=None, header_style="bold")
            for row in found:
                table.add_row(
                    escape(f"{row['namespace']}/{row['name']}"),
                    escape(row["version"]),
                    str(row["step_count"]),
                    row["registered_at"][:19],
                    escape(row["registered_by"] or ""),
                )
            out.print(table)


@app.command(epilog=examples("tasker template unregister shop/order 1.0.0"))
def unregister(
    name: Annotated[str, typer.Argument(metavar="NAMESPACE/NAME", help="The template.")],
    version: Annotated[str, typer.Argument(metavar="VERSION", help="The version of it that is to go.")],
    database_url: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let no more tasks be created by name from a version of a template.

    Tasks that exist go on.
    """
    namespace, short_name = identity(name)

    async def work() -> None:
        async with operator(database_url) as opened:
            await opened.templates.delete(namespace, short_name, version)

    with errors_explained():
        run_async(work)
        if as_json:
            print_json({"namespace": namespace, "name": short_name, "version": version, "deleted": True})
        else:
            success(f"unregistered: {namespace}/{short_name}/{version}")


def _files(paths: list[Path]) -> list[Path]:
    """Return the files themselves and the YAML files under directories."""
    require_paths(paths)
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(file for pattern in ("*.yaml", "*.yml") for file in path.rglob(pattern))
        else:
            files.append(path)
    if not files:
        fail(f"there are no .yaml or .yml files under {', '.join(map(str, paths))}", ExitCode.NOT_FOUND)
    return files


def _print_report(file: Path, report: Report) -> None:
    errors = sum(finding.severity is Severity.ERROR for finding in report.findings)
    for finding in report.findings:
        err.print(f"[{_STYLES[finding.severity]}]{finding.severity.value:>7}[/] {escape(str(finding))}", soft_wrap=True)
    if report.valid:
        success(f"{file}: {report.step_count} steps, no errors")
    else:
        complain(f"{file}: {errors} error{'s' if errors != 1 else ''}")


def _summary(file: Path, template: TaskTemplate) -> dict[str, Any]:
    return {
        "file": str(file),
        "namespace": template.namespace_name,
        "name": template.name,
        "version": template.version,
        "description": template.description,
        "steps": len(template.steps),
        "callables": sorted({step.handler.callable for step in template.steps}),
    }
