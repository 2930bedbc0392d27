"""Which steps an outcome calls into being, which can never exist after it, and which outcomes are refused."""

from collections.abc import Mapping
from typing import Any

import pytest

from tasker_core import identifiers
from tasker_core.engine import expansion
from tasker_core.engine.expansion import Expansion, InvalidOutcomeError, Structure, Verdict
from tasker_core.engine.planner import plan_task
from tasker_core.step_source import LeaseKey
from tasker_core.template import FailureStrategy, load_text

NO_BRANCHES = {"decision_point_outcome": {"type": "no_branches"}}
NO_BATCHES = {"batch_processing_outcome": {"type": "no_batches"}}


def choose(*names: object) -> dict[str, Any]:
    return {"decision_point_outcome": {"type": "create_steps", "step_names": list(names)}}


def batches(*ids: str, **fields: Any) -> dict[str, Any]:
    cursors = [{"batch_id": batch_id, "start_cursor": n, "end_cursor": n + 1} for n, batch_id in enumerate(ids)]
    outcome = {"type": "create_batches", "cursor_configs": cursors, "worker_count": len(ids)}
    return {"batch_processing_outcome": {**outcome, **fields}}


class Task:
    """Which steps a task has, as its decisions and analyzers are carried out one by one.

    Each line of its text is a step: ``name < dependency dependency : type``. The type is ``standard`` by default;
    ``more`` has further keys by step name.
    """

    def __init__(self, text: str, more: Mapping[str, str] | None = None) -> None:
        lines = [_line(line, more or {}) for line in text.split("\n") if line.strip()]
        steps = "\n".join(lines)
        self.plan = plan_task(load_text(f"name: t\nnamespace_name: test\nversion: 1.0.0\nsteps:\n{steps}\n"))
        self.structure = Structure(frozenset(step.ordinal for step in self.plan.steps if step.initial))

    def expand(self, step: str, result: object) -> Expansion:
        """Carry out an outcome and go on with what the task is then."""
        ordinal = self.plan.ordinals[step]
        expanded = expansion.expand(self.plan, self.structure, ordinal, result)
        chosen = dict(self.structure.chosen)
        if ordinal in self.plan.decisions:
            chosen[ordinal] = expansion.named_steps(self.plan, result)
        moulds = {expanded.batch.mould} if expanded.batch is not None else set()
        self.structure = Structure(
            self.structure.existing | frozenset(expanded.create),
            chosen,
            self.structure.moulds | moulds,
            self.structure.revision + 1,
        )
        return expanded

    def created(self, step: str, result: object) -> set[str]:
        """Carry out an outcome and return the steps that it creates."""
        return self.names(self.expand(step, result).create)

    def refusal(self, step: str, result: object) -> str:
        """The message with which an outcome is refused."""
        with pytest.raises(InvalidOutcomeError) as refused:
            self.expand(step, result)
        kind = "decision" if self.plan.ordinals[step] in self.plan.decisions else "batch"
        assert refused.value.error_type == f"invalid_{kind}_outcome"
        prefix = f"{'decision' if kind == 'decision' else 'batchable'} step '{step}' cannot be carried out: "
        assert str(refused.value).startswith(prefix)
        return str(refused.value).removeprefix(prefix)

    def verdict(self, step: str) -> Verdict:
        return expansion.verdicts(self.plan, self.structure)[self.plan.ordinals[step]]

    def dead(self) -> set[str]:
        return self.names(expansion.dead_steps(self.plan, self.structure))

    def names(self, ordinals: tuple[int, ...]) -> set[str]:
        assert len(ordinals) == len(set(ordinals))
        return {self.plan.steps[ordinal].step.name for ordinal in ordinals}


def _line(line: str, more: Mapping[str, str]) -> str:
    declared, _, kind = line.partition(":")
    name, _, dependencies = (part.strip() for part in declared.partition("<"))
    extra = ", batch_config: {}" if kind.strip() == "batch_worker" and "batch_config" not in more.get(name, "") else ""
    extra += f", {more[name]}" if name in more else ""
    handler = "" if "handler" in extra else ", handler: {callable: h}"
    return (
        f"  - {{name: {name}, type: {kind.strip() or 'standard'}, dependencies: [{', '.join(dependencies.split())}]"
        f"{handler}{extra}}}"
    )


