"""Every rule a template must keep, with the line its finding points at.

In these examples the comment ``#!`` marks the line that the finding must name.
"""

import pytest

from tasker_core.template import (
    EnvironmentOverride,
    Finding,
    HandlerReference,
    Report,
    RetryPolicy,
    Severity,
    StepTemplate,
    TaskTemplate,
    TemplateError,
    batch_worker_for,
    inspect_text,
    load_text,
    validate,
)

HEAD = "name: t\nnamespace_name: n\nversion: 1.0.0\n"
A = "  - {name: a, handler: {callable: m.a}}\n"
BATCHABLE = "  - {name: a, type: batchable, handler: {callable: m.a}}\n"
WORKER = """\
  - name: w
    type: batch_worker
    handler: {callable: m.w}
    dependencies: [a]
    batch_config: {}
"""


def report_of(text: str) -> Report:
    return inspect_text(text, "t.yaml")[1]


def marked_line(text: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), start=1) if "#!" in line)


def steps(body: str) -> str:
    return f"{HEAD}steps:\n{body}"


ERRORS = {
    "EMPTY_VALUE name": HEAD.replace("name: t", "name: ''  #!") + "steps:\n" + A,
    "EMPTY_VALUE namespace": HEAD.replace("e: n", "e: ''  #!") + "steps:\n" + A,
    "EMPTY_VALUE version": HEAD.replace("1.0.0", "''  #!") + "steps:\n" + A,
    "EMPTY_VALUE step name": steps("  - name: ''  #!\n    handler: {callable: m.a}\n"),
    "TOO_LONG name": HEAD.replace("name: t", f"name: {'t' * 65}  #!") + "steps:\n" + A,
    "TOO_LONG version": HEAD.replace("1.0.0", "1.0.0-12345678901  #!") + "steps:\n" + A,
    "TOO_LONG step name": steps(f"  - name: {'s' * 129}  #!\n    handler: {{callable: m.a}}\n"),
    "TOO_LONG callable": steps(f"  - name: a\n    handler:\n      callable: {'c' * 501}  #!\n"),
    "NAMESPACE_TOO_LONG": HEAD.replace("e: n", f"e: {'n' * 30}  #!") + "steps:\n" + A,
    "INVALID_NAMESPACE digit": HEAD.replace("e: n", "e: 9abc  #!") + "steps:\n" + A,
    "INVALID_NAMESPACE dash": HEAD.replace("e: n", "e: a-b  #!") + "steps:\n" + A,
    "INVALID_VERSION": HEAD.replace("1.0.0", "1.0  #!") + "steps:\n" + A,
    "NO_STEPS": f"{HEAD}steps: []  #!\n",
    "NO_STEPS absent": f"{HEAD.replace('name: t', 'name: t  #!')}",
    "EMPTY_CALLABLE": steps("  - name: a\n    handler:\n      callable: ''  #!\n"),
    "DUPLICATE_STEP_NAME": steps(A + "  - name: a  #!\n    handler: {callable: m.b}\n"),
    "SELF_DEPENDENCY": steps("  - name: a\n    handler: {callable: m.a}\n    dependencies: [a]  #!\n"),
    "MISSING_DEP_REF": steps(A + "  - name: b\n    handler: {callable: m.b}\n    depends_on:\n    - ghost  #!\n"),
    "CYCLE_DETECTED": steps(
        "  - name: a\n    handler: {callable: m.a}\n    dependencies: [c]  #!\n"
        "  - {name: b, handler: {callable: m.b}, dependencies: [a]}\n"
        "  - {name: c, handler: {callable: m.c}, dependencies: [b]}\n"
    ),
    "DECISION_WITHOUT_DEPENDENCIES": steps(
        "  - name: a  #!\n    type: decision\n    handler: {callable: m.a}\n"
        "  - {name: b, handler: {callable: m.b}, dependencies: [a]}\n"
    ),
    "DECISION_WITHOUT_DEPENDENTS": steps(
        A + "  - name: b  #!\n    type: decision\n    handler: {callable: m.b}\n    dependencies: [a]\n"
    ),
    "CONVERGENCE_WITHOUT_DEPENDENCIES": steps(
        A + "  - name: b  #!\n    type: deferred_convergence\n    handler: {callable: m.b}\n"
    ),
    "BATCH_WORKER_WITHOUT_CONFIG": steps(
        BATCHABLE + "  - name: w  #!\n    type: batch_worker\n    handler: {callable: m.w}\n    dependencies: [a]\n"
    ),
    "BATCH_WORKER_WITHOUT_BATCHABLE": steps(A + WORKER.replace("name: w", "name: w  #!")),
    "BATCHABLE_WITHOUT_WORKER": steps("  - name: a  #!\n    type: batchable\n    handler: {callable: m.a}\n"),
    "INVALID_WORKER_TEMPLATE config": steps(
        BATCHABLE + WORKER.replace("batch_config: {}", "batch_config:\n      worker_template: a  #!")
    ),
    "INVALID_WORKER_TEMPLATE initialization": steps(
        "  - name: a\n    type: batchable\n    handler:\n      callable: m.a\n      initialization:\n"
        "        worker_template_name: ghost  #!\n" + WORKER
    ),
    "DEPENDS_ON_BATCH_WORKER": steps(
        BATCHABLE + WORKER + "  - name: z\n    handler: {callable: m.z}\n    dependencies: [w]  #!\n"
    ),
    "INVALID_EVENT_NAME": steps(
        A + "  - name: b\n    handler: {callable: m.b}\n    dependencies: [a]\n    publishes_events:\n"
        "      - name: OrderCreated  #!\n        description: d\n        schema: {}\n"
    ),
    "INVALID_EVENT_NAME catalogue": f"{HEAD}domain_events:\n  - name: order  #!\nsteps:\n{A}",
    "INVALID_PUBLISHER": steps(
        "  - name: b\n    handler: {callable: m.b}\n    publishes_events:\n      - name: a.b\n"
        "        description: d\n        schema: {}\n        publisher: '1Publisher'  #!\n"
    ),
    "INVALID_SCHEMA event": steps(
        "  - name: b\n    handler: {callable: m.b}\n    publishes_events:\n      - name: a.b\n"
        "        description: d\n        schema:\n          type: objekt  #!\n"
    ),
    "INVALID_SCHEMA result": steps(
        "  - name: b\n    handler: m.b\n    result_schema:\n      type: object\n      properties:\n"
        "        size:\n          minimum: low  #!\n"
    ),
    "INVALID_SCHEMA input": f"{HEAD}input_schema:\n  required: name  #!\nsteps:\n{A}",
    "INVALID_SCHEMA pattern": f"{HEAD}input_schema:\n  pattern: '('  #!\nsteps:\n{A}",
    "INVALID_SCHEMA draft": f"{HEAD}input_schema:\n  $schema: https://example.org/mine  #!\nsteps:\n{A}",
    "INVALID_SCHEMA remote": f"{HEAD}input_schema:  #!\n  $ref: https://example.org/a.json\nsteps:\n{A}",
    "INVALID_SCHEMA dangling": f"{HEAD}input_schema:  #!\n  items: {{$ref: '#/$defs/none'}}\nsteps:\n{A}",
    "OUT_OF_RANGE attempts": steps(
        "  - name: a\n    handler: {callable: m.a}\n    retry:\n      max_attempts: 101  #!\n"
    ),
    "OUT_OF_RANGE negative": steps("  - name: a\n    handler: {callable: m.a}\n    retry_limit: -1  #!\n"),
    "OUT_OF_RANGE base": steps(
        "  - name: a\n    handler: {callable: m.a}\n    retry:\n      backoff_base_ms: 3600001  #!\n"
    ),
    "OUT_OF_RANGE cap": steps("  - name: a\n    handler: m.a\n    retry:\n      max_delay: 3601  #!\n"),
    "OUT_OF_RANGE timeout": steps("  - name: a\n    handler: m.a\n    timeout_seconds: 0  #!\n"),
    "OUT_OF_RANGE batch size": steps(BATCHABLE + WORKER.replace("{}", "{batch_size: 100001}  #!")),
    "OUT_OF_RANGE parallelism": steps(BATCHABLE + WORKER.replace("{}", "{parallelism: 0}  #!")),
    "OUT_OF_RANGE lifecycle": f"{HEAD}lifecycle:\n  max_duration_minutes: 43201  #!\nsteps:\n{A}",
    "OUT_OF_RANGE waiting": (f"{HEAD}lifecycle:\n  max_waiting_for_retry_minutes: 10081  #!\nsteps:\n{A}"),
    "OUT_OF_RANGE override": (
        f"{HEAD}environments:\n  x:\n    steps:\n      - name: a\n        timeout_seconds: 0  #!\nsteps:\n{A}"
    ),
}

