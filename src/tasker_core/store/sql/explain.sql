-- name: task_standing
-- How a task stands, who changed its state last, and the clock that all times are of.
SELECT clock_timestamp() AS now, task.template_id, task.state::text, task.completed_at,
       change.actor AS changed_by, change.reason AS change_reason,
       task.paused_at, task.paused_by, task.pause_reason
FROM tasker.tasks AS task
LEFT JOIN LATERAL (
    SELECT actor, reason FROM tasker.task_transitions AS change
    WHERE change.task_uuid = task.task_uuid ORDER BY sequence DESC LIMIT 1
) AS change ON true
WHERE task.task_uuid = $1

-- name: step_standings
-- How the steps of a task stand, with their rows in the queue and who could run them. A worker is live if it did not
-- stop and was seen within the last $2 seconds.
WITH handler AS MATERIALIZED (
    SELECT mine.callable, max(last_seen_at) AS seen_at,
           bool_or(stopped_at IS NULL AND last_seen_at > clock_timestamp() - make_interval(secs => $2)) AS is_live
    FROM tasker.workers CROSS JOIN LATERAL unnest(callables) AS mine (callable)
    WHERE mine.callable IN (SELECT callable FROM tasker.step_queue WHERE task_uuid = $1)
    GROUP BY mine.callable
)
SELECT step.ordinal, step.template_ordinal, step.name, step.state::text, step.finished_at,
       step.error ->> 'error_type' AS error_type, left(step.error ->> 'message', 500) AS error_message,
       queue.status::text, queue.enqueued_at, queue.wake_at, queue.leased_at, holder.name AS worker,
       queue.rescued_from IS NOT NULL AS rescued, coalesce(handler.is_live, false) AS has_live_worker,
       handler.seen_at AS worker_seen_at
FROM tasker.steps AS step
LEFT JOIN tasker.step_queue AS queue USING (task_uuid, ordinal)
LEFT JOIN handler USING (callable)
LEFT JOIN tasker.workers AS holder ON holder.worker_id = coalesce(queue.rescued_from, queue.worker_id)
WHERE step.task_uuid = $1
ORDER BY step.ordinal
