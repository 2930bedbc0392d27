"""Background duty: attempts whose lease ended without a report become retryable failures."""

import asyncio
import random
from collections.abc import Callable, Sequence

import asyncpg
import structlog

from tasker_core.orchestration.judge import Ending, Judge
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

    def __init__(
        self,
        store: Store,
        plans: Plans,
        *,
        rescuer_id: int,
        interval: float,
        recorded: Callable[[RecordAnswer], None],
    ) -> None:
        self._store = store
        self._judge = Judge(store, plans)
        self._recorded = recorded
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
            endings = await self._endings(expired)
            answer = await self._store.record_attempts(
                self._rescuer_id,
                await self._judge.judge(endings),
                batch_workers=any(ending.is_batch_worker for ending in endings),
            )
            self._recorded(answer)
            for lease in expired:
                key = lease.grant.key
                if key not in answer.refused:
                    log.warning(
                        "lease_expired",
                        task_uuid=str(key.task_uuid),
                        ordinal=key.ordinal,
                        attempt=lease.grant.attempt,
                        worker=lease.holder,
                    )
        return len(expired)

    async def _endings(self, expired: Sequence[ExpiredLease]) -> list[Ending]:
        detailed = [lease.grant.key for lease in expired if lease.grant.detailed]
        details = {
            (row["task_uuid"], row["ordinal"]): row
            for row in (await self._store.step_details(detailed) if detailed else ())
        }
        return [_ending(lease, details.get(lease.grant.key[:2])) for lease in expired]


def _ending(lease: ExpiredLease, details: asyncpg.Record | None) -> Ending:
    report = StepReport(
        lease.grant.key,
        success=False,
        error={
            "error_type": "lease_expired",
            "message": f"worker {lease.holder or 'unknown'} neither reported nor renewed its lease",
            "retryable": True,
        },
    )
    if details is None:
        return Ending(report, lease.grant, lease.grant.key.ordinal)
    return Ending(report, lease.grant, details["template_ordinal"], details["inputs"])
