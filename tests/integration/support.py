"""Templates as graphs, looks into the database, and the recount that every integration test ends with."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from tasker_core.engine import planner
from tasker_core.orchestration import Engine
from tasker_core.orchestration.plans import Plans
from tasker_core.states import TaskState
from tasker_core.template import Backoff, HandlerReference, IdentityStrategy, RetryPolicy, StepTemplate, TaskTemplate

#: Three attempts, one right after the other.
AT_ONCE = RetryPolicy(max_attempts=3, backoff=Backoff.NONE)


def graph(
    dependencies: Mapping[str, Sequence[str]],
    *,
    callables: Mapping[str, str] | None = None,
    initialization: Mapping[str, Any] | None = None,
    step: Mapping[str, Any] | None = None,
    **fields: Any,
) -> TaskTemplate:
    """A template from each step's dependencies.

    Args:
        dependencies: steps by name with what they wait for.
        callables: handlers by step name; ``work`` for steps that are not in it.
        initialization: configuration of every handler.
        step: more fields for every step; three attempts without a pause in between are the default.
        fields: more fields for the template.
    """
    steps = tuple(
        StepTemplate(
            name=name,
            handler=HandlerReference(
                callable=(callables or {}).get(name, "work"), initialization=dict(initialization or {})
            ),
            dependencies=tuple(before),
            **{"retry": AT_ONCE, **(step or {})},
        )
        for name, before in dependencies.items()
    )
    identity = {"name": "graph", "namespace_name": "test", "version": "1.0.0"}
    unique = {"identity_strategy": IdentityStrategy.ALWAYS_UNIQUE}
    return TaskTemplate(**{**identity, **unique, "steps": steps, **fields})


def chain(length: int, **options: Any) -> TaskTemplate:
    """Steps ``s0``, ``s1``, … one after the other."""
    return graph({f"s{n}": [f"s{n - 1}"] if n else [] for n in range(length)}, **options)


async def template_id_of(engine: Engine, template: TaskTemplate) -> int:
    """Store a template as creating a task does, for tests that speak to the store directly."""
    return await Plans(engine.store).save(planner.plan_task(template))


async def steps_by_name(engine: Engine, task: UUID) -> dict[str, dict[str, Any]]:
    """All steps of a task."""
    return {step["name"]: step for step in await engine.steps(task)}


async def states(engine: Engine, task: UUID) -> dict[str, str]:
    """The state of each step of a task."""
    return {step["name"]: step["current_state"] for step in await engine.steps(task)}


async def results(engine: Engine, task: UUID) -> dict[str, Any]:
    """The result of each step of a task."""
    return {step["name"]: step["result"] for step in await engine.steps(task)}


async def changes(engine: Engine, task: UUID, step: str | None) -> list[tuple[int | None, str, str]]:
    """A step's state changes (a task's own for None) as (attempt, from, to), oldest first."""
    return [
        (change["attempt"], change["from_state"], change["to_state"])
        for change in await engine.history(task)
        if change["step"] == step
    ]


async def until_state(engine: Engine, task: UUID, state: TaskState) -> None:
    """Wait for a state in which a task does not rest, and which ``Engine.wait`` therefore passes over."""
    async with asyncio.timeout(10):
        # The change may come from any process, so there is no signal to wait for.
        while (await engine.task(task))["status"] != state:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def delays(url: str, task: UUID) -> list[float]:
    """The pauses between the attempts of a task's only step, in seconds, as the database scheduled them."""
    rows = await fetch(
        url,
        """
        SELECT extract(epoch FROM coalesce(
            lead(enqueued_at) OVER (ORDER BY attempt),
            (SELECT next_retry_at FROM tasker.steps WHERE task_uuid = $1)
        ) - occurred_at)::double precision AS pause
        FROM tasker.step_transitions WHERE task_uuid = $1 AND to_state = 'waiting_for_retry' OR attempt > 1
        ORDER BY attempt""",
        task,
    )
    return [row["pause"] for row in rows if row["pause"] is not None]


def moment(text: str) -> datetime:
    """A time of a view."""
    return datetime.fromisoformat(text)


async def fetch(url: str, statement: str, *arguments: object) -> list[asyncpg.Record]:
    """Run one statement on a connection of its own."""
    connection = await asyncpg.connect(url)
    try:
        rows: list[asyncpg.Record] = await connection.fetch(statement, *arguments)
        return rows
    finally:
        await connection.close()


