"""What each step of a task waits for, in words."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker_core.engine.blockers import Blocker, Explanation, StepFacts, TaskFacts, explain
from tasker_core.engine.expansion import Structure
from tasker_core.engine.planner import Plan, plan_task
from tasker_core.states import StepState, TaskState
from tasker_core.template import load_text

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BEFORE, AFTER = NOW - timedelta(minutes=5), NOW + timedelta(minutes=5)
RUNNING = TaskFacts(NOW, TaskState.STEPS_IN_PROCESS)
PAUSED = TaskFacts(NOW, TaskState.STEPS_IN_PROCESS, paused_at=BEFORE, paused_by="ada", pause_reason="stock-taking")
CANCELLED = TaskFacts(NOW, TaskState.CANCELLED, completed_at=BEFORE, changed_by="ada", change_reason="ordered twice")

HEADER = "name: t\nnamespace_name: test\nversion: 1.0.0\nsteps:\n"
CHAIN = plan_task(
    load_text(
        HEADER
        + """
  - {name: a, handler: {callable: shop.a}}
  - {name: b, handler: {callable: shop.b}}
  - {name: c, handler: {callable: shop.c}, dependencies: [a, b]}
"""
    )
)
ROUTED = plan_task(
    load_text(
        HEADER
        + """
  - {name: first, handler: {callable: h}}
  - {name: route, type: decision, handler: {callable: h}, dependencies: [first]}
  - {name: left, handler: {callable: h}, dependencies: [route]}
  - {name: right, handler: {callable: h}, dependencies: [route]}
  - {name: after_left, handler: {callable: h}, dependencies: [left]}
  - {name: join, type: deferred_convergence, handler: {callable: h}, dependencies: [after_left, right]}
"""
    )
)
BATCHED = {
    strategy: plan_task(
        load_text(
            HEADER
            + f"""
  - {{name: split, type: batchable, handler: {{callable: h}}}}
  - name: part
    type: batch_worker
    handler: {{callable: h}}
    dependencies: [split]
    batch_config: {{parallelism: 2, failure_strategy: {strategy}}}
  - {{name: gather, type: deferred_convergence, handler: {{callable: h}}, dependencies: [part]}}
