"""Finding task templates on disk, and the handlers they name.

Everything here is forgiving: a file that cannot be read as a template yields nothing. Loading
and checking a template is done elsewhere.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

WORKSPACE_MARKERS = (
    "Cargo.toml",
    "pyproject.toml",
    ".git",
    "Gemfile",
    "package.json",
    "tasker-core.code-workspace",
)

_MAX_LEVELS_UP = 10
_TEMPLATE_DIRECTORY = Path("config", "tasks")
_TEST_TEMPLATE_DIRECTORY = Path("tests", "fixtures", "task_templates", "python")


class TemplatePath:
    """Where templates are."""

    @staticmethod
    def find_template_config_directory() -> Path | None:
        """The first directory that exists of the places below; None if none does.

        1. ``TASKER_TEMPLATE_PATH``
        2. in the workspace, ``tests/fixtures/task_templates/python``, if ``TASKER_ENV`` is ``test``
        3. ``config/tasks`` in ``WORKSPACE_PATH``, in the workspace, in the working directory

        The workspace is the nearest directory, from the working directory up, that holds one of
        `WORKSPACE_MARKERS`.
        """
        return next((path for path in _candidate_directories() if path.is_dir()), None)

    @staticmethod
    def discover_template_files(directory: Path | str) -> list[Path]:
        """All YAML files below a directory, sorted; empty if it is none."""
        root = Path(directory)
        if not root.is_dir():
            return []
        return sorted(path for path in root.rglob("*") if path.suffix in {".yaml", ".yml"} and path.is_file())


class TemplateParser:
    """What a template file says about handlers."""

    @staticmethod
    def extract_handler_callables(template_file: Path | str) -> list[str]:
        """The callables of a template file's steps, in order; empty if it is no template."""
        return TemplateParser.extract_handlers_from_template(_load(template_file))

    @staticmethod
    def extract_handlers_from_template(template_data: Any) -> list[str]:
        """The callables of a parsed template's steps, in order, leaving out malformed steps."""
        steps = template_data.get("steps") if isinstance(template_data, dict) else None
        if not isinstance(steps, list):
            return []
        handlers = [step.get("handler") for step in steps if isinstance(step, dict)]
        callables = [handler.get("callable") for handler in handlers if isinstance(handler, dict)]
        return [each for each in callables if isinstance(each, str) and each]

    @staticmethod
    def extract_template_metadata(template_file: Path | str) -> dict[str, Any]:
        """What a template file says of itself, with its path and handlers; empty if it is no template.

        The keys are ``name``, ``namespace``, ``version``, ``description``, ``file_path`` and
        ``handlers``.
        """
        data = _load(template_file)
        if not isinstance(data, dict):
            return {}
        return {
            "name": data.get("name"),
            "namespace": data.get("namespace_name"),
            "version": data.get("version"),
            "description": data.get("description"),
            "file_path": str(template_file),
            "handlers": TemplateParser.extract_handlers_from_template(data),
        }


class HandlerDiscovery:
    """What a directory of templates says about handlers."""

    @staticmethod
    def discover_all_handlers(directory: Path | str) -> list[str]:
        """All callables of all templates, sorted, each once."""
        files = TemplatePath.discover_template_files(directory)
        return sorted({each for file in files for each in TemplateParser.extract_handler_callables(file)})

    @staticmethod
    def discover_template_metadata(directory: Path | str) -> list[dict[str, Any]]:
        """The metadata of every template; see `TemplateParser.extract_template_metadata`."""
        files = TemplatePath.discover_template_files(directory)
        metadata = (TemplateParser.extract_template_metadata(file) for file in files)
        return [each for each in metadata if each]

    @staticmethod
    def discover_handlers_by_namespace(directory: Path | str) -> dict[str, list[str]]:
        """The callables of each namespace's templates, sorted, each once."""
        by_namespace: dict[str, set[str]] = {}
        for template in HandlerDiscovery.discover_template_metadata(directory):
            namespace = template["namespace"] or "default"
            by_namespace.setdefault(namespace, set()).update(template["handlers"])
        return {namespace: sorted(handlers) for namespace, handlers in by_namespace.items()}


def _candidate_directories() -> Iterator[Path]:
    if configured := os.environ.get("TASKER_TEMPLATE_PATH"):
        yield Path(configured)
    workspace = _find_workspace()
    if workspace is not None and os.environ.get("TASKER_ENV") == "test":
        yield workspace / _TEST_TEMPLATE_DIRECTORY
    if configured_workspace := os.environ.get("WORKSPACE_PATH"):
        yield Path(configured_workspace) / _TEMPLATE_DIRECTORY
    if workspace is not None:
        yield workspace / _TEMPLATE_DIRECTORY
    yield Path.cwd() / _TEMPLATE_DIRECTORY


def _find_workspace() -> Path | None:
    current = Path.cwd()
    for directory in [current, *current.parents][: _MAX_LEVELS_UP + 1]:
        if any((directory / marker).exists() for marker in WORKSPACE_MARKERS):
            return directory
    return None


def _load(template_file: Path | str) -> Any:
    try:
        return yaml.safe_load(Path(template_file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
