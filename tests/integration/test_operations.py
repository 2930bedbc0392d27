"""The operators' verbs: what each does to which task, who did it and why, and that handlers that run are told."""

import asyncio
import contextlib
import math
import random
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from conftest import working
from tests.integration.dynamic import (
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
    verbs,
)
from tests.integration.support import chain, changes, fetch, graph, results, snapshot, states, steps_by_name

from tasker_core import errors
from tasker_core.orchestration import Engine, IllegalMoveError, StepNotFoundError, TaskNotFoundError, TaskRequest
from tasker_core.serialization import SerializationError
from tasker_core.states import TaskState
from tasker_core.step_handler.functional import step_handler
from tasker_core.store.frozen_task import Audit, frozen_task
from tasker_core.template import Backoff, FailureStrategy, RetryPolicy, TaskTemplate
from tasker_core.types import StepContext

BY: dict[str, Any] = {"actor": "ann", "reason": "as agreed"}
NOBODY = UUID("0192f7a0-0000-7000-8000-000000000000")
LATER = RetryPolicy(max_attempts=3, backoff=Backoff.LINEAR, backoff_base_ms=3_600_000, max_backoff_ms=3_600_000)

ROUTED = template(
    step("start"),
    decision("route", "start"),
    step("a", "route"),
    step("b", "route"),
    step("b2", "b"),
    convergence("end", "a", "b2"),
    step("beside", "start"),
)

#: Rows if some session of the database waits for a lock.
WAITING_FOR_A_LOCK = """
    SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"""

Verb = Callable[[Engine, UUID], Awaitable[dict[str, Any]]]


async def finished(hands: Hands, **results: Any) -> None:
    """Complete whatever there is to do, with these results."""
    while hands.held or await hands.claim():
        ends = {name: results.get(name) for name in hands.held}
        await hands.complete(**ends)


async def until_somebody_waits_for_a_lock(url: str) -> None:
    async with asyncio.timeout(10):
        # Only the database knows, so there is no signal to wait for.
        while not await fetch(url, WAITING_FOR_A_LOCK):  # noqa: ASYNC110
            await asyncio.sleep(0.005)


# -- every verb in every state


@dataclass
class Scene:
    """A task of the steps ``done``, ``subject`` and ``after``, in a row, brought into some state."""

    engine: Engine
    hands: Hands
    task: UUID = field(default=NOBODY)

    async def create(self, policy: RetryPolicy | None = None) -> None:
        steps = {"done": [], "subject": ["done"], "after": ["subject"]}
        options: dict[str, Any] = {"step": {"retry": policy}} if policy is not None else {}
        self.task = await self.engine.create_task(graph(steps, **options), TaskRequest())

    async def pending(self) -> None:
        await self.create()

    async def ready(self) -> None:
        await self.create()
        await self.hands.claim()
        await self.hands.report(success(self.hands.held["done"]), want=0)

    async def running(self) -> None:
        await self.ready()
        await self.hands.claim()

    async def retrying(self) -> None:
        await self.create(LATER)
        await self.hands.claim()
        await self.hands.complete("done")
        await self.hands.fail("subject", retryable=True)

    async def blocked(self) -> None:
        await self.running()
        await self.hands.fail("subject")

    async def complete(self) -> None:
        await self.running()
        await self.hands.complete("subject")
        await self.hands.complete("after")

    async def cancelled(self) -> None:
        await self.running()
        await self.engine.cancel_task(self.task, **BY)

    async def discarded(self) -> None:
        await self.blocked()
        await self.close("discard")

    async def resolved(self) -> None:
        await self.blocked()
        await self.close("resolve")

    async def close(self, action: str) -> None:
        entry = next(e for e in await self.engine.dlq_entries() if e["resolution_status"] == "pending")
        await self.engine.resolve_dlq_entry(UUID(entry["dlq_entry_uuid"]), action=action, actor="ann")


#: What each scene is: the states of the task and of its steps.
SCENES = {
    "pending": ("pending", "enqueued", "pending", "pending"),
    "ready": ("steps_in_process", "complete", "enqueued", "pending"),
    "running": ("steps_in_process", "complete", "in_progress", "pending"),
    "retrying": ("waiting_for_retry", "complete", "waiting_for_retry", "pending"),
    "blocked": ("blocked_by_failures", "complete", "error", "pending"),
    "complete": ("complete", "complete", "complete", "complete"),
    "cancelled": ("cancelled", "complete", "cancelled", "cancelled"),
    "discarded": ("error", "complete", "error", "cancelled"),
    "resolved": ("resolved_manually", "complete", "error", "cancelled"),
}

VERBS: Mapping[str, Verb] = {
    "cancel": lambda engine, task: engine.cancel_task(task, **BY),
    "pause": lambda engine, task: engine.pause_task(task, **BY),
    "resume": lambda engine, task: engine.resume_task(task, **BY),
    "retry": lambda engine, task: engine.retry_task(task, **BY),
    "rerun": lambda engine, task: engine.rerun_task(task, "subject", **BY),
    "reset": lambda engine, task: engine.reset_step(task, "subject", **BY),
    "resolve": lambda engine, task: engine.resolve_step(task, "subject", **BY),
    "complete": lambda engine, task: engine.complete_step(task, "subject", {"n": 1}, **BY),
}

#: The states after a verb where it applies, and None where it changes nothing. What is not listed is refused.
CANCELLED = ("cancelled", "complete", "cancelled", "cancelled")
AFRESH = ("steps_in_process", "complete", "enqueued", "pending")
RESOLVED = ("steps_in_process", "complete", "resolved_manually", "enqueued")
COMPLETED = ("steps_in_process", "complete", "complete", "enqueued")
EXPECTED: Mapping[str, Mapping[str, tuple[str, ...] | None]] = {
    "cancel": {
        "pending": ("cancelled", "cancelled", "cancelled", "cancelled"),
        "ready": CANCELLED,
        "running": CANCELLED,
        "retrying": CANCELLED,
        "blocked": CANCELLED,
        "cancelled": None,
    },
    "pause": {name: SCENES[name] for name in ("pending", "ready", "running", "retrying", "blocked")},
    "resume": dict.fromkeys(SCENES),
    "retry": {"blocked": AFRESH, "discarded": AFRESH},
    "rerun": {"blocked": AFRESH, "complete": AFRESH, "discarded": AFRESH},
    "reset": {"blocked": AFRESH, "discarded": AFRESH},
    "resolve": {
        "pending": ("steps_in_process", "enqueued", "resolved_manually", "enqueued"),
        "ready": RESOLVED,
        "running": RESOLVED,
        "retrying": RESOLVED,
        "blocked": RESOLVED,
        "discarded": RESOLVED,
    },
    "complete": {
        "pending": ("steps_in_process", "enqueued", "complete", "enqueued"),
        "ready": COMPLETED,
        "running": COMPLETED,
        "retrying": COMPLETED,
        "blocked": COMPLETED,
        "discarded": COMPLETED,
    },
}


