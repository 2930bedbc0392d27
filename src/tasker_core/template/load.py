"""Reading templates: a file or a text in, a template and findings out."""

from dataclasses import replace
from os import PathLike
from pathlib import Path

from tasker_core.template.convert import Converter
from tasker_core.template.findings import Finding, Report, Severity, TemplateError
from tasker_core.template.model import TaskTemplate
from tasker_core.template.source import SourceError, parse
from tasker_core.template.validate import CYCLE_CODES, validate

#: Largest file that is read, in bytes.
MAX_FILE_BYTES = 16 * 1024 * 1024


def load_file(path: str | PathLike[str]) -> TaskTemplate:
    """Read a template from a YAML file.

    Raises:
        TemplateError: the file cannot be read or has errors; all of them are in it.
    """
    return _loaded(*inspect_file(path))


def load_text(text: str, file: str = "<string>") -> TaskTemplate:
    """Read a template from YAML text; ``file`` is the name that errors show.

    Raises:
        TemplateError: the text has errors; all of them are in it.
    """
    return _loaded(*inspect_text(text, file))


def inspect_file(path: str | PathLike[str], strict: bool = False) -> tuple[TaskTemplate | None, Report]:
    """Read a template from a YAML file and report everything there is to say about it.

    Args:
        path: the file.
        strict: whether unknown keys are errors instead of warnings.

    Returns:
        The template, or None if the report has errors, and the report.
    """
    file = str(path)
    try:
        content = _content(Path(path))
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        return None, _unreadable(file, "The file is not UTF-8 text", line)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return None, _unreadable(file, f"The file cannot be read: {reason}")
    return inspect_text(content, file, strict)


def inspect_text(text: str, file: str = "<string>", strict: bool = False) -> tuple[TaskTemplate | None, Report]:
    """Read a template from YAML text and report everything there is to say about it; see `inspect_file`."""
    try:
        root = parse(text)
    except SourceError as error:
        finding = Finding(error.code, Severity.ERROR, error.message, file, error.line, hint=error.hint)
        return None, Report((finding,), step_count=0, has_cycles=False)
    converter = Converter(strict=strict)
    template = converter.template(root)
    findings = converter.findings + (validate(template) if template is not None else [])
    report = Report(
        tuple(sorted((_placed(f, file, converter.lines) for f in findings), key=lambda f: f.line or 0)),
        step_count=converter.step_count,
        has_cycles=any(finding.code in CYCLE_CODES for finding in findings),
    )
    return template if report.valid else None, report


def _loaded(template: TaskTemplate | None, report: Report) -> TaskTemplate:
    if template is None:
        raise TemplateError(report.findings)
    return template


def _content(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"it is larger than {MAX_FILE_BYTES} bytes")
    return data.decode("utf-8-sig")


def _unreadable(file: str, message: str, line: int | None = None) -> Report:
    finding = Finding("UNREADABLE_FILE", Severity.ERROR, message, file, line)
    return Report((finding,), step_count=0, has_cycles=False)


def _placed(finding: Finding, file: str, lines: dict[str, int]) -> Finding:
    """Add the file, and the line of the finding's key or of the nearest key around it that is written."""
    line, key = finding.line, finding.key
    while line is None:
        line = lines.get(key)
        key = key[: max(key.rfind("."), key.rfind("["), 0)]
    return replace(finding, file=file, line=line)
