"""Settings out of several places: which value wins, where it came from, and all that is wrong with them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tasker_core.configuration import upstream
from tasker_core.configuration.files import Document, find_file, read_document
from tasker_core.configuration.findings import DEFAULT, FLAG, ConfigurationError, Finding, Origin, Source
from tasker_core.configuration.keys import PREFIX, Key, keys, section_of
from tasker_core.configuration.kinds import Section
from tasker_core.configuration.placeholders import PlaceholderError, Text, expand, has_placeholder
from tasker_core.template.findings import did_you_mean

_Model = TypeVar("_Model", bound=Section)

#: Longest part of a wrong value that is shown.
_SHOWN = 60


class Given(NamedTuple):
    """A value that somebody gave, and what makes it ours if it is another system's."""

    value: Any
    origin: Origin
    convert: Callable[[Any], Any] = lambda value: value


@dataclass(frozen=True, slots=True)
class Loaded(Generic[_Model]):
    """Settings, with where they come from.

    Attributes:
        settings: the settings.
        origins: by dotted key, where its value comes from; every key is there.
        warnings: what was given and has no effect.
        file: the configuration file; None if there is none.
    """

    settings: _Model
    origins: Mapping[str, Origin]
    warnings: tuple[Finding, ...] = ()
    file: Path | None = None


def load(
    model: type[_Model], variables: Mapping[str, str], *, file: Path | None, flags: Mapping[str, Any]
) -> Loaded[_Model]:
    """Settle settings from a file, environment variables and flags; the later win. See `Settings.load`."""
    findings: list[Finding] = []
    warnings: list[Finding] = []
    path = find_file(file, variables)
    given: dict[str, Given] = {}
    if path is not None:
        document = read_document(path, variables)
        if upstream.is_upstream(document.tree):
            translated, unknown, warnings = upstream.translate(document)
            findings += unknown
            given |= {name: Given(*pair) for name, pair in translated.items()}
        else:
            given |= flatten(model, document, findings)
    given |= _from_environment(model, variables, findings)
    given |= _from_flags(model, flags, findings)
    settings, origins = settle(model, given, variables, findings)
    return Loaded(settings, origins, tuple(warnings), path)


def flatten(model: type[Section], document: Document, findings: list[Finding], prefix: str = "") -> dict[str, Given]:
    """Return the values that a document has for a model's keys; note what does not belong there.

    The document's keys begin with the prefix, in messages and in its own list of lines; those returned do not.
    """
    found = _flattened(model, document.tree, document, findings, prefix)
    return {key.removeprefix(prefix): value for key, value in found}


def settle(
    model: type[_Model],
    given: Mapping[str, Given],
    variables: Mapping[str, str],
    findings: list[Finding],
    prefix: str = "",
) -> tuple[_Model, dict[str, Origin]]:
    """Validate the values given and return the settings with their origins.

    Args:
        model: the settings.
        given: the winning value of each key that somebody gave.
        variables: environment variables for placeholders.
        findings: what has been found wrong before.
        prefix: what keys begin with in messages.

    Raises:
        ConfigurationError: with the findings, those of before and those of the values.
    """
    by_name = {key.name: key for key in keys(model)}
    values: dict[str, Any] = {}
    origins = {name: DEFAULT for name, key in by_name.items() if key.settable}
    for name, (value, origin, convert) in given.items():
        try:
            expanded = convert(expand(value, variables) if origin.source is Source.FILE else value)
        except PlaceholderError as error:
            findings.append(Finding(str(error), prefix + name, origin))
            continue
        if expanded == "" and by_name[name].optional:
            continue
        values[name] = expanded
        origins[name] = origin
    try:
        settings = model.model_validate(_nested(values))
    except ValidationError as error:
        errors = error.errors(include_url=False)
        # A list with a wrong item is wrong itself, which says nothing new.
        inner = {details["loc"][:length] for details in errors for length in range(len(details["loc"]))}
        # Nor does what does not go together with a setting that is misspelt or has no value.
        incomplete = {found.key.removeprefix(prefix).rpartition(".")[0] for found in findings}
        for details in errors:
            table = ".".join(map(str, details["loc"]))
            if details["loc"] not in inner and not (details["type"] == "inconsistent" and table in incomplete):
                findings += _explained(details, by_name, given, prefix)
        raise ConfigurationError(findings) from None
    if findings:
        raise ConfigurationError(findings)
    return settings, origins


