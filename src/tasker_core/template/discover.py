"""Finding the template files of a deployment."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from tasker_core.template.findings import Finding, Severity
from tasker_core.template.load import inspect_file
from tasker_core.template.model import TaskTemplate

_SUFFIXES = frozenset({".yaml", ".yml"})
_WORKSPACE_MARKERS = (".git", "pyproject.toml")
_TASKS = Path("config") / "tasks"


@dataclass(frozen=True, slots=True)
class DiscoveredTemplate:
    """A template and the file it came from."""

    path: Path
    template: TaskTemplate


@dataclass(frozen=True, slots=True)
class FailedFile:
    """A file that gave no template, and all that was found in it."""

    path: Path
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Discovery:
    """What a search found, in the order of the files; every file is in one of the two."""

    templates: tuple[DiscoveredTemplate, ...]
    failures: tuple[FailedFile, ...]

    @property
    def total_files(self) -> int:
        """Files that were looked at."""
        return len(self.templates) + len(self.failures)

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The namespaces of the good templates, sorted, each once."""
        return tuple(sorted({found.template.namespace_name for found in self.templates}))


def discover(paths: Iterable[str | PathLike[str]]) -> Discovery:
    """Load every template under the given directories and files.

    Directories are searched recursively for ``*.yaml`` and ``*.yml``, in sorted order; a file that is named
    itself is read whatever it is called. A file that fails does not stop the others. Of two files with one
    identity and different content the first counts and the second fails; equal content in both is no
    conflict.
    """
    templates: list[DiscoveredTemplate] = []
    failures: list[FailedFile] = []
    first_by_identity: dict[str, DiscoveredTemplate] = {}
    for path in _files(paths):
        template, report = inspect_file(path)
        if template is None:
            failures.append(FailedFile(path, report.findings))
            continue
        found = DiscoveredTemplate(path, template)
        first = first_by_identity.setdefault(template.identity, found)
        if first.template == template:
            templates.append(found)
        else:
            failures.append(FailedFile(path, (_conflict(first, found),)))
    return Discovery(tuple(templates), tuple(failures))


def template_directory(environment: Mapping[str, str], working_directory: Path) -> Path | None:
    """Return where a process finds its templates, or None if none of the places exists.

    The places, in order: ``TASKER_TEMPLATE_PATH``; ``config/tasks`` under ``WORKSPACE_PATH``;
    ``config/tasks`` under the workspace, which is the nearest directory at or above the working directory
    with a ``.git`` or a ``pyproject.toml``; ``config/tasks`` under the working directory.

    Args:
        environment: the environment variables; empty ones count as unset.
        working_directory: the directory that relative paths are relative to.
    """
    candidates = _candidates(environment, working_directory)
    return next((path for path in candidates if path.exists()), None)


def _candidates(environment: Mapping[str, str], working_directory: Path) -> Iterator[Path]:
    if path := environment.get("TASKER_TEMPLATE_PATH"):
        yield working_directory / path
    if path := environment.get("WORKSPACE_PATH"):
        yield working_directory / path / _TASKS
    for directory in (working_directory, *working_directory.parents):
        if any((directory / marker).exists() for marker in _WORKSPACE_MARKERS):
            yield directory / _TASKS
            break
    yield working_directory / _TASKS


def _files(paths: Iterable[str | PathLike[str]]) -> Iterator[Path]:
    """Return each file once, also where the given paths overlap."""
    seen: set[Path] = set()
    for path in map(Path, paths):
        for file in _under(path) if path.is_dir() else (path,):
            if (resolved := file.resolve()) not in seen:
                seen.add(resolved)
                yield file


def _under(directory: Path) -> Iterator[Path]:
    return (path for path in sorted(directory.rglob("*")) if path.suffix in _SUFFIXES and path.is_file())


def _conflict(first: DiscoveredTemplate, second: DiscoveredTemplate) -> Finding:
    return Finding(
        "CONFLICTING_TEMPLATES",
        Severity.ERROR,
        f"{second.path} defines {second.template.identity} otherwise than {first.path}",
        file=str(second.path),
        line=1,
        hint="give one of them another version",
    )
