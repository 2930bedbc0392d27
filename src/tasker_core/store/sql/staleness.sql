-- name: try_to_sweep
-- Whether this transaction is the only one that sweeps.
SELECT pg_try_advisory_xact_lock(hashtextextended('tasker.sweep', 0))

-- name: handlers_without_worker
-- Handlers that steps wait for and no live worker has, and when a worker that had them was last seen. A worker is live
-- if it did not stop and was seen within the last $1 seconds. Jumps from handler to handler instead of reading the
-- queue.
WITH RECURSIVE ready AS (
    (SELECT callable FROM tasker.step_queue WHERE status = 'ready' ORDER BY callable LIMIT 1)
    UNION ALL
    SELECT (
        SELECT callable FROM tasker.step_queue
        WHERE status = 'ready' AND callable > ready.callable ORDER BY callable LIMIT 1
    )
    FROM ready WHERE ready.callable IS NOT NULL
), delayed AS (
    (SELECT callable FROM tasker.step_queue WHERE status = 'delayed' ORDER BY callable LIMIT 1)
    UNION ALL
    SELECT (
        SELECT callable FROM tasker.step_queue
        WHERE status = 'delayed' AND callable > delayed.callable ORDER BY callable LIMIT 1
    )
    FROM delayed WHERE delayed.callable IS NOT NULL
), waited_for AS MATERIALIZED (
    SELECT callable FROM ready WHERE callable IS NOT NULL
    UNION SELECT callable FROM delayed WHERE callable IS NOT NULL
    UNION SELECT callable FROM tasker.step_queue WHERE status = 'leased' AND wake_at <= clock_timestamp()
), handler AS (
    SELECT mine.callable, max(last_seen_at) AS seen_at,
           bool_or(stopped_at IS NULL AND last_seen_at > clock_timestamp() - make_interval(secs => $1)) AS is_live
    FROM tasker.workers CROSS JOIN LATERAL unnest(callables) AS mine (callable)
    WHERE mine.callable IN (SELECT callable FROM waited_for)
    GROUP BY mine.callable
)
SELECT callable, handler.seen_at AS worker_seen_at
FROM waited_for LEFT JOIN handler USING (callable)
WHERE handler.is_live IS NOT TRUE

-- name: templates_of_handlers
-- Templates with steps for these handlers.
SELECT DISTINCT template_id FROM tasker.template_steps WHERE callable = ANY ($1::text[])

-- name: templates_with_deadline
-- Templates that limit the duration of their tasks; $1 are those that need not be looked at again.
SELECT template_id, definition -> 'lifecycle' ->> 'max_duration_minutes' IS NOT NULL AS has_deadline
FROM tasker.templates WHERE template_id <> ALL ($1::integer[])

-- name: idle_tasks
-- Tasks that may be stale for lack of workers, oldest first: with a step that has been due, and without anybody seen
-- who could run it ($1, $2), for as many minutes as its template allows ($3, $4). Those that are dead letters only count
-- if more than that can happen to them ($5). $6 is the last task of the page before.
SELECT DISTINCT queue.task_uuid
FROM tasker.step_queue AS queue
JOIN unnest($1::text[], $2::timestamptz[]) AS handler (callable, worker_seen_at) USING (callable)
JOIN unnest($3::integer[], $4::integer[], $5::boolean[]) AS template (template_id, minutes, closes) USING (template_id)
WHERE queue.status <> 'held'
  AND greatest(coalesce(queue.wake_at, queue.enqueued_at), handler.worker_seen_at)
      <= clock_timestamp() - make_interval(mins => template.minutes)
  AND (template.closes OR NOT EXISTS (
      SELECT 1 FROM tasker.dead_letters AS entry
      WHERE entry.task_uuid = queue.task_uuid AND entry.status = 'pending' AND coalesce(entry.ordinal, -1) = -1
  ))
  AND ($6::uuid IS NULL OR queue.task_uuid > $6)
ORDER BY queue.task_uuid LIMIT $7

-- name: overdue_tasks
-- Tasks that are past the deadline of their template ($1, $2), oldest first: those with steps in the queue, and those
-- that wait for a person. Dead letters only count if more than that can happen to them ($3). $4 is the last task of the
-- page before.
WITH open AS MATERIALIZED (
    SELECT task_uuid FROM tasker.step_queue WHERE template_id = ANY ($1)
    UNION SELECT task_uuid FROM tasker.dead_letters WHERE status = 'pending'
), overdue AS MATERIALIZED (
    -- Without the limit of the page: for its sake the planner might walk through all tasks there ever were.
    SELECT task.task_uuid
    FROM open
    JOIN tasker.tasks AS task USING (task_uuid)
    JOIN unnest($1::integer[], $2::integer[], $3::boolean[]) AS template (template_id, minutes, closes)
      USING (template_id)
    WHERE task.state NOT IN ('complete', 'error', 'cancelled', 'resolved_manually')
      AND coalesce(task.requested_at, task.created_at) <= clock_timestamp() - make_interval(mins => template.minutes)
      AND (template.closes OR NOT EXISTS (
          SELECT 1 FROM tasker.dead_letters AS entry
          WHERE entry.task_uuid = open.task_uuid AND entry.status = 'pending' AND coalesce(entry.ordinal, -1) = -1
      ))
)
SELECT task_uuid FROM overdue WHERE $4::uuid IS NULL OR task_uuid > $4 ORDER BY task_uuid LIMIT $5

