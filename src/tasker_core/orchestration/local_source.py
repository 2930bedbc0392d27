"""The step source of a worker that has its own database connection."""

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from tasker_core import identifiers, serialization
from tasker_core.engine import checkpoint
from tasker_core.engine.checkpoint import InvalidCheckpointError
from tasker_core.orchestration.judge import Ending, Judge
from tasker_core.orchestration.lease_assembly import AssembledStep, KnownTasks, LeaseAssembly
from tasker_core.orchestration.plans import Plans
from tasker_core.states import StepState
from tasker_core.step_source import AncestorResult, LeasedStep, LeaseKey, Renew, ReportAnswer, StepReport
from tasker_core.store import AttemptEnd, Database, GrantedLease, RecordAnswer, Store, StructureChangedError

#: Leases that are kept in memory. Those beyond it, which may be long over, are looked up when they are reported.
_MOST_HELD = 2_000


class LocalStepSource:
    """Claims from and reports to the database directly.

    Args:
        store: the database.
        plans: plans by template id.
        known: what this process knows of tasks.
        worker_id: id under which the leases are held.
        callables: the callables that the worker has handlers for; no other step is claimed.
        namespaces: where to claim from; everywhere if None.
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
        namespaces: Sequence[str] | None = None,
        recorded: Callable[[RecordAnswer], None],
    ) -> None:
        self._store = store
        self._plans = plans
        self._known = known
        self._assembly = LeaseAssembly(store, plans, known)
        self._worker_id = worker_id
        self._callables = list(callables)
        self._namespaces = None if namespaces is None else list(namespaces)
        self._lease_seconds = lease_seconds
        self._recorded = recorded
        self._judge = Judge(store, plans)
        self._held: dict[LeaseKey, AssembledStep] = {}

    @property
    def lease_seconds(self) -> float:
        """How long a lease lasts unless a heartbeat renews it."""
        return self._lease_seconds

    async def claim(self, limit: int) -> Sequence[LeasedStep]:
        """Lease up to ``limit`` steps that are ready."""
        return await self._taken(
            await self._store.claim_steps(
                self._worker_id, self._callables, limit, self._lease_seconds, self._namespaces
            )
        )

    async def report(self, reports: Sequence[StepReport], want: int) -> ReportAnswer:
        """Record the ends of attempts and lease up to ``want`` of the steps that they freed."""
        await self._find([report.lease for report in reports if report.lease not in self._held])
        held, yields, strangers = [], {}, set()
        # A lease counts once, also if it is reported twice in one call: the first report holds.
        seen: set[LeaseKey] = set()
        for report in reports:
            if report.lease in seen:
                continue
            seen.add(report.lease)
            assembled = self._held.get(report.lease)
            if assembled is None:
                strangers.add(report.lease)
                continue
            if checkpoint.is_yield(report.success, report.metadata):
                try:
                    yields[report.lease] = _next_checkpoint(assembled.step, report)
                    continue
                except InvalidCheckpointError as error:
                    report = _invalid_checkpoint(report, error)
            held.append(Ending(report, assembled.grant, assembled.template_ordinal, assembled.step.inputs))
        answers = []
        if yields:
            answers.append(await self._go_on(yields, want))
            want -= len(answers[0].leased)
        for batch in _one_expansion_a_task(held, self._plans):
            answers.append(await self._record(batch, want))
            want -= len(answers[-1].leased)
        return _merged(answers, strangers)

    async def _go_on(self, checkpoints: dict[LeaseKey, str], want: int) -> ReportAnswer:
        """Keep checkpoints and go on with the steps that yielded them."""
        answer = await self._store.save_checkpoints(
            self._worker_id, checkpoints, want=want, lease_seconds=self._lease_seconds
        )
        for lease in checkpoints:
            self._held.pop(lease, None)
        leased = await self._taken(answer.leased)
        self._recorded(answer)
        return ReportAnswer(refused=answer.refused, leased=leased, more_ready=answer.queued > 0)

    async def _record(self, endings: Sequence[Ending], want: int) -> ReportAnswer:
        while True:
            ends = await self._judge.judge(endings)
            try:
                answer = await self._store.record_attempts(
                    self._worker_id,
                    ends,
                    callables=self._callables,
                    want=want,
                    lease_seconds=self._lease_seconds,
                    batch_workers=any(ending.is_batch_worker for ending in endings),
                )
                break
            except StructureChangedError:
                # Somebody else changed the steps of a task, so this one is planned anew; each round that is lost
                # is another decision of the task that was recorded, and there are only so many.
                continue
        for end, ending in zip(ends, endings, strict=True):
            self._held.pop(end.lease, None)
            if end.state is StepState.COMPLETE and end.lease not in answer.refused and not ending.is_batch_worker:
                self._remember(end, ending)
        leased = await self._taken(answer.leased)
        for task_uuid, _ in answer.rested:
            self._known.forget(task_uuid)
        self._recorded(answer)
        return ReportAnswer(
            refused=answer.refused,
            leased=leased,
            more_ready=answer.queued > 0,
            retry_in=min((end.delay for end in ends if end.delay is not None), default=None),
        )

    async def recover(self) -> Sequence[LeasedStep]:
        """Return every step that the database holds leased to this worker."""
        return await self._taken(await self._store.leases_of_worker(self._worker_id))

    async def next_due(self) -> float | None:
        """Return the seconds until the earliest waiting retry is due; None if none waits."""
        return await self._store.seconds_to_next_due(self._callables, self._namespaces)

    async def release(self, leases: Sequence[LeaseKey]) -> None:
        """Give leases back unused."""
        await self._store.release_leases(self._worker_id, leases)
        for lease in leases:
            self._held.pop(lease, None)
        # Whoever waits for steps may have these.
        self._recorded(RecordAnswer(frozenset(), (), queued=len(leases), rested=()))

    async def renew(self, leases: Sequence[LeaseKey]) -> frozenset[LeaseKey]:
        """Renew leases; return those that are lost."""
        return await self._renew(self._store, leases)

    async def held(self, lease: LeaseKey) -> LeasedStep | None:
        """Return the step of a lease; None if the lease is lost."""
        if lease not in self._held:
            await self._find([lease])
        assembled = self._held.get(lease)
        return None if assembled is None else assembled.step

    @contextlib.asynccontextmanager
    async def heartbeats(self) -> AsyncIterator[Renew]:
        """Return a context whose value renews leases, over a connection of its own."""
        async with Database(self._store.database.url, max_connections=1) as database:
            store = Store(database)

            async def renew(leases: Sequence[LeaseKey]) -> frozenset[LeaseKey]:
                await store.worker_seen(self._worker_id)
                return await self._renew(store, leases)

            yield renew

    async def _renew(self, store: Store, leases: Sequence[LeaseKey]) -> frozenset[LeaseKey]:
        if not leases:
            return frozenset()
        lost = frozenset(leases) - await store.renew_leases(self._worker_id, leases, self._lease_seconds)
        for lease in lost:
            self._held.pop(lease, None)
        return lost

    async def _find(self, leases: Sequence[LeaseKey]) -> None:
        """Learn of leases that another process granted to the same worker, or this one long ago."""
        if leases:
            await self._taken(await self._store.leases_of_worker(self._worker_id, leases))

    async def _taken(self, grants: Sequence[GrantedLease]) -> list[LeasedStep]:
        if not grants:
            return []
        assembled = await self._assembly.assemble(grants)
        for step in assembled:
            self._held[step.grant.key] = step
        while len(self._held) > _MOST_HELD:
            del self._held[next(iter(self._held))]
        return [step.step for step in assembled]

    def _remember(self, end: AttemptEnd, ending: Ending) -> None:
        plan = self._plans.cached(ending.grant.template_id)
        assert plan is not None
        task_uuid, ordinal, _ = end.lease
        step_uuid = str(identifiers.step_uuid(task_uuid, ordinal))
        result = AncestorResult(plan.steps[ordinal].step.name, step_uuid, end.result, end.metadata)
        self._known.add_result(task_uuid, ordinal, result)


def _next_checkpoint(step: LeasedStep, report: StepReport) -> str:
    """Return the checkpoint to keep, as JSON text."""
    result = serialization.loads(report.result) if report.result else None
    return serialization.dumps(checkpoint.advance(step.saved_checkpoint(), result, now=datetime.now(UTC)))


def _invalid_checkpoint(report: StepReport, error: InvalidCheckpointError) -> StepReport:
    failure = {"error_type": checkpoint.CHECKPOINT_ERROR, "message": str(error), "retryable": False}
    return replace(report, success=False, result=None, error=failure)


def _one_expansion_a_task(endings: Sequence[Ending], plans: Plans) -> list[list[Ending]]:
    """Divide reports so that no two of a batch change the structure of the same task."""
    batches: list[list[Ending]] = [[]]
    expanding = Counter[UUID]()
    for ending in endings:
        plan = plans.cached(ending.grant.template_id)
        assert plan is not None
        number = 0
        if plan.steps[ending.template_ordinal].decides:
            number = expanding[ending.grant.key.task_uuid]
            expanding[ending.grant.key.task_uuid] += 1
            if len(batches) <= number:
                batches.append([])
        batches[number].append(ending)
    return batches if endings else []


def _merged(answers: Sequence[ReportAnswer], refused: AbstractSet[LeaseKey]) -> ReportAnswer:
    if len(answers) == 1 and not refused:
        return answers[0]
    return ReportAnswer(
        refused=frozenset(refused).union(*(answer.refused for answer in answers)),
        leased=[step for answer in answers for step in answer.leased],
        more_ready=any(answer.more_ready for answer in answers),
        retry_in=min((answer.retry_in for answer in answers if answer.retry_in is not None), default=None),
    )
