"""Values as TOML."""

import json
from pathlib import Path
from typing import Any


def toml_value(value: Any) -> str:
    """Return a value as TOML; None and what has no value of its own as an empty text."""
    if value is None or isinstance(value, Path):
        return '""' if value is None else json.dumps(str(value), ensure_ascii=False)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    # Of booleans, numbers and texts JSON and TOML think alike, but for one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
