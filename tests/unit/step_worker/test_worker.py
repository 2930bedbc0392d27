"""A worker at work: its limits, its time limits, and what one step may do to another."""

import asyncio
import itertools
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.step_worker.support import FakeSource, at_work, leased_step

from tasker_core.handler import HandlerRegistry
from tasker_core.step_handler.functional import step_handler
from tasker_core.step_source import StepReport
from tasker_core.step_worker import StepWorker


@step_handler("work")
async def work() -> None: ...


@settings(max_examples=30, deadline=None)
@given(
    concurrency=st.integers(1, 5),
    roots=st.lists(st.tuples(st.booleans(), st.integers(0, 3)), min_size=1, max_size=20),
)
def test_no_mix_of_handlers_and_freed_steps_exceeds_the_limit(concurrency: int, roots: list[tuple[bool, int]]) -> None:
    """Each root is (runs on a thread, number of steps it frees); freed steps run the other way."""
    running, most, lock = 0, 0, threading.Lock()

    def enter() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)

    def leave() -> None:
        nonlocal running
        with lock:
            running -= 1

    @step_handler("async")
    async def on_the_loop() -> None:
        enter()
        await asyncio.sleep(0)
        leave()

    @step_handler("sync")
    def on_a_thread() -> None:
        enter()
        time.sleep(0)
        leave()

    async def run() -> None:
        source = FakeSource()
        expected = 0
        for threaded, children in roots:
            root = leased_step("sync" if threaded else "async")
            source.ready.append(root)
            source.frees[root.key] = [leased_step("async" if threaded else "sync") for _ in range(children)]
            expected += 1 + children
        async with at_work(source, {"async": on_the_loop, "sync": on_a_thread}, concurrency=concurrency):
            await source.until_recorded(expected)
        assert most <= concurrency
        assert source.most_leased <= concurrency, "it took steps that it had no slot for"
        assert not source.refused

    asyncio.run(run())


async def test_the_limit_is_used_in_full() -> None:
    together = asyncio.Barrier(4)

    @step_handler("work")
    async def meet() -> None:
        async with asyncio.timeout(10):
            await together.wait()

    source = FakeSource(leased_step() for _ in range(8))
    async with at_work(source, {"work": meet}, concurrency=4):
        await source.until_recorded(8)
    assert all(report.success for report in source.recorded.values())


async def test_a_freed_slot_is_filled_without_waiting_for_the_others() -> None:
    release = asyncio.Event()

    @step_handler("slow")
    async def slow() -> None:
        await release.wait()

    source = FakeSource([leased_step("slow"), *(leased_step() for _ in range(20))])
    async with at_work(source, {"slow": slow, "work": work}, concurrency=2):
        await source.until_recorded(20)
        release.set()
        await source.until_recorded(21)


async def test_freed_steps_continue_on_the_worker_without_another_claim() -> None:
    chain = [leased_step() for _ in range(50)]
    source = FakeSource(chain[:1])
    source.frees = {before.key: [after] for before, after in itertools.pairwise(chain)}
    async with at_work(source, {"work": work}, concurrency=1):
        await source.until_recorded(50)
    assert source.calls["claim"] < 5


async def test_a_wake_up_leads_to_a_claim_at_once() -> None:
    source = FakeSource()
    async with at_work(source, {"work": work}) as worker:
        await source.until(lambda: source.calls["next_due"] == 1)
        source.ready.append(leased_step())
        worker.wake()
        await source.until_recorded(1)


async def test_a_hung_thread_keeps_its_slot_after_its_time_limit() -> None:
    release = threading.Event()

    @step_handler("hang")
    def hang() -> None:
        release.wait()

    running, most = 0, 0

    @step_handler("work")
    async def count() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    source = FakeSource([leased_step("hang")])
    async with at_work(source, {"hang": hang, "work": count}, concurrency=2, default_timeout=0.1) as worker:
        await source.until_recorded(1)
        source.ready.extend(leased_step() for _ in range(10))
        worker.wake()
        await source.until_recorded(11)
        release.set()
    assert most == 1


