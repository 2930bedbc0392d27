"""Batches at work: as many workers as there is work, no more at once than allowed, and what a failed one means."""

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID

import pytest
from conftest import working
from tests.integration.dynamic import (
    NO_BATCHES,
    NO_BRANCHES,
    Hands,
    analyzer,
    batch_template,
    batches,
    by_hand,
    choose,
    convergence,
    decision,
    failure,
    mould,
    step,
    success,
    task_state,
    template,
)
from tests.integration.support import results, states, steps_by_name

from tasker_core import StepHandler, errors
from tasker_core.batch_processing import Batchable, BatchAggregationScenario
from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.states import TaskState
from tasker_core.step_handler.functional import batch_analyzer, batch_worker, step_handler
from tasker_core.template import BatchConfig, FailureStrategy, StepTemplate, TaskTemplate
from tasker_core.types import BatchAnalyzerOutcome, BatchWorkerContext, StepContext, StepHandlerResult

KINDS = ("even", "odd")
RELEASED = ("enqueued", "in_progress", "waiting_for_retry")
CONTINUE, FAIL_FAST, ISOLATE = FailureStrategy.CONTINUE_ON_FAILURE, FailureStrategy.FAIL_FAST, FailureStrategy.ISOLATE


def parts(*numbers: int) -> set[str]:
    """Names of the workers of ``batch_template``."""
    return {f"part_{number:03d}" for number in numbers}


async def started(engine: Engine, shape: TaskTemplate, hands: Hands, outcome: dict[str, Any]) -> UUID:
    """A task whose analyzer has reported this outcome."""
    task = await engine.create_task(shape, TaskRequest())
    await hands.claim()
    await hands.complete(analyze=outcome)
    return task


class Analyze(StepHandler, Batchable):
    """Cuts the number in the task's context into batches of at most ``size``, ten at most."""

    handler_name = "analyze"

    def call(self, context: StepContext) -> StepHandlerResult:
        total, size = context.get_input("total"), context.get_input_or("size", 1000)
        if total <= context.get_input_or("minimum", 0):
            return self.no_batches_outcome("too_small", {"total": total})
        ranges = self.create_cursor_ranges(total, size, max_batches=10)
        return self.batch_analyzer_success(BatchAnalyzerOutcome(cursor_configs=ranges, total_items=total))


class Part(StepHandler, Batchable):
    handler_name = "part"

    def call(self, context: StepContext) -> StepHandlerResult:
        batch = self.get_batch_worker_context(context)
        assert batch is not None
        return self.batch_worker_success(batch, result={"rows": batch.end_cursor - batch.start_cursor})


class Gather(StepHandler, Batchable):
    handler_name = "gather"

    def call(self, context: StepContext) -> StepHandlerResult:
        scenario = BatchAggregationScenario.detect(context.dependency_results, "analyze", "part_")
        return self.aggregate_batch_worker_results(
            scenario, {"rows": 0}, lambda found: {"rows": sum(result["rows"] for result in found.values())}
        )


HANDLERS = {"analyze": Analyze, "part": Part, "gather": Gather}
WITH_HANDLERS = template(
    analyzer("analyze", callable="analyze"),
    mould("part", "analyze", callable="part"),
    convergence("gather", "part", callable="gather"),
)


# -- what comes into being


@pytest.mark.parametrize(("total", "workers"), [(500, 0), (1000, 1), (1001, 2), (3500, 4), (25_000, 10)])
async def test_an_analyzer_makes_as_many_workers_as_there_is_work(engine: Engine, total: int, workers: int) -> None:
    task = await engine.create_task(WITH_HANDLERS, TaskRequest({"total": total, "minimum": 999}))
    assert set(await states(engine, task)) == {"analyze"}
    async with working(engine, HANDLERS):
        assert await engine.wait(task, 10) is TaskState.COMPLETE
    names = set(await states(engine, task)) - {"analyze", "gather"}
    assert names == parts(*range(1, workers + 1))
    gathered = (await results(engine, task))["gather"]
    assert (gathered["worker_count"], gathered["rows"]) == (workers, total if workers else 0)
    assert gathered["scenario"] == ("with_batches" if workers else "no_batches")


