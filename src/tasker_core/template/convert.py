"""From YAML nodes to the model, by the table of `keys`."""

import math
from typing import Any, assert_never

from tasker_core.template import keys
from tasker_core.template.findings import Finding, Severity, did_you_mean
from tasker_core.template.model import TaskTemplate
from tasker_core.template.source import Mapping, Node, Scalar, ScalarKind, Sequence

#: The integers that JSON readers agree on; they fit 64 bits, signed or not.
_INTEGERS = range(-(2**63), 2**64)

#: Stands for a key that is not written, so that the model's default applies.
_ABSENT: Any = object()

_YAML_1_1_BOOLEANS = frozenset({"yes", "no", "on", "off"})


class Converter:
    """One reading of one document.

    Conversion goes on after an error, to find the next one, but then yields no template.

    Attributes:
        findings: what was noticed, in the order it was met.
        lines: line of everything in the document, by its canonical dotted path.
        step_count: steps listed in the document, readable or not.
    """

    def __init__(self, *, strict: bool) -> None:
        self.findings: list[Finding] = []
        self.lines: dict[str, int] = {}
        self.step_count = 0
        self._unknown_key = Severity.ERROR if strict else Severity.WARNING
        self._step: str | None = None
        self._broken = False

    def template(self, root: Node) -> TaskTemplate | None:
        """Return the template, or None if something in it has no usable value."""
        self.lines[""] = root.line
        template: TaskTemplate | None = self._object(keys.Object(keys.TASK), root, "")
        return template

    # Reporting

    def _note(self, code: str, severity: Severity, message: str, line: int, path: str, hint: str | None = None) -> None:
        self.findings.append(Finding(code, severity, message, None, line, path, self._step, hint))

    def _error(self, code: str, message: str, line: int, path: str, hint: str | None = None) -> None:
        self._broken = True
        self._note(code, Severity.ERROR, message, line, path, hint)

    def _deprecated(self, code: str, message: str, line: int, path: str, instead: str) -> None:
        self._note(code, Severity.WARNING, message, line, path, f"write {instead}")

    def _wrong_type(self, expected: str, node: Node, path: str, hint: str | None = None) -> None:
        subject = f"'{path}'" if path else "A template"
        self._error("WRONG_TYPE", f"{subject} must be {expected}, not {_spelled(node)}", node.line, path, hint)

    # Values by kind; what is returned after an error does not matter

    def _value(self, kind: keys.Kind, node: Node, path: str) -> Any:  # noqa: C901 - one case for each kind
        match kind:
            case keys.Text():
                return node.text if isinstance(node, Scalar) else self._wrong_type("text", node, path)
            case keys.Integer():
                return self._typed(ScalarKind.INTEGER, "a whole number", node, path)
            case keys.Flag():
                return self._typed(ScalarKind.BOOLEAN, "true or false", node, path)
            case keys.Choice():
                return self._choice(kind, node, path)
            case keys.Json():
                return self._json(node, path)
            case keys.JsonObject():
                return self._json(node, path) if _is_mapping(node) else self._wrong_type("a mapping", node, path)
            case keys.Schema():
                fits = _is_mapping(node) or _kind(node) is ScalarKind.BOOLEAN
                return self._json(node, path) if fits else self._wrong_type("a JSON Schema", node, path)
            case keys.ListOf():
                return self._list(kind, node, path)
            case keys.MapOf():
                return self._map(kind, node, path)
            case keys.Object():
                return self._object(kind, node, path)
        assert_never(kind)

    def _typed(self, kind: ScalarKind, expected: str, node: Node, path: str) -> Any:
        if _kind(node) is kind:
            return self._json(node, path)
        old_boolean = isinstance(node, Scalar) and node.text.lower() in _YAML_1_1_BOOLEANS
        hint = "only true and false are booleans" if old_boolean else None
        return self._wrong_type(expected, node, path, hint)

    def _choice(self, kind: keys.Choice, node: Node, path: str) -> Any:
        if not isinstance(node, Scalar):
            return self._wrong_type("one word", node, path)
        if node.text in kind.legacy:
            new = kind.legacy[node.text]
            message = f"'{node.text}' is an old word for '{new}'"
            self._deprecated("DEPRECATED_VALUE", message, node.line, path, instead=f"'{new}'")
            return new
        try:
            return kind.enum(node.text)
        except ValueError:
            message = f"{_spelled(node)} is not a value of '{path}', which is one of {', '.join(kind.enum)}"
            return self._error("UNKNOWN_VALUE", message, node.line, path, did_you_mean(node.text, kind.enum))

    def _list(self, kind: keys.ListOf, node: Node, path: str) -> Any:
        if not isinstance(node, Sequence):
            return self._wrong_type("a list", node, path, "write [a, b], or one '- a' per line")
        if path == "steps":
            self.step_count = len(node.items)
        return tuple(self._item(kind.item, item, f"{path}[{i}]") for i, item in enumerate(node.items))

    def _item(self, kind: keys.Kind, node: Node, path: str) -> Any:
        self.lines[path] = node.line
        if _is_null(node):
            return self._error("WRONG_TYPE", f"'{path}' is empty", node.line, path)
        return self._value(kind, node, path)

    def _map(self, kind: keys.MapOf, node: Node, path: str) -> Any:
        if not isinstance(node, Mapping):
            return self._wrong_type("a mapping", node, path)
        return {
            name: self._value(kind.item, _empty_mapping(value.line) if _is_null(value) else value, _join(path, name))
            for name, (_, value) in self._entries(node, path).items()
        }

    def _json(self, node: Node, path: str) -> Any:
        match node:
            case Scalar():
                return self._json_scalar(node, path)
            case Sequence():
                return [self._json(item, f"{path}[{i}]") for i, item in enumerate(node.items)]
            case Mapping():
                entries = self._entries(node, path)
                return {name: self._json(value, _join(path, name)) for name, (_, value) in entries.items()}
        assert_never(node)

    def _json_scalar(self, node: Scalar, path: str) -> Any:
        match node.kind:
            case ScalarKind.NULL:
                return None
            case ScalarKind.BOOLEAN:
                return node.text.lower() == "true"
            case ScalarKind.STRING:
                return node.text
            case ScalarKind.INTEGER | ScalarKind.NUMBER:
                number = _number(node)
                if number is None:
                    message = f"{_spelled(node)} is a number that JSON cannot hold"
                    self._error("INVALID_NUMBER", message, node.line, path, "quote it to keep it as text")
                return number
        assert_never(node.kind)

    # Mappings with known keys

    def _entries(self, node: Mapping, path: str) -> dict[str, tuple[Scalar, Node]]:
        """Return the pairs of a mapping by the text of their keys, and report keys that occur again."""
        entries: dict[str, tuple[Scalar, Node]] = {}
        for name, value in node.pairs:
            place = _join(path, name.text)
            first, _ = entries.setdefault(name.text, (name, value))
            if first is name:
                self.lines[place] = name.line
            else:
                message = f"Key '{name.text}' occurs twice, first on line {first.line}"
                self._error("DUPLICATE_KEY", message, name.line, place)
        return entries

    def _object(self, kind: keys.Object, node: Node, path: str) -> Any:
        if isinstance(node, Scalar) and kind.shorthand is not None:
            message = f"A bare value for '{path}' is an old way to write its '{kind.shorthand}'"
            instead = f"{{{kind.shorthand}: {node.text}}}"
            self._deprecated("DEPRECATED_VALUE", message, node.line, path, instead)
            node = Mapping(((Scalar(kind.shorthand, ScalarKind.STRING, node.line), node),), node.line, node.size)
        if not isinstance(node, Mapping):
            return self._wrong_type("a mapping", node, path)
        level = kind.level
        if level is keys.STEP:
            self._step = _step_name(node)
        entries = self._entries(node, path)
        values = {name: self._key(key, entries, path) for name, key in level.keys.items()}
        given = {name: value for name, value in values.items() if value is not _ABSENT}
        for name in level.keys:
            if name in level.required and name not in given:
                message = f"Required key '{name}' is missing"
                self._error("MISSING_KEY", message, node.line, _join(path, name))
        self._report_unknown(level, entries, path)
        if level is keys.STEP:
            self._step = None
        return None if self._broken else level.model(**given)

    def _key(self, key: keys.Key, entries: dict[str, tuple[Scalar, Node]], parent: str) -> Any:
        """Take a key, under whichever of its names, out of the entries and return its value."""
        path = _join(parent, key.name)
        old_names = {legacy.name: legacy for legacy in key.legacy}
        names = [name for name in (key.name, *key.aliases, *old_names) if name in entries]
        written = [(name, *entries.pop(name)) for name in names]
        hoisted = tuple(entries.pop(name) for name in key.hoisted if name in entries)
        if len(written) > 1:
            both = " and ".join(f"'{name}'" for name in names)
            line = max(name_node.line for _, name_node, _ in written)
            return self._error("ALIAS_CONFLICT", f"{both} are names of the same key", line, path, "keep one")
        if written:
            name, name_node, value = written[0]
        elif hoisted:
            name, name_node, value = key.name, hoisted[0][0], _empty_mapping(hoisted[0][0].line)
        else:
            return _ABSENT
        self.lines[path] = name_node.line
        if name in old_names:
            message = f"'{name}' is an old name of '{key.name}'"
            self._deprecated("DEPRECATED_KEY", message, name_node.line, path, instead=f"'{key.name}'")
            value = _modernised(old_names[name], value)
        if hoisted and (isinstance(value, Mapping) or _is_null(value)):
            pairs = value.pairs if isinstance(value, Mapping) else ()
            value = Mapping(pairs + hoisted, value.line, value.size)
        return _ABSENT if _is_null(value) else self._value(key.kind, value, path)

    def _report_unknown(self, level: keys.Level, entries: dict[str, tuple[Scalar, Node]], path: str) -> None:
        for name, (name_node, value) in entries.items():
            place = _join(path, name)
            message = f"Unknown key '{place}' is ignored"
            hint = _suggestion(level, name)
            self._note("UNKNOWN_KEY", self._unknown_key, message, name_node.line, place, hint)
            self._json(value, place)  # what is ignored must still be sound YAML


