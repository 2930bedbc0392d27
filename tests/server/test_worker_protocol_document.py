"""docs/worker-protocol.md against a real server: what it shows is what happens."""

import asyncio
import contextlib
import json
import re
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from tests.integration.support import results, until_state

from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.states import TaskState
from tasker_core.template import HandlerReference, IdentityStrategy, StepTemplate, TaskTemplate

DOCUMENT = (Path(__file__).parents[2] / "docs" / "worker-protocol.md").read_text(encoding="utf-8")
URL_SHOWN = "http://localhost:8080"

ORDER = TaskTemplate(
    name="order",
    namespace_name="shop",
    version="1.0.0",
    identity_strategy=IdentityStrategy.ALWAYS_UNIQUE,
    steps=(
        StepTemplate(name="validate", handler=HandlerReference(callable="validate_order")),
        StepTemplate(name="charge", handler=HandlerReference(callable="charge_card"), dependencies=("validate",)),
    ),
)


def commands() -> Iterator[tuple[str, Any]]:
    """Each command with the answer that is shown below it."""
    for block in re.findall(r"```console\n(.*?)```", DOCUMENT, re.DOTALL):
        for command, answer in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
            yield command, json.loads(answer)


def compare(shown: Any, real: Any, known: dict[str, str], where: str = "$") -> None:
    """Check an answer against the one that is shown; ids may differ, if they do so everywhere alike."""
    if shown == "..." or (isinstance(shown, list) and shown == ["..."]):
        assert real is not None
    elif isinstance(shown, dict):
        assert isinstance(real, dict), where
        assert shown.keys() == real.keys(), where
        for key, value in shown.items():
            compare(value, real[key], known, f"{where}.{key}")
    elif isinstance(shown, list):
        assert len(shown) == len(real), where
        for index, value in enumerate(shown):
            compare(value, real[index], known, f"{where}[{index}]")
    elif where.endswith((".lease_id", "_uuid", "_id")) and shown is not None:
        assert known.setdefault(str(shown), str(real)) == str(real), where
    elif where.endswith("_at") and shown is not None:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", real), where
    else:
        assert shown == real, where


async def test_every_call_that_is_shown_has_the_answer_that_is_shown(engine: Engine, server_url: str) -> None:
    await engine.create_task(ORDER, TaskRequest({"order": "A-1"}))
    # Leases have numbers of their own in each database; others than those shown must not hide a mistake.
    known: dict[str, str] = {}
    seen = 0
    for command, shown in commands():
        for written, real in known.items():
            pattern = rf'"lease_id": {written}\b' if written.isdigit() else re.escape(written)
            command = re.sub(pattern, f'"lease_id": {real}' if written.isdigit() else real, command)
        arguments = shlex.split(command.replace(URL_SHOWN, server_url))
        process = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
        compare(shown, json.loads(output), known)
        seen += 1
    assert seen == DOCUMENT.count("\n$ ")
    assert {
        "register",
        "lease",
        "heartbeat",
        "report",
        "recover",
        "checkpoint",
        "results",
        "release",
        "deregister",
    } == {
        re.split(r"[/ ]", command.split("/v1/worker/")[1].replace("/", " ", 1))[0 if "/register" in command else 1]
        for command, _ in commands()
    }


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The example worker as a file."""
    (text,) = re.findall(r"<!-- file: worker\.py -->\n```python\n(.*?)```", DOCUMENT, re.DOTALL)
    path = tmp_path / "worker.py"
    path.write_text(text, encoding="utf-8")
    return path


async def test_the_example_works_and_leaves_in_good_order(engine: Engine, server_url: str, example: Path) -> None:
    worker = await asyncio.create_subprocess_exec(sys.executable, str(example), server_url)
    try:
        tasks = await engine.create_tasks(ORDER, [TaskRequest({"order": f"A-{n}"}) for n in range(20)])
        async with asyncio.timeout(60):
            assert {await engine.wait(task) for task in tasks} == {TaskState.COMPLETE}
        assert await results(engine, tasks[3]) == {
            "validate": {"order": "A-3", "total": 64.79},
            "charge": {"charged": 64.79},
        }
        bad = await engine.create_task(ORDER, TaskRequest({}))
        await until_state(engine, bad, TaskState.WAITING_FOR_RETRY)
        error = (await engine.steps(bad))[0]["error"]
        assert (error["error_type"], error["message"]) == ("handler_error", "'order'")
        worker.send_signal(signal.SIGINT)
        async with asyncio.timeout(30):
            assert await worker.wait() == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            worker.kill()
    (row,) = await engine.store.database.fetch(
        "SELECT worker_uuid, stopped_at FROM tasker.workers WHERE name = 'example'"
    )
    assert isinstance(row["worker_uuid"], UUID)
    assert row["stopped_at"] is not None