async def test_a_thread_that_returns_after_its_time_limit_frees_its_slot_at_once() -> None:
    release, started, together = threading.Event(), asyncio.Event(), asyncio.Barrier(2)

    @step_handler("late")
    def late() -> None:
        release.wait()

    @step_handler("work")
    async def meet() -> None:
        started.set()
        await together.wait()

    source = FakeSource([leased_step("late")])
    async with at_work(source, {"late": late, "work": meet}, concurrency=2, default_timeout=0.1) as worker:
        await source.until_recorded(1)
        source.ready.extend([leased_step(), leased_step()])
        worker.wake()
        await started.wait()
        release.set()
        try:
            await source.until_recorded(3)
        finally:
            await together.abort()
    assert [report.success for report in source.recorded.values()] == [False, True, True]


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_handler_over_its_time_limit_fails_retryably_with_the_limit_in_milliseconds(kind: str) -> None:
    release = threading.Event()

    @step_handler("async")
    async def on_the_loop() -> None:
        await asyncio.Event().wait()

    @step_handler("sync")
    def on_a_thread() -> None:
        release.wait()

    source = FakeSource([leased_step(kind)])
    async with at_work(source, {"async": on_the_loop, "sync": on_a_thread}, default_timeout=0.25):
        await source.until_recorded(1)
        release.set()
    (report,) = source.recorded.values()
    assert report.error == {
        "error_type": "handler_timeout",
        "message": "the handler ran longer than its limit of 250 ms (timeout_seconds)",
        "retryable": True,
    }


async def test_the_steps_own_time_limit_comes_before_the_workers() -> None:
    @step_handler("work")
    async def forever() -> None:
        await asyncio.Event().wait()

    source = FakeSource([leased_step(timeout=1)])
    async with at_work(source, {"work": forever}, default_timeout=60):
        await source.until_recorded(1)
    (report,) = source.recorded.values()
    assert report.error is not None
    assert "limit of 1000 ms" in report.error["message"]


async def test_a_handler_over_its_time_limit_is_told_to_stop() -> None:
    told = {"async": asyncio.Event(), "sync": asyncio.Event()}
    loop = asyncio.get_running_loop()

    @step_handler("async")
    async def on_the_loop() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            told["async"].set()

    @step_handler("sync")
    def on_a_thread(context: Any) -> None:
        while not context.is_cancelled():
            time.sleep(0.005)
        loop.call_soon_threadsafe(told["sync"].set)

    source = FakeSource([leased_step("async"), leased_step("sync")])
    async with at_work(source, {"async": on_the_loop, "sync": on_a_thread}, default_timeout=0.1):
        async with asyncio.timeout(5):
            await told["async"].wait()
            await told["sync"].wait()


async def test_a_lost_lease_cancels_an_async_handler() -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    @step_handler("work")
    async def forever() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    source = FakeSource([leased_step()], lease_seconds=0.06)
    async with at_work(source, {"work": forever}), asyncio.timeout(5):
        await started.wait()
        source.leased.clear()
        await cancelled.wait()
    assert not source.recorded
    assert not source.refused, "the result of a lost lease is nobody's any more"


async def test_a_lost_lease_shows_in_is_cancelled_of_a_plain_handler() -> None:
    started, stopped = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    @step_handler("work")
    def until_cancelled(context: Any) -> None:
        started.set()
        while not context.is_cancelled():
            time.sleep(0.005)
        loop.call_soon_threadsafe(stopped.set)

    source = FakeSource([leased_step()], lease_seconds=0.06)
    async with at_work(source, {"work": until_cancelled}), asyncio.timeout(5):
        await asyncio.to_thread(started.wait)
        source.leased.clear()
        await stopped.wait()
    assert not source.recorded


