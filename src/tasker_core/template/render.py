"""Pictures of a template: a Mermaid diagram, plain text, or JSON for other drawing tools."""

import re

import msgspec

from tasker_core.template.graph import Graph, initial_steps
from tasker_core.template.model import StepType, TaskTemplate

_SHAPES = {
    StepType.STANDARD: ("[", "]"),
    StepType.DECISION: ("{", "}"),
    StepType.DEFERRED_CONVERGENCE: ("[/", "\\]"),
    StepType.BATCHABLE: ("[/", "\\]"),
    StepType.BATCH_WORKER: ("[[", "]]"),
}

# Everything that could end a quoted label or begin markup in it.
_SPECIAL = re.compile(r"[^\w .:,/()+=-]")


def mermaid(template: TaskTemplate) -> str:
    """Return a Mermaid ``graph TD``.

    Rectangles are standard steps, diamonds decisions, trapezoids batchable and convergence steps,
    double-edged boxes batch workers. A dashed edge leads to a step that does not exist when a task is
    created.
    """
    graph = Graph(template)
    initial = frozenset(initial_steps(template))
    lines = ["graph TD"]
    for ordinal, step in enumerate(template.steps):
        opening, closing = _SHAPES[step.type]
        lines.append(f'    s{ordinal}{opening}"{_label(step.name)}"{closing}')
    for ordinal, dependencies in enumerate(graph.dependencies):
        arrow = "-->" if ordinal in initial else "-.->"
        lines.extend(f"    s{before} {arrow} s{ordinal}" for before in dependencies)
    return "\n".join(lines) + "\n"


def tree(template: TaskTemplate) -> str:
    """Return the steps as text, level by level, each with its type and what it comes after.

    Steps in one level can run at the same time. A ``*`` marks steps that do not exist when a task is created.
    """
    graph = Graph(template)
    initial = frozenset(initial_steps(template))
    lines = [f"{template.identity}: {len(template.steps)} steps, {len(initial)} at creation"]
    width = max((len(step.name) for step in template.steps), default=0)
    for number, level in enumerate(graph.levels, start=1):
        for position, ordinal in enumerate(level):
            step = template.steps[ordinal]
            after = ", ".join(template.steps[before].name for before in graph.dependencies[ordinal])
            lines.append(
                f"{number if position == 0 else '':>3} "
                f"{' ' if ordinal in initial else '*'} "
                f"{step.name:<{width}}  {step.type:<20}  {f'after {after}' if after else ''}".rstrip()
            )
    return "\n".join(lines) + "\n"


def as_json(template: TaskTemplate) -> str:
    """Return the graph as JSON text: ``identity``, ``steps`` and ``edges``.

    A step has ``name``, ``type``, ``callable``, ``level`` (from 0) and ``initial``; an edge has ``from``,
    ``to`` and ``dynamic``, which is whether it leads to a step that does not exist when a task is created.
    """
    graph = Graph(template)
    initial = frozenset(initial_steps(template))
    levels = {ordinal: number for number, level in enumerate(graph.levels) for ordinal in level}
    names = [step.name for step in template.steps]
    drawing = {
        "identity": template.identity,
        "steps": [
            {
                "name": step.name,
                "type": step.type,
                "callable": step.handler.callable,
                "level": levels[ordinal],
                "initial": ordinal in initial,
            }
            for ordinal, step in enumerate(template.steps)
        ],
        "edges": [
            {"from": names[before], "to": names[ordinal], "dynamic": ordinal not in initial}
            for ordinal, dependencies in enumerate(graph.dependencies)
            for before in dependencies
        ],
    }
    return msgspec.json.format(msgspec.json.encode(drawing), indent=2).decode()


def _label(text: str) -> str:
    return _SPECIAL.sub(lambda match: f"#{ord(match.group())};", text)
