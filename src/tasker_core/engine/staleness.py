"""When a task is stale, and what follows from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from tasker_core.states import TaskState
from tasker_core.template import Lifecycle, StalenessAction

#: Minutes without progress after which a task is stale, by its state, where the template says nothing.
DEFAULT_LIMITS: Final[Mapping[TaskState, int]] = {
    TaskState.PENDING: 60,
    TaskState.WAITING_FOR_RETRY: 30,
    TaskState.STEPS_IN_PROCESS: 30,
}

#: The share of the time it has after which a task is near to being stale.
WARNING_SHARE: Final = 0.8

#: Seconds without a sign of life that every worker is allowed, however short its leases.
_LEAST_SILENCE = 10.0


class Reason(StrEnum):
    """Why a task is stale.

    Attributes:
        STALENESS_TIMEOUT: it took longer as a whole than it may.
        WORKER_UNAVAILABLE: nobody is there to run any of its steps.
    """

    STALENESS_TIMEOUT = "staleness_timeout"
    WORKER_UNAVAILABLE = "worker_unavailable"


class Health(StrEnum):
    """How near a task is to being stale: far, near (`WARNING_SHARE` of the time it has), or stale."""

    HEALTHY = "healthy"
    WARNING = "warning"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Policy:
    """What a template says about staleness.

    Attributes:
        limits: minutes without progress, by state; in other states a task needs to make none.
        deadline: minutes from the requested start to the end; None for no deadline.
        dead_letter: whether a stale task becomes a dead letter.
        closes: whether it ends in ``error``.
    """

    limits: Mapping[TaskState, int]
    deadline: int | None
    dead_letter: bool
    closes: bool


@dataclass(frozen=True, slots=True)
class QueuedSteps:
    """The steps of a task that are in the queue in one status and for one handler.

    Attributes:
        status: ``ready``, ``delayed``, ``leased`` or ``held``.
        callable: the handler.
        due_at: the latest time at which one of them was or will be due: ready since, delayed until, leased until.
        has_live_worker: whether a live worker has the handler.
        worker_seen_at: when a worker that had it was last seen.
    """

    status: str
    callable: str
    due_at: datetime
    has_live_worker: bool
    worker_seen_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """How a task stands.

    Attributes:
        now: the time, by the clock that all times here are of.
        state: the task's state.
        requested_at: when it was to start.
        finished_at: when the last of its steps ended.
        has_dead_letter: whether it is a dead letter already.
        queued: its steps in the queue.
    """

    now: datetime
    state: TaskState
    requested_at: datetime
    finished_at: datetime | None = None
    has_dead_letter: bool = False
    queued: Sequence[QueuedSteps] = field(default=())


@dataclass(frozen=True, slots=True)
class Stale:
    """That a task is stale, and what is to happen.

    Attributes:
        reason: why.
        detection_method: ``deadline`` or ``automatic_staleness``.
        minutes: how long it has been so.
        limit: how many minutes it was allowed.
        dead_letter: whether it becomes a dead letter.
        closes: whether it ends in ``error``.
        callables: the handlers that no live worker has.
    """

    reason: Reason
    detection_method: str
    minutes: int
    limit: int
    dead_letter: bool
    closes: bool
    callables: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The reason in words."""
        if self.reason is Reason.STALENESS_TIMEOUT:
            return f"the task took {self.minutes} minutes, longer than max_duration_minutes = {self.limit}"
        return (
            f"nothing happened for {self.minutes} minutes, {self.limit} are allowed: "
            f"no live worker has a handler for {', '.join(self.callables)}"
        )


@dataclass(frozen=True, slots=True)
class Standing:
    """How near a task is to being stale.

    Attributes:
        minutes: how long nothing has happened, or how long the task has taken as a whole: what is nearer its limit.
        limit: how many minutes that may be.
        health: what that amounts to.
    """

    minutes: int
    limit: int
    health: Health


def silence(lease_seconds: float) -> float:
    """Return the seconds after which a worker that was not seen does not count as live.

    Args:
        lease_seconds: how long leases last; a worker shows itself more often.
    """
    return max(lease_seconds, _LEAST_SILENCE)


