-- State changes in the order of their times. A change is final once it lies before the horizon: then no change with an
-- earlier time can appear any more.

-- name: horizon
-- What is visible to a statement that starts after this one, and happened before the moment that this one returns, is
-- all that ever happened before that moment. Every change takes its time after its transaction began, so one that is
-- not visible yet is no older than the oldest transaction that is under way. The start of this statement is taken before
-- the transactions are looked at; one that is not seen there takes its times later than that.
SELECT least(statement_timestamp(), (
    SELECT min(xact_start) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'tasker%' AND pid <> pg_backend_pid()
))

-- name: clock
-- The time on the database's clock.
SELECT clock_timestamp()

-- name: changes
-- Ends of attempts and changes of tasks' states, oldest first: up to $5 of those after the position $1, $2, $3 (time,
-- kind, sequence) and before $4. The limits below keep the planner from reading whole tables.
WITH page AS MATERIALIZED (
    SELECT * FROM (
        SELECT occurred_at, 0 AS kind, sequence, task_uuid, ordinal, attempt, from_state::text, to_state::text, worker_id,
               execution_time_ms, verb, actor, reason, error, name
        FROM tasker.step_transitions WHERE occurred_at >= $1 AND occurred_at < $4
        UNION ALL
        SELECT occurred_at, 3, sequence, task_uuid, NULL, NULL, from_state::text, to_state::text, worker_id,
               NULL, verb, actor, reason, NULL, NULL
        FROM tasker.task_transitions WHERE occurred_at >= $1 AND occurred_at < $4
    ) AS change
    WHERE (occurred_at, kind, sequence) > ($1, $2::integer, $3::bigint)
    ORDER BY occurred_at, kind, sequence LIMIT $5
)
SELECT page.occurred_at, page.kind, page.sequence, page.task_uuid, page.ordinal, page.attempt, page.from_state,
       page.to_state, NULL::timestamptz AS enqueued_at, NULL::timestamptz AS leased_at, page.execution_time_ms, page.verb,
       page.actor, page.reason, page.error, task.namespace, task.task_name, worker.name AS worker,
       coalesce(step.name, page.name, mould.name) AS name
FROM page
LEFT JOIN LATERAL (
    SELECT task.template_id, template.namespace, template.name AS task_name
    FROM tasker.tasks AS task JOIN tasker.templates AS template USING (template_id)
    WHERE task.task_uuid = page.task_uuid LIMIT 1
) AS task ON true
LEFT JOIN LATERAL (
    SELECT name FROM tasker.steps WHERE task_uuid = page.task_uuid AND ordinal = page.ordinal LIMIT 1
) AS step ON true
LEFT JOIN LATERAL (
    SELECT name FROM tasker.template_steps WHERE template_id = task.template_id AND ordinal = page.ordinal LIMIT 1
) AS mould ON true
LEFT JOIN LATERAL (
    SELECT name FROM tasker.workers WHERE worker_id = page.worker_id LIMIT 1
) AS worker ON true
ORDER BY page.occurred_at, page.kind, page.sequence

-- name: task_identity
-- What a task is a run of.
SELECT template.namespace, template.name
FROM tasker.tasks AS task JOIN tasker.templates AS template USING (template_id)
WHERE task.task_uuid = $1

-- name: task_changes
-- The rows that tell the changes of the task $1 at or after $2 and before $3, or of the first $4 of them and those of the
-- same instant as the last. One row with the task's state, whether it has changes after those (`more`) and until when
-- they reach, then one for each attempt or change; attempts that are under way come from the queue.
WITH change AS MATERIALIZED (
    SELECT 0 AS kind, sequence, ordinal, attempt, from_state::text, to_state::text, enqueued_at, leased_at, occurred_at,
           worker_id, execution_time_ms, verb, actor, reason, error, name
    FROM tasker.step_transitions WHERE task_uuid = $1 AND occurred_at >= $2
    UNION ALL
    SELECT 3, sequence, NULL, NULL, from_state::text, to_state::text, NULL, NULL, occurred_at,
           worker_id, NULL, verb, actor, reason, NULL, NULL
    FROM tasker.task_transitions WHERE task_uuid = $1 AND occurred_at >= $2
    UNION ALL
    SELECT 0, 0, ordinal, attempt, 'enqueued', 'in_progress', enqueued_at, leased_at, NULL,
           coalesce(rescued_from, worker_id), NULL, NULL, NULL, NULL, NULL, NULL
    FROM tasker.step_queue WHERE task_uuid = $1 AND status = 'leased' AND leased_at >= $2
    UNION ALL
    -- A step that waits for its first attempt, whether it may start or not. Of later attempts only the start is told.
    SELECT 0, 0, ordinal, attempt, 'pending', 'enqueued', enqueued_at, NULL, NULL,
           NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM tasker.step_queue WHERE task_uuid = $1 AND status <> 'leased' AND attempt = 0 AND enqueued_at >= $2
), moment AS MATERIALIZED (
    SELECT at FROM change CROSS JOIN LATERAL unnest(ARRAY[enqueued_at, leased_at, occurred_at]) AS at WHERE at > $2
), page AS MATERIALIZED (
    SELECT coalesce(max(at), $2) AS until
    FROM (SELECT at FROM moment WHERE at < $3 ORDER BY at LIMIT $4) AS first
), told AS (
    SELECT * FROM change CROSS JOIN page WHERE least(enqueued_at, leased_at, occurred_at) <= page.until
)
SELECT task.state::text, EXISTS (SELECT FROM moment WHERE at > page.until) AS more, page.until,
       told.kind, told.sequence, told.ordinal, told.attempt, told.from_state, told.to_state, told.enqueued_at,
       told.leased_at, told.occurred_at, told.execution_time_ms, told.verb, told.actor, told.reason, told.error,
       worker.name AS worker, coalesce(step.name, told.name, mould.name) AS name
FROM tasker.tasks AS task
CROSS JOIN page
LEFT JOIN told ON true
LEFT JOIN tasker.steps AS step ON step.task_uuid = $1 AND step.ordinal = told.ordinal
LEFT JOIN tasker.template_steps AS mould ON mould.template_id = task.template_id AND mould.ordinal = told.ordinal
LEFT JOIN tasker.workers AS worker ON worker.worker_id = told.worker_id
WHERE task.task_uuid = $1

-- name: task_marks
-- For each of these tasks a text that changes whenever its history does.
SELECT wanted.task_uuid, concat_ws(
    ' ',
    (SELECT max(sequence) FROM tasker.step_transitions AS change WHERE change.task_uuid = wanted.task_uuid),
    (SELECT max(sequence) FROM tasker.task_transitions AS change WHERE change.task_uuid = wanted.task_uuid),
    (SELECT concat_ws('/', count(*), max(lease_id), max(leased_at), max(enqueued_at))
     FROM tasker.step_queue AS queue WHERE queue.task_uuid = wanted.task_uuid)
) AS mark
FROM unnest($1::uuid[]) AS wanted (task_uuid)
