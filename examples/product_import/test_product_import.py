"""The import, run by the real command on a real PostgreSQL; its processes are killed in the middle."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import groupby, pairwise
from pathlib import Path
from uuid import uuid4

import pytest
from examples.product_import import handlers

from tasker_core.types import FfiStepEvent, StepContext

HERE = Path(__file__).parent
INPUT = json.loads((HERE / "input.json").read_text(encoding="utf-8"))
SHORT_LEASES = {"TASKER_LEASE_SECONDS": "1"}


@pytest.fixture
def imports(tasker, database_url):
    """Runs the template for an input; returns the exit code and the steps by name."""

    def run(**context):
        process = tasker(
            "run", str(HERE / "template.yaml"), "-c", json.dumps(context), "--json", DATABASE_URL=database_url
        )  # fmt: skip
        return process.returncode, steps_of(process)

    return run


@pytest.fixture
def catalogue(tmp_path):
    """Writes a file of so many products; returns its path."""

    def write(count):
        handlers.write_catalogue(tmp_path / "products.csv", count)
        return tmp_path / "products.csv"

    return write


def steps_of(process):
    assert process.stdout, process.stderr
    return {step["name"]: step for step in json.loads(process.stdout)["steps"]}


def workers_of(steps):
    return {name: step for name, step in steps.items() if name.startswith("import_batch_")}


def counted(path):
    """The totals, counted over the whole file at once and by other code than the handlers'."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {
        "products": len(rows),
        "inventory_value_cents": sum(int(row["price_cents"]) * int(row["stock"]) for row in rows),
        "products_by_category": dict(Counter(row["category"] for row in rows)),
        "failed_batches": [],
    }


def totals_of(steps):
    result = dict(steps["summarize"]["result"])
    return result.pop("worker_count"), result.pop("scenario"), result


def test_ten_thousand_products_are_counted_in_ten_batches(imports, catalogue):
    code, steps = imports(**INPUT)
    workers = workers_of(steps)

    assert code == 0
    assert sorted(workers) == [f"import_batch_{number:03}" for number in range(1, 11)]
    assert {(step["current_state"], step["attempts"]) for step in steps.values()} == {("complete", 1)}
    assert len(steps) == 13
    assert totals_of(steps) == (10, "with_batches", counted(catalogue(INPUT["products"])))
    assert not Path(steps["fetch_catalogue"]["result"]["file"]).exists()


def test_the_last_batch_may_be_shorter(imports, catalogue):
    path = catalogue(2_345)
    code, steps = imports(file=str(path))

    assert code == 0
    assert [step["result"]["products"] for step in workers_of(steps).values()] == [1000, 1000, 345]
    assert totals_of(steps) == (3, "with_batches", counted(path))
    assert path.exists()


@pytest.mark.parametrize(
    "content", ["", ",".join(handlers.Product.model_fields) + "\n"], ids=["empty", "only a header"]
)
def test_an_empty_file_makes_no_batches_and_a_summary_of_zero(imports, tmp_path, content):
    path = tmp_path / "empty.csv"
    path.write_text(content, encoding="utf-8")
    code, steps = imports(file=str(path))

    assert code == 0
    assert list(steps) == ["fetch_catalogue", "divide_catalogue", "summarize"]
    assert steps["divide_catalogue"]["result"]["batch_processing_outcome"] == {"type": "no_batches"}
    assert totals_of(steps) == (0, "no_batches", counted(path))


def test_a_missing_file_is_final_and_makes_no_batches(imports):
    code, steps = imports(file="nowhere.csv")
    analyzer = steps["divide_catalogue"]

    assert code == 6
    assert (analyzer["current_state"], analyzer["attempts"]) == ("error", 1)
    assert (analyzer["error"]["error_type"], analyzer["error"]["error_code"]) == ("permanent_error", "no_catalogue")
    assert "nowhere.csv" in analyzer["error"]["message"]
    assert list(steps) == ["fetch_catalogue", "divide_catalogue"]


def test_a_batch_that_fails_for_good_is_named_and_the_others_are_counted(imports, catalogue):
    path = catalogue(3_000)
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines[:1600], "P-X,broken,toys,cheap,1", *lines[1601:]]) + "\n", encoding="utf-8")
    code, steps = imports(file=str(path))
    broken = steps["import_batch_002"]

    assert code == 0
    assert (broken["current_state"], broken["attempts"]) == ("complete", 1)
    assert broken["result"]["partial_failure"] is True
    assert broken["result"]["error"]["message"].startswith(f"product 1599 of {path}: price_cents:")
    assert steps["summarize"]["result"]["products"] == 2_000
    assert steps["summarize"]["result"]["failed_batches"] == ["import_batch_002"]


