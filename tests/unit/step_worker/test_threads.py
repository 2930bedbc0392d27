"""Threads for handlers that are plain functions."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable

from tasker_core import identifiers
from tasker_core.step_source import LeaseKey, StepReport
from tasker_core.step_worker.threads import HandlerThreads

PROGRAM_WITH_A_HUNG_HANDLER = """
import threading, uuid
from tasker_core.step_source import LeaseKey
from tasker_core.step_worker.threads import HandlerThreads

started = threading.Event()

def hang():
    started.set()
    threading.Event().wait()

threads = HandlerThreads(1, wake=lambda: None)
threads.submit(LeaseKey(uuid.uuid4(), 0, 1), hang)
started.wait()
threads.stop()
"""


def key() -> LeaseKey:
    return LeaseKey(identifiers.new_task_uuid(), 0, 1)


class Harness:
    """Handler threads whose results are collected on the event loop."""

    def __init__(self, limit: int) -> None:
        loop = asyncio.get_running_loop()
        self.taken: list[tuple[LeaseKey, StepReport]] = []
        self.wakes = 0
        self._arrived = asyncio.Condition()
        self.threads = HandlerThreads(limit, wake=lambda: loop.call_soon_threadsafe(self._take))

    def _take(self) -> None:
        self.wakes += 1
        self.taken += self.threads.take()
        self._task = asyncio.get_running_loop().create_task(self._note())

    async def _note(self) -> None:
        async with self._arrived:
            self._arrived.notify_all()

    async def until_taken(self, count: int) -> None:
        async with asyncio.timeout(10), self._arrived:
            await self._arrived.wait_for(lambda: len(self.taken) >= count)

    def submit(self, work: Callable[[], object] = lambda: None) -> LeaseKey:
        lease = key()

        def run() -> StepReport:
            work()
            return StepReport(lease, success=True, result="{}")

        self.threads.submit(lease, run)
        return lease


async def test_every_result_comes_back_once_with_its_lease() -> None:
    harness = Harness(limit=8)
    leases = [harness.submit() for _ in range(2_000)]
    await harness.until_taken(len(leases))
    assert sorted(lease for lease, _ in harness.taken) == sorted(leases)
    assert all(report.lease == lease for lease, report in harness.taken)


async def test_never_more_than_the_limit_runs_at_once() -> None:
    harness = Harness(limit=3)
    together = threading.Barrier(3, timeout=10)
    lock, running, most = threading.Lock(), 0, 0

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        # Passes only if three run together, so the limit is also reached.
        together.wait()
        with lock:
            running -= 1

    for _ in range(12):
        harness.submit(work)
    await harness.until_taken(12)
    assert most == 3


async def test_results_that_end_together_wake_the_loop_once() -> None:
    harness = Harness(limit=4)
    for _ in range(200):
        harness.submit()
    # The loop is held up until all have ended, so they must share one wake-up.
    while len(harness.threads._done) < 200:
        threading.Event().wait(0.001)
    await harness.until_taken(200)
    assert harness.wakes == 1


async def test_a_hung_handler_does_not_hold_up_the_others() -> None:
    harness = Harness(limit=2)
    release = threading.Event()
    hung = harness.submit(release.wait)
    others = [harness.submit() for _ in range(50)]
    await harness.until_taken(50)
    assert sorted(lease for lease, _ in harness.taken) == sorted(others)
    release.set()
    await harness.until_taken(51)
    assert harness.taken[-1][0] == hung


async def test_a_free_thread_is_used_before_a_new_one_is_started() -> None:
    harness = Harness(limit=8)
    names: set[str] = set()
    for count in range(1, 21):
        harness.submit(lambda: names.add(threading.current_thread().name))
        await harness.until_taken(count)
    assert len(names) == 1


async def test_idle_threads_end_when_stopped() -> None:
    harness = Harness(limit=2)
    threads: list[threading.Thread] = []
    meet = threading.Barrier(2, timeout=10)
    for _ in range(2):
        harness.submit(lambda: (threads.append(threading.current_thread()), meet.wait()))
    await harness.until_taken(2)
    harness.threads.stop()
    for thread in threads:
        thread.join(timeout=10)
    assert not any(thread.is_alive() for thread in threads)


def test_a_hung_handler_does_not_keep_the_process_from_ending() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM_WITH_A_HUNG_HANDLER], timeout=30, check=True)
