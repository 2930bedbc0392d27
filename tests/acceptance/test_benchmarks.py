"""The benchmarks run, so that they cannot rot; what they measure is not judged here."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)  # five processes and a database server, on a machine that may be busy
def test_a_quick_run_measures_every_subject_and_writes_json(tmp_path: Path) -> None:
    """``python -m benchmarks --quick`` exits with 0 and leaves every value of every subject in a JSON file."""
    results = tmp_path / "results.json"
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--json", results],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=290,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    document = json.loads(results.read_text())
    expected = {"chain", "chain-sync", "diamond", "bare"}
    if importlib.util.find_spec("dbos") is not None:
        expected.add("dbos")
    assert document["benchmarks"].keys() == expected
    for benchmark in document["benchmarks"].values():
        assert len(benchmark["rounds"]) == document["parameters"]["rounds"] == 1
        assert benchmark["medians"]["steps_per_second"] > 0
    assert document["benchmarks"]["chain"]["medians"].keys() >= {"p50_ms", "p99_ms", "share_of_bare"}
    assert {target["metric"] for target in document["targets"]} == {"steps_per_second", "p50_ms", "share_of_bare"}
    assert document["machine"]["postgresql"]["fsync"] == "on"


def test_an_unknown_benchmark_is_answered_with_the_known_ones() -> None:
    """A wrong ``--only`` is a usage error that lists what there is."""
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--only", "chian"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert run.returncode == 2
    assert "chian" in run.stderr
    assert "diamond" in run.stderr
