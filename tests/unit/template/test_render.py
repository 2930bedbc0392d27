"""Pictures show every step once, its kind, its edges, and what comes later."""

import json

import pytest

from tasker_core.template import (
    HandlerReference,
    StepTemplate,
    TaskTemplate,
    as_json,
    load_text,
    mermaid,
    tree,
)


@pytest.fixture
def template() -> TaskTemplate:
    return load_text("""
name: triage
namespace_name: claims
version: 1.0.0
steps:
  - {name: read, handler: m.r}
  - {name: choose, type: decision, handler: m.c, dependencies: [read]}
  - {name: count, type: batchable, handler: m.b, dependencies: [choose]}
  - {name: slice, type: batch_worker, handler: m.w, dependencies: [count], batch_config: {}}
  - {name: close, type: deferred_convergence, handler: m.z, dependencies: [slice, choose]}
""")


def test_mermaid_has_a_shape_for_each_kind_and_dashes_for_what_comes_later(template: TaskTemplate) -> None:
    assert mermaid(template) == (
        "graph TD\n"
        '    s0["read"]\n'
        '    s1{"choose"}\n'
        '    s2[/"count"\\]\n'
        '    s3[["slice"]]\n'
        '    s4[/"close"\\]\n'
        "    s0 --> s1\n"
        "    s1 -.-> s2\n"
        "    s2 -.-> s3\n"
        "    s3 -.-> s4\n"
        "    s1 -.-> s4\n"
    )


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ('say "hi"', "say #34;hi#34;"),
        ("a\nb", "a#10;b"),
        ("<b>&#", "#60;b#62;#38;#35;"),
        ("`md`", "#96;md#96;"),
        ("end", "end"),
        ("Größe", "Größe"),
    ],
)
def test_mermaid_labels_cannot_break_the_diagram(name: str, label: str) -> None:
    step = StepTemplate(name=name, handler=HandlerReference(callable="m.a"))
    drawing = mermaid(TaskTemplate(name="t", namespace_name="n", version="1", steps=(step,)))
    assert drawing == f'graph TD\n    s0["{label}"]\n'


def test_the_tree_lists_each_step_once_with_what_it_comes_after(template: TaskTemplate) -> None:
    assert tree(template).splitlines() == [
        "claims/triage/1.0.0: 5 steps, 2 at creation",
        "  1   read    standard",
        "  2   choose  decision              after read",
        "  3 * count   batchable             after choose",
        "  4 * slice   batch_worker          after count",
        "  5 * close   deferred_convergence  after slice, choose",
    ]


def test_steps_that_can_run_together_share_a_level() -> None:
    diamond = load_text("""
name: d
namespace_name: n
version: 1.0.0
steps:
  - {name: top, handler: m.a}
  - {name: left, handler: m.a, dependencies: [top]}
  - {name: right, handler: m.a, dependencies: [top]}
  - {name: end, handler: m.a, dependencies: [left, right]}
""")
    assert [line[:3].strip() for line in tree(diamond).splitlines()[1:]] == ["1", "2", "", "3"]


def test_the_json_drawing_has_steps_and_edges(template: TaskTemplate) -> None:
    drawing = json.loads(as_json(template))
    assert drawing["identity"] == "claims/triage/1.0.0"
    assert drawing["steps"][1] == {
        "name": "choose",
        "type": "decision",
        "callable": "m.c",
        "level": 1,
        "initial": True,
    }
    assert {"from": "read", "to": "choose", "dynamic": False} in drawing["edges"]
    assert {"from": "slice", "to": "close", "dynamic": True} in drawing["edges"]
    assert len(drawing["edges"]) == 5
