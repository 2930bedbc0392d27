"""DBOS, a durable workflow engine for Python that also keeps its state in PostgreSQL."""

import logging
import time

from dbos import DBOS, DBOSConfig

from benchmarks.measure import MeasurementError, Round, Sizes, Stopwatch

_STEPS_PER_TASK = 4

#: Of Tasker's number of bulk tasks DBOS runs one in so many, so that its round takes about as long.
_FEWER = 20

#: Workflows of the warm-up.
_WARM_UP = 10

_RESULT = {"ok": True}

logging.getLogger("dbos").setLevel(logging.ERROR)


@DBOS.step()
def first(n: int) -> dict[str, bool]:
    """Return at once."""
    return {**_RESULT, "first": n >= 0}


@DBOS.step()
def second(result: dict[str, bool]) -> dict[str, bool]:
    """Return at once."""
    return result


@DBOS.step()
def third(result: dict[str, bool]) -> dict[str, bool]:
    """Return at once."""
    return result


@DBOS.step()
def fourth(result: dict[str, bool]) -> dict[str, bool]:
    """Return at once."""
    return result


@DBOS.workflow()
def chain(n: int) -> dict[str, bool]:
    """Run four steps, one after the other."""
    return fourth(third(second(first(n))))


class DbosBenchmark:
    """How do the same figures look with DBOS, on the same server and in the same minute?

    The chain of four no-op steps as four ``@DBOS.step`` in a ``@DBOS.workflow``, in the form that was the fastest of
    those tried: plain functions rather than coroutines, called directly for the latency and started with
    ``DBOS.start_workflow`` on its default thread pool in bulk rather than through a queue.

    * **Latency.** From before to after the call of the workflow function, one at a time. It holds the durable record
      of the workflow's start, its steps and its end.
    * **Run.** From before the first ``start_workflow`` until the last result is there. Starting a workflow creates
      it, so this compares with Tasker's creation and run together; the table does that.

    Not in any region: launching DBOS, its migrations, and the warm-up.
    """

    def measure(self, database_url: str, sizes: Sizes) -> Round:
        """Warm up and measure one round on an empty database."""
        config: DBOSConfig = {
            "name": "tasker-benchmarks",
            "system_database_url": database_url,
            "log_level": "ERROR",
            "console_log_level": "ERROR",
        }
        DBOS(config=config)
        DBOS.launch()
        try:
            return self._measure(sizes)
        finally:
            DBOS.destroy()

    def _measure(self, sizes: Sizes) -> Round:
        _run_all(_WARM_UP)
        with Stopwatch():
            latencies = [_run_one() for _ in range(sizes.single_tasks)]
        tasks = max(1, sizes.tasks // _FEWER)
        with Stopwatch() as running:
            results = _run_all(tasks)
        if len(results) != tasks or not all(result["ok"] for result in results):
            raise MeasurementError(f"not all of {tasks} workflows are complete")
        return Round(tasks, tasks * _STEPS_PER_TASK, 0.0, running.seconds, running.cpu_seconds, latencies)


def _run_one() -> float:
    """Run one workflow and return how many milliseconds that took."""
    started = time.perf_counter()
    chain(1)
    return (time.perf_counter() - started) * 1000


def _run_all(workflows: int) -> list[dict[str, bool]]:
    handles = [DBOS.start_workflow(chain, n) for n in range(workflows)]
    return [handle.get_result() for handle in handles]
