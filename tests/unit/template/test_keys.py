"""Which keys a template may use, under which names, and with which defaults."""

from typing import Any

import pytest

from tasker_core.template import (
    Backoff,
    IdentityStrategy,
    Lifecycle,
    RetryPolicy,
    Severity,
    StepTemplate,
    StepType,
    SystemDependencies,
    TaskTemplate,
    TemplateError,
    inspect_text,
    load_text,
)

HEAD = "name: t\nnamespace_name: n\nversion: 1.0.0\n"


def template_with(step: str = "", task: str = "") -> str:
    """A template of two steps, `a` before the step under test `b`."""
    lines = step.splitlines() or ["dependencies: [a]"]
    if not any(line.startswith("handler") for line in lines):
        lines.insert(0, "handler: {callable: m.b}")
    body = "\n".join(f"    {line}" for line in lines)
    return f"{HEAD}{task}\nsteps:\n  - {{name: a, handler: {{callable: m.a}}}}\n  - name: b\n{body}\n"


def step_b(step: str) -> StepTemplate:
    return load_text(template_with(step)).step("b")


def codes(text: str, *, strict: bool = False) -> list[str]:
    _template, report = inspect_text(text, strict=strict)
    return [finding.code for finding in report.findings if finding.severity is not Severity.INFO]


def test_depends_on_means_dependencies() -> None:
    assert step_b("depends_on: [a]").dependencies == ("a",)
    assert codes(template_with("depends_on: [a]")) == []


def test_step_type_means_type() -> None:
    text = f"""{HEAD}steps:
  - {{name: a, handler: {{callable: m.a}}}}
  - {{name: b, handler: {{callable: m.b}}, step_type: decision, dependencies: [a]}}
  - {{name: c, handler: {{callable: m.c}}, dependencies: [b]}}
"""
    assert load_text(text).step("b").type is StepType.DECISION
    assert codes(text) == []


@pytest.mark.parametrize(
    ("step", "first", "second"),
    [
        ("dependencies: [a]\ndepends_on: [a]", "dependencies", "depends_on"),
        ("type: standard\nstep_type: standard", "type", "step_type"),
        ("depends_on: [a]\ndepends_on_step: a", "depends_on", "depends_on_step"),
        ("retry: {limit: 2, max_attempts: 3}", "max_attempts", "limit"),
    ],
)
def test_two_names_of_one_key_are_refused_and_both_named(step: str, first: str, second: str) -> None:
    with pytest.raises(TemplateError) as caught:
        load_text(template_with(step))
    assert f"'{first}'" in str(caught.value)
    assert f"'{second}'" in str(caught.value)


OLD_STEP_KEYS: list[tuple[str, str, Any]] = [
    ("depends_on_step: a", "dependencies", ("a",)),
    ("depends_on_steps: [a]", "dependencies", ("a",)),
    ("depends_on_step_name: a", "dependencies", ("a",)),
    ("depends_on_step_name: [a]", "dependencies", ("a",)),
    ("retry: {limit: 7}", "retry", RetryPolicy(max_attempts=7)),
    ("retry: {retry_limit: 7}", "retry", RetryPolicy(max_attempts=7)),
    ("retry_limit: 7", "retry", RetryPolicy(max_attempts=7)),
    ("default_retry_limit: 7", "retry", RetryPolicy(max_attempts=7)),
    (
        "retry: {backoff: linear}\nretry_limit: 7",
        "retry",
        RetryPolicy(max_attempts=7, backoff=Backoff.LINEAR),
    ),
    ("retry: {backoff_strategy: linear}", "retry", RetryPolicy(backoff=Backoff.LINEAR)),
    ("retry: {backoff_base_seconds: 2}", "retry", RetryPolicy(backoff_base_ms=2000)),
    ("retry: {backoff_base_seconds: 0.5}", "retry", RetryPolicy(backoff_base_ms=500)),
    ("retry: {initial_delay: 3}", "retry", RetryPolicy(backoff_base_ms=3000)),
    ("retry: {max_delay: 60}", "retry", RetryPolicy(max_backoff_ms=60_000)),
]


@pytest.mark.parametrize(("step", "attribute", "value"), OLD_STEP_KEYS, ids=[row[0] for row in OLD_STEP_KEYS])
def test_an_old_step_key_is_read_with_a_deprecation_warning(step: str, attribute: str, value: Any) -> None:
    assert getattr(step_b(step), attribute) == value
    assert "DEPRECATED_KEY" in codes(template_with(step))


def test_the_keys_of_handlers_had_older_forms() -> None:
    assert step_b("handler: m.short\ndependencies: [a]").handler.callable == "m.short"
    assert codes(template_with("handler: m.short\ndependencies: [a]")) == ["DEPRECATED_VALUE"]
    old = "handler: {callable: m.b, config: {x: 1}}\ndependencies: [a]"
    assert step_b(old).handler.initialization == {"x": 1}
    assert codes(template_with(old)) == ["DEPRECATED_KEY"]


