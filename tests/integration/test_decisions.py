"""Decisions at work: what they create runs, what they leave out is not waited for, and what is wrong blocks visibly."""

import asyncio
import contextlib
from typing import Any
from uuid import UUID

import pytest
from conftest import working
from tests.integration.dynamic import (
    NO_BRANCHES,
    by_hand,
    choose,
    convergence,
    decision,
    step,
    success,
    task_state,
    template,
)
from tests.integration.support import changes, results, states, steps_by_name

from tasker_core import StepHandler
from tasker_core.errors import ValidationError
from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.states import TaskState
from tasker_core.step_handler.functional import decision_handler, step_handler
from tasker_core.step_handler.mixins import DecisionMixin
from tasker_core.template import TaskTemplate
from tasker_core.types import StepContext, StepHandlerResult

ROUTED = template(
    step("start"),
    decision("route", "start"),
    step("a", "route"),
    step("b", "route"),
    step("b2", "b"),
    convergence("end", "a", "b2"),
)

# The documented example: who has to approve an amount.
APPROVAL = template(
    step("validate", callable="validate"),
    decision("route", "validate", callable="route"),
    step("auto_approve", "route", callable="approve"),
    step("manager_approval", "route", callable="approve"),
    step("finance_review", "route", callable="approve"),
    convergence("finalize", "auto_approve", "manager_approval", "finance_review", callable="finalize"),
)


class Route(DecisionMixin, StepHandler):
    handler_name = "route"

    def call(self, context: StepContext) -> StepHandlerResult:
        amount = context.get_dependency_field("validate", "amount")
        if amount < 1000:
            return self.decision_success(["auto_approve"])
        return self.decision_success(["manager_approval", *(["finance_review"] if amount >= 5000 else [])])


@step_handler("validate")
def validate(context: StepContext) -> dict[str, float]:
    amount = context.get_input("amount")
    if amount is None or amount <= 0:
        raise ValidationError("no such amount")
    return {"amount": amount}


@step_handler("approve")
def approve(context: StepContext) -> dict[str, str]:
    return {"by": context.task_sequence_step.workflow_step.name}


@step_handler("finalize")
async def finalize(context: StepContext) -> dict[str, list[str]]:
    return {"seen": sorted(context.dependency_results)}


APPROVAL_HANDLERS = {"validate": validate, "route": Route, "approve": approve, "finalize": finalize}


async def created(engine: Engine, shape: TaskTemplate) -> UUID:
    return await engine.create_task(shape, TaskRequest())


async def run(engine: Engine, shape: TaskTemplate, outcome: Any) -> tuple[UUID, dict[str, str]]:
    """Run a task whose decision returns this outcome to its end; return the states of its steps."""

    @step_handler("work")
    async def work(context: StepContext) -> Any:
        name = context.task_sequence_step.workflow_step.name
        return outcome if name == "route" else {"seen": sorted(context.dependency_results)}

    async with working(engine, {"work": work}):
        task = await created(engine, shape)
        await engine.wait(task, 10)
    return task, await states(engine, task)


# -- the documented example


@pytest.mark.parametrize(
    ("amount", "approvals"),
    [
        (0.01, {"auto_approve"}),
        (500, {"auto_approve"}),
        (1000, {"manager_approval"}),
        (2500, {"manager_approval"}),
        (3000, {"manager_approval"}),
        (5000, {"manager_approval", "finance_review"}),
        (10000, {"manager_approval", "finance_review"}),
    ],
)
async def test_an_amount_is_approved_by_those_whom_it_concerns(
    engine: Engine, amount: float, approvals: set[str]
) -> None:
    task = await engine.create_task(APPROVAL, TaskRequest({"amount": amount}))
    assert set(await states(engine, task)) == {"validate", "route"}
    async with working(engine, APPROVAL_HANDLERS):
        assert await engine.wait(task, 10) is TaskState.COMPLETE
    assert set(await states(engine, task)) == {"validate", "route", "finalize", *approvals}
    assert (await results(engine, task))["finalize"]["seen"] == sorted({"validate", "route", *approvals})
    view = await engine.task(task)
    assert (view["total_steps"], view["completed_steps"]) == (3 + len(approvals), 3 + len(approvals))