WARNINGS = {
    "ORPHAN_STEP": steps(
        "  - name: x  #!\n    handler: {callable: m.x}\n"
        + A
        + A.replace("name: a", "name: b").replace("}}", "}, dependencies: [a]}")
    ),
    "UNKNOWN_KEY": steps("  - name: x\n    handler: {callable: m.x}\n    mixins: [y]  #!\n"),
    "UNKNOWN_OVERRIDE_STEP": f"{HEAD}environments:\n  test:\n    steps:\n      - name: b  #!\nsteps:\n{A}",
    "DECISION_UNDER_DECISION": steps(
        A + "  - {name: b, type: decision, handler: {callable: m.b}, dependencies: [a]}\n"
        "  - name: c\n    type: decision\n    handler: {callable: m.c}\n    dependencies: [b]  #!\n"
        "  - {name: d, handler: {callable: m.d}, dependencies: [c]}\n"
    ),
    "ZERO_ATTEMPTS": steps("  - name: x\n    handler: {callable: m.x}\n    retry:\n      max_attempts: 0  #!\n"),
    "ZERO_ATTEMPTS override": (
        f"{HEAD}environments:\n  x:\n    steps:\n      - name: ALL\n        retry_limit: 0  #!\nsteps:\n{A}"
    ),
    "DUPLICATE_EVENT": steps(
        "  - name: b\n    handler: {callable: m.b}\n    publishes_events:\n"
        "      - {name: a.b, description: d, schema: {}}\n"
        "      - name: a.b  #!\n        description: d\n        schema: {}\n"
    ),
    "DUPLICATE_DEPENDENCY": steps(A + "  - name: b\n    handler: {callable: m.b}\n    dependencies: [a, a]  #!\n"),
    "SCHEMA_NOT_OBJECT": steps("  - name: b\n    handler: {callable: m.b}\n    result_schema: {type: array}  #!\n"),
}


