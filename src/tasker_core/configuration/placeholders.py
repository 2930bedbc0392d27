"""``${VARIABLE}`` and ``${VARIABLE:-default}`` in the texts of a configuration file."""

import re
from collections.abc import Mapping
from typing import Any

_PLACEHOLDER = re.compile(r"\$\$\{|\$\{(?P<inside>[^}]*)\}|\$\{")
_INSIDE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL)


class PlaceholderError(ValueError):
    """A placeholder that cannot be replaced; the message names the variable, never its value."""


class Text(str):
    """A text from the environment, which may stand for a number, a boolean or a list where one is wanted."""

    __slots__ = ()


def expand(value: Any, variables: Mapping[str, str]) -> Any:
    """Replace the placeholders in all texts of a value.

    As in a shell, the default stands in for a variable that is not set or empty. ``$${`` is a plain ``${``.
    A text with a placeholder becomes a `Text`, whose value may count as a number or boolean.

    Raises:
        PlaceholderError: a variable is not set and there is no default, or a placeholder is malformed.
    """
    match value:
        case str():
            return _expand_text(value, variables)
        case list():
            return [expand(item, variables) for item in value]
        case dict():
            return {name: expand(item, variables) for name, item in value.items()}
    return value


def has_placeholder(value: Any) -> bool:
    """Return whether a value has a placeholder somewhere."""
    match value:
        case str():
            return any(found[0] != "$${" for found in _PLACEHOLDER.finditer(value))
        case list():
            return any(map(has_placeholder, value))
        case dict():
            return any(map(has_placeholder, value.values()))
    return False


def _expand_text(text: str, variables: Mapping[str, str]) -> str:
    def replacement(found: "re.Match[str]") -> str:
        if found[0] == "$${":
            return "${"
        inside = _INSIDE.fullmatch(found["inside"] or "")
        if inside is None:
            raise PlaceholderError("has a malformed placeholder; write ${NAME} or ${NAME:-default}, and $${ for ${")
        value = variables.get(inside["name"])
        if inside["default"] is not None:
            return value or inside["default"]
        if value is None:
            raise PlaceholderError(
                f"needs the environment variable {inside['name']}, which is not set; "
                f"set it, or write ${{{inside['name']}:-default}}"
            )
        return value

    expanded = _PLACEHOLDER.sub(replacement, text)
    return Text(expanded) if has_placeholder(text) else expanded
