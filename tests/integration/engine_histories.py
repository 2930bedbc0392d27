"""Random templates and random histories of what may happen to their tasks, in a form that is short to write down."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TypeAlias

from hypothesis import assume
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


@st.composite
def graphs(draw: st.DrawFn, types: Sequence[str]) -> tuple[Step, ...]:
    """Random steps of a valid template, in any order."""
    size = draw(st.integers(3, 10))
    steps: list[Step] = []
    while len(steps) < size:
        steps.append(_step(draw, steps, draw(st.sampled_from(types)) if steps else "standard"))
        if steps[-1].type == "batchable":
            analyzer = steps[-1].name
            workers = draw(st.sampled_from([1, 1, 1, 2]))
            steps += [_worker(draw, f"s{len(steps) + place}", analyzer) for place in range(workers)]
    for step in tuple(steps):
        if step.type == "decision" and not any(step.name in other.after for other in steps):
            steps.append(_step(draw, steps, "standard", step.name))
    drawn = tuple(draw(st.permutations(steps)))
    assume(not any(finding.severity is Severity.ERROR for finding in validate(History(drawn, ()).template())))
    return drawn


def _step(draw: st.DrawFn, before: Sequence[Step], kind: str, needs: str | None = None) -> Step:
    """A step after some of those before it, ``needs`` among them."""
    possible = [step.name for step in before if kind == "deferred_convergence" or step.type != "batch_worker"]
    least = int(kind in ("decision", "deferred_convergence") and needs is None)
    # The latest come first, so that graphs get deep.
    names = st.lists(st.sampled_from(possible[::-1]), min_size=least, max_size=3, unique=True)
    after = draw(names) if possible else []
    return Step(
        f"s{len(before)}",
        kind,
        tuple(dict.fromkeys([*([needs] if needs else []), *after])),
        callable=draw(st.sampled_from("bba")),
        attempts=draw(st.integers(1, 3)),
        retryable=draw(st.sampled_from([True, True, True, False])),
    )


def _worker(draw: st.DrawFn, name: str, analyzer: str) -> Step:
    return Step(
        name,
        "batch_worker",
        (analyzer,),
        callable=draw(st.sampled_from("bba")),
        attempts=draw(st.integers(1, 3)),
        parallelism=draw(st.integers(1, 3)),
        strategy=draw(st.sampled_from([strategy.value for strategy in FailureStrategy])),
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
    """An operator does something to a task, and maybe to a step; ``sensible`` looks for one that it fits."""

    verb: str
    task: int
    step: int
    sensible: bool
    number: int


Event: TypeAlias = Claim | Report | Work | Late | Repeat | Release | Recover | Expire | Rescue | Verb


SAID = ("success", "success", "success", "success", "retryable", "permanent", "wrong", "yield", "yield_back")
ENDING_VERBS = ("cancel", "discard", "settle")
VERBS = ("pause", "resume", "retry", "rerun", "rerun", "reset", "reset", "resolve", "complete", "complete")

_places = st.integers(0, 30)
_numbers = st.integers(0, 255)
_workers = st.sampled_from(list(WORKERS))
_end = st.tuples(_places, st.sampled_from(SAID), _numbers)
_reports = st.one_of(
    st.builds(Report, _workers, st.tuples(_end), st.integers(0, 4)),
    st.builds(Report, _workers, st.lists(_end, min_size=2, max_size=4).map(tuple), st.integers(0, 4)),
)
_verbs = st.builds(
    Verb,
    st.sampled_from([*VERBS, *VERBS, *ENDING_VERBS]),
    st.integers(0, 1),
    _places,
    st.sampled_from([True, True, True, False]),
    _numbers,
)
_events = st.one_of(
    # Nothing, so that a history can shrink without becoming another one.
    st.none(),
    st.builds(Work, _workers, _numbers),
    st.builds(Work, st.just("both"), _numbers),
    st.builds(Claim, _workers, st.integers(1, 6)),
    _reports,
    _reports,
    _reports,
    st.builds(Late, _workers, _places, st.sampled_from(SAID), _numbers),
    st.builds(Repeat, _workers),
    st.builds(Release, _workers, _places),
    st.builds(Recover, _workers),
    st.builds(Expire, _places),
    st.builds(Rescue, st.sampled_from([False, False, True])),
    _verbs,
    _verbs,
    _verbs,
)


def histories(types: Sequence[str]) -> st.SearchStrategy[History]:
    """Histories of tasks whose templates have steps of these types."""
    # Without a least number most histories would be too short to get anywhere.
    events = st.lists(_events, min_size=40, max_size=80).map(lambda drawn: tuple(e for e in drawn if e is not None))
    return st.builds(History, graphs(types), events, st.sampled_from([1, 1, 2]))
