"""What the template model promises: immutability, the canonical form, and how environments change it."""

import dataclasses
import json
from typing import Any

import pytest

from tasker_core.template import Backoff, RetryPolicy, TaskTemplate, load_text

CATALOG = """
name: sync_catalog
namespace_name: catalog
version: 1.2.0
steps:
  - name: pull_feed
    handler:
      callable: catalog.pull_feed
      initialization: {url: "https://feed.example/v1", page_size: 200, auth: {user: u, key: k}}
    timeout_seconds: 120
    retry: {max_attempts: 4, backoff: linear, backoff_base_ms: 2000, max_backoff_ms: 60000}
  - name: write_catalog
    handler: {callable: catalog.write_catalog, initialization: {dry_run: false}}
    dependencies: [pull_feed]
environments:
  test:
    steps:
      - name: ALL
        timeout_seconds: 5
        retry: {max_attempts: 1}
      - name: pull_feed
        handler: {initialization: {url: "http://localhost:9/feed", auth: {user: tester}}}
  development:
    steps:
      - name: write_catalog
        handler: {initialization: {dry_run: true}}
  reversed:
    steps:
      - {name: pull_feed, timeout_seconds: 7}
      - {name: ALL, timeout_seconds: 5}
  empty:
"""


@pytest.fixture
def template() -> TaskTemplate:
    return load_text(CATALOG)


def test_the_test_environment_changes_what_it_names(template: TaskTemplate) -> None:
    pull, write = template.resolve("test").steps
    assert pull.handler.initialization["url"] == "http://localhost:9/feed"
    assert pull.handler.initialization["page_size"] == 200
    assert (pull.timeout_seconds, pull.retry.max_attempts) == (5, 1)
    assert write.handler.initialization == {"dry_run": False}
    assert (write.timeout_seconds, write.retry.max_attempts) == (5, 1)


def test_an_override_replaces_nested_objects_and_the_retry_as_a_whole(template: TaskTemplate) -> None:
    pull = template.resolve("test").step("pull_feed")
    assert pull.handler.initialization["auth"] == {"user": "tester"}
    assert pull.retry == RetryPolicy(max_attempts=1)
    assert pull.retry.backoff is Backoff.EXPONENTIAL


def test_the_development_environment_changes_only_the_last_step(template: TaskTemplate) -> None:
    pull, write = template.resolve("development").steps
    assert pull == template.step("pull_feed")
    assert write.handler.initialization == {"dry_run": True}
    assert write.retry == template.step("write_catalog").retry


def test_overrides_apply_in_the_order_they_are_written(template: TaskTemplate) -> None:
    assert template.resolve("reversed").step("pull_feed").timeout_seconds == 5


@pytest.mark.parametrize("environment", ["production", "empty", None])
def test_an_environment_without_overrides_changes_no_step(template: TaskTemplate, environment: str | None) -> None:
    resolved = template.resolve(environment)
    assert resolved.steps == template.steps
    assert resolved.environments == {}


def test_a_resolved_template_resolves_to_itself(template: TaskTemplate) -> None:
    resolved = template.resolve("test")
    assert resolved.resolve("test") == resolved
    assert resolved.resolve("development").digest == resolved.digest


def test_resolving_leaves_the_original_alone(template: TaskTemplate) -> None:
    before = template.digest
    template.resolve("test")
    assert template.digest == before


def test_the_canonical_form_survives_json(template: TaskTemplate) -> None:
    data = json.loads(json.dumps(template.to_dict()))
    assert data == template.to_dict()
    assert TaskTemplate.from_dict(data) == template
    assert TaskTemplate.from_dict(data).digest == template.digest


def test_the_canonical_form_states_the_defaults(template: TaskTemplate) -> None:
    step = template.to_dict()["steps"][1]
    assert step["type"] == "standard"
    assert step["retry"] == {
        "retryable": True,
        "max_attempts": 3,
        "backoff": "exponential",
        "backoff_base_ms": 1000,
        "max_backoff_ms": 30_000,
    }
    assert step == template.step("write_catalog").to_dict()
    assert template.to_dict()["identity_strategy"] == "strict"


def test_what_is_handed_out_and_taken_in_are_copies(template: TaskTemplate) -> None:
    before = template.digest
    data = template.to_dict()
    rebuilt = TaskTemplate.from_dict(data)
    initialization: dict[str, Any] = data["steps"][0]["handler"]["initialization"]
    initialization["auth"]["key"] = "stolen"
    assert template.digest == before
    assert rebuilt.digest == before


def test_the_digest_depends_on_content_not_on_the_order_of_keys() -> None:
    head = "namespace_name: n\nversion: 1.0.0\nname: t\n"
    one = load_text(head + "steps: [{name: a, handler: {callable: x, initialization: {p: 1, q: 2}}}]")
    two = load_text("steps: [{handler: {initialization: {q: 2, p: 1}, callable: x}, name: a}]\n" + head)
    other = load_text(head + "steps: [{name: a, handler: {callable: x, initialization: {p: 1, q: 3}}}]")
    assert one.digest == two.digest
    assert one.digest != other.digest
    assert len(one.digest) == 64


def test_a_template_cannot_be_assigned_to(template: TaskTemplate) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        template.name = "other"  # type: ignore[misc]


def test_the_identity_names_namespace_name_and_version(template: TaskTemplate) -> None:
    assert template.identity == "catalog/sync_catalog/1.2.0"


def test_an_unknown_step_is_a_key_error(template: TaskTemplate) -> None:
    assert template.step("pull_feed") is template.steps[0]
    with pytest.raises(KeyError, match="ghost"):
        template.step("ghost")


def test_data_of_another_shape_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="namespace_name"):
        TaskTemplate.from_dict({"name": "t"})


def test_two_namespaces_may_have_a_step_of_the_same_name() -> None:
    body = "name: t\nversion: 1.0.0\nsteps: [{name: validate, handler: {callable: m.v}}]\n"
    one, two = load_text(f"namespace_name: x\n{body}"), load_text(f"namespace_name: y\n{body}")
    assert one.step("validate") == two.step("validate")
    assert one.identity != two.identity
