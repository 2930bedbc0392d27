"""JSON Schema: is a schema usable, and does a value fit it.

Schemas without ``$schema`` are read as draft 2020-12. Nothing is ever fetched: a reference resolves within
its schema or is an error.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jsonschema
import msgspec
import referencing
import referencing.exceptions
import referencing.jsonschema
from jsonschema.protocols import Validator

from tasker_core.template.model import JsonSchema, StepTemplate, TaskTemplate

#: Limits on a task's context, whatever the template's ``input_schema`` says.
MAX_CONTEXT_BYTES = 1024 * 1024
MAX_CONTEXT_DEPTH = 10
MAX_CONTAINER_ITEMS = 1_000
MAX_STRING_CHARACTERS = 10_000

#: Longest message of a violation; a validator's own may quote the whole value.
_MAX_MESSAGE = 500

# Unlike jsonschema's default registry, this one has no way to retrieve anything.
_REGISTRY = referencing.jsonschema.EMPTY_REGISTRY

_DIALECTS: dict[str, type[Validator]] = {
    validator.META_SCHEMA["$schema"].rstrip("#"): validator
    for validator in (
        jsonschema.Draft3Validator,
        jsonschema.Draft4Validator,
        jsonschema.Draft6Validator,
        jsonschema.Draft7Validator,
        jsonschema.Draft201909Validator,
        jsonschema.Draft202012Validator,
    )
}


@dataclass(frozen=True, slots=True)
class SchemaViolation:
    """One thing wrong with a value.

    Attributes:
        pointer: RFC 6901 JSON pointer to the part of the value that is wrong; empty for the whole. A missing
            key is reported on the object that lacks it.
        message: what is wrong there.
    """

    pointer: str
    message: str


@dataclass(frozen=True, slots=True)
class SchemaProblem:
    """One reason why a schema cannot be used, with the path to it inside the schema."""

    path: tuple[str | int, ...]
    message: str


def context_violations(template: TaskTemplate, context: Any) -> list[SchemaViolation]:
    """Return what keeps a context from being one of the template's tasks.

    A context is a JSON object of at most 1 MiB, 10 levels of nesting, 1000 entries in one object or array and
    10,000 characters in one string or key, and fits the template's ``input_schema``, which is looked at once the
    limits hold.
    """
    if not isinstance(context, dict):
        return [SchemaViolation("", "The context must be a JSON object")]
    violations = list(_limit_violations(context))
    if violations or template.input_schema is None:
        return violations
    return violations_of(template.input_schema, context)


def result_violations(step: StepTemplate, result: Any) -> list[SchemaViolation]:
    """Return where a result departs from the step's ``result_schema``; nothing if it has none."""
    return [] if step.result_schema is None else violations_of(step.result_schema, result)


def violations_of(schema: JsonSchema, value: Any) -> list[SchemaViolation]:
    """Return where a value departs from a schema, in the order of the pointers.

    A schema that cannot be used, which templates are refused for, is reported as a violation of the whole
    value.
    """
    try:
        errors = list(_validator(msgspec.json.encode(schema)).iter_errors(value))
    except RecursionError:
        return [SchemaViolation("", "Checking the value against its schema does not come to an end")]
    except (jsonschema.SchemaError, referencing.exceptions.Unresolvable) as error:
        return [SchemaViolation("", _shortened(f"The schema cannot be used: {error}"))]
    violations = {SchemaViolation(_pointer(e.absolute_path), _shortened(e.message)) for e in errors}
    return sorted(violations, key=lambda violation: (violation.pointer, violation.message))


def schema_problems(schema: JsonSchema) -> list[SchemaProblem]:
    """Return why a schema cannot be used; nothing if it can."""
    if isinstance(schema, bool):
        return []
    dialect = _dialect(schema)
    if dialect is None:
        return [SchemaProblem(("$schema",), f"{_declared(schema)!r} is not a known JSON Schema draft")]
    try:
        dialect.check_schema(schema)
        return list(_unresolved_references(dialect, schema))
    except jsonschema.SchemaError as error:
        return [SchemaProblem(tuple(error.absolute_path), _shortened(error.message))]
    except RecursionError:
        return [SchemaProblem((), "The schema is nested too deeply")]