@pytest.mark.parametrize("context", [{"amount": -1000}, {}], ids=["negative", "missing"])
async def test_an_impossible_amount_fails_in_its_own_step_before_anything_is_decided(
    engine: Engine, context: dict[str, Any]
) -> None:
    async with working(engine, APPROVAL_HANDLERS):
        task = await engine.create_task(APPROVAL, TaskRequest(context))
        assert await engine.wait(task, 10) is TaskState.BLOCKED_BY_FAILURES
    assert await states(engine, task) == {"validate": "error", "route": "pending"}


async def test_a_decorated_function_may_decide_by_returning_names(engine: Engine) -> None:
    @decision_handler("work")
    async def route(context: StepContext) -> list[str]:
        return ["b"] if context.task_sequence_step.workflow_step.name == "route" else []

    async with working(engine, {"work": route}):
        shape = template(decision("route", "start"), step("start"), step("a", "route"), step("b", "route"))
        task = await created(engine, shape)
        assert await engine.wait(task, 10) is TaskState.COMPLETE
    assert set(await states(engine, task)) == {"start", "route", "b"}


# -- what exists, and what is waited for


@pytest.mark.parametrize(
    ("outcome", "steps"),
    [
        (choose("a"), {"a", "end"}),
        (choose("b"), {"b", "b2", "end"}),
        (choose("a", "b"), {"a", "b", "b2", "end"}),
        (NO_BRANCHES, set()),
        (choose(), set()),
    ],
    ids=["one", "the other", "both", "no branches", "no names"],
)
async def test_what_was_chosen_runs_and_the_rest_never_exists(
    engine: Engine, outcome: dict[str, Any], steps: set[str]
) -> None:
    task, found = await run(engine, ROUTED, outcome)
    assert found == dict.fromkeys({"start", "route", *steps}, "complete")
    assert await task_state(engine, task) == "complete"


async def test_a_created_step_sees_the_decision_and_all_that_came_before(engine: Engine) -> None:
    task, _ = await run(engine, ROUTED, choose("b"))
    assert (await results(engine, task))["end"]["seen"] == ["b", "b2", "route", "start"]


async def test_a_chosen_step_continues_on_the_worker_that_decided(engine: Engine) -> None:
    task = await created(engine, ROUTED)
    async with by_hand(engine) as hands:
        await hands.claim()
        await hands.complete("start")
        await hands.report(success(hands.held["route"], choose("a")))
        assert set(hands.held) == {"a"}
        assert await hands.complete("a") == {"end"}
        await hands.complete("end")
    assert await task_state(engine, task) == "complete"


async def test_a_join_of_branches_that_were_not_all_chosen_never_runs(engine: Engine) -> None:
    shape = template(
        step("start"), decision("route", "start"), step("a", "route"), step("b", "route"), step("both", "a", "b")
    )
    _, found = await run(engine, shape, choose("a"))
    assert found == dict.fromkeys(["start", "route", "a"], "complete")


async def test_a_chosen_step_that_depends_on_an_early_step_too_runs_after_both(engine: Engine) -> None:
    shape = template(step("start"), decision("route", "start"), step("early", "start"), step("x", "route", "early"))
    for last in ("early", "route"):
        task = await created(engine, shape)
        async with by_hand(engine) as hands:
            await hands.claim()
            assert await hands.complete("start") == {"route", "early"}
            if last == "early":
                assert await hands.complete(route=choose("x")) == {"early"}
                assert (await states(engine, task))["x"] == "pending"
                assert await hands.complete(early={"n": 5}) == {"x"}
            else:
                assert await hands.complete(early={"n": 5}) == {"route"}
                assert await hands.complete(route=choose("x")) == {"x"}
            assert hands.seen("x")["early"] == {"n": 5}
            await hands.complete("x")
        assert await task_state(engine, task) == "complete"


async def test_a_decision_and_the_early_step_of_what_it_chooses_may_end_in_one_report(engine: Engine) -> None:
    shape = template(step("start"), decision("route", "start"), step("early", "start"), step("x", "route", "early"))
    task = await created(engine, shape)
    async with by_hand(engine) as hands:
        await hands.claim()
        await hands.complete("start")
        assert await hands.complete("early", route=choose("x")) == {"x"}
        await hands.complete("x")
    assert await task_state(engine, task) == "complete"


