"""The numbers of one server process, for Prometheus."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Final

import prometheus_client
import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, Info
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

import tasker_core
from tasker_core.orchestration.backlog import Backlog, Standing, Waiting
from tasker_core.store import StoreError

#: Seconds; an API request lasts between a millisecond and the longest wait.
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

#: Methods that are told apart; a client may send any word.
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

#: Kinds of tasks that are told apart.
_MAX_KINDS: Final = 1000

#: Seconds for which numbers of the database are good, and for which a scrape waits for fresh ones.
_FRESH_SECONDS: Final = 5.0
_PATIENCE_SECONDS: Final = 2.0

log = structlog.get_logger("tasker.server")


class Metrics:
    """Counters of one application; its registry is its own, so several may live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        Info("tasker_orchestration", "What runs here", registry=self.registry).info(
            {"version": tasker_core.__version__}
        )
        self._requests = Counter(
            "tasker_api_requests", "Requests", ["method", "route", "status"], registry=self.registry
        )
        self._durations = Histogram(
            "tasker_api_request_duration_seconds",
            "Time until the answer to a request began",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._rejected = Counter(
            "tasker_api_requests_rejected", "Tasks refused for overload", ["reason"], registry=self.registry
        )
        self._tasks = Counter(
            "tasker_tasks_requests", "Tasks created here", ["namespace", "task"], registry=self.registry
        )
        self._authentications = Counter(
            "tasker_auth_requests", "Requests whose caller was looked for", ["method", "result"], registry=self.registry
        )
        self._denials = Counter(
            "tasker_permission_denials", "Requests without permission", ["permission"], registry=self.registry
        )
        self._kinds: set[tuple[str, str]] = set()

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request whose answer began after so many seconds."""
        method = method if method in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._durations.labels(method, route).observe(seconds)

    def rejected(self, reason: str) -> None:
        """Count a creation of tasks that was refused for overload."""
        self._rejected.labels(reason).inc()

    def tasks_created(self, namespace: str, task: str, number: int = 1) -> None:
        """Count tasks that were created by requests to this server; after 1000 kinds of tasks the rest is one."""
        kind = (namespace, task)
        if kind not in self._kinds:
            if len(self._kinds) >= _MAX_KINDS:
                kind = ("other", "other")
            self._kinds.add(kind)
        self._tasks.labels(*kind).inc(number)

    def authentication(self, method: str, result: str) -> None:
        """Count an attempt to find out who makes a request, by kind of credential and outcome."""
        self._authentications.labels(method, result).inc()

    def denial(self, permission: str) -> None:
        """Count a request whose caller lacks a permission."""
        self._denials.labels(permission).inc()

    def exposition(self) -> bytes:
        """Return all numbers in Prometheus' text format."""
        return prometheus_client.generate_latest(self.registry)


class SystemMetrics(Collector):
    """Numbers of the whole system, from the database, and of this process's connections to it.

    However often they are asked for, the database is asked every five seconds at most. While it is away, its numbers
    are left out.
    """

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self._waiting: Mapping[str, Waiting] = {}
        self._standing: Standing | None = None
        self._refreshed_at = -_FRESH_SECONDS
        self._refreshing: asyncio.Task[None] | None = None

    async def refresh(self) -> None:
        """Ask the database, if the numbers are not fresh; returns after two seconds at the latest."""
        if time.monotonic() - self._refreshed_at < _FRESH_SECONDS:
            return
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh())
        await asyncio.wait({self._refreshing}, timeout=_PATIENCE_SECONDS)

    async def stop(self) -> None:
        """End a question that is under way."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)

    async def _refresh(self) -> None:
        try:
            self._waiting, self._standing = await self._backlog.waiting(), await self._backlog.standing()
        except StoreError as error:
            log.warning("metrics_incomplete", reason=str(error))
            self._waiting, self._standing = {}, None
        self._refreshed_at = time.monotonic()

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return the numbers as they were last seen."""
        pool = self._backlog.pool()
        connections = GaugeMetricFamily(
            "tasker_db_pool_connections", "Connections of this process to the database", labels=["state"]
        )
        connections.add_metric(["active"], pool.active)
        connections.add_metric(["idle"], pool.idle)
        yield connections
        yield GaugeMetricFamily(
            "tasker_orchestration_db_pool_size", "Connections that this process may have", value=pool.maximum
        )
        if self._standing is not None:
            yield from self._of_database(self._standing)

    def _of_database(self, standing: Standing) -> Iterable[GaugeMetricFamily]:
        ready = GaugeMetricFamily("tasker_steps_ready", "Steps that may be claimed now", labels=["namespace"])
        age = GaugeMetricFamily(
            "tasker_queue_oldest_age_seconds", "How long the oldest step has waited to be claimed", labels=["namespace"]
        )
        for namespace, waiting in self._waiting.items():
            ready.add_metric([namespace], waiting.steps)
            age.add_metric([namespace], waiting.oldest_seconds)
        active = GaugeMetricFamily("tasker_tasks_active", "Tasks that are not over", labels=["namespace", "state"])
        for kind, number in standing.active_tasks.items():
            active.add_metric(kind, number)
        yield from (ready, age, active)
        yield GaugeMetricFamily("tasker_workers_live", "Workers that are connected", value=standing.live_workers)
        yield GaugeMetricFamily(
            "tasker_dlq_pending_investigations",
            "Dead letters that nobody has closed",
            value=standing.pending_dead_letters,
        )
