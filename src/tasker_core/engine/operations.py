"""What operators may do to a task, and what it means for its steps."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from tasker_core.engine import expansion
from tasker_core.engine.expansion import Structure
from tasker_core.engine.planner import Plan
from tasker_core.states import StepState, TaskState

_SATISFIED = frozenset({StepState.COMPLETE, StepState.RESOLVED_MANUALLY})
_HAS_RUN = _SATISFIED | {StepState.ERROR, StepState.CANCELLED}


class IllegalMoveError(ValueError):
    """A verb does not fit the state that it found; the message names that state."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step as an operator finds it. A batch worker's ordinal differs from that of its mould in the template."""

    ordinal: int
    template_ordinal: int
    name: str
    state: StepState

    @property
    def is_batch_worker(self) -> bool:
        """Whether it was made from a mould."""
        return self.ordinal != self.template_ordinal


@dataclass(frozen=True, slots=True)
class Restart:
    """Steps that start afresh.

    Attributes:
        unmet: for each of them how many dependencies are unmet then; a batch worker that has to wait for a free
            slot has one.
        removed: steps that cease to exist, because the decision or batchable step that called for them runs again.
        removed_moulds: moulds of the batches among them.
    """

    unmet: dict[int, int]
    removed: frozenset[int] = frozenset()
    removed_moulds: frozenset[int] = frozenset()


def steps_to_cancel(state: TaskState, steps: Iterable[Step]) -> list[Step]:
    """Return the steps that end when a task is cancelled.

    Raises:
        IllegalMoveError: the task is over.
    """
    if state.is_terminal:
        raise IllegalMoveError(f"a task that is {state} cannot be cancelled")
    return unfinished(steps)


def unfinished(steps: Iterable[Step]) -> list[Step]:
    """Return the steps that are neither satisfied nor cancelled."""
    return [step for step in steps if step.state not in _SATISFIED and step.state is not StepState.CANCELLED]


def require_active(state: TaskState, verb: str) -> None:
    """Refuse a verb on a task that is over.

    Raises:
        IllegalMoveError: the task is over.
    """
    if state.is_terminal:
        raise IllegalMoveError(f"a task that is {state} cannot be {verb}")


def steps_to_retry(state: TaskState, steps: Sequence[Step]) -> frozenset[int]:
    """Return the ordinals of the steps that start afresh when a task is retried: all that failed or were cancelled.

    Raises:
        IllegalMoveError: nothing failed, or the task is over for good.
    """
    if state.is_terminal and state is not TaskState.ERROR:
        raise IllegalMoveError(f"a task that is {state} cannot be retried")
    failed = [step for step in steps if step.state is StepState.ERROR]
    if not failed and state is not TaskState.ERROR:
        raise IllegalMoveError(f"the task is {state} and none of its steps is in error, so there is nothing to retry")
    return frozenset(step.ordinal for step in steps if step.state in (StepState.ERROR, StepState.CANCELLED))


def steps_to_reset(state: TaskState, steps: Sequence[Step], step: Step) -> frozenset[int]:
    """Return the ordinals of the steps that start afresh when a failed step is reset.

    Raises:
        IllegalMoveError: the step is not in error, or the task is over for good.
    """
    require_open(state, "reset", step)
    if step.state is not StepState.ERROR:
        raise IllegalMoveError(f"step '{step.name}' is {step.state}; only a step in error can be reset")
    return frozenset({step.ordinal}) | steps_to_revive(state, steps, step)


def require_open(state: TaskState, verb: str, step: Step) -> None:
    """Refuse a verb on a step of a task that is over for good.

    Raises:
        IllegalMoveError: the task is.
    """
    if state.is_terminal and state is not TaskState.ERROR:
        raise IllegalMoveError(f"step '{step.name}' cannot be {verb}: its task is {state}")


def steps_to_revive(state: TaskState, steps: Sequence[Step], step: Step) -> frozenset[int]:
    """Return the ordinals of cancelled steps that go on once something is done about ``step``.

    These are the other workers of its batch, if it failed and they were cancelled for that; and in a task that was
    closed as ``error``, everything that was cancelled then.
    """
    return frozenset(
        other.ordinal
        for other in steps
        if other.state is StepState.CANCELLED
        and (
            state is TaskState.ERROR
            or (
                step.state is StepState.ERROR
                and step.is_batch_worker
                and other.is_batch_worker
                and other.template_ordinal == step.template_ordinal
            )
        )
    )


