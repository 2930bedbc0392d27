"""The task in four languages, run by the command that the README names."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SDK_LANGUAGES

ROOT = Path(__file__).parents[2]
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.mark.skipif(len(SDK_LANGUAGES) < 3, reason="TASKER_SKIP_SDKS leaves a language out on purpose")
@pytest.mark.timeout(400)
def test_each_step_runs_in_the_language_of_its_team(tasker, database_url):
    run = subprocess.run(
        [sys.executable, "-m", "examples.polyglot"],
        cwd=ROOT, env=os.environ | {"DATABASE_URL": database_url}, capture_output=True, text=True, timeout=380,
        check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr

    task = UUID.findall(run.stdout)[-1]
    history = json.loads(tasker("task", "history", task, "--json", DATABASE_URL=database_url).stdout)["history"]
    workers = {entry["step"]: entry["worker"] for entry in history if entry["to_state"] == "complete" and entry["step"]}
    assert workers == {
        "check_application": "python-worker",
        "price_loan": "ruby-worker",
        "assess_risk": "rust-worker",
        "write_offer": "typescript-worker",
    }
    steps = json.loads(tasker("task", "steps", task, "--json", DATABASE_URL=database_url).stdout)["steps"]
    (offer,) = [step["result"] for step in steps if step["name"] == "write_offer"]
    assert offer == {
        "offer": "Ana, your loan costs 531.85 a month for 24 months.",
        "languages": ["Python", "Ruby", "Rust", "TypeScript"],
    }