async def standing(engine: Engine, task: UUID) -> tuple[str, ...]:
    found = await states(engine, task)
    return (await task_state(engine, task), *(found[name] for name in ("done", "subject", "after")))


@contextlib.asynccontextmanager
async def scene(engine: Engine, name: str) -> AsyncIterator[Scene]:
    async with by_hand(engine) as hands:
        made = Scene(engine, hands)
        await getattr(made, name)()
        assert await standing(engine, made.task) == SCENES[name]
        yield made


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("verb", VERBS)
async def test_a_verb_does_what_it_says_or_is_refused_and_changes_nothing(
    engine: Engine, database_url: str, verb: str, name: str
) -> None:
    async with scene(engine, name) as made:
        before = await snapshot(database_url)
        if name not in EXPECTED[verb]:
            with pytest.raises(IllegalMoveError, match=SCENES[name][0] + "|" + SCENES[name][2]):
                await VERBS[verb](engine, made.task)
            assert await snapshot(database_url) == before
            return
        expected = EXPECTED[verb][name]
        answer = await VERBS[verb](engine, made.task)
        assert (answer["verb"], answer["actor"], answer["dry_run"]) == (verb, "ann", False)
        assert answer["from_state"] == SCENES[name][0]
        assert answer["changed"] is (expected is not None)
        if expected is None:
            assert await snapshot(database_url) == before
            return
        assert await standing(engine, made.task) == expected
        assert answer["to_state"] == expected[0]
        moved = {
            step: (before_, after)
            for step, before_, after in zip(("done", "subject", "after"), SCENES[name][1:], expected[1:], strict=True)
            if before_ != after and (step != "after" or verb not in ("resolve", "complete") or name == "discarded")
        }
        told = {change["step"]: (change["from_state"], change["to_state"]) for change in answer["steps"]}
        assert {step: told.get(step, (None,))[0] for step in moved} == {step: was for step, (was, _) in moved.items()}
        assert set(told) == set(moved)
        assert (None, verb, expected[0], "ann", "as agreed") in await verbs(engine, made.task)


@pytest.mark.parametrize("name", ["ready", "running", "retrying", "blocked", "discarded"])
@pytest.mark.parametrize("verb", ["resolve", "complete"])
async def test_a_task_goes_on_to_its_end_after_a_step_was_ended_by_hand(engine: Engine, verb: str, name: str) -> None:
    async with scene(engine, name) as made:
        await VERBS[verb](engine, made.task)
        made.hands.held = {}
        assert await made.hands.claim() == {"after"}
        await made.hands.complete("after")
    assert await task_state(engine, made.task) == "complete"


@pytest.mark.parametrize("name", ["blocked", "discarded"])
@pytest.mark.parametrize("verb", ["retry", "rerun", "reset"])
async def test_a_task_goes_on_to_its_end_after_a_step_started_afresh(engine: Engine, verb: str, name: str) -> None:
    async with scene(engine, name) as made:
        await VERBS[verb](engine, made.task)
        assert await made.hands.claim() == {"subject"}
        await made.hands.complete("subject")
        await made.hands.complete("after")
    assert await task_state(engine, made.task) == "complete"
    assert (await engine.task(made.task))["completed_at"] is not None


@pytest.mark.parametrize("verb", ["cancel", "pause", "resolve"])
async def test_a_verb_that_was_done_already_changes_nothing_and_says_so(
    engine: Engine, database_url: str, verb: str
) -> None:
    async with scene(engine, "running") as made:
        await VERBS[verb](engine, made.task)
        before = await snapshot(database_url)
        answer = await VERBS[verb](engine, made.task)
        assert (answer["changed"], answer["steps"]) == (False, [])
        assert await snapshot(database_url) == before


@pytest.mark.parametrize("verb", ["reset", "retry", "rerun", "complete"])
async def test_a_verb_that_cannot_be_repeated_is_refused_the_second_time(engine: Engine, verb: str) -> None:
    async with scene(engine, "blocked") as made:
        await VERBS[verb](engine, made.task)
        with pytest.raises(IllegalMoveError):
            await VERBS[verb](engine, made.task)


@pytest.mark.parametrize("verb", VERBS)
async def test_an_unknown_task_is_said_to_be_unknown(engine: Engine, verb: str) -> None:
    with pytest.raises(TaskNotFoundError, match=str(NOBODY)):
        await VERBS[verb](engine, NOBODY)


@pytest.mark.parametrize("verb", ["rerun", "reset", "resolve", "complete"])
async def test_an_unknown_step_is_said_to_be_unknown_with_a_hint(engine: Engine, verb: str) -> None:
    task = await engine.create_task(graph({"subjects": []}), TaskRequest())
    with pytest.raises(StepNotFoundError, match="has no step 'subject'; did you mean 'subjects'"):
        await VERBS[verb](engine, task)


# -- dry run


@pytest.mark.parametrize(
    ("name", "verb"),
    [
        ("running", lambda engine, task, **dry: engine.cancel_task(task, **BY, **dry)),
        ("blocked", lambda engine, task, **dry: engine.retry_task(task, **BY, **dry)),
        ("complete", lambda engine, task, **dry: engine.rerun_task(task, "done", **BY, **dry)),
    ],
    ids=["cancel", "retry", "rerun"],
)
async def test_a_dry_run_says_what_would_happen_and_changes_nothing(
    engine: Engine, database_url: str, name: str, verb: Callable[..., Awaitable[dict[str, Any]]]
) -> None:
    async with scene(engine, name) as made:
        before = await snapshot(database_url)
        dry = await verb(engine, made.task, dry_run=True)
        assert await snapshot(database_url) == before
        real = await verb(engine, made.task)
        assert dry | {"dry_run": False} == real
        assert (dry["dry_run"], dry["changed"]) == (True, True)
        assert dry["steps"]


