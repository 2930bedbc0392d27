"""How a running task looks: a live picture of its graph on a terminal, plain lines elsewhere."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from tasker_core.cli.output import STATE_ICONS, STATE_STYLES, first_line
from tasker_core.cli.remote_operator import Operator
from tasker_core.client import TaskerClientError
from tasker_core.store import StoreError
from tasker_core.template import Graph, TaskTemplate

#: Tasks of more steps are shown in numbers where there is no terminal.
_LARGE_TASK = 200

#: Seconds between two lines of numbers.
_LINE_SECONDS = 1.0

_INTERVAL_SECONDS = 0.1

#: Pause after a look at the task, as a multiple of how long that took: watching must not slow down the work.
_PAUSE_FACTOR = 20

_DONE = frozenset({"complete", "resolved_manually"})
_AT_REST = _DONE | {"pending", "cancelled"}
_BAR_WIDTH = 20


@dataclass(frozen=True, slots=True)
class _Step:
    name: str
    template_step: str
    state: str
    attempts: int
    error: str = ""


class _View(Protocol):
    async def look(self) -> None:
        """Show what is now."""


@contextlib.asynccontextmanager
async def shown(operator: Operator, task_uuid: UUID, template: TaskTemplate, console: Console) -> AsyncIterator[None]:
    """Show a task's progress while the body runs, and its last state at the end."""
    async with contextlib.AsyncExitStack() as stack:
        view = stack.enter_context(_view(operator, task_uuid, template, console))
        following = asyncio.create_task(_follow(view))
        try:
            yield
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await _look(view)


async def _follow(view: _View) -> None:
    while True:
        started = time.monotonic()
        await _look(view)
        await asyncio.sleep(max(_INTERVAL_SECONDS, _PAUSE_FACTOR * (time.monotonic() - started)))


async def _look(view: _View) -> None:
    with contextlib.suppress(
        StoreError, TaskerClientError
    ):  # the engine is away: what was stays shown until it is back
        await view.look()


@contextlib.contextmanager
def _view(operator: Operator, task_uuid: UUID, template: TaskTemplate, console: Console) -> Iterator[_View]:
    if console.is_terminal and not console.is_dumb_terminal:
        with Live(console=console, refresh_per_second=10) as live:
            yield _Picture(operator, task_uuid, template, _Drawing(template, console), live)
    else:
        yield _Lines(operator, task_uuid, template, console)


async def _states(operator: Operator, task_uuid: UUID) -> list[_Step]:
    return [_Step(**{**row, "error": row["error"] or ""}) for row in await operator.step_states(task_uuid)]


class _Lines:
    """One line for each state change; of tasks with many steps, one whenever the numbers in each state have changed."""

    def __init__(self, operator: Operator, task_uuid: UUID, template: TaskTemplate, console: Console) -> None:
        self._operator = operator
        self._task_uuid = task_uuid
        self._template = template
        self._console = console
        self._seen: set[tuple[object, ...]] = set()
        self._shown = ""
        self._due = 0.0

    async def look(self) -> None:
        steps = await _states(self._operator, self._task_uuid)
        if len(steps) <= _LARGE_TASK:
            await self._show_changes()
        else:
            self._show_numbers(steps)

    async def _show_changes(self) -> None:
        for change in await self._operator.history(self._task_uuid):
            key = (change["step"], change["attempt"], change["to_state"], change["occurred_at"])
            if key not in self._seen:
                self._seen.add(key)
                self._console.print(change_line(change), soft_wrap=True)

    def _show_numbers(self, steps: Sequence[_Step]) -> None:
        numbers = _numbers(steps)
        over = all(step.state in _AT_REST for step in steps)
        if numbers != self._shown and (over or time.monotonic() >= self._due):
            self._shown, self._due = numbers, time.monotonic() + _LINE_SECONDS
            self._console.print(f"[dim]{datetime.now().astimezone():%H:%M:%S}[/] {numbers}", soft_wrap=True)


def change_line(change: dict[str, Any]) -> str:
    """Return a change of a task or step as a line with colours."""
    name = escape(change["step"] or "task")
    attempt = f" (attempt {change['attempt']})" if (change["attempt"] or 0) > 1 else ""
    error = f": {escape(first_line(change['error']['message']))}" if change["error"] else ""
    at = datetime.fromisoformat(change["occurred_at"]).astimezone().strftime("%H:%M:%S.%f")[:-3]
    state = change["to_state"]
    by_hand = escape(f" ({change['verb']} by {change['actor']})") if change["verb"] else ""
    return f"[dim]{at}[/] {name}{attempt} [{STATE_STYLES.get(state, 'default')}]{state}[/]{by_hand}{error}"