ROUTED = """
    start
    route < start : decision
    a < route
    a2 < a
    b < route
    b2 < b
    both < a b
    end < a2 b2 : deferred_convergence
"""
BATCHED = """
    analyze : batchable
    part < analyze : batch_worker
    gather < part : deferred_convergence
    after < gather
"""


# -- decisions: standard steps


def test_a_chosen_step_exists_with_everything_that_needs_only_what_exists() -> None:
    assert Task(ROUTED).created("route", choose("a")) == {"a", "a2", "end"}


def test_what_was_not_chosen_and_what_needs_it_can_never_exist() -> None:
    expanded = Task(ROUTED).expand("route", choose("a"))
    assert Task(ROUTED).names(expanded.dead) == Task(ROUTED).names(expanded.newly_dead) == {"b", "b2", "both"}


def test_a_step_that_needs_several_branches_exists_only_if_all_are_chosen() -> None:
    assert Task(ROUTED).created("route", choose("a", "b")) == {"a", "a2", "b", "b2", "both", "end"}


@pytest.mark.parametrize("nothing", [NO_BRANCHES, choose(), None], ids=["no_branches", "no names", "resolved by hand"])
def test_a_decision_that_chooses_nothing_creates_nothing_and_ends_all_that_depends_on_it(nothing: object) -> None:
    task = Task(ROUTED)
    assert task.created("route", nothing) == set()
    assert task.dead() == {"a", "a2", "b", "b2", "both", "end"}


def test_nothing_is_dead_before_a_decision_was_made() -> None:
    assert Task(ROUTED).dead() == set()
    assert Task(ROUTED).verdict("both") is Verdict.OPEN


def test_a_step_that_depends_on_an_early_step_too_is_created_all_the_same() -> None:
    task = Task("start\nroute < start : decision\nearly < start\nx < route early\ny < x early")
    assert task.created("route", choose("x")) == {"x", "y"}


TWO_DECISIONS = """
    start
    first < start : decision
    second < start : decision
    x < first second
    y < first
    z < second
"""


def test_a_step_of_two_decisions_exists_once_both_have_chosen_it() -> None:
    task = Task(TWO_DECISIONS)
    assert task.created("first", choose("x", "y")) == {"y"}
    assert task.verdict("x") is Verdict.OPEN
    assert task.created("second", choose("x")) == {"x"}


def test_a_step_that_one_of_its_decisions_did_not_choose_can_never_exist() -> None:
    task = Task(TWO_DECISIONS)
    task.expand("first", choose("x"))
    task.expand("second", choose("z"))
    assert task.verdict("x") is Verdict.DEAD


def test_the_second_of_two_decisions_cannot_choose_what_the_first_left_out() -> None:
    task = Task(TWO_DECISIONS)
    task.expand("first", choose("y"))
    assert task.refusal("second", choose("x")) == (
        "step 'x' cannot run: decision 'first', which it also depends on, did not choose it"
    )


# -- decisions: nesting


NESTED = """
    start
    outer < start : decision
    a < outer
    inner < a : decision
    x < inner
    y < inner
    b < outer
    end < x y b : deferred_convergence
"""


def test_a_nested_decision_exists_with_its_branch_and_chooses_in_its_turn() -> None:
    task = Task(NESTED)
    assert task.created("outer", choose("a")) == {"a", "inner"}
    assert task.verdict("x") is Verdict.OPEN
    assert task.created("inner", choose("y")) == {"y", "end"}
    assert task.dead() == {"b", "x"}


def test_a_nested_decision_that_is_not_reached_ends_its_branches() -> None:
    task = Task(NESTED)
    assert task.created("outer", choose("b")) == {"b", "end"}
    assert task.dead() == {"a", "inner", "x", "y"}


def test_a_convergence_can_never_exist_once_no_branch_of_any_level_can() -> None:
    task = Task(NESTED)
    task.expand("outer", choose("a"))
    task.expand("inner", NO_BRANCHES)
    assert task.verdict("end") is Verdict.DEAD


UNDER = "start\nouter < start : decision\ninner < outer : decision\nx < inner\ny < outer"