NESTED = template(
    step("start"),
    decision("outer", "start"),
    step("a", "outer"),
    decision("inner", "a"),
    step("x", "inner"),
    step("y", "inner"),
    step("b", "outer"),
    convergence("end", "b", "x", "y"),
)


async def test_a_nested_decision_decides_after_its_branch_ran(engine: Engine) -> None:
    task = await created(engine, NESTED)
    async with by_hand(engine) as hands:
        await hands.claim()
        await hands.complete("start")
        assert await hands.complete(outer=choose("a")) == {"a"}
        assert set(await states(engine, task)) == {"start", "outer", "a", "inner"}
        await hands.complete("a")
        assert await hands.complete(inner=choose("y")) == {"y"}
        assert await hands.complete("y") == {"end"}
        await hands.complete("end")
    assert set(await states(engine, task)) == {"start", "outer", "a", "inner", "y", "end"}
    assert await task_state(engine, task) == "complete"


async def test_a_convergence_over_two_levels_waits_for_the_inner_decision(engine: Engine) -> None:
    task = await created(engine, NESTED)
    async with by_hand(engine) as hands:
        await hands.claim()
        await hands.complete("start")
        assert await hands.complete(outer=choose("a", "b")) == {"a", "b"}
        assert await hands.complete("b") == {"a"}
        assert (await states(engine, task))["end"] == "pending"
        assert await hands.complete("a") == {"inner"}
        assert await hands.complete(inner=NO_BRANCHES) == {"end"}
        await hands.complete("end")
    assert await task_state(engine, task) == "complete"


async def test_a_decision_directly_under_a_decision_runs_if_it_is_chosen(engine: Engine) -> None:
    shape = template(
        step("start"),
        decision("outer", "start"),
        decision("inner", "outer"),
        step("x", "inner"),
        step("y", "outer"),
    )
    task = await created(engine, shape)
    async with by_hand(engine) as hands:
        await hands.claim()
        await hands.complete("start")
        assert await hands.complete(outer=choose("inner")) == {"inner"}
        assert await hands.complete(inner=choose("x")) == {"x"}
        await hands.complete("x")
    assert set(await states(engine, task)) == {"start", "outer", "inner", "x"}
    assert await task_state(engine, task) == "complete"


LATE = template(
    step("start"),
    decision("first", "start"),
    decision("second", "start"),
    step("a", "first"),
    step("b", "second"),
    convergence("end", "a", "b"),
)


async def test_a_waiting_convergence_also_waits_for_what_another_decision_adds(engine: Engine) -> None:
    task = await created(engine, LATE)
    async with by_hand(engine) as hands:
        await hands.claim()
        await hands.complete("start")
        assert await hands.complete(first=choose("a")) == {"second", "a"}
        assert await hands.complete("a") == {"second"}
        assert (await states(engine, task))["end"] == "pending"
        assert await hands.complete(second=choose("b")) == {"b"}
        assert await hands.complete(b={"n": 2}) == {"end"}
        assert set(hands.seen("end")) == {"start", "first", "second", "a", "b"}
        await hands.complete("end")
    assert await task_state(engine, task) == "complete"


async def test_a_waiting_convergence_goes_on_when_the_last_branch_it_waits_for_falls_away(engine: Engine) -> None:
    task = await created(engine, LATE)
    async with by_hand(engine) as hands:
        await hands.claim()
        await hands.complete("start")
        await hands.complete(first=choose("a"))
        assert await hands.complete("a") == {"second"}
        assert await hands.complete(second=NO_BRANCHES) == {"end"}
        await hands.complete("end")
    assert await task_state(engine, task) == "complete"


async def test_a_convergence_waits_for_early_steps_too(engine: Engine) -> None:
    shape = template(
        step("start"),
        decision("route", "start"),
        step("early", "start"),
        step("a", "route"),
        convergence("end", "a", "early"),
    )
    task = await created(engine, shape)
    async with by_hand(engine) as hands:
        await hands.claim()
        await hands.complete("start")
        assert await hands.complete(route=choose("a")) == {"early", "a"}
        assert await hands.complete("a") == {"early"}
        assert await hands.complete("early") == {"end"}
        await hands.complete("end")
    assert await task_state(engine, task) == "complete"


