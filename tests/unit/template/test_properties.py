"""Promises for all templates and all texts, tried on random ones."""

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tasker_core import template as package
from tasker_core.template import (
    Backoff,
    EventCondition,
    TaskTemplate,
    TemplateError,
    inspect_text,
    load_text,
    tree,
)

WORDS = st.text("abcxyz019_", min_size=1, max_size=8)
# What YAML can carry between quotes: printable text, of which line breaks are the hard part.
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], include_characters="\n\t"), max_size=20)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
SCHEMAS = st.sampled_from([{"type": "object"}, {"type": "object", "required": ["x"]}, {}, True, False])
RETRIES = st.fixed_dictionaries(
    {},
    optional={
        "retryable": st.booleans(),
        "max_attempts": st.integers(0, 100),
        "backoff": st.sampled_from([backoff.value for backoff in Backoff]),
        "backoff_base_ms": st.integers(0, 3_600_000),
        "max_backoff_ms": st.integers(0, 3_600_000),
    },
)
EVENTS = st.fixed_dictionaries(
    {"name": st.sampled_from(["a.b", "order.items.added"]), "description": TEXTS, "schema": SCHEMAS},
    optional={
        "condition": st.sampled_from([condition.value for condition in EventCondition]),
        "delivery_mode": st.sampled_from(["durable", "fast", "broadcast"]),
        "publisher": st.sampled_from(["P", "a.b.P", None]),
    },
)
OVERRIDES = st.fixed_dictionaries(
    {"name": st.just("ALL") | WORDS},
    optional={
        "handler": st.fixed_dictionaries({"initialization": st.dictionaries(TEXTS, JSON, max_size=2)}),
        "timeout_seconds": st.none() | st.integers(1, 1000),
        "retry": RETRIES,
    },
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Data of a random valid template, defaults partly left out."""
    names = draw(st.lists(WORDS, min_size=1, max_size=6, unique=True))
    steps = []
    for position, name in enumerate(names):
        earlier = st.lists(st.sampled_from(names[:position]), max_size=3, unique=True) if position else st.just([])
        steps.append(
            draw(
                st.fixed_dictionaries(
                    {
                        "name": st.just(name),
                        "handler": st.fixed_dictionaries(
                            {"callable": WORDS},
                            optional={"initialization": st.dictionaries(TEXTS, JSON, max_size=3)},
                        ),
                        "dependencies": earlier,
                    },
                    optional={
                        "description": st.none() | TEXTS,
                        "timeout_seconds": st.none() | st.integers(1, 2**31 - 1),
                        "retry": RETRIES,
                        "publishes_events": st.lists(EVENTS, max_size=2),
                        "result_schema": SCHEMAS,
                        "composition": JSON,
                    },
                )
            )
        )
    return draw(
        st.fixed_dictionaries(
            {
                "name": WORDS,
                "namespace_name": WORDS.map(lambda word: f"n{word}"),
                "version": st.sampled_from(["1.0.0", "0.1.0-rc.1", "12.3.4+b"]),
                "steps": st.just(steps),
            },
            optional={
                "description": st.none() | TEXTS,
                "input_schema": SCHEMAS,
                "strict_results": st.booleans(),
                "identity_strategy": st.sampled_from(["strict", "caller_provided", "always_unique"]),
                "lifecycle": st.fixed_dictionaries({}, optional={"max_duration_minutes": st.integers(1, 43_200)}),
                "environments": st.dictionaries(
                    WORDS, st.fixed_dictionaries({"steps": st.lists(OVERRIDES, max_size=3)}), max_size=2
                ),
            },
        )
    )


@given(documents())
def test_the_canonical_form_is_read_back_exactly(document: dict[str, Any]) -> None:
    template = load_text(yaml.safe_dump(document, allow_unicode=True))
    again = TaskTemplate.from_dict(template.to_dict())
    assert again == template
    assert again.to_dict() == template.to_dict()
    assert again.digest == template.digest


@given(documents())
def test_yaml_written_from_the_canonical_form_loads_to_the_same_template(document: dict[str, Any]) -> None:
    template = load_text(yaml.safe_dump(document))
    again, report = inspect_text(yaml.safe_dump(template.to_dict()), strict=True)
    assert again == template
    assert not any(finding.code.startswith("DEPRECATED") for finding in report.findings)


@given(documents(), WORDS)
def test_any_environment_resolves_to_a_self_contained_template(document: dict[str, Any], other: str) -> None:
    template = load_text(yaml.safe_dump(document))
    for environment in (None, other, *template.environments):
        resolved = template.resolve(environment)
        assert resolved.resolve(other) == resolved
        assert [step.name for step in resolved.steps] == [step.name for step in template.steps]


@given(documents())
def test_every_valid_template_can_be_drawn(document: dict[str, Any]) -> None:
    template = load_text(yaml.safe_dump(document))
    assert len(tree(template).splitlines()) == len(template.steps) + 1
    assert package.mermaid(template).startswith("graph TD")
    assert package.as_json(template)


def _only_findings(text: str) -> None:
    template, report = inspect_text(text)
    assert (template is not None) is report.valid
    assert all(finding.line is None or finding.line >= 1 for finding in report.findings)
    if template is None:
        with pytest.raises(TemplateError, match="<string>:"):
            load_text(text)
    else:
        assert load_text(text) == template


@settings(max_examples=300)
@given(st.text(max_size=80))
def test_any_text_gives_findings_and_nothing_else(text: str) -> None:
    _only_findings(text)


@settings(max_examples=300)
@given(st.text("abn:{}[]-,&*!'\"\n #|>?%@`~.0123456789\t", max_size=80))
def test_any_text_of_yaml_punctuation_gives_findings_and_nothing_else(text: str) -> None:
    _only_findings(text)


@settings(max_examples=300)
@given(documents(), st.data())
def test_a_template_with_one_part_replaced_gives_findings_and_nothing_else(
    document: dict[str, Any], data: st.DataObject
) -> None:
    places = [document, *document["steps"], *(step["handler"] for step in document["steps"])]
    place = data.draw(st.sampled_from(places))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(JSON)
    _only_findings(yaml.safe_dump(document))


@given(documents(), st.integers(0, 2000), st.text(max_size=3))
def test_a_damaged_file_gives_findings_and_nothing_else(document: dict[str, Any], position: int, damage: str) -> None:
    text = yaml.safe_dump(document)
    position %= len(text)
    _only_findings(text[:position] + damage + text[position + 1 :])


def test_the_public_names_are_sorted_and_exist() -> None:
    assert list(package.__all__) == sorted(package.__all__)
    assert all(hasattr(package, name) for name in package.__all__)
