-- name: created_at
-- When a task was created.
SELECT created_at FROM tasker.tasks WHERE task_uuid = $1

-- name: attempt_durations
-- How long the last ended attempt of each step of a task took, as far as that is known; $2 names one of them.
SELECT DISTINCT ON (ordinal) ordinal, execution_time_ms
FROM tasker.step_transitions
WHERE task_uuid = $1 AND ($2::integer IS NULL OR ordinal = $2) AND (from_state = 'in_progress' OR to_state = 'complete')
ORDER BY ordinal, sequence DESC

-- name: audit_of_step
-- The ended attempts of a step and what was done to it by hand, newest first. An operator who ends a step takes a lease
-- for it, which makes no worker of him. The result stands with the attempt that it comes from.
SELECT change.sequence, change.attempt, change.from_state::text, change.to_state::text, change.occurred_at,
       change.execution_time_ms, change.verb, change.actor, change.reason, change.error, task.correlation_id,
       CASE WHEN change.verb IS NULL THEN worker.worker_uuid END AS worker_uuid,
       CASE WHEN change.verb IS NULL THEN worker.name END AS worker,
       coalesce(change.name, step.name) AS step_name,
       CASE WHEN step.state = 'complete' AND change.to_state = 'complete'
                AND change.sequence = max(change.sequence) FILTER (WHERE change.to_state = 'complete') OVER ()
            THEN step.result END AS result
FROM tasker.step_transitions AS change
JOIN tasker.tasks AS task USING (task_uuid)
JOIN tasker.steps AS step USING (task_uuid, ordinal)
LEFT JOIN tasker.workers AS worker USING (worker_id)
WHERE change.task_uuid = $1 AND change.ordinal = $2 AND (change.from_state = 'in_progress' OR change.verb IS NOT NULL)
ORDER BY change.sequence DESC

-- name: dead_letter_of_task
-- What was last noted that a task needs a person for; an entry that is open comes first.
SELECT entry.reason::text AS dlq_reason, entry.status::text AS resolution_status
FROM tasker.tasks AS task
JOIN tasker.dead_letters AS entry USING (task_uuid)
WHERE task.task_uuid = $1 AND entry.created_at >= task.created_at
ORDER BY entry.status = 'pending' DESC, entry.created_at DESC LIMIT 1
