"""What is measured and how: the stopwatch, one round's numbers, and the seam that every subject implements."""

import gc
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much work a round is.

    Attributes:
        tasks: tasks of the bulk measurement. DBOS runs fewer, see its module.
        single_tasks: tasks that run one at a time for the latency.
        concurrency: handlers at once, and rows a batch in the bare loop.
    """

    tasks: int
    single_tasks: int
    concurrency: int


@dataclass(frozen=True, slots=True)
class Round:
    """What one subject did in one round.

    Attributes:
        tasks: tasks of the bulk measurement.
        steps: their steps.
        create_seconds: wall time of creating them; 0 where creating is a part of running.
        run_seconds: wall time of running them.
        cpu_seconds: processor time of this process, all threads, while they ran; the server's is not in it.
        latencies_ms: submit to complete of each task that ran alone, in the order they ran.
    """

    tasks: int
    steps: int
    create_seconds: float
    run_seconds: float
    cpu_seconds: float
    latencies_ms: Sequence[float] = ()

    @property
    def steps_per_second(self) -> float:
        """Steps a second while running."""
        return self.steps / self.run_seconds

    @property
    def steps_per_second_with_creation(self) -> float:
        """Steps a second from the first task's submission to the last one's end."""
        return self.steps / (self.create_seconds + self.run_seconds)

    def metrics(self) -> dict[str, float]:
        """Return the numbers that people compare; those that were not measured are left out."""
        found = {
            "tasks_per_second": self.tasks / self.run_seconds,
            "steps_per_second": self.steps_per_second,
            "steps_per_second_with_creation": self.steps_per_second_with_creation,
            "python_us_per_step": self.cpu_seconds / self.steps * 1e6,
        }
        if self.create_seconds:
            found["created_per_second"] = self.tasks / self.create_seconds
        if self.latencies_ms:
            found["p50_ms"] = percentile(self.latencies_ms, 50)
            found["p99_ms"] = percentile(self.latencies_ms, 99)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return everything measured and what follows from it, as JSON wants it."""
        latencies = [round(latency, 3) for latency in self.latencies_ms]
        return {**asdict(self), "latencies_ms": latencies, "metrics": self.metrics()}


@dataclass(frozen=True, slots=True)
class ServiceRound:
    """What one subject did through servers in one round.

    Attributes:
        latencies_ms: by what was waited for, each that was measured, in their order.
        rates: how much was done a second, by what was done.
        cpu_us: processor time in microseconds that one of these took, by the processes that spent it.
    """

    latencies_ms: Mapping[str, Sequence[float]] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    cpu_us: Mapping[str, float] = field(default_factory=dict)

    def metrics(self) -> dict[str, float]:
        """Return the numbers that people compare."""
        found = {f"{what}_per_second": rate for what, rate in self.rates.items()}
        found |= {f"{who}_us": spent for who, spent in self.cpu_us.items()}
        for what, latencies in self.latencies_ms.items():
            found[f"{what}_p50_ms"] = percentile(latencies, 50)
            found[f"{what}_p99_ms"] = percentile(latencies, 99)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return everything measured and what follows from it, as JSON wants it."""
        latencies = {what: [round(one, 3) for one in each] for what, each in self.latencies_ms.items()}
        return {"latencies_ms": latencies, "metrics": self.metrics()}


class Subject(Protocol):
    """Something that is measured. Its docstring states the question and the measured region."""

    def measure(self, database_url: str, sizes: Sizes) -> Round | ServiceRound:
        """Warm up and measure one round on an empty database."""


class MeasurementError(Exception):
    """A subject did not do the work that it was timed for."""


class Stopwatch:
    """Times a ``with`` block. Each starts just after a full garbage collection; the collector stays on."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.cpu_seconds = 0.0

    def __enter__(self) -> Self:
        gc.collect()
        self._cpu, self._wall = time.process_time(), time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.perf_counter() - self._wall
        self.cpu_seconds = time.process_time() - self._cpu


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the percentile of some values, interpolated between neighbours."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