@pytest.mark.parametrize(("old", "new"), [("deferred", "deferred_convergence"), ("decision_point", "decision")])
def test_an_old_word_for_a_type_is_read_with_a_deprecation_warning(old: str, new: str) -> None:
    text = template_with(f"type: {old}\ndependencies: [a]") + (
        "  - {name: c, handler: {callable: m.c}, dependencies: [b]}\n"
    )
    assert load_text(text).step("b").type == new
    assert codes(text) == ["DEPRECATED_VALUE"]


def test_the_old_task_keys_are_read_with_deprecation_warnings() -> None:
    text = """
name: t
namespace: n
version: 1.0.0
schema: {type: object}
step_templates:
  - {name: a, handler: {callable: m.a}}
"""
    template = load_text(text)
    assert template.namespace_name == "n"
    assert template.input_schema == {"type": "object"}
    assert [step.name for step in template.steps] == ["a"]
    assert codes(text) == ["DEPRECATED_KEY"] * 3


def test_the_canonical_form_uses_only_canonical_names() -> None:
    old = load_text(template_with("depends_on_step: a\nretry_limit: 4"))
    new = load_text(template_with("dependencies: [a]\nretry: {max_attempts: 4}"))
    assert old.to_dict() == new.to_dict()
    assert old.digest == new.digest


def test_identity_strategy_is_a_real_key() -> None:
    assert load_text(template_with()).identity_strategy is IdentityStrategy.STRICT
    template = load_text(template_with(task="identity_strategy: caller_provided"))
    assert template.identity_strategy is IdentityStrategy.CALLER_PROVIDED


def test_strict_results_is_off_unless_asked_for() -> None:
    assert load_text(template_with()).strict_results is False
    assert load_text(template_with(task="strict_results: true")).strict_results is True


def test_an_unknown_key_is_a_warning_with_the_nearest_name() -> None:
    template, report = inspect_text(template_with("depend_on: [a]\ndependencies: [a]"), "f.yaml")
    assert template is not None
    (finding,) = [f for f in report.findings if f.code == "UNKNOWN_KEY"]
    assert finding.severity is Severity.WARNING
    assert finding.key == "steps[1].depend_on"
    assert finding.hint == "did you mean 'depends_on'?"
    assert finding.step == "b"


def test_an_unknown_key_is_an_error_when_strict() -> None:
    template, report = inspect_text(template_with("tags: [x]"), strict=True)
    assert template is None
    assert not report.valid
    assert inspect_text(template_with("tags: [x]"))[1].valid


def test_a_key_one_level_too_high_is_pointed_to_its_place() -> None:
    _template, report = inspect_text(template_with("max_attempts: 3"))
    (finding,) = [f for f in report.findings if f.code == "UNKNOWN_KEY"]
    assert finding.hint == "did you mean 'retry.max_attempts'?"


@pytest.mark.parametrize("key", ["default_retryable: true", "timeout: 5", "lifecycle: {max_retries: 2}"])
def test_a_key_that_never_meant_anything_is_ignored_with_a_warning(key: str) -> None:
    assert step_b(f"{key}\ndependencies: [a]") == step_b("dependencies: [a]")
    assert "UNKNOWN_KEY" in codes(template_with(f"{key}\ndependencies: [a]"))


@pytest.mark.parametrize("word", ["planning", "batch", "convergence", "Decision"])
def test_an_unknown_type_is_refused_with_the_accepted_ones(word: str) -> None:
    with pytest.raises(TemplateError, match="deferred_convergence"):
        load_text(template_with(f"type: {word}"))


def test_an_unknown_value_comes_with_the_nearest_one() -> None:
    _template, report = inspect_text(template_with("retry: {backoff: exponentiall}"))
    assert report.findings[0].code == "UNKNOWN_VALUE"
    assert report.findings[0].hint == "did you mean 'exponential'?"


@pytest.mark.parametrize("nothing", ["", "null", "~"])
@pytest.mark.parametrize(
    "key",
    [
        "dependencies",
        "retry",
        "type",
        "description",
        "timeout_seconds",
        "publishes_events",
        "batch_config",
        "system_dependency",
        "result_schema",
    ],
)
def test_a_key_with_nothing_behind_it_takes_its_default(key: str, nothing: str) -> None:
    assert step_b(f"{key}: {nothing}") == step_b("description:")


@pytest.mark.parametrize("missing", ["name", "namespace_name", "version"])
def test_a_missing_required_key_is_named(missing: str) -> None:
    text = "\n".join(line for line in template_with().splitlines() if not line.startswith(f"{missing}:"))
    with pytest.raises(TemplateError, match=f"Required key '{missing}' is missing"):
        load_text(text)


@pytest.mark.parametrize("missing", ["description", "schema"])
def test_a_published_event_needs_a_description_and_a_schema(missing: str) -> None:
    event = {"name": "a.b", "description": "d", "schema": "{type: object}"}
    del event[missing]
    body = ", ".join(f"{key}: {value}" for key, value in event.items())
    with pytest.raises(TemplateError, match=f"'{missing}' is missing"):
        load_text(template_with(f"publishes_events: [{{{body}}}]"))