async def test_a_convergence_of_an_early_step_and_a_branch_that_was_not_chosen_never_exists(engine: Engine) -> None:
    shape = template(
        step("start"),
        decision("route", "start"),
        step("early", "start"),
        step("a", "route"),
        step("b", "route"),
        convergence("end", "a", "early"),
    )
    _, found = await run(engine, shape, choose("b"))
    assert found == dict.fromkeys(["start", "route", "early", "b"], "complete")


async def test_a_branch_that_fails_blocks_the_task_and_the_convergence_stays(engine: Engine) -> None:
    task = await created(engine, ROUTED)
    async with by_hand(engine) as hands:
        await hands.claim()
        await hands.complete("start")
        await hands.complete(route=choose("a", "b"))
        await hands.fail("a")
        await hands.complete("b")
        await hands.complete("b2")
    assert await task_state(engine, task) == "blocked_by_failures"
    assert (await states(engine, task))["end"] == "pending"


async def test_a_decision_that_fails_is_tried_again_and_decides_then(engine: Engine) -> None:
    task = await created(engine, ROUTED)
    async with by_hand(engine) as hands:
        await hands.claim()
        await hands.complete("start")
        assert await hands.fail("route", retryable=True) == {"route"}
        assert await hands.complete(route=choose("a")) == {"a"}
    assert (await steps_by_name(engine, task))["route"]["attempts"] == 2


async def test_a_hundred_steps_can_be_chosen_at_once(engine: Engine) -> None:
    names = [f"n{n}" for n in range(100)]
    shape = template(
        step("start"), decision("route", "start"), *(step(name, "route") for name in names), convergence("end", *names)
    )
    task, found = await run(engine, shape, choose(*names))
    assert len(found) == 103
    assert set(found.values()) == {"complete"}
    assert await task_state(engine, task) == "complete"


# -- what cannot be carried out


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        ({"n": 1}, "its result has no decision_point_outcome"),
        ({"decision_point_outcome": {"type": "other"}}, "its outcome is of type 'other'"),
        ({"decision_point_outcome": {"type": "create_steps"}}, "step_names must be a list of step names"),
        (choose("nowhere"), "step 'nowhere' is not in the template"),
        (choose("a", "a"), "step 'a' is named twice"),
        (choose("route"), "it names itself"),
        (choose("start"), "step 'start' comes before it"),
        (choose("b2"), "it also depends on 'b', which was not chosen"),
    ],
    ids=["none", "type", "names", "unknown", "twice", "itself", "earlier", "parent"],
)
async def test_an_outcome_that_cannot_be_carried_out_blocks_the_task_and_says_why(
    engine: Engine, outcome: dict[str, Any], message: str
) -> None:
    task, found = await run(engine, ROUTED, outcome)
    assert found == {"start": "complete", "route": "error"}
    assert await task_state(engine, task) == "blocked_by_failures"
    route = (await steps_by_name(engine, task))["route"]
    assert (route["attempts"], route["result"]) == (1, None)
    assert route["error"]["error_type"] == "invalid_decision_outcome"
    assert route["error"]["retryable"] is False
    assert message in route["error"]["message"]
    assert "decision step 'route' cannot be carried out" in route["error"]["message"]


async def test_an_invalid_decision_that_is_reset_may_decide_again(engine: Engine) -> None:
    task = await created(engine, ROUTED)
    async with by_hand(engine) as hands:
        await hands.claim()
        await hands.complete("start")
        await hands.complete(route=choose("nowhere"))
        await engine.reset_step(task, "route", actor="ann", reason="handler repaired")
        assert await hands.claim() == {"route"}
        assert await hands.complete(route=choose("a")) == {"a"}
        await hands.complete("a")
        await hands.complete("end")
    assert await task_state(engine, task) == "complete"


# -- side by side


BROAD = template(
    step("start"),
    *(decision(f"d{n}", "start") for n in range(6)),
    *(step(f"x{n}", f"d{n}") for n in range(6)),
    convergence("end", *(f"x{n}" for n in range(6))),
)


async def test_decisions_of_one_task_in_one_report_are_all_carried_out(engine: Engine) -> None:
    task = await created(engine, BROAD)
    async with by_hand(engine) as hands:
        await hands.claim()
        await hands.complete("start")
        outcomes = {f"d{n}": choose(f"x{n}") if n % 2 else NO_BRANCHES for n in range(6)}
        assert await hands.complete(**outcomes) == {"x1", "x3", "x5"}
        assert await hands.complete("x1", "x3", "x5") == {"end"}
        await hands.complete("end")
    assert await task_state(engine, task) == "complete"
    assert (await engine.task(task))["total_steps"] == 11