def test_a_decision_directly_under_a_decision_exists_if_it_is_chosen() -> None:
    task = Task(UNDER)
    assert task.created("outer", choose("inner")) == {"inner"}
    assert task.created("inner", choose("x")) == {"x"}


def test_a_decision_directly_under_a_decision_can_never_exist_if_it_is_not_chosen() -> None:
    task = Task(UNDER)
    assert task.created("outer", choose("y")) == {"y"}
    assert task.dead() == {"inner", "x"}


# -- convergences


def test_a_convergence_does_not_exist_for_the_sake_of_an_early_step_alone() -> None:
    task = Task("start\nroute < start : decision\na < route\nend < a start : deferred_convergence")
    assert task.verdict("end") is Verdict.OPEN
    assert task.created("route", NO_BRANCHES) == set()
    assert task.verdict("end") is Verdict.DEAD


def test_a_convergence_of_early_steps_only_exists_from_the_start() -> None:
    task = Task("a\nb\nend < a b : deferred_convergence")
    assert task.verdict("end") is Verdict.EXISTS


def test_a_convergence_may_depend_on_a_decision_directly_and_exists_if_that_chooses_it() -> None:
    shape = "start\nroute < start : decision\na < route\nend < a route : deferred_convergence"
    assert Task(shape).created("route", choose("end")) == {"end"}
    assert Task(shape).created("route", choose("a")) == {"a", "end"}
    assert Task(shape).created("route", NO_BRANCHES) == set()


LATE = """
    start
    first < start : decision
    second < start : decision
    a < first
    b < second
    end < a b : deferred_convergence
"""


def test_a_convergence_exists_with_its_first_branch_while_another_is_open() -> None:
    task = Task(LATE)
    assert task.created("first", choose("a")) == {"a", "end"}
    assert task.verdict("b") is Verdict.OPEN
    assert task.created("second", choose("b")) == {"b"}


def test_a_branch_that_falls_away_later_is_said_to_be_newly_dead_once() -> None:
    task = Task(LATE)
    task.expand("first", choose("a"))
    expanded = task.expand("second", NO_BRANCHES)
    assert (task.names(expanded.create), task.names(expanded.newly_dead)) == (set(), {"b"})
    assert task.names(expanded.dead) == {"b"}


def test_what_was_dead_before_is_dead_but_not_newly() -> None:
    task = Task(LATE)
    task.expand("first", NO_BRANCHES)
    expanded = task.expand("second", choose("b"))
    assert (task.names(expanded.create), task.names(expanded.dead)) == ({"b", "end"}, {"a"})
    assert expanded.newly_dead == ()


def test_a_chain_of_convergences_is_created_together() -> None:
    shape = """
        start
        route < start : decision
        a < route
        one < a : deferred_convergence
        two < one start : deferred_convergence
        last < two
    """
    assert Task(shape).created("route", choose("a")) == {"a", "one", "two", "last"}


def test_a_step_named_again_by_another_decision_is_not_created_again() -> None:
    task = Task(
        """
        start
        first < start : decision
        second < start : decision
        a < first
        b < second
        end < a b second : deferred_convergence
        """
    )
    assert task.created("first", choose("a")) == {"a", "end"}
    assert task.created("second", choose("end", "b")) == {"b"}


def test_naming_a_descendant_that_follows_anyway_changes_nothing() -> None:
    assert Task(ROUTED).created("route", choose("a", "a2", "end")) == {"a", "a2", "end"}


# -- decisions: invalid outcomes


HINT = "its result has no decision_point_outcome; return decision_success([...]) or skip_branches(reason)"


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({}, HINT),
        ("text", HINT),
        ([], HINT),
        ({"decision_point_outcome": "a"}, HINT),
        ({"decision_point_outcome": {}}, "its outcome is of type None, not 'create_steps' or 'no_branches'"),
        (
            {"decision_point_outcome": {"type": "create_batches"}},
            "its outcome is of type 'create_batches', not 'create_steps' or 'no_branches'",
        ),
        ({"decision_point_outcome": {"type": "create_steps"}}, "step_names must be a list of step names"),
        (
            {"decision_point_outcome": {"type": "create_steps", "step_names": "a"}},
            "step_names must be a list of step names",
        ),
        (choose("a", 1), "step_names must be a list of step names"),
        (choose("zebra"), "step 'zebra' is not in the template"),
        (choose("bot"), "step 'bot' is not in the template; did you mean 'both'?"),
        (choose("a", "b", "a"), "step 'a' is named twice"),
        (choose("route"), "it names itself"),
        (choose("start"), "step 'start' comes before it, so creating it would form a cycle"),
        (choose("a2"), "step 'a2' cannot run: it also depends on 'a', which was not chosen"),
        (choose("a", "both"), "step 'both' cannot run: it also depends on 'b', which was not chosen"),
    ],
)
def test_an_invalid_decision_is_refused_and_the_message_says_why(result: object, message: str) -> None:
    assert Task(ROUTED).refusal("route", result) == message


