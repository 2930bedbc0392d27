"""How a running task looks: a live picture on a terminal, plain lines elsewhere."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from uuid import UUID

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from tasker_core.cli.output import STATE_ICONS, STATE_STYLES
from tasker_core.orchestration import Engine
from tasker_core.store import StoreError
from tasker_core.template import Graph, TaskTemplate

_INTERVAL_SECONDS = 0.1

#: Rows of the live picture. Of larger tasks it shows what runs, waits or failed, and counts the rest.
_MAX_ROWS = 40


@contextlib.asynccontextmanager
async def shown(engine: Engine, task_uuid: UUID, template: TaskTemplate, console: Console) -> AsyncIterator[None]:
    """Show a task's progress while the body runs, and its last state at the end."""
    view = _LiveView(template, console) if console.is_terminal else _Lines(console)

    async def follow() -> None:
        while True:
            with contextlib.suppress(StoreError):  # the database is away: show what was, until it is back
                view.show(await engine.steps(task_uuid), await engine.history(task_uuid))
            await asyncio.sleep(_INTERVAL_SECONDS)

    with view:
        following = asyncio.create_task(follow())
        try:
            yield
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            with contextlib.suppress(StoreError):
                view.show(await engine.steps(task_uuid), await engine.history(task_uuid))


class _Lines:
    """One line for each state change."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._seen: set[tuple[object, ...]] = set()

    def __enter__(self) -> None:
        """Nothing to open."""

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def show(self, _steps: list[dict[str, Any]], history: list[dict[str, Any]]) -> None:
        for change in history:
            key = (change["step"], change["attempt"], change["to_state"], change["occurred_at"])
            if key not in self._seen:
                self._seen.add(key)
                self._console.print(_line(change))


def _line(change: dict[str, Any]) -> str:
    name = escape(change["step"] or "task")
    attempt = f" (attempt {change['attempt']})" if (change["attempt"] or 0) > 1 else ""
    error = f": {escape(change['error']['message'].splitlines()[0])}" if change["error"] else ""
    at = datetime.fromisoformat(change["occurred_at"]).astimezone().strftime("%H:%M:%S.%f")[:-3]
    state = change["to_state"]
    return f"[dim]{at}[/] {name}{attempt} [{STATE_STYLES.get(state, 'default')}]{state}[/]{error}"


class _LiveView:
    """The steps level by level, redrawn in place."""

    def __init__(self, template: TaskTemplate, console: Console) -> None:
        graph = Graph(template)
        self._depth = {
            template.steps[ordinal].name: depth for depth, level in enumerate(graph.levels) for ordinal in level
        }
        self._live = Live(console=console, refresh_per_second=12)
        self._started = time.monotonic()

    def __enter__(self) -> None:
        self._live.__enter__()

    def __exit__(self, *_: object) -> None:
        self._live.__exit__(None, None, None)

    def show(self, steps: list[dict[str, Any]], _history: list[dict[str, Any]]) -> None:
        done = sum(step["state"] in ("complete", "resolved_manually") for step in steps)
        shown = steps
        if len(steps) > _MAX_ROWS:
            busy = [step for step in steps if step["state"] not in ("complete", "pending")]
            shown = busy[:_MAX_ROWS]
        rows = [self._row(step) for step in sorted(shown, key=lambda step: self._depth.get(step["name"], 0))]
        hidden = f", {len(steps) - len(shown)} not shown" if len(shown) < len(steps) else ""
        summary = Text(f"{done}/{len(steps)} steps done{hidden}, {time.monotonic() - self._started:.1f} s", style="dim")
        self._live.update(Group(*rows, summary))

    def _row(self, step: dict[str, Any]) -> Text:
        state = step["state"]
        style = STATE_STYLES.get(state, "default")
        row = Text("  " * self._depth.get(step["name"], 0))
        row.append(f"{STATE_ICONS.get(state, ' ')} ", style=style)
        row.append(step["name"])
        if step["dependencies"]:
            row.append(f" ← {', '.join(step['dependencies'][:4])}", style="dim")
            if len(step["dependencies"]) > 4:
                row.append(f" and {len(step['dependencies']) - 4} more", style="dim")
        row.append(f"  {state}", style=style)
        if step["attempts"] > 1:
            row.append(f"  attempt {step['attempts']}/{step['max_attempts']}", style="yellow")
        if step["error"]:
            row.append(f"  {step['error']['message'].splitlines()[0][:80]}", style="red")
        return row