async def snapshot(url: str) -> dict[str, list[str]]:
    """Everything that tasks consist of, to show that something changed nothing."""
    tables = ("tasks", "steps", "step_queue", "step_transitions", "task_transitions")
    return {
        table: [row[0] for row in await fetch(url, f"SELECT t::text FROM tasker.{table} AS t ORDER BY 1")]
        for table in tables
    }


async def check_invariants(url: str) -> None:
    """Recount what the engine counts, and check what it promises of every task at every moment.

    Each query looks for rows that break one promise; there must be none.
    """
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            broken = {
                promise: [json.loads(json.dumps(dict(row), default=str)) for row in rows[:5]]
                for promise, query in _VIOLATIONS.items()
                if (rows := await connection.fetch(query))
            }
    finally:
        await connection.close()
    assert not broken, json.dumps(broken, indent=2)


#: The history of a step since it last started afresh. A removed step's history keeps its name, another one's has none.
_SINCE_FRESH = """(
    SELECT change.* FROM tasker.step_transitions AS change
    WHERE change.task_uuid = step.task_uuid AND change.ordinal = step.ordinal AND change.name IS NULL
      AND change.sequence > ALL (
          SELECT fresh.sequence FROM tasker.step_transitions AS fresh
          WHERE fresh.task_uuid = step.task_uuid AND fresh.ordinal = step.ordinal AND fresh.name IS NULL
            AND fresh.to_state IN ('pending', 'enqueued')
      )
) AS change"""

