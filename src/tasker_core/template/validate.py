"""The rules a template must keep, whichever way it came to be.

Each rule is a small generator over a template; `RULES` lists them in the order their findings are reported
for one and the same line. A rule must cope with templates that break the other rules.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from tasker_core.template import keys
from tasker_core.template.findings import Finding, Severity, did_you_mean
from tasker_core.template.graph import find_cycle
from tasker_core.template.model import (
    ALL_STEPS,
    JsonSchema,
    PublishedEvent,
    StepTemplate,
    StepType,
    TaskTemplate,
)
from tasker_core.template.schema import schema_problems

Rule: TypeAlias = Callable[[TaskTemplate], Iterator[Finding]]

#: Codes of the findings that say the steps run in a circle.
CYCLE_CODES = frozenset({"CYCLE_DETECTED", "SELF_DEPENDENCY"})

_NAMESPACE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VERSION = re.compile(r"\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?", re.ASCII)
_EVENT_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+")
_PUBLISHER = re.compile(r"[A-Za-z_]\w*((::|\.)[A-Za-z_]\w*)*", re.ASCII)

# Comparing a name with every other is slow; the first few hints show what went wrong.
_MOST_STEP_SUGGESTIONS = 10


def validate(template: TaskTemplate) -> list[Finding]:
    """Return everything the rules find, without file and line."""
    return [finding for rule in RULES for finding in rule(template)]


def batch_worker_for(template: TaskTemplate, batchable: StepTemplate, *, named: object = None) -> StepTemplate | None:
    """Return the ``batch_worker`` step that a batchable step's batches are copied from.

    It is named, in this order, by ``named`` (what the step's outcome says, if that is a batch worker), by the
    step's ``handler.initialization.worker_template_name``, by its ``batch_config.worker_template``, or by that of
    the batch worker that depends on it; a batch worker that names no template means itself. None if that leads to
    no batch worker.
    """
    workers = {step.name: step for step in template.steps if step.type is StepType.BATCH_WORKER}
    if isinstance(named, str) and named in workers:
        return workers[named]
    configured = _named_worker(batchable)
    if configured is not None:
        return workers.get(configured)
    for worker in workers.values():
        if batchable.name in worker.dependencies:
            return workers.get(_named_worker(worker) or worker.name)
    return None


# Names and limits


def _limits(template: TaskTemplate) -> Iterator[Finding]:
    yield from _limits_of_level(keys.TASK, template, "", None)


def _limits_of_level(level: keys.Level, values: Any, path: str, step: str | None) -> Iterator[Finding]:
    for name, key in level.keys.items():
        value = getattr(values, name)
        if value is not None:
            yield from _limits_of_value(key.kind, value, f"{path}.{name}" if path else name, step)


def _limits_of_value(kind: keys.Kind, value: Any, path: str, step: str | None) -> Iterator[Finding]:  # noqa: C901 - one case for each kind
    match kind:
        case keys.Text(least, most):
            if len(value) < least:
                yield _error(kind.empty, f"'{path}' cannot be empty", path, step)
            elif most is not None and len(value) > most:
                yield _error(kind.too_long, f"'{path}' has {len(value)} characters, more than {most}", path, step)
        case keys.Integer(least, most):
            if not least <= value <= most:
                yield _error("OUT_OF_RANGE", f"'{path}' is {value}, outside {least} to {most}", path, step)
        case keys.ListOf():
            for position, item in enumerate(value):
                yield from _limits_of_value(kind.item, item, f"{path}[{position}]", step)
        case keys.MapOf():
            for name, item in value.items():
                yield from _limits_of_value(kind.item, item, f"{path}.{name}", step)
        case keys.Object():
            within = value.name if isinstance(value, StepTemplate) else step
            yield from _limits_of_level(kind.level, value, path, within)


def _namespace(template: TaskTemplate) -> Iterator[Finding]:
    name = template.namespace_name
    if name and not _NAMESPACE.fullmatch(name):
        yield _error(
            "INVALID_NAMESPACE",
            f"Namespace '{name}' must consist of letters, digits and '_', and not begin with a digit",
            "namespace_name",
        )


def _version(template: TaskTemplate) -> Iterator[Finding]:
    if template.version and not _VERSION.fullmatch(template.version):
        yield _error("INVALID_VERSION", "Version must be in semver format (x.y.z)", "version")


def _no_steps(template: TaskTemplate) -> Iterator[Finding]:
    if not template.steps:
        yield _error("NO_STEPS", "A template needs at least one step", "steps")


def _zero_attempts(template: TaskTemplate) -> Iterator[Finding]:
    message = "'max_attempts' of 0 behaves as 1"
    for path, step in _steps(template):
        if step.retry.max_attempts == 0:
            yield _warning("ZERO_ATTEMPTS", message, f"{path}.retry.max_attempts", step.name, hint="write 1")
    for name, environment in template.environments.items():
        for position, override in enumerate(environment.steps):
            if override.retry is not None and override.retry.max_attempts == 0:
                path = f"environments.{name}.steps[{position}].retry.max_attempts"
                yield _warning("ZERO_ATTEMPTS", message, path, override.name, hint="write 1")


# The graph


def _duplicate_names(template: TaskTemplate) -> Iterator[Finding]:
    seen: set[str] = set()
    for path, step in _steps(template):
        if step.name in seen:
            message = f"Step '{step.name}' is defined more than once"
            yield _error("DUPLICATE_STEP_NAME", message, f"{path}.name", step.name)
        seen.add(step.name)


def _dependencies(template: TaskTemplate) -> Iterator[Finding]:
    names = [step.name for step in template.steps]
    known = set(names)
    suggestions = 0
    for path, step in _steps(template):
        seen: set[str] = set()
        for position, name in enumerate(step.dependencies):
            place = f"{path}.dependencies[{position}]"
            if name == step.name:
                yield _error("SELF_DEPENDENCY", f"Step '{step.name}' depends on itself", place, step.name)
            elif name not in known:
                suggestions += 1
                hint = did_you_mean(name, names) if suggestions <= _MOST_STEP_SUGGESTIONS else None
                message = f"Step '{step.name}' depends on non-existent step '{name}'"
                yield _error("MISSING_DEP_REF", message, place, step.name, hint)
            elif name in seen:
                message = f"Step '{step.name}' lists dependency '{name}' more than once"
                yield _warning("DUPLICATE_DEPENDENCY", message, place, step.name)
            seen.add(name)


def _cycles(template: TaskTemplate) -> Iterator[Finding]:
    cycle = find_cycle(
        {step.name: [name for name in step.dependencies if name != step.name] for step in template.steps}
    )
    if cycle is not None:
        position = next(i for i, step in enumerate(template.steps) if step.name == cycle[0])
        message = f"The steps form a cycle: {' -> '.join(cycle)}"
        yield _error("CYCLE_DETECTED", message, f"steps[{position}].dependencies", cycle[0])


def _orphans(template: TaskTemplate) -> Iterator[Finding]:
    depended_on = _dependents(template)
    if len(template.steps) < 2:
        return
    for path, step in _steps(template):
        if not step.dependencies and not depended_on[step.name]:
            message = f"Step '{step.name}' has no dependencies and nothing depends on it"
            yield _warning("ORPHAN_STEP", message, path, step.name)


# Step types


def _decisions(template: TaskTemplate) -> Iterator[Finding]:
    types = _types(template)
    depended_on = _dependents(template)
    for path, step in _steps(template):
        if step.type is not StepType.DECISION:
            continue
        if not step.dependencies:
            message = f"Decision step '{step.name}' must have at least one dependency"
            yield _error("DECISION_WITHOUT_DEPENDENCIES", message, path, step.name)
        if not depended_on[step.name]:
            message = f"Decision step '{step.name}' has nothing to decide: no step depends on it"
            yield _error("DECISION_WITHOUT_DEPENDENTS", message, path, step.name)
        for position, name in enumerate(step.dependencies):
            if types.get(name) is StepType.DECISION and name != step.name:
                message = f"Decision step '{step.name}' depends directly on decision step '{name}'"
                yield _warning("DECISION_UNDER_DECISION", message, f"{path}.dependencies[{position}]", step.name)


def _convergences(template: TaskTemplate) -> Iterator[Finding]:
    for path, step in _steps(template):
        if step.type is StepType.DEFERRED_CONVERGENCE and not step.dependencies:
            message = f"Deferred convergence step '{step.name}' must have at least one dependency"
            yield _error("CONVERGENCE_WITHOUT_DEPENDENCIES", message, path, step.name)


def _batch_workers(template: TaskTemplate) -> Iterator[Finding]:
    types = _types(template)
    for path, step in _steps(template):
        if step.type is not StepType.BATCH_WORKER:
            continue
        if step.batch_config is None:
            message = f"Batch worker step '{step.name}' has no batch_config"
            yield _error("BATCH_WORKER_WITHOUT_CONFIG", message, path, step.name, "batch_config: {} takes defaults")
        if all(types.get(name) is not StepType.BATCHABLE for name in step.dependencies):
            message = f"Batch worker step '{step.name}' must depend on a batchable step"
            yield _error("BATCH_WORKER_WITHOUT_BATCHABLE", message, path, step.name)
        elif len(set(step.dependencies)) > 1:
            message = f"Batch worker step '{step.name}' depends on more than its batchable step"
            hint = "let the batchable step depend on the others; its batch workers come after it"
            yield _error("BATCH_WORKER_DEPENDENCIES", message, f"{path}.dependencies", step.name, hint)


def _batchables(template: TaskTemplate) -> Iterator[Finding]:
    served = {name for step in template.steps if step.type is StepType.BATCH_WORKER for name in step.dependencies}
    for path, step in _steps(template):
        if step.type is StepType.BATCHABLE and step.name not in served:
            message = f"No batch_worker step depends on batchable step '{step.name}'"
            yield _error("BATCHABLE_WITHOUT_WORKER", message, path, step.name)


def _worker_templates(template: TaskTemplate) -> Iterator[Finding]:
    types = _types(template)
    workers = [name for name, kind in types.items() if kind is StepType.BATCH_WORKER]
    for path, step in _steps(template):
        places = {
            f"{path}.handler.initialization.worker_template_name": (
                step.handler.initialization.get("worker_template_name") if step.type is StepType.BATCHABLE else None
            ),
            f"{path}.batch_config.worker_template": step.batch_config and step.batch_config.worker_template,
        }
        for place, name in places.items():
            if name is not None and name not in workers:
                message = f"Worker template '{name}' of step '{step.name}' is not a batch_worker step"
                yield _error("INVALID_WORKER_TEMPLATE", message, place, step.name, did_you_mean(str(name), workers))


def _mould_dependents(template: TaskTemplate) -> Iterator[Finding]:
    types = _types(template)
    for path, step in _steps(template):
        if step.type is StepType.DEFERRED_CONVERGENCE:
            continue
        for position, name in enumerate(step.dependencies):
            if types.get(name) is StepType.BATCH_WORKER and name != step.name:
                message = f"Step '{step.name}' depends on '{name}', a batch_worker, which itself never runs"
                place = f"{path}.dependencies[{position}]"
                yield _error(
                    "DEPENDS_ON_BATCH_WORKER",
                    message,
                    place,
                    step.name,
                    "only a deferred_convergence can gather batches",
                )


# Events, overrides and schemas


def _published_events(template: TaskTemplate) -> Iterator[Finding]:
    for path, step in _steps(template):
        names = [event.name for event in step.publishes_events]
        yield from _event_names(names, f"{path}.publishes_events", step.name)
        for position, event in enumerate(step.publishes_events):
            yield from _publisher(event, f"{path}.publishes_events[{position}]", step.name)


def _publisher(event: PublishedEvent, path: str, step: str) -> Iterator[Finding]:
    if event.publisher is not None and not _PUBLISHER.fullmatch(event.publisher):
        message = f"Publisher '{event.publisher}' of event '{event.name}' is not a class path"
        yield _error("INVALID_PUBLISHER", message, f"{path}.publisher", step, "such as app.events.Publisher")


def _catalogue(template: TaskTemplate) -> Iterator[Finding]:
    yield from _event_names([event.name for event in template.domain_events], "domain_events", None)


def _event_names(names: list[str], path: str, step: str | None) -> Iterator[Finding]:
    counts: Counter[str] = Counter()
    for position, name in enumerate(names):
        place = f"{path}[{position}].name"
        counts[name] += 1
        if not _EVENT_NAME.fullmatch(name):
            message = f"Event name '{name}' must be lower-case words joined by dots, at least two"
            yield _error("INVALID_EVENT_NAME", message, place, step, "such as order.created")
        elif counts[name] == 2:
            message = f"Event '{name}' is declared more than once; the last one counts"
            yield _warning("DUPLICATE_EVENT", message, place, step)


def _overrides(template: TaskTemplate) -> Iterator[Finding]:
    names = [step.name for step in template.steps]
    known = {ALL_STEPS, *names}
    unknown = (
        (f"environments.{environment}.steps[{position}].name", override.name)
        for environment, overrides in template.environments.items()
        for position, override in enumerate(overrides.steps)
        if override.name not in known
    )
    for count, (path, name) in enumerate(unknown):
        hint = did_you_mean(name, [ALL_STEPS, *names]) if count < _MOST_STEP_SUGGESTIONS else None
        yield _warning("UNKNOWN_OVERRIDE_STEP", f"The override names no step: '{name}'", path, hint=hint)


def _schemas(template: TaskTemplate) -> Iterator[Finding]:
    yield from _schema(template.input_schema, "input_schema", None)
    for position, entry in enumerate(template.domain_events):
        yield from _schema(entry.schema, f"domain_events[{position}].schema", None)
    for path, step in _steps(template):
        yield from _schema(step.result_schema, f"{path}.result_schema", step.name)
        for position, event in enumerate(step.publishes_events):
            yield from _schema(event.schema, f"{path}.publishes_events[{position}].schema", step.name)


def _schema(schema: JsonSchema | None, path: str, step: str | None) -> Iterator[Finding]:
    for problem in () if schema is None else schema_problems(schema):
        inner = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem.path)
        yield _error("INVALID_SCHEMA", f"'{path}' is not a usable JSON Schema: {problem.message}", path + inner, step)


def _result_schemas(template: TaskTemplate) -> Iterator[Finding]:
    for path, step in _steps(template):
        schema = step.result_schema
        place = f"{path}.result_schema"
        if schema is None:
            message = f"Step '{step.name}' does not say what its result looks like"
            yield Finding("NO_RESULT_SCHEMA", Severity.INFO, message, key=place, step=step.name)
        elif not isinstance(schema, dict) or schema.get("type") != "object":
            message = f"The result_schema of step '{step.name}' should have 'type: object'"
            yield _warning("SCHEMA_NOT_OBJECT", message, place, step.name)


RULES: tuple[Rule, ...] = (
    _limits,
    _namespace,
    _version,
    _no_steps,
    _zero_attempts,
    _duplicate_names,
    _dependencies,
    _cycles,
    _decisions,
    _convergences,
    _batch_workers,
    _batchables,
    _worker_templates,
    _mould_dependents,
    _published_events,
    _catalogue,
    _overrides,
    _schemas,
    _orphans,
    _result_schemas,
)


def _steps(template: TaskTemplate) -> Iterator[tuple[str, StepTemplate]]:
    return ((f"steps[{position}]", step) for position, step in enumerate(template.steps))


def _types(template: TaskTemplate) -> dict[str, StepType]:
    return {step.name: step.type for step in template.steps}


def _dependents(template: TaskTemplate) -> Counter[str]:
    """Count, by step name, the other steps that depend on it."""
    return Counter(name for step in template.steps for name in dict.fromkeys(step.dependencies) if name != step.name)


def _named_worker(step: StepTemplate) -> str | None:
    if step.type is StepType.BATCHABLE:
        named = step.handler.initialization.get("worker_template_name")
        if isinstance(named, str):
            return named
    return step.batch_config.worker_template if step.batch_config is not None else None


def _error(code: str, message: str, key: str, step: str | None = None, hint: str | None = None) -> Finding:
    return Finding(code, Severity.ERROR, message, key=key, step=step, hint=hint)


def _warning(code: str, message: str, key: str, step: str | None = None, hint: str | None = None) -> Finding:
    return Finding(code, Severity.WARNING, message, key=key, step=step, hint=hint)
