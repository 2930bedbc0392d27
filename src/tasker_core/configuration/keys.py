"""What there is to set, read off the models: the one source for errors, documentation and the command line."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from tasker_core.configuration.kinds import Section

_WORDS: dict[Any, str] = {bool: "true or false", Path: "a path", str: "text", SecretStr: "text"}

#: How the environment variable of any key begins.
PREFIX = "TASKER__"


@dataclass(frozen=True, slots=True)
class Key:
    """A setting.

    Attributes:
        name: dotted name; below a list it has ``[]``, as in ``server.auth.api_keys[].key``.
        field: its declaration.
    """

    name: str
    field: FieldInfo

    @property
    def description(self) -> str:
        """What it does."""
        return self.field.description or ""

    @property
    def default(self) -> Any:
        """Its default."""
        return self.field.get_default(call_default_factory=True)

    @property
    def default_words(self) -> str:
        """What holds by default, in words, if the default does not tell."""
        return str(self._about("default_words", ""))

    @property
    def optional(self) -> bool:
        """Whether an empty text stands for the default."""
        return self.field.default is None or self.field.default_factory is not None

    @property
    def secret(self) -> bool:
        """Whether its value is never shown."""
        return bool(self._about("secret", False))

    @property
    def settable(self) -> bool:
        """Whether it has a name and an environment variable of its own; what is below a list has not."""
        return "[]" not in self.name

    @property
    def variables(self) -> tuple[str, ...]:
        """Environment variables that set it, the weightiest first."""
        own = PREFIX + self.name.upper().replace(".", "__")
        return (own, *self._about("environment", ())) if self.settable else ()

    @property
    def expected(self) -> str:
        """What its value must be, in words."""
        return str(self._about("expected", "")) or expected(self.field, str(self._about("unit", "")))

    @property
    def expected_item(self) -> str:
        """What an item of its list must be, in words."""
        item = item_of(self.field)
        return _choice(item) if get_origin(item) is Literal else _WORDS.get(item, "a table")

    def _about(self, name: str, default: Any) -> Any:
        about = self.field.json_schema_extra
        return about.get(name, default) if isinstance(about, dict) else default


def keys(model: type[Section], prefix: str = "") -> Iterator[Key]:
    """Yield all settings of a model, in the order they are declared."""
    for name, field in model.model_fields.items():
        path = prefix + name
        section, item = section_of(field), item_of(field)
        if section is not None:
            yield from keys(section, f"{path}.")
            continue
        yield Key(path, field)
        if isinstance(item, type) and issubclass(item, Section):
            yield from keys(item, f"{path}[].")


def section_of(field: FieldInfo) -> type[Section] | None:
    """Return the model of a group of settings; None for a single setting."""
    annotation = field.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, Section) else None


def item_of(field: FieldInfo) -> Any:
    """Return the type of a list's items; None if it is no list."""
    kind = _plain(field.annotation)
    return _plain(get_args(kind)[0]) if get_origin(kind) is tuple else None


def expected(field: FieldInfo, unit: str) -> str:
    """Return in words what the value of a setting must be."""
    kind, item = _plain(field.annotation), item_of(field)
    if item is not None:
        return f"a list of {_plural(item)}"
    if get_origin(kind) is Literal:
        return _choice(kind)
    if kind in (int, float):
        number = "a whole number" if kind is int else "a number"
        return " ".join(filter(None, [number, unit and f"of {unit}"])) + _limits(field)
    return _WORDS.get(kind, "a table")


def _plural(item: Any) -> str:
    if get_origin(item) is Literal:
        return ", ".join(map(str, get_args(item)))
    return {str: "texts", Path: "paths"}.get(item, "tables")


def _choice(kind: Any) -> str:
    return f"one of {', '.join(map(str, get_args(kind)))}"


def _limits(field: FieldInfo) -> str:
    least = next((limit.ge for limit in field.metadata if isinstance(limit, Ge)), None)
    above = next((limit.gt for limit in field.metadata if isinstance(limit, Gt)), None)
    most = next((limit.le for limit in field.metadata if isinstance(limit, Le)), None)
    lower = f" above {above}" if above is not None else f" from {least}" if least is not None else ""
    if most is None:
        return f", at least {least}" if least is not None else lower
    return f"{lower} {'to' if above is None else 'and up to'} {most}"


def _plain(kind: Any) -> Any:
    """Return a type without None and without its validators."""
    if get_origin(kind) is Annotated:
        return _plain(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        (kind,) = (member for member in get_args(kind) if member is not NoneType)
        return _plain(kind)
    return kind
