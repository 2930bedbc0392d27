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

-- name: task
-- One task for display.
SELECT task.task_uuid, template.namespace, template.name, template.version, template.environment,
       template.digest AS template_digest, task.state::text, task.priority, task.correlation_id,
       task.parent_correlation_id, task.total_steps,
       (SELECT count(*) FROM tasker.steps AS step
        WHERE step.task_uuid = task.task_uuid AND step.state IN ('complete', 'resolved_manually')) AS completed_steps,
       task.active_steps, task.retrying_steps, task.failed_steps,
       task.context, task.initiator, task.source_system, task.reason, task.tags,
       task.created_at, coalesce(task.requested_at, task.created_at) AS requested_at, task.started_at,
       task.completed_at, task.paused_at, task.paused_by, task.pause_reason,
       encode(task.identity_hash, 'hex') AS identity_hash
FROM tasker.tasks AS task
JOIN tasker.templates AS template USING (template_id)
WHERE task.task_uuid = $1

-- name: list_tasks
-- Tasks, newest first, with optional filters on namespace, name and state; $4 is the last task of the page before.
SELECT task.task_uuid, template.namespace, template.name, template.version, task.state::text, task.priority,
       task.total_steps,
       (SELECT count(*) FROM tasker.steps AS step
        WHERE step.task_uuid = task.task_uuid AND step.state IN ('complete', 'resolved_manually')) AS completed_steps,
       task.created_at, task.started_at, task.completed_at, task.paused_at
FROM tasker.tasks AS task
JOIN tasker.templates AS template USING (template_id)
WHERE ($1::text IS NULL OR template.namespace = $1)
  AND ($2::text IS NULL OR template.name = $2)
  AND ($3::text IS NULL OR task.state::text = $3)
  AND ($4::uuid IS NULL OR task.task_uuid < $4)
ORDER BY task.task_uuid DESC
LIMIT $5

-- name: task_history
-- The state changes of a task itself, oldest first.
SELECT change.from_state::text, change.to_state::text, change.occurred_at, worker.name AS worker,
       change.verb, change.actor, change.reason
FROM tasker.task_transitions AS change
LEFT JOIN tasker.workers AS worker USING (worker_id)
WHERE change.task_uuid = $1
ORDER BY change.sequence