async def test_a_thousand_rows_of_two_hundred_each_are_five_workers_and_all_rows(engine: Engine) -> None:
    async with working(engine, HANDLERS):
        task = await engine.create_task(WITH_HANDLERS, TaskRequest({"total": 1000, "size": 200}))
        assert await engine.wait(task, 10) is TaskState.COMPLETE
    assert (await results(engine, task))["gather"] == {"rows": 1000, "worker_count": 5, "scenario": "with_batches"}


async def test_batches_may_be_written_as_decorated_functions(engine: Engine) -> None:
    @batch_analyzer("analyze")
    async def analyze() -> BatchAnalyzerOutcome:
        return BatchAnalyzerOutcome.from_ranges([(0, 3), (3, 5)])

    @batch_worker("part", analyzer_step="analyze")
    async def part(batch_context: BatchWorkerContext) -> dict[str, int]:
        return {"rows": batch_context.batch_size}

    async with working(engine, {"analyze": analyze, "part": part, "gather": Gather}):
        task = await engine.create_task(WITH_HANDLERS, TaskRequest())
        assert await engine.wait(task, 10) is TaskState.COMPLETE
    assert (await results(engine, task))["gather"] == {"rows": 5, "worker_count": 2, "scenario": "with_batches"}


@pytest.mark.parametrize(
    ("numbers", "path", "workers"),
    [
        ([2, 4, 6, 8, 10, 12], "even", 3),
        ([1, 3, 5, 7, 9, 11, 2, 4], "odd", 3),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], "even", 3),
    ],
)
async def test_a_decision_may_lead_to_batches_of_one_path_only(
    engine: Engine, numbers: list[int], path: str, workers: int
) -> None:
    # The larger half of the numbers, two a batch; the even one if they are equal.
    shape = template(
        step("start", callable="start"),
        decision("route", "start", callable="route"),
        *(analyzer(f"{kind}_analyze", "route", callable="split") for kind in ("even", "odd")),
        *(mould(f"{kind}_part", f"{kind}_analyze", callable="part") for kind in ("even", "odd")),
        *(convergence(f"{kind}_sum", f"{kind}_part", callable="sum") for kind in ("even", "odd")),
        convergence("end", "even_sum", "odd_sum", callable="start"),
    )

    @step_handler("start")
    async def start(context: StepContext) -> dict[str, list[int]]:
        return {kind: [n for n in context.get_input("numbers") if n % 2 == rest] for rest, kind in enumerate(KINDS)}

    @step_handler("route")
    async def route(context: StepContext) -> dict[str, Any]:
        found = context.get_dependency_result("start")
        return choose("even_analyze" if len(found["even"]) >= len(found["odd"]) else "odd_analyze")

    @step_handler("split")
    async def split(context: StepContext) -> dict[str, Any]:
        kind = context.task_sequence_step.workflow_step.name.split("_")[0]
        return batches(-(-len(context.get_dependency_field("start", kind)) // 2), size=2)

    @step_handler("sum")
    async def gather(context: StepContext) -> dict[str, int]:
        kind = context.task_sequence_step.workflow_step.name.split("_")[0]
        rows = [result["rows"] for result in context.get_all_dependency_results(f"{kind}_part_")]
        return {"workers": len(rows)}

    async with working(engine, {"start": start, "route": route, "split": split, "part": Part, "sum": gather}):
        task = await engine.create_task(shape, TaskRequest({"numbers": numbers}))
        assert await engine.wait(task, 10) is TaskState.COMPLETE
    found = await results(engine, task)
    assert found[f"{path}_sum"] == {"workers": workers}
    other = "odd" if path == "even" else "even"
    assert not [name for name in found if name.startswith(other)]


async def test_a_worker_is_given_its_configuration_its_cursor_and_the_facts_of_its_batch(engine: Engine) -> None:
    shape = batch_template(cursor_field="row", strategy=ISOLATE, table="orders")
    async with by_hand(engine) as hands:
        await started(engine, shape, hands, batches(2))
        leased = hands.held["part_002"]
        assert leased.step_inputs() == {
            "table": "orders",
            "cursor": {"batch_id": "002", "start_cursor": 10, "end_cursor": 20, "batch_size": 10},
            "batch_metadata": {"cursor_field": "row", "failure_strategy": "isolate"},
            "is_no_op": False,
        }
        assert leased.definition["name"] == "part"
        workflow_step = leased.task_sequence_step()["workflow_step"]
        assert (workflow_step["name"], workflow_step["template_step_name"]) == ("part_002", "part")
        assert hands.seen("part_002") == {"analyze": batches(2)}


async def test_the_steps_view_names_a_workers_mould_and_its_inputs(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await started(engine, batch_template(), hands, batches(1))
    view = (await steps_by_name(engine, task))["part_001"]
    assert (view["template_step"], view["callable"], view["dependencies"]) == ("part", "work", ["analyze"])
    assert view["inputs"]["cursor"]["batch_id"] == "001"


async def test_what_gathers_sees_every_worker_and_the_analyzer(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await started(engine, batch_template(), hands, batches(3))
        assert await hands.complete(part_001={"n": 1}, part_002={"n": 2}) == parts(3)
        assert await hands.complete(part_003={"n": 3}) == {"gather"}
        assert hands.seen("gather") == {
            "analyze": batches(3),
            "part_001": {"n": 1},
            "part_002": {"n": 2},
            "part_003": {"n": 3},
        }
        await hands.complete("gather")
    assert await task_state(engine, task) == "complete"


@pytest.mark.parametrize("by_config", [True, False])
async def test_without_batches_what_gathers_them_runs_at_once(engine: Engine, by_config: bool) -> None:
    initialization = {"worker_template_name": "part"} if by_config else {}
    shape = template(
        analyzer("analyze", **initialization),
        mould("part", "analyze"),
        convergence("gather", "part"),
        step("x", "gather"),
    )
    async with by_hand(engine) as hands:
        task = await started(engine, shape, hands, NO_BATCHES)
        assert set(hands.held) == {"gather"}
        scenario = BatchAggregationScenario.detect(
            {name: {"result": result} for name, result in hands.seen("gather").items()}, "analyze", "part_"
        )
        assert (scenario.is_no_batches, scenario.worker_count, scenario.batch_results) == (True, 0, {})
        assert await hands.complete("gather") == {"x"}
        await hands.complete("x")
    assert set(await states(engine, task)) == {"analyze", "gather", "x"}
    assert await task_state(engine, task) == "complete"


async def test_a_batch_without_anything_that_gathers_it_completes_with_its_last_worker(engine: Engine) -> None:
    shape = template(analyzer("analyze"), mould("part", "analyze", parallelism=1))
    async with by_hand(engine) as hands:
        task = await started(engine, shape, hands, batches(2))
        await hands.complete("part_001")
        assert await task_state(engine, task) == "steps_in_process"
        await hands.complete("part_002")
        assert await task_state(engine, task) == "complete"
        other = await started(engine, shape, hands, NO_BATCHES)
        assert await task_state(engine, other) == "complete"


async def test_what_gathers_may_wait_for_other_steps_too(engine: Engine) -> None:
    shape = template(
        step("start"),
        analyzer("analyze"),
        mould("part", "analyze"),
        step("beside", "start"),
        convergence("gather", "part", "beside"),
    )
    async with by_hand(engine) as hands:
        task = await engine.create_task(shape, TaskRequest())
        await hands.claim()
        await hands.complete(analyze=batches(1))
        assert await hands.complete("part_001") == {"start"}
        assert await hands.complete("start") == {"beside"}
        assert await hands.complete("beside") == {"gather"}
        assert set(hands.seen("gather")) == {"analyze", "part_001", "start", "beside"}
        await hands.complete("gather")
    assert await task_state(engine, task) == "complete"


async def test_a_batch_and_a_branch_may_meet_in_one_convergence(engine: Engine) -> None:
    shape = template(
        step("start"),
        decision("route", "start"),
        step("a", "route"),
        analyzer("analyze", "start"),
        mould("part", "analyze"),
        convergence("end", "part", "a"),
    )
    for outcome, waits_for in ((choose("a"), {"a"}), (NO_BRANCHES, set())):
        async with by_hand(engine) as hands:
            task = await engine.create_task(shape, TaskRequest())
            await hands.claim()
            await hands.complete("start")
            await hands.complete(analyze=batches(1))
            assert await hands.complete("part_001") == {"route"}
            assert await hands.complete(route=outcome) == (waits_for or {"end"})
            if waits_for:
                assert await hands.complete("a") == {"end"}
            await hands.complete("end")
        assert await task_state(engine, task) == "complete"


async def test_a_convergence_may_gather_several_batches(engine: Engine) -> None:
    shape = template(
        analyzer("one"),
        mould("of_one", "one"),
        analyzer("two"),
        mould("of_two", "two"),
        convergence("gather", "of_one", "of_two"),
    )
    async with by_hand(engine) as hands:
        task = await engine.create_task(shape, TaskRequest())
        await hands.claim()
        assert await hands.complete(one=batches(1), two=batches(2)) == {"of_one_001", "of_two_001", "of_two_002"}
        await hands.complete("of_one_001", "of_two_001")
        assert await hands.complete("of_two_002") == {"gather"}
        assert len(hands.seen("gather")) == 5
        await hands.complete("gather")
    assert await task_state(engine, task) == "complete"


# -- which mould


LARGE_BY_CONFIG = BatchConfig(worker_template="large")


@pytest.mark.parametrize(
    ("named", "analyze", "expected"),
    [
        ({"worker_template_name": "large"}, analyzer("analyze", worker_template_name="small"), "large"),
        ({"worker_template_name": "nobody"}, analyzer("analyze", worker_template_name="large"), "large"),
        ({}, analyzer("analyze", worker_template_name="large", batch_config=BatchConfig()), "large"),
        ({}, analyzer("analyze", batch_config=LARGE_BY_CONFIG), "large"),
        ({}, analyzer("analyze", worker_template_name="small", batch_config=LARGE_BY_CONFIG), "small"),
        ({}, analyzer("analyze"), "small"),
    ],
    ids=["outcome", "unknown name", "initialization", "batch_config", "initialization first", "dependent"],
)
async def test_the_worker_template_is_found_where_it_is_promised(
    engine: Engine, named: dict[str, Any], analyze: StepTemplate, expected: str
) -> None:
    shape = template(
        analyze, mould("small", "analyze"), mould("large", "analyze"), convergence("gather", "small", "large")
    )
    async with by_hand(engine) as hands:
        task = await started(engine, shape, hands, batches(2, **named))
        assert set(hands.held) == {f"{expected}_001", f"{expected}_002"}
        assert await hands.complete(*hands.held) == {"gather"}
        await hands.complete("gather")
    assert await task_state(engine, task) == "complete"


async def test_a_workers_own_worker_template_is_followed(engine: Engine) -> None:
    shape = template(
        analyzer("analyze"),
        mould("small", "analyze", worker_template="large"),
        mould("large", "analyze"),
        convergence("gather", "small", "large"),
    )
    async with by_hand(engine) as hands:
        await started(engine, shape, hands, batches(1))
        assert set(hands.held) == {"large_001"}


# -- how many at once


@pytest.mark.parametrize("parallelism", [1, 3])
async def test_no_more_workers_run_at_once_than_allowed_while_work_goes_on(engine: Engine, parallelism: int) -> None:
    running = most = 0
    released: list[int] = []

    @step_handler("part")
    async def part(context: StepContext) -> dict[str, int]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        # Looking takes a while, in which the others may start if they can.
        found = await states(engine, context.task_uuid)
        released.append(sum(found[name] in RELEASED for name in parts(*range(1, 11))))
        running -= 1
        if context.step_inputs["cursor"]["batch_id"].endswith("3") and not context.is_retry():
            raise errors.RetryableError("once more")
        return {"rows": 1}

    shape = template(
        analyzer("analyze", callable="analyze"),
        mould("part", "analyze", callable="part", parallelism=parallelism),
        convergence("gather", "part", callable="gather"),
    )
    async with working(engine, {**HANDLERS, "part": part}, concurrency=50):
        task = await engine.create_task(shape, TaskRequest({"total": 10, "size": 1}))
        assert await engine.wait(task, 20) is TaskState.COMPLETE
    assert (most, max(released)) == (parallelism, parallelism)
    assert (await results(engine, task))["gather"]["rows"] == 10


async def test_the_limit_holds_for_a_task_and_not_for_all_tasks_together(engine: Engine) -> None:
    tasks = await engine.create_tasks(batch_template(parallelism=1), [TaskRequest()] * 3)
    async with by_hand(engine) as hands:
        analyzers = await hands.source.claim(10)
        await hands.source.report([success(leased, batches(5)) for leased in analyzers], 0)
        workers = await hands.source.claim(100)
        assert {leased.key.task_uuid for leased in workers} == set(tasks)
        assert {leased.name for leased in workers} == parts(1)
        assert len(workers) == 3


async def test_each_worker_that_ends_releases_the_next(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await started(engine, batch_template(parallelism=2), hands, batches(5))
        assert set(hands.held) == parts(1, 2)
        assert (await states(engine, task))["part_003"] == "pending"
        assert await hands.complete("part_002") == parts(1, 3)
        assert await hands.complete("part_001", "part_003") == parts(4, 5)
        assert await hands.complete("part_005") == parts(4)
        assert await hands.complete("part_004") == {"gather"}
        await hands.complete("gather")
    assert await task_state(engine, task) == "complete"


async def test_a_worker_that_waits_for_its_retry_keeps_its_slot(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        await started(engine, batch_template(parallelism=1), hands, batches(2))
        assert await hands.fail("part_001", retryable=True) == parts(1)
        assert await hands.complete("part_001") == parts(2)


@pytest.mark.parametrize("strategy", [CONTINUE, ISOLATE])
async def test_a_worker_that_fails_for_good_frees_its_slot(engine: Engine, strategy: FailureStrategy) -> None:
    async with by_hand(engine) as hands:
        await started(engine, batch_template(parallelism=1, strategy=strategy), hands, batches(2))
        assert await hands.fail("part_001") == parts(2)


async def test_five_hundred_workers_come_and_go(engine: Engine) -> None:
    shape = template(
        analyzer("analyze", callable="analyze"),
        mould("part", "analyze", callable="part", parallelism=100),
        convergence("gather", "part", callable="gather"),
    )

    @step_handler("analyze")
    async def analyze() -> dict[str, Any]:
        return batches(500)

    async with working(engine, {**HANDLERS, "analyze": analyze}, concurrency=100):
        task = await engine.create_task(shape, TaskRequest())
        assert await engine.wait(task, 60) is TaskState.COMPLETE
    assert (await results(engine, task))["gather"] == {
        "rows": 5_000,
        "worker_count": 500,
        "scenario": "with_batches",
    }


# -- continue_on_failure


async def test_a_failed_worker_counts_as_done_and_what_gathers_sees_what_is_missing(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await started(engine, batch_template(strategy=CONTINUE), hands, batches(2))
        await hands.complete(part_001={"rows": 10})
        assert await hands.fail("part_002") == {"gather"}
        assert hands.seen("gather")["part_002"] == {
            "partial_failure": True,
            "error": {"error_type": "handler_error", "message": "no", "retryable": False},
            "batch_id": "002",
            "start_cursor": 10,
            "end_cursor": 20,
        }
        await hands.complete("gather")
    assert await task_state(engine, task) == "complete"
    view = (await steps_by_name(engine, task))["part_002"]
    assert (view["current_state"], view["error"], view["metadata"]["partial_failure"]) == ("complete", None, True)
    assert await engine.dlq_entries() == []


async def test_a_worker_fails_for_good_only_after_all_its_attempts(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await started(engine, batch_template(strategy=CONTINUE), hands, batches(1))
        for _ in range(2):
            assert await hands.fail("part_001", retryable=True) == parts(1)
        assert await hands.fail("part_001", retryable=True) == {"gather"}
    view = (await steps_by_name(engine, task))["part_001"]
    assert (view["attempts"], view["result"]["partial_failure"]) == (3, True)


async def test_a_batch_goes_on_although_every_worker_fails(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await started(engine, batch_template(strategy=CONTINUE, parallelism=2), hands, batches(4))
        while "gather" not in hands.held:
            await hands.fail(*hands.held)
        assert sum(result.get("partial_failure", False) for result in hands.seen("gather").values()) == 4
        await hands.complete("gather")
    assert await task_state(engine, task) == "complete"


async def test_a_worker_whose_process_died_too_often_counts_as_done_too(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await started(engine, batch_template(strategy=CONTINUE), hands, batches(1))
        for _ in range(3):
            assert await hands.claim() == parts(1)
            await hands.abandon("part_001")
        assert await hands.claim() == {"gather"}
        assert hands.seen("gather")["part_001"]["error"]["error_type"] == "lease_expired"
        await hands.complete("gather")
    assert await task_state(engine, task) == "complete"


# -- fail_fast


async def test_a_failed_worker_cancels_those_that_are_not_running(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await started(engine, batch_template(strategy=FAIL_FAST, parallelism=3), hands, batches(6))
        await hands.source.release([hands.held.pop("part_003").key])
        assert await hands.fail("part_001") == parts(2)
        found = await states(engine, task)
        assert {name: found[name] for name in sorted(parts(1, 2, 3, 4, 5, 6))} == {
            "part_001": "error",
            "part_002": "in_progress",
            "part_003": "cancelled",
            "part_004": "cancelled",
            "part_005": "cancelled",
            "part_006": "cancelled",
        }
        assert await hands.complete("part_002") == set()
    assert await task_state(engine, task) == "blocked_by_failures"
    assert (await states(engine, task))["gather"] == "pending"


async def test_the_history_says_why_a_worker_was_cancelled(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await started(engine, batch_template(strategy=FAIL_FAST, parallelism=1), hands, batches(2))
        await hands.fail("part_001")
    (change,) = [change for change in await engine.history(task) if change["to_state"] == "cancelled"]
    assert (change["step"], change["from_state"]) == ("part_002", "pending")
    assert change["reason"] == "another worker of the batch failed (fail_fast)"


async def test_a_worker_that_waits_for_its_retry_is_cancelled_too(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await started(engine, batch_template(strategy=FAIL_FAST), hands, batches(2))
        await hands.report(failure(hands.held["part_002"], retryable=True), want=0)
        assert (await states(engine, task))["part_002"] == "waiting_for_retry"
        await hands.fail("part_001")
    assert (await states(engine, task))["part_002"] == "cancelled"
    assert await task_state(engine, task) == "blocked_by_failures"


async def test_a_worker_whose_process_died_too_often_cancels_the_others_too(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await started(engine, batch_template(strategy=FAIL_FAST, parallelism=1), hands, batches(2))
        for _ in range(3):
            assert await hands.claim() == parts(1)
            await hands.abandon("part_001")
    found = await states(engine, task)
    assert (found["part_001"], found["part_002"]) == ("error", "cancelled")
    assert await task_state(engine, task) == "blocked_by_failures"


async def test_a_retry_beside_a_worker_that_has_failed_meanwhile_still_happens(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await started(engine, batch_template(strategy=FAIL_FAST), hands, batches(2))
        await hands.fail("part_001")
        assert await hands.fail("part_002", retryable=True) == parts(2)
        await hands.complete("part_002")
    assert (await states(engine, task))["part_002"] == "complete"


async def test_two_workers_that_fail_in_one_report_cancel_the_others_once(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await started(engine, batch_template(strategy=FAIL_FAST, parallelism=2), hands, batches(4))
        assert await hands.fail("part_001", "part_002") == set()
        assert Counter((await states(engine, task)).values()) == {
            "complete": 1,
            "error": 2,
            "cancelled": 2,
            "pending": 1,
        }
        await engine.retry_task(task, actor="ann")
        assert await hands.claim() == parts(1, 2)
        assert await hands.complete("part_001", "part_002") == parts(3, 4)


async def test_after_a_reset_the_whole_batch_goes_on(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await started(engine, batch_template(strategy=FAIL_FAST, parallelism=2), hands, batches(5))
        await hands.complete("part_002")
        await hands.fail("part_001")
        assert set(hands.held) == parts(3)
        await hands.complete("part_003")
        answer = await engine.reset_step(task, "part_001", actor="ann", reason="repaired")
        assert {change["step"] for change in answer["steps"]} == parts(1, 4, 5)
        assert await hands.claim() == parts(1, 4)
        assert await hands.complete("part_001") == parts(4, 5)
        assert await hands.complete("part_004", "part_005") == {"gather"}
        await hands.complete("gather")
    assert await task_state(engine, task) == "complete"


@pytest.mark.parametrize("verb", ["resolve", "complete"])
async def test_a_failed_worker_that_is_ended_by_hand_lets_the_others_go_on(engine: Engine, verb: str) -> None:
    async with by_hand(engine) as hands:
        task = await started(engine, batch_template(strategy=FAIL_FAST, parallelism=1), hands, batches(3))
        await hands.fail("part_001")
        if verb == "resolve":
            await engine.resolve_step(task, "part_001", actor="ann", reason="not needed")
        else:
            await engine.complete_step(task, "part_001", {"rows": 7}, actor="ann", reason="done by hand")
        assert await hands.claim() == parts(2)
        assert await hands.complete("part_002") == parts(3)
        assert await hands.complete("part_003") == {"gather"}
        assert ("part_001" in hands.seen("gather")) is (verb == "complete")
        await hands.complete("gather")
    assert await task_state(engine, task) == "complete"


# -- isolate


async def test_each_failed_worker_becomes_a_dead_letter_and_the_others_go_on(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await started(engine, batch_template(strategy=ISOLATE, parallelism=2), hands, batches(4))
        assert await hands.fail("part_001") == parts(2, 3)
        assert [entry["step"] for entry in await engine.dlq_entries()] == ["part_001"]
        assert await hands.fail("part_003") == parts(2, 4)
        await hands.complete("part_002", "part_004")
    assert await task_state(engine, task) == "blocked_by_failures"
    entries = await engine.dlq_entries()
    assert {entry["step"] for entry in entries} == parts(1, 3)
    assert {entry["resolution_status"] for entry in entries} == {"pending"}


async def test_workers_that_are_put_right_let_what_gathers_run(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await started(engine, batch_template(strategy=ISOLATE), hands, batches(3))
        await hands.fail("part_001", "part_002")
        await hands.complete("part_003")
        await engine.reset_step(task, "part_001", actor="ann", reason="repaired")
        assert await hands.claim() == parts(1)
        await hands.complete("part_001")
        await engine.resolve_step(task, "part_002", actor="ann", reason="empty anyway")
        assert await hands.claim() == {"gather"}
        assert set(hands.seen("gather")) == {"analyze", *parts(1, 3)}
        await hands.complete("gather")
    assert await task_state(engine, task) == "complete"
    assert {entry["resolution_status"] for entry in await engine.dlq_entries()} == {"manually_resolved"}


@pytest.mark.parametrize("verb", ["resolve", "complete"])
async def test_a_failed_worker_that_is_ended_by_hand_frees_no_second_slot(engine: Engine, verb: str) -> None:
    async with by_hand(engine) as hands:
        task = await started(engine, batch_template(strategy=ISOLATE, parallelism=1), hands, batches(3))
        assert await hands.fail("part_001") == parts(2)
        if verb == "resolve":
            await engine.resolve_step(task, "part_001", actor="ann", reason="not needed")
        else:
            await engine.complete_step(task, "part_001", {}, actor="ann", reason="done by hand")
        assert await hands.claim() == parts(2)
        assert await hands.complete("part_002") == parts(3)


@pytest.mark.parametrize("ended", ["part_001", "part_002", "part_003", "part_004"])
async def test_a_worker_in_any_state_that_is_ended_by_hand_leaves_the_limit_as_it_was(
    engine: Engine, ended: str
) -> None:
    # 1 runs, 2 is ready, 3 and 4 wait for a slot.
    async with by_hand(engine) as hands:
        task = await started(engine, batch_template(parallelism=2), hands, batches(5))
        await hands.source.release([hands.held.pop("part_002").key])
        await engine.resolve_step(task, ended, actor="ann", reason="not needed")
        hands.held.pop(ended, None)
        await hands.claim()
        assert len(hands.held) == 2
        expected = sorted(parts(1, 2, 3, 4, 5) - {ended})
        assert sorted(hands.held) == expected[:2]
        while "gather" not in hands.held:
            assert len(hands.held) <= 2
            await hands.complete(min(hands.held))
        await hands.complete("gather")
    assert await task_state(engine, task) == "complete"


# -- what cannot be carried out


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        ({"n": 1}, "its result has no batch_processing_outcome"),
        ({"batch_processing_outcome": {"type": "x"}}, "its outcome is of type 'x'"),
        (batches(2, worker_count=3), "worker_count is 3 but there are 2 cursor_configs"),
        (batches(0), "cursor_configs is empty"),
        (batches(1, cursor_configs="all"), "cursor_configs must be a list of objects"),
        (batches(1, cursor_configs=[{"batch_id": "a", "start_cursor": 0}]), "'a' needs start_cursor and end_cursor"),
        (
            batches(
                2,
                cursor_configs=[
                    {"batch_id": "a", "start_cursor": 0, "end_cursor": 6},
                    {"batch_id": "b", "start_cursor": 5, "end_cursor": 9},
                ],
            ),
            "batches 'a' and 'b' overlap",
        ),
    ],
    ids=["none", "type", "count", "empty", "text", "no end", "overlap"],
)
async def test_an_outcome_that_cannot_be_carried_out_blocks_the_task_and_says_why(
    engine: Engine, outcome: dict[str, Any], message: str
) -> None:
    async with by_hand(engine) as hands:
        task = await started(engine, batch_template(), hands, outcome)
        assert hands.held == {}
    assert await states(engine, task) == {"analyze": "error"}
    assert await task_state(engine, task) == "blocked_by_failures"
    error = (await steps_by_name(engine, task))["analyze"]["error"]
    assert (error["error_type"], error["retryable"]) == ("invalid_batch_outcome", False)
    assert message in error["message"]


async def test_an_analyzer_that_fails_is_tried_again_and_makes_its_batches_then(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(batch_template(), TaskRequest())
        await hands.claim()
        assert await hands.fail("analyze", retryable=True) == {"analyze"}
        assert await hands.complete(analyze=batches(1)) == parts(1)
    assert (await steps_by_name(engine, task))["analyze"]["attempts"] == 2


async def test_an_analyzer_reported_twice_makes_its_batches_once(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(batch_template(), TaskRequest())
        await hands.claim()
        report = success(hands.held["analyze"], batches(2))
        assert not await hands.report(report)
        assert await hands.report(report) == {report.lease}
    assert len(await states(engine, task)) == 4


async def test_workers_are_run_by_several_processes(engine: Engine, database_url: str) -> None:
    ran: Counter[str] = Counter()
    together = asyncio.Barrier(2)

    def worker(name: str) -> Any:
        @step_handler("part")
        async def part(context: StepContext) -> dict[str, int]:
            ran[name] += 1
            if ran[name] == 1:
                await together.wait()
            return {"rows": 1}

        return part

    shape = template(
        analyzer("analyze", callable="analyze"),
        mould("part", "analyze", callable="part", parallelism=2),
        convergence("gather", "part", callable="gather"),
    )
    async with (
        Engine(database_url) as other,
        working(engine, {**HANDLERS, "part": worker("one")}, concurrency=1),
        working(other, {"part": worker("two")}, concurrency=1),
    ):
        task = await engine.create_task(shape, TaskRequest({"total": 6, "size": 1}))
        assert await engine.wait(task, 20) is TaskState.COMPLETE
    assert ran["one"] >= 1
    assert ran["two"] >= 1
    assert sum(ran.values()) == 6
