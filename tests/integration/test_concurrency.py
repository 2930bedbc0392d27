"""Many workers on one database: no attempt runs twice, nothing is forgotten."""

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conftest import working
from tests.integration.support import chain, graph, states

from tasker_core import errors
from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.states import TaskState
from tasker_core.step_handler.functional import step_handler
from tasker_core.types import StepContext

DIAMOND = {"start": [], "left": ["start"], "right": ["start"], "end": ["left", "right"]}
WIDE = {"root": [], **{f"b{n}": ["root"] for n in range(8)}, "join": [f"b{n}" for n in range(8)]}


@contextlib.contextmanager
def worker_processes(url: str, log: Path, count: int, lease_seconds: float = 30.0) -> Iterator[list[Any]]:
    """Workers in processes of their own, ready to claim."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.integration.worker_process", url, str(log), str(lease_seconds)],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        yield processes
    finally:
        for process in processes:
            with contextlib.suppress(BrokenPipeError):
                process.communicate(timeout=30)


def executions(log: Path) -> Counter[tuple[str, str]]:
    """How often each attempt of each step ran."""
    return Counter((step, attempt) for step, attempt, _ in map(str.split, log.read_text().splitlines()))


async def test_workers_of_two_engines_run_each_attempt_once(database_url: str) -> None:
    ran: Counter[tuple[Any, int]] = Counter()

    @step_handler("work")
    async def work(context: StepContext) -> None:
        ran[context.step_uuid, context.retry_count] += 1
        # Every fifth step fails once, so that retries are part of the race.
        if context.step_uuid.int % 5 == 0 and not context.is_retry():
            raise errors.RetryableError("once more")

    async with Engine(database_url) as one, Engine(database_url) as other, contextlib.AsyncExitStack() as stack:
        for engine in (one, other, one, other):
            await stack.enter_async_context(working(engine, {"work": work}))
        batches = await asyncio.gather(
            *(
                engine.create_tasks(template, [TaskRequest()] * 15)
                for engine in (one, other)
                for template in (chain(4), graph(DIAMOND), graph(WIDE))
            )
        )
        tasks = [task for batch in batches for task in batch]
        assert {await one.wait(task, 20) for task in tasks} == {TaskState.COMPLETE}
    assert set(ran.values()) == {1}
    assert len({step for step, _ in ran}) == 2 * 15 * (4 + 4 + 10)


async def test_a_worker_process_of_each_kind_runs_each_attempt_once(database_url: str, tmp_path: Path) -> None:
    log = tmp_path / "executions"
    async with Engine(database_url) as engine:
        with worker_processes(database_url, log, 2):
            tasks = await engine.create_tasks(graph(WIDE), [TaskRequest()] * 60)
            tasks += await engine.create_tasks(chain(5), [TaskRequest()] * 60)
            assert {await engine.wait(task, 30) for task in tasks} == {TaskState.COMPLETE}
    ran = executions(log)
    assert set(ran.values()) == {1}
    assert len(ran) == 60 * (10 + 5)
    workers = {line.split()[2] for line in log.read_text().splitlines()}
    assert len(workers) == 2, "both took part"


async def test_the_step_of_a_killed_process_runs_again_elsewhere_and_is_recorded_once(
    database_url: str, tmp_path: Path
) -> None:
    log = tmp_path / "executions"
    async with Engine(database_url, lease_seconds=0.5) as engine:
        task = await engine.create_task(chain(3), TaskRequest({"hang": "s1"}))
        with worker_processes(database_url, log, 1, lease_seconds=0.5) as (victim,):
            assert await asyncio.to_thread(victim.stdout.readline) == "started\n"
            victim.send_signal(signal.SIGKILL)
            victim.wait()
        assert await states(engine, task) == {"s0": "complete", "s1": "in_progress", "s2": "pending"}
        with worker_processes(database_url, log, 1, lease_seconds=0.5):
            assert await engine.wait(task, 10) is TaskState.COMPLETE
        steps = await engine.steps(task)
    assert [step["attempts"] for step in steps] == [1, 2, 1]
    assert [step["result"] for step in steps] == [
        {"n": 0, "attempt": 1},
        {"n": 1, "attempt": 2},
        {"n": 2, "attempt": 1},
    ]
    assert executions(log) == {
        (steps[0]["step_uuid"], "1"): 1,
        (steps[1]["step_uuid"], "1"): 1,
        (steps[1]["step_uuid"], "2"): 1,
        (steps[2]["step_uuid"], "1"): 1,
    }


async def test_a_process_that_is_killed_while_many_steps_run_loses_none(database_url: str, tmp_path: Path) -> None:
    log = tmp_path / "executions"
    async with Engine(database_url, lease_seconds=0.5) as engine:
        hanging = await engine.create_tasks(graph(DIAMOND), [TaskRequest({"hang": "start"})] * 5)
        with worker_processes(database_url, log, 1, lease_seconds=0.5) as (victim,):
            for _ in range(5):
                assert await asyncio.to_thread(victim.stdout.readline) == "started\n"
            others = await engine.create_tasks(chain(3), [TaskRequest()] * 50)
            victim.kill()
            victim.wait()

            @step_handler("work")
            async def work() -> None: ...

            async with working(engine, {"work": work}):
                assert {await engine.wait(task, 20) for task in hanging + others} == {TaskState.COMPLETE}
    assert set(executions(log).values()) == {1}


async def test_two_sessions_that_claim_at_once_get_different_steps(database_url: str) -> None:
    async with Engine(database_url) as engine:
        await engine.create_tasks(graph({name: [] for name in "abcde"}), [TaskRequest()] * 40)
        workers = [await engine.store.register_worker(f"w{n}", "host", n, ["work"]) for n in range(8)]
        rounds = [
            await asyncio.gather(*(engine.store.claim_steps(worker, ["work"], 7, 30) for worker in workers))
            for _ in range(6)
        ]
        taken = [grant.key for grants in rounds for claim in grants for grant in claim]
        assert len(taken) == len(set(taken)) == 200


async def test_a_callable_named_twice_counts_once(database_url: str) -> None:
    async with Engine(database_url) as engine:
        task = await engine.create_task(graph({"only": []}), TaskRequest())

        @step_handler("work")
        async def work(context: StepContext) -> None:
            if not context.is_retry():
                raise errors.RetryableError("once more")

        async with working(engine, {"work": work}, callables=["work", "work"]):
            assert await engine.wait(task, 5) is TaskState.COMPLETE
