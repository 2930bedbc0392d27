-- name: performance
-- What became of the tasks that came to rest in the last $1 hours, how many steps were done in that time, and how the
-- tasks of the last hour fared; of all namespaces, or of some ($2). A task that was let go on since does not count, and a
-- task that is blocked by failures counts as failed.
WITH namespaces AS MATERIALIZED (
    SELECT template_id FROM tasker.templates WHERE $2::text[] IS NULL OR namespace = ANY ($2)
), rested AS (
    SELECT task_uuid, max(occurred_at) AS rested_at FROM tasker.task_transitions
    WHERE occurred_at >= statement_timestamp() - make_interval(hours => greatest($1::integer, 1))
      AND to_state IN ('complete', 'error', 'cancelled', 'resolved_manually', 'blocked_by_failures')
    GROUP BY task_uuid
), ended AS (
    SELECT count(*) AS number, count(*) FILTER (WHERE state = 'complete') AS completed,
           count(*) FILTER (WHERE state IN ('error', 'blocked_by_failures')) AS failed,
           avg(completed_at - started_at) FILTER (WHERE state = 'complete') AS duration,
           count(*) FILTER (WHERE state = 'complete' AND rested_at >= statement_timestamp() - interval '1 hour')
               AS completed_lately,
           count(*) FILTER (
               WHERE state IN ('error', 'blocked_by_failures')
                 AND rested_at >= statement_timestamp() - interval '1 hour'
           ) AS failed_lately
    FROM rested JOIN tasker.tasks AS task USING (task_uuid)
    WHERE template_id IN (SELECT template_id FROM namespaces)
      AND state IN ('complete', 'error', 'cancelled', 'resolved_manually', 'blocked_by_failures')
), done AS (
    SELECT occurred_at - leased_at AS duration FROM tasker.step_transitions
    WHERE occurred_at >= statement_timestamp() - make_interval(hours => $1::integer)
      AND to_state = 'complete' AND verb IS NULL AND $2::text[] IS NULL
    UNION ALL
    SELECT occurred_at - leased_at FROM tasker.step_transitions JOIN tasker.tasks USING (task_uuid)
    WHERE occurred_at >= statement_timestamp() - make_interval(hours => $1::integer)
      AND to_state = 'complete' AND verb IS NULL AND $2::text[] IS NOT NULL
      AND template_id IN (SELECT template_id FROM namespaces)
), step AS (
    SELECT count(*) AS completed, avg(duration) AS duration FROM done
), task AS (
    SELECT count(*) AS number,
           count(*) FILTER (WHERE state NOT IN ('complete', 'error', 'cancelled', 'resolved_manually')) AS active
    FROM tasker.tasks WHERE template_id IN (SELECT template_id FROM namespaces)
)
SELECT task.number AS total_tasks, task.active AS active_tasks, ended.number AS ended_tasks,
       ended.completed AS completed_tasks, ended.failed AS failed_tasks, ended.completed_lately, ended.failed_lately,
       extract(epoch FROM ended.duration)::double precision AS task_seconds,
       step.completed AS completed_steps, extract(epoch FROM step.duration)::double precision AS step_seconds,
       statement_timestamp() - make_interval(hours => $1::integer) AS since, statement_timestamp() AS now
FROM task, ended, step

