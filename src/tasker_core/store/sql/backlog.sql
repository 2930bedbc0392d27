-- name: waiting
-- The steps that may be claimed now, by namespace: how many, for how long the oldest has waited, and for how long the
-- oldest that a live worker has a handler for. Reads at most $1 pages of the queue, chosen at random if it has more;
-- the numbers are exact for a queue of no more pages, and an estimate for a longer one. A worker is live if it did not
-- stop and was seen within the last $2 seconds.
WITH sample AS MATERIALIZED (
    SELECT least(1.0, $1::float8 * current_setting('block_size')::float8
           / greatest(1, pg_relation_size('tasker.step_queue'))) AS share
), live AS MATERIALIZED (
    SELECT DISTINCT handler.callable, worker.namespaces
    FROM tasker.workers AS worker CROSS JOIN LATERAL unnest(worker.callables) AS handler (callable)
    WHERE worker.stopped_at IS NULL AND worker.last_seen_at > clock_timestamp() - make_interval(secs => $2)
), counted AS MATERIALIZED (
    SELECT queue.template_id, queue.callable, count(*) AS steps, min(coalesce(queue.wake_at, queue.enqueued_at)) AS since
    FROM tasker.step_queue AS queue TABLESAMPLE SYSTEM ((SELECT 100 * share FROM sample))
    WHERE queue.status = 'ready' OR (queue.status = 'delayed' AND queue.wake_at <= clock_timestamp())
    GROUP BY 1, 2
)
SELECT template.namespace, round(sum(counted.steps) / (SELECT share FROM sample))::bigint AS steps,
       extract(epoch FROM clock_timestamp() - min(counted.since))::float8 AS age,
       extract(epoch FROM clock_timestamp() - min(counted.since) FILTER (WHERE EXISTS (
           SELECT FROM live
           WHERE live.callable = counted.callable
             AND (live.namespaces IS NULL OR template.namespace = ANY (live.namespaces))
       )))::float8 AS served_age
FROM counted JOIN tasker.templates AS template USING (template_id)
GROUP BY 1

-- name: active_tasks
-- Tasks that are not over, by namespace and state. Those with steps in the queue are counted as `waiting` counts, each
-- at its first step there; those that are blocked by failures, up to $2 of them, by their dead letters.
WITH sample AS MATERIALIZED (
    SELECT least(1.0, $1::float8 * current_setting('block_size')::float8
           / greatest(1, pg_relation_size('tasker.step_queue'))) AS share
), queued AS MATERIALIZED (
    SELECT queue.template_id, task.state, count(*) AS tasks
    FROM tasker.step_queue AS queue TABLESAMPLE SYSTEM ((SELECT 100 * share FROM sample))
    -- The limit keeps the planner from reading all tasks.
    CROSS JOIN LATERAL (SELECT state FROM tasker.tasks WHERE task_uuid = queue.task_uuid LIMIT 1) AS task
    WHERE queue.ordinal = (SELECT min(first.ordinal) FROM tasker.step_queue AS first
                           WHERE first.task_uuid = queue.task_uuid)
    GROUP BY 1, 2
), blocked AS MATERIALIZED (
    SELECT task.template_id, count(*) AS tasks
    FROM (
        SELECT DISTINCT task_uuid
        FROM (SELECT task_uuid FROM tasker.dead_letters WHERE status = 'pending' LIMIT $2::integer) AS pending
    ) AS entry
    CROSS JOIN LATERAL (
        SELECT template_id FROM tasker.tasks
        WHERE task_uuid = entry.task_uuid AND state = 'blocked_by_failures' LIMIT 1
    ) AS task
    GROUP BY 1
)
SELECT template.namespace, counted.state::text, round(sum(counted.tasks))::bigint AS tasks
FROM (
    SELECT template_id, state, tasks / (SELECT share FROM sample) AS tasks FROM queued
    UNION ALL
    SELECT template_id, 'blocked_by_failures', tasks FROM blocked
) AS counted
JOIN tasker.templates AS template USING (template_id)
GROUP BY 1, 2

-- name: standing
-- Live workers (see `waiting`; $1 are the seconds) and dead letters that nobody has closed, up to $2 of them.
SELECT (
    SELECT count(*) FROM tasker.workers
    WHERE stopped_at IS NULL AND last_seen_at > clock_timestamp() - make_interval(secs => $1) AND callables <> '{}'
) AS live_workers, (
    SELECT count(*) FROM (SELECT FROM tasker.dead_letters WHERE status = 'pending' LIMIT $2::integer) AS pending
) AS pending_dead_letters
