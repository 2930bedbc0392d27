"""The subjects by name, and a process of its own for each measurement."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import structlog

from benchmarks.measure import MeasurementError, Round, ServiceRound, Sizes, Subject
from tasker_core.step_worker.collector import calm_collector

#: What the tables call each subject, in their order.
TITLES = {
    "chain": "chain of 4",
    "chain-sync": "chain of 4, sync",
    "diamond": "diamond of 4",
    "bare": "bare SQL loop",
    "dbos": "DBOS, chain of 4",
    "http-create": "creation over HTTP",
    "http-chain": "chain of 4 over HTTP",
    "http-fleet": "2 servers, 4 workers",
    "http-idle": "idle worker",
    "sdk-python": "Python worker",
    "sdk-typescript": "TypeScript worker",
    "sdk-ruby": "Ruby worker",
    "sdk-rust": "Rust worker",
}


def measure_apart(name: str, database_url: str, sizes: Sizes) -> Round | ServiceRound:
    """Measure one round of a subject in a new process.

    No subject then carries another's threads and garbage, and the collector is as calm as in `tasker run` for all.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(_measure, name, database_url, sizes).result()


def _measure(name: str, database_url: str, sizes: Sizes) -> Round | ServiceRound:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    subject = _subject(name)
    calm_collector()
    try:
        return subject.measure(database_url, sizes)
    except MeasurementError as error:
        raise MeasurementError(f"{TITLES[name]}: {error}") from error


def _subject(name: str) -> Subject:
    # Imported here so that a process holds the modules of its own subject only, and because DBOS may be missing.
    match name:
        case "bare":
            from benchmarks import bare

            return bare.BareLoop()
        case "dbos":
            from benchmarks import dbos

            return dbos.DbosBenchmark()
        case _ if name.startswith(("http-", "sdk-")):
            from benchmarks import service

            return service.BENCHMARKS[name]()
        case _:
            from benchmarks import tasker

            return tasker.BENCHMARKS[name]()
