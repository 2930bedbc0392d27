"""Histories at work: in two engines on a database, and in the model that says how they ought to go."""

import contextlib
import itertools
import json
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from tests.integration.engine_histories import (
    WORKERS,
    Claim,
    Event,
    Expire,
    Fitting,
    History,
    Late,
    Recover,
    Release,
    Repeat,
    Report,
    Rescue,
    Verb,
    Work,
)
from tests.integration.engine_model import (
    DONE,
    TERMINAL,
    Lease,
    ModelStep,
    ModelTask,
    NoSuchStep,
    Refused,
    Said,
    Shape,
)
from tests.integration.support import check_invariants

from tasker_core import serialization
from tasker_core.engine.operations import IllegalMoveError
from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.orchestration.local_source import LocalStepSource
from tasker_core.orchestration.operations import StepNotFoundError
from tasker_core.orchestration.rescuer import Rescuer
from tasker_core.step_source import LeasedStep, LeaseKey, ReportAnswer, StepReport
from tasker_core.template import StepType

#: Leases end only when a test says so.
DAYS = 1e6


class Worlds:
    """One database, two processes with an engine and a worker each, and a rescuer; for many histories."""

    def __init__(self, run: Callable[[Coroutine[Any, Any, Any]], Any], url: str) -> None:
        self.run = run
        self.url = url
        self.engines = [Engine(url, lease_seconds=DAYS, max_connections=2) for _ in WORKERS]
        self.sources: dict[str, LocalStepSource] = {}
        self.worker_ids: dict[str, int] = {}

    async def open(self) -> None:
        self.look = await asyncpg.connect(self.url)
        for engine, (worker, callables) in zip(self.engines, WORKERS.items(), strict=True):
            await engine.__aenter__()
            self.worker_ids[worker] = await engine.store.register_worker(worker, "host", 1, callables)
            self.sources[worker] = LocalStepSource(
                engine.store,
                engine._plans,
                engine._known,
                worker_id=self.worker_ids[worker],
                callables=callables,
                lease_seconds=DAYS,
                recorded=engine._recorded,
            )
        self.engine = self.engines[0]
        self.worker_ids["rescuer"] = await self.engine.store.register_worker("rescuer", "host", 1, [])
        self.rescuer = Rescuer(
            self.engine.store,
            self.engine._plans,
            rescuer_id=self.worker_ids["rescuer"],
            interval=DAYS,
            recorded=self.engine._recorded,
        )

    async def close(self) -> None:
        for engine in self.engines:
            await engine.__aexit__(None, None, None)
        await self.look.close()

    def check(self, history: History) -> None:
        """Let a history happen, then let everything come to its end."""
        try:
            machine = Machine(self, history)
            for number, event in enumerate(history.events):
                machine.happen(event)
                if number % 4 == 0:
                    machine.ask_why()
            self.run(check_invariants(self.url))
            machine.come_to_an_end()
            self.run(check_invariants(self.url))
        finally:
            self.run(self.clear())

    async def clear(self) -> None:
        """Let the next history start from nothing. Deleting a few rows is far cheaper than truncating."""
        await self.look.execute(";".join(f"DELETE FROM tasker.{table}" for table in _TABLES))


_TABLES = (
    "tasks",
    "steps",
    "step_queue",
    "batches",
    "step_transitions",
    "task_transitions",
    "dead_letters",
    "backlogs",
)

_STEPS = """
    SELECT step.task_uuid, step.name, step.ordinal, mould.name AS mould, step.state::text, step.attempts,
           step.unmet_dependencies, step.result, step.error ->> 'error_type' AS error_type, step.inputs,
           (step.checkpoint ->> 'cursor')::integer AS cursor, queue.status::text, queue.worker_id, queue.lease_id
    FROM tasker.steps AS step
    JOIN tasker.tasks AS task USING (task_uuid)
    JOIN tasker.template_steps AS mould
      ON mould.template_id = task.template_id AND mould.ordinal = step.template_ordinal
    LEFT JOIN tasker.step_queue AS queue ON queue.task_uuid = step.task_uuid AND queue.ordinal = step.ordinal"""