def require_endable(state: TaskState, step: Step, verb: str) -> None:
    """Refuse to end by hand what has ended.

    Raises:
        IllegalMoveError: the step has ended, or its task is over for good.
    """
    require_open(state, verb, step)
    if step.state in _SATISFIED or step.state is StepState.CANCELLED:
        raise IllegalMoveError(f"step '{step.name}' is {step.state} and cannot be {verb}")


def rerun(
    plan: Plan, structure: Structure, state: TaskState, steps: Sequence[Step], step: Step
) -> tuple[frozenset[int], frozenset[int], frozenset[int]]:
    """Return what a re-run from a step means: the ordinals to start afresh, those to remove, and the moulds to remove.

    Everything downstream of the step starts afresh. What a decision or batchable step among it had called for is
    removed, since it will call again. Cancelled steps start afresh, too.

    Raises:
        IllegalMoveError: the task is not finished or failed, or the step has not run.
    """
    if state not in (TaskState.COMPLETE, TaskState.ERROR, TaskState.BLOCKED_BY_FAILURES):
        raise IllegalMoveError(
            f"only a task that is complete, blocked_by_failures or in error can be re-run; this one is {state}"
        )
    if step.state not in _HAS_RUN:
        raise IllegalMoveError(f"step '{step.name}' is {step.state}: it has not run, so nothing can be re-run from it")
    affected = plan.downstream(step.template_ordinal)
    if not step.is_batch_worker:
        affected |= {step.ordinal}
    deciding = [ordinal for ordinal in affected & structure.existing if plan.steps[ordinal].decides]
    called_for = frozenset().union(*(plan.downstream(ordinal) for ordinal in deciding))
    moulds = frozenset(mould for mould in structure.moulds if mould in called_for)
    removed = frozenset(
        other.ordinal
        for other in steps
        if other.template_ordinal in called_for
        and (other.is_batch_worker or not plan.steps[other.template_ordinal].initial)
    )
    restarted = frozenset(
        other.ordinal
        for other in steps
        if other.ordinal == step.ordinal
        or (other.template_ordinal in affected and not other.is_batch_worker)
        or other.state is StepState.CANCELLED
    )
    return restarted - removed, removed, moulds


def restart(
    plan: Plan,
    structure: Structure,
    steps: Sequence[Step],
    restarted: Collection[int],
    free_slots: dict[int, int],
    *,
    removed: frozenset[int] = frozenset(),
    removed_moulds: frozenset[int] = frozenset(),
) -> Restart:
    """Work out how steps start afresh.

    Args:
        plan: the task's plan.
        structure: which steps the task has, before anything is removed.
        steps: all of them.
        restarted: ordinals of those that start afresh.
        free_slots: for each batch, by mould, how many of its workers may be released.
        removed: ordinals of those that cease to exist.
        removed_moulds: moulds of the batches that do.
    """
    left = [step for step in steps if step.ordinal not in removed]
    after = Structure(
        existing=structure.existing - removed,
        chosen={
            ordinal: names
            for ordinal, names in structure.chosen.items()
            if ordinal not in restarted and ordinal not in removed
        },
        moulds=structure.moulds - removed_moulds,
        revision=structure.revision,
    )
    settled = set(expansion.dead_steps(plan, after))
    settled |= {
        step.ordinal
        for step in left
        if step.state in _SATISFIED and step.ordinal not in restarted and not step.is_batch_worker
    }
    unsettled_moulds = {
        step.template_ordinal
        for step in left
        if step.is_batch_worker and (step.state not in _SATISFIED or step.ordinal in restarted)
    }
    settled |= after.moulds - unsettled_moulds
    slots = {mould: max(0, free) for mould, free in free_slots.items()}
    unmet: dict[int, int] = {}
    for step in left:
        if step.ordinal not in restarted:
            continue
        if step.is_batch_worker:
            released = slots[step.template_ordinal] > 0
            slots[step.template_ordinal] -= released
            unmet[step.ordinal] = int(not released)
        else:
            unmet[step.ordinal] = len(set(plan.steps[step.ordinal].dependencies) - settled)
    return Restart(unmet, removed, removed_moulds)