async def test_a_dry_run_that_is_impossible_is_refused_too(engine: Engine) -> None:
    async with scene(engine, "complete") as made:
        with pytest.raises(IllegalMoveError):
            await engine.cancel_task(made.task, **BY, dry_run=True)


# -- audit


async def test_history_tells_who_did_what_when_and_why(engine: Engine) -> None:
    async with scene(engine, "blocked") as made:
        await engine.reset_step(made.task, "subject", actor="bob", reason="repaired")
        await engine.cancel_task(made.task, actor="eve", reason="not needed")
        assert await verbs(engine, made.task) == [
            ("subject", "reset", "enqueued", "bob", "repaired"),
            (None, "reset", "steps_in_process", "bob", "repaired"),
            ("subject", "cancel", "cancelled", "eve", "not needed"),
            ("after", "cancel", "cancelled", "eve", "not needed"),
            (None, "cancel", "cancelled", "eve", "not needed"),
        ]
        times = [change["occurred_at"] for change in await engine.history(made.task)]
        assert times == sorted(times)


@pytest.mark.parametrize("verb", ["pause", "resume", "retry"])
async def test_a_reason_may_be_left_out_where_nothing_is_lost(engine: Engine, verb: str) -> None:
    async with scene(engine, "blocked") as made:
        if verb == "resume":
            await engine.pause_task(made.task, actor="ann")
        answer = await getattr(engine, f"{verb}_task")(made.task, actor="ann")
        assert (answer["changed"], answer["reason"]) == (True, None)
        assert (await verbs(engine, made.task))[-1][1:] == (verb, answer["to_state"], "ann", None)


async def test_what_a_handler_did_before_stays_in_history(engine: Engine) -> None:
    async with scene(engine, "blocked") as made:
        await engine.reset_step(made.task, "subject", **BY)
        await made.hands.claim()
        await made.hands.complete("subject")
        assert await changes(engine, made.task, "subject") == [
            (None, "pending", "enqueued"),
            (1, "enqueued", "in_progress"),
            (1, "in_progress", "error"),
            (1, "error", "enqueued"),
            (1, "enqueued", "in_progress"),
            (1, "in_progress", "complete"),
        ]


# -- cancel


async def cancelled_within_a_second(engine: Engine, task: UUID, told: Callable[[], Awaitable[object]]) -> None:
    began = time.monotonic()
    await engine.cancel_task(task, **BY)
    async with asyncio.timeout(5):
        await told()
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("elsewhere", [False, True], ids=["same process", "another process"])
async def test_an_async_handler_is_cancelled_within_a_second(
    engine: Engine, database_url: str, elsewhere: bool
) -> None:
    started, told = asyncio.Event(), asyncio.Event()

    @step_handler("work")
    async def forever() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            told.set()

    async with Engine(database_url) as operator, working(engine, {"work": forever}):
        task = await engine.create_task(graph({"only": []}), TaskRequest())
        await started.wait()
        await cancelled_within_a_second(operator if elsewhere else engine, task, told.wait)
        assert await engine.wait(task, 5) is TaskState.CANCELLED
    assert (await steps_by_name(engine, task))["only"]["current_state"] == "cancelled"


@pytest.mark.parametrize("elsewhere", [False, True], ids=["same process", "another process"])
async def test_a_plain_handler_sees_that_it_is_cancelled_within_a_second(
    engine: Engine, database_url: str, elsewhere: bool
) -> None:
    started, told = threading.Event(), threading.Event()

    @step_handler("work")
    def patient(context: StepContext) -> dict[str, int]:
        started.set()
        while not context.is_cancelled():
            time.sleep(0.002)
        told.set()
        return {"late": 1}

    async with Engine(database_url) as operator, working(engine, {"work": patient}):
        task = await engine.create_task(graph({"only": []}), TaskRequest())
        await asyncio.to_thread(started.wait)
        await cancelled_within_a_second(operator if elsewhere else engine, task, lambda: asyncio.to_thread(told.wait))
    only = (await steps_by_name(engine, task))["only"]
    assert (only["current_state"], only["result"], only["attempts"]) == ("cancelled", None, 1)


async def test_only_the_cancelled_tasks_handlers_are_told(engine: Engine) -> None:
    started = asyncio.Barrier(3)
    release, told = asyncio.Event(), asyncio.Event()
    cancelled: list[UUID] = []

    @step_handler("work")
    async def work(context: StepContext) -> None:
        await started.wait()
        try:
            await release.wait()
        except asyncio.CancelledError:
            cancelled.append(context.task_uuid)
            told.set()
            raise

    async with working(engine, {"work": work}):
        victim, other = await engine.create_tasks(graph({"only": []}), [TaskRequest()] * 2)
        await started.wait()
        await engine.cancel_task(victim, **BY)
        await told.wait()
        release.set()
        assert await engine.wait(other, 5) is TaskState.COMPLETE
    assert cancelled == [victim]


async def test_a_late_result_is_refused(engine: Engine, database_url: str) -> None:
    async with scene(engine, "running") as made:
        late = success(made.hands.held["subject"], {"n": 1})
        await engine.cancel_task(made.task, **BY)
        before = await snapshot(database_url)
        assert await made.hands.report(late) == {late.lease}
        assert await snapshot(database_url) == before


async def test_whoever_waits_for_a_task_hears_that_it_was_cancelled(engine: Engine, database_url: str) -> None:
    task = await engine.create_task(graph({"only": []}), TaskRequest())
    async with Engine(database_url) as operator:
        waiting = asyncio.create_task(engine.wait(task, 5))
        await operator.cancel_task(task, **BY)
        assert await waiting is TaskState.CANCELLED
    assert (await engine.task(task))["completed_at"] is not None


