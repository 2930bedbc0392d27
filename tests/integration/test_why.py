"""Why steps do not run: the answers of a real database."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from conftest import working
from tests.integration.support import fetch, graph, moment, until_state

from tasker_core import errors
from tasker_core.orchestration import Engine, StepNotFoundError, TaskNotFoundError, TaskRequest
from tasker_core.states import TaskState
from tasker_core.step_handler.functional import step_handler
from tasker_core.template import RetryPolicy, TaskTemplate, load_text

Answers = dict[str, dict[str, Any]]

ONE = graph({"only": []})
TWO = graph({"first": [], "second": ["first"]}, callables={"first": "shop.first", "second": "shop.second"})
ROUTED = load_text("""
name: routed
namespace_name: test
version: 1.0.0
steps:
  - {name: first, handler: {callable: work}}
  - {name: route, type: decision, handler: {callable: route}, dependencies: [first]}
  - {name: left, handler: {callable: later}, dependencies: [route]}
  - {name: right, handler: {callable: later}, dependencies: [route]}
  - {name: join, type: deferred_convergence, handler: {callable: later}, dependencies: [left, right]}
""")


def batched(strategy: str) -> TaskTemplate:
    return load_text(f"""
name: batched
namespace_name: test
version: 1.0.0
steps:
  - {{name: split, type: batchable, handler: {{callable: split}}}}
  - name: part
    type: batch_worker
    handler: {{callable: part}}
    dependencies: [split]
    retry: {{max_attempts: 1}}
    batch_config: {{parallelism: 2, failure_strategy: {strategy}}}
  - {{name: gather, type: deferred_convergence, handler: {{callable: gather}}, dependencies: [part]}}
