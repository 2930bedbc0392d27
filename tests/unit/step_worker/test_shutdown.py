"""A worker that stops: nothing is lost, and nobody waits longer than promised."""

import asyncio
import threading
import time

import pytest
from tests.unit.step_worker.support import FakeSource, at_work, leased_step

from tasker_core.step_handler.functional import step_handler


@step_handler("work")
async def work() -> None: ...


async def test_an_idle_worker_stops_at_once() -> None:
    source = FakeSource()
    async with at_work(source, {"work": work}, shutdown_timeout=30):
        await source.until(lambda: source.calls["next_due"] >= 1)
        stopping = time.monotonic()
    assert time.monotonic() - stopping < 1


async def test_running_handlers_are_waited_for_and_reported() -> None:
    started, release = asyncio.Event(), asyncio.Event()

    @step_handler("work")
    async def wait() -> dict[str, bool]:
        started.set()
        await release.wait()
        return {"done": True}

    source = FakeSource([leased_step()])
    async with at_work(source, {"work": wait}) as worker:
        await started.wait()
        worker.stop()
        await asyncio.sleep(0)
        assert worker.running == 1
        release.set()
    (report,) = source.recorded.values()
    assert (report.success, report.result) == (True, '{"done":true}')


async def test_no_step_is_taken_once_it_stops() -> None:
    started, release = asyncio.Event(), asyncio.Event()

    @step_handler("work")
    async def wait() -> None:
        started.set()
        await release.wait()

    parent = leased_step()
    source = FakeSource([parent])
    source.frees[parent.key] = [leased_step()]
    async with at_work(source, {"work": wait}, concurrency=3) as worker:
        await started.wait()
        worker.stop()
        source.ready.append(leased_step())
        worker.wake()
        release.set()
    assert list(source.recorded) == [parent.key]
    assert not source.leased


async def test_steps_that_arrive_while_it_stops_are_given_back_unused() -> None:
    step = leased_step()
    source = FakeSource([step])
    granted, release = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        granted.set()
        await release.wait()

    source.before_answer["claim"] = hold
    async with at_work(source, {"work": work}) as worker:
        await granted.wait()
        worker.stop()
        release.set()
    assert source.released == [step.key]
    assert not source.recorded


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_handler_that_does_not_end_in_time_is_reported_as_cut_short(kind: str) -> None:
    started, release = threading.Event(), threading.Event()

    @step_handler("async")
    async def on_the_loop() -> None:
        started.set()
        await asyncio.Event().wait()

    @step_handler("sync")
    def on_a_thread() -> None:
        started.set()
        release.wait()

    source = FakeSource([leased_step(kind)])
    async with at_work(source, {"async": on_the_loop, "sync": on_a_thread}, shutdown_timeout=0.1):
        await asyncio.to_thread(started.wait)
    release.set()
    (report,) = source.recorded.values()
    assert report.error is not None
    assert (report.error["error_type"], report.retryable) == ("worker_shutdown", True)
    assert report.metadata == {"retry_after_seconds": 0}, "another worker may start it at once"


async def test_a_worker_whose_engine_is_away_stops_all_the_same() -> None:
    started, release = asyncio.Event(), asyncio.Event()

    @step_handler("work")
    async def wait() -> None:
        started.set()
        await release.wait()

    source = FakeSource([leased_step()], lease_seconds=0.3)
    async with at_work(source, {"work": wait}, shutdown_timeout=0.1):
        await started.wait()
        source.go_down()
        release.set()
    assert not source.recorded


async def test_an_error_that_is_no_outage_ends_the_worker_and_is_not_hidden() -> None:
    source = FakeSource()
    source.failing["claim"] = RuntimeError("schema is gone")
    with pytest.raises(RuntimeError, match="schema is gone"):
        async with at_work(source, {"work": work}):
            await source.until(lambda: source.calls["claim"] >= 1)


def test_a_handler_that_returns_after_its_worker_and_event_loop_are_gone_disturbs_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started, release = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []
    uncaught: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: uncaught.append(args.exc_value))

    @step_handler("work")
    def hang() -> None:
        threads.append(threading.current_thread())
        started.set()
        release.wait()

    async def run() -> None:
        async with at_work(FakeSource([leased_step()]), {"work": hang}, shutdown_timeout=0.05):
            await asyncio.to_thread(started.wait)

    asyncio.run(run())
    release.set()
    threads[0].join(timeout=10)
    assert not threads[0].is_alive()
    assert uncaught == []


async def test_a_step_that_is_handed_on_while_the_worker_stops_is_given_back_at_once() -> None:
    first, second = leased_step(), leased_step()
    source = FakeSource([first])
    source.frees[first.key] = [second]

    async def stop() -> None:
        worker.stop()

    source.before_answer["report"] = stop
    async with at_work(source, {"work": work}) as worker:
        await source.until_recorded(1)
    assert source.released == [second.key]
    assert source.leased == {}
