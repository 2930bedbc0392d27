"""What is wrong with a configuration, and where its values come from."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Source(StrEnum):
    """Kinds of places that values come from; each wins over those before it."""

    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"
    FLAG = "flag"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from.

    Attributes:
        source: the kind of place.
        place: the file, or the environment variable.
        line: line in the file, from 1; None if no line applies.
    """

    source: Source
    place: str = ""
    line: int | None = None

    def __str__(self) -> str:
        match self.source:
            case Source.DEFAULT:
                return "default"
            case Source.FLAG:
                return "command line"
        return self.place if self.line is None else f"{self.place}:{self.line}"


DEFAULT = Origin(Source.DEFAULT)
FLAG = Origin(Source.FLAG)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a configuration, or without effect.

    Attributes:
        message: what is the matter; reads on from the key.
        key: dotted name of the setting, such as ``server.bind``; empty if it concerns no single one.
        origin: where its value comes from.
        hint: how to put it right.
    """

    message: str
    key: str = ""
    origin: Origin = DEFAULT
    hint: str | None = None

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self._subject()} {self.message}{self._key_behind()}{hint}".lstrip()

    def _subject(self) -> str:
        match self.origin.source:
            case Source.FILE:
                return f"{self.origin}: {self.key}".rstrip()
            case Source.ENVIRONMENT:
                return self.origin.place
            case Source.FLAG:
                return f"{self.key} on the command line"
        return self.key

    def _key_behind(self) -> str:
        return f" [{self.key}]" if self.origin.source is Source.ENVIRONMENT and self.key else ""


class ConfigurationError(ValueError):
    """Settings that cannot be used. Its text has one line for each thing that is wrong, and shows no secret."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__(self.findings)

    def __str__(self) -> str:
        return "\n".join(map(str, self.findings))
