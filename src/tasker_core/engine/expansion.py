"""Which steps a decision or an analyzer calls into being, and which can never exist any more.

The rules, for a step that does not exist when its task is created:

- A standard step needs all its dependencies. It exists once they all do, and each decision among them chose it.
- A deferred convergence exists once one of its *conditional* dependencies does: one that was itself not there from
  the start, or a decision that chose the convergence by name. It waits for those that exist and for those that
  still may; it does not wait for those that can never exist.
- A batch worker is a mould; it counts as existing once its batchable step has said how many there are, zero included.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise
from typing import Any

from tasker_core import serialization
from tasker_core.engine.planner import Plan
from tasker_core.step_source import LeaseKey
from tasker_core.template import FailureStrategy, StepType, batch_worker_for
from tasker_core.template.findings import did_you_mean

#: Most steps that one decision may name.
MAX_STEPS_PER_DECISION = 100

#: Error types of decision and batchable steps whose outcome cannot be carried out.
INVALID_DECISION = "invalid_decision_outcome"
INVALID_BATCH = "invalid_batch_outcome"


class Verdict(Enum):
    """Whether a template step exists in a task, still may, or never can."""

    EXISTS = "exists"
    OPEN = "open"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Structure:
    """Which steps a task has.

    Attributes:
        existing: ordinals of the template steps that exist.
        chosen: for each decision that was made, the ordinals it named.
        moulds: ordinals of the batch worker moulds that were used.
        revision: counts the changes of all this.
    """

    existing: frozenset[int]
    chosen: Mapping[int, frozenset[int]] = field(default_factory=dict)
    moulds: frozenset[int] = frozenset()
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """The batch workers to make from a mould: their names, and their inputs as JSON data."""

    mould: int
    failure_strategy: FailureStrategy
    parallelism: int
    workers: tuple[tuple[str, dict[str, Any]], ...]


@dataclass(frozen=True, slots=True)
class Expansion:
    """What becomes of a task's structure when a step completes.

    Attributes:
        revision: of the structure that this was worked out for.
        create: ordinals of the template steps to create.
        dead: ordinals of all template steps that can never exist.
        newly_dead: those of them that could until now.
        batch: the batch workers to create.
    """

    revision: int
    create: tuple[int, ...]
    dead: tuple[int, ...]
    newly_dead: tuple[int, ...]
    batch: Batch | None = None


class InvalidOutcomeError(ValueError):
    """A decision or batchable step asks for something that cannot be done; the message says what."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type


def verdicts(plan: Plan, structure: Structure) -> dict[int, Verdict]:
    """Return for every template step whether it exists, still may, or never can."""
    found: dict[int, Verdict] = {}
    for ordinal in plan.order:
        if ordinal in structure.existing or ordinal in structure.moulds:
            found[ordinal] = Verdict.EXISTS
        else:
            found[ordinal] = _verdict_of_absent(plan, structure, ordinal, found)
    return found


def _verdict_of_absent(plan: Plan, structure: Structure, ordinal: int, found: Mapping[int, Verdict]) -> Verdict:
    step = plan.steps[ordinal]
    kind = step.step.type
    if kind is StepType.DEFERRED_CONVERGENCE:
        edges = {_edge(plan, structure, before, ordinal, found) for before in _conditional(plan, ordinal)}
        if Verdict.EXISTS in edges:
            return Verdict.EXISTS
        return Verdict.OPEN if Verdict.OPEN in edges else Verdict.DEAD
    edges = {_edge(plan, structure, before, ordinal, found) for before in step.dependencies}
    if Verdict.DEAD in edges:
        return Verdict.DEAD
    if kind is StepType.BATCH_WORKER:
        # Its batchable step may exist long before it says how many workers there are, and of which mould.
        other_used = any(plan.steps[mould].dependencies == step.dependencies for mould in structure.moulds)
        return Verdict.DEAD if other_used else Verdict.OPEN
    return Verdict.OPEN if Verdict.OPEN in edges else Verdict.EXISTS


