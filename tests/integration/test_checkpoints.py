"""Checkpoints: a step that yields goes on from there, in the same attempt, on any worker, with nothing done twice."""

from typing import Any
from uuid import UUID

import pytest
from conftest import working
from tests.integration.dynamic import (
    analyzer,
    batch_template,
    batches,
    by_hand,
    choose,
    convergence,
    decision,
    mould,
    step,
    success,
    task_state,
    template,
    yielded,
)
from tests.integration.support import chain, changes, graph, snapshot, states, steps_by_name

from tasker_core import StepHandler, errors
from tasker_core.batch_processing import Batchable
from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.states import TaskState
from tasker_core.step_handler.functional import step_handler
from tasker_core.template import Backoff, RetryPolicy
from tasker_core.types import StepContext, StepHandlerResult

ONE_STEP = graph({"only": []})


class Count(StepHandler, Batchable):
    """Processes items one by one and yields after each so many; may fail once, or for good, on its way."""

    handler_name = "work"
    #: Items in the order in which they were done.
    done: list[int]
    #: Executions, the first and those after each checkpoint.
    executions: int

    def call(self, context: StepContext) -> StepHandlerResult:
        type(self).executions += 1
        total, every = context.get_input("total"), context.get_input("every")
        position = context.checkpoint_cursor or 0
        assert context.checkpoint_items_processed == position
        assert (context.accumulated_results or {}).get("sum", 0) == sum(range(position))
        batch: list[int] = []
        while position + len(batch) < total:
            if position + len(batch) == context.get_input("fails_at") and self.fails(context):
                raise errors.RetryableError("on the way")
            batch.append(position + len(batch))
            if len(batch) == every and batch[-1] + 1 < total:
                self.done.extend(batch)
                cursor = batch[-1] + 1
                return self.checkpoint_yield(
                    cursor=cursor, items_processed=cursor, accumulated_results={"sum": sum(range(cursor))}
                )
        self.done.extend(batch)
        return self.success({"processed": total, "sum": sum(range(total))})

    def fails(self, context: StepContext) -> bool:
        return context.get_input("always") or not context.is_retry()


@pytest.fixture
def count() -> type[Count]:
    return type("CountOnce", (Count,), {"done": [], "executions": 0})


async def run(engine: Engine, handler: type[Count], **context: Any) -> tuple[UUID, TaskState, dict[str, Any]]:
    async with working(engine, {"work": handler}):
        task = await engine.create_task(ONE_STEP, TaskRequest(context))
        state = await engine.wait(task, 20)
    return task, state, (await engine.steps(task))[0]


async def history_of(engine: Engine, task: UUID, name: str) -> list[Any]:
    return [entry["cursor"] for entry in (await steps_by_name(engine, task))[name]["checkpoint"]["history"]]


# -- the documented cases


@pytest.mark.parametrize(
    ("total", "every", "executions"), [(100, 25, 4), (50, 5, 10), (0, 5, 1), (10, 20, 1), (100, 1, 100)]
)
async def test_a_step_yields_as_often_as_it_wants_in_one_attempt(
    engine: Engine, count: type[Count], total: int, every: int, executions: int
) -> None:
    _, state, only = await run(engine, count, total=total, every=every)
    assert (state, only["attempts"]) == (TaskState.COMPLETE, 1)
    assert only["result"] == {"processed": total, "sum": sum(range(total))}
    assert count.executions == executions
    assert count.done == list(range(total))


async def test_after_a_failure_the_next_attempt_resumes_and_nothing_is_done_twice(
    engine: Engine, count: type[Count]
) -> None:
    _, state, only = await run(engine, count, total=100, every=10, fails_at=50)
    assert (state, only["attempts"]) == (TaskState.COMPLETE, 2)
    assert count.done == list(range(100))


async def test_only_the_work_since_the_last_checkpoint_is_done_again(engine: Engine, count: type[Count]) -> None:
    _, state, only = await run(engine, count, total=100, every=20, fails_at=50)
    assert (state, only["attempts"], only["result"]["processed"]) == (TaskState.COMPLETE, 2, 100)
    assert count.done == list(range(100))
    assert count.executions == 3 + 3


async def test_a_step_that_never_gets_past_a_point_uses_up_its_attempts_and_keeps_its_checkpoint(
    engine: Engine, count: type[Count]
) -> None:
    _, state, only = await run(engine, count, total=100, every=25, fails_at=60, always=True)
    assert (state, only["current_state"], only["attempts"]) == (TaskState.BLOCKED_BY_FAILURES, "error", 3)
    assert only["checkpoint"]["cursor"] == 50