def _unresolved_references(dialect: type[Validator], schema: dict[str, Any]) -> Iterator[SchemaProblem]:
    specification = referencing.jsonschema.specification_with(dialect.META_SCHEMA["$schema"])
    root = specification.create_resource(schema)
    resolver = _REGISTRY.with_resource(root.id() or "", root).resolver(root.id() or "")
    pending = [(resolver, root)]
    while pending:
        resolver, resource = pending.pop()
        contents = resource.contents
        if not isinstance(contents, dict):
            continue
        for keyword in ("$ref", "$dynamicRef"):
            reference = contents.get(keyword)
            if not isinstance(reference, str):
                continue
            try:
                resolver.lookup(reference)
            except referencing.exceptions.Unresolvable:
                remote = "; references are never fetched" if "://" in reference else ""
                yield SchemaProblem((), f"'{keyword}: {reference}' leads to nothing in the schema{remote}")
        pending.extend((resolver.in_subresource(sub), sub) for sub in resource.subresources())


@lru_cache(maxsize=1024)
def _validator(encoded: bytes) -> Validator:
    # Keyed by content, because schemas are dicts and so cannot be keys themselves.
    schema = msgspec.json.decode(encoded)
    dialect = _dialect(schema)
    if dialect is None:
        raise jsonschema.SchemaError(f"{_declared(schema)!r} is not a known JSON Schema draft")
    return dialect(schema, registry=_REGISTRY, format_checker=dialect.FORMAT_CHECKER)


def _declared(schema: JsonSchema) -> Any:
    return schema.get("$schema") if isinstance(schema, dict) else None


def _dialect(schema: JsonSchema) -> type[Validator] | None:
    declared = _declared(schema)
    if declared is None:
        return jsonschema.Draft202012Validator
    return _DIALECTS.get(declared.rstrip("#")) if isinstance(declared, str) else None


def _limit_violations(context: dict[str, Any]) -> Iterator[SchemaViolation]:
    within_limits = True
    for pointer, message in _structure_violations(context):
        within_limits = False
        yield SchemaViolation(pointer, message)
    if not within_limits:
        return
    try:
        size = len(msgspec.json.encode(context))
    except (TypeError, ValueError, OverflowError) as error:
        yield SchemaViolation("", _shortened(f"The context is not JSON: {error}"))
        return
    if size > MAX_CONTEXT_BYTES:
        yield SchemaViolation("", f"The context takes {size} bytes, more than {MAX_CONTEXT_BYTES}")


def _structure_violations(context: dict[str, Any]) -> Iterator[tuple[str, str]]:
    pending: list[tuple[str, int, Any]] = [("", 1, context)]
    while pending:
        pointer, depth, value = pending.pop()
        if isinstance(value, str):
            if len(value) > MAX_STRING_CHARACTERS:
                yield pointer, f"A string of {len(value)} characters, more than {MAX_STRING_CHARACTERS}"
            continue
        if not isinstance(value, dict | list | tuple):
            continue
        if depth > MAX_CONTEXT_DEPTH:
            yield pointer, f"More than {MAX_CONTEXT_DEPTH} levels of nesting"
            continue
        if len(value) > MAX_CONTAINER_ITEMS:
            yield pointer, f"{len(value)} entries, more than {MAX_CONTAINER_ITEMS}"
            continue
        if isinstance(value, dict):
            for key in value:
                # Keys that are no text cannot be encoded, which is found later.
                if isinstance(key, str) and len(key) > MAX_STRING_CHARACTERS:
                    yield pointer, f"A key of {len(key)} characters, more than {MAX_STRING_CHARACTERS}"
        items = value.items() if isinstance(value, dict) else enumerate(value)
        pending.extend((f"{pointer}/{_escaped(key)}", depth + 1, item) for key, item in items)


def _pointer(path: Sequence[str | int]) -> str:
    return "".join(f"/{_escaped(part)}" for part in path)


def _escaped(part: object) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")


def _shortened(message: str) -> str:
    return message if len(message) <= _MAX_MESSAGE else f"{message[: _MAX_MESSAGE - 3]}..."
