"""YAML text to a tree of nodes that know their line.

The dialect is the YAML 1.2 core schema: only ``true`` and ``false`` are booleans, dates are text, ``<<`` is
an ordinary key. Scalars keep their source text next to the kind of value they spell, so that ``version:
1.10`` can still be read as the string it was meant to be.

The tree is built from parser events instead of PyYAML's own nodes because untrusted text then meets its
limits while it is read: nesting is bounded, and aliases count with everything they stand for.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

import yaml

#: Deepest nesting of collections.
MAX_DEPTH = 64
#: Largest sum of the sizes of all aliased nodes, in nodes plus characters of scalars.
MAX_ALIASED_SIZE = 1_000_000

# libyaml's parser is some twenty times faster; PyYAML built without it has only its own.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_CORE = "tag:yaml.org,2002:"


class ScalarKind(StrEnum):
    """What the text of a scalar spells."""

    NULL = "null"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    NUMBER = "number"
    STRING = "string"


@dataclass(frozen=True, slots=True)
class Scalar:
    """A leaf: its source text and what that spells."""

    text: str
    kind: ScalarKind
    line: int

    @property
    def size(self) -> int:
        """One node plus its characters."""
        return 1 + len(self.text)


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    items: "tuple[Node, ...]"
    line: int
    size: int


@dataclass(frozen=True, slots=True)
class Mapping:
    """Pairs in the order they are written; a key may occur twice."""

    pairs: "tuple[tuple[Scalar, Node], ...]"
    line: int
    size: int


Node: TypeAlias = Scalar | Sequence | Mapping


class SourceError(Exception):
    """Text that is not one YAML document of the accepted kind."""

    def __init__(self, code: str, message: str, line: int | None, hint: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.line = line
        self.hint = hint


def parse(text: str) -> Node:
    """Return the root of the one document in the text.

    Raises:
        SourceError: at the first thing that keeps the text from being such a document.
    """
    try:
        return _Composer(text).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = " ".join(part for part in (error.context, error.problem) if part)
        line = mark.line + 1 if mark is not None else None
        raise SourceError("YAML_SYNTAX", f"Not valid YAML: {message}", line) from None
    except yaml.YAMLError as error:
        reason = getattr(error, "reason", None) or "unreadable text"
        raise SourceError("YAML_SYNTAX", f"Not valid YAML: {reason}", None) from None
    except UnicodeError:
        raise SourceError("INVALID_CHARACTER", "The text contains a lone surrogate", None) from None


class _Composer:
    def __init__(self, text: str) -> None:
        self._events: Iterator[Any] = iter(yaml.parse(text, Loader=_Loader))
        self._anchors: dict[str, Node | None] = {}  # None while the anchored node is still being read
        self._aliased = 0

    def document(self) -> Node:
        root: Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise SourceError(
                        "MULTIPLE_DOCUMENTS",
                        "The file holds more than one YAML document",
                        _line(event),
                        "one template per file",
                    )
                root = self._node(next(self._events), depth=0)
        if root is None or (isinstance(root, Scalar) and root.kind is ScalarKind.NULL):
            raise SourceError("EMPTY_FILE", "The file is empty", 1)
        return root

    def _node(self, event: Any, depth: int) -> Node:
        line = _line(event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor), line)
        if depth > MAX_DEPTH:
            raise SourceError("TOO_DEEP", f"More than {MAX_DEPTH} levels of nesting", line)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node = Scalar(_checked(event.value, line), _scalar_kind(event, line), line)
        elif isinstance(event, yaml.SequenceStartEvent):
            _check_tag(event, "seq", line)
            items = tuple(self._items(depth))
            node = Sequence(items, line, 1 + sum(item.size for item in items))
        else:
            _check_tag(event, "map", line)
            pairs = tuple(self._pairs(depth))
            node = Mapping(pairs, line, 1 + sum(key.size + value.size for key, value in pairs))
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _items(self, depth: int) -> Iterator[Node]:
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            yield self._node(event, depth + 1)

    def _pairs(self, depth: int) -> Iterator[tuple[Scalar, Node]]:
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            if not isinstance(key, Scalar):
                raise SourceError("WRONG_TYPE", "A key must be plain text", key.line)
            # The key's own line, also where the text is an alias to somewhere else.
            yield Scalar(key.text, key.kind, _line(event)), self._node(next(self._events), depth + 1)

    def _alias(self, anchor: str, line: int) -> Node:
        if anchor not in self._anchors:
            raise SourceError("UNKNOWN_ANCHOR", f"Alias '*{anchor}' has no anchor '&{anchor}' before it", line)
        target = self._anchors[anchor]
        if target is None:
            raise SourceError("RECURSIVE_ALIAS", f"Alias '*{anchor}' is part of what it stands for", line)
        self._aliased += target.size
        if self._aliased > MAX_ALIASED_SIZE:
            raise SourceError("ALIAS_EXPANSION", "The aliases expand to more data than is accepted", line)
        return target


def _line(event: Any) -> int:
    line: int = event.start_mark.line
    return line + 1


def _checked(text: str, line: int) -> str:
    # Neither can be stored: NUL is refused by PostgreSQL, a lone surrogate has no UTF-8 form.
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise SourceError("INVALID_CHARACTER", "Text contains a NUL or a lone surrogate", line)
    return text


def _check_tag(event: Any, expected: str, line: int) -> None:
    if event.tag not in (None, "!", _CORE + expected):
        raise _unsupported_tag(event.tag, line)


def _unsupported_tag(tag: str, line: int) -> SourceError:
    spelled = tag.replace(_CORE, "!!", 1)
    return SourceError("UNSUPPORTED_TAG", f"Tag '{spelled}' is not accepted here", line, "write the plain value")


_KINDS: tuple[tuple[ScalarKind, re.Pattern[str]], ...] = (
    (ScalarKind.NULL, re.compile(r"|~|null|Null|NULL")),
    (ScalarKind.BOOLEAN, re.compile(r"true|True|TRUE|false|False|FALSE")),
    (ScalarKind.INTEGER, re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")),
    (
        ScalarKind.NUMBER,
        re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
    ),
)

_TAGGED_KINDS = {
    _CORE + "null": ScalarKind.NULL,
    _CORE + "bool": ScalarKind.BOOLEAN,
    _CORE + "int": ScalarKind.INTEGER,
    _CORE + "float": ScalarKind.NUMBER,
    _CORE + "str": ScalarKind.STRING,
    "!": ScalarKind.STRING,
}


def _scalar_kind(event: Any, line: int) -> ScalarKind:
    spelled = next((kind for kind, pattern in _KINDS if pattern.fullmatch(event.value)), ScalarKind.STRING)
    if event.tag is None:
        plain, _quoted = event.implicit
        return spelled if plain else ScalarKind.STRING
    tagged = _TAGGED_KINDS.get(event.tag)
    if tagged is None:
        raise _unsupported_tag(event.tag, line)
    widened = tagged is ScalarKind.NUMBER and spelled is ScalarKind.INTEGER
    if tagged not in (ScalarKind.STRING, spelled) and not widened:
        raise SourceError("WRONG_TYPE", f"'{event.value}' is not of the kind its tag says", line)
    return tagged
