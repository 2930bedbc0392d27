"""From reports to what is recorded: outcome, retry, the steps that decisions and analyzers call into being."""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from tasker_core import serialization
from tasker_core.engine import expansion, outcome, result_schema
from tasker_core.engine.expansion import InvalidOutcomeError, Structure
from tasker_core.engine.planner import Plan, StepPlan
from tasker_core.orchestration.plans import Plans
from tasker_core.orchestration.structures import structures_of
from tasker_core.states import StepState
from tasker_core.step_source import StepReport
from tasker_core.store import AttemptEnd, GrantedLease, Store
from tasker_core.template import FailureStrategy, StepType


class Ending(NamedTuple):
    """A report with what the engine knows of its step.

    Attributes:
        report: how the attempt ended.
        grant: the lease.
        template_ordinal: the step's position in the template; for a batch worker that of its mould.
        inputs: JSON text of the step's inputs, if it has any.
    """

    report: StepReport
    grant: GrantedLease
    template_ordinal: int
    inputs: str | None = None

    @property
    def is_batch_worker(self) -> bool:
        """Whether the step was made from a mould."""
        return self.template_ordinal != self.grant.key.ordinal


class Judge:
    """Decides what reports mean; reads from the database only what a decision or an analyzer needs."""

    def __init__(self, store: Store, plans: Plans) -> None:
        self._store = store
        self._plans = plans

    async def judge(self, endings: Sequence[Ending]) -> list[AttemptEnd]:
        """Return what to record for these reports, in their order."""
        now = datetime.now(UTC)
        ends, expanding = [], []
        for position, ending in enumerate(endings):
            template_id = ending.grant.template_id
            plan = self._plans.cached(template_id) or await self._plans.get(template_id)
            step = plan.steps[ending.template_ordinal]
            report, end = _decide(ending, plan, step, now)
            ends.append(end)
            if step.decides and end.state is StepState.COMPLETE:
                expanding.append((position, ending._replace(report=report), plan))
        if expanding:
            structures = await self._structures(expanding)
            for position, ending, plan in expanding:
                structure = structures[ending.grant.key.task_uuid]
                ends[position] = _expanded(ends[position], ending, plan, structure)
        return ends

    async def _structures(self, expanding: Iterable[tuple[int, Ending, Plan]]) -> dict[UUID, Structure]:
        tasks: defaultdict[int, set[UUID]] = defaultdict(set)
        plans: dict[int, Plan] = {}
        for _, ending, plan in expanding:
            tasks[ending.grant.template_id].add(ending.grant.key.task_uuid)
            plans[ending.grant.template_id] = plan
        structures: dict[UUID, Structure] = {}
        for template_id, task_uuids in tasks.items():
            structures |= await structures_of(self._store, plans[template_id], list(task_uuids))
        return structures


def _decide(ending: Ending, plan: Plan, step: StepPlan, now: datetime) -> tuple[StepReport, AttemptEnd]:
    report = result_schema.checked(ending.report, step.step, strict=plan.template.strict_results)
    decided = outcome.decide(report, step.step.retry, attempt=ending.grant.attempt, now=now, random=random.random)
    if decided.state is StepState.ERROR and _forgives_failures(step):
        report = outcome.forgiven(report, serialization.loads(ending.inputs) if ending.inputs else {})
        decided = outcome.COMPLETE
    return report, _end_of(report, decided)


def _forgives_failures(step: StepPlan) -> bool:
    config = step.step.batch_config
    return (
        step.step.type is StepType.BATCH_WORKER
        and config is not None
        and config.failure_strategy is FailureStrategy.CONTINUE_ON_FAILURE
    )


def _expanded(end: AttemptEnd, ending: Ending, plan: Plan, structure: Structure) -> AttemptEnd:
    """Return an end together with what it calls into being; a failure if that cannot be."""
    report = ending.report
    result: Any = serialization.loads(report.result) if report.result else {}
    try:
        expanded = expansion.expand(plan, structure, ending.template_ordinal, result)
    except InvalidOutcomeError as error:
        failure = {"error_type": error.error_type, "message": str(error), "retryable": False}
        return end._replace(state=StepState.ERROR, result=None, error=serialization.dumps(failure))
    return end._replace(expansion=expansion.as_json(report.lease, expanded))


def _end_of(report: StepReport, decided: outcome.Outcome) -> AttemptEnd:
    complete = decided.state is StepState.COMPLETE
    return AttemptEnd(
        lease=report.lease,
        state=decided.state,
        delay=decided.delay,
        result=report.result if complete else None,
        metadata=serialization.dumps(report.metadata) if report.metadata else None,
        error=serialization.dumps(report.error) if report.error else None,
        execution_time_ms=report.execution_time_ms,
    )
