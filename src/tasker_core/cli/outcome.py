"""How a task ended: as a document, on the screen, and as an exit code."""

from typing import Any
from uuid import UUID

from rich.markup import escape

from tasker_core import serialization
from tasker_core.cli.output import ExitCode, complain, out, styled_state
from tasker_core.cli.remote_operator import Operator
from tasker_core.states import TaskState
from tasker_core.template import TaskTemplate

#: Characters of a result, and results, that are printed; all of them are in `tasker task steps`.
_RESULT_WIDTH = 240
_MOST_RESULTS = 50


async def outcome_of(opened: Operator, task_uuid: UUID, seconds: float) -> dict[str, Any]:
    """Return a task's state and the results of its steps; ``seconds`` is how long it took."""
    task = await opened.task(task_uuid)
    return {
        "task_uuid": str(task_uuid),
        "status": task["status"],
        "steps": [
            {
                "name": step["name"],
                "template_step": step["template_step"],
                "current_state": step["current_state"],
                "attempts": step["attempts"],
                "result": step["result"],
                "error": step["error"],
            }
            for step in await opened.steps(task_uuid)
        ],
        "duration_ms": round(seconds * 1000, 1),
    }


def print_outcome(outcome: dict[str, Any], template: TaskTemplate) -> None:
    """Print errors, results and the state of a task for people."""
    for step in outcome["steps"]:
        if step["error"] and step["current_state"] not in {"complete", "resolved_manually"}:
            complain(f"{step['name']}: {step['error']['message']}")
    steps = [step for step in outcome["steps"] if step["result"] is not None]
    if len(steps) > _MOST_RESULTS:
        # What nothing else builds upon is what the task was run for.
        used = {name for step in template.steps for name in step.dependencies}
        steps = [step for step in steps if step["template_step"] not in used]
    for step in steps[:_MOST_RESULTS]:
        text = serialization.dumps(step["result"])
        short = text if len(text) <= _RESULT_WIDTH else f"{text[:_RESULT_WIDTH]}…"
        out.print(f"[bold]{escape(step['name'])}[/] {escape(short)}", soft_wrap=True)
    if len(steps) > _MOST_RESULTS:
        out.print(f"[dim]… and {len(steps) - _MOST_RESULTS} more: tasker task steps {outcome['task_uuid']}[/]")
    seconds = outcome["duration_ms"] / 1000
    out.print(f"{styled_state(outcome['status'])} {outcome['task_uuid']} in {seconds:.2f} s", soft_wrap=True)


def exit_code_of(outcome: dict[str, Any]) -> ExitCode:
    """Return 0 for a task that is complete, 6 for one that ended otherwise, 1 for one that is not over."""
    state = TaskState(outcome["status"])
    if state is TaskState.COMPLETE:
        return ExitCode.OK
    return ExitCode.TASK_FAILED if state.is_resting else ExitCode.FAILED