async def test_cancelling_reaches_steps_that_appeared_at_run_time(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(batch_template(parallelism=1), TaskRequest())
        await hands.claim()
        await hands.complete(analyze=batches(3))
        await hands.complete("part_001")
        await engine.cancel_task(task, **BY)
    assert await states(engine, task) == {
        "analyze": "complete",
        "gather": "cancelled",
        "part_001": "complete",
        "part_002": "cancelled",
        "part_003": "cancelled",
    }


# -- reset


async def test_a_step_that_used_up_its_attempts_has_all_of_them_again(engine: Engine) -> None:
    failures = 3

    @step_handler("work")
    async def work(context: StepContext) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise errors.RetryableError("not yet")

    async with working(engine, {"work": work}):
        task = await engine.create_task(chain(2), TaskRequest())
        assert await engine.wait(task, 10) is TaskState.BLOCKED_BY_FAILURES
        assert (await steps_by_name(engine, task))["s0"]["attempts"] == 3
        failures = 2
        await engine.reset_step(task, "s0", **BY)
        assert await engine.wait(task, 10) is TaskState.COMPLETE
    assert (await steps_by_name(engine, task))["s0"]["attempts"] == 3


async def test_a_reset_step_is_ready_at_once_with_no_attempts_and_no_error(engine: Engine) -> None:
    async with scene(engine, "blocked") as made:
        await engine.reset_step(made.task, "subject", **BY)
        view = (await steps_by_name(engine, made.task))["subject"]
        assert (view["current_state"], view["attempts"], view["error"]) == ("enqueued", 0, None)


async def test_a_reset_of_one_of_two_failed_steps_leaves_the_other(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(graph({"a": [], "b": [], "c": ["a", "b"]}), TaskRequest())
        await hands.claim()
        await hands.fail("a", "b")
        await engine.reset_step(task, "a", **BY)
        assert await states(engine, task) == {"a": "enqueued", "b": "error", "c": "pending"}
        assert await hands.claim() == {"a"}
        await hands.complete("a")
        assert await task_state(engine, task) == "blocked_by_failures"
        await engine.reset_step(task, "b", **BY)
        await hands.claim()
        await hands.complete("b")
        await hands.complete("c")
    assert await task_state(engine, task) == "complete"


# -- resolve and complete by hand


async def test_the_steps_after_a_completed_one_get_its_result(engine: Engine) -> None:
    async with scene(engine, "blocked") as made:
        await engine.complete_step(made.task, "subject", {"answer": 42}, metadata={"ticket": "T-1"}, **BY)
        view = (await steps_by_name(engine, made.task))["subject"]
        assert (view["current_state"], view["result"], view["error"]) == ("complete", {"answer": 42}, None)
        assert view["metadata"] == {
            "ticket": "T-1",
            "manually_completed": True,
            "completed_by": "ann",
            "completion_reason": "as agreed",
        }
        assert await made.hands.claim() == {"after"}
        assert made.hands.seen("after")["subject"] == {"answer": 42}
        await made.hands.complete("after")
    assert await task_state(engine, made.task) == "complete"


@pytest.mark.parametrize("value", [object(), math.nan, "\0", "\ud800"], ids=["object", "nan", "nul", "surrogate"])
async def test_a_result_that_json_cannot_say_is_refused(engine: Engine, database_url: str, value: object) -> None:
    async with scene(engine, "blocked") as made:
        before = await snapshot(database_url)
        with pytest.raises(SerializationError):
            await engine.complete_step(made.task, "subject", {"deep": [value]}, **BY)
        assert await snapshot(database_url) == before


async def test_the_steps_after_a_resolved_one_go_on_without_its_result(engine: Engine) -> None:
    async with scene(engine, "blocked") as made:
        await engine.resolve_step(made.task, "subject", **BY)
        view = (await steps_by_name(engine, made.task))["subject"]
        assert (view["current_state"], view["result"]) == ("resolved_manually", None)
        assert await made.hands.claim() == {"after"}
        assert set(made.hands.seen("after")) == {"done"}
        await made.hands.complete("after")
    view = await engine.task(made.task)
    assert (view["status"], view["completed_steps"]) == ("complete", 3)


async def test_the_handler_of_a_step_that_is_ended_by_hand_is_told_and_its_result_refused(engine: Engine) -> None:
    started, told = asyncio.Event(), asyncio.Event()

    @step_handler("work")
    async def forever() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            told.set()

    async with working(engine, {"work": forever}):
        task = await engine.create_task(graph({"only": []}), TaskRequest())
        await started.wait()
        await engine.complete_step(task, "only", {"n": 1}, **BY)
        async with asyncio.timeout(1):
            await told.wait()
        assert await engine.wait(task, 5) is TaskState.COMPLETE
    assert await results(engine, task) == {"only": {"n": 1}}


async def test_a_step_that_waits_for_others_may_be_ended_by_hand_before_them(engine: Engine) -> None:
    async with scene(engine, "running") as made:
        await engine.resolve_step(made.task, "after", **BY)
        assert await task_state(engine, made.task) == "steps_in_process"
        await made.hands.complete("subject")
        assert made.hands.held == {}
    assert await task_state(engine, made.task) == "complete"


async def test_a_resolved_step_counts_no_attempt(engine: Engine) -> None:
    async with scene(engine, "ready") as made:
        await engine.resolve_step(made.task, "subject", **BY)
        assert (await steps_by_name(engine, made.task))["subject"]["attempts"] == 0


@pytest.mark.parametrize("outcome", [choose("a"), choose("a", "b"), NO_BRANCHES])
async def test_completing_a_decision_by_hand_creates_its_branches(engine: Engine, outcome: dict[str, Any]) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(ROUTED, TaskRequest())
        await hands.claim()
        await hands.complete("start")
        await hands.complete(route=choose("nowhere"), beside=None)
        await engine.complete_step(task, "route", outcome, **BY)
        chosen = set(outcome["decision_point_outcome"].get("step_names", ()))
        assert await hands.claim() == chosen
        await finished(hands)
        assert set(await states(engine, task)) == {
            "start",
            "route",
            "beside",
            *chosen,
            *({"b2"} if "b" in chosen else ()),
            *({"end"} if chosen else ()),
        }
    assert await task_state(engine, task) == "complete"


@pytest.mark.parametrize(
    ("outcome", "message"),
    [({"n": 1}, "no decision_point_outcome"), (choose("nowhere"), "'nowhere' is not in the template")],
)
async def test_a_decision_cannot_be_completed_by_hand_with_an_invalid_outcome(
    engine: Engine, database_url: str, outcome: dict[str, Any], message: str
) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(ROUTED, TaskRequest())
        await hands.claim()
        await hands.complete("start")
        before = await snapshot(database_url)
        with pytest.raises(IllegalMoveError, match=message):
            await engine.complete_step(task, "route", outcome, **BY)
        assert await snapshot(database_url) == before


async def test_a_decision_that_is_resolved_chooses_nothing(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(ROUTED, TaskRequest())
        await hands.claim()
        await hands.complete("start")
        await engine.resolve_step(task, "route", **BY)
        await hands.complete("beside")
        assert set(await states(engine, task)) == {"start", "route", "beside"}
    assert await task_state(engine, task) == "complete"


async def test_completing_an_analyzer_by_hand_makes_its_batches_and_resolving_it_none(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task, other = await engine.create_tasks(batch_template(), [TaskRequest()] * 2)
        await engine.complete_step(task, "analyze", batches(2), **BY)
        assert await hands.claim() == {"part_001", "part_002", "analyze"}
        await engine.resolve_step(other, "analyze", **BY)
        assert set(await states(engine, other)) == {"analyze", "gather"}
        with pytest.raises(IllegalMoveError, match="analyze' is complete and cannot be completed"):
            await engine.complete_step(task, "analyze", batches(1), **BY)


# -- retry


async def test_retrying_lets_all_failed_steps_start_afresh(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(graph({"a": [], "b": [], "c": [], "d": ["a", "b"]}), TaskRequest())
        await hands.claim()
        await hands.fail("a", "b")
        answer = await engine.retry_task(task, actor="ann")
        assert {change["step"] for change in answer["steps"]} == {"a", "b"}
        assert await hands.claim() == {"a", "b", "c"}
        await hands.complete("a", "b", "c")
        await hands.complete("d")
    assert await task_state(engine, task) == "complete"


@pytest.mark.parametrize("verb", ["retry", "reset", "resolve", "complete"])
async def test_a_batch_of_a_task_that_was_closed_as_error_goes_on(engine: Engine, verb: str) -> None:
    shape = batch_template(parallelism=2, strategy=FailureStrategy.ISOLATE)
    async with by_hand(engine) as hands:
        task = await engine.create_task(shape, TaskRequest())
        await hands.claim()
        await hands.complete(analyze=batches(4))
        assert await hands.fail("part_001") == {"part_002", "part_003"}
        (entry,) = await engine.dlq_entries()
        await engine.resolve_dlq_entry(UUID(entry["dlq_entry_uuid"]), action="discard", actor="ann")
        assert await task_state(engine, task) == "error"
        hands.held = {}
        again = {"part_001"} if verb in ("retry", "reset") else set()
        match verb:
            case "retry":
                await engine.retry_task(task, actor="ann")
            case "reset":
                await engine.reset_step(task, "part_001", **BY)
            case "resolve":
                await engine.resolve_step(task, "part_001", **BY)
            case _:
                await engine.complete_step(task, "part_001", {}, **BY)
        assert await task_state(engine, task) == "steps_in_process"
        assert await hands.claim() == {*sorted(again | {"part_002", "part_003", "part_004"})[:2]}
        while "gather" not in hands.held:
            assert len(hands.held) <= 2
            await hands.complete(min(hands.held))
        await hands.complete("gather")
    assert await task_state(engine, task) == "complete"


@pytest.mark.parametrize(("from_step", "workers"), [("part_001", 4), ("analyze", 3), ("beside", 4)])
async def test_a_task_with_a_batch_that_was_closed_as_error_can_be_rerun(
    engine: Engine, from_step: str, workers: int
) -> None:
    shape = batch_template(parallelism=2, strategy=FailureStrategy.ISOLATE, after=[step("beside")])
    async with by_hand(engine) as hands:
        task = await engine.create_task(shape, TaskRequest())
        await hands.claim()
        await hands.complete("beside", analyze=batches(4))
        await hands.fail("part_001")
        (entry,) = await engine.dlq_entries()
        await engine.resolve_dlq_entry(UUID(entry["dlq_entry_uuid"]), action="discard", actor="ann")
        hands.held = {}
        await engine.rerun_task(task, from_step, **BY)
        await finished(hands, analyze=batches(3))
        if from_step == "beside":
            # Nothing was done about the worker that failed.
            assert await task_state(engine, task) == "blocked_by_failures"
            await engine.retry_task(task, actor="ann")
            await finished(hands)
    assert set((await states(engine, task)).values()) == {"complete"}
    assert len(await states(engine, task)) == 3 + workers


# -- pause and resume


async def test_a_paused_task_is_not_claimed_and_what_runs_ends(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(graph({"a": [], "b": [], "a2": ["a"], "b2": ["b"]}), TaskRequest())
        await hands.claim(1)
        (running,) = hands.held
        await engine.pause_task(task, **BY)
        view = await engine.task(task)
        assert (view["paused_by"], view["pause_reason"], view["status"]) == ("ann", "as agreed", "steps_in_process")
        assert view["paused_at"] is not None
        assert await hands.complete(running) == set()
        assert (await states(engine, task))[f"{running}2"] == "enqueued"
        await engine.resume_task(task, **BY)
        view = await engine.task(task)
        assert (view["paused_at"], view["paused_by"], view["pause_reason"]) == (None, None, None)
        assert len(await hands.claim()) == 2
        await finished(hands)
    assert await task_state(engine, task) == "complete"


@pytest.mark.parametrize("when", ["before the failure", "after the failure"])
async def test_a_paused_tasks_retry_waits_although_it_is_due(engine: Engine, when: str) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(graph({"only": []}), TaskRequest())
        await hands.claim()
        if when == "before the failure":
            await engine.pause_task(task, **BY)
            assert await hands.fail("only", retryable=True) == set()
        else:
            await hands.report(failure(hands.held["only"], retryable=True), want=0)
            await engine.pause_task(task, **BY)
        assert await states(engine, task) == {"only": "waiting_for_retry"}
        assert await hands.claim() == set()
        assert await hands.source.next_due() is None
        await engine.resume_task(task, **BY)
        assert await hands.claim() == {"only"}
        assert hands.held["only"].attempt == 2
        await hands.complete("only")
    assert await task_state(engine, task) == "complete"


async def test_a_retry_that_is_not_due_keeps_its_time_over_a_pause(engine: Engine) -> None:
    async with scene(engine, "retrying") as made:
        before = (await steps_by_name(engine, made.task))["subject"]["next_retry_at"]
        await engine.pause_task(made.task, **BY)
        await engine.resume_task(made.task, **BY)
        assert (await steps_by_name(engine, made.task))["subject"]["next_retry_at"] == before
        assert await made.hands.claim() == set()
        assert 3000 < (await made.hands.source.next_due() or 0) < 3700


async def test_what_operators_start_in_a_paused_task_waits_for_its_resumption(engine: Engine) -> None:
    async with scene(engine, "blocked") as made:
        await engine.pause_task(made.task, **BY)
        await engine.reset_step(made.task, "subject", **BY)
        assert await made.hands.claim() == set()
        await engine.resume_task(made.task, **BY)
        assert await made.hands.claim() == {"subject"}


async def test_the_lease_of_a_dead_worker_is_taken_back_although_the_task_is_paused(engine: Engine) -> None:
    async with scene(engine, "running") as made:
        await engine.pause_task(made.task, **BY)
        await made.hands.abandon("subject")
        assert (await states(engine, made.task))["subject"] == "waiting_for_retry"
        assert await made.hands.claim() == set()
        await engine.resume_task(made.task, **BY)
        assert await made.hands.claim() == {"subject"}


async def test_a_lease_given_back_while_the_task_is_paused_is_held(engine: Engine) -> None:
    async with scene(engine, "running") as made:
        await engine.pause_task(made.task, **BY)
        await made.hands.source.release([made.hands.held.pop("subject").key])
        assert (await made.hands.claim(), (await states(engine, made.task))["subject"]) == (set(), "enqueued")
        await engine.resume_task(made.task, **BY)
        assert await made.hands.claim() == {"subject"}


async def test_a_lease_given_back_while_its_task_is_being_paused_is_held_too(engine: Engine, database_url: str) -> None:
    async with scene(engine, "running") as made:
        async with frozen_task(engine.store.database, made.task) as frozen:
            assert frozen is not None
            await frozen.pause(Audit("pause", "ann"))
            release = asyncio.create_task(made.hands.source.release([made.hands.held.pop("subject").key]))
            await until_somebody_waits_for_a_lock(database_url)
        await release
        assert await made.hands.claim() == set()
        await engine.resume_task(made.task, **BY)
        assert await made.hands.claim() == {"subject"}


async def test_a_pause_holds_the_workers_of_a_batch_too(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(batch_template(parallelism=1), TaskRequest())
        await hands.claim()
        await hands.complete(analyze=batches(2))
        await engine.pause_task(task, **BY)
        assert await hands.complete("part_001") == set()
        assert (await states(engine, task))["part_002"] == "enqueued"
        await engine.resume_task(task, **BY)
        assert await hands.claim() == {"part_002"}


async def test_a_paused_task_can_be_cancelled(engine: Engine) -> None:
    async with scene(engine, "ready") as made:
        await engine.pause_task(made.task, **BY)
        await engine.cancel_task(made.task, **BY)
        assert await standing(engine, made.task) == CANCELLED
        assert (await engine.task(made.task))["paused_at"] is None


async def test_a_resumed_task_is_taken_up_at_once_by_workers_elsewhere(engine: Engine, database_url: str) -> None:
    @step_handler("work")
    async def work() -> None: ...

    async with Engine(database_url) as operator, working(engine, {"work": work}, idle_poll=60):
        task = await operator.create_task(graph({"only": []}), TaskRequest(priority=1))
        await engine.wait(task, 5)
        paused = await operator.create_task(graph({"only": []}, callables={"only": "other"}), TaskRequest())
        await operator.pause_task(paused, **BY)
        async with working(engine, {"other": work}, idle_poll=60):
            await operator.resume_task(paused, **BY)
            assert await engine.wait(paused, 5) is TaskState.COMPLETE


# -- re-run


def counting(seen: list[tuple[str, dict[str, Any]]], outcome: Callable[[], Any] = lambda: choose("a")) -> Any:
    """A handler that notes what it saw, and whose results count up."""

    @step_handler("work")
    async def work(context: StepContext) -> Any:
        name = context.task_sequence_step.workflow_step.name
        seen.append((name, {key: value["result"] for key, value in context.dependency_results.items()}))
        return outcome() if name == "route" else {"n": len(seen)}

    return work


async def test_a_rerun_runs_a_step_and_all_after_it_and_keeps_the_rest(engine: Engine) -> None:
    seen: list[tuple[str, dict[str, Any]]] = []
    async with working(engine, {"work": counting(seen)}):
        task = await engine.create_task(graph({"s0": [], "s1": ["s0"], "s2": ["s1"], "beside": ["s0"]}), TaskRequest())
        await engine.wait(task, 10)
        before = await results(engine, task)
        answer = await engine.rerun_task(task, "s1", **BY)
        assert {change["step"] for change in answer["steps"]} == {"s1", "s2"}
        assert await engine.wait(task, 10) is TaskState.COMPLETE
    after = await results(engine, task)
    assert (after["s0"], after["beside"]) == (before["s0"], before["beside"])
    assert (after["s1"], after["s2"]) == ({"n": 5}, {"n": 6})
    assert seen[-1] == ("s2", {"s0": before["s0"], "s1": {"n": 5}})


async def test_a_rerun_sees_fresh_results_where_another_process_had_the_old_ones_cached(
    engine: Engine, database_url: str
) -> None:
    # ``second`` runs on an engine of its own, which does not hear how the task ends.
    shape = graph({"first": [], "second": ["first"], "last": ["second"]}, callables={"first": "one", "last": "one"})
    async with Engine(database_url) as other, by_hand(engine, "one") as one, by_hand(other, "work") as two:
        task = await engine.create_task(shape, TaskRequest())
        for number in range(3):
            await one.claim()
            await one.complete(first={"n": number})
            assert await two.claim() == {"second"}
            assert two.seen("second") == {"first": {"n": number}}
            await two.complete(second={"n": -number})
            assert await one.claim() == {"last"}
            assert one.seen("last") == {"first": {"n": number}, "second": {"n": -number}}
            await one.complete("last")
            await engine.rerun_task(task, "first", **BY)


async def test_a_process_that_missed_a_rerun_sees_its_results_at_the_next(engine: Engine, database_url: str) -> None:
    async with Engine(database_url) as other, by_hand(engine) as one, by_hand(other) as two:
        task = await engine.create_task(chain(3), TaskRequest())
        await two.claim()
        await two.complete(s0={"n": 1})
        await two.report(success(two.held["s1"], {"n": 1}), want=0)
        await one.claim()
        await one.complete("s2")
        await engine.rerun_task(task, "s0", **BY)
        await finished(one, s0={"n": 2}, s1={"n": 2})
        await engine.rerun_task(task, "s2", **BY)
        assert await two.claim() == {"s2"}
        assert two.seen("s2") == {"s0": {"n": 2}, "s1": {"n": 2}}


async def test_the_engine_that_reruns_forgets_its_own_results_too(engine: Engine, database_url: str) -> None:
    shape = graph({"first": [], "second": ["first"], "third": ["second"]})
    async with Engine(database_url) as operator, by_hand(engine) as hands:
        task = await engine.create_task(shape, TaskRequest())
        await hands.claim()
        await hands.complete(first={"n": 1})
        await hands.fail("second")
        await operator.rerun_task(task, "first", **BY)
        await hands.claim()
        await hands.complete(first={"n": 2})
        assert hands.seen("second") == {"first": {"n": 2}}
        await hands.complete(second={"n": 2})
        assert hands.seen("third") == {"first": {"n": 2}, "second": {"n": 2}}


async def test_a_decision_that_runs_again_may_choose_otherwise(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(ROUTED, TaskRequest())
        await finished(hands, route=choose("b"))
        answer = await engine.rerun_task(task, "route", **BY)
        assert set(answer["removed"]) == {"b", "b2", "end"}
        assert set(await states(engine, task)) == {"start", "route", "beside"}
        assert await hands.claim() == {"route"}
        assert await hands.complete(route=choose("a")) == {"a"}
        assert await hands.complete("a") == {"end"}
        assert set(hands.seen("end")) == {"start", "route", "a"}
        await hands.complete("end")
        assert set(await states(engine, task)) == {"start", "route", "beside", "a", "end"}
        assert await task_state(engine, task) == "complete"
        assert (await engine.task(task))["total_steps"] == 5


async def test_a_decision_that_runs_again_may_choose_the_same(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(ROUTED, TaskRequest())
        await finished(hands, route=choose("a", "b"))
        for start in ("start", "route"):
            await engine.rerun_task(task, start, **BY)
            await finished(hands, route=choose("a", "b"))
            assert set((await states(engine, task)).values()) == {"complete"}
            assert (await engine.task(task))["total_steps"] == 7


async def test_history_still_names_the_steps_that_a_rerun_removed(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(ROUTED, TaskRequest())
        await finished(hands, route=choose("b"))
        await engine.rerun_task(task, "route", **BY)
        assert ("b2", "rerun", "cancelled", "ann", "as agreed") in await verbs(engine, task)
        assert (1, "in_progress", "complete") in await changes(engine, task, "b2")


@pytest.mark.parametrize(
    ("outcome", "from_step", "again"),
    [(choose("a", "b"), "b", {"b", "b2", "end"}), (choose("a"), "a", {"a", "end"}), (choose("a"), "end", {"end"})],
    ids=["one of two branches", "the only branch", "what comes after"],
)
async def test_a_rerun_within_a_branch_keeps_the_decision(
    engine: Engine, outcome: dict[str, Any], from_step: str, again: set[str]
) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(ROUTED, TaskRequest())
        await finished(hands, route=outcome)
        answer = await engine.rerun_task(task, from_step, **BY)
        assert ({change["step"] for change in answer["steps"]}, answer["removed"]) == (again, [])
        assert await hands.claim() == {from_step}
        await finished(hands)
    assert await task_state(engine, task) == "complete"


async def test_a_convergence_of_two_decisions_survives_the_rerun_of_one(engine: Engine) -> None:
    shape = template(
        step("start"),
        decision("first", "start"),
        decision("second", "start"),
        step("a", "first"),
        step("b", "second"),
        convergence("end", "a", "b"),
    )
    async with by_hand(engine) as hands:
        task = await engine.create_task(shape, TaskRequest())
        await finished(hands, first=choose("a"), second=choose("b"))
        await engine.rerun_task(task, "first", **BY)
        assert await hands.claim() == {"first"}
        assert await hands.complete(first=NO_BRANCHES) == {"end"}
        assert set(hands.seen("end")) == {"start", "first", "second", "b"}
        await hands.complete("end")
    assert await task_state(engine, task) == "complete"


async def test_a_rerun_from_a_batch_worker_runs_it_and_what_gathers(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(batch_template(), TaskRequest())
        await finished(hands, analyze=batches(3), part_002={"n": 1})
        await engine.rerun_task(task, "part_002", **BY)
        assert await hands.claim() == {"part_002"}
        assert hands.held["part_002"].step_inputs()["cursor"]["batch_id"] == "002"
        assert await hands.complete(part_002={"n": 2}) == {"gather"}
        assert hands.seen("gather")["part_002"] == {"n": 2}
        await hands.complete("gather")
    assert await task_state(engine, task) == "complete"


@pytest.mark.parametrize("count", [0, 2, 5])
async def test_an_analyzer_that_runs_again_makes_other_batches(engine: Engine, count: int) -> None:
    outcome = batches(count) if count else {"batch_processing_outcome": {"type": "no_batches"}}
    async with by_hand(engine) as hands:
        task = await engine.create_task(batch_template(parallelism=2), TaskRequest())
        await finished(hands, analyze=batches(3))
        answer = await engine.rerun_task(task, "analyze", **BY)
        assert set(answer["removed"]) == {"part_001", "part_002", "part_003", "gather"}
        assert await hands.claim() == {"analyze"}
        await finished(hands, analyze=outcome)
        assert len(await states(engine, task)) == 2 + count
    assert await task_state(engine, task) == "complete"


async def test_a_rerun_of_a_task_with_a_failed_batch_begins_it_anew(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        shape = batch_template(parallelism=1, strategy=FailureStrategy.FAIL_FAST)
        task = await engine.create_task(shape, TaskRequest())
        await hands.claim()
        await hands.complete(analyze=batches(3))
        await hands.fail("part_001")
        await engine.rerun_task(task, "analyze", **BY)
        await finished(hands, analyze=batches(2))
    assert await states(engine, task) == dict.fromkeys(["analyze", "gather", "part_001", "part_002"], "complete")


async def test_a_rerun_counts_in_the_attempts_of_its_own_run_only(engine: Engine) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(graph({"only": []}), TaskRequest())
        for _ in range(2):
            await hands.claim()
            await hands.fail("only", retryable=True)
            await hands.complete("only")
            assert (await steps_by_name(engine, task))["only"]["attempts"] == 2
            await engine.rerun_task(task, "only", **BY)
            assert (await steps_by_name(engine, task))["only"]["attempts"] == 0


async def test_a_decision_that_runs_again_and_the_last_worker_of_a_batch_may_end_in_one_report(
    engine: Engine,
) -> None:
    shape = template(
        step("start"),
        analyzer("analyze"),
        mould("part", "analyze", strategy=FailureStrategy.ISOLATE),
        decision("route", "start"),
        step("x", "route"),
        convergence("end", "part", "x"),
    )
    for outcome, then in ((choose("x"), {"x"}), (NO_BRANCHES, {"end"})):
        async with by_hand(engine) as hands:
            task = await engine.create_task(shape, TaskRequest())
            await hands.claim()
            await hands.complete("start", analyze=batches(2))
            await hands.complete("part_001", route=choose("x"))
            await hands.complete("x")
            await hands.fail("part_002")
            await engine.rerun_task(task, "route", **BY)
            await engine.reset_step(task, "part_002", **BY)
            assert await hands.claim() == {"route", "part_002"}
            assert await hands.complete("part_002", route=outcome) == then
            await finished(hands)
        assert await task_state(engine, task) == "complete"


async def test_steps_added_after_a_rerun_never_share_their_place_with_removed_ones(
    engine: Engine, database_url: str
) -> None:
    async with by_hand(engine) as hands:
        task = await engine.create_task(batch_template(), TaskRequest())
        await finished(hands, analyze=batches(3))
        before = {view["step_uuid"] for name, view in (await steps_by_name(engine, task)).items() if "part" in name}
        await engine.rerun_task(task, "analyze", **BY)
        await finished(hands, analyze=batches(3))
        after = {view["step_uuid"] for name, view in (await steps_by_name(engine, task)).items() if "part" in name}
        assert before.isdisjoint(after)
    assert await fetch(database_url, "SELECT 1 FROM tasker.step_queue") == []


# -- verbs while everything moves


TANGLED: TaskTemplate = template(
    step("start"),
    decision("route", "start"),
    step("a", "route"),
    step("b", "route"),
    analyzer("analyze", "start"),
    mould("part", "analyze", parallelism=2, strategy=FailureStrategy.FAIL_FAST),
    convergence("gather", "part", "a", "b"),
    step("last", "gather"),
)


async def act(operator: Engine, verb: str, task: UUID, step: str) -> None:
    """Do one thing to a task, if it can be done."""
    with contextlib.suppress(IllegalMoveError, StepNotFoundError):
        match verb:
            case "pause" | "resume" | "retry":
                await getattr(operator, f"{verb}_task")(task, actor="ann")
            case "cancel":
                await operator.cancel_task(task, **BY)
            case "rerun":
                await operator.rerun_task(task, step, **BY)
            case "complete":
                outcome = {"route": choose("a"), "analyze": batches(3)}.get(step, {"n": 2})
                await operator.complete_step(task, step, outcome, **BY)
            case _:
                await getattr(operator, f"{verb}_step")(task, step, **BY)


@pytest.mark.parametrize("seed", range(3))
async def test_verbs_during_claims_and_reports_leave_every_task_consistent(
    engine: Engine, database_url: str, seed: int
) -> None:
    chance = random.Random(seed)
    over = asyncio.Event()
    choices = ["pause", "resume", "retry", "rerun", "reset", "resolve", "complete"] * 5 + ["cancel"]

    @step_handler("work")
    async def work(context: StepContext) -> Any:
        if not over.is_set() and chance.random() < 0.15:
            raise (errors.RetryableError if chance.random() < 0.5 else errors.PermanentError)("by chance")
        name = context.task_sequence_step.workflow_step.name
        return {"route": choose("a", "b"), "analyze": batches(4)}.get(name, {"n": 1})

    async def operate(operator: Engine, tasks: list[UUID]) -> None:
        for _ in range(60):
            task = chance.choice(tasks)
            await act(operator, chance.choice(choices), task, chance.choice(list(await states(operator, task))))

    async with Engine(database_url) as other, working(engine, {"work": work}), working(other, {"work": work}):
        tasks = await engine.create_tasks(TANGLED, [TaskRequest()] * 6)
        await asyncio.gather(operate(engine, tasks), operate(other, tasks), operate(engine, tasks))
        over.set()
        for task in tasks:
            await act(engine, "resume", task, "")
            while await engine.wait(task, 20) is TaskState.BLOCKED_BY_FAILURES:
                await engine.retry_task(task, actor="ann")
            assert await task_state(engine, task) in ("cancelled", "complete")


async def test_of_two_operators_at_once_one_comes_first(engine: Engine, database_url: str) -> None:
    async with Engine(database_url) as other, scene(engine, "blocked") as made:
        answers = await asyncio.gather(
            *(operator.reset_step(made.task, "subject", **BY) for operator in (engine, other) * 3),
            return_exceptions=True,
        )
        done = [answer for answer in answers if isinstance(answer, dict)]
        assert len(done) == 1
        assert all(isinstance(answer, IllegalMoveError) for answer in answers if answer not in done)


async def test_more_verbs_at_once_than_connections_do_not_wait_for_each_other(
    engine: Engine, database_url: str
) -> None:
    tasks = await engine.create_tasks(graph({"only": []}), [TaskRequest()] * 20)
    async with Engine(database_url, max_connections=2) as fresh, asyncio.timeout(5):
        await asyncio.gather(*(fresh.cancel_task(task, **BY) for task in tasks))


async def test_cancelling_while_workers_claim_leaves_no_step_behind(engine: Engine, database_url: str) -> None:
    tasks = await engine.create_tasks(graph({"a": [], "b": [], "c": ["a", "b"]}), [TaskRequest()] * 40)
    async with Engine(database_url) as other, by_hand(engine) as one, by_hand(other) as two:
        # The template is known to both by then.
        await other.cancel_task(tasks[0], **BY)

        async def claim(hands: Hands) -> None:
            while held := await hands.source.claim(3):
                await hands.source.report([success(leased) for leased in held], 0)

        await asyncio.gather(claim(one), claim(two), *(other.cancel_task(task, **BY) for task in tasks[::2]))
    for number, task in enumerate(tasks):
        found = set((await states(engine, task)).values())
        if number % 2:
            assert found == {"complete"}
        else:
            assert found <= {"complete", "cancelled"}
            assert await task_state(engine, task) in ("complete", "cancelled")
    assert await fetch(database_url, "SELECT 1 FROM tasker.step_queue") == []
