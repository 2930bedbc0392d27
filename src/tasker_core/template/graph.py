"""The graph of a template: what runs before what, and what exists from the start."""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import chain, compress
from typing import TypeVar, overload

from tasker_core.template.model import StepTemplate, StepType, TaskTemplate

_Node = TypeVar("_Node", bound=Hashable)


class Graph:
    """The dependencies of a template's steps, by ordinal: the position of a step in the template.

    Attributes:
        ordinals: name of a step to its ordinal.
        dependencies: for each step the steps it waits for, in the order it lists them.
        dependents: for each step the steps that wait for it, in template order.
        levels: groups of steps, in template order; a step is in the first group after those of its
            dependencies.
        order: all steps, level by level; each comes after everything it depends on.
        roots: the steps that wait for nothing.
        ancestors: for each step all steps before it, however far, in the order of ``order``. Worked out on
            access, since all of them together grow with the square of a long chain.
    """

    __slots__ = ("ancestors", "dependencies", "dependents", "levels", "order", "ordinals", "roots")

    ordinals: Mapping[str, int]
    dependencies: tuple[tuple[int, ...], ...]
    dependents: tuple[tuple[int, ...], ...]
    levels: tuple[tuple[int, ...], ...]
    order: tuple[int, ...]
    roots: tuple[int, ...]
    ancestors: Sequence[tuple[int, ...]]

    def __init__(self, template: TaskTemplate) -> None:
        """Build the graph.

        Raises:
            ValueError: a dependency names no step, or the steps form a cycle. A loaded template has neither.
        """
        self.ordinals = {step.name: ordinal for ordinal, step in enumerate(template.steps)}
        self.dependencies = tuple(self._dependencies_of(step) for step in template.steps)
        self.dependents = _reversed(self.dependencies)
        self.levels = tuple(_levels(template, self.dependencies))
        self.order = tuple(chain.from_iterable(self.levels))
        self.roots = tuple(ordinal for ordinal, before in enumerate(self.dependencies) if not before)
        self.ancestors = _Ancestors(self.order, self.dependencies)

    def _dependencies_of(self, step: StepTemplate) -> tuple[int, ...]:
        try:
            return tuple(self.ordinals[name] for name in dict.fromkeys(step.dependencies))
        except KeyError as error:
            raise ValueError(f"Step '{step.name}' depends on non-existent step {error}") from None


class _Ancestors(Sequence[tuple[int, ...]]):
    """Ancestor sets as bit masks over positions in the topological order, unpacked on access."""

    __slots__ = ("_masks", "_order")

    def __init__(self, order: tuple[int, ...], dependencies: tuple[tuple[int, ...], ...]) -> None:
        self._order = order
        self._masks = [0] * len(order)
        bits = {ordinal: 1 << position for position, ordinal in enumerate(order)}
        for ordinal in order:
            for before in dependencies[ordinal]:
                self._masks[ordinal] |= self._masks[before] | bits[before]

    def __len__(self) -> int:
        return len(self._masks)

    @overload
    def __getitem__(self, ordinal: int) -> tuple[int, ...]: ...
    @overload
    def __getitem__(self, ordinal: slice) -> tuple[tuple[int, ...], ...]: ...
    def __getitem__(self, ordinal: int | slice) -> tuple[int, ...] | tuple[tuple[int, ...], ...]:
        if isinstance(ordinal, slice):
            return tuple(self[index] for index in range(*ordinal.indices(len(self))))
        lowest_bit_first = reversed(f"{self._masks[ordinal]:b}")
        return tuple(compress(self._order, map(int, lowest_bit_first)))


def find_cycle(dependencies: Mapping[_Node, Iterable[_Node]]) -> list[_Node] | None:
    """Return a cycle in the order its steps would run, the first one repeated at the end, or None.

    Args:
        dependencies: each step with the steps it waits for; of these, steps that are no keys are passed over.

    The cycle begins with that of its steps which comes first in ``dependencies``.
    """
    known = {
        node: [before for before in all_before if before in dependencies] for node, all_before in dependencies.items()
    }
    try:
        TopologicalSorter(known).prepare()
    except CycleError as error:
        cycle: list[_Node] = error.args[1][:-1]
        members = set(cycle)
        start = cycle.index(next(node for node in dependencies if node in members))
        return [*cycle[start:], *cycle[:start], cycle[start]]
    return None


def initial_steps(template: TaskTemplate) -> tuple[int, ...]:
    """Return the ordinals of the steps that exist when a task is created, in template order.

    A step exists if everything before it does. A decision's dependents wait for its outcome, a batch worker
    is only the mould for steps that come later, and whatever follows either of them waits with it.

    Raises:
        ValueError: as `Graph`.
    """
    graph = Graph(template)
    exists = [False] * len(template.steps)
    for ordinal in graph.order:
        exists[ordinal] = template.steps[ordinal].type is not StepType.BATCH_WORKER and all(
            exists[before] and template.steps[before].type is not StepType.DECISION
            for before in graph.dependencies[ordinal]
        )
    return tuple(compress(range(len(exists)), exists))


def _reversed(dependencies: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    dependents: list[list[int]] = [[] for _ in dependencies]
    for ordinal, before in enumerate(dependencies):
        for other in before:
            dependents[other].append(ordinal)
    return tuple(map(tuple, dependents))


def _levels(template: TaskTemplate, dependencies: tuple[tuple[int, ...], ...]) -> Iterator[tuple[int, ...]]:
    sorter = TopologicalSorter(dict(enumerate(dependencies)))
    try:
        sorter.prepare()
    except CycleError:
        cycle = find_cycle(dict(enumerate(dependencies))) or []
        names = " -> ".join(template.steps[ordinal].name for ordinal in cycle)
        raise ValueError(f"The steps form a cycle: {names}") from None
    while ready := sorter.get_ready():
        yield tuple(sorted(ready))
        sorter.done(*ready)