class _Picture:
    """The graph, redrawn in place."""

    def __init__(
        self, operator: Operator, task_uuid: UUID, template: TaskTemplate, drawing: "_Drawing", live: Live
    ) -> None:
        self._operator = operator
        self._task_uuid = task_uuid
        self._template = template
        self._drawing = drawing
        self._live = live

    async def look(self) -> None:
        steps = await _states(self._operator, self._task_uuid)
        self._live.update(self._drawing.draw(steps, time.monotonic()))


class _Drawing:
    """Draws the steps level by level; a step is one level below the last of those it waits for.

    What does not fit is drawn as a bar for each level, with the steps that run, wait or failed below.
    """

    def __init__(self, template: TaskTemplate, console: Console) -> None:
        graph = Graph(template)
        self._console = console
        self._level = {template.steps[n].name: depth for depth, level in enumerate(graph.levels, 1) for n in level}
        self._after = {step.name: step.dependencies for step in template.steps}
        self._most_attempts = {step.name: step.retry.max_attempts for step in template.steps}
        self._started = time.monotonic()
        self._running_since: dict[tuple[str, int], float] = {}
        self._took: dict[tuple[str, int], float] = {}

    def draw(self, steps: Sequence[_Step], now: float) -> Group:
        for step in steps:
            self._time(step, now)
        room = max(3, self._console.height - 2)
        ordered = sorted(steps, key=lambda step: self._level.get(step.template_step, 0))
        rows = list(self._steps(ordered)) if len(steps) <= room else list(self._overview(ordered, room))
        return Group(*rows, Text(f"{_numbers(steps)}, {now - self._started:.1f} s", style="dim", no_wrap=True))

    def _time(self, step: _Step, now: float) -> None:
        attempt = (step.name, step.attempts)
        if step.state == "in_progress":
            self._took[attempt] = now - self._running_since.setdefault(attempt, now)
        elif attempt in self._running_since:
            self._took[attempt] = now - self._running_since.pop(attempt)

    def _steps(self, steps: Sequence[_Step]) -> Iterator[Text]:
        width = max((len(step.name) for step in steps), default=0)
        level = 0
        for step in steps:
            new = self._level.get(step.template_step, 0) != level
            level = self._level.get(step.template_step, 0)
            yield self._row(step, f"{level:>3} " if new else "    ", min(width, self._console.width // 3))

    def _row(self, step: _Step, margin: str, width: int) -> Text:
        style = STATE_STYLES.get(step.state, "default")
        row = Text(no_wrap=True, overflow="ellipsis")
        row.append(margin, style="dim")
        row.append(f"{STATE_ICONS.get(step.state, ' ')} ", style=style)
        row.append(f"{step.name:<{width}}  ")
        row.append(step.state, style=style)
        if step.attempts > 1:
            row.append(f" {step.attempts}/{self._most_attempts.get(step.template_step, '?')}", style="yellow")
        if (took := self._took.get((step.name, step.attempts))) is not None:
            row.append(f" {took:.1f} s", style="dim")
        after = self._after.get(step.template_step, ())
        if after:
            more = f" and {len(after) - 3} more" if len(after) > 3 else ""
            row.append(f" ← {', '.join(after[:3])}{more}", style="dim")
        if step.error and step.state not in _DONE:
            row.append(f"  {first_line(step.error)}", style="red")
        return row

    def _overview(self, steps: Sequence[_Step], room: int) -> Iterator[Text]:
        levels: dict[int, list[_Step]] = {}
        for step in steps:
            levels.setdefault(self._level.get(step.template_step, 0), []).append(step)
        # Of many levels, those that are under way.
        lines = list(levels.items())
        if len(lines) > room // 2:
            under_way = [(n, among) for n, among in lines if any(step.state not in _AT_REST for step in among)]
            lines = (under_way or lines)[: room // 2]
        for level, among in lines:
            yield _bar(level, among)
        busy = [step for step in steps if step.state not in _AT_REST | {"enqueued"}]
        busy.sort(key=lambda step: step.state == "in_progress")  # trouble first
        yield from self._steps(busy[: room - len(lines)])


def _bar(level: int, steps: Sequence[_Step]) -> Text:
    done = sum(step.state in _DONE for step in steps)
    filled = _BAR_WIDTH * done // len(steps)
    row = Text(f"{level:>3} ", style="dim", no_wrap=True, overflow="ellipsis")
    row.append("█" * filled, style="green").append("░" * (_BAR_WIDTH - filled), style="dim")
    return row.append(f" {_numbers(steps)}", style="default")


def _numbers(steps: Sequence[_Step]) -> str:
    """Return how many steps are done and, if any, how many are in each other state but pending."""
    count = Counter("done" if step.state in _DONE else step.state for step in steps)
    done, _ = count.pop("done", 0), count.pop("pending", 0)
    others = "".join(f", {number} {state}" for state, number in sorted(count.items()))
    return f"{done}/{len(steps)} steps done{others}"
