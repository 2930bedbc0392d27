"""JSON Schema: is a schema usable, and does a value fit it.

Schemas without ``$schema`` are read as draft 2020-12. Nothing is ever fetched: a reference resolves within
its schema or is an error.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from tasker_core.template.model import JsonSchema, StepTemplate, TaskTemplate

#: Limits on a task's context, whatever the template's ``input_schema`` says.
MAX_CONTEXT_BYTES = 1024 * 1024
MAX_CONTEXT_DEPTH = 10
MAX_CONTAINER_ITEMS = 1_000
MAX_STRING_CHARACTERS = 10_000

#: Longest message of a violation; a validator's own may quote the whole value.
_MAX_MESSAGE = 500


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
    from tasker_core.template import json_schema  # the library takes a while to load, and few commands need it

    return json_schema.violations_of(schema, value)


def schema_problems(schema: JsonSchema) -> list[SchemaProblem]:
    """Return why a schema cannot be used; nothing if it can."""
    from tasker_core.template import json_schema  # as above

    return json_schema.schema_problems(schema)


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
        yield SchemaViolation("", shortened(f"The context is not JSON: {error}"))
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


def pointer_to(path: Sequence[str | int]) -> str:
    """Return the RFC 6901 JSON pointer of a path."""
    return "".join(f"/{_escaped(part)}" for part in path)


def _escaped(part: object) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")


def shortened(message: str) -> str:
    """Return a message of bearable length."""
    return message if len(message) <= _MAX_MESSAGE else f"{message[: _MAX_MESSAGE - 3]}..."
