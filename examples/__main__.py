"""Runs the examples as anybody would, one ``tasker run`` after the other: ``python -m examples [NAME...]``."""

import asyncio
import contextlib
import logging
import os
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from examples.checkout_api import payment_server
from rich.console import Console

from tasker_core.orchestration import TaskFilter
from tasker_core.runtime import OpenDatabase, Settings, open_database, open_engine
from tasker_core.store import StoreError
from tasker_core.template import StepType, TaskTemplate, load_file

EXAMPLES = Path(__file__).parent
REPOSITORY = EXAMPLES.parent
NAMES = ("checkout", "data_pipeline", "checkout_api", "approval", "product_import", "diamond_decision_batch")

console = Console(highlight=False, soft_wrap=True)


def main(names: Sequence[str]) -> int:
    """Run the examples of these names, or all; return how many failed."""
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        console.print(f"no example {', '.join(unknown)}; there are {', '.join(NAMES)}")
        return 2
    os.chdir(REPOSITORY)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    settings = Settings.read()
    try:
        # Held open over all runs, so that the embedded PostgreSQL starts once.
        with open_database(settings) as database:
            results = {name: _run(name) for name in names or NAMES}
            _print_summary(results, asyncio.run(_newest_tasks(settings, database, list(results))))
    except StoreError as error:
        console.print(f"✗ {error}", style="red", markup=False)
        return 1
    return sum(code != 0 for code in results.values())


def _run(name: str) -> int:
    """Run one example, showing the command; return its exit code."""
    directory = f"examples/{name}"
    command = ["run", f"{directory}/template.yaml", "--context", f"@{directory}/input.json"]
    with contextlib.ExitStack() as stack:
        variables = {}
        if name == "checkout_api":
            variables["SHOP_API_URL"] = stack.enter_context(payment_server.running()).url
        shown = [f"{key}={value}" for key, value in variables.items()] + [_command_name(), *command]
        console.print(f"\n$ {shlex.join(shown)}", style="bold cyan", markup=False)
        return subprocess.run(
            [sys.executable, "-m", "tasker_core", *command], env=os.environ | variables, check=False
        ).returncode


async def _newest_tasks(settings: Settings, database: OpenDatabase, names: list[str]) -> list[dict[str, Any]]:
    """Return the newest task of each example, with its ``steps`` and its ``template``."""
    async with open_engine(settings, database, may_migrate=True) as engine:
        tasks = []
        for name in names:
            template = load_file(EXAMPLES / name / "template.yaml")
            newest = await engine.tasks(TaskFilter(namespaces=[template.namespace_name], name=template.name), limit=1)
            tasks += [
                task | {"steps": await engine.steps(UUID(task["task_uuid"])), "template": template} for task in newest
            ]
        return tasks


def _print_summary(results: dict[str, int], tasks: list[dict[str, Any]]) -> None:
    console.print("\n[bold]What ran[/]")
    for task in tasks:
        notes = [task["status"], f"{len(task['steps'])} steps", *_notes(task["template"], task["steps"])]
        console.print(f"  {task['task_uuid']}  {task['name']}: {'; '.join(notes)}")
    if tasks:
        tasker, task_uuid = _command_name(), tasks[0]["task_uuid"]
        console.print("\n[bold]Look further[/]")
        console.print(f"  {tasker} task list")
        console.print(f"  {tasker} task steps {task_uuid}")
        console.print(f"  {tasker} task history {task_uuid}")
    failed = [f"{name} (exit code {code})" for name, code in results.items() if code != 0]
    if failed:
        console.print(f"\n[bold red]failed:[/] {', '.join(failed)}")


def _notes(template: TaskTemplate, steps: list[dict[str, Any]]) -> Iterator[str]:
    """Say what was retried and what the template alone does not tell: how many batches, and which steps never came."""
    attempts: Counter[str] = Counter()
    batches: Counter[str] = Counter()
    for step in steps:
        mould = _mould(template, step["name"])
        batches.update([mould] if mould else [])
        attempts[mould or step["name"]] = max(attempts[mould or step["name"]], step["attempts"])
    absent = [step.name for step in template.steps if step.name not in attempts]
    retried = [f"{name} ({most} attempts)" for name, most in attempts.items() if most > 1]
    yield from (f"{count} of them made from {mould}" for mould, count in batches.items())
    if absent:
        yield f"never created: {', '.join(absent)}"
    if retried:
        yield f"retried: {', '.join(retried)}"


def _mould(template: TaskTemplate, name: str) -> str | None:
    """Return the batch worker of the template that a step was made from; None for any other step."""
    moulds = (step.name for step in template.steps if step.type is StepType.BATCH_WORKER)
    return next((mould for mould in moulds if name.startswith(f"{mould}_")), None)


def _command_name() -> str:
    """Return ``tasker``, with the path to it if this environment is not the active one."""
    script = Path(sys.executable).parent / "tasker"
    on_path = any(Path(entry) == script.parent for entry in os.get_exec_path())
    if on_path or not script.is_relative_to(REPOSITORY):
        return "tasker"
    return str(script.relative_to(REPOSITORY))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
