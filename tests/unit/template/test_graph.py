"""The graph orders any acyclic template, knows all ancestors, and spells out cycles."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker_core.template import (
    Graph,
    HandlerReference,
    StepTemplate,
    StepType,
    TaskTemplate,
    find_cycle,
    initial_steps,
)


def template_of(dependencies: list[list[int]], types: list[StepType] | None = None) -> TaskTemplate:
    """A template of steps `s0`, `s1`, ... with the given ordinals as dependencies."""
    return TaskTemplate(
        name="t",
        namespace_name="n",
        version="1.0.0",
        steps=tuple(
            StepTemplate(
                name=f"s{ordinal}",
                handler=HandlerReference(callable="m.s"),
                dependencies=tuple(f"s{other}" for other in before),
                type=types[ordinal] if types else StepType.STANDARD,
            )
            for ordinal, before in enumerate(dependencies)
        ),
    )


@st.composite
def dags(draw: st.DrawFn) -> list[list[int]]:
    """Random acyclic dependencies; the ordinals are shuffled, so that no order can be read off them."""
    size = draw(st.integers(1, 12))
    place = draw(st.permutations(range(size)))
    dependencies: list[list[int]] = [[] for _ in range(size)]
    for later in range(1, size):
        for earlier in draw(st.lists(st.integers(0, later - 1), max_size=4, unique=True)):
            dependencies[place[later]].append(place[earlier])
    return dependencies


def closure(dependencies: list[list[int]], ordinal: int) -> set[int]:
    found: set[int] = set()
    for before in dependencies[ordinal]:
        found |= {before} | closure(dependencies, before)
    return found


@given(dags())
def test_the_order_has_every_step_once_and_after_its_dependencies(dependencies: list[list[int]]) -> None:
    graph = Graph(template_of(dependencies))
    assert sorted(graph.order) == list(range(len(dependencies)))
    position = {ordinal: index for index, ordinal in enumerate(graph.order)}
    for ordinal, all_before in enumerate(dependencies):
        assert all(position[before] < position[ordinal] for before in all_before)


@given(dags())
def test_ancestors_are_the_closure_of_the_dependencies_in_order(dependencies: list[list[int]]) -> None:
    graph = Graph(template_of(dependencies))
    position = {ordinal: index for index, ordinal in enumerate(graph.order)}
    for ordinal, ancestors in enumerate(graph.ancestors):
        assert set(ancestors) == closure(dependencies, ordinal)
        assert list(ancestors) == sorted(ancestors, key=position.__getitem__)
        assert len(set(ancestors)) == len(ancestors)


@given(dags())
def test_levels_dependents_and_roots_agree_with_the_dependencies(dependencies: list[list[int]]) -> None:
    graph = Graph(template_of(dependencies))
    level = {ordinal: number for number, members in enumerate(graph.levels) for ordinal in members}
    for ordinal, all_before in enumerate(dependencies):
        assert level[ordinal] == max((level[before] + 1 for before in all_before), default=0)
        assert set(graph.dependents[ordinal]) == {o for o, before in enumerate(dependencies) if ordinal in before}
    assert graph.roots == tuple(ordinal for ordinal, before in enumerate(dependencies) if not before)
    assert graph.dependencies == tuple(map(tuple, dependencies))


@given(st.data())
def test_a_step_exists_at_creation_iff_every_ancestor_does(data: st.DataObject) -> None:
    dependencies = data.draw(dags())
    size = len(dependencies)
    types = data.draw(st.lists(st.sampled_from(StepType), min_size=size, max_size=size))
    exists = set(initial_steps(template_of(dependencies, types)))
    for ordinal in range(size):
        before = closure(dependencies, ordinal)
        possible = types[ordinal] is not StepType.BATCH_WORKER and not any(
            types[other] in (StepType.DECISION, StepType.BATCH_WORKER) for other in before
        )
        assert (ordinal in exists) is possible
        assert ordinal not in exists or before <= exists


@given(dags())
def test_an_acyclic_graph_has_no_cycle(dependencies: list[list[int]]) -> None:
    assert find_cycle(dict(enumerate(dependencies))) is None


@given(st.lists(st.lists(st.integers(0, 9), max_size=3), min_size=1, max_size=10))
def test_any_graph_is_either_ordered_or_refused_with_a_real_cycle(dependencies: list[list[int]]) -> None:
    known = [[before for before in all_before if before < len(dependencies)] for all_before in dependencies]
    cycle = find_cycle(dict(enumerate(known)))
    if cycle is None:
        Graph(template_of(known))
        return
    assert cycle[0] == cycle[-1]
    assert len(set(cycle)) == len(cycle) - 1
    for before, after in pairwise(cycle):
        assert before in known[after]
    with pytest.raises(ValueError, match=" -> ".join(f"s{ordinal}" for ordinal in cycle)):
        Graph(template_of(known))


@given(dags(), st.data())
def test_an_edge_back_from_a_descendant_is_always_found(dependencies: list[list[int]], data: st.DataObject) -> None:
    later = [ordinal for ordinal, before in enumerate(dependencies) if before]
    if not later:
        return
    end = data.draw(st.sampled_from(later))
    start = data.draw(st.sampled_from(sorted(closure(dependencies, end))))
    dependencies[start].append(end)
    assert find_cycle(dict(enumerate(dependencies))) is not None


def test_a_cycle_begins_with_its_first_step_and_names_it_again_at_the_end() -> None:
    dependencies = {"x": ["c"], "a": ["c"], "b": ["a"], "c": ["b", "elsewhere"]}
    assert find_cycle(dependencies) == ["a", "b", "c", "a"]
    assert find_cycle({"a": ["a"]}) == ["a", "a"]


def test_an_unknown_dependency_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="Step 's0' depends on non-existent step 's7'"):
        Graph(template_of([[7]]))


def test_a_repeated_dependency_is_one_edge() -> None:
    graph = Graph(template_of([[], [0, 0]]))
    assert graph.dependencies == ((), (0,))
    assert graph.dependents == ((1,), ())


def test_ancestors_are_a_sequence_by_ordinal() -> None:
    graph = Graph(template_of([[], [0], [1]]))
    assert graph.ancestors[2] == (0, 1)
    assert graph.ancestors[-1] == (0, 1)
    assert graph.ancestors[1:] == ((0,), (0, 1))
    assert len(graph.ancestors) == 3
    assert graph.ordinals == {"s0": 0, "s1": 1, "s2": 2}


@pytest.mark.parametrize(
    ("dependencies", "seconds"),
    [
        pytest.param([[], *([n] for n in range(999))], 1.0, id="chain of 1,000"),
        pytest.param([[] for _ in range(1_000)] + [list(range(1_000))], 1.0, id="fan-in of 1,000"),
        pytest.param([[], *([0] for _ in range(9_999))], 3.0, id="fan-out of 10,000"),
        pytest.param([[], *([n] for n in range(9_999))], 3.0, id="chain of 10,000"),
    ],
)
def test_large_graphs_are_built_quickly(dependencies: list[list[int]], seconds: float) -> None:
    template = template_of(dependencies)
    started = time.perf_counter()
    graph = Graph(template)
    assert len(graph.ancestors[graph.order[-1]]) >= 1
    assert len(initial_steps(template)) == len(dependencies)
    assert time.perf_counter() - started < seconds


def test_a_cycle_through_ten_thousand_steps_is_found() -> None:
    cycle = find_cycle({n: [(n - 1) % 10_000] for n in range(10_000)})
    assert cycle is not None
    assert len(cycle) == 10_001