"""
        )
    )
    for strategy in ("fail_fast", "isolate")
}


def explained(
    plan: Plan,
    facts: Mapping[str, Mapping[str, Any]],
    task: TaskFacts = RUNNING,
    *,
    chosen: Mapping[str, list[str]] | None = None,
    moulds: tuple[str, ...] = (),
) -> dict[str, Explanation]:
    """Explain a task that has the steps in ``facts``; ``part_N`` is a batch worker made from ``part``."""
    steps, ordinals, count = [], plan.ordinals, len(plan.steps)
    for name, fields in facts.items():
        ordinal = ordinals[name] if name in ordinals else count + int(name.removeprefix("part_"))
        steps.append(StepFacts(ordinal, ordinals.get(name, ordinals.get("part", -1)), name, **fields))
    structure = Structure(
        existing=frozenset(ordinals[name] for name in facts if name in ordinals),
        chosen={
            ordinals[decision]: frozenset(ordinals[name] for name in names)
            for decision, names in (chosen or {}).items()
        },
        moulds=frozenset(ordinals[name] for name in moulds),
    )
    return {explanation.step: explanation for explanation in explain(plan, structure, task, steps)}


def only(facts: Mapping[str, Any], task: TaskFacts = RUNNING) -> Explanation:
    return explained(CHAIN, {"a": facts}, task)["a"]


DONE = {"state": StepState.COMPLETE, "finished_at": BEFORE}
PENDING = {"state": StepState.PENDING}
FAILED = {
    "state": StepState.ERROR,
    "finished_at": BEFORE,
    "error_type": "permanent_error",
    "error_message": "no such account",
}
READY = {"state": StepState.ENQUEUED, "status": "ready", "enqueued_at": BEFORE, "has_live_worker": True}
ABANDONED = {**READY, "has_live_worker": False}
LEASED = {
    "state": StepState.IN_PROGRESS,
    "status": "leased",
    "enqueued_at": BEFORE,
    "leased_at": BEFORE,
    "wake_at": AFTER,
    "worker": "w1",
}
BACKOFF = {
    **FAILED,
    "state": StepState.WAITING_FOR_RETRY,
    "finished_at": None,
    "status": "delayed",
    "enqueued_at": AFTER,
    "wake_at": AFTER,
}
OVERDUE = {**BACKOFF, "enqueued_at": BEFORE, "wake_at": BEFORE}
DELAYED = {"state": StepState.ENQUEUED, "status": "delayed", "enqueued_at": BEFORE, "wake_at": AFTER}


@pytest.mark.parametrize(
    ("facts", "task", "blocker"),
    [
        # An end comes before everything.
        (DONE, RUNNING, Blocker.DONE),
        (DONE, CANCELLED, Blocker.DONE),
        ({"state": StepState.RESOLVED_MANUALLY}, RUNNING, Blocker.DONE),
        (FAILED, RUNNING, Blocker.FAILED),
        (FAILED, PAUSED, Blocker.FAILED),
        (FAILED, CANCELLED, Blocker.FAILED),
        ({"state": StepState.CANCELLED}, CANCELLED, Blocker.TASK_OVER),
        ({"state": StepState.CANCELLED}, RUNNING, Blocker.TASK_OVER),
        # Then a lease: it goes on to its end whatever happens to the task.
        (LEASED, RUNNING, Blocker.LEASED),
        (LEASED, PAUSED, Blocker.LEASED),
        # Then the end of the task.
        (PENDING, CANCELLED, Blocker.TASK_OVER),
        # Then a pause.
        ({**READY, "status": "held"}, PAUSED, Blocker.PAUSED),
        ({**ABANDONED, "status": "held"}, PAUSED, Blocker.PAUSED),
        ({**BACKOFF, "status": "held"}, PAUSED, Blocker.PAUSED),
        ({**DELAYED, "status": "held"}, PAUSED, Blocker.PAUSED),
        # Then a time that has not come, and then the lack of workers.
        (READY, RUNNING, Blocker.CLAIMABLE),
        (ABANDONED, RUNNING, Blocker.NO_WORKER),
        (OVERDUE, RUNNING, Blocker.NO_WORKER),
        ({**OVERDUE, "has_live_worker": True}, RUNNING, Blocker.CLAIMABLE),
        (BACKOFF, RUNNING, Blocker.BACKOFF),
        ({**BACKOFF, "has_live_worker": True}, RUNNING, Blocker.BACKOFF),
        (DELAYED, RUNNING, Blocker.DELAYED_START),
    ],
)
def test_the_blocker_is_what_really_keeps_the_step_from_running(
    facts: Mapping[str, Any], task: TaskFacts, blocker: Blocker
) -> None:
    assert only(facts, task).blocker is blocker


def test_unmet_dependencies_come_before_a_pause() -> None:
    assert explained(CHAIN, {"a": READY, "b": DONE, "c": PENDING}, PAUSED)["c"].blocker is Blocker.UNMET_DEPENDENCIES


def test_a_lease_says_who_since_when_and_until_when() -> None:
    answer = only(LEASED)
    assert (answer.worker, answer.since, answer.until) == ("w1", BEFORE, AFTER)
    assert answer.sentence == ("worker w1 runs it since 2026-03-01T11:55:00Z, leased until 2026-03-01T12:05:00Z")


@pytest.mark.parametrize("change", [{"wake_at": BEFORE}, {"rescued": True}])
def test_a_lease_that_ended_is_not_told_as_work_under_way(change: dict[str, Any]) -> None:
    answer = only({**LEASED, **change})
    assert (answer.blocker, answer.worker) == (Blocker.LEASED, "w1")
    assert answer.sentence == "the lease of worker w1 ended without a report; the attempt counts as failed"


def test_unmet_dependencies_are_named_with_their_states_and_met_ones_are_not() -> None:
    answer = explained(CHAIN, {"a": FAILED, "b": DONE, "c": PENDING})["c"]
    assert (answer.waits_for, answer.sentence) == (("a",), "waits for a (error)")
    answer = explained(CHAIN, {"a": LEASED, "b": BACKOFF, "c": PENDING})["c"]
    assert (answer.waits_for, answer.sentence) == (("a", "b"), "waits for a (in_progress), b (waiting_for_retry)")


def test_a_failure_says_what_went_wrong_and_what_an_operator_can_do() -> None:
    answer = only(FAILED)
    assert answer.since == BEFORE
    assert answer.sentence == (
        "it failed: permanent_error: no such account; "
        "reset it for another try, complete it by hand with a result, or resolve it to go on without one"
    )


def test_a_back_off_says_until_when_and_why() -> None:
    answer = only(BACKOFF)
    assert answer.until == AFTER
    assert answer.sentence == (
        "its last attempt failed (permanent_error: no such account); the next is due at 2026-03-01T12:05:00Z"
    )


def test_a_delayed_start_says_when_it_is() -> None:
    assert (only(DELAYED).until, only(DELAYED).sentence) == (AFTER, "the task is to start at 2026-03-01T12:05:00Z")


def test_a_missing_worker_is_told_by_its_handler_and_when_one_was_last_seen() -> None:
    never, once = only(ABANDONED), only({**ABANDONED, "worker_seen_at": BEFORE})
    assert never.sentence == "no live worker has a handler for shop.a; none ever had"
    assert once.sentence == (
        "no live worker has a handler for shop.a; one that had was last seen at 2026-03-01T11:55:00Z"
    )


def test_a_pause_says_who_since_when_and_why() -> None:
    answer = only({**READY, "status": "held"}, PAUSED)
    assert answer.since == BEFORE
    assert answer.sentence == "the task is paused since 2026-03-01T11:55:00Z by ada: stock-taking"


def test_the_end_of_a_task_says_by_whom_and_why() -> None:
    answer = only({"state": StepState.CANCELLED}, CANCELLED)
    assert (answer.since, answer.sentence) == (BEFORE, "the task was cancelled by ada: ordered twice")


# -- decisions


def test_until_the_decision_is_made_what_comes_after_it_is_undecided() -> None:
    answers = explained(ROUTED, {"first": LEASED, "route": PENDING})
    assert {name: answer.blocker for name, answer in answers.items() if answer.state == "absent"} == dict.fromkeys(
        ["left", "right", "after_left", "join"], Blocker.UNDECIDED
    )
    assert answers["after_left"].waits_for == ("route",)
    assert answers["join"].sentence == "decision route has not been made (pending)"


def test_what_the_decision_did_not_choose_is_skipped_and_so_is_what_comes_after_it() -> None:
    facts = {"first": DONE, "route": DONE, "right": READY, "join": PENDING}
    answers = explained(ROUTED, facts, chosen={"route": ["right"]})
    assert {answers[name].blocker for name in ("left", "after_left")} == {Blocker.SKIPPED}
    assert answers["left"].sentence == "decision route did not choose it"
    assert answers["after_left"].sentence == "decision route did not choose left, which comes before it"


def test_a_convergence_waits_for_the_branches_that_were_chosen_only() -> None:
    facts = {"first": DONE, "route": DONE, "right": READY, "join": PENDING}
    answer = explained(ROUTED, facts, chosen={"route": ["right"]})["join"]
    assert (answer.waits_for, answer.sentence) == (("right",), "waits for right (enqueued)")


def test_a_dependency_that_may_still_come_is_named_with_the_decision_it_hangs_on() -> None:
    plan = plan_task(
        load_text(
            HEADER
            + """
  - {name: start, handler: {callable: h}}
  - {name: one, type: decision, handler: {callable: h}, dependencies: [start]}
  - {name: two, type: decision, handler: {callable: h}, dependencies: [start]}
  - {name: left, handler: {callable: h}, dependencies: [one]}
  - {name: right, handler: {callable: h}, dependencies: [two]}
  - {name: join, type: deferred_convergence, handler: {callable: h}, dependencies: [left, right]}
