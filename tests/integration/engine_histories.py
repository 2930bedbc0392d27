"""Random templates and random histories of what may happen to their tasks, in a form that is short to write down."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TypeAlias, TypeVar

from hypothesis import strategies as st

from tasker_core.template import (
    Backoff,
    BatchConfig,
    FailureStrategy,
    HandlerReference,
    IdentityStrategy,
    RetryPolicy,
    StepTemplate,
    StepType,
    TaskTemplate,
    validate,
)
from tasker_core.template.findings import Severity

_Option = TypeVar("_Option")

#: What each worker has handlers for.
WORKERS = {"both": ["a", "b"], "half": ["b"]}

# -- templates


@dataclass(frozen=True, repr=False)
class Step:
    """A step of a template, as far as it matters here."""

    name: str
    type: str = "standard"
    after: tuple[str, ...] = ()
    callable: str = "b"
    attempts: int = 1
    retryable: bool = True
    parallelism: int = 1
    strategy: str = "isolate"

    def __repr__(self) -> str:
        said = (
            (each.name, getattr(self, each.name)) for each in fields(self) if getattr(self, each.name) != each.default
        )
        return f"Step({', '.join(f'{name}={value!r}' for name, value in said)})"

    def template(self) -> StepTemplate:
        """Return the step as templates have it."""
        kind = StepType(self.type)
        config = BatchConfig(parallelism=self.parallelism, failure_strategy=FailureStrategy(self.strategy))
        return StepTemplate(
            name=self.name,
            type=kind,
            handler=HandlerReference(callable=self.callable),
            dependencies=self.after,
            retry=RetryPolicy(retryable=self.retryable, max_attempts=self.attempts, backoff=Backoff.NONE),
            batch_config=config if kind is StepType.BATCH_WORKER else None,
        )


@dataclass(frozen=True)
class History:
    """Some tasks of one template, and what happens to them."""

    steps: tuple[Step, ...]
    events: tuple["Event", ...]
    tasks: int = 1

    def template(self) -> TaskTemplate:
        """Return the template."""
        return TaskTemplate(
            name="random",
            namespace_name="test",
            version="1.0.0",
            steps=tuple(step.template() for step in self.steps),
            identity_strategy=IdentityStrategy.ALWAYS_UNIQUE,
        )


class Dice:
    """Throws that are decided by bytes, so that random choices shrink."""

    def __init__(self, throws: bytes) -> None:
        self._throws = iter(throws)

    def below(self, limit: int) -> int:
        """Return a number from 0; zeros once the bytes are used up."""
        return next(self._throws, 0) % limit

    def pick(self, options: Sequence[_Option]) -> _Option:
        """Return one of some options."""
        return options[self.below(len(options))]


def graph(dice: Dice, types: Sequence[str]) -> tuple[Step, ...]:
    """Return the steps of a random template, in any order."""
    size = 3 + dice.below(8)
    steps: list[Step] = []
    while len(steps) < size:
        steps.append(_step(dice, steps, dice.pick(types) if steps else "standard"))
        if steps[-1].type == "batchable":
            analyzer = steps[-1].name
            steps += [_worker(dice, f"s{len(steps) + place}", analyzer) for place in range(dice.pick([1, 1, 1, 2]))]
    for step in tuple(steps):
        if step.type == "decision" and not any(step.name in other.after for other in steps):
            steps.append(_step(dice, steps, "standard", step.name))
    for last in range(len(steps) - 1, 0, -1):
        other = last - dice.below(last + 1)
        steps[last], steps[other] = steps[other], steps[last]
    return tuple(steps)


def _step(dice: Dice, before: Sequence[Step], kind: str, needs: str | None = None) -> Step:
    """Return a step after some of those before it, ``needs`` among them."""
    possible = [step.name for step in before if kind == "deferred_convergence" or step.type != "batch_worker"]
    least = int(kind == "decision" and needs is None)
    if kind == "deferred_convergence":
        after = [dice.pick(possible) for _ in range(2 + dice.below(3))]
    else:
        # Mostly the latest, so that graphs get deep.
        number = least + dice.below(3) if possible else 0
        after = [possible[-1 - dice.below(len(possible)) * dice.below(2)] for _ in range(number)]
    return Step(
        f"s{len(before)}",
        kind,
        tuple(dict.fromkeys([*([needs] if needs else []), *after])),
        callable=dice.pick("bba"),
        attempts=1 + dice.below(3),
        retryable=dice.below(4) < 3,
    )


def _worker(dice: Dice, name: str, analyzer: str) -> Step:
    return Step(
        name,
        "batch_worker",
        (analyzer,),
        callable=dice.pick("bba"),
        attempts=1 + dice.below(3),
        parallelism=1 + dice.below(3),
        strategy=dice.pick([strategy.value for strategy in FailureStrategy]),
    )


# -- what happens


@dataclass(frozen=True)
class Claim:
    """A worker asks for steps."""

    worker: str
    limit: int


@dataclass(frozen=True)
class Report:
    """A worker reports some of the steps that it holds: which, what their handlers said, and a number for details."""

    worker: str
    ends: tuple[tuple[int, str, int], ...]
    want: int


@dataclass(frozen=True)
class Work:
    """A worker takes all that it can and completes everything that it holds."""

    worker: str
    number: int


@dataclass(frozen=True)
class Late:
    """A worker reports a lease that somebody once had, or has."""

    worker: str
    lease: int
    said: str
    number: int


@dataclass(frozen=True)
class Repeat:
    """A worker sends its last report once more."""

    worker: str


@dataclass(frozen=True)
class Release:
    """A worker gives a step back, or tries to give back one that it lost."""

    worker: str
    lease: int


@dataclass(frozen=True)
class Recover:
    """A worker asks what it holds."""

    worker: str


@dataclass(frozen=True)
class Expire:
    """A lease runs out."""

    lease: int


@dataclass(frozen=True)
class Rescue:
    """A rescuer takes all leases that ran out; it may die over it."""

    dies: bool


@dataclass(frozen=True)
class Verb:
    """An operator does something to a task, or to a step of it, whether it fits or not."""

    verb: str
    task: int
    step: int
    number: int


@dataclass(frozen=True)
class Fitting:
    """An operator does something that fits the task's state."""

    task: int
    verb: int
    step: int
    number: int


