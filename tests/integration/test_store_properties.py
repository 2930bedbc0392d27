"""The functions of the database against a small model of the graph, under random graphs and random histories."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.integration.support import check_invariants

from tasker_core import identifiers
from tasker_core.engine import planner
from tasker_core.orchestration.plans import Plans
from tasker_core.states import StepState
from tasker_core.step_source import LeaseKey
from tasker_core.store import AttemptEnd, Database, GrantedLease, NewTask, Store
from tasker_core.template import Backoff, HandlerReference, RetryPolicy, StepTemplate, TaskTemplate

#: What each worker has handlers for.
WORKERS = {"both": ["a", "b"], "twin": ["a", "b"], "half": ["b"]}
HOUR = 3600.0
TABLES = (
    "tasks",
    "steps",
    "step_queue",
    "step_transitions",
    "task_transitions",
    "workers",
    "backlogs",
    "dead_letters",
)


@dataclass
class ModelStep:
    """A step as it ought to be."""

    callable: str
    dependencies: list[int]
    max_attempts: int
    state: str = "pending"
    attempts: int = 0
    holder: str | None = None
    lease_id: int | None = None
    #: The worker whose lease expired, while a rescuer holds it.
    lost_by: str | None = None
    expired: bool = False
    due: bool = True


@dataclass
class ModelTask:
    """A task as it ought to be: a graph and nothing else."""

    steps: list[ModelStep]
    started: bool = False

    def free(self) -> list[int]:
        """Move the steps whose dependencies are all complete on; return them."""
        freed = [
            ordinal
            for ordinal, step in enumerate(self.steps)
            if step.state == "pending" and all(self.steps[before].state == "complete" for before in step.dependencies)
        ]
        for ordinal in freed:
            self.steps[ordinal].state = "enqueued"
        return freed

    @property
    def state(self) -> str:
        states = {step.state for step in self.steps}
        if states & {"enqueued", "in_progress"}:
            return "steps_in_process" if self.started else "pending"
        if "waiting_for_retry" in states:
            return "waiting_for_retry"
        return "blocked_by_failures" if "error" in states else "complete"


@dataclass
class Model:
    """All tasks as they ought to be, and every lease there ever was."""

    tasks: dict[UUID, ModelTask] = field(default_factory=dict)
    leases: list[LeaseKey] = field(default_factory=list)

    def step(self, lease: LeaseKey) -> ModelStep:
        return self.tasks[lease.task_uuid].steps[lease.ordinal]

    def holds(self, worker: str, lease: LeaseKey) -> bool:
        step = self.step(lease)
        return (step.state, step.holder, step.lease_id) == ("in_progress", worker, lease.lease_id)

    def lease(self, worker: str, grant: GrantedLease, *, expired: bool) -> None:
        step = self.step(grant.key)
        assert grant.attempt == step.attempts + 1 <= max(1, step.max_attempts)
        assert grant.key.lease_id not in {lease.lease_id for lease in self.leases}
        step.state, step.attempts, step.holder, step.expired = "in_progress", grant.attempt, worker, expired
        step.lease_id = grant.key.lease_id
        self.tasks[grant.key.task_uuid].started = True
        self.leases.append(grant.key)

    def claimable(self, worker: str) -> int:
        return sum(
            step.callable in WORKERS[worker]
            and (step.state == "enqueued" or (step.state == "waiting_for_retry" and step.due))
            for task in self.tasks.values()
            for step in task.steps
        )


@st.composite
def templates(draw: st.DrawFn) -> TaskTemplate:
    """A random graph; steps may come in any order in the template."""
    size = draw(st.integers(1, 7))
    places = draw(st.permutations(range(size)))
    dependencies: list[list[int]] = [[] for _ in range(size)]
    for position, place in enumerate(places):
        if position:
            dependencies[place] = draw(st.lists(st.sampled_from(places[:position]), max_size=3, unique=True))
    steps = tuple(
        StepTemplate(
            name=f"s{ordinal}",
            handler=HandlerReference(callable=draw(st.sampled_from("ab"))),
            dependencies=tuple(f"s{before}" for before in all_before),
            retry=RetryPolicy(max_attempts=draw(st.integers(0, 3)), backoff=Backoff.NONE),
        )
        for ordinal, all_before in enumerate(dependencies)
    )
    return TaskTemplate(name="t", namespace_name="test", version="1.0.0", steps=steps)


class StoreMachine(RuleBasedStateMachine):
    """Random calls of the store, each checked against the model."""

    def __init__(self, run: Callable[[Coroutine[Any, Any, Any]], Any], store: Store) -> None:
        super().__init__()
        self.run = run
        self.store = store
        self.model = Model()
        self.worker_ids: dict[str, int] = {}

    @initialize(template=templates(), count=st.integers(1, 3))
    def begin(self, template: TaskTemplate, count: int) -> None:
        for name, callables in (*WORKERS.items(), ("rescuer", [])):
            self.worker_ids[name] = self.run(self.store.register_worker(name, "host", 1, callables))
        self._create(template, count)

    @rule(template=templates(), count=st.integers(1, 2))
    def create(self, template: TaskTemplate, count: int) -> None:
        self._create(template, count)

    @rule(worker=st.sampled_from(list(WORKERS)), limit=st.integers(1, 6), expired=st.booleans())
    def claim(self, worker: str, limit: int, expired: bool) -> None:
        claimable = self.model.claimable(worker)
        grants = self.run(
            self.store.claim_steps(self.worker_ids[worker], WORKERS[worker], limit, -1.0 if expired else HOUR)
        )
        keys = [grant.key for grant in grants]
        assert len(keys) == len(set(keys)) == min(limit, claimable)
        for grant in grants:
            step = self.model.step(grant.key)
            assert step.callable in WORKERS[worker]
            assert step.state == "enqueued" or (step.state == "waiting_for_retry" and step.due)
            self.model.lease(worker, grant, expired=expired)

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data(), worker=st.sampled_from(list(WORKERS)), want=st.integers(0, 5))
    def record(self, data: st.DataObject, worker: str, want: int) -> None:
        """Report any leases there ever were, held or lost, one's own or another's."""
        chosen = data.draw(
            st.lists(st.sampled_from(self.model.leases), min_size=1, max_size=5, unique=True), label="leases"
        )
        ends = [self._end(data, lease) for lease in chosen]
        accepted = [end for end in ends if self.model.holds(worker, end.lease)]
        answer = self.run(
            self.store.record_attempts(
                self.worker_ids[worker], ends, callables=WORKERS[worker], want=want, lease_seconds=HOUR
            )
        )
        assert answer.refused == {end.lease for end in ends} - {end.lease for end in accepted}

        for end in accepted:
            step = self.model.step(end.lease)
            step.state, step.holder = str(end.state), None
            step.due = end.delay == 0
        touched = {end.lease.task_uuid for end in accepted}
        freed = {(task, ordinal) for task in touched for ordinal in self.model.tasks[task].free()}
        leased = [grant.key for grant in answer.leased]
        assert {(key.task_uuid, key.ordinal) for key in leased} <= freed
        assert len(leased) <= want
        assert all(self.model.step(key).callable in WORKERS[worker] for key in leased)
        assert answer.queued == len(freed) - len(leased)
        for grant in answer.leased:
            self.model.lease(worker, grant, expired=False)
        assert dict(answer.rested) == {
            task: self.model.tasks[task].state for task in touched if self.model.tasks[task].state != "steps_in_process"
        }

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data(), worker=st.sampled_from(list(WORKERS)))
    def release(self, data: st.DataObject, worker: str) -> None:
        chosen = data.draw(st.lists(st.sampled_from(self.model.leases), min_size=1, max_size=4, unique=True))
        self.run(self.store.release_leases(self.worker_ids[worker], chosen))
        for lease in chosen:
            if self.model.holds(worker, lease):
                step = self.model.step(lease)
                step.state, step.attempts, step.holder = "enqueued", step.attempts - 1, None

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data(), worker=st.sampled_from(list(WORKERS)))
    def renew(self, data: st.DataObject, worker: str) -> None:
        chosen = data.draw(st.lists(st.sampled_from(self.model.leases), min_size=1, max_size=4, unique=True))
        held = {lease for lease in chosen if self.model.holds(worker, lease)}
        assert self.run(self.store.renew_leases(self.worker_ids[worker], chosen, HOUR)) == held
        for lease in held:
            self.model.step(lease).expired = False

    @rule(limit=st.integers(1, 5), dies=st.booleans())
    def rescue(self, limit: int, dies: bool) -> None:
        """Take expired leases and, unless the rescuer dies over it, record them as failed attempts."""
        rescuer = self.worker_ids["rescuer"]
        expired = {
            LeaseKey(task_uuid, ordinal, step.lease_id): step.lost_by or step.holder
            for task_uuid, task in self.model.tasks.items()
            for ordinal, step in enumerate(task.steps)
            if step.state == "in_progress" and step.expired
        }
        taken = self.run(self.store.take_expired_leases(rescuer, limit, -1.0 if dies else HOUR))
        assert len(taken) == min(limit, len(expired))
        assert {lease.grant.key: lease.holder for lease in taken}.items() <= expired.items()
        for lease in taken:
            step = self.model.step(lease.grant.key)
            step.lost_by, step.holder, step.expired = step.lost_by or step.holder, "rescuer", dies
        if dies:
            return
        ends = [self._failed(lease.grant.key) for lease in taken]
        answer = self.run(self.store.record_attempts(rescuer, ends))
        assert not answer.refused
        for end in ends:
            step = self.model.step(end.lease)
            step.state, step.holder, step.lost_by, step.due = str(end.state), None, None, True

    @invariant()
    def the_database_is_as_the_model_says(self) -> None:
        rows = self.run(
            self.store.database.fetch(
                "SELECT task_uuid, ordinal, step.state::text, attempts, unmet_dependencies, task.state::text AS task "
                "FROM tasker.steps AS step JOIN tasker.tasks AS task USING (task_uuid)"
            )
        )
        assert {tuple(row) for row in rows} == {
            (
                task_uuid,
                ordinal,
                step.state,
                step.attempts,
                sum(task.steps[before].state != "complete" for before in step.dependencies),
                task.state,
            )
            for task_uuid, task in self.model.tasks.items()
            for ordinal, step in enumerate(task.steps)
        }

    def teardown(self) -> None:
        try:
            self.run(check_invariants(self.store.database.url))
        finally:
            # Each example starts from nothing. Deleting a few rows is far cheaper than truncating.
            for table in TABLES:
                self.run(self.store.database.fetch(f"DELETE FROM tasker.{table}"))

    def _create(self, template: TaskTemplate, count: int) -> None:
        plan = planner.plan_task(template)
        template_id = self.run(Plans(self.store).save(plan))
        uuids = [identifiers.new_task_uuid() for _ in range(count)]
        tasks = [NewTask(uuid, "{}", uuid) for uuid in uuids]
        assert self.run(self.store.create_tasks(template_id, "test", tasks, refuse_duplicates=True)) == {}
        for uuid in uuids:
            task = self.model.tasks[uuid] = ModelTask(
                [
                    ModelStep(step.step.handler.callable, list(step.dependencies), step.step.retry.max_attempts)
                    for step in plan.steps
                ]
            )
            task.free()

    def _end(self, data: st.DataObject, lease: LeaseKey) -> AttemptEnd:
        outcome = data.draw(st.sampled_from(["complete", "complete", "retry now", "retry later", "error"]))
        if outcome == "complete":
            return AttemptEnd(lease, StepState.COMPLETE, result='{"n":1}', execution_time_ms=1)
        if outcome == "error":
            return AttemptEnd(lease, StepState.ERROR, error="{}")
        return self._failed(lease, 0.0 if outcome == "retry now" else HOUR)

    def _failed(self, lease: LeaseKey, delay: float = 0.0) -> AttemptEnd:
        step = self.model.step(lease)
        if step.attempts >= max(1, step.max_attempts):
            return AttemptEnd(lease, StepState.ERROR, error="{}")
        return AttemptEnd(lease, StepState.WAITING_FOR_RETRY, delay=delay, error="{}")


def test_any_history_of_calls_leaves_the_database_as_the_model_says(database_url: str) -> None:
    with asyncio.Runner() as runner:
        database = runner.run(Database(database_url, max_connections=1).open())
        try:
            run_state_machine_as_test(
                lambda: StoreMachine(runner.run, Store(database)),
                settings=settings(
                    max_examples=40,
                    stateful_step_count=25,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(database.close())