def _modernised(legacy: keys.Legacy, node: Node) -> Node:
    """Return an old key's value in the new form; what has none is left for the type check to report."""
    if not isinstance(node, Scalar) or _is_null(node):
        return node
    if legacy.bare:
        return Sequence((node,), node.line, node.size)
    if legacy.scale != 1 and node.kind in (ScalarKind.INTEGER, ScalarKind.NUMBER):
        number = _number(node)
        if number is not None and math.isfinite(number * legacy.scale):
            return Scalar(str(round(number * legacy.scale)), ScalarKind.INTEGER, node.line)
    return node


def _suggestion(level: keys.Level, name: str) -> str | None:
    """Return a hint to the key that was probably meant, at this level or one below."""
    for key in level.keys.values():
        if isinstance(key.kind, keys.Object) and name in key.kind.level.keys:
            return f"did you mean '{key.name}.{name}'?"
    return did_you_mean(name, [known for key in level.keys.values() for known in (key.name, *key.aliases)])


def _number(node: Scalar) -> int | float | None:
    """Return the number that a numeric scalar spells, or None if JSON has no such number."""
    if node.kind is ScalarKind.NUMBER:
        # `.inf` and `.nan` are numbers in YAML only; the digits of all others are read by Python as they are.
        number = math.nan if node.text.lower().endswith(("inf", "nan")) else float(node.text)
        return number if math.isfinite(number) else None
    digits = node.text.lower()
    base = 16 if digits.startswith("0x") else 8 if digits.startswith("0o") else 10
    # 64 bits need at most 22 octal digits; Python refuses to read endless decimal ones.
    if len(digits.lstrip("+-0xo")) > 22:
        return None
    value = int(digits, base)
    return value if value in _INTEGERS else None


def _step_name(node: Mapping) -> str | None:
    names = (value.text for key, value in node.pairs if key.text == "name" and isinstance(value, Scalar))
    return next(names, None)


def _empty_mapping(line: int) -> Mapping:
    return Mapping((), line, 1)


def _kind(node: Node) -> ScalarKind | None:
    return node.kind if isinstance(node, Scalar) else None


def _is_null(node: Node) -> bool:
    return _kind(node) is ScalarKind.NULL


def _is_mapping(node: Node) -> bool:
    return isinstance(node, Mapping)


def _spelled(node: Node) -> str:
    match node:
        case Scalar():
            shown = node.text if len(node.text) <= 40 else f"{node.text[:40]}..."
            return f"the text '{shown}'" if node.kind is ScalarKind.STRING else f"'{shown}'"
        case Sequence():
            return "a list"
        case Mapping():
            return "a mapping"
    assert_never(node)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