Event: TypeAlias = Claim | Report | Work | Late | Repeat | Release | Recover | Expire | Rescue | Verb | Fitting

SAID = (
    *("success", "success", "success", "success", "permanent", "permanent", "permanent"),
    *("retryable", "retryable", "yield", "wrong", "yield_back"),
)
VERBS = (
    *("pause", "resume", "retry", "rerun", "reset", "resolve", "complete"),
    *("pause", "resume", "retry", "rerun", "reset", "resolve", "complete"),
    *("cancel", "discard", "settle"),
)
_BYTES_FOR_STEPS = 160
_BYTES_FOR_EVENT = 16
_EVENTS = 70


def event(dice: Dice) -> Event | None:
    """Return something that happens, or nothing."""
    # Zeros are nothing, so that a history can shrink without becoming another one.
    return dice.pick(_MAKERS)(dice)


def _worker_of(dice: Dice) -> str:
    return dice.pick(list(WORKERS))


def _report(dice: Dice) -> Event:
    ends = [(dice.below(30), dice.pick(SAID), dice.below(256)) for _ in range(dice.pick([1, 1, 2, 3]))]
    return Report(_worker_of(dice), tuple(ends), dice.below(4))


def _fitting(dice: Dice) -> Event:
    return Fitting(dice.below(2), dice.below(30), dice.below(30), dice.below(256))


#: The more often one is here, the more often it happens.
_MAKERS: list[Callable[[Dice], Event | None]] = [
    lambda dice: None,
    *[lambda dice: Claim(_worker_of(dice), 1 + dice.below(4))] * 3,
    *[_report] * 13,
    *[lambda dice: Work(_worker_of(dice), dice.below(256))] * 3,
    lambda dice: Late(_worker_of(dice), dice.below(30), dice.pick(SAID), dice.below(256)),
    lambda dice: Repeat(_worker_of(dice)),
    lambda dice: Release(_worker_of(dice), dice.below(30)),
    lambda dice: Recover(_worker_of(dice)),
    *[lambda dice: Expire(dice.below(30))] * 2,
    *[lambda dice: Rescue(dies=dice.below(4) == 1)] * 2,
    *[lambda dice: Verb(dice.pick(VERBS), dice.below(2), dice.below(30), dice.below(256))] * 2,
    *[_fitting] * 6,
]


def histories(types: Sequence[str]) -> st.SearchStrategy[History]:
    """Histories of tasks whose templates have steps of these types."""

    def history(throws: bytes) -> History:
        steps = graph(Dice(throws[1:_BYTES_FOR_STEPS]), types)
        starts = range(_BYTES_FOR_STEPS, len(throws), _BYTES_FOR_EVENT)
        events = [event(Dice(throws[start : start + _BYTES_FOR_EVENT])) for start in starts]
        return History(steps, tuple(each for each in events if each is not None), 1 + (throws[0] % 4 == 1))

    def is_valid(history: History) -> bool:
        return not any(finding.severity is Severity.ERROR for finding in validate(history.template()))

    # One draw of bytes, and not a tree of strategies, whose examples would mostly repeat parts of each other.
    size = _BYTES_FOR_STEPS + _EVENTS * _BYTES_FOR_EVENT
    return st.binary(min_size=size, max_size=size).map(history).filter(is_valid)
