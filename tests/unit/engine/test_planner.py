"""From a template to a plan."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker_core import serialization
from tasker_core.engine.planner import Plan, plan_resolved, plan_task
from tasker_core.template import HandlerReference, StepTemplate, StepType, TaskTemplate, load_text

Dag = list[list[int]]

ORDER = """
name: order
namespace_name: shop
version: 1.2.0
steps:
  - {name: check, handler: {callable: check}, retry: {max_attempts: 2}}
  - {name: pay, handler: {callable: pay, initialization: {url: test}}, dependencies: [check]}
  - {name: ship, handler: {callable: check}, dependencies: [pay, check]}
environments:
  production:
    steps:
      - {name: pay, handler: {initialization: {url: live}}, timeout_seconds: 9, retry: {max_attempts: 9}}
"""

ROUTED = """
name: routed
namespace_name: test
version: 1.0.0
steps:
  - {name: first, handler: {callable: h}}
  - {name: route, type: decision, handler: {callable: h}, dependencies: [first]}
  - {name: left, handler: {callable: h}, dependencies: [route]}
  - {name: right, handler: {callable: h}, dependencies: [route]}
  - {name: beside, handler: {callable: h}, dependencies: [first]}
  - {name: after_left, handler: {callable: h}, dependencies: [left, beside]}
"""


@st.composite
def dags(draw: st.DrawFn) -> Dag:
    """Dependencies of each step. Only the order of drawing is acyclic, not the template's, which is shuffled."""
    size = draw(st.integers(1, 12))
    places = draw(st.permutations(range(size)))
    dependencies: Dag = [[] for _ in range(size)]
    for position, place in enumerate(places):
        earlier = places[:position]
        if earlier:
            dependencies[place] = draw(st.lists(st.sampled_from(earlier), max_size=4, unique=True))
    return dependencies


def planned(dependencies: Dag) -> Plan:
    steps = tuple(
        StepTemplate(name=f"s{n}", handler=HandlerReference(callable="h"), dependencies=tuple(f"s{d}" for d in before))
        for n, before in enumerate(dependencies)
    )
    return plan_task(TaskTemplate(name="t", namespace_name="n", version="1.0.0", steps=steps))


def closure(dependencies: Dag, start: int) -> set[int]:
    found: set[int] = set()
    pending = list(dependencies[start])
    while pending:
        step = pending.pop()
        if step not in found:
            found.add(step)
            pending += dependencies[step]
    return found


@given(dags())
def test_dependents_are_the_inverse_of_dependencies(dag: Dag) -> None:
    plan = planned(dag)
    forward = {(before, step.ordinal) for step in plan.steps for before in step.dependencies}
    backward = {(step.ordinal, after) for step in plan.steps for after in step.dependents}
    assert forward == backward == {(before, n) for n, all_before in enumerate(dag) for before in all_before}


@given(dags())
def test_ancestors_are_all_steps_before_however_far(dag: Dag) -> None:
    for step in planned(dag).steps:
        assert set(step.ancestors) == closure(dag, step.ordinal)
        assert len(step.ancestors) == len(set(step.ancestors))


@given(dags())
def test_ancestors_come_in_an_order_that_respects_dependencies(dag: Dag) -> None:
    for step in planned(dag).steps:
        for position, ancestor in enumerate(step.ancestors):
            assert set(dag[ancestor]) <= set(step.ancestors[:position])


@given(dags())
def test_in_a_static_graph_every_step_exists_from_the_start(dag: Dag) -> None:
    assert all(step.initial for step in planned(dag).steps)


def test_what_a_decision_routes_to_does_not_exist_at_the_start() -> None:
    plan = plan_task(load_text(ROUTED))
    assert [step.step.name for step in plan.steps if step.initial] == ["first", "route", "beside"]


@given(dags())
def test_a_stored_plan_is_read_back_the_same(dag: Dag) -> None:
    plan = planned(dag)
    stored = serialization.dumps(plan.template.to_dict())
    again = plan_resolved(TaskTemplate.from_dict(serialization.loads(stored)), None)
    assert again.digest == plan.digest
    assert [(s.dependencies, s.dependents, s.ancestors, s.initial, s.definition) for s in again.steps] == [
        (s.dependencies, s.dependents, s.ancestors, s.initial, s.definition) for s in plan.steps
    ]


def test_an_environments_overrides_are_part_of_the_plan() -> None:
    pay = plan_task(load_text(ORDER), "production").steps[1]
    assert pay.definition["handler"]["initialization"] == {"url": "live"}
    assert (pay.step.timeout_seconds, pay.step.retry.max_attempts) == (9, 9)


@pytest.mark.parametrize("environment", [None, "unheard-of"])
def test_an_unknown_environment_changes_nothing(environment: str | None) -> None:
    plan = plan_task(load_text(ORDER), environment)
    assert plan.steps[1].definition["handler"]["initialization"] == {"url": "test"}


def test_equal_content_has_one_digest_however_it_is_written() -> None:
    reordered = ORDER.replace("name: order\nnamespace_name: shop", "namespace_name: shop\nname: order")
    assert plan_task(load_text(reordered)).digest == plan_task(load_text(ORDER)).digest


def test_each_change_of_content_changes_the_digest() -> None:
    digests = {
        plan_task(load_text(ORDER)).digest,
        plan_task(load_text(ORDER), "production").digest,
        plan_task(load_text(ORDER.replace("url: test", "url: other"))).digest,
        plan_task(load_text(ORDER.replace("[pay, check]", "[pay]"))).digest,
        plan_task(load_text(ORDER.replace("1.2.0", "1.2.1"))).digest,
    }
    assert len(digests) == 5


def test_the_named_task_uuid_follows_from_the_identity_alone() -> None:
    plain, live = plan_task(load_text(ORDER)), plan_task(load_text(ORDER), "production")
    other = plan_task(load_text(ORDER.replace("1.2.0", "1.2.1")))
    assert plain.named_task_uuid == live.named_task_uuid != other.named_task_uuid
    assert isinstance(plain.named_task_uuid, UUID)


def test_the_type_of_a_step_is_kept() -> None:
    assert plan_task(load_text(ROUTED)).steps[1].step.type is StepType.DECISION