def the_finding(text: str, code: str) -> Finding:
    (finding,) = [finding for finding in report_of(text).findings if finding.code == code]
    return finding


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_found_on_its_line_and_keeps_the_template_from_loading(name: str) -> None:
    text, code = ERRORS[name], name.split()[0]
    template, report = inspect_text(text, "t.yaml")
    finding = the_finding(text, code)
    assert finding.severity is Severity.ERROR
    assert (finding.file, finding.line) == ("t.yaml", marked_line(text))
    assert template is None
    assert not report.valid
    with pytest.raises(TemplateError):
        load_text(text)


@pytest.mark.parametrize("name", WARNINGS)
def test_a_warning_is_found_on_its_line_and_the_template_loads(name: str) -> None:
    text, code = WARNINGS[name], name.split()[0]
    finding = the_finding(text, code)
    assert finding.severity is Severity.WARNING
    assert finding.line == marked_line(text)
    assert load_text(text).name == "t"


def test_a_missing_result_schema_is_only_information() -> None:
    finding = the_finding(steps(A), "NO_RESULT_SCHEMA")
    assert finding.severity is Severity.INFO
    assert finding.step == "a"
    assert report_of(steps(A)).valid


def test_an_unknown_dependency_is_named_with_the_nearest_step() -> None:
    text = steps("  - {name: fetch, handler: m.f}\n  - {name: b, handler: m.b, dependencies: [fecth]}\n")
    finding = the_finding(text, "MISSING_DEP_REF")
    assert finding.message == "Step 'b' depends on non-existent step 'fecth'"
    assert finding.hint == "did you mean 'fetch'?"
    assert finding.key == "steps[1].dependencies[0]"
    assert finding.step == "b"


def test_a_decision_without_dependencies_is_told_so() -> None:
    finding = the_finding(ERRORS["DECISION_WITHOUT_DEPENDENCIES"], "DECISION_WITHOUT_DEPENDENCIES")
    assert finding.message == "Decision step 'a' must have at least one dependency"


def test_a_cycle_is_spelled_out_in_running_order_and_flagged() -> None:
    report = report_of(ERRORS["CYCLE_DETECTED"])
    assert report.has_cycles
    assert report.step_count == 3
    assert "a -> b -> c -> a" in the_finding(ERRORS["CYCLE_DETECTED"], "CYCLE_DETECTED").message


def test_a_self_dependency_is_a_cycle_but_reported_once() -> None:
    report = report_of(ERRORS["SELF_DEPENDENCY"])
    assert report.has_cycles
    assert [f.code for f in report.findings if f.severity is Severity.ERROR] == ["SELF_DEPENDENCY"]


def test_a_cycle_among_duplicates_and_unknown_names_is_survived() -> None:
    text = steps(
        "  - {name: a, handler: m.a, dependencies: [b, ghost]}\n"
        "  - {name: b, handler: m.b, dependencies: [a]}\n"
        "  - {name: b, handler: m.b, dependencies: [b]}\n"
    )
    found = {finding.code for finding in report_of(text).findings}
    assert {"DUPLICATE_STEP_NAME", "MISSING_DEP_REF", "SELF_DEPENDENCY"} <= found


@pytest.mark.parametrize("name", ["order.created", "payment.card.charged_v2", "a.b.c", "0.1"])
def test_dotted_lower_case_event_names_are_accepted(name: str) -> None:
    text = f"{HEAD}domain_events: [{{name: '{name}'}}]\nsteps:\n{A}"
    assert load_text(text).domain_events[0].name == name


