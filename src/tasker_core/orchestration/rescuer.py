"""Background duty: attempts whose lease ended without a report become retryable failures."""

import asyncio
import random
from datetime import UTC, datetime

import structlog

from tasker_core.engine import outcome
from tasker_core.orchestration.local_source import end_of_attempt
from tasker_core.orchestration.plans import Plans
from tasker_core.step_source import StepReport
from tasker_core.store import ExpiredLease, RecordAnswer, Store, StoreError

#: Leases that one round rescues; more follow at once.
BATCH = 500

#: Seconds for which the rescuer holds what it took; if it dies, another one takes over after that.
HOLD_SECONDS = 30.0

log = structlog.get_logger("tasker.rescuer")


class Rescuer:
    """Finds expired leases and records each as a failed attempt of error type ``lease_expired``.

    Any number of rescuers may run: each takes what the others have not.
    """

    def __init__(self, store: Store, plans: Plans, *, rescuer_id: int, interval: float) -> None:
        self._store = store
        self._plans = plans
        self._rescuer_id = rescuer_id
        self._interval = interval

    async def run(self) -> None:
        """Rescue until cancelled; an unreachable database only delays it."""
        while True:
            try:
                while await self.rescue() == BATCH:
                    pass
            except StoreError as error:
                log.warning("rescue_postponed", reason=str(error))
            await asyncio.sleep(self._interval * random.uniform(0.8, 1.2))

    async def rescue(self) -> int:
        """Rescue one batch of expired leases; return how many there were."""
        expired = await self._store.take_expired_leases(self._rescuer_id, BATCH, HOLD_SECONDS)
        if expired:
            ends = [end_of_attempt(*(await self._judge(lease))) for lease in expired]
            answer: RecordAnswer = await self._store.record_attempts(self._rescuer_id, ends)
            for lease in expired:
                if lease.key not in answer.refused:
                    log.warning(
                        "lease_expired",
                        task_uuid=str(lease.key.task_uuid),
                        ordinal=lease.key.ordinal,
                        attempt=lease.key.attempt,
                        worker=lease.holder,
                    )
        return len(expired)

    async def _judge(self, lease: ExpiredLease) -> tuple[StepReport, outcome.Outcome]:
        plan = await self._plans.get(lease.template_id)
        report = StepReport(
            lease.key,
            success=False,
            error={
                "error_type": "lease_expired",
                "message": f"worker {lease.holder or 'unknown'} neither reported nor renewed its lease",
                "retryable": True,
            },
        )
        policy = plan.steps[lease.key.ordinal].step.retry
        return report, outcome.decide(report, policy, now=datetime.now(UTC), random=random.random)
