"""Contexts and results are checked against their schemas, and nothing is ever fetched."""

import socket
from typing import Any

import pytest

from tasker_core.template import (
    HandlerReference,
    JsonSchema,
    SchemaViolation,
    StepTemplate,
    TaskTemplate,
    context_violations,
    result_violations,
    schema_problems,
    violations_of,
)

ORDER: dict[str, Any] = {
    "type": "object",
    "required": ["order_id"],
    "properties": {
        "order_id": {"type": "string"},
        "a/b~c": {"type": "integer"},
        "lines": {"type": "array", "items": {"type": "object", "properties": {"count": {"minimum": 1}}}},
    },
}


def task(schema: JsonSchema | None) -> TaskTemplate:
    return TaskTemplate(name="t", namespace_name="n", version="1.0.0", input_schema=schema)


def pointers(violations: list[SchemaViolation]) -> list[str]:
    return [violation.pointer for violation in violations]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("schemas must not be fetched")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


def test_a_fitting_context_has_no_violations() -> None:
    assert context_violations(task(ORDER), {"order_id": "1", "lines": [{"count": 1}]}) == []
    assert context_violations(task(None), {"anything": [1, None]}) == []
    assert context_violations(task(True), {}) == []


def test_a_missing_key_is_reported_on_the_object_that_lacks_it() -> None:
    (violation,) = context_violations(task(ORDER), {})
    assert violation.pointer == ""
    assert "order_id" in violation.message


def test_every_failure_has_its_json_pointer() -> None:
    context = {"order_id": 1, "a/b~c": "x", "lines": [{"count": 1}, {"count": 0}]}
    assert pointers(context_violations(task(ORDER), context)) == ["/a~1b~0c", "/lines/1/count", "/order_id"]


def test_a_schema_of_false_accepts_nothing() -> None:
    assert pointers(context_violations(task(False), {})) == [""]


@pytest.mark.parametrize("context", [None, [], "text", 3])
def test_a_context_is_a_json_object(context: object) -> None:
    assert context_violations(task(None), context) == [SchemaViolation("", "The context must be a JSON object")]


def nested(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels - 1):
        value = {"in": value}
    return value


@pytest.mark.parametrize(
    ("within", "beyond", "pointer"),
    [
        (nested(10), nested(11), "/in" * 10),
        ({"x": list(range(1000))}, {"x": list(range(1001))}, "/x"),
        ({str(n): n for n in range(1000)}, {str(n): n for n in range(1001)}, ""),
        ({"x": "é" * 10_000}, {"x": "é" * 10_001}, "/x"),
        ({str(n): "x" * 9_000 for n in range(100)}, {str(n): "x" * 9_000 for n in range(120)}, ""),
    ],
    ids=["depth", "array", "object", "string", "size"],
)
def test_a_context_keeps_within_the_limits(within: Any, beyond: Any, pointer: str) -> None:
    assert context_violations(task(None), within) == []
    assert pointers(context_violations(task(None), beyond)) == [pointer]


def test_a_context_beyond_the_limits_is_not_checked_further() -> None:
    assert pointers(context_violations(task(ORDER), {"x": "y" * 10_001})) == ["/x"]


def test_a_context_that_is_no_json_is_a_violation() -> None:
    (violation,) = context_violations(task(None), {"x": object()})
    assert "not JSON" in violation.message


def test_a_deeply_nested_context_is_refused_without_recursion() -> None:
    assert pointers(context_violations(task(None), nested(100_000))) == ["/in" * 10]


def test_results_are_checked_only_against_a_schema() -> None:
    handler = HandlerReference(callable="m.a")
    assert result_violations(StepTemplate(name="a", handler=handler), object()) == []
    step = StepTemplate(name="a", handler=handler, result_schema=ORDER)
    assert pointers(result_violations(step, {"order_id": 1})) == ["/order_id"]
    assert pointers(result_violations(step, None)) == [""]


def test_the_draft_of_a_schema_is_honoured() -> None:
    tuples = {"items": [{"type": "integer"}]}
    draft_7 = {"$schema": "http://json-schema.org/draft-07/schema#", **tuples}
    assert schema_problems(draft_7) == []
    assert pointers(violations_of(draft_7, ["x"])) == ["/0"]
    assert schema_problems(tuples) != []


def test_formats_are_checked() -> None:
    assert pointers(violations_of({"format": "date"}, "2024-13-01")) == [""]


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "integer"}}},
        {
            "$id": "https://example.org/root",
            "$ref": "part",
            "$defs": {"p": {"$id": "part", "type": "integer"}},
        },
        {"$ref": "#here", "$defs": {"p": {"$anchor": "here", "type": "integer"}}},
    ],
)
def test_references_within_a_schema_resolve(schema: dict[str, Any]) -> None:
    assert schema_problems(schema) == []
    assert violations_of(schema, 1) == []
    assert pointers(violations_of(schema, "x")) == [""]


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "https://example.org/schema.json"},
        {"properties": {"x": {"items": {"$ref": "http://example.org/x"}}}},
        {"$ref": "other.json"},
        {"$ref": "file:///etc/passwd"},
        {"$schema": "http://json-schema.org/draft-07/schema#", "$ref": "https://example.org/x"},
    ],
)
def test_references_that_lead_elsewhere_are_problems_and_never_followed(schema: dict[str, Any]) -> None:
    assert len(schema_problems(schema)) == 1
    assert pointers(violations_of(schema, {"x": [1]})) == [""]


def test_a_word_that_looks_like_a_reference_in_an_example_is_none() -> None:
    assert schema_problems({"const": {"$ref": "https://example.org/x"}}) == []


@pytest.mark.parametrize("schema", [{"$schema": "https://example.org/mine"}, {"$schema": 3}])
def test_an_unknown_draft_is_a_problem(schema: dict[str, Any]) -> None:
    (problem,) = schema_problems(schema)
    assert problem.path == ("$schema",)
    assert pointers(violations_of(schema, 1)) == [""]


def test_a_schema_that_refers_to_itself_for_ever_is_a_violation() -> None:
    (violation,) = violations_of({"$ref": "#"}, 1)
    assert "does not come to an end" in violation.message


def test_a_schema_nested_without_end_is_a_problem() -> None:
    schema: dict[str, Any] = {}
    for _ in range(300):
        schema = {"not": schema}
    assert len(schema_problems(schema)) == 1


def test_messages_stay_short_whatever_the_value() -> None:
    (violation,) = violations_of({"type": "integer"}, "x" * 100_000)
    assert len(violation.message) <= 500