class Run:
    """A ``tasker run`` with pauses between checkpoints, in a process of its own."""

    def __init__(self, database_url, context, journal):
        self.journal = journal
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tasker_core", "run", str(HERE / "template.yaml"), "-c", json.dumps(context)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env=os.environ | SHORT_LEASES | {"DATABASE_URL": database_url, "TASKER_ENV": "slow"},
        )  # fmt: skip

    def kill_in_a_second_piece(self):
        """Kill it once a batch has read a second piece, which begins at a recorded checkpoint; return the task."""
        deadline = time.monotonic() + 60
        while not any(line["first"] % 1000 for line in self.journal.lines()):
            assert self.process.poll() is None, self.process.stderr.read()
            assert time.monotonic() < deadline, "no batch went on from a checkpoint"
            time.sleep(0.01)
        self.process.send_signal(signal.SIGKILL)
        _, progress = self.process.communicate(timeout=30)
        return progress.split("Task ")[1].split()[0]


class Journal:
    """What the handlers wrote about the ranges they read."""

    def __init__(self, path):
        self.path = path

    def lines(self):
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def by_batch(self):
        lines = sorted(self.lines(), key=lambda line: line["batch"])
        return {batch: list(of_batch) for batch, of_batch in groupby(lines, key=lambda line: line["batch"])}


def test_after_a_kill_another_process_goes_on_from_the_checkpoints(tasker, database_url, catalogue, tmp_path):
    """No row counts twice and none is lost, although the process died between two checkpoints of several batches."""
    path, journal = catalogue(10_000), Journal(tmp_path / "journal")
    killed = Run(database_url, {"file": str(path), "journal": str(journal.path)}, journal)
    task_uuid = killed.kill_in_a_second_piece()
    read_before = len(journal.lines())

    resumed = tasker(
        "run", str(HERE / "template.yaml"), "--resume", task_uuid, "--json", DATABASE_URL=database_url, **SHORT_LEASES
    )  # fmt: skip
    assert resumed.returncode == 0, resumed.stderr
    steps = steps_of(resumed)
    assert totals_of(steps) == (10, "with_batches", counted(path))

    assert {line["pid"] for line in journal.lines()[:read_before]} == {killed.process.pid}
    assert killed.process.pid not in {line["pid"] for line in journal.lines()[read_before:]}
    resumed_from = {}
    for batch, lines in journal.by_batch().items():
        assert (lines[0]["first"], lines[-1]["last"]) == (1000 * int(batch) - 1000, 1000 * int(batch))
        for before, after in pairwise(lines):
            if before["pid"] == after["pid"]:
                assert after["first"] == before["last"]
            else:
                # The piece is read again if the process died before its checkpoint was recorded.
                assert after["first"] in (before["first"], before["last"])
                resumed_from[batch] = after["first"]
    assert any(first % 1000 for first in resumed_from.values()), resumed_from
    # A batch that was waiting for a worker when the process died has lost no attempt.
    assert 2 in {steps[f"import_batch_{batch}"]["attempts"] for batch in resumed_from}


# Without an engine


def context_of(*, checkpoint=None, **fields):
    """A context such as a worker gives to a handler."""
    identity = {name: str(uuid4()) for name in ("task_uuid", "step_uuid", "correlation_id")}
    payload = {"workflow_step": {"checkpoint": checkpoint}}
    return StepContext(
        event=FfiStepEvent(event_id="test", task_sequence_step=payload, **identity),
        **identity, handler_name="test", **fields,
    )  # fmt: skip


def worker_context(path, checkpoint=None):
    return context_of(
        dependency_results={"fetch_catalogue": {"file": str(path)}},
        step_config={"rows_per_checkpoint": 250},
        step_inputs={
            "cursor": {"batch_id": "002", "start_cursor": 1000, "end_cursor": 1600, "batch_size": 600},
            "batch_metadata": {"cursor_field": "row", "failure_strategy": "continue_on_failure"},
            "is_no_op": False,
        },
        checkpoint=checkpoint,
    )  # fmt: skip


def test_a_worker_yields_after_each_piece_and_adds_to_what_it_had(catalogue):
    path, checkpoint, yielded = catalogue(2_000), None, []
    while True:
        outcome = handlers.ImportBatchHandler().call(worker_context(path, checkpoint))
        assert outcome.success
        if "checkpoint_yield" not in outcome.metadata:
            break
        checkpoint = json.loads(json.dumps(outcome.result))
        yielded.append((checkpoint["cursor"], checkpoint["items_processed"]))

    assert yielded == [(1250, 250), (1500, 500)]
    assert outcome.result["products"] == sum(outcome.result["products_by_category"].values()) == 600


def test_an_analyzer_covers_every_row_once(catalogue):
    outcome = (
        handlers.DivideCatalogueHandler()
        .call(
            context_of(
                dependency_results={"fetch_catalogue": {"file": str(catalogue(2_500))}},
                step_config={"rows_per_batch": 1000, "worker_template_name": "import_batch"},
            )
        )
        .result["batch_processing_outcome"]
    )

    assert (outcome["worker_template_name"], outcome["worker_count"]) == ("import_batch", 3)
    assert [(cursor["start_cursor"], cursor["end_cursor"]) for cursor in outcome["cursor_configs"]] == [
        (0, 1000),
        (1000, 2000),
        (2000, 2500),
    ]


def test_the_invented_products_are_the_same_every_time(catalogue):
    first, second = catalogue(100).read_bytes(), catalogue(100).read_bytes()

    assert first == second
    assert set(counted(catalogue(100))["products_by_category"]) == set(handlers.CATEGORIES)
