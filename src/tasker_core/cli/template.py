"""``tasker template``: look at templates before they run."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from tasker_core.cli.errors import errors_explained
from tasker_core.cli.output import ExitCode, JsonOption, complain, err, examples, fail, out, print_json, success
from tasker_core.cli.templates import require_paths
from tasker_core.template import Report, Severity, TaskTemplate, discover, inspect_file, load_file, mermaid, tree

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Check, list and draw task templates.",
    epilog=examples("tasker template validate workflows/", "tasker template show order.yaml --format mermaid"),
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