_VIOLATIONS = {
    "the counters of a task equal a recount of its steps": """
        SELECT task_uuid, task.state, total_steps, active_steps, retrying_steps, failed_steps, recount.*
        FROM tasker.tasks AS task CROSS JOIN LATERAL (
            SELECT count(*) AS total, count(*) FILTER (WHERE state IN ('enqueued', 'in_progress')) AS active,
                   count(*) FILTER (WHERE state = 'waiting_for_retry') AS retrying,
                   count(*) FILTER (WHERE state = 'error') AS failed
            FROM tasker.steps AS step WHERE step.task_uuid = task.task_uuid
        ) AS recount
        WHERE (total_steps, active_steps, retrying_steps, failed_steps)
           <> (recount.total, recount.active, recount.retrying, recount.failed)""",
    # Which of the steps that do not exist still may is not in the database, so they are an uncertainty.
    "unmet_dependencies equals a recount of the parents": """
        SELECT step.task_uuid, step.name, step.state, step.unmet_dependencies, recount.unmet, recount.absent
        FROM tasker.steps AS step
        JOIN tasker.tasks AS task USING (task_uuid)
        JOIN tasker.template_steps AS mould
          ON mould.template_id = task.template_id AND mould.ordinal = step.template_ordinal
        CROSS JOIN LATERAL (
            SELECT count(*) FILTER (WHERE parent.state NOT IN ('complete', 'resolved_manually')
                                       OR batch.open_workers > 0) AS unmet,
                   count(*) FILTER (WHERE parent.ordinal IS NULL AND batch.mould IS NULL) AS absent
            FROM unnest(mould.dependencies) AS dependency (ordinal)
            LEFT JOIN tasker.steps AS parent
              ON parent.task_uuid = step.task_uuid AND parent.ordinal = dependency.ordinal
            LEFT JOIN tasker.batches AS batch
              ON batch.task_uuid = step.task_uuid AND batch.mould = dependency.ordinal
        ) AS recount
        WHERE CASE
            WHEN step.ordinal <> step.template_ordinal THEN
                step.state <> 'cancelled' AND step.unmet_dependencies <> (step.state = 'pending')::integer
            WHEN step.state = 'pending' THEN
                step.unmet_dependencies NOT BETWEEN greatest(1, recount.unmet) AND recount.unmet + recount.absent
            WHEN step.state IN ('complete', 'resolved_manually', 'cancelled') THEN false
            ELSE recount.unmet > 0 OR step.unmet_dependencies > 0
        END""",
    "the queue holds exactly the steps that are ready, delayed, held or leased": """
        SELECT coalesce(step.task_uuid, queue.task_uuid) AS task_uuid, step.name, step.state, step.attempts,
               queue.status, queue.attempt
        FROM (
            SELECT * FROM tasker.steps WHERE state IN ('enqueued', 'in_progress', 'waiting_for_retry')
        ) AS step
        FULL JOIN tasker.step_queue AS queue USING (task_uuid, ordinal)
        WHERE (step.state, step.attempts) IS DISTINCT FROM (
            CASE WHEN queue.status = 'leased' THEN 'in_progress'
                 -- Before the first attempt it is the start of the task that waits.
                 WHEN queue.wake_at IS NOT NULL AND queue.attempt > 0 THEN 'waiting_for_retry'
                 ELSE 'enqueued' END::tasker.step_state,
            queue.attempt
        )""",
    "a task's steps are held if and only if it is paused": """
        SELECT task_uuid, ordinal, status, paused_at FROM tasker.step_queue JOIN tasker.tasks USING (task_uuid)
        WHERE status <> 'leased' AND (status = 'held') <> (paused_at IS NOT NULL)""",
    "a delayed step is due when it says it is": """
        SELECT task_uuid, name, next_retry_at, wake_at
        FROM tasker.steps AS step JOIN tasker.step_queue USING (task_uuid, ordinal)
        WHERE state = 'waiting_for_retry' AND wake_at IS DISTINCT FROM next_retry_at""",
    "every lease has a holder": """
        SELECT task_uuid, ordinal, worker_id FROM tasker.step_queue LEFT JOIN tasker.workers AS worker USING (worker_id)
        WHERE status = 'leased' AND worker.worker_id IS NULL""",
    "the counts of a batch equal a recount of its workers": """
        SELECT batch.*, recount.*, config.parallelism
        FROM tasker.batches AS batch
        JOIN tasker.tasks AS task USING (task_uuid)
        JOIN tasker.templates AS template USING (template_id)
        CROSS JOIN LATERAL (
            SELECT (template.definition #>> ARRAY['steps', batch.mould::text, 'batch_config', 'parallelism'])::integer
                   AS parallelism
        ) AS config
        CROSS JOIN LATERAL (
            SELECT count(*) AS workers, count(*) FILTER (WHERE state = 'pending') AS waiting,
                   count(*) FILTER (WHERE state IN ('enqueued', 'in_progress', 'waiting_for_retry')) AS released,
                   count(*) FILTER (WHERE state NOT IN ('complete', 'resolved_manually')) AS open,
                   min(ordinal) AS first, min(ordinal) FILTER (WHERE state = 'pending') AS first_waiting
            FROM tasker.steps AS step
            WHERE step.task_uuid = batch.task_uuid AND step.template_ordinal = batch.mould
              AND step.ordinal BETWEEN batch.first_ordinal AND batch.first_ordinal + batch.worker_count - 1
        ) AS recount
        WHERE (worker_count, open_workers) <> (recount.workers, recount.open)
           OR recount.released > config.parallelism
           -- What cannot go on needs no slots.
           OR (closed_as IS DISTINCT FROM 'cancelled' AND closed_as IS DISTINCT FROM 'resolved_manually'
               AND (free_slots <> config.parallelism - recount.released
                    OR (free_slots > 0 AND recount.waiting > 0) OR next_ordinal > recount.first_waiting))""",
    "every batch worker belongs to a batch": """
        SELECT step.task_uuid, step.name, step.ordinal FROM tasker.steps AS step
        LEFT JOIN tasker.batches AS batch
          ON batch.task_uuid = step.task_uuid AND batch.mould = step.template_ordinal
         AND step.ordinal BETWEEN batch.first_ordinal AND batch.first_ordinal + batch.worker_count - 1
        WHERE step.ordinal <> step.template_ordinal AND batch.mould IS NULL""",
    "a step that is done was completed once since it last started afresh, any other never": f"""
        SELECT step.task_uuid, step.name, step.state, recount.completed
        FROM tasker.steps AS step CROSS JOIN LATERAL (
            SELECT count(*) AS completed FROM {_SINCE_FRESH}
            WHERE to_state IN ('complete', 'resolved_manually')
        ) AS recount
        WHERE recount.completed <> (step.state IN ('complete', 'resolved_manually'))::integer""",
    "attempts are numbered without gaps from 1 to no more than allowed": f"""
        SELECT step.task_uuid, step.name, step.state, step.attempts, mould.max_attempts, ended.attempts AS ended
        FROM tasker.steps AS step
        JOIN tasker.tasks AS task USING (task_uuid)
        JOIN tasker.template_steps AS mould
          ON mould.template_id = task.template_id AND mould.ordinal = step.template_ordinal
        CROSS JOIN LATERAL (
            SELECT coalesce(array_agg(attempt ORDER BY sequence), '{{}}') AS attempts FROM {_SINCE_FRESH}
            WHERE from_state = 'in_progress'
        ) AS ended
        WHERE ended.attempts <> ARRAY(
                SELECT generate_series(1, step.attempts - (step.state = 'in_progress')::integer))
           OR step.attempts > greatest(1, mould.max_attempts)""",
    "a task is complete if and only if all its steps are satisfied": """
        SELECT task_uuid, task.state, task.completed_at, recount.open
        FROM tasker.tasks AS task CROSS JOIN LATERAL (
            SELECT count(*) AS open FROM tasker.steps AS step
            WHERE step.task_uuid = task.task_uuid AND state NOT IN ('complete', 'resolved_manually')
        ) AS recount
        WHERE (closed_as IS NULL AND (task.state = 'complete') <> (recount.open = 0))
           OR (task.state IN ('complete', 'error', 'cancelled', 'resolved_manually'))
              <> (task.completed_at IS NOT NULL)""",
    "nothing goes on in a task that was closed": """
        SELECT task_uuid, closed_as, paused_at, step.name, step.state
        FROM tasker.tasks AS task JOIN tasker.steps AS step USING (task_uuid)
        WHERE closed_as IS NOT NULL
          AND (step.state NOT IN ('complete', 'resolved_manually', 'error', 'cancelled') OR paused_at IS NOT NULL)""",
    "a result is there if and only if the step is complete, an error only if it is not": """
        SELECT task_uuid, name, state, result, error FROM tasker.steps
        WHERE (state = 'complete') <> (result IS NOT NULL)
           OR (state IN ('complete', 'resolved_manually') AND error IS NOT NULL)
           OR (state IN ('error', 'waiting_for_retry') AND error IS NULL)
           OR (state = 'complete' AND checkpoint IS NOT NULL)""",
    "what a blocked task needs of a person is noted": """
        SELECT task_uuid, failed.*
        FROM tasker.tasks AS task CROSS JOIN LATERAL (
            SELECT DISTINCT CASE WHEN batch.mould IS NOT NULL THEN step.ordinal END AS ordinal
            FROM tasker.steps AS step LEFT JOIN tasker.batches AS batch
              ON batch.task_uuid = step.task_uuid AND batch.mould = step.template_ordinal
             AND step.ordinal <> step.template_ordinal AND batch.failure_strategy = 'isolate'
            WHERE step.task_uuid = task.task_uuid AND step.state = 'error'
        ) AS failed
        WHERE task.state = 'blocked_by_failures' AND NOT EXISTS (
            SELECT 1 FROM tasker.dead_letters AS entry
            WHERE entry.task_uuid = task.task_uuid AND entry.ordinal IS NOT DISTINCT FROM failed.ordinal
              -- A person may have closed it and left the task as it is.
              AND (entry.status = 'pending' OR entry.resolved_at >= ALL (
                  SELECT occurred_at FROM tasker.task_transitions AS change WHERE change.task_uuid = task.task_uuid))
        )""",
    "failures that are noted are there": """
        SELECT entry.task_uuid, task.state, entry.ordinal, failed.steps
        FROM tasker.dead_letters AS entry
        JOIN tasker.tasks AS task USING (task_uuid)
        CROSS JOIN LATERAL (
            SELECT count(*) AS steps
            FROM tasker.steps AS step LEFT JOIN tasker.batches AS batch
              ON batch.task_uuid = step.task_uuid AND batch.mould = step.template_ordinal
             AND step.ordinal <> step.template_ordinal AND batch.failure_strategy = 'isolate'
            WHERE step.task_uuid = entry.task_uuid AND step.state = 'error'
              AND CASE WHEN batch.mould IS NOT NULL THEN step.ordinal END IS NOT DISTINCT FROM entry.ordinal
        ) AS failed
        WHERE entry.status = 'pending' AND entry.reason = 'max_retries_exceeded'
          AND (task.closed_as IS NOT NULL OR failed.steps = 0)""",
    "a task's history is one unbroken line from pending to its state": """
        SELECT task_uuid, state, line FROM (
            SELECT task.task_uuid, task.state,
                   array_agg(change.from_state ORDER BY sequence) || task.state AS froms,
                   'pending'::tasker.task_state || array_agg(change.to_state ORDER BY sequence) AS line
            FROM tasker.tasks AS task JOIN tasker.task_transitions AS change USING (task_uuid)
            GROUP BY task.task_uuid
        ) AS history WHERE froms <> line""",
    "the times of an attempt are in order, and attempts do not overlap": """
        SELECT * FROM (
            SELECT task_uuid, ordinal, attempt, enqueued_at, leased_at, occurred_at,
                   lag(occurred_at) OVER (PARTITION BY task_uuid, ordinal ORDER BY sequence) AS previous
            FROM tasker.step_transitions
        ) AS change
        WHERE NOT (enqueued_at <= leased_at AND leased_at <= occurred_at AND previous <= leased_at IS NOT FALSE)""",
}
