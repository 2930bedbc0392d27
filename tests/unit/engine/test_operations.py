"""What operators may do to which task and step, and which steps that concerns."""

from collections.abc import Callable
from typing import Any

import pytest

from tasker_core.engine import operations
from tasker_core.engine.expansion import Structure
from tasker_core.engine.operations import IllegalMoveError, Step
from tasker_core.engine.planner import Plan, plan_task
from tasker_core.states import StepState, TaskState
from tasker_core.template import load_text

HEAD = "name: t\nnamespace_name: test\nversion: 1.0.0\nsteps:\n"
ROUTED = """
  - {name: start, handler: {callable: h}}
  - {name: route, type: decision, handler: {callable: h}, dependencies: [start]}
  - {name: a, handler: {callable: h}, dependencies: [route]}
  - {name: b, handler: {callable: h}, dependencies: [route]}
  - {name: end, type: deferred_convergence, handler: {callable: h}, dependencies: [a, b]}
  - {name: beside, handler: {callable: h}, dependencies: [start]}
"""
BATCHED = """
  - {name: first, handler: {callable: h}}
  - {name: analyze, type: batchable, handler: {callable: h}, dependencies: [first]}
  - {name: part, type: batch_worker, handler: {callable: h}, dependencies: [analyze], batch_config: {parallelism: 2}}
  - {name: gather, type: deferred_convergence, handler: {callable: h}, dependencies: [part]}
"""
#: Ordinals of the batch workers that the tests add to BATCHED.
WORKERS = (4, 5, 6)

OVER = [TaskState.COMPLETE, TaskState.CANCELLED, TaskState.RESOLVED_MANUALLY]
UNDER_WAY = [
    TaskState.PENDING,
    TaskState.STEPS_IN_PROCESS,
    TaskState.WAITING_FOR_RETRY,
    TaskState.BLOCKED_BY_FAILURES,
]
UNSATISFIED = [
    StepState.PENDING,
    StepState.ENQUEUED,
    StepState.IN_PROGRESS,
    StepState.WAITING_FOR_RETRY,
    StepState.ERROR,
]
ENDED = [StepState.COMPLETE, StepState.RESOLVED_MANUALLY, StepState.CANCELLED]


def planned(text: str) -> Plan:
    return plan_task(load_text(HEAD + text))


def step(state: StepState = StepState.COMPLETE, ordinal: int = 0, mould: int | None = None) -> Step:
    return Step(ordinal, ordinal if mould is None else mould, f"s{ordinal}", state)


def all_states() -> list[Step]:
    return [step(state, ordinal) for ordinal, state in enumerate([*UNSATISFIED, *ENDED])]


