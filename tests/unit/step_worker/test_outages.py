"""A worker whose engine cannot be reached for a while, or whose answers get lost on the way."""

import asyncio

from tests.unit.step_worker.support import FakeSource, at_work, leased_step, unavailable

from tasker_core.step_handler.functional import step_handler


@step_handler("work")
async def work() -> None: ...


def cut_once(source: FakeSource, verb: str) -> None:
    """Lose the next answer of a verb: the engine has done its part, the worker learns only of the outage."""

    async def lose() -> None:
        del source.before_answer[verb]
        raise unavailable()

    source.before_answer[verb] = lose


async def test_work_goes_on_when_the_engine_is_back() -> None:
    source = FakeSource([leased_step()])
    source.go_down()
    async with at_work(source, {"work": work}):
        await source.until(lambda: source.calls["recover"] >= 2)
        source.come_back()
        await source.until_recorded(1)


async def test_results_that_end_during_an_outage_are_reported_after_it() -> None:
    steps = [leased_step() for _ in range(5)]
    started, release = asyncio.Barrier(6), asyncio.Event()

    @step_handler("work")
    async def wait() -> None:
        await started.wait()
        await release.wait()

    source = FakeSource(steps)
    async with at_work(source, {"work": wait}), asyncio.timeout(10):
        await started.wait()
        source.go_down()
        release.set()
        await source.until(lambda: source.calls["report"] >= 2)
        assert not source.recorded
        source.come_back()
        await source.until_recorded(5)
    assert source.recorded.keys() == {step.key for step in steps}
    assert not source.refused


async def test_steps_freed_by_a_report_whose_answer_got_lost_are_adopted() -> None:
    parent, child = leased_step(), leased_step()
    source = FakeSource([parent])
    source.frees[parent.key] = [child]
    cut_once(source, "report")
    async with at_work(source, {"work": work}):
        await source.until_recorded(2)
    assert source.recorded.keys() == {parent.key, child.key}


async def test_a_report_whose_answer_got_lost_counts_once() -> None:
    source = FakeSource([leased_step()])
    cut_once(source, "report")
    async with at_work(source, {"work": work}):
        await source.until(lambda: len(source.refused) == 1)
    assert len(source.recorded) == 1


async def test_steps_granted_in_an_answer_that_got_lost_are_adopted() -> None:
    # Nothing else is ready, so no report will come along to set it right.
    source = FakeSource([leased_step()])
    cut_once(source, "claim")
    async with at_work(source, {"work": work}, idle_poll=0.05):
        await source.until_recorded(1)


async def test_granted_steps_start_even_if_the_engine_goes_away_right_after_the_grant() -> None:
    source = FakeSource([leased_step()])
    source.failing["next_due"] = unavailable()
    async with at_work(source, {"work": work}, idle_poll=0.05):
        await source.until_recorded(1)


async def test_the_limit_holds_when_lost_grants_are_adopted() -> None:
    running, most = 0, 0
    gate = asyncio.Event()

    @step_handler("work")
    async def hold() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await gate.wait()
        running -= 1

    async def answer_slowly() -> None:
        # Time for a claim beside the look-up; whatever both of them start then runs at once.
        del source.before_answer["recover"]
        gate.clear()
        await asyncio.sleep(0.05)
        asyncio.get_running_loop().call_later(0.05, gate.set)

    source = FakeSource(leased_step() for _ in range(8))
    cut_once(source, "claim")
    source.before_answer["recover"] = answer_slowly
    async with at_work(source, {"work": hold}, concurrency=2, idle_poll=0.05):
        await source.until(lambda: source.calls["claim"] >= 2)
        gate.set()
        await source.until_recorded(8)
    assert most == 2


async def test_an_attempt_that_is_reported_while_leases_are_looked_up_does_not_run_again() -> None:
    ran: list[str] = []
    started, release = asyncio.Event(), asyncio.Event()
    first, slow = leased_step("first"), leased_step("slow")

    @step_handler("first")
    async def trigger() -> None:
        ran.append("first")

    @step_handler("slow")
    async def wait() -> None:
        ran.append("slow")
        started.set()
        await release.wait()

    source = FakeSource([slow, first])
    cut_once(source, "report")

    async def report_the_slow_one_meanwhile() -> None:
        # The look-up has seen the slow step's lease; before its answer arrives the step ends and is recorded.
        release.set()
        await source.until(lambda: slow.key in source.recorded)
        await asyncio.sleep(0.02)

    source.before_answer["recover"] = report_the_slow_one_meanwhile
    async with at_work(source, {"first": trigger, "slow": wait}, concurrency=2), asyncio.timeout(10):
        await started.wait()
        await source.until_recorded(2)
        await source.until(lambda: source.calls["recover"] >= 1)
        source.before_answer.pop("recover", None)
    assert sorted(ran) == ["first", "slow"]


async def test_leases_are_renewed_again_after_an_outage() -> None:
    release = asyncio.Event()

    @step_handler("work")
    async def wait() -> None:
        await release.wait()

    source = FakeSource([leased_step()], lease_seconds=0.06)
    async with at_work(source, {"work": wait}), asyncio.timeout(10):
        await source.renewed.wait()
        source.failing["renew"] = unavailable()
        failed = source.calls["renew"]
        while source.calls["renew"] == failed:  # noqa: ASYNC110 - renewals happen on another thread
            await asyncio.sleep(0.005)
        source.come_back()
        source.renewed.clear()
        await source.renewed.wait()
        release.set()
        await source.until_recorded(1)
    assert not source.refused
