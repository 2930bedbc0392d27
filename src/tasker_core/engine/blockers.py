"""What each step of a task waits for, in words.

The order of the answers is that of the engine: an end comes before everything, a lease before what happens to the
task, unmet dependencies before a pause, a pause before a time that has not come, and that before missing workers.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from tasker_core.engine.expansion import Structure, Verdict, verdicts
from tasker_core.engine.planner import Plan
from tasker_core.states import StepState, TaskState
from tasker_core.template import FailureStrategy, StepType

#: How many names an explanation gives before it only counts.
NAMES_SHOWN = 5

#: The state of a template step that a task does not have.
ABSENT = "absent"

_DONE = (StepState.COMPLETE, StepState.RESOLVED_MANUALLY)
_RELEASED = (StepState.ENQUEUED, StepState.IN_PROGRESS, StepState.WAITING_FOR_RETRY)
_ENDS = {
    TaskState.COMPLETE: "is complete",
    TaskState.ERROR: "was closed as failed",
    TaskState.CANCELLED: "was cancelled",
    TaskState.RESOLVED_MANUALLY: "was resolved by hand",
}


class Blocker(StrEnum):
    """What keeps a step from running.

    Attributes:
        DONE: nothing; it is complete or resolved.
        CLAIMABLE: nothing; the next worker that is free takes it.
        LEASED: nothing; a worker runs it.
        UNMET_DEPENDENCIES: steps before it are not done.
        BACKOFF: its next attempt is due later.
        DELAYED_START: its task starts later.
        NO_WORKER: no live worker has its handler.
        PAUSED: its task is paused.
        PARALLELISM: as many workers of its batch as may run at once are under way.
        FAILED: it failed for good, or was cancelled because its batch did.
        TASK_OVER: its task is over, or it was cancelled itself.
        SKIPPED: it does not exist and never will.
        UNDECIDED: it does not exist yet; whether it will is not decided.
    """

    DONE = "done"
    CLAIMABLE = "claimable"
    LEASED = "leased"
    UNMET_DEPENDENCIES = "unmet_dependencies"
    BACKOFF = "backoff"
    DELAYED_START = "delayed_start"
    NO_WORKER = "no_worker"
    PAUSED = "paused"
    PARALLELISM = "parallelism"
    FAILED = "failed"
    TASK_OVER = "task_over"
    SKIPPED = "skipped"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """How a task stands.

    Attributes:
        now: the time, by the clock that all times here are of.
        state: the task's state.
        completed_at: when it ended.
        changed_by: who changed its state last, if a person or a policy did.
        change_reason: why.
        paused_at: since when it is paused.
        paused_by: who paused it.
        pause_reason: why.
    """

    now: datetime
    state: TaskState
    completed_at: datetime | None = None
    changed_by: str | None = None
    change_reason: str | None = None
    paused_at: datetime | None = None
    paused_by: str | None = None
    pause_reason: str | None = None


@dataclass(frozen=True, slots=True)
class StepFacts:
    """How a step stands, and the queue's row for it.

    Attributes:
        ordinal: its position in the task.
        template_ordinal: that of the template step it was made from.
        name: its name.
        state: its state.
        finished_at: when it ended.
        error_type: kind of its last failure.
        error_message: text of its last failure.
        status: ``ready``, ``delayed``, ``leased`` or ``held``; None for a step that is not in the queue.
        enqueued_at: when it came into the queue.
        wake_at: when it may be claimed, or when its lease ends.
        leased_at: when it was claimed.
        worker: who holds its lease, or held it until it ended.
        rescued: whether the lease ended without a report, which is being recorded.
        has_live_worker: whether a live worker has its handler.
        worker_seen_at: when a worker that had its handler was last seen.
    """

    ordinal: int
    template_ordinal: int
    name: str
    state: StepState
    finished_at: datetime | None = None
    error_type: str | None = None
    error_message: str | None = None
    status: str | None = None
    enqueued_at: datetime | None = None
    wake_at: datetime | None = None
    leased_at: datetime | None = None
    worker: str | None = None
    rescued: bool = False
    has_live_worker: bool = False
    worker_seen_at: datetime | None = None

    @property
    def is_done(self) -> bool:
        """Whether the steps after it need not wait for it any more."""
        return self.state in _DONE

    @property
    def error(self) -> str:
        """Its last failure in words."""
        return ": ".join(filter(None, (self.error_type, self.error_message))) or "no error was recorded"


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a step does not run, or that it does.

    Attributes:
        step: its name.
        template_step: the name of the template step it is made from.
        state: its state, or ``absent``.
        blocker: what keeps it from running.
        sentence: the same in words.
        waits_for: names of the steps it waits for.
        since: since when.
        until: when that ends, as far as it ends by itself.
        worker: who runs it.
    """

    step: str
    template_step: str
    state: str
    blocker: Blocker
    sentence: str
    waits_for: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    worker: str | None = None