def policy_of(lifecycle: Lifecycle | None) -> Policy:
    """Return what follows from a template's ``lifecycle``.

    Without one, a stale task only becomes a dead letter: it goes on when workers come back.
    """
    if lifecycle is None:
        return Policy(DEFAULT_LIMITS, deadline=None, dead_letter=True, closes=False)
    own = {
        TaskState.PENDING: lifecycle.max_waiting_for_dependencies_minutes,
        TaskState.WAITING_FOR_RETRY: lifecycle.max_waiting_for_retry_minutes,
        TaskState.STEPS_IN_PROCESS: lifecycle.max_steps_in_process_minutes,
    }
    action, dead_letter, closes = (
        lifecycle.staleness_action,
        lifecycle.auto_dlq_on_timeout,
        lifecycle.auto_fail_on_timeout,
    )
    return Policy(
        limits={state: minutes or DEFAULT_LIMITS[state] for state, minutes in own.items()},
        deadline=lifecycle.max_duration_minutes,
        dead_letter=action is StalenessAction.DLQ if dead_letter is None else dead_letter,
        closes=action is not StalenessAction.NONE if closes is None else closes,
    )


def judge(task: TaskFacts, policy: Policy) -> Stale | None:
    """Return that a task is stale, or None if it is not or if all that follows from it was done."""
    if task.state.is_terminal or (task.has_dead_letter and not policy.closes):
        return None
    return _past_deadline(task, policy) or _without_workers(task, policy)


def standing(task: TaskFacts, policy: Policy) -> Standing | None:
    """Return how near a task is to being stale; None if nothing limits the time it takes in its state."""
    if task.state.is_terminal:
        return None
    spans = []
    if task.state in policy.limits:
        spans.append((_idle(task), policy.limits[task.state]))
    if policy.deadline is not None:
        spans.append((task.now - task.requested_at, policy.deadline))
    if not spans:
        return None
    share, span, limit = max((span / timedelta(minutes=limit), span, limit) for span, limit in spans)
    health = Health.STALE if share >= 1 else Health.WARNING if share >= WARNING_SHARE else Health.HEALTHY
    return Standing(max(0, _minutes(span)), limit, health)


def _past_deadline(task: TaskFacts, policy: Policy) -> Stale | None:
    taken = task.now - task.requested_at
    if policy.deadline is None or taken < timedelta(minutes=policy.deadline):
        return None
    return Stale(
        Reason.STALENESS_TIMEOUT, "deadline", _minutes(taken), policy.deadline, policy.dead_letter, policy.closes
    )


def _without_workers(task: TaskFacts, policy: Policy) -> Stale | None:
    limit = policy.limits.get(task.state)
    idle = _idle(task)
    if limit is None or idle < timedelta(minutes=limit):
        return None
    callables = tuple(sorted({steps.callable for steps in task.queued}))
    return Stale(
        Reason.WORKER_UNAVAILABLE,
        "automatic_staleness",
        _minutes(idle),
        limit,
        policy.dead_letter,
        policy.closes,
        callables,
    )


def _idle(task: TaskFacts) -> timedelta:
    """Return how long a task has been due and nobody was there to go on with it."""
    if not task.queued or any(_waits_healthily(steps, task.now) for steps in task.queued):
        return timedelta()
    # As long as there were workers, the task only queued.
    healthy_until = [task.finished_at, *(t for steps in task.queued for t in (steps.due_at, steps.worker_seen_at))]
    return task.now - max(moment for moment in healthy_until if moment is not None)


def _waits_healthily(steps: QueuedSteps, now: datetime) -> bool:
    """Return whether these steps run, will by themselves, or are kept from it on purpose."""
    if steps.status == "held" or (steps.status != "ready" and steps.due_at > now):
        return True
    # A lease that ended is as good as a step that is due: whoever rescues it lets it run again.
    return steps.has_live_worker


def _minutes(duration: timedelta) -> int:
    return duration // timedelta(minutes=1)
