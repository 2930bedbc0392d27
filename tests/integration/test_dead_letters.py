"""Dead letters: what needs a person is noted once, with how it stood, and stays until somebody deals with it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from tests.integration.dynamic import (
    Hands,
    batch_template,
    batches,
    by_hand,
    choose,
    decision,
    step,
    task_state,
    template,
    verbs,
)
from tests.integration.support import fetch, graph, moment, snapshot, states

from tasker_core.orchestration import DeadLetterNotFoundError, Engine, IllegalMoveError, TaskRequest
from tasker_core.template import FailureStrategy, TaskTemplate

BY: dict[str, Any] = {"actor": "ann", "reason": "as agreed"}
NOBODY = UUID("0192f7a0-0000-7000-8000-000000000000")
FORK = graph({"done": [], "bad": ["done"], "other": ["done"], "after": ["bad", "other"]})


async def blocked(engine: Engine, hands: Hands, shape: TaskTemplate = FORK) -> UUID:
    """A task that is blocked because its step ``bad`` failed."""
    task = await engine.create_task(shape, TaskRequest(priority=3))
    await hands.claim()
    await hands.complete("done")
    await hands.complete("other")
    await hands.fail("bad")
    assert await task_state(engine, task) == "blocked_by_failures"
    return task


async def only_entry(engine: Engine, **filters: Any) -> dict[str, Any]:
    (entry,) = await engine.dlq_entries(**filters)
    return entry


async def metadata_of(engine: Engine) -> dict[str, Any]:
    metadata: dict[str, Any] = (await only_entry(engine))["metadata"]
    return metadata


def uuid_of(entry: dict[str, Any]) -> UUID:
    return UUID(entry["dlq_entry_uuid"])


async def act(engine: Engine, action: str, **options: Any) -> dict[str, Any]:
    """Resolve the only pending entry."""
    entry = await only_entry(engine, status="pending")
    return await engine.resolve_dlq_entry(uuid_of(entry), action=action, actor="ann", **options)


# -- what becomes an entry


async def test_a_blocked_task_is_a_dead_letter_with_how_it_stood(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await blocked(engine, hands)
    entry = await only_entry(engine)
    assert {key: entry[key] for key in entry if key not in ("task_snapshot", "dlq_timestamp", "dlq_entry_uuid")} == {
        "task_uuid": str(task),
        "step": None,
        "original_state": "blocked_by_failures",
        "dlq_reason": "max_retries_exceeded",
        "resolution_status": "pending",
        "resolution_timestamp": None,
        "resolution_notes": None,
        "resolved_by": None,
        "metadata": entry["metadata"],
        "updated_at": entry["dlq_timestamp"],
        "namespace": "test",
        "name": "graph",
        "version": "1.0.0",
    }
    kept = entry["task_snapshot"]
    assert (kept["task_uuid"], kept["namespace"], kept["task_name"], kept["task_version"]) == (
        str(task),
        "test",
        "graph",
        "1.0.0",
    )
    assert kept["current_state"] == "blocked_by_failures"
    assert kept["step_counts"] == {"complete": 2, "error": 1, "pending": 1}
    assert kept["task_details"]["priority"] == 3
    failed, waiting = kept["steps"]
    assert (failed["name"], failed["state"], failed["attempts"], failed["error"]["message"]) == (
        "bad",
        "error",
        1,
        "no",
    )
    assert (waiting["name"], waiting["state"], waiting["unmet_dependencies"]) == ("after", "pending", 1)
    assert moment(kept["snapshot_timestamp"]) <= moment(entry["dlq_timestamp"])


async def test_the_metadata_names_the_steps_that_failed(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        await engine.create_task(graph({"a": [], "b": [], "c": []}), TaskRequest())
        await hands.claim()
        await hands.complete("b")
        await hands.fail("a", "c")
    metadata = await metadata_of(engine)
    assert metadata["detection_method"] == "failed_steps"
    failure = {"attempts": 1, "error_type": "handler_error", "message": "no", "retryable": False}
    assert metadata["failed_steps"] == [{"name": "a", **failure}, {"name": "c", **failure}]


async def test_a_task_that_still_has_work_to_do_is_no_dead_letter_yet(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        await engine.create_task(FORK, TaskRequest())
        await hands.claim()
        await hands.complete("done")
        await hands.fail("bad")
        assert await engine.dlq_entries() == []
        await hands.complete("other")
    assert len(await engine.dlq_entries()) == 1


@pytest.mark.parametrize("how", ["exhausted", "lease expired", "invalid decision"])
async def test_whatever_blocks_a_task_makes_an_entry(engine: Engine, how: str) -> None:
    shape = template(step("done"), decision("bad", "done"), step("x", "bad"))
    async with by_hand(engine) as hands:
        await engine.create_task(shape, TaskRequest())
        await hands.claim()
        await hands.complete("done")
        if how == "invalid decision":
            await hands.complete(bad=choose("nowhere"))
        for _ in range(3 if how != "invalid decision" else 0):
            await hands.claim()
            if how == "exhausted":
                await hands.fail("bad", retryable=True)
            else:
                await hands.abandon("bad")
    (failed,) = (await metadata_of(engine))["failed_steps"]
    assert (failed["name"], failed["attempts"]) == ("bad", 1 if how == "invalid decision" else 3)


async def test_tasks_that_complete_or_wait_for_a_retry_make_no_entry(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        await engine.create_task(graph({"only": []}), TaskRequest())
        await hands.claim()
        await hands.fail("only", retryable=True)
        await hands.complete("only")
    assert await engine.dlq_entries() == []


async def test_a_task_has_one_pending_entry_at_most(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(graph({"a": [], "b": [], "c": ["a", "b"]}), TaskRequest())
        await hands.claim()
        await hands.fail("a", "b")
        # It is blocked all along.
        await engine.resolve_step(task, "a", **BY)
        await hands.claim()
    entry = await only_entry(engine)
    assert entry["resolution_status"] == "pending"


async def test_a_task_that_fails_again_is_a_new_dead_letter(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await blocked(engine, hands)
        await engine.reset_step(task, "bad", **BY)
        await hands.claim()
        await hands.fail("bad")
    assert [entry["resolution_status"] for entry in await engine.dlq_entries()] == ["pending", "manually_resolved"]


async def test_a_failed_worker_of_an_isolating_batch_is_an_entry_of_its_own_at_once(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(batch_template(strategy=FailureStrategy.ISOLATE), TaskRequest())
        await hands.claim()
        await hands.complete(analyze=batches(3))
        await hands.fail("part_002")
        entry = await only_entry(engine)
        assert (entry["step"], entry["task_uuid"], entry["original_state"]) == (
            "part_002",
            str(task),
            "steps_in_process",
        )
        assert [failed["name"] for failed in entry["metadata"]["failed_steps"]] == ["part_002"]
        await hands.complete("part_001", "part_003")
        assert await task_state(engine, task) == "blocked_by_failures"
        assert len(await engine.dlq_entries()) == 1


async def test_a_task_blocked_by_an_isolated_worker_and_another_step_has_an_entry_for_each(engine: Engine) -> None:
    shape = batch_template(strategy=FailureStrategy.ISOLATE, after=[step("beside")])
    async with by_hand(engine) as hands:
        await engine.create_task(shape, TaskRequest())
        await hands.claim()
        await hands.complete(analyze=batches(1))
        await hands.fail("part_001")
        await hands.fail("beside")
    found = {entry["step"]: entry["metadata"]["failed_steps"] for entry in await engine.dlq_entries()}
    assert {name: [failed["name"] for failed in steps] for name, steps in found.items()} == {
        "part_001": ["part_001"],
        None: ["beside"],
    }


@pytest.mark.parametrize("strategy", [FailureStrategy.FAIL_FAST, FailureStrategy.CONTINUE_ON_FAILURE])
async def test_a_failed_worker_of_another_batch_is_part_of_its_tasks_entry_if_it_blocks(
    engine: Engine, strategy: FailureStrategy
) -> None:
    async with by_hand(engine) as hands:
        await engine.create_task(batch_template(strategy=strategy), TaskRequest())
        await hands.claim()
        await hands.complete(analyze=batches(1))
        await hands.fail("part_001")
    steps = [entry["step"] for entry in await engine.dlq_entries()]
    assert steps == ([None] if strategy is FailureStrategy.FAIL_FAST else [])


async def test_the_snapshot_of_a_very_wide_task_is_kept_short_and_shows_failures_first(engine: Engine) -> None:
    names = [f"n{n}" for n in range(150)]
    shape = graph({"a": [], **{name: ["z"] for name in names}, "z": []})
    async with by_hand(engine) as hands:
        await engine.create_task(shape, TaskRequest())
        await hands.claim()
        await hands.complete("a")
        await hands.fail("z")
    kept = (await only_entry(engine))["task_snapshot"]
    assert (len(kept["steps"]), kept["steps"][0]["name"]) == (100, "z")
    assert kept["step_counts"] == {"complete": 1, "error": 1, "pending": 150}


# -- what can be done about one


@pytest.mark.parametrize(
    ("action", "status", "task_after", "steps_after"),
    [
        ("retry", "manually_resolved", "steps_in_process", ("enqueued", "pending")),
        ("resolve", "manually_resolved", "resolved_manually", ("error", "cancelled")),
        ("discard", "permanently_failed", "error", ("error", "cancelled")),
        ("cancel", "cancelled", "cancelled", ("cancelled", "cancelled")),
        ("none", "manually_resolved", "blocked_by_failures", ("error", "pending")),
    ],
)
async def test_each_action_does_what_it_takes_and_closes_the_entry(
    engine: Engine, action: str, status: str, task_after: str, steps_after: tuple[str, str]
) -> None:
    async with by_hand(engine) as hands:
        task = await blocked(engine, hands)
        before = await only_entry(engine)
        answer = await act(engine, action, notes="seen to")
        after = await engine.dlq_entry(uuid_of(before))
        assert (after["resolution_status"], after["resolved_by"], after["resolution_notes"]) == (
            status,
            "ann",
            "seen to",
        )
        assert after["resolution_timestamp"] is not None
        assert {key: answer[key] for key in after} == after
        assert await task_state(engine, task) == task_after
        found = await states(engine, task)
        assert (found["bad"], found["after"]) == steps_after
        if action == "none":
            assert answer["change"] is None
            assert await verbs(engine, task) == []
        else:
            assert (answer["change"]["from_state"], answer["change"]["to_state"]) == ("blocked_by_failures", task_after)
            assert (await verbs(engine, task))[-1] == (None, action, task_after, "ann", "seen to")
        assert (after["task_snapshot"], after["metadata"]) == (before["task_snapshot"], before["metadata"])


async def test_a_retried_task_runs_to_its_end(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await blocked(engine, hands)
        await act(engine, "retry")
        assert await hands.claim() == {"bad"}
        await hands.complete("bad")
        await hands.complete("after")
    assert await task_state(engine, task) == "complete"


@pytest.mark.parametrize("action", ["retry", "resolve", "discard", "cancel"])
async def test_without_notes_history_says_where_it_came_from(engine: Engine, action: str) -> None:
    async with by_hand(engine) as hands:
        task = await blocked(engine, hands)
        await act(engine, action)
    word = {"retry": "retried", "resolve": "resolved", "discard": "discarded", "cancel": "cancelled"}[action]
    assert (await verbs(engine, task))[-1][-1] == f"{word} from the dead letters"


@pytest.mark.parametrize("action", ["retry", "resolve", "discard", "cancel", "none"])
async def test_a_dry_run_says_what_would_happen_and_changes_nothing(
    engine: Engine, database_url: str, action: str
) -> None:
    async with by_hand(engine) as hands:
        await blocked(engine, hands)
        entry = await only_entry(engine)
        before = await snapshot(database_url)
        dry = await act(engine, action, dry_run=True)
        assert await snapshot(database_url) == before
        assert await only_entry(engine) == entry
        assert {key: dry[key] for key in entry} == entry
        real = await act(engine, action)
        if action == "none":
            assert (dry["change"], real["change"]) == (None, None)
        else:
            assert dry["change"] | {"dry_run": False} == real["change"]


@pytest.mark.parametrize(
    ("action", "state"),
    [
        ("retry", "enqueued"),
        ("resolve", "resolved_manually"),
        ("discard", "error"),
        ("cancel", "cancelled"),
        ("none", "error"),
    ],
)
async def test_an_entry_about_one_worker_is_dealt_with_for_that_worker(engine: Engine, action: str, state: str) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(batch_template(strategy=FailureStrategy.ISOLATE), TaskRequest())
        await hands.claim()
        await hands.complete(analyze=batches(3))
        await hands.fail("part_001")
        await hands.fail("part_002")
        one, two = sorted(await engine.dlq_entries(), key=lambda entry: entry["step"])
        await engine.resolve_dlq_entry(uuid_of(one), action=action, actor="ann")
        assert (await states(engine, task))["part_001"] == state
        left = (await engine.dlq_entry(uuid_of(two)))["resolution_status"]
        ended = {"discard": "permanently_failed", "cancel": "cancelled"}
        assert left == ended.get(action, "pending")
        if action in ended:
            assert await task_state(engine, task) == {"discard": "error", "cancel": "cancelled"}[action]
            return
        assert (await states(engine, task))["part_002"] == "error"
        if action != "none":
            await engine.resolve_dlq_entry(uuid_of(two), action="resolve", actor="ann")
            await hands.claim()
            while "gather" not in hands.held:
                await hands.complete(*hands.held)
            await hands.complete("gather")
            assert await task_state(engine, task) == "complete"


async def test_an_entry_closed_without_an_action_does_not_come_back(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(batch_template(strategy=FailureStrategy.ISOLATE), TaskRequest())
        await hands.claim()
        await hands.complete(analyze=batches(3))
        await hands.fail("part_001")
        await act(engine, "none")
        await hands.complete("part_002")
        await hands.complete("part_003")
        assert await task_state(engine, task) == "blocked_by_failures"
        assert [entry["resolution_status"] for entry in await engine.dlq_entries()] == ["manually_resolved"]
        await engine.retry_task(task, actor="ann")


# -- what is refused


async def test_an_unknown_entry_is_said_to_be_unknown(engine: Engine) -> None:
    with pytest.raises(DeadLetterNotFoundError, match=str(NOBODY)):
        await engine.dlq_entry(NOBODY)
    with pytest.raises(DeadLetterNotFoundError, match=str(NOBODY)):
        await engine.resolve_dlq_entry(NOBODY, action="none", actor="ann")


async def test_an_unknown_action_is_refused_with_those_there_are(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        await blocked(engine, hands)
        with pytest.raises(
            ValueError, match="unknown action 'forget'; there are retry, resolve, discard, cancel, none"
        ):
            await act(engine, "forget")


@pytest.mark.parametrize("action", ["retry", "none"])
async def test_an_entry_that_is_closed_stays_as_it_is(engine: Engine, database_url: str, action: str) -> None:
    async with by_hand(engine) as hands:
        await blocked(engine, hands)
        entry = await act(engine, "cancel")
        before = await snapshot(database_url)
        with pytest.raises(IllegalMoveError, match="is cancelled already"):
            await engine.resolve_dlq_entry(uuid_of(entry), action=action, actor="bob")
        assert await snapshot(database_url) == before
        assert (await engine.dlq_entry(uuid_of(entry)))["resolved_by"] == "ann"


async def test_of_two_who_deal_with_an_entry_at_once_one_comes_first(engine: Engine, database_url: str) -> None:
    async with by_hand(engine) as hands, Engine(database_url) as other:
        task = await blocked(engine, hands)
        entry = uuid_of(await only_entry(engine))
        answers = await asyncio.gather(
            *(
                operator.resolve_dlq_entry(entry, action="retry", actor=actor)
                for operator, actor in ((engine, "ann"), (other, "bob"))
            ),
            return_exceptions=True,
        )
        done = [answer for answer in answers if isinstance(answer, dict)]
        assert len(done) == 1
        assert (await engine.dlq_entry(entry))["resolved_by"] == done[0]["change"]["actor"]
        assert await hands.claim() == {"bad"}
        assert len([verb for verb in await verbs(engine, task) if verb[0] is None]) == 1


# -- closed by what else is done


VERBS: dict[str, Callable[[Engine, UUID], Awaitable[Any]]] = {
    "retry": lambda engine, task: engine.retry_task(task, **BY),
    "reset": lambda engine, task: engine.reset_step(task, "bad", **BY),
    "resolve": lambda engine, task: engine.resolve_step(task, "bad", **BY),
    "complete": lambda engine, task: engine.complete_step(task, "bad", {}, **BY),
    "rerun": lambda engine, task: engine.rerun_task(task, "done", **BY),
    "cancel": lambda engine, task: engine.cancel_task(task, **BY),
}


@pytest.mark.parametrize("verb", VERBS)
async def test_a_verb_that_unblocks_or_ends_the_task_closes_its_entry(engine: Engine, verb: str) -> None:
    async with by_hand(engine) as hands:
        task = await blocked(engine, hands)
        await VERBS[verb](engine, task)
    entry = await only_entry(engine)
    assert entry["resolution_status"] == ("cancelled" if verb == "cancel" else "manually_resolved")
    assert (entry["resolved_by"], entry["resolution_notes"]) == ("ann", "as agreed")


async def test_a_verb_that_leaves_the_task_blocked_leaves_its_entry(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(graph({"a": [], "b": [], "c": ["a", "b"]}), TaskRequest())
        await hands.claim()
        await hands.fail("a", "b")
        await engine.resolve_step(task, "a", **BY)
        assert (await only_entry(engine))["resolution_status"] == "pending"
        await engine.pause_task(task, **BY)
        assert (await only_entry(engine))["resolution_status"] == "pending"
        await engine.resolve_step(task, "b", **BY)
    assert (await only_entry(engine))["resolution_status"] == "manually_resolved"


async def test_a_dry_run_of_a_verb_leaves_the_entry(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await blocked(engine, hands)
        await engine.retry_task(task, **BY, dry_run=True)
    assert (await only_entry(engine))["resolution_status"] == "pending"


async def test_a_verb_about_one_worker_leaves_the_other_workers_entries(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(batch_template(strategy=FailureStrategy.ISOLATE), TaskRequest())
        await hands.claim()
        await hands.complete(analyze=batches(2))
        await hands.fail("part_001", "part_002")
        await engine.reset_step(task, "part_001", **BY)
        found = {entry["step"]: entry["resolution_status"] for entry in await engine.dlq_entries()}
        assert found == {"part_001": "manually_resolved", "part_002": "pending"}
        await engine.retry_task(task, **BY)
    assert {entry["resolution_status"] for entry in await engine.dlq_entries()} == {"manually_resolved"}


# -- looking


async def test_entries_are_listed_newest_first_in_pages_and_by_status_and_reason(
    engine: Engine, database_url: str
) -> None:
    async with by_hand(engine) as hands:
        tasks = []
        for _ in range(5):
            tasks.append(await blocked(engine, hands))
    entries = await engine.dlq_entries()
    assert [entry["task_uuid"] for entry in entries] == [str(task) for task in reversed(tasks)]
    await engine.resolve_dlq_entry(uuid_of(entries[1]), action="none", actor="ann")
    pending = await engine.dlq_entries(status="pending")
    assert [entry["task_uuid"] for entry in pending] == [str(tasks[n]) for n in (4, 2, 1, 0)]
    page = await engine.dlq_entries(limit=2)
    rest = await engine.dlq_entries(limit=10, before=uuid_of(page[-1]))
    assert [uuid_of(entry) for entry in (*page, *rest)] == [uuid_of(entry) for entry in entries]
    assert len(await engine.dlq_entries(reason="max_retries_exceeded")) == 5
    assert await engine.dlq_entries(reason="staleness_timeout") == []
    assert len(await fetch(database_url, "SELECT 1 FROM tasker.dead_letters")) == 5


async def test_the_numbers_count_by_reason_and_status(engine: Engine) -> None:
    assert await engine.dlq_stats() == []
    async with by_hand(engine) as hands:
        for action in ("retry", "discard", "cancel", "resolve", None):
            hands.held = {}
            await blocked(engine, hands)
            if action is not None:
                await act(engine, action)
    (numbers,) = await engine.dlq_stats()
    counts = ("total_entries", "pending", "manually_resolved", "permanent_failures", "cancelled")
    assert numbers["dlq_reason"] == "max_retries_exceeded"
    assert tuple(numbers[key] for key in counts) == (5, 1, 2, 1, 1)
    assert moment(numbers["oldest_entry"]) < moment(numbers["newest_entry"])
    assert numbers["avg_resolution_time_minutes"] >= 0