""")


@step_handler("work")
def work() -> None: ...


@step_handler("work")
def broken() -> None:
    raise errors.PermanentError("no such account")


@step_handler("work")
def busy() -> None:
    raise errors.RetryableError("the bank is busy")


@step_handler("route")
def route() -> dict[str, Any]:
    return {"decision_point_outcome": {"type": "create_steps", "step_names": ["right"]}}


def split(count: int) -> Any:
    """An analyzer that asks for batches ``part_0``, ``part_1`` and so on."""
    cursors = [{"batch_id": str(n), "start_cursor": n, "end_cursor": n + 1} for n in range(count)]

    @step_handler("split")
    def analyze() -> dict[str, Any]:
        outcome = {"type": "create_batches", "worker_count": count, "cursor_configs": cursors}
        return {"batch_processing_outcome": outcome if count else {"type": "no_batches"}}

    return analyze


async def why(engine: Engine, task: UUID, step: str | None = None) -> Answers:
    answers = await engine.why(task, step)
    json.dumps(answers)
    return {answer["step"]: answer for answer in answers}


async def blockers(engine: Engine, task: UUID) -> dict[str, str]:
    return {step: answer["blocker"] for step, answer in (await why(engine, task)).items()}


async def until(engine: Engine, task: UUID, step: str, blocker: str) -> dict[str, Any]:
    """Wait for a blocker."""
    deadline = datetime.now(UTC) + timedelta(seconds=10)
    while (answer := (await why(engine, task, step)).get(step, {})).get("blocker") != blocker:
        assert datetime.now(UTC) < deadline, answer
    return answer


async def claim(engine: Engine, callables: list[str], limit: int = 10, *, name: str = "w1") -> int:
    """Lease what is ready to a worker that then does nothing; return its id."""
    worker = await engine.store.register_worker(name, "host", 1, callables)
    await engine.store.claim_steps(worker, callables, limit, 60.0)
    return worker


async def test_without_a_worker_the_missing_handler_is_named(engine: Engine, database_url: str) -> None:
    task = await engine.create_task(TWO, TaskRequest())
    answer = (await why(engine, task))["first"]
    assert (answer["blocker"], answer["state"]) == ("no_worker", "enqueued")
    assert answer["explanation"] == "no live worker has a handler for shop.first; none ever had"
    assert answer["since"] is not None

    worker = await engine.store.register_worker("w1", "host", 1, ["shop.first"])
    assert await blockers(engine, task) == {"first": "claimable", "second": "unmet_dependencies"}

    await engine.store.worker_stopped(worker)
    seen = (await fetch(database_url, "SELECT last_seen_at FROM tasker.workers"))[0]["last_seen_at"]
    explanation = (await why(engine, task))["first"]["explanation"]
    assert explanation.endswith(f"one that had was last seen at {seen:%Y-%m-%dT%H:%M:%SZ}")


async def test_a_worker_that_is_not_seen_for_a_lease_does_not_count(engine: Engine, database_url: str) -> None:
    task = await engine.create_task(ONE, TaskRequest())
    await engine.store.register_worker("w1", "host", 1, ["work"])
    await fetch(database_url, "UPDATE tasker.workers SET last_seen_at = now() - interval '29 seconds'")
    assert await blockers(engine, task) == {"only": "claimable"}
    await fetch(database_url, "UPDATE tasker.workers SET last_seen_at = now() - interval '31 seconds'")
    assert await blockers(engine, task) == {"only": "no_worker"}


async def test_a_claim_takes_exactly_what_is_told_to_be_claimable(engine: Engine, database_url: str) -> None:
    start = datetime.now(UTC) + timedelta(hours=1)
    async with working(engine, {"work": busy}):
        due, backing_off = [
            await engine.create_task(
                graph({"only": []}, step={"retry": RetryPolicy(backoff_base_ms=base)}), TaskRequest()
            )
            for base in (20_000, 30_000)
        ]
        for task in (due, backing_off):
            await until_state(engine, task, TaskState.WAITING_FOR_RETRY)
    past = "wake_at = now() - interval '1 second'"
    await fetch(database_url, f"UPDATE tasker.step_queue SET {past} WHERE task_uuid = $1", due)
    await fetch(
        database_url,
        "UPDATE tasker.steps SET next_retry_at = (SELECT wake_at FROM tasker.step_queue WHERE task_uuid = $1) "
        "WHERE task_uuid = $1",
        due,
    )
    paused, cancelled, delayed, *ready = [
        await engine.create_task(template, TaskRequest(requested_at=start if n == 2 else None))
        for n, template in enumerate([ONE, ONE, ONE, ONE, ROUTED, TWO])
    ]
    await engine.pause_task(paused, actor="ada")
    await engine.cancel_task(cancelled, actor="ada", reason="ordered twice")
    tasks = [due, backing_off, paused, cancelled, delayed, *ready]
    worker = await engine.store.register_worker("w1", "host", 1, ["work"])
    expected = {
        (task, step)
        for task in tasks
        for step, answer in (await why(engine, task)).items()
        if answer["blocker"] == "claimable"
    }
    assert len(expected) == 3
    await engine.store.claim_steps(worker, ["work"], 100, 60.0)
    leased = {
        (task, step)
        for task in tasks
        for step, answer in (await why(engine, task)).items()
        if answer["blocker"] == "leased"
    }
    assert leased == expected


async def test_a_lease_is_told_with_its_holder_and_those_behind_it_wait_by_name(engine: Engine) -> None:
    task = await engine.create_task(TWO, TaskRequest())
    await claim(engine, ["shop.first"])
    answers = await why(engine, task)
    assert (answers["first"]["blocker"], answers["first"]["worker"]) == ("leased", "w1")
    since, until_ = moment(answers["first"]["since"]), moment(answers["first"]["until"])
    assert until_ - since == pytest.approx(timedelta(seconds=60), abs=timedelta(seconds=1))
    assert (answers["second"]["waits_for"], answers["second"]["explanation"]) == (
        ["first"],
        "waits for first (in_progress)",
    )


async def test_a_back_off_ends_when_the_answer_says(engine: Engine, database_url: str) -> None:
    template = graph({"only": []}, step={"retry": RetryPolicy(backoff_base_ms=600_000, max_backoff_ms=900_000)})
    async with working(engine, {"work": busy}):
        task = await engine.create_task(template, TaskRequest())
        await until_state(engine, task, TaskState.WAITING_FOR_RETRY)
    answer = (await why(engine, task))["only"]
    due = (await fetch(database_url, "SELECT next_retry_at FROM tasker.steps"))[0]["next_retry_at"]
    assert (answer["blocker"], moment(answer["until"])) == ("backoff", due)
    assert "the bank is busy" in answer["explanation"]


async def test_a_task_that_is_to_start_later_says_when(engine: Engine) -> None:
    start = datetime.now(UTC) + timedelta(hours=1)
    task = await engine.create_task(TWO, TaskRequest(requested_at=start))
    answer = (await why(engine, task))["first"]
    assert (answer["blocker"], moment(answer["until"])) == ("delayed_start", start)


async def test_a_pause_comes_before_missing_workers_and_times_but_not_before_a_lease(engine: Engine) -> None:
    start = datetime.now(UTC) + timedelta(hours=1)
    tasks = [await engine.create_task(TWO, request) for request in (TaskRequest(), TaskRequest(requested_at=start))]
    running = await engine.create_task(ONE, TaskRequest())
    await claim(engine, ["work"])
    for task in [*tasks, running]:
        await engine.pause_task(task, actor="ada", reason="stock-taking")
    for task in tasks:
        assert await blockers(engine, task) == {"first": "paused", "second": "unmet_dependencies"}
    assert await blockers(engine, running) == {"only": "leased"}
    answer = (await why(engine, tasks[0]))["first"]
    assert answer["explanation"].endswith("by ada: stock-taking")
    assert moment(answer["since"]) == moment((await engine.task(tasks[0]))["paused_at"])


async def test_a_failure_is_told_with_its_error(engine: Engine) -> None:
    async with working(engine, {"work": broken}):
        task = await engine.create_task(graph({"first": [], "second": ["first"]}), TaskRequest())
        await engine.wait(task, 10)
    answers = await why(engine, task)
    assert answers["first"]["blocker"] == "failed"
    assert "no such account" in answers["first"]["explanation"]
    assert (answers["second"]["blocker"], answers["second"]["explanation"]) == (
        "unmet_dependencies",
        "waits for first (error)",
    )


async def test_a_complete_task_waits_for_nothing(engine: Engine) -> None:
    async with working(engine, {"work": work}):
        task = await engine.create_task(ONE, TaskRequest())
        await engine.wait(task, 10)
    assert await blockers(engine, task) == {"only": "done"}


async def test_in_a_cancelled_task_every_step_says_who_cancelled_it(engine: Engine) -> None:
    task = await engine.create_task(ROUTED, TaskRequest())
    await engine.cancel_task(task, actor="ada", reason="ordered twice")
    answers = await why(engine, task)
    assert {answer["blocker"] for answer in answers.values()} == {"task_over"}
    assert {answer["explanation"] for answer in answers.values()} == {"the task was cancelled by ada: ordered twice"}
    assert answers["left"]["state"] == "absent"


async def test_what_a_decision_decides_about_is_undecided_then_there_or_skipped(engine: Engine) -> None:
    task = await engine.create_task(ROUTED, TaskRequest())
    answers = await why(engine, task)
    assert {name for name, answer in answers.items() if answer["blocker"] == "undecided"} == {"left", "right", "join"}
    assert answers["right"]["waits_for"] == ["route"]
    assert answers["right"]["explanation"] == "decision route has not been made (pending)"

    async with working(engine, {"work": work, "route": route}):
        await until(engine, task, "right", "no_worker")
    answers = await why(engine, task)
    assert (answers["left"]["blocker"], answers["left"]["state"]) == ("skipped", "absent")
    assert answers["left"]["explanation"] == "decision route did not choose it"
    assert answers["join"]["explanation"] == "waits for right (enqueued)"


async def test_batch_workers_wait_for_a_slot_and_the_convergence_for_all_of_them(engine: Engine) -> None:
    async with working(engine, {"split": split(4)}):
        task = await engine.create_task(batched("isolate"), TaskRequest())
        await until(engine, task, "gather", "unmet_dependencies")
    await claim(engine, ["part"], 1)
    answers = await why(engine, task)
    assert [answer["blocker"] for answer in answers.values()] == [
        "done",
        "leased",
        "claimable",
        "parallelism",
        "parallelism",
        "unmet_dependencies",
    ]
    assert answers["part_2"]["explanation"].startswith("2 of at most 2 workers of batch part are under way")
    assert answers["part_2"]["waits_for"] == ["part_0", "part_1"]
    assert answers["gather"]["explanation"].startswith("waits for 4 of 4 batch workers of part: part_0 (in_progress)")
    assert list(await why(engine, task, "part")) == ["part_0", "part_1", "part_2", "part_3"]


async def test_before_and_without_batches_the_mould_itself_is_told(engine: Engine) -> None:
    task = await engine.create_task(batched("isolate"), TaskRequest())
    assert await blockers(engine, task) == {"split": "no_worker", "part": "undecided", "gather": "undecided"}
    async with working(engine, {"split": split(0)}):
        await until(engine, task, "gather", "no_worker")
    answer = (await why(engine, task))["part"]
    assert (answer["blocker"], answer["explanation"]) == (
        "skipped",
        "it is not needed: split found nothing for batches",
    )


async def test_batch_workers_that_one_failure_cancelled_name_it(engine: Engine) -> None:
    @step_handler("part")
    def part() -> None:
        raise errors.PermanentError("unreadable")

    async with working(engine, {"split": split(4), "part": part}, concurrency=1):
        task = await engine.create_task(batched("fail_fast"), TaskRequest())
        await engine.wait(task, 10)
    answers = await why(engine, task)
    assert answers["part_0"]["blocker"] == "failed"
    assert (answers["part_3"]["blocker"], answers["part_3"]["state"]) == ("failed", "cancelled")
    assert answers["part_3"]["waits_for"] == ["part_0"]
    assert "unreadable" in answers["part_3"]["explanation"]


@pytest.mark.parametrize(
    "ask", [lambda engine, task: why(engine, task), lambda engine, task: why(engine, task, "only")]
)
async def test_an_unknown_task_is_an_error(engine: Engine, ask: Callable[[Engine, UUID], Any]) -> None:
    with pytest.raises(TaskNotFoundError):
        await ask(engine, uuid4())


async def test_an_unknown_step_is_an_error_that_suggests_a_known_one(engine: Engine) -> None:
    task = await engine.create_task(TWO, TaskRequest())
    with pytest.raises(StepNotFoundError, match="first"):
        await why(engine, task, "frist")


async def test_asking_for_one_step_answers_for_that_one(engine: Engine) -> None:
    task = await engine.create_task(TWO, TaskRequest())
    assert await why(engine, task, "second") == {"second": (await why(engine, task))["second"]}
