"""Registering the templates of files, at a server or in the database itself."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tasker_core.cli.remote_parts import RemoteTemplates
from tasker_core.client.errors import ValidationFailedError
from tasker_core.orchestration import TemplateConflictError
from tasker_core.orchestration.template_registry import TemplateRegistry
from tasker_core.template import TemplateError, discover


async def register_files(
    registry: TemplateRegistry | RemoteTemplates, paths: Iterable[Path], *, actor: str, force: bool = False
) -> list[dict[str, Any]]:
    """Register every template under these files and directories; one that fails does not stop the others.

    Args:
        registry: where.
        paths: files, and directories that are searched.
        actor: who does it.
        force: whether a version that is registered may get other content.

    Returns:
        For each file ``file``, ``outcome`` and ``error``. The outcome is ``registered``, ``unchanged``, ``replaced``,
        ``conflict`` (the version has other content) or ``invalid``; the last two have an ``error`` in words, the others
        have ``namespace``, ``name``, ``version`` and ``digest``.
    """
    found = discover(paths)
    rows: list[dict[str, Any]] = []
    for entry in found.templates:
        try:
            registration = await registry.register(entry.template, actor=actor, force=force)
        except TemplateConflictError as error:
            rows.append({"file": str(entry.path), "outcome": "conflict", "error": str(error)})
        except ValidationFailedError as error:  # a server of another version may know other rules
            rows.append({"file": str(entry.path), "outcome": "invalid", "error": str(error)})
        else:
            rows.append({"file": str(entry.path), **registration._asdict(), "error": None})
    return rows + [
        {"file": str(failure.path), "outcome": "invalid", "error": str(TemplateError(failure.findings))}
        for failure in found.failures
    ]
