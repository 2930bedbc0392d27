"""Whether more work is accepted, from facts of the database and of this process."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from tasker_core.orchestration import Engine
from tasker_core.orchestration.backlog import Waiting
from tasker_core.server.errors import ApiError
from tasker_core.server.metrics import Metrics
from tasker_core.store import StoreError

#: Seconds between two looks at the backlog.
LOOK_SECONDS: Final = 2.0

#: Seconds after which what was seen of the backlog says nothing any more; then everything is accepted.
_STALE_SECONDS: Final = 15.0

#: A limit is exceeded badly from this multiple of it on, and very badly from the next.
_BAD: Final = 1.5
_VERY_BAD: Final = 2.0

log = structlog.get_logger("tasker.server")


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """When creation of tasks is refused for a while. None switches a limit off.

    The numbers come from the database every two seconds. They are estimates where tens of thousands of steps wait, so
    a limit is met to within some per cent.

    Attributes:
        max_queue_depth: steps that may wait in all namespaces together.
        max_queue_depth_per_namespace: steps that may wait in one namespace; only that namespace is refused.
        max_queue_age_seconds: how long the oldest step of a namespace may wait that a live worker has a handler for;
            only that namespace is refused. Steps that no worker can run do not count.
        max_pool_wait_seconds: how long a request of this process may wait for a connection to the database.
    """

    max_queue_depth: int | None = 500_000
    max_queue_depth_per_namespace: int | None = None
    max_queue_age_seconds: float | None = None
    max_pool_wait_seconds: float | None = 1.0


class Admission:
    """Looks at the backlog every few seconds and says whether more tasks are accepted.

    What is not known counts as good: a server that cannot see the backlog accepts tasks.
    """

    def __init__(self, engine: Engine, limits: AdmissionLimits, metrics: Metrics | None = None) -> None:
        self._backlog = engine.backlog
        self._limits = limits
        self._metrics = metrics
        self._waiting: Mapping[str, Waiting] = {}
        self._looked_at: float | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
            except StoreError as error:
                log.warning("backlog_unknown", reason=str(error))
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Look once.

        Raises:
            StoreError: the database cannot be reached.
        """
        self._waiting = await self._backlog.waiting()
        self._looked_at = time.monotonic()

    @property
    def limits(self) -> AdmissionLimits:
        """The limits."""
        return self._limits

    @property
    def waiting(self) -> Mapping[str, Waiting] | None:
        """What waits in each namespace; None if that is not known, or was last known too long ago."""
        age = self.seconds_since_look
        return self._waiting if age is not None and age < _STALE_SECONDS else None

    @property
    def seconds_since_look(self) -> float | None:
        """How long ago the backlog was seen; None if it never was."""
        return None if self._looked_at is None else time.monotonic() - self._looked_at

    def require(self, namespace: str) -> None:
        """Refuse, if a namespace can take no more tasks just now.

        Raises:
            ApiError: 503 ``BACKPRESSURE`` with ``Retry-After``: 15, 30 or 60 seconds, by how bad it is.
        """
        self._require_connections()
        waiting = self.waiting
        if waiting is None:
            return
        limits, here = self._limits, waiting.get(namespace)
        total = sum(one.steps for one in waiting.values())
        self._require("queue_depth", total, limits.max_queue_depth, f"{total} steps wait to be run")
        if here is not None:
            self._require(
                "namespace_queue_depth",
                here.steps,
                limits.max_queue_depth_per_namespace,
                f"{here.steps} steps wait to be run in namespace '{namespace}'",
            )
            age = here.oldest_served_seconds or 0.0
            self._require(
                "queue_age",
                age,
                limits.max_queue_age_seconds,
                f"the oldest step in namespace '{namespace}' has waited for {age:.0f} seconds",
            )

    def _require_connections(self) -> None:
        limit, pool = self._limits.max_pool_wait_seconds, self._backlog.pool()
        if limit is not None and pool.active == pool.maximum and pool.waiting_for > limit:
            raise self._refusal("pool", 15, "all connections to the database are in use")

    def _require(self, reason: str, value: float, limit: float | None, message: str) -> None:
        if limit is not None and value > limit:
            seconds = 60 if value > limit * _VERY_BAD else 30 if value > limit * _BAD else 15
            raise self._refusal(reason, seconds, message)

    def _refusal(self, reason: str, retry_after: int, message: str) -> ApiError:
        if self._metrics is not None:
            self._metrics.rejected(reason)
        return ApiError(503, "BACKPRESSURE", f"Service under backpressure: {message}", retry_after=retry_after)
