-- name: renew_leases
-- Extends those of a worker's leases that still hold, and returns them.
UPDATE tasker.step_queue AS queue
SET wake_at = clock_timestamp() + make_interval(secs => $5)
FROM unnest($2::uuid[], $3::integer[], $4::bigint[]) AS held (task_uuid, ordinal, lease_id)
WHERE queue.task_uuid = held.task_uuid AND queue.ordinal = held.ordinal
  AND queue.worker_id = $1 AND queue.lease_id = held.lease_id
RETURNING queue.task_uuid, queue.ordinal, queue.lease_id

-- name: release_leases
-- Gives leases back unused: the attempt is not counted and the step is ready at once, unless its task is paused.
WITH task AS MATERIALIZED (
    -- Locked, as whoever pauses it does.
    SELECT task_uuid, paused_at FROM tasker.tasks
    WHERE task_uuid = ANY ($2::uuid[]) ORDER BY task_uuid FOR NO KEY UPDATE
), released AS (
    UPDATE tasker.step_queue AS queue
    SET status = CASE WHEN task.paused_at IS NULL THEN 'ready' ELSE 'held' END::tasker.queue_status,
        worker_id = NULL, lease_id = NULL, leased_at = NULL, wake_at = NULL, attempt = queue.attempt - 1
    FROM unnest($2::uuid[], $3::integer[], $4::bigint[]) AS held (task_uuid, ordinal, lease_id)
    JOIN task USING (task_uuid)
    WHERE queue.task_uuid = held.task_uuid AND queue.ordinal = held.ordinal
      AND queue.worker_id = $1 AND queue.lease_id = held.lease_id
    RETURNING queue.task_uuid, queue.ordinal, queue.attempt
)
UPDATE tasker.steps AS step
SET state = 'enqueued', attempts = released.attempt
FROM released
WHERE step.task_uuid = released.task_uuid AND step.ordinal = released.ordinal

-- name: leases_of_worker
-- Everything a worker holds; with $2 and $3, tasks and ordinals as pairs of arrays, those of these steps.
SELECT task_uuid, ordinal, lease_id, attempt, template_id, detailed FROM tasker.step_queue
WHERE status = 'leased' AND worker_id = $1
  AND ($2::uuid[] IS NULL OR (task_uuid, ordinal) IN (SELECT * FROM unnest($2::uuid[], $3::integer[])))

-- name: take_expired_leases
-- Moves expired leases to the rescuer, so that the former holder's report is refused from here on. If the rescuer
-- dies too, the next one takes them over when this lease ends.
WITH expired AS (
    SELECT task_uuid, ordinal, coalesce(rescued_from, worker_id) AS holder_id FROM tasker.step_queue
    WHERE status = 'leased' AND wake_at < clock_timestamp()
    ORDER BY wake_at LIMIT $2 FOR UPDATE SKIP LOCKED
)
UPDATE tasker.step_queue AS queue
SET worker_id = $1, wake_at = clock_timestamp() + make_interval(secs => $3),
    rescued_from = coalesce(queue.rescued_from, queue.worker_id)
FROM expired LEFT JOIN tasker.workers AS holder ON holder.worker_id = expired.holder_id
WHERE queue.task_uuid = expired.task_uuid AND queue.ordinal = expired.ordinal
RETURNING queue.task_uuid, queue.ordinal, queue.lease_id, queue.attempt, queue.template_id, queue.detailed,
          holder.name AS holder

-- name: seconds_to_next_due
-- How long until the earliest delayed step of these callables, in these namespaces if not null, is due.
SELECT extract(epoch FROM min(wake_at) - clock_timestamp())::double precision
FROM unnest($1::text[]) AS mine (callable)
CROSS JOIN LATERAL (
    SELECT wake_at FROM tasker.step_queue
    WHERE callable = mine.callable AND status = 'delayed'
      AND ($2::text[] IS NULL OR template_id IN (SELECT template_id FROM tasker.templates WHERE namespace = ANY ($2)))
    ORDER BY wake_at LIMIT 1
) AS due

-- name: notify
-- Wakes listeners. Runs alone: a notification inside a writing transaction would serialise commits.
SELECT pg_notify(channel, '') FROM unnest($1::text[]) AS channel