"""
        )
    )
    facts = {"start": DONE, "one": DONE, "two": LEASED, "left": DONE, "join": PENDING}
    answer = explained(plan, facts, chosen={"one": ["left"]})["join"]
    assert answer.sentence == "waits for right (not created; decision two has not been made (in_progress))"
    assert answer.waits_for == ("right",)


def test_in_a_task_that_is_over_nothing_is_undecided() -> None:
    answers = explained(ROUTED, {"first": DONE, "route": {"state": StepState.CANCELLED}}, CANCELLED)
    assert answers["left"].blocker is Blocker.TASK_OVER


# -- batches


def parts(states: list[Mapping[str, Any]], strategy: str = "isolate", **fields: Mapping[str, Any]) -> dict[str, Any]:
    facts = {"split": DONE, "gather": PENDING, **fields} | {f"part_{n}": state for n, state in enumerate(states)}
    return explained(BATCHED[strategy], facts, moulds=("part",))


def test_before_the_analyzer_is_done_batch_workers_and_what_gathers_them_are_undecided() -> None:
    answers = explained(BATCHED["isolate"], {"split": LEASED})
    assert {answers[name].blocker for name in ("part", "gather")} == {Blocker.UNDECIDED}
    assert answers["gather"].sentence == "split has not said which batches there are (in_progress)"


def test_batch_workers_stand_in_for_their_mould() -> None:
    assert list(parts([DONE, READY])) == ["split", "part_0", "part_1", "gather"]


def test_a_convergence_tells_how_many_batch_workers_are_open_and_names_five() -> None:
    answer = parts([DONE] * 3 + [FAILED] + [LEASED] * 2 + [PENDING] * 4)["gather"]
    assert answer.sentence == (
        "waits for 7 of 10 batch workers of part: part_3 (error), part_4 (in_progress), part_5 (in_progress), "
        "part_6 (pending), part_7 (pending) and 2 more"
    )
    assert answer.waits_for == ("part_3", "part_4", "part_5", "part_6", "part_7")


def test_a_batch_worker_beyond_the_parallelism_waits_for_those_under_way() -> None:
    answer = parts([DONE, LEASED, READY, PENDING])["part_3"]
    assert (answer.blocker, answer.waits_for) == (Blocker.PARALLELISM, ("part_1", "part_2"))
    assert answer.sentence == ("2 of at most 2 workers of batch part are under way; it follows when one of them ends")


def test_a_batch_worker_cancelled_by_the_failure_of_another_names_that_one() -> None:
    answer = parts([FAILED, {"state": StepState.CANCELLED}], "fail_fast")["part_1"]
    assert (answer.blocker, answer.waits_for) == (Blocker.FAILED, ("part_0",))
    assert answer.sentence == (
        "it was cancelled when part_0 of its batch failed (fail_fast): permanent_error: no such account"
    )


def test_a_mould_of_which_no_batches_were_made_is_skipped() -> None:
    answers = explained(BATCHED["isolate"], {"split": DONE, "gather": READY}, moulds=("part",))
    assert answers["part"].blocker is Blocker.SKIPPED
    assert answers["part"].sentence == "it is not needed: split found nothing for batches"


def test_a_mould_that_the_analyzer_passed_over_is_skipped_and_nothing_waits_for_it() -> None:
    plan = plan_task(
        load_text(
            HEADER
            + """
  - {name: split, type: batchable, handler: {callable: h}}
  - {name: part, type: batch_worker, handler: {callable: h}, dependencies: [split], batch_config: {}}
  - {name: large, type: batch_worker, handler: {callable: h}, dependencies: [split], batch_config: {}}
  - {name: gather, type: deferred_convergence, handler: {callable: h}, dependencies: [part, large]}
  - {name: report, type: deferred_convergence, handler: {callable: h}, dependencies: [large]}
