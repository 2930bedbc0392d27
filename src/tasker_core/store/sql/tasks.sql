-- name: create_tasks
-- Creates tasks of one template with their initial steps; returns those whose twin exists already.
SELECT task_uuid, twin_uuid
FROM tasker.create_tasks($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)

-- name: task_facts
-- What the steps of these tasks see of them.
SELECT task_uuid, template_id, context, correlation_id, parent_correlation_id, priority, initiator,
       source_system, reason, tags, reruns
FROM tasker.tasks WHERE task_uuid = ANY ($1::uuid[])

-- name: template_of_task
-- Which template a task is a run of.
SELECT template_id FROM tasker.tasks WHERE task_uuid = $1

-- name: task_states
-- The states of tasks.
SELECT task_uuid, state::text FROM tasker.tasks WHERE task_uuid = ANY ($1::uuid[])

-- name: tasks
-- Tasks for display, newest first; what the counters on the row do not tell is counted. Each filter may be null; $13 is
-- the last task of the page before.
SELECT task.task_uuid, template.namespace, template.name, template.version, template.environment,
       template.digest AS template_digest, task.state::text AS status, task.priority, task.correlation_id,
       task.parent_correlation_id, task.total_steps, task.active_steps, task.retrying_steps, task.failed_steps,
       counted.completed_steps, counted.pending_steps, counted.in_progress_steps, counted.ready_steps,
       task.context, task.initiator, task.source_system, task.reason, task.tags,
       task.created_at, greatest(task.created_at, task.started_at, changed.at) AS updated_at,
       coalesce(task.requested_at, task.created_at) AS requested_at, task.started_at, task.completed_at,
       task.paused_at, task.paused_by, task.pause_reason, encode(task.identity_hash, 'hex') AS identity_hash
FROM tasker.tasks AS task
JOIN tasker.templates AS template USING (template_id)
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE state IN ('complete', 'resolved_manually')) AS completed_steps,
           count(*) FILTER (WHERE state = 'pending') AS pending_steps,
           count(*) FILTER (WHERE state = 'in_progress') AS in_progress_steps,
           count(*) FILTER (WHERE state = 'waiting_for_retry' AND next_retry_at <= now()) AS ready_steps
    FROM tasker.steps AS step WHERE step.task_uuid = task.task_uuid
) AS counted
LEFT JOIN LATERAL (
    SELECT max(occurred_at) AS at FROM (
        (SELECT occurred_at FROM tasker.step_transitions AS change WHERE change.task_uuid = task.task_uuid
         ORDER BY sequence DESC LIMIT 1)
        UNION ALL
        (SELECT occurred_at FROM tasker.task_transitions AS change WHERE change.task_uuid = task.task_uuid
         ORDER BY sequence DESC LIMIT 1)
    ) AS change
) AS changed ON true
WHERE ($1::uuid IS NULL OR task.task_uuid = $1)
  AND ($2::text[] IS NULL OR template.namespace = ANY ($2))
  AND ($3::text IS NULL OR template.name = $3)
  AND ($4::text IS NULL OR template.version = $4)
  AND ($5::text[] IS NULL OR task.state::text = ANY ($5))
  AND ($6::jsonb IS NULL OR task.tags @> $6)
  AND ($7::uuid IS NULL OR task.correlation_id = $7)
  AND ($8::text IS NULL OR task.initiator = $8)
  AND ($9::text IS NULL OR task.source_system = $9)
  AND ($10::timestamptz IS NULL OR task.created_at >= $10)
  AND ($11::timestamptz IS NULL OR task.created_at < $11)
  AND ($12::jsonb IS NULL OR task.context @> $12)
  AND ($13::uuid IS NULL OR task.task_uuid < $13)
ORDER BY task.task_uuid DESC
LIMIT $14 OFFSET $15

-- name: count_tasks
-- How many tasks there are that pass the filters of `tasks`.
SELECT count(*) FROM tasker.tasks AS task
JOIN tasker.templates AS template USING (template_id)
WHERE ($1::uuid IS NULL OR task.task_uuid = $1)
  AND ($2::text[] IS NULL OR template.namespace = ANY ($2))
  AND ($3::text IS NULL OR template.name = $3)
  AND ($4::text IS NULL OR template.version = $4)
  AND ($5::text[] IS NULL OR task.state::text = ANY ($5))
  AND ($6::jsonb IS NULL OR task.tags @> $6)
  AND ($7::uuid IS NULL OR task.correlation_id = $7)
  AND ($8::text IS NULL OR task.initiator = $8)
  AND ($9::text IS NULL OR task.source_system = $9)
  AND ($10::timestamptz IS NULL OR task.created_at >= $10)
  AND ($11::timestamptz IS NULL OR task.created_at < $11)
  AND ($12::jsonb IS NULL OR task.context @> $12)

-- name: task_history
-- The state changes of a task itself, oldest first.
SELECT change.from_state::text, change.to_state::text, change.occurred_at, worker.name AS worker,
       change.verb, change.actor, change.reason
FROM tasker.task_transitions AS change
LEFT JOIN tasker.workers AS worker USING (worker_id)
WHERE change.task_uuid = $1
ORDER BY change.sequence
