"""The benchmarks run, so that they cannot rot; what they measure is not judged here."""

import asyncio
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from benchmarks.measure import MeasurementError
from benchmarks.processes import processes
from conftest import SDK_LANGUAGES

ROOT = Path(__file__).parents[2]
CHAIN = ROOT / "benchmarks" / "templates" / "chain.yaml"


#: What is measured over HTTP, with the numbers that each has.
SERVICE = {
    "http-create": {"create_p50_ms", "create_p99_ms", "created_per_second"},
    "http-chain": {"complete_p50_ms", "complete_p99_ms", "steps_per_second", "server_us", "worker_us"},
    "http-fleet": {"steps_per_second", "server_us", "worker_us"},
    "http-idle": {
        f"{kind}_{percentile}_ms"
        for kind in ("http_worker_by_engine", "http_worker_over_http", "database_worker_by_engine")
        for percentile in ("p50", "p99")
    },
    **{
        f"sdk-{language}": {"complete_p50_ms", "complete_p99_ms", "steps_per_second", "server_us", "worker_us"}
        for language in ("python", *SDK_LANGUAGES)
    },
}


@pytest.mark.timeout(600)  # twenty processes and a database server, on a machine that may be busy
def test_a_quick_run_measures_every_subject_and_writes_json(tmp_path: Path) -> None:
    """``python -m benchmarks --quick`` exits with 0 and leaves every value of every subject in a JSON file."""
    results = tmp_path / "results.json"
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--json", results],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    document = json.loads(results.read_text())
    expected = {"chain", "chain-sync", "diamond", "bare"}
    if importlib.util.find_spec("dbos") is not None:
        expected.add("dbos")
    measured = document["benchmarks"]
    assert measured.keys() == expected | SERVICE.keys()
    for benchmark in measured.values():
        assert len(benchmark["rounds"]) == document["parameters"]["rounds"] == 1
    for name in expected:
        assert measured[name]["medians"]["steps_per_second"] > 0
    assert measured["chain"]["medians"].keys() >= {"p50_ms", "p99_ms", "share_of_bare"}
    for name, metrics in SERVICE.items():
        assert measured[name]["medians"].keys() >= metrics
    assert measured["http-chain"]["medians"].keys() >= {"complete_p50_ms_of_chain", "steps_per_second_of_chain"}
    assert {(target["subject"], target["metric"]) for target in document["targets"]} == {
        ("chain", "steps_per_second"),
        ("chain", "p50_ms"),
        ("chain", "share_of_bare"),
        ("http-create", "create_p50_ms"),
        ("http-create", "created_per_second"),
        ("http-chain", "complete_p50_ms"),
        ("http-chain", "steps_per_second"),
    }
    assert document["machine"]["postgresql"]["fsync"] == "on"


async def test_servers_and_workers_end_with_a_measurement_that_fails(database_url: str) -> None:
    """Whatever goes wrong while they run, no process is left, and the reason is what is raised."""
    running: list[int] = []

    async def fail() -> None:
        async with processes(database_url) as started:
            server = await started.server()
            worker = await started.worker(CHAIN, 1, server=server)
            worker.run()
            running.extend([server.pid, worker.pid])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()

    assert len(running) == 2
    assert not [pid for pid in running if psutil.pid_exists(pid)]


async def test_a_server_that_dies_ends_the_measurement(database_url: str) -> None:
    """A measurement does not wait for an answer that cannot come."""

    async def lose_the_server() -> None:
        async with processes(database_url) as started:
            server = await started.server()
            os.kill(server.pid, signal.SIGKILL)
            await asyncio.Event().wait()

    with pytest.raises(MeasurementError, match="a process ended with -9"):
        await lose_the_server()


def test_an_unknown_benchmark_is_answered_with_the_known_ones() -> None:
    """A wrong ``--only`` is a usage error that lists what there is."""
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--only", "chian"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert run.returncode == 2
    assert "chian" in run.stderr
    assert "diamond" in run.stderr