"""
        )
    )
    facts = {"split": DONE, "gather": PENDING, "part_0": LEASED}
    answers = explained(plan, facts, moulds=("part",))
    assert answers["large"].blocker is Blocker.SKIPPED
    assert answers["large"].sentence == "split did not use it"
    assert answers["report"].sentence == "split did not use large, which comes before it"
    assert answers["gather"].waits_for == ("part_0",)


# -- always

ANY_STEP = st.sampled_from([DONE, PENDING, FAILED, READY, ABANDONED, LEASED, BACKOFF, OVERDUE, DELAYED])


@given(st.fixed_dictionaries(dict.fromkeys("abc", ANY_STEP)), st.sampled_from([RUNNING, PAUSED, CANCELLED]))
def test_every_step_has_one_answer_with_its_state_and_a_sentence(facts: dict[str, Any], task: TaskFacts) -> None:
    answers = explained(CHAIN, facts, task)
    assert list(answers) == ["a", "b", "c"]
    for name, answer in answers.items():
        assert answer.state == facts[name]["state"]
        assert answer.sentence
        assert (answer.blocker is Blocker.DONE) == (facts[name] is DONE)
        assert set(answer.waits_for) <= {"a", "b"}


def test_ten_thousand_steps_are_explained_at_once() -> None:
    states = [DONE] * 1_000 + [LEASED] * 2 + [PENDING] * 8_998
    answers = parts(states)
    assert len(answers) == 10_002
    assert "9000 of 10000 batch workers" in answers["gather"].sentence
