"""The examples, as a newcomer meets them: ``make demo`` and the files they open next."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tasker_core.template import inspect_file, mermaid

ROOT = Path(__file__).parents[2]

#: Those that `make demo` runs; the others have servers and workers of their own.
EXAMPLES = sorted(handlers.parent for handlers in (ROOT / "examples").glob("*/handlers.py"))


def run_demo(data, *names):
    return subprocess.run(
        [sys.executable, "-m", "examples", *names],
        cwd=ROOT, env=os.environ | {"TASKER_DATA_DIR": str(data), "PYTHONUTF8": "1"},
        capture_output=True, encoding="utf-8", timeout=110, check=False,
    )  # fmt: skip


def test_the_demo_runs_every_example_and_says_how_to_look_further(tmp_path):
    demo = run_demo(tmp_path / "data")

    assert demo.returncode == 0, demo.stdout + demo.stderr
    names = ["checkout", "data_pipeline", "checkout_api", "approval", "product_import", "diamond_decision_batch"]
    assert re.findall(r"run examples/(\w+)/template.yaml", demo.stdout) == names
    assert demo.stdout.count("✓ complete") == len(names)
    assert demo.stdout.count("retried: authorize_payment (2 attempts)") == 2
    assert " approval: complete; 5 steps; never created: auto_approve\n" in demo.stdout
    assert " product_import: complete; 13 steps; 10 of them made from import_batch\n" in demo.stdout
    for command in ("task list", "task steps", "task history"):
        assert f"tasker {command}" in demo.stdout


def test_the_demo_fails_if_an_example_fails(tmp_path):
    """A database that cannot be started stands for any failure."""
    (tmp_path / "data").write_text("in the way")
    demo = run_demo(tmp_path / "data", "checkout")

    assert demo.returncode == 1
    assert "cannot be started" in demo.stdout
    assert "Traceback" not in demo.stderr


def test_the_demo_names_the_examples_there_are():
    demo = run_demo("unused", "checkin")

    assert demo.returncode == 2
    assert all(example.name in demo.stdout for example in EXAMPLES)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_has_what_its_reader_looks_for(example):
    assert {"template.yaml", "handlers.py", "input.json", "README.md"} <= {file.name for file in example.iterdir()}
    assert list(example.glob("test_*.py"))
    template, report = inspect_file(example / "template.yaml", strict=True)
    assert template is not None
    assert {finding.severity for finding in report.findings} <= {"info"}
    assert isinstance(json.loads((example / "input.json").read_text(encoding="utf-8")), dict)


def test_the_documentation_draws_the_approval_as_it_is():
    template, _ = inspect_file(ROOT / "examples" / "approval" / "template.yaml")
    assert template is not None
    assert f"```mermaid\n{mermaid(template)}```" in (ROOT / "docs" / "dynamic-workflows.md").read_text(encoding="utf-8")