@pytest.mark.parametrize(
    "name", ["order", ".order.created", "order.created.", "order..created", "Order.Created", "order created"]
)
def test_other_event_names_are_refused(name: str) -> None:
    with pytest.raises(TemplateError, match="joined by dots"):
        load_text(f"{HEAD}domain_events: [{{name: '{name}'}}]\nsteps:\n{A}")


def _with_publisher(publisher: str) -> str:
    event = f"{{name: a.b, description: d, schema: {{}}, publisher: '{publisher}'}}"
    return steps(f"  - {{name: a, handler: {{callable: m.a}}, publishes_events: [{event}]}}\n")


@pytest.mark.parametrize(
    "publisher",
    [
        "OrderPublisher",
        "order_publisher",
        "Orders::Publisher",
        "crate::events::P",
        "app.events.P",
        "_Private",
    ],
)
def test_class_paths_are_publishers(publisher: str) -> None:
    assert load_text(_with_publisher(publisher)).steps[0].publishes_events[0].publisher == publisher


@pytest.mark.parametrize("publisher", ["1Publisher", "Order-Publisher", "Order::", ".Order", "a b", ""])
def test_other_publishers_are_refused(publisher: str) -> None:
    with pytest.raises(TemplateError, match="is not a class path"):
        load_text(_with_publisher(publisher))


def test_names_at_their_limits_are_accepted() -> None:
    text = (
        f"name: {'t' * 64}\nnamespace_name: {'n' * 29}\nversion: 1.0.0-1234567890\n"
        f"steps:\n  - {{name: {'s' * 128}, handler: {{callable: {'c' * 500}}}}}\n"
    )
    assert load_text(text).version == "1.0.0-1234567890"


def test_all_errors_are_reported_together_in_the_order_of_their_lines() -> None:
    text = steps(
        "  - {name: a, handler: {callable: ''}}\n"
        "  - {name: a, handler: {callable: m.a}}\n"
        "  - {name: c, handler: {callable: m.c}, dependencies: [ghost]}\n"
    )
    report = report_of(text)
    errors = [(f.code, f.line) for f in report.findings if f.severity is Severity.ERROR]
    assert errors == [("EMPTY_CALLABLE", 5), ("DUPLICATE_STEP_NAME", 6), ("MISSING_DEP_REF", 7)]
    lines = [finding.line or 0 for finding in report.findings]
    assert lines == sorted(lines)


def test_a_report_is_json_data() -> None:
    data = report_of(steps(A)).to_dict()
    assert data == {
        "valid": True,
        "findings": [
            {
                "code": "NO_RESULT_SCHEMA",
                "severity": "info",
                "message": "Step 'a' does not say what its result looks like",
                "file": "t.yaml",
                "line": 5,
                "key": "steps[0].result_schema",
                "step": "a",
                "hint": None,
            }
        ],
        "step_count": 1,
        "has_cycles": False,
    }


def test_a_template_that_was_not_read_from_yaml_is_checked_by_the_same_rules() -> None:
    template = TaskTemplate(
        name="t",
        namespace_name="n",
        version="1.0.0",
        steps=(StepTemplate(name="a", handler=HandlerReference(callable="m.a"), retry=RetryPolicy(max_attempts=500)),),
    )
    (error,) = [finding for finding in validate(template) if finding.severity is Severity.ERROR]
    assert (error.code, error.key) == ("OUT_OF_RANGE", "steps[0].retry.max_attempts")
    assert str(error) == "'steps[0].retry.max_attempts' is 500, outside 0 to 100"


@pytest.mark.parametrize(
    ("batchable", "worker"),
    [
        ("handler: {callable: m.a, initialization: {worker_template_name: w}}", "batch_config: {}"),
        ("handler: {callable: m.a}\n    batch_config: {worker_template: w}", "batch_config: {}"),
        ("handler: {callable: m.a}", "batch_config: {worker_template: w}"),
        ("handler: {callable: m.a}", "batch_config: {}"),
    ],
)
def test_the_batch_worker_is_found_wherever_it_is_named(batchable: str, worker: str) -> None:
    template = load_text(
        steps(
            f"  - name: a\n    type: batchable\n    {batchable}\n"
            f"  - name: w\n    type: batch_worker\n    handler: m.w\n    depends_on: [a]\n    {worker}\n"
        )
    )
    found = batch_worker_for(template, template.step("a"))
    assert found is template.step("w")


def test_all_stands_for_every_step_in_overrides() -> None:
    text = f"{HEAD}environments: {{test: {{steps: [{{name: ALL, timeout_seconds: 5}}]}}}}\nsteps:\n{A}"
    assert load_text(text).environments["test"].steps == (EnvironmentOverride(name="ALL", timeout_seconds=5),)
    assert not any(finding.code == "UNKNOWN_OVERRIDE_STEP" for finding in report_of(text).findings)