def refused(act: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(IllegalMoveError) as error:
        act(*arguments)
    return str(error.value)


# -- cancel, pause, resume


@pytest.mark.parametrize("state", UNDER_WAY)
def test_cancelling_a_task_ends_every_step_that_is_not_done(state: TaskState) -> None:
    steps = operations.steps_to_cancel(state, all_states())
    assert [step.state for step in steps] == UNSATISFIED


@pytest.mark.parametrize("state", [*OVER, TaskState.ERROR])
def test_a_task_that_is_over_cannot_be_cancelled_paused_or_resumed(state: TaskState) -> None:
    assert refused(operations.steps_to_cancel, state, []) == f"a task that is {state} cannot be cancelled"
    assert refused(operations.require_active, state, "paused") == f"a task that is {state} cannot be paused"


@pytest.mark.parametrize("state", UNDER_WAY)
def test_a_task_under_way_is_active(state: TaskState) -> None:
    operations.require_active(state, "paused")


# -- retry


@pytest.mark.parametrize("state", [*UNDER_WAY, TaskState.ERROR])
def test_retrying_starts_what_failed_or_was_cancelled_afresh(state: TaskState) -> None:
    steps = all_states()
    expected = {s.ordinal for s in steps if s.state in (StepState.ERROR, StepState.CANCELLED)}
    assert operations.steps_to_retry(state, steps) == expected


@pytest.mark.parametrize("state", OVER)
def test_a_task_that_is_over_for_good_cannot_be_retried(state: TaskState) -> None:
    assert refused(operations.steps_to_retry, state, all_states()) == f"a task that is {state} cannot be retried"


def test_without_a_failure_there_is_nothing_to_retry() -> None:
    message = refused(operations.steps_to_retry, TaskState.STEPS_IN_PROCESS, [step(StepState.IN_PROGRESS)])
    assert message == "the task is steps_in_process and none of its steps is in error, so there is nothing to retry"


def test_a_task_that_was_closed_as_error_can_be_retried_without_a_failed_step() -> None:
    steps = [step(), step(StepState.CANCELLED, 1)]
    assert operations.steps_to_retry(TaskState.ERROR, steps) == {1}


# -- reset, resolve, complete


@pytest.mark.parametrize("state", [*UNDER_WAY, TaskState.ERROR])
def test_a_step_in_error_can_be_reset(state: TaskState) -> None:
    failed = step(StepState.ERROR)
    assert operations.steps_to_reset(state, [failed], failed) == {0}


@pytest.mark.parametrize("state", [state for state in [*UNSATISFIED, *ENDED] if state is not StepState.ERROR])
def test_a_step_in_any_other_state_cannot_be_reset(state: StepState) -> None:
    message = refused(operations.steps_to_reset, TaskState.STEPS_IN_PROCESS, [], step(state))
    assert message == f"step 's0' is {state}; only a step in error can be reset"


@pytest.mark.parametrize("state", OVER)
def test_no_step_of_a_task_that_is_over_for_good_can_be_reset_or_ended(state: TaskState) -> None:
    failed = step(StepState.ERROR)
    assert refused(operations.steps_to_reset, state, [failed], failed) == (
        f"step 's0' cannot be reset: its task is {state}"
    )
    assert refused(operations.require_endable, state, failed, "resolved") == (
        f"step 's0' cannot be resolved: its task is {state}"
    )


@pytest.mark.parametrize("state", UNSATISFIED)
def test_a_step_that_has_not_ended_well_can_be_ended_by_hand(state: StepState) -> None:
    operations.require_endable(TaskState.STEPS_IN_PROCESS, step(state), "completed")


@pytest.mark.parametrize("state", ENDED)
def test_a_step_that_is_over_cannot_be_ended_by_hand(state: StepState) -> None:
    message = refused(operations.require_endable, TaskState.STEPS_IN_PROCESS, step(state), "completed")
    assert message == f"step 's0' is {state} and cannot be completed"


def test_the_cancelled_workers_of_a_failed_workers_batch_go_on_with_it() -> None:
    failed = step(StepState.ERROR, 10, mould=2)
    others = [
        step(StepState.CANCELLED, 11, mould=2),
        step(StepState.COMPLETE, 12, mould=2),
        step(StepState.CANCELLED, 20, mould=3),
        step(StepState.CANCELLED, 1),
    ]
    assert operations.steps_to_revive(TaskState.BLOCKED_BY_FAILURES, [failed, *others], failed) == {11}


def test_ending_a_worker_that_runs_revives_no_sibling_that_another_failure_cancelled() -> None:
    running = step(StepState.IN_PROGRESS, 10, mould=2)
    others = [step(StepState.ERROR, 11, mould=2), step(StepState.CANCELLED, 12, mould=2)]
    assert operations.steps_to_revive(TaskState.STEPS_IN_PROCESS, [running, *others], running) == frozenset()


def test_in_a_task_closed_as_error_everything_cancelled_goes_on() -> None:
    failed = step(StepState.ERROR, 0)
    steps = [failed, step(StepState.CANCELLED, 1), step(StepState.CANCELLED, 20, mould=3), step(StepState.ERROR, 2)]
    assert operations.steps_to_revive(TaskState.ERROR, steps, failed) == {1, 20}


# -- re-run


def routed(**states: StepState) -> list[Step]:
    """The steps of a task of ROUTED that chose ``a``, complete unless stated otherwise."""
    names = {"start": 0, "route": 1, "a": 2, "end": 4, "beside": 5}
    return [Step(n, n, name, states.get(name, StepState.COMPLETE)) for name, n in names.items()]


def routed_structure() -> Structure:
    return Structure(frozenset({0, 1, 2, 4, 5}), chosen={1: frozenset({2})}, revision=1)


def rerun_of_routed(name: str, **states: StepState) -> tuple[set[str], set[str]]:
    """The names of the steps that a re-run starts afresh, and of those that it removes."""
    steps = routed(**states)
    by_ordinal = {step.ordinal: step.name for step in steps}
    chosen = next(step for step in steps if step.name == name)
    restarted, removed, moulds = operations.rerun(
        planned(ROUTED), routed_structure(), TaskState.COMPLETE, steps, chosen
    )
    assert moulds == frozenset()
    return {by_ordinal[n] for n in restarted}, {by_ordinal[n] for n in removed}


@pytest.mark.parametrize(
    ("name", "restarted", "removed"),
    [
        ("start", {"start", "route", "beside"}, {"a", "end"}),
        ("route", {"route"}, {"a", "end"}),
        ("a", {"a", "end"}, set()),
        ("end", {"end"}, set()),
        ("beside", {"beside"}, set()),
    ],
)
def test_a_rerun_starts_all_that_follows_afresh_and_removes_what_will_be_decided_again(
    name: str, restarted: set[str], removed: set[str]
) -> None:
    assert rerun_of_routed(name) == (restarted, removed)


def test_a_rerun_lets_cancelled_steps_start_afresh_too() -> None:
    assert rerun_of_routed("a", beside=StepState.CANCELLED) == ({"a", "end", "beside"}, set())


@pytest.mark.parametrize("state", [s for s in TaskState if s not in (TaskState.COMPLETE, TaskState.ERROR)])
def test_only_a_task_that_is_finished_or_failed_can_be_rerun(state: TaskState) -> None:
    if state is TaskState.BLOCKED_BY_FAILURES:
        operations.rerun(planned(ROUTED), routed_structure(), state, routed(), routed()[0])
        return
    message = refused(operations.rerun, planned(ROUTED), routed_structure(), state, routed(), routed()[0])
    assert (
        message == f"only a task that is complete, blocked_by_failures or in error can be re-run; this one is {state}"
    )


@pytest.mark.parametrize("state", [s for s in StepState if s.value in ("pending", "enqueued", "waiting_for_retry")])
def test_a_step_that_has_not_run_is_no_place_to_rerun_from(state: StepState) -> None:
    steps = routed(a=state)
    message = refused(operations.rerun, planned(ROUTED), routed_structure(), TaskState.ERROR, steps, steps[2])
    assert message == f"step 'a' is {state}: it has not run, so nothing can be re-run from it"


@pytest.mark.parametrize("state", [StepState.ERROR, StepState.CANCELLED, StepState.RESOLVED_MANUALLY])
def test_a_rerun_may_begin_with_a_step_that_failed_was_cancelled_or_resolved(state: StepState) -> None:
    assert rerun_of_routed("a", a=state)[0] == {"a", "end"}


def batched(*workers: StepState, **states: StepState) -> list[Step]:
    """The steps of a task of BATCHED, complete unless stated otherwise, with workers in these states."""
    names = {"first": 0, "analyze": 1, "gather": 3}
    steps = [Step(n, n, name, states.get(name, StepState.COMPLETE)) for name, n in names.items()]
    return steps + [Step(n, 2, f"part_{n}", state) for n, state in zip(WORKERS, workers, strict=False)]


BATCH_STRUCTURE = Structure(frozenset({0, 1, 3}), moulds=frozenset({2}), revision=1)


def test_a_rerun_from_a_batch_worker_leaves_the_other_workers_alone() -> None:
    steps = batched(*[StepState.COMPLETE] * 3)
    result = operations.rerun(planned(BATCHED), BATCH_STRUCTURE, TaskState.COMPLETE, steps, steps[4])
    assert result == ({3, WORKERS[1]}, frozenset(), frozenset())


@pytest.mark.parametrize("ordinal", [0, 1])
def test_a_rerun_from_the_analyzer_or_before_removes_all_its_workers(ordinal: int) -> None:
    steps = batched(*[StepState.COMPLETE] * 3)
    result = operations.rerun(planned(BATCHED), BATCH_STRUCTURE, TaskState.COMPLETE, steps, steps[ordinal])
    assert result == (set(range(ordinal, 2)), {3, *WORKERS}, {2})


# -- how steps start afresh


def restarted(plan: Plan, structure: Structure, steps: list[Step], *ordinals: int, **more: Any) -> dict[int, int]:
    return operations.restart(plan, structure, steps, ordinals, more.pop("free_slots", {}), **more).unmet


def test_a_step_that_starts_afresh_waits_for_what_is_not_satisfied_then() -> None:
    steps = routed()
    assert restarted(planned(ROUTED), routed_structure(), steps, 0, 5) == {0: 0, 5: 1}
    assert restarted(planned(ROUTED), routed_structure(), steps, 4) == {4: 0}
    assert restarted(planned(ROUTED), routed_structure(), steps, 2, 4) == {2: 0, 4: 1}


def test_a_convergence_that_starts_afresh_does_not_wait_for_what_can_never_exist() -> None:
    assert restarted(planned(ROUTED), routed_structure(), routed(a=StepState.ERROR), 2, 4) == {2: 0, 4: 1}


def test_what_is_removed_is_said() -> None:
    plan = operations.restart(
        planned(ROUTED), routed_structure(), routed(), {1}, {}, removed=frozenset({2, 4}), removed_moulds=frozenset()
    )
    assert (plan.unmet, plan.removed) == ({1: 0}, {2, 4})


def test_batch_workers_start_afresh_as_far_as_slots_are_free() -> None:
    steps = batched(StepState.ERROR, StepState.CANCELLED, StepState.CANCELLED, gather=StepState.PENDING)
    unmet = restarted(planned(BATCHED), BATCH_STRUCTURE, steps, *WORKERS, free_slots={2: 2})
    assert unmet == dict(zip(WORKERS, (0, 0, 1), strict=True))


@pytest.mark.parametrize("free", [0, -3])
def test_without_a_free_slot_a_batch_worker_waits(free: int) -> None:
    steps = batched(StepState.ERROR, StepState.IN_PROGRESS, StepState.IN_PROGRESS, gather=StepState.PENDING)
    assert restarted(planned(BATCHED), BATCH_STRUCTURE, steps, WORKERS[0], free_slots={2: free}) == {WORKERS[0]: 1}


def test_what_gathers_a_batch_waits_for_the_mould_until_all_workers_are_done() -> None:
    steps = batched(StepState.COMPLETE, StepState.COMPLETE)
    plan = planned(BATCHED)
    assert restarted(plan, BATCH_STRUCTURE, steps, 3) == {3: 0}
    assert restarted(plan, BATCH_STRUCTURE, steps, WORKERS[0], 3, free_slots={2: 2}) == {WORKERS[0]: 0, 3: 1}
    failed = batched(StepState.ERROR, StepState.COMPLETE)
    assert restarted(plan, BATCH_STRUCTURE, failed, 3) == {3: 1}


def test_what_gathers_an_empty_batch_does_not_wait() -> None:
    assert restarted(planned(BATCHED), BATCH_STRUCTURE, batched(), 3) == {3: 0}
