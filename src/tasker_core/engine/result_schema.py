"""A step's result against its ``result_schema``."""

from dataclasses import replace

from tasker_core import serialization
from tasker_core.step_source import StepReport
from tasker_core.template import StepTemplate, result_violations


def checked(report: StepReport, step: StepTemplate, *, strict: bool) -> StepReport:
    """Return the report as it is to be recorded.

    A result that does not match the step's schema is noted under ``result_schema_violations`` in the metadata;
    with ``strict`` (the template's ``strict_results``) it is a permanent failure instead.
    """
    if step.result_schema is None or not report.success or report.result is None:
        return report
    violations = result_violations(step, serialization.loads(report.result))
    if not violations:
        return report
    noted = [f"{violation.pointer or '/'}: {violation.message}" for violation in violations]
    metadata = {**report.metadata, "result_schema_violations": noted}
    if not strict:
        return replace(report, metadata=metadata)
    error = {
        "error_type": "result_schema_violation",
        "message": f"the result does not match result_schema: {'; '.join(noted)}",
        "retryable": False,
    }
    return replace(report, success=False, result=None, metadata=metadata, error=error)