_TASKS = """
    SELECT task_uuid, state::text, paused_at IS NOT NULL AS paused, total_steps,
           ARRAY(SELECT step.name FROM tasker.dead_letters AS entry
                 LEFT JOIN tasker.steps AS step USING (task_uuid, ordinal)
                 WHERE entry.task_uuid = task.task_uuid AND status = 'pending') AS dead_letters,
           (SELECT count(*) FROM tasker.step_transitions AS change WHERE change.task_uuid = task.task_uuid)
           + (SELECT count(*) FROM tasker.task_transitions AS change WHERE change.task_uuid = task.task_uuid) AS changes
    FROM tasker.tasks AS task"""


@dataclass(frozen=True)
class Granted:
    """A lease there once was, and the name of its step's template step."""

    key: LeaseKey
    step: str
    template_step: str


@dataclass
class Machine:
    """One history at work, in the database and in the model."""

    worlds: Worlds
    history: History
    tasks: dict[UUID, ModelTask] = field(default_factory=dict)
    granted: list[Granted] = field(default_factory=list)
    last_report: dict[str, list[StepReport]] = field(default_factory=dict)
    changes: dict[UUID, int] = field(default_factory=dict)
    serial: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.run = self.worlds.run
        template = self.history.template()
        self.shape = Shape(template)
        requests = [TaskRequest() for _ in range(self.history.tasks)]
        for task in self.run(self.worlds.engine.create_tasks(template, requests)):
            self.tasks[task] = ModelTask(self.shape)
        self.compare()

    def happen(self, event: Event) -> None:
        """Let something happen in both worlds, and compare them."""
        getattr(self, f"on_{type(event).__name__.lower()}")(event)
        self.compare()

    def on_claim(self, event: Claim) -> None:
        self.claim(event.worker, event.limit)

    def on_work(self, event: Work) -> None:
        self.claim(event.worker, 10)
        self.report_everything(event.worker, event.number)

    def on_report(self, event: Report) -> None:
        worker, held = event.worker, self.held(event.worker)
        if not held:
            worker = next(other for other in WORKERS if other != worker)
            held = self.held(worker)
        reports: dict[LeaseKey, StepReport] = {}
        for place, said, number in event.ends:
            if held:
                granted = held[place % len(held)]
                reports.setdefault(granted.key, self.report_for(granted, said, number))
        self.report(worker, list(reports.values()), event.want)

    def on_late(self, event: Late) -> None:
        if self.granted:
            lease = self.granted[event.lease % len(self.granted)]
            self.report(event.worker, [self.report_for(lease, event.said, event.number)], 2)

    def on_repeat(self, event: Repeat) -> None:
        self.report(event.worker, self.last_report.get(event.worker, []), 2)

    def on_release(self, event: Release) -> None:
        if self.granted:
            key = self.granted[event.lease % len(self.granted)].key
            self.run(self.worlds.sources[event.worker].release([key]))
            if self.holds(event.worker, key):
                self.step_of(key).give_back()

    def on_recover(self, event: Recover) -> None:
        leased = self.run(self.worlds.sources[event.worker].recover())
        assert {step.key for step in leased} == {lease.key for lease in self.held(event.worker)}

    def on_expire(self, event: Expire) -> None:
        live = self.live()
        if live:
            self.expire(live[event.lease % len(live)].key)

    def on_rescue(self, event: Rescue) -> None:
        self.rescue(dies=event.dies)

    def on_verb(self, event: Verb) -> None:
        """Whether it fits or not, at times with a result that cannot be carried out."""
        task = self.tasks[task_uuid := self.task_at(event.task)]
        names = [*task.steps, *sorted(self.shape.steps.keys() - task.steps.keys()), "nothing"]
        said = "success" if event.number % 4 else "wrong"
        self.do(event.verb, task_uuid, names[event.step % len(names)], said, event.number)

    def on_fitting(self, event: Fitting) -> None:
        task_uuid = self.task_at(event.task)
        fitting = [(verb, names) for verb, names in _fitting(self.tasks[task_uuid]) if names]
        if fitting:
            verb, names = fitting[event.verb % len(fitting)]
            self.do(verb, task_uuid, names[event.step % len(names)], "success", event.number)

    def task_at(self, place: int) -> UUID:
        return list(self.tasks)[place % len(self.tasks)]

    def come_to_an_end(self) -> None:
        """Without further faults every task comes to its end, and one that is retried becomes complete."""
        for task_uuid, task in self.tasks.items():
            if task.paused and task.state not in TERMINAL:
                self.do("resume", task_uuid, "")
        self.drain()
        for task_uuid, task in self.tasks.items():
            assert task.state in (*TERMINAL, "blocked_by_failures")
            if task.state in ("blocked_by_failures", "error"):
                self.do("retry", task_uuid, "")
                self.compare()
        self.drain()
        for task in self.tasks.values():
            assert task.state in ("complete", "cancelled", "resolved_manually")
        self.compare()

    def drain(self) -> None:
        for granted in self.live():
            if self.lease_of(granted.key).holder == "rescuer":
                self.expire(granted.key)
        self.rescue(dies=False)
        for number in range(200):
            self.claim("both", 10)
            if not self.held("both") and not self.held("half"):
                self.compare()
                return
            self.report_everything("both", number)
            self.report_everything("half", number)
            if number % 5 == 0:
                self.compare()
        raise AssertionError("the tasks do not come to an end")

    # -- leases

    def step_of(self, key: LeaseKey) -> ModelStep:
        """Return the step of a lease that holds."""
        return next(
            step
            for step in self.tasks[key.task_uuid].steps.values()
            if step.lease is not None and step.lease.lease_id == key.lease_id
        )

    def live(self) -> list[Granted]:
        """Return the leases that hold."""
        held = {
            step.lease.lease_id
            for task in self.tasks.values()
            for step in task.steps.values()
            if step.lease is not None
        }
        return [granted for granted in self.granted if granted.key.lease_id in held]

    def held(self, worker: str) -> list[Granted]:
        """Return the leases that a worker has."""
        return [granted for granted in self.live() if self.holds(worker, granted.key)]

    def holds(self, worker: str, key: LeaseKey) -> bool:
        return any(
            step.lease is not None and (step.lease.holder, step.lease.lease_id) == (worker, key.lease_id)
            for step in self.tasks[key.task_uuid].steps.values()
        )

    def claim(self, worker: str, limit: int) -> None:
        claimable = {
            (task_uuid, step.name)
            for task_uuid, task in self.tasks.items()
            for step in task.steps.values()
            if step.state in ("enqueued", "waiting_for_retry")
            and not task.paused
            and step.template.handler.callable in WORKERS[worker]
        }
        leased = self.run(self.worlds.sources[worker].claim(limit))
        assert {(step.key.task_uuid, step.name) for step in leased} <= claimable
        assert len(leased) == min(limit, len(claimable))
        self.take(worker, leased)

    def take(self, worker: str, leased: Sequence[LeasedStep]) -> None:
        """Note leases, and check what their handlers would see."""
        for lease in leased:
            task = self.tasks[lease.key.task_uuid]
            step = task.steps[lease.name]
            assert step.state in ("enqueued", "waiting_for_retry")
            step.claim(worker, lease.key.lease_id)
            task.started = True
            assert (lease.attempt, lease.key.ordinal) == (step.attempts, step.ordinal)
            assert lease.attempt <= max(1, step.template.retry.max_attempts)
            assert lease.definition["name"] == step.template.name
            assert lease.step_inputs().get("cursor") == (step.inputs or {}).get("cursor")
            assert (lease.saved_checkpoint() or {}).get("cursor") == step.cursor
            seen = {result.name: json.loads(result.result or "null") for result in lease.ancestors}
            assert _comparable(seen) == task.results_before(step)
            self.granted.append(Granted(lease.key, lease.name, step.template.name))

    def expire(self, key: LeaseKey) -> None:
        """Let a lease run out."""
        statement = "UPDATE tasker.step_queue SET wake_at = leased_at WHERE lease_id = $1"
        self.run(self.worlds.look.execute(statement, key.lease_id))
        self.lease_of(key).expired = True

    def lease_of(self, key: LeaseKey) -> Lease:
        lease = self.step_of(key).lease
        assert lease is not None
        return lease

    def rescue(self, *, dies: bool) -> None:
        expired = [granted.key for granted in self.live() if self.lease_of(granted.key).expired]
        if dies:
            store, rescuer = self.worlds.engine.store, self.worlds.worker_ids["rescuer"]
            taken = self.run(store.take_expired_leases(rescuer, 100, DAYS))
            assert {lease.grant.key for lease in taken} == set(expired)
            for key in expired:
                self.lease_of(key).holder, self.lease_of(key).expired = "rescuer", False
            return
        assert self.run(self.worlds.rescuer.rescue()) == len(expired)
        for task_uuid, task in self.tasks.items():
            lost = Said("retryable", error_type="lease_expired")
            task.report([(self.step_of(key), lost) for key in expired if key.task_uuid == task_uuid])

    # -- reports

    def report_everything(self, worker: str, number: int) -> None:
        self.report(worker, [self.report_for(granted, "success", number) for granted in self.held(worker)], 0)

    def report(self, worker: str, reports: list[StepReport], want: int) -> None:
        self.last_report[worker] = reports
        if not reports:
            return
        answer: ReportAnswer = self.run(self.worlds.sources[worker].report(reports, want))
        accepted = [r for r in {r.lease: r for r in reports}.values() if self.holds(worker, r.lease)]
        assert answer.refused == {report.lease for report in reports} - {report.lease for report in accepted}
        assert len(answer.leased) <= want
        assert not any(self.tasks[lease.key.task_uuid].paused for lease in answer.leased)
        # Checkpoints are kept, and their steps leased anew, before anything ends.
        said = {
            task_uuid: [(self.step_of(r.lease), _said(r)) for r in accepted if r.lease.task_uuid == task_uuid]
            for task_uuid in self.tasks
        }
        kept = {(task_uuid, name) for task_uuid, task in self.tasks.items() for name in task.keep(said[task_uuid])}
        self.take(worker, [lease for lease in answer.leased if (lease.key.task_uuid, lease.name) in kept])
        freed = {
            (task_uuid, name)
            for task_uuid, task in self.tasks.items()
            for name in task.report(
                [(step, what) for step, what in said[task_uuid] if (task_uuid, step.name) not in kept]
            )
        }
        self.take(worker, [lease for lease in answer.leased if (lease.key.task_uuid, lease.name) not in kept])
        leased = {(lease.key.task_uuid, lease.name) for lease in answer.leased}
        assert leased <= freed | kept
        assert answer.more_ready == bool((freed | kept) - leased)
        assert {self.shape.steps[lease.definition["name"]].handler.callable for lease in answer.leased} <= {
            *WORKERS[worker],
            *(self.tasks[task_uuid].steps[name].template.handler.callable for task_uuid, name in kept),
        }

    def report_for(self, granted: Granted, said: str, number: int) -> StepReport:
        """Return a report on a lease as a handler would make it."""
        task = self.tasks[granted.key.task_uuid]
        if said in ("retryable", "permanent"):
            failure = {"error_type": "Failure", "message": "m", "retryable": said == "retryable"}
            return StepReport(granted.key, success=False, error=failure)
        if said in ("yield", "yield_back"):
            step = task.steps.get(granted.step)
            cursor = (step.cursor or 0) if step is not None else 0
            cursor = cursor + number % 3 if said == "yield" else cursor - 1 - number % 3
            items = (step.items if step is not None else 0) + number % 2
            result = {"type": "checkpoint_yield", "cursor": cursor, "items_processed": items}
            return StepReport(
                granted.key, success=True, result=serialization.dumps(result), metadata={"checkpoint_yield": True}
            )
        result = self.result_for(task, granted.template_step, said, number)
        return StepReport(granted.key, success=True, result=serialization.dumps(result))

    def result_for(self, task: ModelTask, name: str, said: str, number: int) -> dict[str, Any]:
        """Return a result for a step: one that can be carried out, or for ``wrong`` one that cannot."""
        result: dict[str, Any] = {"serial": next(self.serial)}
        kind = self.shape.steps[name].type
        if kind is StepType.DECISION:
            wrong = said == "wrong"
            outcome = self._wrong_decision(name, number) if wrong else self._decision(task, name, number)
            result["decision_point_outcome"] = outcome
        elif kind is StepType.BATCHABLE:
            result["batch_processing_outcome"] = batches_outcome(self.shape, name, number, wrong=said == "wrong")
        return result

    def _decision(self, task: ModelTask, name: str, number: int) -> dict[str, Any]:
        """Choose some of the steps that depend on the decision, and at times what comes after them."""
        direct = [step for step in self.shape.dependents(name) if step not in self.shape.moulds]
        further = sorted(self.shape.after(name) - set(self.shape.moulds) - set(direct))
        names = [step for place, step in enumerate(direct) if number >> place & 1]
        if number >= 192:
            names += further[number % 3 :][:2]
        outcome = {"type": "create_steps", "step_names": names}
        if task.chosen_by(name, {"decision_point_outcome": outcome}) is None:
            names = [step for step in names if task.chosen_by(name, choice_of([step])) is not None]
            outcome["step_names"] = names
        if not names or task.chosen_by(name, {"decision_point_outcome": outcome}) is None:
            return {"type": "no_branches"}
        return outcome

    def _wrong_decision(self, name: str, number: int) -> Any:
        steps = list(self.shape.steps)
        names: list[Any] = [
            ["nothing"],
            [name],
            [*self.shape.steps[name].dependencies],
            [steps[number % len(steps)]],
            [*steps],
            self.shape.dependents(name)[:1] * 2,
            sorted(self.shape.after(name))[-1:],
            "text",
            None,
        ]
        chosen = names[number % len(names)]
        return {"type": "create_steps", "step_names": chosen} if chosen is not None else {"type": "other"}

    # -- verbs

    def do(self, verb: str, task_uuid: UUID, name: str, said: str = "success", number: int = 0) -> None:
        """Do what an operator would, in both worlds."""
        task, engine = self.tasks[task_uuid], self.worlds.engines[len(name) % 2]
        who: dict[str, Any] = {"actor": "somebody", "reason": "a test"}
        there: Callable[..., Awaitable[dict[str, Any]]]
        match verb:
            case "rerun" | "reset" | "resolve":
                there = getattr(engine, "rerun_task" if verb == "rerun" else f"{verb}_step")
                there, here = partial(there, task_uuid, name, **who), partial(getattr(task, verb), name)
            case "cancel" | "pause" | "resume" | "retry":
                there, here = partial(getattr(engine, f"{verb}_task"), task_uuid, **who), getattr(task, verb)
            case "complete":
                template_step = task.steps[name].template.name if name in task.steps else next(iter(self.shape.steps))
                result = self.result_for(task, template_step, said, number)
                there = partial(engine.complete_step, task_uuid, name, result, **who)
                here = partial(task.complete, name, result)
            case _:
                self.dead_letter(engine, verb, task_uuid)
                return
        self.both(task_uuid, there, here, try_first=verb in ("cancel", "retry", "rerun"))

    def dead_letter(self, engine: Engine, verb: str, task_uuid: UUID) -> None:
        """Discard the task, or resolve what the dead letter is about."""
        task = self.tasks[task_uuid]
        for entry in self.run(engine.dlq_entries(status="pending")):
            if entry["task_uuid"] == str(task_uuid):
                action = "discard" if verb == "discard" else "resolve"
                there = partial(
                    engine.resolve_dlq_entry, UUID(entry["dlq_entry_uuid"]), action=action, actor="somebody"
                )
                if verb == "discard":
                    here = partial(task.close, "error")
                elif entry["step"] is None:
                    here = partial(task.close, "resolved_manually")
                else:
                    here = partial(task.resolve, entry["step"])
                self.both(task_uuid, there, here)
                return

    def both(
        self,
        task_uuid: UUID,
        there: Callable[..., Awaitable[dict[str, Any]]],
        here: Callable[[], bool],
        *,
        try_first: bool = False,
    ) -> None:
        """Do the same in both worlds: first in the model, whose answer the engine must give."""
        task = self.tasks[task_uuid]
        before = task.state
        tried = None
        if try_first:
            with contextlib.suppress(IllegalMoveError, StepNotFoundError):
                tried = self.run(_awaited(there(dry_run=True)))
            self.compare(unchanged=True)
        try:
            changed = here()
        except (Refused, NoSuchStep) as error:
            expected = IllegalMoveError if isinstance(error, Refused) else StepNotFoundError
            with pytest.raises(expected):
                self.run(_awaited(there()))
            self.compare(unchanged=True)
            return
        answer = self.run(_awaited(there()))
        answer = answer.get("change", answer)
        assert tried is None or answer == tried | {"dry_run": False}
        assert (answer["changed"], answer["from_state"], answer["to_state"]) == (changed, before, task.state)
        self.compare(unchanged=not changed)

    # -- comparison

    def ask_why(self) -> None:
        """Check that the engine knows what keeps each step from running.

        What it says is compared to the model, and so is what a claim takes: just the claimable steps.
        """
        for task_uuid, task in self.tasks.items():
            answers = self.run(self.worlds.engine.why(task_uuid))
            expected = {step.name: (step.state, task.blocker(step)) for step in task.steps.values()}
            expected |= {name: ("absent", blocker) for name, blocker in task.blockers_of_absent().items()}
            assert {answer["step"]: (answer["state"], answer["blocker"]) for answer in answers} == expected
            assert not any(task.is_done(name) for answer in answers for name in answer["waits_for"])

    def compare(self, *, unchanged: bool = False) -> None:
        """Check that the database is as the model says."""
        steps, tasks = self.run(self._look())
        assert {key: value for row in steps for key, value in [self._row(row)]} == {
            (task_uuid, step.name): self._expected(task, step)
            for task_uuid, task in self.tasks.items()
            for step in task.steps.values()
        }
        for row in tasks:
            task = self.tasks[row["task_uuid"]]
            assert (row["state"], row["paused"], row["total_steps"]) == (task.state, task.paused, len(task.steps))
            letters = set(row["dead_letters"])
            assert len(letters) == len(row["dead_letters"])
            assert letters == task.dead_letters()
            if unchanged:
                assert row["changes"] == self.changes[row["task_uuid"]]
            self.changes[row["task_uuid"]] = row["changes"]

    async def _look(self) -> tuple[list[asyncpg.Record], list[asyncpg.Record]]:
        return await self.worlds.look.fetch(_STEPS), await self.worlds.look.fetch(_TASKS)

    def _row(self, row: asyncpg.Record) -> tuple[tuple[UUID, str], dict[str, Any]]:
        inputs = json.loads(row["inputs"]) if row["inputs"] else {}
        return (row["task_uuid"], row["name"]), {
            "place": (row["ordinal"], row["mould"]),
            "state": row["state"],
            "attempts": row["attempts"],
            "unmet": row["unmet_dependencies"] if row["state"] == "pending" else 0,
            "result": _comparable({"": json.loads(row["result"])})[""] if row["result"] else None,
            "error": row["error_type"] if row["state"] in ("error", "waiting_for_retry") else None,
            "cursor": row["cursor"],
            "inputs": inputs.get("cursor"),
            "queue": (row["status"], row["worker_id"], row["lease_id"]),
        }

    def _expected(self, task: ModelTask, step: ModelStep) -> dict[str, Any]:
        unmet = 1 if step.is_worker else len(task.waits_for(step))
        lease = (self.worlds.worker_ids[step.lease.holder], step.lease.lease_id) if step.lease else (None, None)
        status = {"enqueued": "ready", "waiting_for_retry": "delayed", "in_progress": "leased"}.get(step.state)
        if task.paused and status in ("ready", "delayed"):
            status = "held"
        return {
            "place": (step.ordinal, step.template.name),
            "state": step.state,
            "attempts": step.attempts,
            "unmet": unmet if step.state == "pending" else 0,
            "result": step.result,
            "error": step.error_type if step.state in ("error", "waiting_for_retry") else None,
            "cursor": step.cursor,
            "inputs": (step.inputs or {}).get("cursor"),
            "queue": (status, *lease),
        }


