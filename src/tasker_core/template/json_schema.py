"""What the library for JSON Schema does for `tasker_core.template.schema`, which imports this when it is needed."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import jsonschema
import msgspec
import referencing
import referencing.exceptions
import referencing.jsonschema
from jsonschema.protocols import Validator

from tasker_core.template.model import JsonSchema
from tasker_core.template.schema import SchemaProblem, SchemaViolation, pointer_to, shortened

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


def violations_of(schema: JsonSchema, value: Any) -> list[SchemaViolation]:
    """Do what `tasker_core.template.schema.violations_of` says."""
    try:
        errors = list(_validator(msgspec.json.encode(schema)).iter_errors(value))
    except RecursionError:
        return [SchemaViolation("", "Checking the value against its schema does not come to an end")]
    except (jsonschema.SchemaError, referencing.exceptions.Unresolvable) as error:
        return [SchemaViolation("", shortened(f"The schema cannot be used: {error}"))]
    violations = {SchemaViolation(pointer_to(e.absolute_path), shortened(e.message)) for e in errors}
    return sorted(violations, key=lambda violation: (violation.pointer, violation.message))


def schema_problems(schema: JsonSchema) -> list[SchemaProblem]:
    """Do what `tasker_core.template.schema.schema_problems` says."""
    if isinstance(schema, bool):
        return []
    dialect = _dialect(schema)
    if dialect is None:
        return [SchemaProblem(("$schema",), f"{_declared(schema)!r} is not a known JSON Schema draft")]
    try:
        dialect.check_schema(schema)
        return list(_unresolved_references(dialect, schema))
    except jsonschema.SchemaError as error:
        return [SchemaProblem(tuple(error.absolute_path), shortened(error.message))]
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