def test_a_step_that_does_not_come_after_the_decision_is_refused() -> None:
    task = Task("start\nroute < start : decision\na < route\nbeside < start")
    assert task.refusal("route", choose("beside")) == (
        "step 'beside' does not depend on it, directly or through others"
    )


def test_a_batch_worker_is_nothing_a_decision_can_choose() -> None:
    task = Task("start\nroute < start : decision\nsplit < route : batchable\npart < split : batch_worker")
    assert task.refusal("route", choose("split", "part")) == (
        "step 'part' is a batch_worker; its batchable step creates the workers"
    )


@pytest.mark.parametrize("count", [100, 101])
def test_a_decision_names_a_hundred_steps_at_most(count: int) -> None:
    names = [f"n{n}" for n in range(count)]
    task = Task("\n".join(["start", "route < start : decision", *(f"{name} < route" for name in names)]))
    if count > 100:
        assert task.refusal("route", choose(*names)) == "it names 101 steps, more than 100"
    else:
        assert task.created("route", choose(*names)) == set(names)


def test_a_refused_outcome_leaves_the_structure_as_it_was() -> None:
    task = Task(ROUTED)
    before = task.structure
    task.refusal("route", choose("zebra"))
    assert task.structure == before


# -- batches


def test_workers_are_named_after_their_mould_and_batch() -> None:
    batch = Task(BATCHED).expand("analyze", batches("001", "x-7")).batch
    assert batch is not None
    assert [name for name, _ in batch.workers] == ["part_001", "part_x-7"]


def test_each_worker_gets_the_moulds_configuration_its_cursor_and_the_batchs_facts() -> None:
    config = "handler: {callable: h, initialization: {table: orders, cursor: mine}}, batch_config: {cursor_field: no}"
    cursor = {"batch_id": "a", "start_cursor": "k1", "end_cursor": "k9", "batch_size": 8, "shard": [1, {"n": 2}]}
    outcome = batches(cursor_configs=[cursor], worker_count=1)
    batch = Task(BATCHED, {"part": config}).expand("analyze", outcome).batch
    assert batch is not None
    assert batch.workers == (
        (
            "part_a",
            {
                "table": "orders",
                "cursor": cursor,
                "batch_metadata": {"cursor_field": "no", "failure_strategy": "continue_on_failure"},
                "is_no_op": False,
            },
        ),
    )


def test_a_batch_carries_its_moulds_strategy_and_parallelism() -> None:
    config = {"part": "batch_config: {parallelism: 3, failure_strategy: isolate}"}
    batch = Task(BATCHED, config).expand("analyze", batches("a")).batch
    assert batch is not None
    assert (batch.failure_strategy, batch.parallelism, batch.mould) == (FailureStrategy.ISOLATE, 3, 1)


@pytest.mark.parametrize("outcome", [batches("a", "b"), NO_BATCHES, None], ids=["some", "none", "resolved by hand"])
def test_what_gathers_a_batch_exists_once_the_number_of_workers_is_known_zero_included(outcome: object) -> None:
    task = Task(BATCHED)
    assert task.verdict("gather") is Verdict.OPEN
    assert task.created("analyze", outcome) == {"gather", "after"}
    assert task.verdict("part") is Verdict.EXISTS


def test_no_batches_are_no_workers() -> None:
    batch = Task(BATCHED).expand("analyze", NO_BATCHES).batch
    assert batch is not None
    assert batch.workers == ()