def _edge(plan: Plan, structure: Structure, before: int, after: int, found: Mapping[int, Verdict]) -> Verdict:
    """Return whether ``before`` leads to ``after``: exists and, if it is a decision, chose it."""
    if found[before] is not Verdict.EXISTS or plan.steps[before].step.type is not StepType.DECISION:
        return found[before]
    if before not in structure.chosen:
        return Verdict.OPEN
    return Verdict.EXISTS if after in structure.chosen[before] else Verdict.DEAD


def _conditional(plan: Plan, ordinal: int) -> list[int]:
    return [
        before
        for before in plan.steps[ordinal].dependencies
        if not plan.steps[before].initial or plan.steps[before].step.type is StepType.DECISION
    ]


def dead_steps(plan: Plan, structure: Structure) -> tuple[int, ...]:
    """Return the ordinals of the template steps that can never exist."""
    return tuple(ordinal for ordinal, verdict in verdicts(plan, structure).items() if verdict is Verdict.DEAD)


def expand(plan: Plan, structure: Structure, ordinal: int, result: object) -> Expansion:
    """Return what the result of a decision or batchable step means for its task.

    Args:
        plan: the task's plan.
        structure: which steps the task has, the step in question not yet complete.
        ordinal: the step.
        result: what its handler returned; None if it was resolved by hand, which chooses nothing.

    Raises:
        InvalidOutcomeError: the result holds no outcome, or one that cannot be carried out.
    """
    if plan.steps[ordinal].step.type is StepType.DECISION:
        return _expand_decision(plan, structure, ordinal, result)
    return _expand_batchable(plan, structure, ordinal, result)


def named_steps(plan: Plan, result: object) -> frozenset[int]:
    """Return the ordinals that a recorded decision named; none for a decision that was resolved by hand."""
    outcome = result.get("decision_point_outcome") if isinstance(result, dict) else None
    names = outcome.get("step_names") if isinstance(outcome, dict) else None
    return frozenset(plan.ordinals[name] for name in names or () if name in plan.ordinals)


# -- decisions


def _expand_decision(plan: Plan, structure: Structure, ordinal: int, result: object) -> Expansion:
    names = [] if result is None else _chosen_names(plan, ordinal, result)
    after = Structure(
        existing=structure.existing,
        chosen={**structure.chosen, ordinal: frozenset(plan.ordinals[name] for name in names)},
        moulds=structure.moulds,
        revision=structure.revision,
    )
    expansion = _difference(plan, structure, after)
    for name in names:
        if plan.ordinals[name] in expansion.dead:
            raise _invalid_decision(plan, ordinal, _why_dead(plan, after, plan.ordinals[name]))
    return expansion


