"""The templates that a command is given, as files or directories."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tasker_core.cli.output import ExitCode, fail, warn
from tasker_core.template import Severity, TemplateError, discover, inspect_file
from tasker_core.template.discover import DiscoveredTemplate

_MOST_WARNINGS = 5

#: Namespace of a template whose namespace is not said.
_DEFAULT_NAMESPACE = "default"

_YAML = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class TemplateName:
    """A registered template. Without a version it is the newest one."""

    namespace: str
    name: str
    version: str | None


TemplateArgument = Annotated[
    Path, typer.Argument(metavar="TEMPLATE", help="Template file, or a directory of templates (then see --task).")
]

TemplateNameOption = Annotated[
    str | None, typer.Option("--task", metavar="NAME", help="Which template, if there are several.")
]


NamedTemplateArgument = Annotated[
    Path,
    typer.Argument(
        metavar="TEMPLATE",
        help="Template file, a directory of templates (then see --task), or where there is none of them: "
        "NAMESPACE/NAME of a registered template.",
    ),
]


def identity(text: str) -> tuple[str, str]:
    """Return the namespace and the name that ``NAMESPACE/NAME`` stands for; the namespace may be left out."""
    namespace, slash, name = text.rpartition("/")
    return (namespace, name) if slash else (_DEFAULT_NAMESPACE, name)


def choose_named(path: Path, name: str | None, version: str | None) -> DiscoveredTemplate | TemplateName:
    """Return the template of a file or directory as `choose` does, or else the name of a registered one."""
    if path.exists() or path.suffix in _YAML or path.is_absolute() or len(path.parts) > 2:
        if version is not None and path.exists():
            raise typer.BadParameter(f"{path} says its version itself", param_hint="--version")
        return choose(path, name)
    if name is not None:
        raise typer.BadParameter(f"it is for directories, and there is no directory {path}", param_hint="--task")
    return TemplateName(*identity(str(path)), version)


def require_paths(paths: Sequence[Path]) -> None:
    """Refuse paths at which nothing is."""
    for path in paths:
        if not path.exists():
            fail(f"there is no file or directory {path}", ExitCode.NOT_FOUND)


def choose(path: Path, name: str | None) -> DiscoveredTemplate:
    """Return the one template that a file holds, or the one of this name in a directory; show its warnings."""
    require_paths([path])
    if path.is_dir():
        return _choose_in_directory(path, name)
    template, report = inspect_file(path)
    if template is None:
        raise TemplateError(report.findings)
    warnings = [finding for finding in report.findings if finding.severity is Severity.WARNING]
    for finding in warnings[:_MOST_WARNINGS]:
        warn(str(finding))
    if len(warnings) > _MOST_WARNINGS:
        warn(f"and {len(warnings) - _MOST_WARNINGS} more; see tasker template validate {shlex.quote(str(path))}")
    if name not in {None, template.name}:
        fail(f"{path} holds the template {template.name}, not {name}", ExitCode.NOT_FOUND)
    return DiscoveredTemplate(path, template)


def load_all(paths: Sequence[Path]) -> tuple[DiscoveredTemplate, ...]:
    """Return all templates in files and directories; one that cannot be loaded is an error."""
    require_paths(paths)
    found = discover(paths)
    if found.failures:
        raise TemplateError(finding for failure in found.failures for finding in failure.findings)
    if not found.templates:
        fail(f"there are no templates in {', '.join(map(str, paths))}", ExitCode.NOT_FOUND)
    return found.templates


def _choose_in_directory(path: Path, name: str | None) -> DiscoveredTemplate:
    found = discover([path])
    candidates = [entry for entry in found.templates if name in {None, entry.template.name}]
    names = ", ".join(sorted(entry.template.name for entry in found.templates))
    if not candidates and found.failures:
        raise TemplateError(finding for failure in found.failures for finding in failure.findings)
    if not candidates:
        fail(f"{path} holds no template {name or 'at all'}; it holds: {names or 'none'}", ExitCode.NOT_FOUND)
    if len(candidates) > 1:
        fail(f"{path} holds several templates; choose one with --task: {names}", ExitCode.USAGE)
    return candidates[0]