def test_an_analyzer_on_a_branch_that_was_not_chosen_ends_its_workers_and_what_gathers_them() -> None:
    task = Task(
        """
        start
        route < start : decision
        split < route : batchable
        part < split : batch_worker
        gather < part : deferred_convergence
        other < route
        """
    )
    task.expand("route", choose("other"))
    assert task.dead() == {"split", "part", "gather"}


TWO_MOULDS = """
    analyze : batchable
    small < analyze : batch_worker
    large < analyze : batch_worker
    gather < small large : deferred_convergence
    of_large < large : deferred_convergence
"""


def test_a_mould_that_was_not_taken_can_never_be_used() -> None:
    task = Task(TWO_MOULDS)
    expanded = task.expand("analyze", batches("a", worker_template_name="small"))
    assert task.names(expanded.create) == {"gather"}
    assert task.names(expanded.newly_dead) == {"large", "of_large"}


@pytest.mark.parametrize(
    ("outcome", "analyze", "worker", "mould"),
    [
        ("large", "handler: {callable: h, initialization: {worker_template_name: small}}", "", "large"),
        ("nowhere", "handler: {callable: h, initialization: {worker_template_name: large}}", "", "large"),
        (
            None,
            "handler: {callable: h, initialization: {worker_template_name: large}},"
            " batch_config: {worker_template: small}",
            "",
            "large",
        ),
        ("batch_worker", "batch_config: {worker_template: large}", "", "large"),
        (None, "", "", "small"),
        (None, "", "batch_config: {worker_template: large}", "large"),
        (None, "", "batch_config: {worker_template: small}", "small"),
    ],
    ids=[
        "the outcome's name comes first",
        "an outcome's name that is no worker is passed over",
        "initialization comes before batch_config",
        "batch_config comes next",
        "then the worker that depends on it",
        "or the one that this names",
        "which may be itself",
    ],
)
def test_the_mould_is_looked_for_in_the_order_that_is_promised(
    outcome: str | None, analyze: str, worker: str, mould: str
) -> None:
    more = {name: keys for name, keys in (("analyze", analyze), ("small", worker)) if keys}
    fields = {"worker_template_name": outcome} if outcome is not None else {}
    task = Task(TWO_MOULDS, more)
    batch = task.expand("analyze", batches("a", **fields)).batch
    assert batch is not None
    assert batch.workers[0][0] == f"{mould}_a"
    assert batch.mould == task.plan.ordinals[mould]


def test_without_batches_the_mould_is_looked_for_from_initialization_on() -> None:
    task = Task(TWO_MOULDS, {"analyze": "handler: {callable: h, initialization: {worker_template_name: large}}"})
    batch = task.expand("analyze", NO_BATCHES).batch
    assert batch is not None
    assert batch.mould == task.plan.ordinals["large"]


# -- batches: invalid outcomes


NO_OUTCOME = "its result has no batch_processing_outcome; return batch_analyzer_success(...) or no_batches_outcome(...)"
CURSOR = {"batch_id": "a", "start_cursor": 0, "end_cursor": 5}


def cursors(*configs: Any, **fields: Any) -> dict[str, Any]:
    return {"batch_processing_outcome": {"type": "create_batches", "cursor_configs": list(configs), **fields}}


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({}, NO_OUTCOME),
        ("text", NO_OUTCOME),
        ({"batch_processing_outcome": 1}, NO_OUTCOME),
        (
            {"batch_processing_outcome": {"type": "create_steps"}},
            "its outcome is of type 'create_steps', not 'create_batches' or 'no_batches'",
        ),
        ({"batch_processing_outcome": {"type": "create_batches"}}, "cursor_configs must be a list of objects"),
        (cursors(1), "cursor_configs must be a list of objects"),
        (cursors(), "cursor_configs is empty; an analyzer that finds nothing to do returns no_batches"),
        (cursors(CURSOR, worker_count=2), "worker_count is 2 but there are 1 cursor_configs"),
        (cursors({"start_cursor": 0, "end_cursor": 1}), "each of cursor_configs needs a batch_id, a text"),
        (cursors({**CURSOR, "batch_id": 1}), "each of cursor_configs needs a batch_id, a text"),
        (cursors({**CURSOR, "batch_id": ""}), "each of cursor_configs needs a batch_id, a text"),
        (cursors(CURSOR, {**CURSOR, "start_cursor": 5, "end_cursor": 9}), "batch_id 'a' is used twice"),
        (cursors({"batch_id": "a", "start_cursor": 0}), "batch 'a' needs start_cursor and end_cursor"),
        (cursors({"batch_id": "a", "end_cursor": 0}), "batch 'a' needs start_cursor and end_cursor"),
        (cursors({**CURSOR, "start_cursor": 6}), "batch 'a' ends at 5, before it starts at 6"),
        (
            cursors({**CURSOR, "batch_id": "b", "start_cursor": 4, "end_cursor": 8}, CURSOR),
            "batches 'a' and 'b' overlap: 4 comes before 5",
        ),
    ],
)
def test_an_invalid_batch_is_refused_and_the_message_says_why(result: object, message: str) -> None:
    assert Task(BATCHED).refusal("analyze", result) == message


