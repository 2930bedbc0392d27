"""From granted leases to steps with everything their handlers may ask for.

What a process has already seen of a task (its context, the results that it recorded itself) stays in memory, so a
chain of steps on one worker reads nothing back from the database.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import asyncpg

from tasker_core import identifiers
from tasker_core.engine.planner import Plan, StepPlan
from tasker_core.orchestration.plans import Plans
from tasker_core.step_source import AncestorResult, LeasedStep, LeaseKey, TaskFacts
from tasker_core.store import GrantedLease, NewTask, Store

#: Bytes of contexts and results that are kept; the longest unused tasks go first.
CACHE_BYTES = 64 * 1024 * 1024

#: What an entry costs beside its texts, roughly.
_ENTRY_OVERHEAD = 1024


class _KnownTask:
    __slots__ = ("facts", "results", "size")

    def __init__(self, facts: TaskFacts) -> None:
        self.facts = facts
        self.results: dict[int, AncestorResult] = {}
        self.size = _ENTRY_OVERHEAD + len(facts.context)


class KnownTasks:
    """What this process knows of tasks, up to a number of bytes."""

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._tasks: OrderedDict[UUID, _KnownTask] = OrderedDict()

    def add(self, facts: TaskFacts) -> None:
        """Remember a task."""
        if facts.task_uuid not in self._tasks:
            known = _KnownTask(facts)
            self._tasks[facts.task_uuid] = known
            self._grow(known.size)

    def add_result(self, task_uuid: UUID, ordinal: int, result: AncestorResult) -> None:
        """Remember a recorded result of a task that is known."""
        known = self._tasks.get(task_uuid)
        if known is not None and ordinal not in known.results:
            size = len(result.result or "") + len(result.metadata or "") + 200
            known.results[ordinal] = result
            known.size += size
            self._grow(size)

    def get(self, task_uuid: UUID) -> _KnownTask | None:
        """Return what is known of a task and mark it as used."""
        known = self._tasks.get(task_uuid)
        if known is not None:
            self._tasks.move_to_end(task_uuid)
        return known

    def forget_outdated(self, task_uuid: UUID, reruns: int) -> None:
        """Drop a task that was re-run since it was remembered: its results may be others now."""
        known = self._tasks.get(task_uuid)
        if known is not None and known.facts.reruns != reruns:
            self.forget(task_uuid)

    def forget(self, task_uuid: UUID) -> None:
        """Drop a task, for instance because it is over."""
        known = self._tasks.pop(task_uuid, None)
        if known is not None:
            self._bytes -= known.size

    def _grow(self, size: int) -> None:
        self._bytes += size
        while self._bytes > self._max_bytes and len(self._tasks) > 1:
            _, oldest = self._tasks.popitem(last=False)
            self._bytes -= oldest.size


class AssembledStep(NamedTuple):
    """A leased step, the grant it came from, and its position in the template (for a batch worker its mould's)."""

    step: LeasedStep
    grant: GrantedLease
    template_ordinal: int


class _Leased(NamedTuple):
    grant: GrantedLease
    plan: StepPlan
    details: asyncpg.Record | None


class LeaseAssembly:
    """Turns granted leases into steps that can be run."""

    def __init__(self, store: Store, plans: Plans, known: KnownTasks) -> None:
        self._store = store
        self._plans = plans
        self._known = known

    async def assemble(self, grants: Sequence[GrantedLease]) -> list[AssembledStep]:
        """Return the steps of these leases, reading only what is not known yet."""
        plans = {grant.template_id: await self._plans.get(grant.template_id) for grant in grants}
        details = await self._details_of(grants)
        tasks = await self._tasks_of(grants)
        leased = []
        for grant in grants:
            row = details.get(grant.key) if grant.detailed else None
            ordinal = grant.key.ordinal if row is None else row["template_ordinal"]
            leased.append(_Leased(grant, plans[grant.template_id].steps[ordinal], row))
        results = await self._results_of(leased, tasks)
        batches = await self._batch_results_of(leased)
        return [self._step(step, tasks, results, batches) for step in leased]

    async def _details_of(self, grants: Sequence[GrantedLease]) -> dict[LeaseKey, asyncpg.Record]:
        """Return what some steps have that their templates do not say."""
        detailed = {grant.key[:2]: grant.key for grant in grants if grant.detailed}
        if not detailed:
            return {}
        details = {}
        for row in await self._store.step_details(list(detailed.values())):
            self._known.forget_outdated(row["task_uuid"], row["reruns"])
            details[detailed[row["task_uuid"], row["ordinal"]]] = row
        return details

    async def _tasks_of(self, grants: Sequence[GrantedLease]) -> dict[UUID, _KnownTask]:
        """Return the tasks, held here so that none can fall out of the cache while it is in use."""
        tasks: dict[UUID, _KnownTask] = {}
        unknown: set[UUID] = set()
        for grant in grants:
            task_uuid = grant.key.task_uuid
            if task_uuid in tasks or task_uuid in unknown:
                continue
            known = self._known.get(task_uuid)
            if known is None:
                unknown.add(task_uuid)
            else:
                tasks[task_uuid] = known
        if unknown:
            for row in await self._store.task_facts(list(unknown)):
                plan = await self._plans.get(row["template_id"])
                facts = TaskFacts(
                    task_uuid=row["task_uuid"],
                    name=plan.template.name,
                    namespace=plan.template.namespace_name,
                    version=plan.template.version,
                    named_task_uuid=plan.named_task_uuid,
                    context=row["context"],
                    correlation_id=row["correlation_id"],
                    parent_correlation_id=row["parent_correlation_id"],
                    priority=row["priority"],
                    initiator=row["initiator"],
                    source_system=row["source_system"],
                    reason=row["reason"],
                    tags=row["tags"],
                    reruns=row["reruns"],
                )
                self._known.add(facts)
                tasks[facts.task_uuid] = self._known.get(facts.task_uuid) or _KnownTask(facts)
        return tasks

    async def _results_of(
        self, leased: Sequence[_Leased], tasks: dict[UUID, _KnownTask]
    ) -> dict[tuple[UUID, int], AncestorResult]:
        """Return the results that no task at hand has."""
        missing = {
            (grant.key.task_uuid, ancestor)
            for grant, plan, _ in leased
            for ancestor in plan.ancestors
            if ancestor not in tasks[grant.key.task_uuid].results
        }
        if not missing:
            return {}
        loaded: dict[tuple[UUID, int], AncestorResult] = {}
        for task_uuid, ordinal, name, result, metadata in await self._store.step_results(list(missing)):
            found = AncestorResult(name, str(identifiers.step_uuid(task_uuid, ordinal)), result, metadata)
            loaded[task_uuid, ordinal] = found
            self._known.add_result(task_uuid, ordinal, found)
        return loaded

    async def _batch_results_of(self, leased: Sequence[_Leased]) -> dict[tuple[UUID, int], list[AncestorResult]]:
        """Return the results of all batch workers of the moulds among the ancestors."""
        wanted = {(grant.key.task_uuid, mould) for grant, plan, _ in leased for mould in plan.mould_ancestors}
        found: dict[tuple[UUID, int], list[AncestorResult]] = {batch: [] for batch in wanted}
        if wanted:
            for task_uuid, mould, ordinal, name, result, metadata in await self._store.batch_results(list(wanted)):
                step_uuid = str(identifiers.step_uuid(task_uuid, ordinal))
                found[task_uuid, mould].append(AncestorResult(name, step_uuid, result, metadata))
        return found

    @staticmethod
    def _step(
        step: _Leased,
        tasks: dict[UUID, _KnownTask],
        loaded: dict[tuple[UUID, int], AncestorResult],
        batches: dict[tuple[UUID, int], list[AncestorResult]],
    ) -> AssembledStep:
        grant, plan, details = step
        task_uuid = grant.key.task_uuid
        known = tasks[task_uuid]
        results = known.results
        found = [results.get(ancestor) or loaded.get((task_uuid, ancestor)) for ancestor in plan.ancestors]
        for mould in plan.mould_ancestors:
            found += batches[task_uuid, mould]
        leased = LeasedStep(
            task=known.facts,
            key=grant.key,
            attempt=grant.attempt,
            name=plan.step.name if details is None else details["name"],
            definition=plan.definition,
            # A step that was resolved by hand satisfies its dependents but has no result to hand on.
            ancestors=[result for result in found if result is not None and result.result is not None],
            inputs=None if details is None else details["inputs"],
            checkpoint=None if details is None else details["checkpoint"],
        )
        return AssembledStep(leased, grant, plan.ordinal)


def facts_of_new(task: NewTask, plan: Plan) -> TaskFacts:
    """Return the facts of a task that this process just created."""
    template = plan.template
    return TaskFacts(
        task_uuid=task.task_uuid,
        name=template.name,
        namespace=template.namespace_name,
        version=template.version,
        named_task_uuid=plan.named_task_uuid,
        context=task.context,
        correlation_id=task.correlation_id,
        parent_correlation_id=task.parent_correlation_id,
        priority=task.priority,
        initiator=task.initiator,
        source_system=task.source_system,
        reason=task.reason,
        tags=task.tags,
    )
