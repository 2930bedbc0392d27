"""Histories that once found a defect, or that chance finds too seldom, as short as they could be made.

They are replayed with every run.
"""

from tests.integration.engine_histories import Claim, Expire, Fitting, History, Late, Report, Rescue, Step, Verb, Work

#: A step that was started early yields its checkpoint in the report that also ends the step before it.
_YIELD_BESIDE_AN_END = History(
    steps=(Step("s0"), Step("s1", after=("s0",)), Step("s2", after=("s1",))),
    events=(
        Verb("complete", 0, 1, 9),
        Claim("half", 4),
        Report("half", ((0, "yield", 1), (1, "success", 1)), 1),
    ),
)

#: What a re-run cannot start at once leaves the task blocked, and its dead letter open.
_RERUN_OF_A_BLOCKED_STEP = History(
    steps=(Step("s0"), Step("s1", after=("s0",))),
    events=(
        Verb("complete", 0, 1, 1),
        Claim("both", 4),
        Report("both", ((0, "permanent", 0),), 0),
        Verb("rerun", 0, 1, 1),
    ),
)

#: The dead letter of the task goes when only failures with dead letters of their own are left.
_ONLY_AN_ISOLATED_FAILURE_IS_LEFT = History(
    steps=(Step("s0", "batchable"), Step("s1", "batch_worker", ("s0",)), Step("s2")),
    events=(
        Claim("both", 4),
        Report("both", ((0, "success", 26), (1, "permanent", 0)), 4),
        Report("both", ((0, "permanent", 0),), 0),
        Verb("resolve", 0, 1, 1),
        Verb("resolve", 0, 2, 1),
    ),
)

#: A failed batch worker that is completed by hand frees its slot once; all strategies.
_FAILED_WORKERS_COMPLETED_BY_HAND = tuple(
    History(
        steps=(
            Step("s0", "batchable"),
            Step("s1", "batch_worker", ("s0",), strategy=strategy),
            Step("s2", "deferred_convergence", ("s1",)),
        ),
        events=(
            Claim("both", 1),
            Report("both", ((0, "success", 24),), 4),
            Report("both", ((0, "permanent", 0),), 4),
            Verb("complete", 0, 1, 1),
            Verb("complete", 0, 2, 1),
            Report("both", ((0, "permanent", 0),), 0),
            Fitting(0, 1, 0, 1),
            Claim("both", 4),
        ),
    )
    for strategy in ("isolate", "fail_fast", "continue_on_failure")
)

#: A task that is discarded while batch workers run gives their slots back.
_DISCARDED_WHILE_WORKERS_RUN = History(
    steps=(Step("s0", "batchable"), Step("s1", "batch_worker", ("s0",), parallelism=2)),
    events=(
        Claim("both", 1),
        Report("both", ((0, "success", 24),), 4),
        Report("both", ((0, "permanent", 0),), 0),
        Verb("discard", 0, 0, 0),
        Verb("reset", 0, 1, 0),
        Claim("both", 4),
        Late("both", 1, "success", 0),
    ),
)

#: A convergence that waits for two decisions goes on when the second chooses nothing.
_FREED_BY_WHAT_IS_NOT_CHOSEN = History(
    steps=(
        Step("s0"),
        Step("s1", "decision", ("s0",)),
        Step("s2", "decision", ("s0",)),
        Step("s3", after=("s1",)),
        Step("s4", after=("s2",)),
        Step("s5", "deferred_convergence", ("s3", "s4")),
    ),
    events=(
        Work("both", 0),
        Claim("both", 1),
        Report("both", ((0, "success", 1),), 4),
        Report("both", ((0, "success", 1),), 0),
        Claim("both", 1),
        Report("both", ((0, "success", 0),), 4),
    ),
)

#: Two decisions of one task in one report; the second is planned after the first.
_TWO_DECISIONS_IN_ONE_REPORT = History(
    steps=(
        Step("s0"),
        Step("s1", "decision", ("s0",)),
        Step("s2", "decision", ("s0",)),
        Step("s3", after=("s1", "s2")),
        Step("s4", "deferred_convergence", ("s1", "s2", "s3")),
    ),
    events=(Work("both", 0), Claim("both", 2), Report("both", ((0, "success", 3), (1, "success", 3)), 4)),
)

#: What the first of two decisions in one report chooses was still possible then; the second does not choose it.
_REPORTS_COUNT_IN_THEIR_ORDER = History(
    steps=(
        Step("s0"),
        Step("s1", "decision", ("s0",)),
        Step("s2", "decision", ("s0",)),
        Step("s3", after=("s1", "s2")),
    ),
    events=(Work("both", 0), Claim("both", 2), Report("both", ((0, "success", 1), (1, "success", 0)), 4)),
)

#: A decision is run again and decides in the report that also ends the last batch worker; a convergence waits for both.
_DECISION_BESIDE_THE_LAST_WORKER = History(
    steps=(
        Step("s0", "decision", ("s1",)),
        Step("s1"),
        Step("s2", "batchable", ("s1",)),
        Step("s3", "batch_worker", ("s2",)),
        Step("s4", "deferred_convergence", ("s0", "s3")),
    ),
    events=(
        Work("both", 1),
        Claim("both", 4),
        Report("both", ((0, "success", 1), (1, "success", 26)), 4),
        Report("both", ((0, "permanent", 0),), 0),
        Verb("rerun", 0, 0, 1),
        Verb("reset", 0, 3, 1),
        Claim("both", 4),
        Report("both", ((0, "success", 1), (1, "success", 1)), 4),
    ),
)

#: A lease that two rescuers took, one of which died; its first holder's report comes after all that.
_RESCUED_TWICE = History(
    steps=(Step("s0", attempts=2), Step("s1", after=("s0",))),
    events=(
        Claim("both", 1),
        Expire(0),
        Rescue(dies=True),
        Late("both", 0, "success", 0),
        Expire(0),
        Rescue(dies=False),
        Late("both", 0, "success", 0),
        Claim("half", 1),
    ),
)

FAILING: tuple[History, ...] = (
    _YIELD_BESIDE_AN_END,
    _RERUN_OF_A_BLOCKED_STEP,
    _ONLY_AN_ISOLATED_FAILURE_IS_LEFT,
    *_FAILED_WORKERS_COMPLETED_BY_HAND,
    _DISCARDED_WHILE_WORKERS_RUN,
    _FREED_BY_WHAT_IS_NOT_CHOSEN,
    _TWO_DECISIONS_IN_ONE_REPORT,
    _REPORTS_COUNT_IN_THEIR_ORDER,
    _DECISION_BESIDE_THE_LAST_WORKER,
    _RESCUED_TWICE,
)