def test_text_keys_keep_the_source_text_of_any_scalar() -> None:
    template = load_text("""
name: 123
namespace_name: on
version: 1.10.0
description: 1.10
steps:
  - {name: 007, handler: {callable: 1e3, method: true}, description: 2024-01-01}
""")
    assert (template.name, template.namespace_name, template.description) == ("123", "on", "1.10")
    (step,) = template.steps
    assert (step.name, step.handler.callable, step.handler.method) == ("007", "1e3", "true")
    assert step.description == "2024-01-01"


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "y", "2024-01-01", "1:30"])
def test_words_of_older_yaml_stay_strings(word: str) -> None:
    step = step_b(f"handler: {{callable: m.b, initialization: {{x: {word}}}}}\ndependencies: [a]")
    assert step.handler.initialization == {"x": word}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True),
        ("False", False),
        ("0x1F", 31),
        ("0o17", 15),
        ("-12", -12),
        ("1.5e3", 1500.0),
        ("~", None),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("! 1", "1"),
        ("!!float 1", 1.0),
        ("[1, {a: b}]", [1, {"a": "b"}]),
    ],
)
def test_json_values_follow_the_core_schema(written: str, value: Any) -> None:
    step = step_b(f"handler: {{callable: m.b, initialization: {{x: {written}}}}}\ndependencies: [a]")
    assert step.handler.initialization == {"x": value}
    assert type(step.handler.initialization["x"]) is type(value)


def test_merge_keys_are_ordinary_keys() -> None:
    text = template_with("handler: {callable: m.b, initialization: {'<<': {x: 1}}}\ndependencies: [a]")
    assert load_text(text).step("b").handler.initialization == {"<<": {"x": 1}}


def test_anchors_are_shared_definitions() -> None:
    text = f"""{HEAD}steps:
  - {{name: a, handler: {{callable: m.a}}, retry: &often {{max_attempts: 9}}}}
  - {{name: b, handler: {{callable: m.b}}, retry: *often, dependencies: [a]}}
"""
    assert [step.retry.max_attempts for step in load_text(text).steps] == [9, 9]


def test_a_retry_is_the_default_in_every_part_it_leaves_out() -> None:
    default = RetryPolicy(
        retryable=True,
        max_attempts=3,
        backoff=Backoff.EXPONENTIAL,
        backoff_base_ms=1000,
        max_backoff_ms=30_000,
    )
    assert step_b("dependencies: [a]").retry == default
    assert step_b("retry: {max_attempts: 5}").retry == RetryPolicy(max_attempts=5)
    assert step_b("retry: {max_attempts: 5}").retry.backoff_base_ms == 1000


def test_an_empty_lifecycle_acts_by_the_dead_letter_queue() -> None:
    lifecycle = load_text(template_with(task="lifecycle: {}")).lifecycle
    assert lifecycle == Lifecycle()
    assert lifecycle is not None
    assert lifecycle.staleness_action == "dlq"
    assert load_text(template_with()).lifecycle is None


def test_batch_config_has_defaults_for_all_its_keys() -> None:
    text = f"""{HEAD}steps:
  - {{name: a, type: batchable, handler: {{callable: m.a}}}}
  - {{name: b, type: batch_worker, handler: m.b, dependencies: [a], batch_config: {{batch_size: 5}}}}
"""
    config = load_text(text).step("b").batch_config
    assert config is not None
    assert (config.batch_size, config.parallelism, config.cursor_field) == (5, 10, "id")
    assert config.failure_strategy == "continue_on_failure"


def test_task_defaults_are_filled_in() -> None:
    template = load_text(template_with())
    assert template.system_dependencies == SystemDependencies(primary="default", secondary=())
    assert template.environments == {}
    assert template.metadata is None
    assert isinstance(template, TaskTemplate)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("timeout_seconds: '5'", "must be a whole number, not the text '5'"),
        ("timeout_seconds: 1.5", "must be a whole number, not '1.5'"),
        ("retry: {retryable: yes}", "only true and false are booleans"),
        ("retry: [1]", "must be a mapping, not a list"),
        ("dependencies: a", "must be a list, not the text 'a'"),
        ("dependencies: [[a]]", "must be text, not a list"),
        ("dependencies: [~]", r"'steps\[1\].dependencies\[0\]' is empty"),
        ("result_schema: 3", "must be a JSON Schema"),
        ("handler: [m.b]", "must be a mapping"),
        ("retry: {backoff: [linear]}", "must be one word"),
        ("handler: {callable: m.b, initialization: 3}", "must be a mapping"),
        ("composition: .inf", "JSON cannot hold"),
        ("composition: 1e999", "JSON cannot hold"),
        ("composition: 123456789012345678901234567890", "JSON cannot hold"),
    ],
)
def test_a_wrong_type_says_what_is_expected(step: str, message: str) -> None:
    with pytest.raises(TemplateError, match=message):
        load_text(template_with(step))


def test_all_wrong_types_are_reported_at_once() -> None:
    _template, report = inspect_text(template_with("timeout_seconds: x\nretry: 3\ntype: batchy"))
    assert [finding.line for finding in report.findings] == [9, 10, 11]


def test_a_mistake_is_not_also_reported_as_a_missing_key() -> None:
    assert codes(template_with("handler: [1]")) == ["WRONG_TYPE"]