def explain(plan: Plan, structure: Structure, task: TaskFacts, steps: Sequence[StepFacts]) -> list[Explanation]:
    """Return what each step of a task waits for, those included that do not exist, in template order.

    Batch workers stand where the template has their mould; a mould itself is in the answer only as long as no worker
    was made from it.
    """
    return _Explainer(plan, structure, task, steps).explain()


class _Explainer:
    def __init__(self, plan: Plan, structure: Structure, task: TaskFacts, steps: Sequence[StepFacts]) -> None:
        self._plan = plan
        self._structure = structure
        self._task = task
        self._steps = {step.ordinal: step for step in steps}
        self._batches: defaultdict[int, list[StepFacts]] = defaultdict(list)
        self._released: defaultdict[int, list[StepFacts]] = defaultdict(list)
        self._failed_workers: defaultdict[int, list[StepFacts]] = defaultdict(list)
        for step in steps:
            if step.ordinal != step.template_ordinal:
                self._batches[step.template_ordinal].append(step)
                if step.state in _RELEASED:
                    self._released[step.template_ordinal].append(step)
                elif step.state is StepState.ERROR:
                    self._failed_workers[step.template_ordinal].append(step)
        self._verdicts = verdicts(plan, structure)
        self._deciders = self._find_deciders()
        self._unchosen = self._find_unchosen()

    def explain(self) -> list[Explanation]:
        found = [(step.template_ordinal, step.ordinal, self._existing(step)) for step in self._steps.values()]
        found += [
            (ordinal, ordinal, self._absent(ordinal))
            for ordinal in self._plan.order
            if ordinal not in self._steps and ordinal not in self._batches
        ]
        return [explanation for *_, explanation in sorted(found, key=lambda entry: entry[:2])]

    # -- steps that exist

    def _existing(self, step: StepFacts) -> Explanation:
        match step.state:
            case StepState.COMPLETE:
                return self._answer(step, Blocker.DONE, "nothing: it is complete", since=step.finished_at)
            case StepState.RESOLVED_MANUALLY:
                return self._answer(step, Blocker.DONE, "nothing: it was resolved by hand", since=step.finished_at)
            case StepState.ERROR:
                return self._failed(step)
            case StepState.CANCELLED:
                return self._cancelled(step)
        if step.status == "leased":
            return self._leased(step)
        if self._task.state.is_terminal:
            return self._answer(step, Blocker.TASK_OVER, self._end_of_task(), since=self._task.completed_at)
        if step.state is StepState.PENDING:
            return self._unmet(step) if step.ordinal == step.template_ordinal else self._unreleased(step)
        return self._queued(step)

    def _failed(self, step: StepFacts) -> Explanation:
        what_to_do = (
            self._end_of_task()
            if self._task.state.is_terminal
            else "reset it for another try, complete it by hand with a result, or resolve it to go on without one"
        )
        return self._answer(step, Blocker.FAILED, f"it failed: {step.error}; {what_to_do}", since=step.finished_at)

    def _cancelled(self, step: StepFacts) -> Explanation:
        if self._task.state.is_terminal:
            return self._answer(step, Blocker.TASK_OVER, self._end_of_task(), since=self._task.completed_at)
        failed = self._failed_workers[step.template_ordinal]
        config = self._plan.steps[step.template_ordinal].step.batch_config
        if failed and config is not None and config.failure_strategy is FailureStrategy.FAIL_FAST:
            sentence = f"it was cancelled when {failed[0].name} of its batch failed (fail_fast): {failed[0].error}"
            return self._answer(step, Blocker.FAILED, sentence, waits_for=_first_names(failed), since=step.finished_at)
        return self._answer(step, Blocker.TASK_OVER, "it was cancelled", since=step.finished_at)

    def _leased(self, step: StepFacts) -> Explanation:
        assert step.wake_at is not None
        if step.rescued or step.wake_at <= self._task.now:
            sentence = f"the lease of worker {step.worker} ended without a report; the attempt counts as failed"
        else:
            sentence = f"worker {step.worker} runs it since {_time(step.leased_at)}, leased until {_time(step.wake_at)}"
        return self._answer(
            step, Blocker.LEASED, sentence, since=step.leased_at, until=step.wake_at, worker=step.worker
        )

    def _unmet(self, step: StepFacts) -> Explanation:
        phrases: list[str] = []
        names: list[str] = []
        for before in self._plan.steps[step.template_ordinal].dependencies:
            for phrase, waits_for in self._open(before):
                phrases.append(phrase)
                names += waits_for
        # Nothing is open if the last of them ended between two looks.
        sentence = f"waits for {_listed(phrases)}" if phrases else "nothing: the last of its dependencies just ended"
        return self._answer(step, Blocker.UNMET_DEPENDENCIES, sentence, waits_for=names)

    def _open(self, before: int) -> Iterator[tuple[str, Sequence[str]]]:
        """Yield a dependency as a phrase and as names, if a step must wait for it."""
        step = self._steps.get(before)
        workers = self._batches.get(before, [])
        if step is not None:
            if not step.is_done:
                yield f"{step.name} ({step.state})", [step.name]
        elif workers:
            waiting = [worker for worker in workers if not worker.is_done]
            if waiting:
                named = _listed([f"{worker.name} ({worker.state})" for worker in waiting])
                count = f"{len(waiting)} of {len(workers)} batch workers of {self._name(before)}"
                yield f"{count}: {named}", _first_names(waiting)
        elif before not in self._structure.moulds and self._verdicts[before] is not Verdict.DEAD:
            yield f"{self._name(before)} (not created; {self._undecided(before)})", [self._name(before)]

    def _unreleased(self, step: StepFacts) -> Explanation:
        config = self._plan.steps[step.template_ordinal].step.batch_config
        assert config is not None
        released = self._released[step.template_ordinal]
        sentence = (
            f"{len(released)} of at most {config.parallelism} workers of batch {self._name(step.template_ordinal)} "
            f"are under way; it follows when one of them ends"
        )
        return self._answer(step, Blocker.PARALLELISM, sentence, waits_for=_first_names(released))

    def _queued(self, step: StepFacts) -> Explanation:
        now, due_at = self._task.now, step.wake_at or step.enqueued_at
        if step.status == "held" or self._task.paused_at is not None:
            return self._answer(step, Blocker.PAUSED, self._pause(), since=self._task.paused_at)
        if step.wake_at is not None and step.wake_at > now:
            if step.state is StepState.WAITING_FOR_RETRY:
                sentence = f"its last attempt failed ({step.error}); the next is due at {_time(step.wake_at)}"
                return self._answer(step, Blocker.BACKOFF, sentence, until=step.wake_at)
            sentence = f"the task is to start at {_time(step.wake_at)}"
            return self._answer(step, Blocker.DELAYED_START, sentence, since=step.enqueued_at, until=step.wake_at)
        if step.has_live_worker:
            return self._answer(step, Blocker.CLAIMABLE, "nothing: it should be claimed now", since=due_at)
        callable_ = self._plan.steps[step.template_ordinal].step.handler.callable
        seen = (
            "none ever had"
            if step.worker_seen_at is None
            else f"one that had was last seen at {_time(step.worker_seen_at)}"
        )
        sentence = f"no live worker has a handler for {callable_}; {seen}"
        return self._answer(step, Blocker.NO_WORKER, sentence, since=due_at)

    # -- steps that do not

    def _absent(self, ordinal: int) -> Explanation:
        name = self._name(ordinal)
        if ordinal in self._structure.moulds or self._verdicts[ordinal] is Verdict.DEAD:
            return Explanation(name, name, ABSENT, Blocker.SKIPPED, self._skipped(ordinal))
        if self._task.state.is_terminal:
            return Explanation(
                name, name, ABSENT, Blocker.TASK_OVER, self._end_of_task(), since=self._task.completed_at
            )
        deciders = tuple(self._name(decider) for decider in self._deciders[ordinal])
        return Explanation(name, name, ABSENT, Blocker.UNDECIDED, self._undecided(ordinal), deciders)

    def _skipped(self, ordinal: int) -> str:
        if ordinal in self._structure.moulds:
            before = self._plan.steps[ordinal].dependencies
            return f"it is not needed: {_listed([self._name(other) for other in before])} found nothing for batches"
        decider, unchosen = self._unchosen[ordinal]
        is_decision = self._plan.steps[decider].step.type is StepType.DECISION
        verb = f"decision {self._name(decider)} did not choose" if is_decision else f"{self._name(decider)} did not use"
        return f"{verb} it" if unchosen == ordinal else f"{verb} {self._name(unchosen)}, which comes before it"

    def _undecided(self, ordinal: int) -> str:
        deciders = self._deciders.get(ordinal, ())
        return _listed([self._undecided_yet(decider) for decider in deciders]) or "it is about to be"

    def _undecided_yet(self, decider: int) -> str:
        name, state = self._name(decider), self._steps[decider].state
        if self._plan.steps[decider].step.type is StepType.DECISION:
            return f"decision {name} has not been made ({state})"
        return f"{name} has not said which batches there are ({state})"

    def _find_deciders(self) -> Mapping[int, tuple[int, ...]]:
        """Return for each step that may still come the steps at hand that decide about it."""
        found: dict[int, tuple[int, ...]] = {}
        for ordinal in self._plan.order:
            if ordinal in self._steps or self._verdicts[ordinal] is Verdict.DEAD:
                continue
            is_mould = self._plan.steps[ordinal].step.type is StepType.BATCH_WORKER
            deciders: dict[int, None] = {}
            for before in self._plan.steps[ordinal].dependencies:
                kind, step = self._plan.steps[before].step.type, self._steps.get(before)
                if step is None:
                    deciders |= dict.fromkeys(found.get(before, ()))
                elif not step.is_done and (kind is StepType.DECISION or (is_mould and kind is StepType.BATCHABLE)):
                    deciders[before] = None
            found[ordinal] = tuple(deciders)
        return found

    def _find_unchosen(self) -> Mapping[int, tuple[int, int]]:
        """Return for each step that can never exist what decided so, and about which step: it or one before it."""
        found: dict[int, tuple[int, int]] = {}
        for ordinal in self._plan.order:
            if self._verdicts[ordinal] is Verdict.DEAD:
                before = self._plan.steps[ordinal].dependencies
                deciders = [other for other in before if ordinal not in self._structure.chosen.get(other, (ordinal,))]
                inherited = [found[other] for other in before if other in found]
                # What neither explains is a mould that its analyzer, the only step before it, passed over.
                found[ordinal] = inherited[0] if inherited and not deciders else ((*deciders, *before)[0], ordinal)
        return found

    # -- words

    def _answer(
        self,
        step: StepFacts,
        blocker: Blocker,
        sentence: str,
        *,
        waits_for: Sequence[str] = (),
        since: datetime | None = None,
        until: datetime | None = None,
        worker: str | None = None,
    ) -> Explanation:
        template_step = self._name(step.template_ordinal)
        return Explanation(
            step.name, template_step, step.state.value, blocker, sentence, tuple(waits_for), since, until, worker
        )

    def _name(self, ordinal: int) -> str:
        return self._plan.steps[ordinal].step.name

    def _end_of_task(self) -> str:
        task = self._task
        return f"the task {_ENDS[task.state]}" + _by(task.changed_by, task.change_reason)

    def _pause(self) -> str:
        task = self._task
        since = f" since {_time(task.paused_at)}" if task.paused_at is not None else ""
        return f"the task is paused{since}" + _by(task.paused_by, task.pause_reason)


def _by(who: str | None, why: str | None) -> str:
    return (f" by {who}" if who else "") + (f": {why}" if why else "")


def _listed(phrases: Sequence[str]) -> str:
    more = len(phrases) - NAMES_SHOWN
    return ", ".join(phrases[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _first_names(steps: Sequence[StepFacts]) -> tuple[str, ...]:
    return tuple(step.name for step in steps[:NAMES_SHOWN])


def _time(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if moment is not None else "an unknown time"
