-- What people and policies do to a task. Each verb is one transaction: freeze the task, read it, decide, change it.

-- name: freeze_task
-- Locks a task against records and claims that would move it; returns how it stands.
SELECT state::text, closed_as::text, paused_at
FROM tasker.tasks WHERE task_uuid = $1 FOR NO KEY UPDATE

-- name: freeze_queue
-- Locks the rows of a frozen task in the queue, so that nothing of it is claimed.
SELECT ordinal, status::text, wake_at FROM tasker.step_queue WHERE task_uuid = $1 ORDER BY ordinal FOR UPDATE

-- name: frozen_steps
-- All steps of a frozen task.
SELECT ordinal, template_ordinal, name, state::text FROM tasker.steps WHERE task_uuid = $1 ORDER BY ordinal

-- name: frozen_batches
-- The batches of a frozen task.
SELECT mould, first_ordinal, worker_count, free_slots FROM tasker.batches WHERE task_uuid = $1

-- name: change_steps
-- Moves steps to other states; see the function.
SELECT tasker.change_steps($1, $2, $3, $4, $5, $6, $7, $8)

-- name: remove_steps
-- Removes steps that a decision or batchable step that runs again called into being; history keeps their names.
WITH removed AS (
    DELETE FROM tasker.steps AS step WHERE step.task_uuid = $1 AND step.ordinal = ANY ($2::integer[])
    RETURNING step.ordinal, step.name, step.state, step.attempts
), named AS (
    UPDATE tasker.step_transitions AS change SET name = removed.name FROM removed
    WHERE change.task_uuid = $1 AND change.ordinal = removed.ordinal
), history AS (
    INSERT INTO tasker.step_transitions (
        task_uuid, ordinal, attempt, from_state, to_state, occurred_at, name, verb, actor, reason
    )
    SELECT $1, ordinal, attempts, state, 'cancelled', clock_timestamp(), name, $4, $5, $6 FROM removed
), queue AS (
    DELETE FROM tasker.step_queue WHERE task_uuid = $1 AND ordinal = ANY ($2::integer[])
)
DELETE FROM tasker.batches WHERE task_uuid = $1 AND mould = ANY ($3::integer[])

-- name: reopen_batch
-- Takes workers of a batch that start afresh into account: $3 of them had been done, $4 take up a slot now, and the
-- search for the next to be released starts at $5 at the latest.
UPDATE tasker.batches
SET open_workers = open_workers + $3, free_slots = free_slots - $4, next_ordinal = least(next_ordinal, $5)
WHERE task_uuid = $1 AND mould = $2

-- name: close_task
-- Ends a task in a state that its steps do not imply ($2), or opens it again (null).
UPDATE tasker.tasks
SET closed_as = $2::text::tasker.task_state,
    completed_at = CASE WHEN $2::text IS NOT NULL THEN clock_timestamp() END,
    paused_at = NULL, paused_by = NULL, pause_reason = NULL
WHERE task_uuid = $1

-- name: count_rerun
-- Makes results that were cached before a re-run count as out of date.
UPDATE tasker.tasks SET reruns = reruns + 1, revision = revision + 1 WHERE task_uuid = $1

-- name: pause_task
-- Keeps a task's steps from being claimed.
WITH held AS (
    UPDATE tasker.step_queue SET status = 'held' WHERE task_uuid = $1 AND status IN ('ready', 'delayed')
)
UPDATE tasker.tasks SET paused_at = clock_timestamp(), paused_by = $2, pause_reason = $3 WHERE task_uuid = $1

-- name: resume_task
-- Lets a task's steps be claimed again.
WITH released AS (
    UPDATE tasker.step_queue
    SET status = CASE WHEN wake_at IS NULL THEN 'ready' ELSE 'delayed' END::tasker.queue_status
    WHERE task_uuid = $1 AND status = 'held'
)
UPDATE tasker.tasks SET paused_at = NULL, paused_by = NULL, pause_reason = NULL WHERE task_uuid = $1

-- name: add_task_transition
-- Notes in history what was done to a task as a whole.
INSERT INTO tasker.task_transitions (task_uuid, from_state, to_state, occurred_at, verb, actor, reason)
SELECT task_uuid, $2::text::tasker.task_state, state, clock_timestamp(), $3, $4, $5
FROM tasker.tasks WHERE task_uuid = $1
RETURNING to_state::text

-- name: take_step
-- Leases a step to an operator, whatever state it is in, so that its end can be recorded like any other. No attempt
-- is counted.
WITH queue AS (
    INSERT INTO tasker.step_queue AS queue (
        task_uuid, ordinal, template_id, priority, attempt, status, claim_order, enqueued_at, callable,
        wake_at, leased_at, worker_id, lease_id
    )
    SELECT task.task_uuid, step.ordinal, task.template_id, task.priority, step.attempts, 'leased', clock_timestamp(),
           clock_timestamp(), mould.callable, clock_timestamp() + interval '1 minute', clock_timestamp(), $3,
           nextval('tasker.lease_ids')
    FROM tasker.steps AS step
    JOIN tasker.tasks AS task USING (task_uuid)
    JOIN tasker.template_steps AS mould
      ON mould.template_id = task.template_id AND mould.ordinal = step.template_ordinal
    WHERE step.task_uuid = $1 AND step.ordinal = $2
    ON CONFLICT (task_uuid, ordinal) DO UPDATE
    SET status = 'leased', worker_id = excluded.worker_id, lease_id = excluded.lease_id, wake_at = excluded.wake_at,
        leased_at = excluded.leased_at, enqueued_at = excluded.enqueued_at, rescued_from = NULL
    RETURNING queue.lease_id
), step AS (
    UPDATE tasker.steps SET state = 'in_progress', next_retry_at = NULL, unmet_dependencies = 0
    WHERE task_uuid = $1 AND ordinal = $2
), task AS (
    UPDATE tasker.tasks SET started_at = coalesce(started_at, clock_timestamp()) WHERE task_uuid = $1
)
SELECT lease_id FROM queue

-- name: recount_steps
-- Sets the counters of a frozen task to what its steps say.
SELECT tasker.recount_steps($1)

-- name: record_operation
-- Records the end that an operator gives a step; see the function.
SELECT kind, task_uuid, ordinal, lease_id, attempt, template_id, detailed, detail
FROM tasker.record_attempts(
    $1, ARRAY[$2::uuid], ARRAY[$3::integer], ARRAY[$4::bigint], ARRAY[$5::text], ARRAY[$6::text], ARRAY[$7::text],
    '{}', '{}', '{}', '{}', 0, 0, $8, $9, $10, $11, $12, $13::text::tasker.step_state
)
