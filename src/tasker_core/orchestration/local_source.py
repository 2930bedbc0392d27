"""The step source of a worker that has its own database connection."""

import contextlib
import random
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime

import structlog

from tasker_core import identifiers, serialization
from tasker_core.engine import outcome, result_schema
from tasker_core.orchestration.lease_assembly import KnownTasks, LeaseAssembly
from tasker_core.orchestration.plans import Plans
from tasker_core.states import StepState
from tasker_core.step_source import AncestorResult, LeasedStep, LeaseKey, Renew, ReportAnswer, StepReport
from tasker_core.store import AttemptEnd, Database, GrantedLease, RecordAnswer, Store

log = structlog.get_logger("tasker.engine")


class LocalStepSource:
    """Claims from and reports to the database directly.

    Args:
        store: the database.
        plans: plans by template id.
        known: what this process knows of tasks.
        worker_id: id under which the leases are held.
        callables: the callables that the worker has handlers for; no other step is claimed.
        lease_seconds: how long a lease lasts unless a heartbeat renews it.
        recorded: called with each answer of the database, to wake whoever waits.
    """

    def __init__(
        self,
        store: Store,
        plans: Plans,
        known: KnownTasks,
        *,
        worker_id: int,
        callables: Sequence[str],
        lease_seconds: float,
        recorded: Callable[[RecordAnswer], None],
    ) -> None:
        self._store = store
        self._plans = plans
        self._known = known
        self._assembly = LeaseAssembly(store, plans, known)
        self._worker_id = worker_id
        self._callables = list(callables)
        self._lease_seconds = lease_seconds
        self._recorded = recorded
        self._held: dict[LeaseKey, int] = {}

    @property
    def lease_seconds(self) -> float:
        """How long a lease lasts unless a heartbeat renews it."""
        return self._lease_seconds

    async def claim(self, limit: int) -> Sequence[LeasedStep]:
        """Lease up to ``limit`` steps that are ready."""
        return await self._taken(
            await self._store.claim_steps(self._worker_id, self._callables, limit, self._lease_seconds)
        )

    async def report(self, reports: Sequence[StepReport], want: int) -> ReportAnswer:
        """Record the ends of attempts and lease up to ``want`` of the steps that they freed."""
        held = [(report, self._held[report.lease]) for report in reports if report.lease in self._held]
        ends = [await self._end_of(report, template_id) for report, template_id in held]
        answer = await self._store.record_attempts(
            self._worker_id, ends, callables=self._callables, want=want, lease_seconds=self._lease_seconds
        )
        for end, (_, template_id) in zip(ends, held, strict=True):
            self._held.pop(end.lease, None)
            if end.state is StepState.COMPLETE and end.lease not in answer.refused:
                self._remember(end, template_id)
        leased = await self._taken(answer.leased)
        for task_uuid, _ in answer.rested:
            self._known.forget(task_uuid)
        self._recorded(answer)
        return ReportAnswer(
            refused=answer.refused | {report.lease for report in reports} - {end.lease for end in ends},
            leased=leased,
            more_ready=answer.queued > 0,
            retry_in=min((end.delay for end in ends if end.delay is not None), default=None),
        )

    async def recover(self) -> Sequence[LeasedStep]:
        """Return every step that the database holds leased to this worker."""
        return await self._taken(await self._store.leases_of_worker(self._worker_id))

    async def next_due(self) -> float | None:
        """Return the seconds until the earliest waiting retry is due; None if none waits."""
        return await self._store.seconds_to_next_due(self._callables)

    async def release(self, leases: Sequence[LeaseKey]) -> None:
        """Give leases back unused."""
        await self._store.release_leases(self._worker_id, leases)
        for lease in leases:
            self._held.pop(lease, None)

    @contextlib.asynccontextmanager
    async def heartbeats(self) -> AsyncIterator[Renew]:
        """Return a context whose value renews leases, over a connection of its own."""
        async with Database(self._store.database.url, max_connections=1) as database:
            store = Store(database)

            async def renew(leases: Sequence[LeaseKey]) -> frozenset[LeaseKey]:
                await store.worker_seen(self._worker_id)
                if not leases:
                    return frozenset()
                return frozenset(leases) - await store.renew_leases(self._worker_id, leases, self._lease_seconds)

            yield renew

    async def _taken(self, grants: Sequence[GrantedLease]) -> list[LeasedStep]:
        if not grants:
            return []
        for grant in grants:
            self._held[grant.key] = grant.template_id
        return await self._assembly.assemble(grants)

    async def _end_of(self, report: StepReport, template_id: int) -> AttemptEnd:
        plan = self._plans.cached(template_id) or await self._plans.get(template_id)
        step = plan.steps[report.lease.ordinal].step
        report = result_schema.checked(report, step, strict=plan.template.strict_results)
        return end_of_attempt(report, outcome.decide(report, step.retry, now=datetime.now(UTC), random=random.random))

    def _remember(self, end: AttemptEnd, template_id: int) -> None:
        plan = self._plans.cached(template_id)
        assert plan is not None
        task_uuid, ordinal, _ = end.lease
        step_uuid = str(identifiers.step_uuid(task_uuid, ordinal))
        result = AncestorResult(plan.steps[ordinal].step.name, step_uuid, end.result, end.metadata)
        self._known.add_result(task_uuid, ordinal, result)


def end_of_attempt(report: StepReport, decided: outcome.Outcome) -> AttemptEnd:
    """Return what to store for a report and what was decided about it."""
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