@pytest.mark.parametrize(
    "configs",
    [
        [CURSOR, {"batch_id": "b", "start_cursor": 5, "end_cursor": 9}],
        [{**CURSOR, "end_cursor": 0}],
        [{"batch_id": "b", "start_cursor": "x", "end_cursor": "a"}, {**CURSOR, "start_cursor": "b", "end_cursor": "z"}],
        [CURSOR, {"batch_id": "b", "start_cursor": {"k": 1}, "end_cursor": None}],
        [CURSOR, {"batch_id": "b", "start_cursor": 2.5, "end_cursor": 3.5}],
    ],
    ids=["adjacent", "empty", "texts", "objects", "fractions"],
)
def test_cursors_that_touch_or_cannot_be_compared_are_accepted(configs: list[dict[str, Any]]) -> None:
    batch = Task(BATCHED).expand("analyze", cursors(*configs)).batch
    assert batch is not None
    assert [inputs["cursor"] for _, inputs in batch.workers] == configs


def test_a_worker_cannot_have_the_name_of_a_step_of_the_template() -> None:
    task = Task(f"{BATCHED}\npart_001 < analyze")
    assert task.refusal("analyze", batches("001")) == (
        "batch worker 'part_001' would have the name of a step of the template"
    )


def test_a_mould_of_another_analyzer_is_refused() -> None:
    task = Task("one : batchable\nof_one < one : batch_worker\ntwo : batchable\nof_two < two : batch_worker")
    assert task.refusal("one", batches("a", worker_template_name="of_two")) == (
        "batch_worker 'of_two' does not depend on it"
    )


# -- what is handed on


def test_an_expansion_names_the_revision_that_it_was_worked_out_for() -> None:
    task = Task(LATE)
    assert [task.expand("first", choose("a")).revision, task.expand("second", choose("b")).revision] == [0, 1]


def test_an_expansion_becomes_json_for_the_database() -> None:
    task = Task(BATCHED)
    lease = LeaseKey(identifiers.new_task_uuid(), 0, 5)
    assert expansion.as_json(lease, task.expand("analyze", batches("a"))) == {
        "task_uuid": lease.task_uuid,
        "ordinal": 0,
        "lease_id": 5,
        "revision": 0,
        "create": (2, 3),
        "dead": (),
        "newly_dead": (),
        "batch": {
            "mould": 1,
            "failure_strategy": "continue_on_failure",
            "parallelism": 10,
            "workers": [
                {
                    "name": "part_a",
                    "inputs": {
                        "cursor": {"batch_id": "a", "start_cursor": 0, "end_cursor": 1},
                        "batch_metadata": {"cursor_field": "id", "failure_strategy": "continue_on_failure"},
                        "is_no_op": False,
                    },
                }
            ],
        },
    }
    decided = Task(ROUTED).expand("route", NO_BRANCHES)
    assert expansion.as_json(lease, decided)["batch"] is None


def test_recorded_decisions_are_read_back_by_what_they_named() -> None:
    plan = Task(ROUTED).plan
    recorded = '{"1": {"decision_point_outcome": {"type": "create_steps", "step_names": ["a", "b"]}}}'
    assert expansion.decided(plan, recorded) == {1: frozenset({plan.ordinals["a"], plan.ordinals["b"]})}
    assert expansion.decided(plan, '{"1": null}') == {1: frozenset()}
    assert expansion.decided(plan, None) == {}
