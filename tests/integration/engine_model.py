"""A task as it ought to be: the rules of steps, decisions, batches and verbs, without a database and without counters.

Everything follows from what happened: which decisions chose what, which batches were made, and how each step ended.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

from tasker_core.template import FailureStrategy, StepTemplate, StepType, TaskTemplate

DONE = ("complete", "resolved_manually")
RELEASED = ("enqueued", "in_progress", "waiting_for_retry")
TERMINAL = ("complete", "error", "cancelled", "resolved_manually")
DECIDING = (StepType.DECISION, StepType.BATCHABLE)


class Fate(Enum):
    """Whether a step of the template is part of the task."""

    CERTAIN = "certain"
    OPEN = "open"
    NEVER = "never"


class Refused(Exception):
    """A verb does not fit the state of the task."""


class NoSuchStep(Exception):
    """A verb names a step that the task does not have."""


@dataclass
class Lease:
    """Who holds a step, under which number."""

    holder: str
    lease_id: int
    expired: bool = False


@dataclass(frozen=True)
class Said:
    """What a handler said: ``success``, ``yield``, ``retryable`` or ``permanent``, and with which result."""

    kind: str
    result: Any = None
    error_type: str | None = None


@dataclass
class ModelStep:
    """A step as it ought to be; ``template`` of a batch worker is its mould."""

    name: str
    ordinal: int
    template: StepTemplate
    is_worker: bool = False
    inputs: dict[str, Any] | None = None
    state: str = "pending"
    attempts: int = 0
    lease: Lease | None = None
    result: dict[str, Any] | None = None
    error_type: str | None = None
    cursor: int | None = None
    items: int = 0

    def start_afresh(self, *, forget: bool) -> None:
        """Begin again with all attempts; from the checkpoint unless that is to be forgotten."""
        self.state, self.attempts, self.lease, self.result, self.error_type = "pending", 0, None, None, None
        if forget:
            self.cursor, self.items = None, 0

    def end(self, state: str, result: dict[str, Any] | None = None, error_type: str | None = None) -> None:
        """Take the state at the end of an attempt."""
        self.state, self.lease, self.result, self.error_type = state, None, result, error_type
        if state == "complete":
            self.cursor, self.items = None, 0

    def claim(self, holder: str, lease_id: int) -> None:
        """Be leased."""
        self.state, self.attempts, self.lease = "in_progress", self.attempts + 1, Lease(holder, lease_id)

    def give_back(self) -> None:
        """Be ready again as if this attempt had not begun."""
        self.state, self.attempts, self.lease = "enqueued", self.attempts - 1, None


class Shape:
    """What a template says, by name."""

    def __init__(self, template: TaskTemplate) -> None:
        self.template = template
        self.steps = {step.name: step for step in template.steps}
        self.ordinals = {step.name: ordinal for ordinal, step in enumerate(template.steps)}
        #: For each step the names of all that come before it, however far.
        self.before: dict[str, set[str]] = {}
        while len(self.before) < len(self.steps):
            for name, step in self.steps.items():
                if self.before.keys() >= set(step.dependencies):
                    self.before[name] = set(step.dependencies).union(
                        *(self.before[first] for first in step.dependencies)
                    )

    def dependents(self, name: str) -> list[str]:
        return [step.name for step in self.template.steps if name in step.dependencies]

    def after(self, name: str) -> set[str]:
        """Return the names of all steps that come after a step, however far."""
        return {other for other, before in self.before.items() if name in before}

    @cached_property
    def moulds(self) -> list[str]:
        return [step.name for step in self.template.steps if step.type is StepType.BATCH_WORKER]

    @cached_property
    def initial(self) -> set[str]:
        """The names of the steps that are there from the start."""
        return {name for name in self.steps if self._is_initial(name)}

    def _is_initial(self, name: str) -> bool:
        step = self.steps[name]
        return step.type is not StepType.BATCH_WORKER and all(
            self.steps[before].type is not StepType.DECISION and self._is_initial(before)
            for before in step.dependencies
        )


@dataclass
class ModelTask:
    """A task as it ought to be."""

    shape: Shape
    steps: dict[str, ModelStep] = field(default_factory=dict)
    #: What each decision that was made chose.
    chosen: dict[str, frozenset[str]] = field(default_factory=dict)
    #: The workers made from each mould that was used.
    batches: dict[str, list[str]] = field(default_factory=dict)
    next_ordinal: int = 0
    closed: str | None = None
    started: bool = False
    paused: bool = False
    #: Whether a dead letter says that the task is blocked.
    noted: bool = False

    def __post_init__(self) -> None:
        self.next_ordinal = len(self.shape.steps)
        self._create()
        self.settle()

    @property
    def state(self) -> str:
        states = {step.state for step in self.steps.values()}
        if self.closed:
            return self.closed
        if states & {"enqueued", "in_progress"}:
            return "steps_in_process" if self.started else "pending"
        if "waiting_for_retry" in states:
            return "waiting_for_retry"
        if "error" in states:
            return "blocked_by_failures"
        assert states <= set(DONE), f"nothing moves this task any more: {states}"
        return "complete"

    # -- existence

    def fate(self, name: str) -> Fate:
        """Return whether a step is part of the task, as far as it is decided."""
        return self._fate(name, {})

    def _fate(self, name: str, known: dict[str, Fate]) -> Fate:
        if name not in known:
            known[name] = self._fate_by_ways(name, known)
        return known[name]

    def _fate_by_ways(self, name: str, known: dict[str, Fate]) -> Fate:
        step = self.shape.steps[name]
        if step.type is StepType.BATCH_WORKER:
            (batchable,) = step.dependencies
            used = [mould for mould in self.batches if batchable in self.shape.steps[mould].dependencies]
            if used:
                return Fate.CERTAIN if name in used else Fate.NEVER
            return Fate.NEVER if self._fate(batchable, known) is Fate.NEVER else Fate.OPEN
        if step.type is StepType.DEFERRED_CONVERGENCE:
            ways = {
                self._way(before, name, known)
                for before in step.dependencies
                if before not in self.shape.initial or self.shape.steps[before].type is StepType.DECISION
            }
            # One way is enough; without a conditional one it is there from the start.
            return next(
                (fate for fate in (Fate.CERTAIN, Fate.OPEN) if fate in ways), Fate.NEVER if ways else Fate.CERTAIN
            )
        ways = {self._way(before, name, known) for before in step.dependencies}
        return next((fate for fate in (Fate.NEVER, Fate.OPEN) if fate in ways), Fate.CERTAIN)

    def _way(self, before: str, name: str, known: dict[str, Fate]) -> Fate:
        """Return whether one step leads to the next."""
        fate = self._fate(before, known)
        if fate is not Fate.CERTAIN or self.shape.steps[before].type is not StepType.DECISION:
            return fate
        if before not in self.chosen:
            return Fate.OPEN
        return Fate.CERTAIN if name in self.chosen[before] else Fate.NEVER

    def is_done(self, name: str) -> bool:
        """Return whether a dependency is met; that on a mould is when all its workers are."""
        if name in self.batches:
            return all(self.steps[worker].state in DONE for worker in self.batches[name])
        return name in self.steps and self.steps[name].state in DONE

    def waits_for(self, step: ModelStep) -> list[str]:
        """Return the dependencies of a step that is no batch worker that are neither met nor out of the question."""
        return [
            before
            for before in step.template.dependencies
            if not self.is_done(before) and self.fate(before) is not Fate.NEVER
        ]

    def _create(self) -> None:
        """Create what certainly belongs to the task and is not there."""
        for name, step in self.shape.steps.items():
            if name not in self.steps and step.type is not StepType.BATCH_WORKER and self.fate(name) is Fate.CERTAIN:
                self.steps[name] = ModelStep(name, self.shape.ordinals[name], step)

    # -- what deciding steps call for

    def chosen_by(self, name: str, result: Any) -> frozenset[str] | None:
        """Return the names that a decision's result chooses; None if it cannot be carried out."""
        outcome = result.get("decision_point_outcome") if isinstance(result, dict) else None
        if not isinstance(outcome, dict):
            return None
        if outcome.get("type") == "no_branches":
            return frozenset()
        names = outcome.get("step_names")
        if outcome.get("type") != "create_steps" or not isinstance(names, list):
            return None
        allowed = self.shape.after(name) - set(self.shape.moulds)
        if len(set(names)) < len(names) or not set(names) <= allowed:
            return None
        before = self.chosen.get(name)
        self.chosen[name] = frozenset(names)
        impossible = [chosen for chosen in names if self.fate(chosen) is Fate.NEVER]
        if before is None:
            del self.chosen[name]
        else:
            self.chosen[name] = before
        return None if impossible else frozenset(names)

    def batches_of(self, name: str, result: Any) -> tuple[str, list[dict[str, Any]]] | None:
        """Return the mould and the cursors that a batchable step's result asks for; None if that cannot be."""
        outcome = result.get("batch_processing_outcome") if isinstance(result, dict) else None
        if not isinstance(outcome, dict):
            return None
        own = [mould for mould in self.shape.moulds if name in self.shape.steps[mould].dependencies]
        mould = outcome.get("worker_template_name")
        if mould not in self.shape.moulds:
            mould = own[0]
        if mould not in own:
            return None
        if outcome.get("type") == "no_batches":
            return mould, []
        cursors = outcome.get("cursor_configs")
        if outcome.get("type") != "create_batches" or not cursors or outcome.get("worker_count") != len(cursors):
            return None
        ids = [cursor["batch_id"] for cursor in cursors]
        if len(set(ids)) < len(ids) or any({"start_cursor", "end_cursor"} - cursor.keys() for cursor in cursors):
            return None
        items = [item for cursor in cursors for item in range(cursor["start_cursor"], cursor["end_cursor"])]
        if len(set(items)) < len(items) or any(cursor["start_cursor"] > cursor["end_cursor"] for cursor in cursors):
            return None
        return mould, cursors

    def _decide(self, step: ModelStep, chosen: Iterable[str]) -> None:
        self.chosen[step.name] = frozenset(chosen)
        self._create()

    def _make_batch(self, mould: str, cursors: Sequence[dict[str, Any]]) -> None:
        self.batches[mould] = []
        for cursor in cursors:
            name = f"{mould}_{cursor['batch_id']}"
            self.steps[name] = ModelStep(name, self.next_ordinal, self.shape.steps[mould], True, {"cursor": cursor})
            self.batches[mould].append(name)
            self.next_ordinal += 1
        self._create()

    def _carry_out(self, step: ModelStep, result: Any) -> str | None:
        """Do what a deciding step calls for; return the error type if that cannot be."""
        if step.template.type is StepType.DECISION:
            chosen = frozenset[str]() if result is None else self.chosen_by(step.name, result)
            if chosen is None:
                return "invalid_decision_outcome"
            self._decide(step, chosen)
        elif step.template.type is StepType.BATCHABLE:
            no_batches = {"batch_processing_outcome": {"type": "no_batches"}}
            batch = self.batches_of(step.name, no_batches if result is None else result)
            if batch is None:
                return "invalid_batch_outcome"
            self._make_batch(*batch)
        return None

    # -- reports

    def keep(self, said: Sequence[tuple[ModelStep, Said]]) -> list[str]:
        """Keep the checkpoints among what handlers said of steps whose leases hold; return the names of those steps."""
        return [step.name for step, what in said if what.kind == "yield" and self._checkpoint(step, what)]

    def report(self, said: Sequence[tuple[ModelStep, Said]]) -> list[str]:
        """Take what handlers said of steps whose leases hold, all in one call; return the names of freed steps."""
        groups: list[list[tuple[ModelStep, Said]]] = [[]]
        deciding = 0
        for step, what in said:
            if what.kind == "yield":
                what = Said("permanent", error_type="checkpoint_error")
            # What calls for other steps is carried out one after the other.
            number = deciding if step.template.type in DECIDING else 0
            deciding += step.template.type in DECIDING
            groups += [[] for _ in range(number + 1 - len(groups))]
            groups[number].append((step, what))
        freed = [name for group in groups for name in self._end(group)]
        self._note()
        return freed

    def _checkpoint(self, step: ModelStep, what: Said) -> bool:
        result = what.result
        if not isinstance(result, dict) or result.get("type") != "checkpoint_yield":
            return False
        if step.cursor is not None and (result["cursor"] < step.cursor or result["items_processed"] < step.items):
            return False
        step.cursor, step.items = result["cursor"], result["items_processed"]
        step.give_back()
        return True

    def _end(self, said: Sequence[tuple[ModelStep, Said]]) -> list[str]:
        ends = [(step, what, self._judge(step, what)) for step, what in said]
        for step, _, state in ends:
            if state == "error" and self._strategy(step) is FailureStrategy.FAIL_FAST:
                for mate in self._mates(step):
                    if mate.state in ("pending", "enqueued", "waiting_for_retry"):
                        mate.state, mate.lease = "cancelled", None
        for step, what, state in ends:
            if state == "forgiven":
                cursor = (step.inputs or {})["cursor"]
                partial = {key: cursor[key] for key in ("batch_id", "start_cursor", "end_cursor")}
                step.end("complete", {"partial_failure": True, **partial})
            elif state == "complete":
                error_type = self._carry_out(step, what.result)
                if error_type is None:
                    step.end("complete", what.result)
                else:
                    step.end("error", error_type=error_type)
            else:
                step.end(state, error_type=what.error_type)
        return self.settle()

    def _judge(self, step: ModelStep, what: Said) -> str:
        if what.kind == "success":
            return "complete"
        retry = step.template.retry
        if what.kind == "retryable" and retry.retryable and step.attempts < max(1, retry.max_attempts):
            return "waiting_for_retry"
        return "forgiven" if self._strategy(step) is FailureStrategy.CONTINUE_ON_FAILURE else "error"

    def _strategy(self, step: ModelStep) -> FailureStrategy | None:
        config = step.template.batch_config
        return config.failure_strategy if step.is_worker and config is not None else None

    def _mates(self, step: ModelStep) -> list[ModelStep]:
        return [self.steps[name] for name in self.batches[step.template.name]]

    def settle(self) -> list[str]:
        """Release what waits for nothing any more; return the names."""
        freed = [
            step
            for step in self.steps.values()
            if step.state == "pending" and not step.is_worker and not self.waits_for(step)
        ]
        for mould, names in self.batches.items():
            config = self.shape.steps[mould].batch_config
            assert config is not None
            workers = [self.steps[name] for name in names]
            free = config.parallelism - sum(worker.state in RELEASED for worker in workers)
            freed += [worker for worker in workers if worker.state == "pending"][: max(0, free)]
        for step in freed:
            step.state = "enqueued"
        return [step.name for step in freed]

    # -- verbs

    def cancel(self) -> bool:
        if self.state == "cancelled":
            return False
        return self.close("cancelled", spare=())

    def close(self, state: str, *, spare: Collection[str] = ("error",)) -> bool:
        if self.state == state:
            return False
        self._require(self.state not in TERMINAL)
        for step in self.steps.values():
            if step.state not in (*DONE, *spare):
                step.state, step.lease = "cancelled", None
        self.closed, self.paused, self.noted = state, False, False
        return True

    def pause(self) -> bool:
        self._require(self.state not in TERMINAL)
        changed = not self.paused
        self.paused = True
        return changed

    def resume(self) -> bool:
        changed = self.paused
        self.paused = False
        return changed

    def retry(self) -> bool:
        self._require(self.state == "error" or self.state not in TERMINAL)
        failed = self._where(lambda step: step.state == "error")
        self._require(bool(failed) or self.state == "error")
        self._restart(failed | self._where(lambda step: step.state == "cancelled"))
        self._note()
        return True

    def reset(self, name: str) -> bool:
        step = self._step(name)
        self._require(self.state == "error" or self.state not in TERMINAL)
        self._require(step.state == "error")
        self._restart({name} | self._revived(step))
        self._note()
        return True

    def resolve(self, name: str) -> bool:
        if self._step(name).state == "resolved_manually":
            return False
        return self._finish(name, None)

    def complete(self, name: str, result: dict[str, Any]) -> bool:
        return self._finish(name, result)

    def _finish(self, name: str, result: dict[str, Any] | None) -> bool:
        step = self._step(name)
        self._require(self.state == "error" or self.state not in TERMINAL)
        self._require(step.state not in (*DONE, "cancelled"))
        if result is not None and step.template.type is StepType.DECISION:
            self._require(self.chosen_by(name, result) is not None)
        if result is not None and step.template.type is StepType.BATCHABLE:
            self._require(self.batches_of(name, result) is not None)
        self._restart(self._revived(step))
        self._carry_out(step, result)
        step.end("resolved_manually" if result is None else "complete", result)
        self.started = True
        self.settle()
        self._note()
        return True

    def rerun(self, name: str) -> bool:
        step = self._step(name)
        self._require(self.state in ("complete", "error", "blocked_by_failures"))
        self._require(step.state in (*DONE, "error", "cancelled"))
        affected = self.shape.after(step.template.name) | (set() if step.is_worker else {name})
        called_for = {
            after
            for decider in affected & self.steps.keys()
            if self.steps[decider].template.type in DECIDING
            for after in self.shape.after(decider)
        }
        removed = self._where(
            lambda other: (
                other.template.name in called_for and (other.is_worker or other.name not in self.shape.initial)
            )
        )
        restarted = self._where(
            lambda other: (
                other is step or (not other.is_worker and other.name in affected) or other.state == "cancelled"
            )
        )
        for gone in removed:
            del self.steps[gone]
            self.chosen.pop(gone, None)
        for mould in called_for & self.batches.keys():
            del self.batches[mould]
        self._restart(restarted - removed, forget=True)
        self._note()
        return True

    def _restart(self, names: Collection[str], *, forget: bool = False) -> None:
        self.closed = None
        for name in names:
            self.steps[name].start_afresh(forget=forget)
            self.chosen.pop(name, None)
        self.settle()

    def _revived(self, step: ModelStep) -> set[str]:
        """Return the names of the cancelled steps that go on when something is done about one."""
        if self.state == "error":
            return self._where(lambda other: other.state == "cancelled")
        if not step.is_worker or step.state != "error":
            return set()
        return {mate.name for mate in self._mates(step) if mate.state == "cancelled"}

    def _where(self, condition: Callable[[ModelStep], bool]) -> set[str]:
        return {step.name for step in self.steps.values() if condition(step)}

    def _step(self, name: str) -> ModelStep:
        if name not in self.steps:
            raise NoSuchStep(name)
        return self.steps[name]

    @staticmethod
    def _require(condition: bool) -> None:
        if not condition:
            raise Refused

    # -- what else follows

    def dead_letters(self) -> set[str | None]:
        """Return what needs a person: names of failed workers in batches that isolate failures, None for the task."""
        return set() if self.closed else {*self._failed(isolated=True), *([None] if self.noted else [])}

    def _failed(self, *, isolated: bool) -> set[str]:
        return self._where(
            lambda step: step.state == "error" and (self._strategy(step) is FailureStrategy.ISOLATE) is isolated
        )

    def _note(self) -> None:
        """Note failures once nothing else goes on, until none of them is left."""
        failed = bool(self._failed(isolated=False)) and not self.closed
        self.noted = failed and (self.noted or self.state == "blocked_by_failures")

    def results_before(self, step: ModelStep) -> dict[str, Any]:
        """Return the results that a step sees, by name."""
        before = self.shape.before[step.template.name]
        names = [name for name in before if name in self.steps]
        names += [worker for mould in before & self.batches.keys() for worker in self.batches[mould]]
        return {name: self.steps[name].result for name in names if self.steps[name].state == "complete"}

    def blocker(self, step: ModelStep) -> str:
        """Return what keeps a step from running."""
        match step.state:
            case "complete" | "resolved_manually":
                return "done"
            case "error":
                return "failed"
            case "in_progress":
                return "leased"
            case "pending":
                return "parallelism" if step.is_worker else "unmet_dependencies"
            case "cancelled":
                failed = step.is_worker and any(mate.state == "error" for mate in self._mates(step))
                fail_fast = self._strategy(step) is FailureStrategy.FAIL_FAST
                return "failed" if failed and fail_fast and self.state not in TERMINAL else "task_over"
        return "paused" if self.paused else "claimable"

    def blockers_of_absent(self) -> dict[str, str]:
        """Return why the steps of the template do not exist that do not."""
        found = {}
        for name in self.shape.steps:
            if name in self.steps or self.batches.get(name):
                continue
            if name in self.batches or self.fate(name) is Fate.NEVER:
                found[name] = "skipped"
            else:
                found[name] = "task_over" if self.state in TERMINAL else "undecided"
        return found
