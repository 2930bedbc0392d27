"""What checking a template found."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """How much a finding matters; only errors keep a template from loading."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to say about a template.

    Attributes:
        code: stable name of the kind of finding.
        severity: how much it matters.
        message: what is the matter, in a sentence.
        file: where the template was read from; None if it was not read from anywhere.
        line: line in that file, from 1; None if no line applies.
        key: dotted path, such as ``steps[2].retry.max_attempts``; empty for the template as a whole.
        step: the step concerned, if there is one.
        hint: how to put it right.
    """

    code: str
    severity: Severity
    message: str
    file: str | None = None
    line: int | None = None
    key: str = ""
    step: str | None = None
    hint: str | None = None

    def __str__(self) -> str:
        place = "".join(f"{part}:" for part in (self.file, self.line) if part is not None)
        hint = f" ({self.hint})" if self.hint else ""
        return f"{place} {self.message}{hint}".lstrip()


@dataclass(frozen=True, slots=True)
class Report:
    """The findings on one template, in the order of their lines."""

    findings: tuple[Finding, ...]
    step_count: int
    has_cycles: bool

    @property
    def valid(self) -> bool:
        """Whether nothing found is an error."""
        return all(finding.severity is not Severity.ERROR for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON data."""
        return {
            "valid": self.valid,
            "findings": [asdict(finding) | {"severity": finding.severity.value} for finding in self.findings],
            "step_count": self.step_count,
            "has_cycles": self.has_cycles,
        }


class TemplateError(Exception):
    """A template that cannot be used. Its text has one line per error: ``file:line: message (hint)``."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__(self.findings)

    def __str__(self) -> str:
        return "\n".join(str(f) for f in self.findings if f.severity is Severity.ERROR)


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Return a hint that names the known word nearest to ``word``, or None if none is near."""
    # Lower case finds `Decision`; the map gives the word back as it is really spelled.
    spelling = {candidate.lower(): candidate for candidate in known}
    nearest = get_close_matches(word.lower(), spelling, n=1)
    return f"did you mean '{spelling[nearest[0]]}'?" if nearest else None
