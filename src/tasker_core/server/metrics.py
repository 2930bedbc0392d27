"""The numbers of one server process, for Prometheus."""

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Histogram, Info

import tasker_core

#: Seconds; an API request lasts between a millisecond and the longest wait.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


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
            "Time until a request was answered",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(method, route, str(status)).inc()
        self._durations.labels(method, route).observe(seconds)

    def exposition(self) -> bytes:
        """Return all numbers in Prometheus' text format."""
        return prometheus_client.generate_latest(self.registry)