async def test_an_invalid_decision_beside_a_valid_one_in_one_report_fails_alone(engine: Engine) -> None:
    task = await created(engine, LATE)
    async with by_hand(engine) as hands:
        await hands.claim()
        await hands.complete("start")
        assert await hands.complete(first=choose("nowhere"), second=choose("b")) == {"b"}
        await hands.complete("b")
    found = await states(engine, task)
    assert (found["first"], found["second"], found["end"]) == ("error", "complete", "pending")


async def test_decisions_of_one_task_on_several_workers_at_once_are_all_carried_out(
    engine: Engine, database_url: str
) -> None:
    tasks = await engine.create_tasks(BROAD, [TaskRequest()] * 10)
    async with Engine(database_url) as other, by_hand(engine) as one, by_hand(other) as two:
        started = await one.source.claim(100)
        await one.source.report([success(step) for step in started], 0)
        held = [(hands, step) for hands in (one, two) for step in await hands.source.claim(30)]
        assert len(held) == 60
        answers = await asyncio.gather(
            *(hands.source.report([success(step, choose(f"x{step.name[1:]}"))], 0) for hands, step in held)
        )
        assert [answer.refused for answer in answers] == [frozenset()] * 60
    for task in tasks:
        found = await states(engine, task)
        assert len(found) == 1 + 6 + 6 + 1
        assert found["end"] == "pending"
        assert (await steps_by_name(engine, task))["end"]["unmet_dependencies"] == 6


async def test_sixty_decisions_that_are_reported_at_the_same_moment_are_all_carried_out(
    engine: Engine, database_url: str
) -> None:
    numbers = range(60)
    shape = template(
        step("start"), *(decision(f"d{n}", "start") for n in numbers), *(step(f"x{n}", f"d{n}") for n in numbers)
    )
    task = await created(engine, shape)
    async with contextlib.AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(Engine(database_url, max_connections=6)) for _ in range(10)]
        workers = [await stack.enter_async_context(by_hand(source)) for source in engines]
        await workers[0].claim()
        await workers[0].report(success(workers[0].held["start"]), want=0)
        held = [(hands, leased) for hands in workers for leased in await hands.source.claim(6)]
        reports = ((hands, success(leased, choose(f"x{leased.name[1:]}"))) for hands, leased in held)
        await asyncio.gather(*(hands.source.report([report], 0) for hands, report in reports))
    assert len(await states(engine, task)) == 1 + 60 + 60


async def test_two_workers_with_handlers_run_many_decisions_to_the_end(engine: Engine, database_url: str) -> None:
    @step_handler("work")
    async def work(context: StepContext) -> Any:
        name = context.task_sequence_step.workflow_step.name
        return choose(f"x{name[1:]}") if name.startswith("d") else {"n": 1}

    async with (
        Engine(database_url) as other,
        working(engine, {"work": work}),
        working(other, {"work": work}),
    ):
        tasks = await engine.create_tasks(BROAD, [TaskRequest()] * 30)
        assert {await engine.wait(task, 30) for task in tasks} == {TaskState.COMPLETE}
    assert {(await engine.task(task))["total_steps"] for task in tasks} == {14}


async def test_a_decision_reported_twice_creates_its_steps_once(engine: Engine) -> None:
    task = await created(engine, ROUTED)
    async with by_hand(engine) as hands:
        await hands.claim()
        await hands.complete("start")
        report = success(hands.held["route"], choose("a"))
        assert not await hands.report(report)
        assert await hands.report(report) == {report.lease}
        assert set(await states(engine, task)) == {"start", "route", "a", "end"}


async def test_the_history_of_a_created_step_begins_when_it_becomes_ready(engine: Engine) -> None:
    task = await created(engine, ROUTED)
    async with by_hand(engine) as hands:
        await hands.claim()
        await hands.complete("start")
        await hands.report(success(hands.held["route"], choose("a", "b")), want=0)
        assert await changes(engine, task, "a") == [(None, "pending", "enqueued")]
        await hands.claim()
        await hands.complete("a")
    assert await changes(engine, task, "a") == [
        (None, "pending", "enqueued"),
        (1, "enqueued", "in_progress"),
        (1, "in_progress", "complete"),
    ]
