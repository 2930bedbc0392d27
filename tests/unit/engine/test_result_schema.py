"""Results against their ``result_schema``."""

from typing import Any

from tasker_core import identifiers
from tasker_core.engine.result_schema import checked
from tasker_core.step_source import LeaseKey, StepReport
from tasker_core.template import HandlerReference, JsonSchema, StepTemplate

SCHEMA: JsonSchema = {
    "type": "object",
    "required": ["total"],
    "properties": {"total": {"type": "integer"}, "lines": {"type": "array", "items": {"type": "string"}}},
}
KEY = LeaseKey(identifiers.new_task_uuid(), 0, 1)


def step(schema: JsonSchema | None = SCHEMA) -> StepTemplate:
    return StepTemplate(name="s", handler=HandlerReference(callable="h"), result_schema=schema)


def reported(result: str | None, **fields: Any) -> StepReport:
    return StepReport(KEY, success=result is not None, result=result, **fields)


def test_a_result_that_fits_is_recorded_as_it_is() -> None:
    report = reported('{"total":1}', metadata={"kept": True})
    assert checked(report, step(), strict=True) is report


def test_a_step_without_a_schema_takes_any_result() -> None:
    report = reported('{"anything":null}')
    assert checked(report, step(None), strict=True) is report


def test_a_failure_is_not_held_against_the_schema() -> None:
    report = reported(None, error={"error_type": "e", "message": "m", "retryable": True})
    assert checked(report, step(), strict=True) is report


def test_without_strict_results_a_violation_is_noted_and_the_result_kept() -> None:
    noted = checked(reported('{"total":"x"}', metadata={"kept": True}), step(), strict=False)
    assert noted.success
    assert noted.result == '{"total":"x"}'
    assert noted.metadata == {
        "kept": True,
        "result_schema_violations": ["/total: 'x' is not of type 'integer'"],
    }


def test_with_strict_results_a_violation_is_a_permanent_failure_that_names_every_place() -> None:
    failed = checked(reported('{"lines":["a",2]}'), step(), strict=True)
    assert not failed.success
    assert failed.result is None
    assert failed.error == {
        "error_type": "result_schema_violation",
        "message": "the result does not match result_schema: /: 'total' is a required property; "
        "/lines/1: 2 is not of type 'string'",
        "retryable": False,
    }


def test_the_callers_report_is_left_alone() -> None:
    report = reported('{"total":"x"}')
    checked(report, step(), strict=False)
    assert report.metadata == {}