def _chosen_names(plan: Plan, ordinal: int, result: object) -> list[str]:
    """Return the step names of a decision's outcome, each of them checked."""

    def invalid(message: str) -> InvalidOutcomeError:
        return _invalid_decision(plan, ordinal, message)

    outcome = result.get("decision_point_outcome") if isinstance(result, dict) else None
    if not isinstance(outcome, dict):
        raise invalid(
            "its result has no decision_point_outcome; return decision_success([...]) or skip_branches(reason)"
        )
    if outcome.get("type") == "no_branches":
        return []
    if outcome.get("type") != "create_steps":
        raise invalid(f"its outcome is of type {outcome.get('type')!r}, not 'create_steps' or 'no_branches'")
    names = outcome.get("step_names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise invalid("step_names must be a list of step names")
    if len(names) > MAX_STEPS_PER_DECISION:
        raise invalid(f"it names {len(names)} steps, more than {MAX_STEPS_PER_DECISION}")
    for position, name in enumerate(names):
        _check_name(plan, ordinal, name, duplicate=name in names[:position])
    return names


def _check_name(plan: Plan, ordinal: int, name: str, *, duplicate: bool) -> None:
    def invalid(message: str) -> InvalidOutcomeError:
        return _invalid_decision(plan, ordinal, message)

    chosen = plan.ordinals.get(name)
    if chosen is None:
        hint = did_you_mean(name, list(plan.ordinals))
        raise invalid(f"step '{name}' is not in the template" + (f"; {hint}" if hint else ""))
    if duplicate:
        raise invalid(f"step '{name}' is named twice")
    if chosen == ordinal:
        raise invalid("it names itself")
    if chosen in plan.steps[ordinal].ancestors:
        raise invalid(f"step '{name}' comes before it, so creating it would form a cycle")
    if ordinal not in plan.steps[chosen].ancestors:
        raise invalid(f"step '{name}' does not depend on it, directly or through others")
    if plan.steps[chosen].step.type is StepType.BATCH_WORKER:
        raise invalid(f"step '{name}' is a batch_worker; its batchable step creates the workers")


def _why_dead(plan: Plan, structure: Structure, ordinal: int) -> str:
    """Return why a step that was named cannot exist: the nearest thing that was not chosen."""
    found = verdicts(plan, structure)
    name = plan.steps[ordinal].step.name
    for before in plan.steps[ordinal].dependencies:
        other = plan.steps[before].step
        if found[before] is Verdict.DEAD:
            return f"step '{name}' cannot run: it also depends on '{other.name}', which was not chosen"
        if _edge(plan, structure, before, ordinal, found) is Verdict.DEAD:
            return f"step '{name}' cannot run: decision '{other.name}', which it also depends on, did not choose it"
    raise AssertionError("a step is dead because of a dependency")


def _invalid_decision(plan: Plan, ordinal: int, message: str) -> InvalidOutcomeError:
    name = plan.steps[ordinal].step.name
    return InvalidOutcomeError(INVALID_DECISION, f"decision step '{name}' cannot be carried out: {message}")


# -- batches


def _expand_batchable(plan: Plan, structure: Structure, ordinal: int, result: object) -> Expansion:
    batch = _batch(plan, ordinal, {"type": "no_batches"} if result is None else _batch_outcome(plan, ordinal, result))
    for name, _ in batch.workers:
        if name in plan.ordinals:
            raise _invalid_batch(plan, ordinal, f"batch worker '{name}' would have the name of a step of the template")
    after = Structure(
        existing=structure.existing,
        chosen=structure.chosen,
        moulds=structure.moulds | {batch.mould},
        revision=structure.revision,
    )
    expansion = _difference(plan, structure, after)
    return Expansion(expansion.revision, expansion.create, expansion.dead, expansion.newly_dead, batch)


def _batch_outcome(plan: Plan, ordinal: int, result: object) -> dict[str, Any]:
    outcome = result.get("batch_processing_outcome") if isinstance(result, dict) else None
    if not isinstance(outcome, dict):
        raise _invalid_batch(
            plan,
            ordinal,
            "its result has no batch_processing_outcome; return batch_analyzer_success(...) or no_batches_outcome(...)",
        )
    if outcome.get("type") not in ("no_batches", "create_batches"):
        raise _invalid_batch(
            plan, ordinal, f"its outcome is of type {outcome.get('type')!r}, not 'create_batches' or 'no_batches'"
        )
    return outcome


def _batch(plan: Plan, ordinal: int, outcome: Mapping[str, Any]) -> Batch:
    """Return the batch that an outcome asks for, every part of it checked."""
    batchable = plan.steps[ordinal].step
    mould = batch_worker_for(plan.template, batchable, named=outcome.get("worker_template_name"))
    if mould is None:
        raise _invalid_batch(plan, ordinal, "no batch_worker step of the template belongs to it")
    if batchable.name not in mould.dependencies:
        raise _invalid_batch(plan, ordinal, f"batch_worker '{mould.name}' does not depend on it")
    config = mould.batch_config
    assert config is not None  # a loaded template has one on each batch_worker
    workers: list[tuple[str, dict[str, Any]]] = []
    if outcome["type"] == "create_batches":
        cursors = _cursors(plan, ordinal, outcome)
        metadata = {"cursor_field": config.cursor_field, "failure_strategy": config.failure_strategy.value}
        workers = [
            (
                f"{mould.name}_{cursor['batch_id']}",
                {
                    **mould.handler.initialization,
                    "cursor": cursor,
                    "batch_metadata": metadata,
                    "is_no_op": False,
                },
            )
            for cursor in cursors
        ]
    return Batch(plan.ordinals[mould.name], config.failure_strategy, config.parallelism, tuple(workers))


def _cursors(plan: Plan, ordinal: int, outcome: Mapping[str, Any]) -> list[dict[str, Any]]:
    def invalid(message: str) -> InvalidOutcomeError:
        return _invalid_batch(plan, ordinal, message)

    cursors = outcome.get("cursor_configs")
    if not isinstance(cursors, list) or not all(isinstance(cursor, dict) for cursor in cursors):
        raise invalid("cursor_configs must be a list of objects")
    if not cursors:
        raise invalid("cursor_configs is empty; an analyzer that finds nothing to do returns no_batches")
    count = outcome.get("worker_count", len(cursors))
    if count != len(cursors):
        raise invalid(f"worker_count is {count} but there are {len(cursors)} cursor_configs")
    seen: set[str] = set()
    for cursor in cursors:
        batch_id = cursor.get("batch_id")
        if not isinstance(batch_id, str) or not batch_id:
            raise invalid("each of cursor_configs needs a batch_id, a text")
        if batch_id in seen:
            raise invalid(f"batch_id '{batch_id}' is used twice")
        seen.add(batch_id)
        if "start_cursor" not in cursor or "end_cursor" not in cursor:
            raise invalid(f"batch '{batch_id}' needs start_cursor and end_cursor")
    problem = _overlap(cursors)
    if problem is not None:
        raise invalid(problem)
    return cursors


def _overlap(cursors: list[dict[str, Any]]) -> str | None:
    """Return what is wrong with cursors that are all integer ranges; other cursors cannot be compared."""
    bounds = [(cursor["start_cursor"], cursor["end_cursor"], cursor["batch_id"]) for cursor in cursors]
    if not all(type(start) is int and type(end) is int for start, end, _ in bounds):
        return None
    for start, end, batch_id in bounds:
        if start > end:
            return f"batch '{batch_id}' ends at {end}, before it starts at {start}"
    bounds.sort()
    for (_, end, first), (start, _, second) in pairwise(bounds):
        if start < end:
            return f"batches '{first}' and '{second}' overlap: {start} comes before {end}"
    return None


def _invalid_batch(plan: Plan, ordinal: int, message: str) -> InvalidOutcomeError:
    name = plan.steps[ordinal].step.name
    return InvalidOutcomeError(INVALID_BATCH, f"batchable step '{name}' cannot be carried out: {message}")


# -- both


def _difference(plan: Plan, before: Structure, after: Structure) -> Expansion:
    old, new = verdicts(plan, before), verdicts(plan, after)
    create = tuple(
        ordinal
        for ordinal, verdict in new.items()
        if verdict is Verdict.EXISTS
        and ordinal not in after.existing
        and plan.steps[ordinal].step.type is not StepType.BATCH_WORKER
    )
    dead = tuple(ordinal for ordinal, verdict in new.items() if verdict is Verdict.DEAD)
    newly_dead = tuple(ordinal for ordinal in dead if old[ordinal] is not Verdict.DEAD)
    return Expansion(after.revision, create, dead, newly_dead)


def as_json(lease: LeaseKey, expansion: Expansion) -> dict[str, Any]:
    """Return an expansion as ``expand_tasks`` in the database takes it."""
    batch = expansion.batch
    task_uuid, ordinal, lease_id = lease
    return {
        "task_uuid": task_uuid,
        "ordinal": ordinal,
        "lease_id": lease_id,
        "revision": expansion.revision,
        "create": expansion.create,
        "dead": expansion.dead,
        "newly_dead": expansion.newly_dead,
        "batch": batch
        and {
            "mould": batch.mould,
            "failure_strategy": batch.failure_strategy.value,
            "parallelism": batch.parallelism,
            "workers": [{"name": name, "inputs": inputs} for name, inputs in batch.workers],
        },
    }


def decided(plan: Plan, results: str | None) -> dict[int, frozenset[int]]:
    """Return what recorded decisions chose, from a JSON object of their results by ordinal."""
    recorded = serialization.loads(results) if results else {}
    return {int(ordinal): named_steps(plan, result) for ordinal, result in recorded.items()}
