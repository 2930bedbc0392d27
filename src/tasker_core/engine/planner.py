"""From a template to a plan: everything that running a task needs to know about its template, computed once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from tasker_core.template import Graph, StepTemplate, StepType, TaskTemplate, initial_steps


@dataclass(frozen=True)
class StepPlan:
    """One step of a plan.

    Attributes:
        ordinal: position in the template, from 0.
        step: the step as the template declares it.
        initial: whether the step exists from the task's creation on.
        dependencies: ordinals of the steps it waits for.
        dependents: ordinals of the steps that wait for it.
    """

    ordinal: int
    step: StepTemplate
    initial: bool
    dependencies: tuple[int, ...]
    dependents: tuple[int, ...]
    _graph: Graph = field(repr=False)
    _moulds: frozenset[int] = field(repr=False)

    @cached_property
    def ancestors(self) -> tuple[int, ...]:
        """Ordinals of all steps before it that are no moulds, in an order that respects dependencies."""
        return tuple(ordinal for ordinal in self._graph.ancestors[self.ordinal] if ordinal not in self._moulds)

    @cached_property
    def mould_ancestors(self) -> tuple[int, ...]:
        """Ordinals of the batch workers' moulds before it."""
        return tuple(ordinal for ordinal in self._graph.ancestors[self.ordinal] if ordinal in self._moulds)

    @cached_property
    def decides(self) -> bool:
        """Whether its result calls other steps into being."""
        return self.step.type in (StepType.DECISION, StepType.BATCHABLE)

    @cached_property
    def definition(self) -> dict[str, Any]:
        """The step definition as workers receive it."""
        return self.step.to_dict()


@dataclass(frozen=True)
class Plan:
    """A template, its environment overrides applied, with its graph worked out."""

    template: TaskTemplate
    environment: str | None
    steps: tuple[StepPlan, ...]
    _graph: Graph = field(repr=False)

    @property
    def ordinals(self) -> Mapping[str, int]:
        """Name of a step to its ordinal."""
        return self._graph.ordinals

    @property
    def order(self) -> tuple[int, ...]:
        """All ordinals, each after everything it depends on."""
        return self._graph.order

    @cached_property
    def decisions(self) -> tuple[int, ...]:
        """The ordinals of the decision steps."""
        return tuple(plan.ordinal for plan in self.steps if plan.step.type is StepType.DECISION)

    def downstream(self, ordinal: int) -> frozenset[int]:
        """Return the ordinals of all steps that come after a step, however far."""
        found: set[int] = set()
        ahead = [ordinal]
        while ahead:
            new = set(self.steps[ahead.pop()].dependents) - found
            found |= new
            ahead += new
        return frozenset(found)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the resolved content; equal content is one row in the database."""
        return self.template.digest

    @cached_property
    def named_task_uuid(self) -> UUID:
        """A stable UUID for the template's namespace, name and version."""
        return uuid5(NAMESPACE_URL, f"tasker:{self.template.identity}")


def plan_task(template: TaskTemplate, environment: str | None = None) -> Plan:
    """Plan a template for an environment; an unknown environment name changes nothing."""
    return plan_resolved(template.resolve(environment), environment)


def plan_resolved(template: TaskTemplate, environment: str | None) -> Plan:
    """Plan a template whose overrides are already applied, as it is stored with tasks."""
    graph = Graph(template)
    initial = frozenset(initial_steps(template))
    moulds = frozenset(o for o, step in enumerate(template.steps) if step.type is StepType.BATCH_WORKER)
    steps = tuple(
        StepPlan(
            ordinal=ordinal,
            step=step,
            initial=ordinal in initial,
            dependencies=graph.dependencies[ordinal],
            dependents=graph.dependents[ordinal],
            _graph=graph,
            _moulds=moulds,
        )
        for ordinal, step in enumerate(template.steps)
    )
    return Plan(template, environment, steps, graph)