def _fitting(task: ModelTask) -> list[tuple[str, list[str]]]:
    """Return the verbs that fit a task's state, except those that end it, each with the steps that it fits."""

    def steps(*states: str) -> list[str]:
        return [step.name for step in task.steps.values() if step.state in states]

    failed = steps("error")
    unfinished = steps("pending", "enqueued", "in_progress", "waiting_for_retry", "error")
    over = [("rerun", steps(*DONE, "error", "cancelled"))]
    open_ = [("reset", failed), ("complete", unfinished), ("complete", failed), ("resolve", unfinished)]
    match task.state:
        case "cancelled" | "resolved_manually":
            return []
        case "complete":
            return over
        case "error" | "blocked_by_failures":
            return [*open_, *over, ("retry", [""])]
    if task.paused:
        return [*open_, ("resume", [""]), ("resume", [""]), ("resume", [""])]
    return [*open_, ("pause", [""]), ("retry", failed[:1])]


async def _awaited(awaitable: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    return await awaitable


def _said(report: StepReport) -> Said:
    if report.error is not None:
        kind = "retryable" if report.error["retryable"] else "permanent"
        return Said(kind, error_type=report.error["error_type"])
    kind = "yield" if report.metadata else "success"
    return Said(kind, json.loads(report.result or "null"))


def _comparable(results: dict[str, Any]) -> dict[str, Any]:
    """Return results without the errors of forgiven failures."""
    return {
        name: {key: value for key, value in result.items() if key != "error"} if "partial_failure" in result else result
        for name, result in results.items()
    }


def choice_of(names: list[str]) -> dict[str, Any]:
    return {"decision_point_outcome": {"type": "create_steps", "step_names": names}}


def batches_outcome(shape: Shape, name: str, number: int, *, wrong: bool) -> Any:
    """Return what an analyzer found: up to four batches of up to three items, with some mistake for ``wrong``."""
    own = [mould for mould in shape.moulds if name in shape.steps[mould].dependencies]
    others = [mould for mould in shape.moulds if mould not in own]
    bounds = [number // 5 % 4 * place for place in range(number % 5 + 1)]
    cursors = [
        {"batch_id": f"{place:03}", "start_cursor": start, "end_cursor": end, "batch_size": end - start}
        for place, (start, end) in enumerate(itertools.pairwise(bounds), start=1)
    ]
    outcome: dict[str, Any] = {
        "type": "create_batches",
        "worker_count": len(cursors),
        "cursor_configs": cursors,
        "worker_template_name": own[number // 20 % len(own)],
    }
    if number % 7 == 0:
        del outcome["worker_template_name"]
    if not wrong:
        return outcome if cursors else {"type": "no_batches"}
    one = {"batch_id": "001", "start_cursor": 0, "end_cursor": 2}
    match number % 6:
        case 0:
            return None
        case 1:
            return outcome | {"cursor_configs": [], "worker_count": 0}
        case 2:
            return outcome | {"cursor_configs": [one, one | {"start_cursor": 2}], "worker_count": 2}
        case 3:
            return outcome | {"cursor_configs": [one, one | {"batch_id": "002", "start_cursor": 1}], "worker_count": 2}
        case 4 if others:
            return outcome | {"cursor_configs": [one], "worker_count": 1, "worker_template_name": others[0]}
        case _:
            return outcome | {"worker_count": len(cursors) + 1}


# -- the tests
