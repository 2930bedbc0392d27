"""When a task is stale, and what follows from it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker_core.engine.staleness import QueuedSteps, Reason, TaskFacts, judge, policy_of, silence
from tasker_core.states import TaskState
from tasker_core.template import Lifecycle, StalenessAction

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DEFAULTS = policy_of(None)
ACTIVE = [state for state in TaskState if not state.is_terminal]


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def steps(status: str = "ready", due: float = 1000, *, live: bool = False, **fields: Any) -> QueuedSteps:
    """Steps in the queue that have been due for some minutes."""
    return QueuedSteps(status, fields.pop("callable", "work"), ago(due), live, **fields)


def task(*queued: QueuedSteps, state: TaskState = TaskState.STEPS_IN_PROCESS, age: float = 2000, **fields: Any) -> Any:
    return TaskFacts(NOW, state, ago(age), queued=queued, **fields)


@pytest.mark.parametrize(
    ("state", "limit"),
    [(TaskState.PENDING, 60), (TaskState.WAITING_FOR_RETRY, 30), (TaskState.STEPS_IN_PROCESS, 30)],
)
def test_a_task_nobody_can_run_is_stale_from_its_limit_on(state: TaskState, limit: int) -> None:
    assert judge(task(steps(due=limit - 0.01), state=state), DEFAULTS) is None
    found = judge(task(steps(due=limit), state=state), DEFAULTS)
    assert found is not None
    assert (found.reason, found.detection_method) == (Reason.WORKER_UNAVAILABLE, "automatic_staleness")
    assert (found.minutes, found.limit, found.callables) == (limit, limit, ("work",))


@pytest.mark.parametrize(
    ("state", "key"),
    [
        (TaskState.PENDING, "max_waiting_for_dependencies_minutes"),
        (TaskState.WAITING_FOR_RETRY, "max_waiting_for_retry_minutes"),
        (TaskState.STEPS_IN_PROCESS, "max_steps_in_process_minutes"),
    ],
)
def test_the_template_sets_the_limit_of_each_state(state: TaskState, key: str) -> None:
    policy = policy_of(Lifecycle(**{key: 7}))  # type: ignore[arg-type]
    assert judge(task(steps(due=6.9), state=state), policy) is None
    assert judge(task(steps(due=7), state=state), policy) is not None


@pytest.mark.parametrize(
    ("what", "healthy"),
    [
        ("runs", steps("leased", due=-1)),
        ("waits for its next attempt, or for the task to start", steps("delayed", due=-1)),
        ("is kept back by a pause", steps("held")),
        ("only queues: a worker has its handler", steps(live=True)),
        ("is due for another attempt that a worker can make", steps("delayed", live=True)),
        ("lost its worker, and another one has its handler", steps("leased", live=True)),
    ],
)
def test_no_task_is_stale_while_any_of_its_steps(what: str, healthy: QueuedSteps) -> None:
    assert judge(task(steps(callable="other"), healthy), DEFAULTS) is None, what


@pytest.mark.parametrize("status", ["ready", "delayed", "leased"])
def test_a_step_that_is_due_counts_however_it_came_to_that(status: str) -> None:
    assert judge(task(steps(status)), DEFAULTS) is not None


@pytest.mark.parametrize(
    ("what", "moved"),
    [
        ("a step became due", task(steps(), steps(due=29, callable="other"))),
        ("a step ended", task(steps(), finished_at=ago(29))),
        ("a worker that had a handler was there", task(steps(worker_seen_at=ago(29)))),
    ],
)
def test_time_counts_from_the_last_thing_that_happened(what: str, moved: TaskFacts) -> None:
    assert judge(moved, DEFAULTS) is None, what


def test_all_handlers_without_worker_are_named_once() -> None:
    found = judge(task(steps(callable="b"), steps("delayed", callable="a"), steps(callable="a")), DEFAULTS)
    assert found is not None
    assert found.callables == ("a", "b")
    assert "no live worker has a handler for a, b" in found.sentence


@pytest.mark.parametrize("state", ACTIVE)
@pytest.mark.parametrize("queued", [(), (steps("held"),), (steps("leased", due=-1),), (steps(live=True),)])
def test_past_its_deadline_a_task_is_stale_whatever_it_does(state: TaskState, queued: tuple[QueuedSteps, ...]) -> None:
    policy = policy_of(Lifecycle(max_duration_minutes=90))
    assert judge(task(*queued, state=state, age=89.9), policy) is None
    found = judge(task(*queued, state=state, age=90), policy)
    assert found is not None
    assert (found.reason, found.detection_method) == (Reason.STALENESS_TIMEOUT, "deadline")
    assert (found.minutes, found.limit) == (90, 90)


@pytest.mark.parametrize("state", [state for state in TaskState if state.is_terminal])
def test_a_task_that_is_over_is_never_stale(state: TaskState) -> None:
    policy = policy_of(Lifecycle(max_duration_minutes=1))
    assert judge(task(steps(), state=state), policy) is None


def test_a_task_that_is_blocked_by_failures_is_stale_only_by_its_deadline() -> None:
    assert judge(task(state=TaskState.BLOCKED_BY_FAILURES), DEFAULTS) is None


@pytest.mark.parametrize(
    ("lifecycle", "dead_letter", "closes"),
    [
        (None, True, False),
        (Lifecycle(), True, True),
        (Lifecycle(staleness_action=StalenessAction.ERROR), False, True),
        (Lifecycle(staleness_action=StalenessAction.NONE), False, False),
        (Lifecycle(auto_fail_on_timeout=False), True, False),
        (Lifecycle(auto_dlq_on_timeout=False), False, True),
        (Lifecycle(staleness_action=StalenessAction.NONE, auto_dlq_on_timeout=True), True, False),
        (Lifecycle(staleness_action=StalenessAction.NONE, auto_fail_on_timeout=True), False, True),
        (Lifecycle(staleness_action=StalenessAction.ERROR, auto_dlq_on_timeout=True), True, True),
        (Lifecycle(auto_dlq_on_timeout=False, auto_fail_on_timeout=False), False, False),
    ],
)
def test_what_happens_follows_from_the_action_and_what_overrides_it(
    lifecycle: Lifecycle | None, dead_letter: bool, closes: bool
) -> None:
    found = judge(task(steps()), policy_of(lifecycle))
    assert found is not None
    assert (found.dead_letter, found.closes) == (dead_letter, closes)


def test_a_dead_letter_is_stale_again_only_if_more_is_to_happen_than_becoming_one() -> None:
    noted = task(steps(), has_dead_letter=True)
    assert judge(noted, DEFAULTS) is None
    assert judge(noted, policy_of(Lifecycle())) is not None


@pytest.mark.parametrize(("lease", "seconds"), [(0.5, 10), (10, 10), (30, 30)])
def test_a_worker_is_dead_after_a_lease_but_never_before_ten_seconds(lease: float, seconds: float) -> None:
    assert silence(lease) == seconds


QUEUED = st.builds(
    steps,
    st.sampled_from(["ready", "delayed", "leased", "held"]),
    st.integers(-100, 1000),
    live=st.booleans(),
    callable=st.sampled_from("abc"),
)
TASKS = st.builds(
    lambda queued, state: task(*queued, state=state), st.lists(QUEUED, max_size=4), st.sampled_from(TaskState)
)


@given(TASKS, st.integers(0, 10_000))
def test_time_alone_never_heals_a_stale_task(facts: TaskFacts, minutes: int) -> None:
    later = TaskFacts(NOW + timedelta(minutes=minutes), facts.state, facts.requested_at, queued=facts.queued)
    before, after = judge(facts, DEFAULTS), judge(later, DEFAULTS)
    if before is not None:
        assert after is not None
        assert after.minutes == before.minutes + minutes


@given(TASKS)
def test_only_tasks_all_of_whose_queued_steps_lack_a_worker_are_stale_without_a_deadline(facts: TaskFacts) -> None:
    found = judge(facts, DEFAULTS)
    if found is not None:
        assert not any(queued.has_live_worker for queued in facts.queued)
        assert set(found.callables) == {queued.callable for queued in facts.queued}
        assert found.minutes >= found.limit