def _flattened(
    model: type[Section], tree: Mapping[str, Any], document: Document, findings: list[Finding], path: str
) -> Iterator[tuple[str, Given]]:
    for name, value in tree.items():
        key = f"{path}{name}"
        origin = document.origin_of(key)
        field = model.model_fields.get(name)
        section = section_of(field) if field is not None else None
        if field is None:
            findings.append(Finding("is not a setting", key, origin, _nearest(key, path, model)))
        elif section is None:
            yield key, Given(value, origin)
        elif isinstance(value, dict):
            yield from _flattened(section, value, document, findings, f"{key}.")
        else:
            findings.append(Finding("must be a table", key, origin))


def _nearest(key: str, path: str, model: type[Section]) -> str | None:
    below = [f"{path}{name}" for name in model.model_fields]
    return did_you_mean(key, below) or did_you_mean(key, _settable(model, path))


def _settable(model: type[Section], path: str = "") -> list[str]:
    return [path + key.name for key in keys(model) if key.settable]


def _from_environment(
    model: type[Section], variables: Mapping[str, str], findings: list[Finding]
) -> Iterator[tuple[str, Given]]:
    known = {key: key.variables for key in keys(model) if key.settable}
    for key, names in known.items():
        for name in names:
            if variables.get(name):
                yield key.name, Given(Text(variables[name]), Origin(Source.ENVIRONMENT, name))
                break
    ours = {names[0] for names in known.values()}
    for name in sorted(variables):
        if name.startswith(PREFIX) and name not in ours:
            origin = Origin(Source.ENVIRONMENT, name)
            findings.append(Finding("is not a setting", origin=origin, hint=did_you_mean(name, ours)))


def _from_flags(model: type[Section], flags: Mapping[str, Any], findings: list[Finding]) -> Iterator[tuple[str, Given]]:
    known = _settable(model)
    for name, value in flags.items():
        if name not in known:
            findings.append(Finding("is not a setting", name, FLAG, did_you_mean(name, known)))
        elif value is not None:
            yield name, Given(Text(value) if isinstance(value, str) else value, FLAG)


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *path, last = name.split(".")
        level = tree
        for part in path:
            level = level.setdefault(part, {})
        level[last] = value
    return tree


def _explained(
    details: ErrorDetails, by_name: Mapping[str, Key], given: Mapping[str, Given], prefix: str
) -> Iterator[Finding]:
    """Say in our words what pydantic found."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in details["loc"]).lstrip(".")
    if details["type"] == "inconsistent":
        for name, message in details["ctx"]["problems"].items():
            where = ".".join(filter(None, [path, name]))
            yield Finding(message, prefix + where, _origin_of(where, given))
        return
    generic = "".join("[]" if isinstance(part, int) else f".{part}" for part in details["loc"]).lstrip(".")
    origin = _origin_of(path, given)
    if details["type"] == "extra_forbidden":
        above = generic.rpartition(".")[0] + "."
        siblings = [name.removeprefix(above) for name in by_name if name.startswith(above)]
        yield Finding("is not a setting", prefix + path, origin, did_you_mean(str(details["loc"][-1]), siblings))
        return
    key = by_name.get(generic) or by_name.get(generic.removesuffix("[]"))
    if details["type"] == "value_error":
        message = str(details["ctx"]["error"])
    elif key is None:
        message = "must be a table"
    else:
        what = _shown_of(key, path, details["input"], given)
        message = f"must be {key.expected if key.name == generic else key.expected_item}{what}"
    yield Finding(message, prefix + path, origin)


def _shown_of(key: Key, path: str, value: Any, given: Mapping[str, Given]) -> str:
    """Return what there is instead, if it may be shown; what stands in for a placeholder may not."""
    whole = path.partition("[")[0]
    if key.secret or "://" in str(value):
        return ""
    if whole in given and given[whole].origin.source is Source.FILE and has_placeholder(given[whole].value):
        written = given[whole].value
        return f", not what {_shown(written)} stands for" if isinstance(written, str) else ""
    return f", not {_shown(value)}"


def _origin_of(path: str, given: Mapping[str, Given]) -> Origin:
    found = given.get(path.partition("[")[0])
    return found.origin if found is not None else DEFAULT


def _shown(value: Any) -> str:
    match value:
        case dict():
            return "a table"
        case list() | tuple():
            return "a list"
        case bool():
            return str(value).lower()
    text = repr(str(value)) if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