-- name: slow_steps
-- The $1 steps whose attempts took longest on average in the last 24 hours, of those with at least $2 attempts; of all
-- namespaces, or of some ($3). Steps that were made at run time count as the step of the template that they were made
-- from.
WITH counted AS (
    -- Steps of the template, and steps made at run time, which have ordinals that the template does not have.
    SELECT template_id, change.ordinal, sum(occurred_at - leased_at) AS duration,
           max(occurred_at - leased_at) AS longest, count(*) AS attempts,
           count(*) FILTER (WHERE to_state IN ('error', 'waiting_for_retry')) AS failures, max(occurred_at) AS last_at
    FROM tasker.step_transitions AS change
    JOIN tasker.tasks USING (task_uuid)
    WHERE occurred_at >= statement_timestamp() - interval '24 hours' AND leased_at IS NOT NULL AND verb IS NULL
    GROUP BY template_id, change.ordinal
    UNION ALL
    SELECT template_id, step.template_ordinal, sum(occurred_at - leased_at), max(occurred_at - leased_at), count(*),
           count(*) FILTER (WHERE to_state IN ('error', 'waiting_for_retry')), max(occurred_at)
    FROM tasker.step_transitions AS change
    JOIN tasker.tasks AS task USING (task_uuid)
    JOIN tasker.steps AS step USING (task_uuid, ordinal)
    WHERE occurred_at >= statement_timestamp() - interval '24 hours' AND leased_at IS NOT NULL AND verb IS NULL
      AND task.added_steps > 0 AND step.ordinal <> step.template_ordinal
    GROUP BY template_id, step.template_ordinal
)
SELECT template.namespace AS namespace_name, template.name AS task_name, template.version, step.name AS step_name,
       extract(epoch FROM sum(duration) / sum(attempts)::double precision)::double precision
           AS average_duration_seconds,
       extract(epoch FROM max(longest))::double precision AS max_duration_seconds,
       sum(attempts)::bigint AS execution_count, sum(failures)::bigint AS error_count,
       (sum(failures) / sum(attempts))::double precision AS error_rate, max(last_at) AS last_executed_at
FROM counted
JOIN tasker.template_steps AS step USING (template_id, ordinal)
JOIN tasker.templates AS template USING (template_id)
WHERE $3::text[] IS NULL OR template.namespace = ANY ($3)
-- The same version may have been stored more than once, for other environments or with other content.
GROUP BY 1, 2, 3, 4
HAVING sum(attempts) >= $2
ORDER BY average_duration_seconds DESC, 1, 2, 3, 4
LIMIT $1

-- name: slow_tasks
-- The $1 templates whose tasks took longest on average, of the tasks that came to rest in the last 24 hours, of those
-- with at least $2 such tasks; of all namespaces, or of some ($3).
SELECT template.namespace AS namespace_name, template.name AS task_name, template.version,
       extract(epoch FROM avg(rested_at - task.started_at))::double precision AS average_duration_seconds,
       extract(epoch FROM max(rested_at - task.started_at))::double precision AS max_duration_seconds,
       count(*) AS execution_count,
       count(*) FILTER (WHERE task.state IN ('error', 'blocked_by_failures')) AS error_count,
       (count(*) FILTER (WHERE task.state IN ('error', 'blocked_by_failures')))::double precision / count(*)
           AS error_rate,
       max(rested_at) AS last_executed_at, avg(task.total_steps)::double precision AS average_step_count
FROM (
    SELECT task_uuid, max(occurred_at) AS rested_at FROM tasker.task_transitions
    WHERE occurred_at >= statement_timestamp() - interval '24 hours'
      AND to_state IN ('complete', 'error', 'cancelled', 'resolved_manually', 'blocked_by_failures')
    GROUP BY task_uuid
) AS rested
JOIN tasker.tasks AS task USING (task_uuid)
JOIN tasker.templates AS template USING (template_id)
WHERE ($3::text[] IS NULL OR template.namespace = ANY ($3)) AND task.started_at IS NOT NULL
  AND task.state IN ('complete', 'error', 'cancelled', 'resolved_manually', 'blocked_by_failures')
GROUP BY 1, 2, 3
HAVING count(*) >= $2
ORDER BY average_duration_seconds DESC, 1, 2, 3
LIMIT $1

-- name: tasks_by_state
-- How many tasks are in each state; of all namespaces, or of some.
SELECT state::text, count(*) AS number FROM tasker.tasks
WHERE $1::text[] IS NULL
   OR template_id IN (SELECT template_id FROM tasker.templates WHERE namespace = ANY ($1))
GROUP BY state

-- name: steps_by_state
-- How many steps are in each state; of all namespaces, or of some.
SELECT state::text, count(*) AS number FROM tasker.steps WHERE $1::text[] IS NULL GROUP BY state
UNION ALL
SELECT step.state::text, count(*)
FROM tasker.steps AS step
JOIN tasker.tasks AS task USING (task_uuid)
WHERE $1::text[] IS NOT NULL
  AND task.template_id IN (SELECT template_id FROM tasker.templates WHERE namespace = ANY ($1))
GROUP BY step.state