-- name: task_facts
-- How tasks stand, one row for each status and handler of their steps in the queue, in order of the tasks. A worker is
-- live if it did not stop and was seen within the last $2 seconds.
WITH queued AS MATERIALIZED (
    SELECT task_uuid, status, callable, max(coalesce(wake_at, enqueued_at)) AS due_at
    FROM tasker.step_queue WHERE task_uuid = ANY ($1::uuid[]) GROUP BY 1, 2, 3
), handler AS MATERIALIZED (
    SELECT mine.callable, max(last_seen_at) AS seen_at,
           bool_or(stopped_at IS NULL AND last_seen_at > clock_timestamp() - make_interval(secs => $2)) AS is_live
    FROM tasker.workers CROSS JOIN LATERAL unnest(callables) AS mine (callable)
    WHERE mine.callable IN (SELECT callable FROM queued)
    GROUP BY mine.callable
)
SELECT clock_timestamp() AS now, task.task_uuid, task.template_id, template.namespace, template.name,
       task.state::text, task.priority, task.created_at,
       coalesce(task.requested_at, task.created_at) AS requested_at,
       (SELECT max(finished_at) FROM tasker.steps AS step WHERE step.task_uuid = task.task_uuid) AS finished_at,
       EXISTS (
           SELECT 1 FROM tasker.dead_letters AS entry
           WHERE entry.task_uuid = task.task_uuid AND entry.status = 'pending' AND coalesce(entry.ordinal, -1) = -1
       ) AS has_dead_letter,
       queued.status::text, queued.callable, queued.due_at,
       coalesce(handler.is_live, false) AS has_live_worker, handler.seen_at AS worker_seen_at
FROM tasker.tasks AS task
JOIN tasker.templates AS template USING (template_id)
LEFT JOIN queued USING (task_uuid)
LEFT JOIN handler USING (callable)
WHERE task.task_uuid = ANY ($1::uuid[])
ORDER BY task.task_uuid, queued.status, queued.callable

-- name: dead_letters_to_close
-- Tasks that were noted for lack of workers and have ended or gone on since. A task in error stays noted: that is what
-- was made of it.
SELECT entry.task_uuid
FROM tasker.dead_letters AS entry
JOIN tasker.tasks AS task USING (task_uuid)
WHERE entry.status = 'pending' AND entry.reason = 'worker_unavailable'
  AND task.state <> 'error'
  AND (
      task.state IN ('complete', 'cancelled', 'resolved_manually')
      OR EXISTS (
          SELECT 1 FROM tasker.step_queue AS queue
          WHERE queue.task_uuid = entry.task_uuid AND greatest(queue.enqueued_at, queue.leased_at) > entry.created_at
      )
      OR EXISTS (
          SELECT 1 FROM tasker.steps AS step
          WHERE step.task_uuid = entry.task_uuid AND step.finished_at > entry.created_at
      )
  )
ORDER BY entry.task_uuid LIMIT $1

-- name: lock_tasks
-- Locks tasks against records.
SELECT 1 FROM tasker.tasks WHERE task_uuid = ANY ($1::uuid[]) ORDER BY task_uuid FOR NO KEY UPDATE

-- name: close_dead_letters
-- Closes the entries of tasks that were noted for lack of workers.
UPDATE tasker.dead_letters
SET status = 'manually_resolved', resolved_at = clock_timestamp(), resolved_by = $2, notes = $3
WHERE task_uuid = ANY ($1::uuid[]) AND status = 'pending' AND reason = 'worker_unavailable'

-- name: close_failures
-- Closes what was noted about failures of a task that ended for another reason.
UPDATE tasker.dead_letters
SET status = 'permanently_failed', resolved_at = clock_timestamp(), resolved_by = $2, notes = $3
WHERE task_uuid = $1 AND status = 'pending' AND reason = 'max_retries_exceeded'

-- name: note_failures
-- Notes which of these tasks are blocked by failures; an open entry kept that from being noted so far.
SELECT tasker.add_dead_letters($1, '{}', '{}')

-- name: lifecycles
-- What templates say about staleness; of all, or of those of some namespaces.
SELECT template_id, definition -> 'lifecycle' AS lifecycle FROM tasker.templates
WHERE $1::text[] IS NULL OR namespace = ANY ($1)

-- name: queued_tasks
-- Tasks of these templates with steps in the queue, oldest first; $2 is the last task of the page before.
SELECT DISTINCT task_uuid FROM tasker.step_queue
WHERE template_id = ANY ($1::integer[]) AND ($2::uuid IS NULL OR task_uuid > $2)
ORDER BY task_uuid LIMIT $3
