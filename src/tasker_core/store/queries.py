"""Named SQL statements.

A file ``sql/NOUN.sql`` holds statements, each after a line ``-- name: statement_name`` and a line of purpose.
"""

import re
from importlib import resources

_HEADER = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def load(noun: str) -> dict[str, str]:
    """Return the statements of ``sql/NOUN.sql`` by name."""
    text = resources.files("tasker_core.store").joinpath("sql", f"{noun}.sql").read_text(encoding="utf-8")
    _, *parts = _HEADER.split(text)
    return {name: body.strip() for name, body in zip(parts[::2], parts[1::2], strict=True)}
