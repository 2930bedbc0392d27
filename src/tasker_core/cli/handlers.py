"""The handlers of the templates that a command is given."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tasker_core import handler_loading
from tasker_core.cli.output import fail, warn
from tasker_core.handler import HandlerRegistry
from tasker_core.registry import HandlerDefinition, ResolverNotFoundError
from tasker_core.template import StepTemplate
from tasker_core.template.discover import DiscoveredTemplate
from tasker_core.template.findings import did_you_mean

HandlersOption = Annotated[
    list[str] | None,
    typer.Option(
        "--handlers",
        metavar="MODULE_OR_PATH",
        help="Where handlers are: a module, a file or a directory; may be repeated. handlers.py, handlers/ and "
        "*_handler(s).py beside the template are found without it.",
    ),
]


@dataclass(frozen=True, slots=True)
class FoundHandlers:
    """The handlers that were found for some templates.

    Attributes:
        registry: holds them.
        callables: what can be served: no step of the templates that names one of them lacks its handler.
        missing: a line for each step without a handler.
        searched: where handlers were looked for.
    """

    registry: HandlerRegistry
    callables: tuple[str, ...]
    missing: tuple[str, ...]
    searched: tuple[str, ...]

    def explanation(self) -> str:
        """Say which steps lack a handler, and what there is instead."""
        known = ", ".join(sorted(self.registry.list_handlers())) or "none"
        return (
            "no handler for:\n" + "\n".join(self.missing) + f"\nSearched: {', '.join(self.searched) or 'nothing'}"
            f"\nFound:    {known}\nName more places with --handlers MODULE_OR_PATH."
        )


def find_handlers(templates: Sequence[DiscoveredTemplate], references: Sequence[str]) -> FoundHandlers:
    """Load the handlers that the references name and those beside the templates.

    Raises:
        HandlerLoadError: the code of one cannot be imported, or two have one name.
    """
    registry = HandlerRegistry()
    for reference in references:
        if handler_loading.load_handlers(registry, reference) == 0:
            warn(f"there are no handlers in {reference}")
    searched = list(references)
    by_directory = {entry.path.resolve().parent: entry.path for entry in templates}
    for file in by_directory.values():
        searched += map(str, handler_loading.load_handlers_beside(registry, file))
    if len(by_directory) > 1:
        _require_one_meaning(registry, templates, references)
    served, lacking, missing = set[str](), set[str](), []
    for entry in templates:
        whose = f" of {entry.template.identity}" if len(templates) > 1 else ""
        for step in entry.template.steps:
            served.add(step.handler.callable)
            problem = _problem(registry, step)
            if problem is not None:
                lacking.add(step.handler.callable)
                missing.append(f"  step {step.name}{whose}: {problem}")
    return FoundHandlers(registry, tuple(sorted(served - lacking)), tuple(missing), tuple(searched))


def _problem(registry: HandlerRegistry, step: StepTemplate) -> str | None:
    """Return which handler a step lacks, with a hint; None if it has one."""
    try:
        if registry.resolve(HandlerDefinition.from_dict(step.to_dict()["handler"])) is not None:
            return None
        hint = did_you_mean(step.handler.callable, registry.list_handlers())
    except ResolverNotFoundError as error:
        hint = str(error)
    method = f" with method {step.handler.method}" if step.handler.method else ""
    return f"{step.handler.callable}{method}" + (f" ({hint})" if hint else "")


def _require_one_meaning(
    registry: HandlerRegistry, templates: Sequence[DiscoveredTemplate], references: Sequence[str]
) -> None:
    """Refuse templates that mean different handlers by one callable, such as the `handlers.Pay` beside each of them.

    Steps are claimed by their callable, so the handler of one would run the steps of the other.
    """
    beside = dict[Path, HandlerRegistry]()
    for entry in templates:
        directory = entry.path.resolve().parent
        if directory not in beside:
            beside[directory] = HandlerRegistry()
            for reference in references:
                handler_loading.load_handlers(beside[directory], reference)
            handler_loading.load_handlers_beside(beside[directory], entry.path)
        for step in entry.template.steps:
            name = step.handler.callable
            meant = beside[directory].get_handler_class(name)
            if meant is not None and meant is not registry.get_handler_class(name):
                fail(
                    f"step {step.name} of {entry.template.identity}: {name} is another handler beside another of the "
                    "templates; give one of them another name"
                )