async def test_leases_are_renewed_while_a_handler_blocks_the_event_loop() -> None:
    source = FakeSource([leased_step()], lease_seconds=0.06)

    @step_handler("work")
    async def block() -> None:
        renewals = source.calls["renew"]
        give_up = time.monotonic() + 5
        while source.calls["renew"] < renewals + 3 and time.monotonic() < give_up:
            time.sleep(0.005)  # noqa: ASYNC251 - blocking the loop is the point
        assert source.calls["renew"] >= renewals + 3

    async with at_work(source, {"work": block}):
        await source.until_recorded(1)
    (report,) = source.recorded.values()
    assert report.success


async def test_a_handler_that_cancels_itself_fails_retryably() -> None:
    @step_handler("work")
    async def give_up() -> None:
        raise asyncio.CancelledError

    source = FakeSource([leased_step()])
    async with at_work(source, {"work": give_up}):
        await source.until_recorded(1)
    (report,) = source.recorded.values()
    assert report.error == {"error_type": "handler_error", "message": "the handler was cancelled", "retryable": True}


async def test_a_step_without_a_handler_fails_alone() -> None:
    source = FakeSource([leased_step("engine_tests.nowhere"), leased_step()])
    async with at_work(source, {"work": work}):
        await source.until_recorded(2)
    assert sorted(report.success for report in source.recorded.values()) == [False, True]


async def test_a_report_that_cannot_be_recorded_does_not_stop_the_others() -> None:
    steps = [leased_step() for _ in range(10)]
    poison = steps[4].key

    def refuse_poison(reports: Sequence[StepReport]) -> None:
        if any(report.lease == poison and report.success for report in reports):
            raise ValueError("numeric field overflow")

    source = FakeSource(steps)
    source.inspect = refuse_poison
    async with at_work(source, {"work": work}):
        await source.until_recorded(10)
    assert [report.lease for report in source.recorded.values() if not report.success] == [poison]
    assert source.recorded[poison].error == {
        "error_type": "result_refused",
        "message": "the result cannot be recorded: numeric field overflow",
        "retryable": False,
    }


async def test_a_step_whose_failure_cannot_be_recorded_either_is_let_go() -> None:
    step, other = leased_step(), leased_step()

    def refuse(reports: Sequence[StepReport]) -> None:
        if any(report.lease == step.key for report in reports):
            raise ValueError("no")

    source = FakeSource([step])
    source.inspect = refuse
    async with at_work(source, {"work": work}, concurrency=1) as worker:
        await source.until(lambda: source.calls["report"] >= 2)
        source.ready.append(other)
        worker.wake()
        await source.until_recorded(1)
    assert list(source.recorded) == [other.key]


async def test_a_refused_report_is_not_sent_again() -> None:
    started = asyncio.Event()
    release = asyncio.Event()

    @step_handler("work")
    async def wait() -> None:
        started.set()
        await release.wait()

    source = FakeSource([leased_step()])
    async with at_work(source, {"work": wait}) as worker, asyncio.timeout(5):
        await started.wait()
        source.leased.clear()
        release.set()
        await source.until(lambda: len(source.refused) == 1)
        other = leased_step()
        source.ready.append(other)
        worker.wake()
        await source.until_recorded(1)
    assert len(source.refused) == 1


async def test_a_coroutine_that_takes_its_time_to_stop_keeps_its_slot() -> None:
    release = asyncio.Event()

    @step_handler("stubborn")
    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await release.wait()

    source = FakeSource([leased_step("stubborn"), leased_step()])
    async with at_work(source, {"stubborn": stubborn, "work": work}, concurrency=1, default_timeout=0.1):
        await source.until_recorded(1)
        with pytest.raises(TimeoutError):
            await source.until_recorded(2, timeout=0.2)
        release.set()
        await source.until_recorded(2)


async def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        StepWorker(FakeSource(), HandlerRegistry(), concurrency=0)
