-- name: claim_steps
-- Leases ready steps; see the function.
SELECT task_uuid, ordinal, lease_id, attempt, template_id, detailed FROM tasker.claim_steps($1, $2, $3, $4, $5)

-- name: record_attempts
-- Records the ends of attempts; see the function.
SELECT kind, task_uuid, ordinal, lease_id, attempt, template_id, detailed, detail
FROM tasker.record_attempts($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)

-- name: save_checkpoints
-- Keeps the checkpoints of steps that go on; see the function.
SELECT kind, task_uuid, ordinal, lease_id, attempt, template_id, detailed, detail
FROM tasker.save_checkpoints($1, $2, $3, $4, $5, $6, $7)

-- name: step_details
-- What leased steps have that their template does not say.
SELECT step.task_uuid, step.ordinal, step.template_ordinal, step.name, step.inputs, step.checkpoint, task.reruns
FROM unnest($1::uuid[], $2::integer[]) AS wanted (task_uuid, ordinal)
JOIN tasker.steps AS step USING (task_uuid, ordinal)
JOIN tasker.tasks AS task USING (task_uuid)

-- name: batch_results
-- The results of all batch workers made from these moulds, as pairs of arrays (task, mould), in order.
SELECT step.task_uuid, wanted.mould, step.ordinal, step.name, step.result, step.metadata
FROM unnest($1::uuid[], $2::integer[]) AS wanted (task_uuid, mould)
JOIN tasker.batches AS batch USING (task_uuid, mould)
JOIN tasker.steps AS step
  ON step.task_uuid = batch.task_uuid
 AND step.ordinal BETWEEN batch.first_ordinal AND batch.first_ordinal + batch.worker_count - 1
WHERE step.state IN ('complete', 'resolved_manually')
ORDER BY step.task_uuid, step.ordinal

-- name: task_structures
-- Which steps of the template these tasks have, what their decisions decided, and which moulds were used.
SELECT task.task_uuid, task.revision,
       ARRAY(
           SELECT step.ordinal FROM tasker.steps AS step
           WHERE step.task_uuid = task.task_uuid AND step.ordinal = step.template_ordinal
       ) AS existing,
       (
           SELECT json_object_agg(step.ordinal, step.result)
           FROM tasker.steps AS step
           WHERE step.task_uuid = task.task_uuid AND step.ordinal = ANY ($2::integer[])
             AND step.state IN ('complete', 'resolved_manually')
       ) AS decided,
       ARRAY(SELECT batch.mould FROM tasker.batches AS batch WHERE batch.task_uuid = task.task_uuid) AS moulds
FROM tasker.tasks AS task WHERE task.task_uuid = ANY ($1::uuid[])

-- name: step_results
-- The results of some steps of some tasks, as pairs of arrays (task, ordinal), as far as the steps are satisfied.
SELECT step.task_uuid, step.ordinal, step.name, step.result, step.metadata
FROM unnest($1::uuid[], $2::integer[]) AS wanted (task_uuid, ordinal)
JOIN tasker.steps AS step USING (task_uuid, ordinal)
WHERE step.state IN ('complete', 'resolved_manually')

-- name: steps_of_task
-- All steps of a task for display, in template order, with what the queue and the history know about them; $2 names
-- one of them.
SELECT step.ordinal, step.name, step.state::text AS current_state, step.attempts, mould.max_attempts, mould.callable,
       step.unmet_dependencies, step.template_ordinal, mould.name AS template_step, step.inputs, step.checkpoint,
       ARRAY(
           SELECT parent.name FROM tasker.template_steps AS parent
           WHERE parent.template_id = task.template_id AND parent.ordinal = ANY (mould.dependencies)
           ORDER BY parent.ordinal
       ) AS dependencies,
       step.result, step.metadata, step.error, step.next_retry_at, step.finished_at AS completed_at,
       task.created_at, greatest(task.created_at, change.occurred_at, queue.leased_at) AS updated_at,
       change.failed_at AS last_failure_at, greatest(change.leased_at, queue.leased_at) AS last_attempted_at,
       queue.leased_at, queue.wake_at AS lease_expires_at, worker.name AS worker
FROM tasker.steps AS step
JOIN tasker.tasks AS task USING (task_uuid)
JOIN tasker.template_steps AS mould
  ON mould.template_id = task.template_id AND mould.ordinal = step.template_ordinal
LEFT JOIN (
    SELECT ordinal, max(occurred_at) AS occurred_at, max(leased_at) AS leased_at,
           max(occurred_at) FILTER (WHERE error IS NOT NULL) AS failed_at
    FROM tasker.step_transitions
    WHERE task_uuid = $1 AND ($2::integer IS NULL OR ordinal = $2) GROUP BY ordinal
) AS change ON change.ordinal = step.ordinal
LEFT JOIN tasker.step_queue AS queue
  ON queue.task_uuid = step.task_uuid AND queue.ordinal = step.ordinal AND queue.status = 'leased'
LEFT JOIN tasker.workers AS worker USING (worker_id)
WHERE step.task_uuid = $1 AND ($2::integer IS NULL OR step.ordinal = $2)
ORDER BY step.ordinal

-- name: step_states
-- The states of a task's steps, narrow enough to poll.
SELECT step.name, mould.name AS template_step, step.state::text, step.attempts, step.error ->> 'message' AS error
FROM tasker.steps AS step
JOIN tasker.tasks AS task USING (task_uuid)
JOIN tasker.template_steps AS mould
  ON mould.template_id = task.template_id AND mould.ordinal = step.template_ordinal
WHERE step.task_uuid = $1 ORDER BY step.ordinal

-- name: step_history
-- The ended attempts of a task's steps and the one that is under way, oldest first.
SELECT coalesce(step.name, change.name, mould.name) AS name, change.attempt, change.from_state::text, change.to_state::text, change.enqueued_at,
       change.leased_at, change.occurred_at, worker.name AS worker, change.execution_time_ms,
       change.verb, change.actor, change.reason, change.error
FROM (
    SELECT ordinal, attempt, from_state, to_state, enqueued_at, leased_at, occurred_at, worker_id, execution_time_ms,
           verb, actor, reason, error, name, sequence
    FROM tasker.step_transitions WHERE task_uuid = $1
    UNION ALL
    SELECT ordinal, attempt, 'enqueued', 'in_progress', enqueued_at, leased_at, NULL,
           coalesce(rescued_from, worker_id), NULL, NULL, NULL, NULL,
           NULL, NULL, NULL
    FROM tasker.step_queue WHERE task_uuid = $1 AND status = 'leased'
    UNION ALL
    SELECT ordinal, attempt, 'pending', 'enqueued', enqueued_at, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
           NULL, NULL, NULL
    FROM tasker.step_queue WHERE task_uuid = $1 AND (status = 'ready' OR (status = 'held' AND wake_at IS NULL))
) AS change
JOIN tasker.tasks AS task ON task.task_uuid = $1
LEFT JOIN tasker.steps AS step ON step.task_uuid = $1 AND step.ordinal = change.ordinal
LEFT JOIN tasker.template_steps AS mould
  ON mould.template_id = task.template_id AND mould.ordinal = change.ordinal
LEFT JOIN tasker.workers AS worker USING (worker_id)
ORDER BY change.sequence NULLS LAST, change.ordinal
