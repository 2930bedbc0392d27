"""The settings as text: a configuration file to start from, and their documentation."""

import textwrap
from collections.abc import Iterator
from itertools import groupby

from tasker_core.configuration.keys import Key, item_of, keys, section_of
from tasker_core.configuration.kinds import Section
from tasker_core.configuration.settings import Settings
from tasker_core.configuration.writing import toml_value

_HEAD = """\
# Configuration of Tasker. Everything has a default; to change a setting, remove the # before its name.
# Environment variables and options of commands win over this file. ${NAME} and ${NAME:-default} stand for
# environment variables. "" means that nothing is set.
"""

_WIDTH = 100

_BEGIN, _END = "<!-- settings: begin -->", "<!-- settings: end -->"


def starter_file() -> str:
    """Return a configuration file with all settings, their meaning and their defaults, as comments."""
    lines = [_HEAD]
    for table, members in groupby(_settable(), key=lambda key: key.name.rpartition(".")[0]):
        lines.append(f"[{table}]")
        for key in members:
            lines += [f"# {line}" for line in textwrap.wrap(_about(key), _WIDTH)]
            lines += [f"#{key.name.rpartition('.')[2]} = {_default_toml(key)}", ""]
    return "\n".join(lines).rstrip() + "\n"


def documentation_tables() -> str:
    """Return the tables of all settings in docs/configuration.md."""
    by_table = groupby(keys(Settings), key=lambda key: key.name.rpartition(".")[0])
    return "\n".join(line for table, members in by_table for line in _table(table, list(members)))


def with_current_tables(document: str) -> str:
    """Return docs/configuration.md with the tables between its two markers brought up to date."""
    before, begin, rest = document.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    return f"{before}{begin}\n\n{documentation_tables()}\n{end}{after}"


def default_text(key: Key) -> str:
    """Return what holds by default: in words, or as TOML."""
    return key.default_words or (toml_value(key.default) if key.default is not None else "none")


def _settable() -> Iterator[Key]:
    return (key for key in keys(Settings) if key.settable)


def _default_toml(key: Key) -> str:
    return '""' if key.optional else toml_value(key.default)


def _about(key: Key) -> str:
    default = f" Default: {key.default_words}." if key.default_words else ""
    variables = f" Environment: {', '.join(key.variables[1:])}." if key.variables[1:] else ""
    return f"{key.description} {key.expected[:1].upper()}{key.expected[1:]}.{default}{variables}"


def _table(table: str, members: list[Key]) -> list[str]:
    rows = [
        f"| `{key.name.rpartition('.')[2]}` | {key.expected} | {_default_cell(key)} | "
        f"{', '.join(f'`{name}`' for name in key.variables[1:])} | {key.description} |"
        for key in members
    ]
    heading = f"### `{table}`"
    about = (dict(_sections())[table].__doc__ or "").strip()
    return [
        heading,
        "",
        about,
        "",
        "| Key | Value | Default | Also set by | Meaning |",
        "|---|---|---|---|---|",
        *rows,
        "",
    ]


def _default_cell(key: Key) -> str:
    text = default_text(key)
    return text if key.default_words or text == "none" else f"`{text}`"


def _sections(model: type[Section] = Settings, path: str = "") -> Iterator[tuple[str, type[Section]]]:
    """Yield all groups of settings by their names; that of a list's items ends with ``[]``."""
    for name, field in model.model_fields.items():
        section, item = section_of(field), item_of(field)
        if section is not None:
            yield path + name, section
            yield from _sections(section, f"{path}{name}.")
        elif isinstance(item, type) and issubclass(item, Section):
            yield f"{path}{name}[]", item