# -- what is kept


async def test_a_checkpoint_tells_where_the_step_is_and_how_it_got_there(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(ONE_STEP, TaskRequest())
        await hands.claim()
        await hands.checkpoint("only", 25, 20, {"sum": 3})
        await hands.checkpoint("only", 50, 40)
        view = (await steps_by_name(engine, task))["only"]
        kept = view["checkpoint"]
        assert (kept["cursor"], kept["items_processed"], kept["accumulated_results"]) == (50, 40, {"sum": 3})
        assert [entry["cursor"] for entry in kept["history"]] == [25, 50]
        assert kept["history"][-1]["timestamp"] == kept["timestamp"]
        assert (view["current_state"], view["attempts"]) == ("in_progress", 1)
        assert hands.held["only"].saved_checkpoint() == kept
        assert hands.held["only"].task_sequence_step()["workflow_step"]["checkpoint"] == kept


async def test_the_last_fifty_cursors_are_remembered(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(ONE_STEP, TaskRequest())
        await hands.claim()
        for cursor in range(55):
            await hands.checkpoint("only", cursor, cursor)
        assert await history_of(engine, task, "only") == list(range(5, 55))


async def test_attempts_and_history_are_as_if_the_step_had_not_yielded(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(ONE_STEP, TaskRequest())
        await hands.claim()
        for cursor in range(3):
            await hands.checkpoint("only", cursor, cursor, want=cursor % 2)
            await hands.claim()
        assert hands.held["only"].attempt == 1
        await hands.complete("only")
    assert await changes(engine, task, "only") == [
        (None, "pending", "enqueued"),
        (1, "enqueued", "in_progress"),
        (1, "in_progress", "complete"),
    ]


async def test_a_completed_step_has_no_checkpoint_any_more(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(chain(2), TaskRequest())
        await hands.claim()
        await hands.checkpoint("s0", 1, 1)
        await hands.complete("s0")
        assert (await steps_by_name(engine, task))["s0"]["checkpoint"] is None
        assert hands.held["s1"].saved_checkpoint() is None


@pytest.mark.parametrize("cursor", [0, "k-17", {"table": "a", "id": 5}, [1, 2], None])
async def test_a_cursor_is_whatever_json_can_say(engine: Engine, cursor: Any) -> None:
    async with by_hand(engine) as hands:
        await engine.create_task(ONE_STEP, TaskRequest())
        await hands.claim()
        await hands.checkpoint("only", cursor, 1)
        assert (hands.held["only"].saved_checkpoint() or {})["cursor"] == cursor


# -- who goes on


async def test_a_step_goes_on_at_once_on_its_worker_under_a_new_lease(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(ONE_STEP, TaskRequest())
        await hands.claim()
        before = hands.held["only"].key
        await hands.checkpoint("only", 1, 1)
        assert hands.held["only"].key.lease_id != before.lease_id
        assert await states(engine, task) == {"only": "in_progress"}
        assert await hands.source.claim(10) == []


async def test_a_step_that_its_worker_does_not_want_goes_on_elsewhere(engine: Engine, database_url: str) -> None:
    async with Engine(database_url) as other, by_hand(engine) as one, by_hand(other) as two:
        task = await engine.create_task(ONE_STEP, TaskRequest())
        await one.claim()
        await one.checkpoint("only", 7, 5, want=0)
        assert one.held == {}
        assert await states(engine, task) == {"only": "enqueued"}
        assert await two.claim() == {"only"}
        resumed = two.held["only"]
        assert ((resumed.saved_checkpoint() or {})["cursor"], resumed.attempt) == (7, 1)
        await two.complete("only")
    assert await task_state(engine, task) == "complete"


async def test_after_a_failure_another_worker_resumes(engine: Engine, database_url: str) -> None:
    async with Engine(database_url) as other, by_hand(engine) as one, by_hand(other) as two:
        await engine.create_task(ONE_STEP, TaskRequest())
        await one.claim()
        await one.checkpoint("only", 50, 50, {"sum": 9})
        await one.source.report([success(one.held["only"], yielded(60, 60), {"checkpoint_yield": True})], 1)
        (resumed,) = await one.source.recover()
        assert (resumed.saved_checkpoint() or {})["cursor"] == 60
        one.held = {"only": resumed}
        await one.abandon("only")
        assert await two.claim() == {"only"}
        checkpoint = two.held["only"].saved_checkpoint() or {}
        assert (checkpoint["cursor"], checkpoint["accumulated_results"]) == (60, {"sum": 9})
        assert two.held["only"].attempt == 2


async def test_a_worker_that_lost_its_lease_cannot_checkpoint(engine: Engine, database_url: str) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(ONE_STEP, TaskRequest())
        await hands.claim()
        await hands.checkpoint("only", 10, 10)
        stale = hands.held["only"]
        await hands.abandon("only")
        before = await snapshot(database_url)
        report = success(stale, yielded(20, 20), {"checkpoint_yield": True})
        assert await hands.report(report) == {stale.key}
        assert await snapshot(database_url) == before
        assert await history_of(engine, task, "only") == [10]


async def test_a_worker_that_holds_a_step_again_cannot_checkpoint_under_its_old_lease(
    engine: Engine, database_url: str
) -> None:
    async with by_hand(engine) as hands:
        await engine.create_task(ONE_STEP, TaskRequest())
        await hands.claim()
        stale = hands.held["only"]
        await hands.abandon("only")
        assert await hands.claim() == {"only"}
        before = await snapshot(database_url)
        answer = await engine.store.save_checkpoints(
            hands.source._worker_id, {stale.key: '{"cursor":20}'}, want=1, lease_seconds=30
        )
        assert (answer.refused, list(answer.leased), answer.queued) == ({stale.key}, [], 0)
        assert await snapshot(database_url) == before


async def test_a_checkpoint_sent_twice_counts_once(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(ONE_STEP, TaskRequest())
        await hands.claim()
        report = success(hands.held["only"], yielded(10, 10), {"checkpoint_yield": True})
        assert not await hands.report(report)
        assert await hands.report(report) == {report.lease}
        assert await history_of(engine, task, "only") == [10]


async def test_a_step_that_was_cancelled_cannot_checkpoint(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(ONE_STEP, TaskRequest())
        await hands.claim()
        await engine.cancel_task(task, actor="ann", reason="stop")
        report = success(hands.held["only"], yielded(10, 10), {"checkpoint_yield": True})
        assert await hands.report(report) == {report.lease}
    assert await states(engine, task) == {"only": "cancelled"}


async def test_while_its_task_is_paused_a_step_that_yields_is_held(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(ONE_STEP, TaskRequest())
        await hands.claim()
        await engine.pause_task(task, actor="ann")
        await hands.checkpoint("only", 10, 10)
        assert (await hands.claim(), await states(engine, task)) == (set(), {"only": "enqueued"})
        await engine.resume_task(task, actor="ann")
        assert await hands.claim() == {"only"}
        assert ((hands.held["only"].saved_checkpoint() or {})["cursor"], hands.held["only"].attempt) == (10, 1)


async def test_checkpoints_and_results_may_come_in_one_report(engine: Engine) -> None:
    shape = template(step("a"), step("b"), step("c"), decision("route", "c"), step("x", "route"))
    async with by_hand(engine) as hands:
        task = await engine.create_task(shape, TaskRequest())
        await hands.claim()
        await hands.complete("c")
        assert not await hands.report(
            success(hands.held["a"], yielded(1, 1), {"checkpoint_yield": True}),
            success(hands.held["b"]),
            success(hands.held["route"], choose("x")),
        )
        assert set(hands.held) == {"a", "x"}
    assert (await states(engine, task))["b"] == "complete"


# -- what is refused


@pytest.mark.parametrize(
    ("cursor", "items", "message"),
    [
        (9, 20, "the cursor moved back from 10 to 9"),
        (20, 9, "items_processed fell from 10 to 9"),
        (20, -1, "items_processed must be a whole number of 0 or more, not -1"),
    ],
)
async def test_a_checkpoint_that_moves_back_is_a_permanent_failure(
    engine: Engine, cursor: int, items: int, message: str
) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(ONE_STEP, TaskRequest())
        await hands.claim()
        await hands.checkpoint("only", 10, 10)
        await hands.checkpoint("only", cursor, items)
        assert hands.held == {}
    only = (await steps_by_name(engine, task))["only"]
    assert (only["current_state"], only["attempts"], only["checkpoint"]["cursor"]) == ("error", 1, 10)
    assert (only["error"]["error_type"], only["error"]["retryable"]) == ("checkpoint_error", False)
    assert message in only["error"]["message"]


async def test_a_checkpoint_that_cannot_be_kept_is_a_permanent_failure(engine: Engine) -> None:
    class Unspeakable(StepHandler, Batchable):
        handler_name = "work"

        def call(self, context: StepContext) -> StepHandlerResult:
            return self.checkpoint_yield(cursor=object(), items_processed=1)

    async with working(engine, {"work": Unspeakable}):
        task = await engine.create_task(ONE_STEP, TaskRequest())
        assert await engine.wait(task, 10) is TaskState.BLOCKED_BY_FAILURES
    assert (await steps_by_name(engine, task))["only"]["error"]["retryable"] is False


# -- checkpoints of other kinds of step, and what operators do to them


async def test_a_batch_worker_checkpoints_within_its_batch_and_keeps_its_slot(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        await engine.create_task(batch_template(parallelism=1), TaskRequest())
        await hands.claim()
        await hands.complete(analyze=batches(2))
        await hands.checkpoint("part_001", 5, 5)
        assert await hands.claim() == {"part_001"}
        leased = hands.held["part_001"]
        assert leased.step_inputs()["cursor"]["batch_id"] == "001"
        assert (leased.saved_checkpoint() or {})["cursor"] == 5
        assert await hands.complete("part_001") == {"part_002"}


async def test_a_handler_sees_its_checkpoint_in_its_batch_context(engine: Engine) -> None:
    seen: list[tuple[Any, Any, Any]] = []

    class Part(StepHandler, Batchable):
        handler_name = "part"

        def call(self, context: StepContext) -> StepHandlerResult:
            batch = self.get_batch_worker_context(context)
            assert batch is not None
            seen.append((batch.checkpoint_cursor, batch.checkpoint_items_processed, batch.accumulated_results))
            if not batch.has_checkpoint():
                return self.checkpoint_yield(cursor=5, items_processed=5, accumulated_results=[1])
            return self.batch_worker_success(batch, result={"rows": 10})

    @step_handler("analyze")
    async def analyze() -> dict[str, Any]:
        return batches(1)

    @step_handler("gather")
    async def gather() -> None: ...

    shape = template(
        analyzer("analyze", callable="analyze"),
        mould("part", "analyze", callable="part"),
        convergence("gather", "part", callable="gather"),
    )
    async with working(engine, {"analyze": analyze, "part": Part, "gather": gather}):
        task = await engine.create_task(shape, TaskRequest())
        assert await engine.wait(task, 10) is TaskState.COMPLETE
    assert seen == [(None, 0, None), (5, 5, [1])]


async def test_a_step_that_is_reset_resumes_from_its_checkpoint(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(ONE_STEP, TaskRequest())
        await hands.claim()
        await hands.checkpoint("only", 10, 10)
        await hands.fail("only")
        await engine.reset_step(task, "only", actor="ann", reason="repaired")
        assert await hands.claim() == {"only"}
        assert ((hands.held["only"].saved_checkpoint() or {})["cursor"], hands.held["only"].attempt) == (10, 1)


async def test_a_task_that_is_retried_resumes_from_its_checkpoints(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(ONE_STEP, TaskRequest())
        await hands.claim()
        await hands.checkpoint("only", 10, 10)
        await hands.fail("only")
        await engine.retry_task(task, actor="ann")
        await hands.claim()
        assert (hands.held["only"].saved_checkpoint() or {})["cursor"] == 10


async def test_a_rerun_begins_at_the_beginning(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(ONE_STEP, TaskRequest())
        await hands.claim()
        await hands.checkpoint("only", 10, 10)
        await hands.fail("only")
        await engine.rerun_task(task, "only", actor="ann", reason="other data")
        assert await hands.claim() == {"only"}
        assert hands.held["only"].saved_checkpoint() is None
        await hands.checkpoint("only", 3, 3)
        assert await history_of(engine, task, "only") == [3]


async def test_a_step_with_a_checkpoint_that_is_completed_by_hand_keeps_none(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(ONE_STEP, TaskRequest())
        await hands.claim()
        await hands.checkpoint("only", 10, 10)
        await engine.complete_step(task, "only", {"n": 1}, actor="ann", reason="the rest is empty")
    only = (await steps_by_name(engine, task))["only"]
    assert (only["current_state"], only["checkpoint"], only["result"]) == ("complete", None, {"n": 1})


async def test_a_retry_after_a_checkpoint_waits_its_time(engine: Engine) -> None:
    policy = RetryPolicy(max_attempts=3, backoff=Backoff.LINEAR, backoff_base_ms=60_000, max_backoff_ms=60_000)
    async with by_hand(engine) as hands:
        task = await engine.create_task(graph({"only": []}, step={"retry": policy}), TaskRequest())
        await hands.claim()
        await hands.checkpoint("only", 10, 10)
        assert await hands.fail("only", retryable=True) == set()
    assert await task_state(engine, task) == "waiting_for_retry"
    assert (await steps_by_name(engine, task))["only"]["checkpoint"]["cursor"] == 10
