"""Configuration files: found, read, and which line a key is on."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasker_core.configuration.findings import ConfigurationError, Finding, Origin, Source

#: Where the configuration file is looked for, from the working directory.
PLACES = (Path("tasker.toml"), Path("config/tasker.toml"))

_HEADER = re.compile(r"\s*\[\[?\s*([^\[\]]+?)\s*\]")
_KEY = re.compile(r"\s*([\w.\"'-]+)\s*=")


@dataclass(frozen=True, slots=True)
class Document:
    """What a configuration file says.

    Attributes:
        tree: its tables.
        lines: by dotted key, the file that gives it and the line there.
        path: the file, or the directory that the files are in.
    """

    tree: dict[str, Any]
    lines: Mapping[str, tuple[Path, int]]
    path: Path

    def origin_of(self, key: str) -> Origin:
        """Return where a key is; for one inside an inline table, where that is."""
        while key and key not in self.lines:
            key = key.rpartition(".")[0]
        path, line = self.lines.get(key, (self.path, None))
        return Origin(Source.FILE, str(path), line)


def find_file(explicit: Path | None, variables: Mapping[str, str]) -> Path | None:
    """Return the configuration file to read, or None if nobody names one and there is none in the usual places.

    Raises:
        ConfigurationError: the file that was named does not exist.
    """
    if explicit is None and variables.get("TASKER_CONFIG_PATH"):
        explicit = Path(variables["TASKER_CONFIG_PATH"])
    if explicit is None:
        return next((place for place in PLACES if place.is_file()), None)
    try:
        exists = explicit.exists()
    except (OSError, ValueError):
        exists = False
    if not exists:
        message = f"there is no configuration file {str(explicit)!r}, which --config or TASKER_CONFIG_PATH names"
        raise ConfigurationError([Finding(message)])
    return explicit


def read_document(path: Path, variables: Mapping[str, str]) -> Document:
    """Read a configuration file; or, of a directory in the reference system's layout, all files of its environment.

    Raises:
        ConfigurationError: it cannot be read or is not TOML.
    """
    files = [path]
    if path.is_dir():
        environment = variables.get("TASKER_ENV") or "development"
        roles = ("common.toml", "orchestration.toml", "worker.toml")
        layers = [path / layer / role for layer in ("base", f"environments/{environment}") for role in roles]
        files = [file for file in layers if file.is_file()]
        if not files:
            raise _unusable(path, "is a directory without base/common.toml, base/orchestration.toml, base/worker.toml")
    document = Document({}, {}, path)
    for file in files:
        above = read_toml(file)
        document = Document(merged(document.tree, above.tree), {**document.lines, **above.lines}, path)
    return document


def read_toml(path: Path) -> Document:
    """Read a TOML file.

    Raises:
        ConfigurationError: it cannot be read or is not TOML.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        return Document(tomllib.loads(text), {key: (path, line) for key, line in lines_of(text).items()}, path)
    except UnicodeDecodeError:
        raise _unusable(path, "is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise _unusable(path, f"is not valid TOML: {error}") from None
    except RecursionError:
        raise _unusable(path, "is nested too deeply") from None
    except (OSError, ValueError) as error:
        raise _unusable(path, f"cannot be read: {getattr(error, 'strerror', None) or error}") from None


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return two trees as one: tables are merged, everything else is replaced."""
    tree = dict(below)
    for name, value in above.items():
        old = tree.get(name)
        tree[name] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return tree


def lines_of(text: str) -> dict[str, int]:
    """Return the line of each table and key, as far as they are written plainly; enough to find one's way."""
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = f"{_plain(header[1])}."
            lines.setdefault(table.rstrip("."), number)
        elif key := _KEY.match(line):
            lines.setdefault(table + _plain(key[1]), number)
    return lines


def _plain(key: str) -> str:
    return re.sub(r"[\"']|\s", "", key)


def _unusable(path: Path, message: str) -> ConfigurationError:
    return ConfigurationError([Finding(message, str(path))])
